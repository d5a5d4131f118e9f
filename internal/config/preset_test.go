package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/rp"
)

// issuers are right ones.
var issuers = map[string]string{
	"okta": "https://dev-1.okta.com/oauth2/default", "entra": "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
	"auth0": "https://acme.eu.auth0.com/", "google": "https://accounts.google.com", "keycloak": "https://sso.example/realms/staff",
	"cognito": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf123", "dex": "https://dex.example/dex", "generic": "https://idp.example",
}

// byPreset is a folder with one provider; keys replace and add to it.
func byPreset(t *testing.T, preset, keys string) Sources {
	t.Helper()
	if !strings.HasPrefix(keys, "issuer:") {
		keys = "issuer: '" + issuers[preset] + "', " + keys
	}
	return Sources{Dir: folder(t, map[string]string{
		"config/genkan.yaml": "providers:\n- {id: a, client_id: x, client_secret: y, preset: " + preset + ", " + keys + "}\n",
	}), Environ: sound[:1]}
}

func TestAPresetFillsWhatIsUnset(t *testing.T) {
	t.Parallel()
	type filled map[string]string // key to what config print says
	rows := []struct {
		preset, keys string
		want         filled
	}{
		{"okta", "", filled{"client_assertion_audience": "endpoint (preset okta)", "revocation_issuer": "https://dev-1.okta.com (preset okta)",
			"scopes": "openid, profile, email (default)", "claims": " (not set)", "authorize_params": " (not set)"}},
		{"entra", "", filled{"client_assertion_audience": "endpoint (preset entra)", "claims": "{email_verified: xms_edov} (preset entra)"}},
		{"auth0", "authorize_params: {audience: api}", filled{"authorize_params": "{audience: api} (config/genkan.yaml:2)", "claims": " (not set)"}},
		{"google", "", filled{"authorize_params": " (not set)", "scopes": "openid, profile, email (default)"}},
		{"google", "scopes: [openid, offline_access]", filled{"authorize_params": "{access_type: offline, prompt: consent} (preset google)", "scopes": "openid, offline_access (config/genkan.yaml:2)"}},
		{"keycloak", "", filled{"claims": "{roles: realm_access.roles} (preset keycloak)"}},
		{"cognito", "", filled{"scopes": "openid, email (preset cognito)", "claims": "{groups: cognito:groups} (preset cognito)"}},
		{"dex", "", filled{"scopes": "openid, profile, email, groups (preset dex)"}},
		{"generic", "", filled{"scopes": "openid, profile, email (default)", "claims": " (not set)", "client_assertion_audience": " (not set)", "revocation_issuer": " (not set)"}},

		// what is written counts, name by name
		{"okta", "client_assertion_audience: issuer, revocation_issuer: 'https://org.example'", filled{
			"client_assertion_audience": "issuer (config/genkan.yaml:2)", "revocation_issuer": "https://org.example (config/genkan.yaml:2)"}},
		{"cognito", "scopes: openid", filled{"scopes": "openid (config/genkan.yaml:2)"}},
		{"keycloak", "claims: {groups: teams}", filled{"claims": "{groups: teams, roles: realm_access.roles} (config/genkan.yaml:2, preset keycloak)"}},
		{"keycloak", "claims: {roles: realm_roles}", filled{"claims": "{roles: realm_roles} (config/genkan.yaml:2)"}},
		{"google", "scopes: [offline_access], authorize_params: {hd: a.example, prompt: select_account}", filled{
			"authorize_params": "{access_type: offline, hd: a.example, prompt: select_account} (config/genkan.yaml:2, preset google)"}},
	}
	for _, row := range rows {
		t.Run(row.preset+" "+row.keys, func(t *testing.T) {
			t.Parallel()
			values, found := Effective(byPreset(t, row.preset, row.keys))
			if len(found) > 0 {
				t.Errorf("findings:\n%v", found)
			}
			got := filled{}
			for _, v := range values {
				key := strings.TrimPrefix(v.Key, "providers[0].")
				if _, asked := row.want[key]; asked {
					got[key] = v.Text + " (" + v.From + ")"
				}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAPresetReachesTheClient: what is printed is what the relying party gets.
func TestAPresetReachesTheClient(t *testing.T) {
	t.Parallel()
	okta := mustLoad(t, byPreset(t, "okta", "scopes: [openid, offline_access]")).Providers[0]
	if okta.AssertionAudience != rp.AudienceEndpoint || okta.RevocationIssuer != "https://dev-1.okta.com" || !slices.Equal(okta.Scopes, []string{"openid", "offline_access"}) {
		t.Errorf("okta: %v, %v, %v", okta.AssertionAudience, okta.RevocationIssuer, okta.Scopes)
	}
	google := mustLoad(t, byPreset(t, "google", "scopes: [openid, offline_access, email]")).Providers[0]
	if diff := cmp.Diff(map[string]string{"access_type": "offline", "prompt": "consent"}, google.AuthorizeParams); diff != "" || !slices.Equal(google.Scopes, []string{"openid", "email"}) {
		t.Errorf("google: %v %s", google.Scopes, diff)
	}
	cognito := mustLoad(t, byPreset(t, "cognito", "scopes: [openid, offline_access]")).Providers[0]
	if !slices.Equal(cognito.Scopes, []string{"openid"}) || cognito.AuthorizeParams != nil || cognito.Claims["groups"] != "cognito:groups" || cognito.Quirks.Logout.Path != "/logout" {
		t.Errorf("cognito: %v, %v, %v, %v", cognito.Scopes, cognito.AuthorizeParams, cognito.Claims, cognito.Quirks)
	}
	entra := mustLoad(t, byPreset(t, "entra", "")).Providers[0]
	if endpoints := entra.Quirks.Overage.Endpoints; len(endpoints) != 3 || !strings.HasPrefix(endpoints[0].First, "https://graph.microsoft.com/") {
		t.Errorf("entra: %v", entra.Quirks)
	}
}

func TestAPresetByEnvironment(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, Sources{Dir: folder(t, nil), Environ: append([]string{"GENKAN_OIDC_PRESET=dex"}, sound...)})
	if got := c.Providers[0].Scopes; !slices.Contains(got, "groups") {
		t.Errorf("scopes %v", got)
	}
}

func TestPresetFindings(t *testing.T) {
	t.Parallel()
	at := func(key string) string { return "providers[0]." + key }
	inFile := func(key string) string { return at(key) + " (config/genkan.yaml:2)" }
	rows := []struct {
		name, preset, keys string
		want               []said
	}{
		{"auth0 without its slash", "auth0", "issuer: 'https://acme.eu.auth0.com'", one("error", "GK201", inFile("issuer"), "it does not end with one /, and every issuer of Auth0 does", "Write https://acme.eu.auth0.com/.")},
		{"auth0 without audience", "auth0", "", one("warning", "GK201", at("authorize_params"),
			"it has no audience: Auth0 then gives an access token that no API but its own UserInfo can read", `Write authorize_params: {audience: IDENTIFIER} with the Identifier of your API in Auth0, or {audience: ""} if there is none to call.`)},
		{"auth0 without audience, and that is meant", "auth0", `authorize_params: {audience: ""}`, nil},
		{"entra with groups", "entra", "scopes: [openid, groups]", one("warning", "GK201", inFile("scopes"), "Entra has no scope groups and refuses the sign-in with it (AADSTS650053)", "Token configuration, Add groups claim.")},
		{"google with groups", "google", "scopes: [openid, groups]", one("warning", "GK201", inFile("scopes"), "Google has no scope groups and refuses the sign-in with it (invalid_scope)", "Remove it; Google's tokens hold no groups.")},
		{"cognito with groups", "cognito", "scopes: [openid, groups]", one("warning", "GK201", inFile("scopes"), "Cognito has no scope groups and refuses the sign-in with it (invalid_scope)", "Remove it; groups are in every ID token.")},
		{"okta's org server with groups", "okta", "issuer: 'https://dev-1.okta.com', scopes: [openid, groups]", nil},
		{"a wrong issuer says it all", "okta", "issuer: 'https://dev-1.okta.com/oauth2/default/', scopes: [openid, groups]",
			one("error", "GK201", inFile("issuer"), "it ends with /, and no issuer of Okta does", "Write https://dev-1.okta.com/oauth2/default.")},
		{"params that cannot be read", "google", "scopes: [offline_access], authorize_params: x",
			one("error", "GK502", inFile("authorize_params"), "it holds one value", "Write names and values below it.")},
		{"params that cannot be read are not missing", "auth0", "authorize_params: x",
			one("error", "GK502", inFile("authorize_params"), "it holds one value", "Write names and values below it.")},
		{"a claim that nobody looks for", "generic", "claims: {email: mail}", one("error", "GK502", inFile("claims"), `"email" is not a claim that is looked for`, "Write groups, roles or email_verified.")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, found := Load(byPreset(t, row.preset, row.keys))
			compare(t, row.want, found)
		})
	}
}

// testNames are the tests that pages may name.
func testNames(t *testing.T) (names []string) {
	t.Helper()
	for _, glob := range []string{"*_test.go", "../rp/*_test.go"} {
		files, _ := filepath.Glob(glob)
		for _, file := range files {
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range regexp.MustCompile(`(?m)^func (\w+)\(`).FindAllSubmatch(code, -1) {
				names = append(names, string(found[1]))
			}
		}
	}
	return names
}

// TestProviderPages: what a page says to copy is accepted without a word, the tests that it
// names exist, and there is a page for every preset and no other.
func TestProviderPages(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/providers/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	tests := testNames(t)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		if name == "README" {
			continue
		}
		names = append(names, name)
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(string(content), -1) {
			if !slices.Contains(tests, test) {
				t.Errorf("%s names %s, and there is no such test", page, test)
			}
		}
		found := blocks.FindAllStringSubmatch(string(content), -1)
		if len(found) == 0 {
			t.Errorf("%s has nothing to copy", page)
		}
		for _, block := range found {
			variables := regexp.MustCompile(`\$\{([A-Z0-9_]+)\}`).FindStringSubmatch(block[1])
			environ := []string{sound[0]}
			if variables != nil {
				environ = append(environ, variables[1]+"=s3cret")
			}
			c := mustLoad(t, Sources{Dir: folder(t, map[string]string{"config/genkan.yaml": block[1]}), Environ: environ})
			if len(c.Providers) != 1 || c.Providers[0].ID == "" || !strings.Contains(block[1], "preset: "+name+"\n") {
				t.Errorf("%s: a block is of %d providers, or of another preset", page, len(c.Providers))
			}
		}
	}
	want := []string{"auth0", "cognito", "dex", "entra", "generic", "google", "keycloak", "okta"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	for _, preset := range rp.Presets() {
		if !slices.Contains(want, preset.Name) {
			t.Errorf("preset %s has no page", preset.Name)
		}
	}
}
