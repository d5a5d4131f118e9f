package rp

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

const tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"

func preset(t *testing.T, name string) Preset {
	t.Helper()
	for _, p := range Presets() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("there is no preset %s", name)
	return Preset{}
}

// TestIssuersOfPresets: every form that people paste, and what they should write.
func TestIssuersOfPresets(t *testing.T) {
	t.Parallel()
	const graphOf = "Write https://login.microsoftonline.com/TENANT-ID/v2.0 with the Directory (tenant) ID of the app's Overview page"
	rows := []struct{ preset, issuer, detail, fix string }{
		{"okta", "https://dev-1.okta.com", "", ""},
		{"okta", "https://dev-1.okta.com/oauth2/default", "", ""},
		{"okta", "https://login.example.com/oauth2/aus1abc", "", ""},
		{"okta", "https://id-admin.example.com", "", ""}, // a domain of one's own may hold the word
		{"okta", "https://dev-1-admin.okta.com", `"dev-1-admin.okta.com" is the address of Okta's admin console`, "Write https://dev-1.okta.com."},
		{"okta", "https://dev-1-admin.oktapreview.com/oauth2/default", `"dev-1-admin.oktapreview.com" is the address of Okta's admin console`, "Write https://dev-1.oktapreview.com/oauth2/default."},
		{"okta", "https://dev-1-admin.okta-emea.com/", `"dev-1-admin.okta-emea.com" is the address of Okta's admin console`, "Write https://dev-1.okta-emea.com."},
		{"okta", "https://dev-1.okta.com/", "it ends with /, and no issuer of Okta does", "Write https://dev-1.okta.com."},
		{"okta", "https://dev-1.okta.com/oauth2/default/", "it ends with /, and no issuer of Okta does", "Write https://dev-1.okta.com/oauth2/default."},
		{"okta", "https://dev-1.okta.com/oauth2/v1", "it is the beginning of an endpoint, not an issuer", "Write https://dev-1.okta.com/oauth2/default, or https://dev-1.okta.com for the org server."},
		{"okta", "https://dev-1.okta.com/oauth2", "it is the beginning of an endpoint, not an issuer", "Write https://dev-1.okta.com/oauth2/default, or https://dev-1.okta.com for the org server."},
		{"okta", "https://dev-1.okta.com/oauth2/default/v1", "it is the beginning of an endpoint, not an issuer", "Write https://dev-1.okta.com/oauth2/default."},
		{"okta", "https://dev-1-admin.okta.com/admin/dashboard", `"dev-1-admin.okta.com" is the address of Okta's admin console`, "Write https://dev-1.okta.com/oauth2/default, or https://dev-1.okta.com for the org server."},
		{"okta", "https://dev-1.okta.com/app/UserHome", "it is the address of a page, not an issuer", "Write https://dev-1.okta.com/oauth2/default, or https://dev-1.okta.com for the org server."},

		{"entra", "https://login.microsoftonline.com/" + tenant + "/v2.0", "", ""},
		{"entra", "https://login.microsoftonline.us/" + tenant + "/v2.0", "", ""},
		{"entra", "https://" + tenant + ".ciamlogin.com/" + tenant + "/v2.0", "", ""},
		{"entra", "https://login.microsoftonline.com/" + tenant, "it is without the version", "Write https://login.microsoftonline.com/" + tenant + "/v2.0."},
		{"entra", "https://login.microsoftonline.com/" + tenant + "/", "it ends with /, and no issuer of Entra does", "Write https://login.microsoftonline.com/" + tenant + "/v2.0."},
		{"entra", "https://login.microsoftonline.com/" + tenant + "/v2.0/", "it ends with /, and no issuer of Entra does", "Write https://login.microsoftonline.com/" + tenant + "/v2.0."},
		{"entra", "https://sts.windows.net/" + tenant + "/", "it is the issuer of version 1 tokens", "Write https://login.microsoftonline.com/" + tenant + "/v2.0."},
		{"entra", "https://login.microsoftonline.com/" + tenant + "/oauth2/v2.0/authorize", "it is the beginning of an endpoint, not an issuer", "Write https://login.microsoftonline.com/" + tenant + "/v2.0."},
		{"entra", "https://login.microsoftonline.com/common/v2.0", "common stands for every tenant, and each token has the id of its user's own tenant in its issuer", graphOf + ", and one provider for each tenant."},
		{"entra", "https://login.microsoftonline.com/organizations", "it is without the version", graphOf + ", and one provider for each tenant."},
		{"entra", "https://login.microsoftonline.com/consumers/v2.0", "consumers is a word for a tenant, and tokens have the tenant's id in their issuer", "Write https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0."},
		{"entra", "https://login.microsoftonline.com/contoso.onmicrosoft.com/v2.0", "it has the tenant's name, and tokens have its id", graphOf + "."},
		{"entra", "https://login.microsoftonline.com/" + strings.ToUpper(tenant) + "/v2.0", "the tenant's id has capitals, and in tokens it has none", "Write it in small letters."},

		{"auth0", "https://acme.eu.auth0.com/", "", ""},
		{"auth0", "https://login.example.com/", "", ""},
		{"auth0", "http://127.0.0.1:9000", "", ""},
		{"auth0", "https://acme.eu.auth0.com", "it does not end with one /, and every issuer of Auth0 does", "Write https://acme.eu.auth0.com/."},
		{"auth0", "https://acme.eu.auth0.com//", "it does not end with one /, and every issuer of Auth0 does", "Write https://acme.eu.auth0.com/."},
		{"auth0", "https://acme.eu.auth0.com/authorize", "it is an address below the issuer", "Write https://acme.eu.auth0.com/."},
		{"auth0", "https://acme.eu.auth0.com/oauth/token", "it is an address below the issuer", "Write https://acme.eu.auth0.com/."},
		{"auth0", "https://manage.auth0.com/dashboard/eu/acme/applications", "it is the address of Auth0's dashboard", "Write https://DOMAIN/ with the Domain of the application's Settings page."},

		{"google", "https://accounts.google.com", "", ""},
		{"google", "https://accounts.google.com/", "Google has one issuer, and this is not it", "Write https://accounts.google.com."},
		{"google", "https://accounts.google.com/o/oauth2/v2/auth", "Google has one issuer, and this is not it", "Write https://accounts.google.com."},
		{"google", "https://www.googleapis.com", "Google has one issuer, and this is not it", "Write https://accounts.google.com."},

		{"keycloak", "https://sso.example/realms/Staff", "", ""},
		{"keycloak", "https://sso.example/auth/realms/staff", "", ""}, // of before version 17, or with a path of its own
		{"keycloak", "https://sso.example", "it names no realm", "Write https://sso.example/realms/NAME with the realm's name; capitals count."},
		{"keycloak", "https://sso.example/auth/", "it names no realm", "Write https://sso.example/auth/realms/NAME with the realm's name; capitals count."},
		{"keycloak", "https://sso.example/realms/", "it names no realm", "Write https://sso.example/realms/NAME with the realm's name; capitals count."},
		{"keycloak", "https://sso.example/realms/staff/", "it goes on behind the realm", "Write https://sso.example/realms/staff."},
		{"keycloak", "https://sso.example/auth/realms/staff/protocol/openid-connect/auth", "it goes on behind the realm", "Write https://sso.example/auth/realms/staff."},
		{"keycloak", "http://localhost:8080/admin/master/console/", "it is the address of the admin console", "Write http://localhost:8080/realms/NAME with the realm's name; capitals count."},

		{"cognito", "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf123", "", ""},
		{"cognito", "https://acme.auth.eu-central-1.amazoncognito.com", "it is the domain of the sign-in pages", "Write https://cognito-idp.eu-central-1.amazonaws.com/USER-POOL-ID with the User pool ID of the pool's Overview page."},
		{"cognito", "https://acme.auth.us-gov-west-1.amazoncognito.com/oauth2/authorize", "it is the domain of the sign-in pages", "Write https://cognito-idp.us-gov-west-1.amazonaws.com/USER-POOL-ID with the User pool ID of the pool's Overview page."},
		{"cognito", "https://cognito-idp.eu-central-1.amazonaws.com/", "it names no user pool", "Write https://cognito-idp.eu-central-1.amazonaws.com/USER-POOL-ID with the User pool ID of the pool's Overview page."},
		{"cognito", "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf123/.well-known/jwks.json", "it goes on behind the user pool", "Write https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf123."},
		{"cognito", "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf123/", "it goes on behind the user pool", "Write https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf123."},

		{"dex", "https://dex.example/dex", "", ""},
		{"dex", "http://127.0.0.1:5556/dex", "", ""},
		{"dex", "https://dex.example/dex/callback", "it is an address below the issuer", "Write https://dex.example/dex."},
		{"generic", "https://idp.example/", "", ""},
	}
	for _, row := range rows {
		detail, fix := preset(t, row.preset).CheckIssuer(row.issuer)
		if detail != row.detail || fix != row.fix {
			t.Errorf("%s, %s:\n%s\n%s\nwant\n%s\n%s", row.preset, row.issuer, detail, fix, row.detail, row.fix)
		}
	}
}

// FuzzCheckIssuer: an exact fix is not found wrong in its turn.
func FuzzCheckIssuer(f *testing.F) {
	for _, issuer := range []string{"https://dev-1-admin.okta.com/oauth2/v1/", "https://login.microsoftonline.com/common/", "https://a.auth0.com", "https://k/auth/realms/x/y",
		"https://cognito-idp.a.amazonaws.com/x/y", "https://$1$2/${3}", "https://\xff/"} {
		f.Add(issuer)
	}
	exact := regexp.MustCompile(`^Write (\S+)\.$`)
	f.Fuzz(func(t *testing.T, issuer string) {
		if u, err := url.Parse(issuer); err != nil || u.Host == "" || strings.Contains(issuer, "\n") {
			return // package config has refused it
		}
		for _, p := range Presets() {
			detail, fix := p.CheckIssuer(issuer)
			if (detail == "") != (fix == "") {
				t.Errorf("%s: %q without %q", p.Name, detail, fix)
			}
			if right := exact.FindStringSubmatch(fix); right != nil {
				if detail, _ := p.CheckIssuer(right[1]); detail != "" {
					t.Errorf("%s of %q says to write %q, which %q", p.Name, issuer, right[1], detail)
				}
			}
		}
	})
}

// TestLogoutOfPresets: what each provider publishes, and where the browser is sent.
func TestLogoutOfPresets(t *testing.T) {
	t.Parallel()
	const back = "https://app.example/bff/logout/callback"
	standard := url.Values{"client_id": {clientID}, "id_token_hint": {"a.b.c"}, "post_logout_redirect_uri": {back}, "state": {"s"}}
	rows := []struct {
		preset, authorize string
		published         any
		want              string // without query; "": nothing to call
		query             url.Values
	}{
		{"okta", issuer + "/v1/authorize", issuer + "/v1/logout", issuer + "/v1/logout", standard},
		{"auth0", issuer + "/authorize", issuer + "/oidc/logout", issuer + "/oidc/logout", standard},
		{"auth0", issuer + "/authorize", nil, issuer + "/v2/logout", url.Values{"client_id": {clientID}, "returnTo": {back}}},
		{"google", issuer + "/o/oauth2/v2/auth", nil, "", nil},
		{"cognito", "https://acme.auth.example/oauth2/authorize", nil, "https://acme.auth.example/logout", url.Values{"client_id": {clientID}, "logout_uri": {back}}},
		{"cognito", "https://acme.auth.example/oauth2/authorize", "https://acme.auth.example/logout", "https://acme.auth.example/logout", url.Values{"client_id": {clientID}, "logout_uri": {back}}},
		{"keycloak", issuer + "/auth", issuer + "/logout", issuer + "/logout", standard},
		{"dex", issuer + "/auth", nil, "", nil},
		{"generic", issuer + "/auth", nil, "", nil},
	}
	for _, row := range rows {
		t.Run(row.preset+" "+row.want, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.metadata = with(p.metadata, object{"authorization_endpoint": row.authorize, "end_session_endpoint": row.published})
			c := p.client(func(c *Config) { c.Quirks = preset(t, row.preset).Quirks })
			step, err := c.Logout(t.Context(), LogoutRequest{IDToken: keys.NewSecret("a.b.c"), PostLogoutRedirectURI: back, State: "s"})
			if err != nil || step.Form != nil {
				t.Fatalf("form %v, error %v", step.Form, err)
			}
			address, rawQuery, _ := strings.Cut(step.URL, "?")
			query, err := url.ParseQuery(rawQuery)
			if err != nil || row.query == nil {
				row.query = url.Values{}
			}
			if diff := cmp.Diff(row.query, query); diff != "" || address != row.want {
				t.Errorf("%s (-want +got):\n%s", address, diff)
			}
		})
	}
}
