package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/finding"
)

// said is what the test looks at of a finding; fix is a part of it.
type said struct{ severity, code, where, detail, fix string }

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, group := range [][]refusalCase{yamlCases, environmentCases, valueCases, providerCases, upstreamCases, combinationCases} {
		for _, test := range group {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				files := map[string]string{}
				if test.yaml != "" {
					files["config/genkan.yaml"] = test.yaml
				}
				for name, text := range test.files {
					files[name] = text
				}
				src := Sources{Dir: folder(t, files), Environ: append(test.environ[:len(test.environ):len(test.environ)], sound...)}
				if test.bare {
					src.Environ = test.environ
				}
				c, found := Load(src)
				compare(t, test.want, found)
				if (c == nil) != found.Failed() {
					t.Errorf("config %v with findings %v", c != nil, found)
				}
			})
		}
	}
}

func compare(t *testing.T, want []said, found finding.Findings) {
	t.Helper()
	var got []said
	for i, f := range found {
		fix := f.Fix
		if i < len(want) && want[i].fix != "" && strings.Contains(fix, want[i].fix) {
			fix = want[i].fix
		}
		got = append(got, said{string(f.Severity), f.Code, f.Where, f.Detail, fix})
		if strings.Contains(f.Error()+f.Fix, "canary") {
			t.Errorf("a secret is in the finding %v", f.Code)
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(said{})); diff != "" {
		t.Error(diff)
	}
}

type refusalCase struct {
	name    string
	yaml    string
	environ []string
	files   map[string]string
	bare    bool // without the environment of a sound set-up
	want    []said
}

func one(severity, code, where, detail, fix string) []said {
	return []said{{severity, code, where, detail, fix}}
}

var yamlCases = []refusalCase{
	{name: "misspelt key", yaml: "server:\n  listn: a:1\n",
		want: one("error", "GK501", "server.listn (config/genkan.yaml:2)", "Genkan has no setting of this name", "Write server.listen, the nearest")},
	{name: "key in no group", yaml: "idle_timeout: 1h\n",
		want: one("error", "GK501", "idle_timeout (config/genkan.yaml:1)", "Genkan has no setting of this name", "Write session.idle_timeout,")},
	{name: "misspelt group", yaml: "sever: {listen: 'a:1'}\n",
		want: one("error", "GK501", "sever (config/genkan.yaml:1)", "Genkan has no setting of this name", "Write server,")},
	{name: "misspelt list", yaml: "upstream: []\n",
		want: one("error", "GK501", "upstream (config/genkan.yaml:1)", "Genkan has no setting of this name", "Write upstreams,")},
	{name: "misspelt keys of objects, all at once", yaml: "providers:\n  - id: a\n    isuer: x\nupstreams:\n- path: /a/\n  auth: required\n  uri: http://localhost\n  url: http://localhost\n",
		want: []said{
			{"error", "GK501", "providers[0].isuer (config/genkan.yaml:3)", "Genkan has no setting of this name", "Write providers[0].issuer,"},
			{"error", "GK501", "upstreams[0].uri (config/genkan.yaml:7)", "Genkan has no setting of this name", "Write upstreams[0].url,"},
		}},
	{name: "a setting of a later version", yaml: "upstreams: [{path: /a/, url: 'http://localhost', auth: required, retry: {times: 2}}]\n",
		want: one("error", "GK501", "upstreams[0].retry (config/genkan.yaml:1)", "Genkan has no setting of this name", "or remove it.")},
	{name: "key twice", yaml: "log:\n  level: info\n  level: debug\n",
		want: one("error", "GK503", "config/genkan.yaml:3", `the key "level" stands here and at line 2`, "Remove one of the two.")},
	{name: "not YAML", yaml: "server:\n  listen: [a\nlog: canary\n",
		want: one("error", "GK503", "config/genkan.yaml:3", "it is not valid YAML: ',' or ']' must be specified", "Correct the path or the file.")},
	{name: "secret that YAML takes for a block", yaml: "providers:\n- id: a\n  client_secret: |canary\n",
		want: one("error", "GK503", "config/genkan.yaml:3", "it is not valid YAML: invalid header option: …", "Correct the path or the file.")},
	{name: "secret with a quote that YAML takes for a block", yaml: "providers:\n- id: a\n  client_secret: '' \n  name: >a\"canary\n",
		want: one("error", "GK503", "config/genkan.yaml:4", "it is not valid YAML: invalid header option: …", "Correct the path or the file.")},
	{name: "anchor", yaml: "server: &a {listen: 'a:1'}\n",
		want: one("error", "GK503", "config/genkan.yaml:1", "it uses a YAML anchor, alias, merge key or tag", "Write the value out.")},
	{name: "two documents", yaml: "log: {level: info}\n---\nlog: {level: info}\n",
		want: one("error", "GK503", "config/genkan.yaml:3", "a second document begins here", "Use one file for each")},
	{name: "nested too deeply", yaml: "log: " + strings.Repeat("[", 5000) + "\n",
		want: one("error", "GK503", "config/genkan.yaml:1", "it is nested too deeply", "no more than five levels")},
	{name: "nested too deeply by lines", yaml: nestedLines(101),
		want: one("error", "GK503", "config/genkan.yaml:102", "it is nested too deeply", "no more than five levels")},
	{name: "too many keys", yaml: strings.Repeat("k: v\n", 10000),
		want: one("error", "GK503", "config/genkan.yaml:6667", "it holds more than any settings do", "Remove what is no setting.")},
	{name: "too large", yaml: "# " + strings.Repeat("x", 1<<20),
		want: one("error", "GK503", "config/genkan.yaml", "it is too large", "Correct the path or the file.")},
	{name: "a list at the top", yaml: "- a\n",
		want: one("error", "GK502", "config/genkan.yaml:1", "it holds a list", "Write keys and values.")},
	{name: "a value where a group belongs", yaml: "session: memory\n",
		want: one("error", "GK502", "session (config/genkan.yaml:1)", "it holds one value", "Write its settings below it, indented.")},
	{name: "a mapping where a value belongs", yaml: "log: {level: {a: b}}\n",
		want: one("error", "GK502", "log.level (config/genkan.yaml:1)", "it holds a mapping", "Write one value.")},
	{name: "a list where a value belongs", yaml: "log: {level: [info]}\n",
		want: one("error", "GK502", "log.level (config/genkan.yaml:1)", "it holds a list", "Write one value.")},
	{name: "a mapping in a list", yaml: "spa: {origins: [{a: b}]}\n",
		want: one("error", "GK502", "spa.origins (config/genkan.yaml:1)", "it holds a mapping", "Write one value.")},
	{name: "a value where a list of objects belongs", yaml: "upstreams: /api/\n",
		want: one("error", "GK502", "upstreams (config/genkan.yaml:1)", "it holds one value", "Write a list")},
	{name: "a value where an object belongs", yaml: "upstreams: [/api/]\n",
		want: one("error", "GK502", "upstreams[0] (config/genkan.yaml:1)", "it holds one value", "Write keys and values.")},
	{name: "a value where pairs belong", yaml: "upstreams: [{path: /a/, url: 'http://localhost', auth: required, headers: X-User}]\n",
		want: one("error", "GK502", "upstreams[0].headers (config/genkan.yaml:1)", "it holds one value", "Write names and values below it.")},
	{name: "variable that is not set", yaml: "session:\n  keys: ${NO_SUCH_KEY}\n", bare: true, environ: sound[1:],
		want: one("error", "GK502", "session.keys (config/genkan.yaml:2)", "it uses ${NO_SUCH_KEY}, and there is no NO_SUCH_KEY in the environment", "Set the variable, or write ${NAME:-default}")},
	{name: "broken reference", yaml: "spa: {dir: \"${A-b}\"}\n",
		want: one("error", "GK502", "spa.dir (config/genkan.yaml:1)", "it has a ${ that is not ${NAME} or ${NAME:-default}", "$${ stands for ${ itself.")},
}

// nestedLines is a file whose last line is indented by depth columns.
func nestedLines(depth int) string {
	var b strings.Builder
	for i := range depth + 1 {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

var environmentCases = []refusalCase{
	{name: "unknown variable", environ: []string{"GENKAN_PORT=8000"},
		want: one("error", "GK501", "GENKAN_PORT", "Genkan has no setting of this name", "the nearest known name, or remove it.")},
	{name: "misspelt variable", environ: []string{"GENKAN_PUBLIC_URL=http://localhost:8000"},
		want: one("error", "GK501", "GENKAN_PUBLIC_URL", "Genkan has no setting of this name", "Write GENKAN_PUBLIC_URLS,")},
	{name: "misspelt file variable", environ: []string{"GENKAN_SESSION_KEY_FILE=/x"},
		want: one("error", "GK501", "GENKAN_SESSION_KEY_FILE", "Genkan has no setting of this name", "Write GENKAN_SESSION_KEYS_FILE,")},
	{name: "misspelt in .env", files: map[string]string{".env": "\nGENKAN_LISTE=canary\n"},
		want: one("error", "GK501", "GENKAN_LISTE (.env:2)", "Genkan has no setting of this name", "Write GENKAN_LISTEN,")},
	{name: "broken .env", files: map[string]string{".env": "A=1\ncanary\nB=\"canary\nC='x' y\n"},
		want: []said{
			{"error", "GK503", ".env:2", "this line is not NAME=value", "Write NAME=value"},
			{"error", "GK503", ".env:3", "the value of B has a quote that does not end, or something after it", "Close the quote"},
			{"error", "GK503", ".env:4", "the value of C has a quote that does not end, or something after it", "Close the quote"},
		}},
	{name: "twice in .env", files: map[string]string{".env": "GENKAN_LISTEN=a:8000\nX=1\nX=2\nGENKAN_LISTEN=b:8000\n"},
		want: one("error", "GK502", "GENKAN_LISTEN (.env:4)", "it is set at .env:1 already", "Remove one of the two.")},
	{name: "secret and its file", environ: []string{"GENKAN_ADMIN_TOKEN=canary-canary-canary", "GENKAN_ADMIN_TOKEN_FILE=token"},
		want: one("error", "GK502", "GENKAN_ADMIN_TOKEN", "it is given beside GENKAN_ADMIN_TOKEN_FILE", "Remove one of the two.")},
	{name: "secret file missing", environ: []string{"GENKAN_ADMIN_TOKEN_FILE=nowhere"},
		want: one("error", "GK503", "GENKAN_ADMIN_TOKEN_FILE", `"nowhere": no such file or directory`, "Correct the path or the file.")},
	{name: "secret file empty", environ: []string{"GENKAN_ADMIN_TOKEN_FILE=token"}, files: map[string]string{"token": "\n"},
		want: one("error", "GK503", "GENKAN_ADMIN_TOKEN_FILE", `"token" is empty`, "Put the secret into it.")},
	{name: "secret file too large", environ: []string{"GENKAN_ADMIN_TOKEN_FILE=token"}, files: map[string]string{"token": strings.Repeat("canary", 20000)},
		want: one("error", "GK503", "GENKAN_ADMIN_TOKEN_FILE", `"token": it is too large`, "Correct the path or the file.")},
	{name: "nothing at all", bare: true,
		want: []said{
			{"error", "GK301", "session.keys", "", "Run `genkan keys new` and set GENKAN_SESSION_KEYS"},
			{"error", "GK201", "providers", "there is no provider to sign in at", "Set GENKAN_OIDC_ISSUER, GENKAN_OIDC_CLIENT_ID and GENKAN_OIDC_CLIENT_SECRET"},
		}},
	{name: "half a provider by environment", bare: true, environ: []string{sound[0], "GENKAN_OIDC_CLIENT_SECRET=canary"},
		want: []said{
			{"error", "GK201", "GENKAN_OIDC_ISSUER", "issuer is missing", "Set GENKAN_OIDC_ISSUER, for example https://dev-1.okta.com/oauth2/default."},
			{"error", "GK201", "GENKAN_OIDC_CLIENT_ID", "client_id is missing", "Set GENKAN_OIDC_CLIENT_ID,"},
		}},
}

// scalar makes a case of one variable and its finding.
func scalarCase(name, variable, text, code, detail, fix string) refusalCase {
	return refusalCase{name: name, environ: []string{variable + "=" + text}, want: one("error", code, variable, detail, fix)}
}

var valueCases = []refusalCase{
	scalarCase("listen without port", "GENKAN_LISTEN", "localhost", "GK502", `"localhost" is not host:port`, "Write host:port, for example localhost:8000"),
	scalarCase("listen with a word as port", "GENKAN_LISTEN", "localhost:http", "GK502", `"localhost:http" has a port that is not a number from 0 to 65535`, "Write host:port"),
	scalarCase("listen with a scheme", "GENKAN_LISTEN", "http://localhost:1", "GK502", `"http://localhost:1" is not host:port`, "Write host:port"),
	{name: "another port, and the public URL forgotten", environ: []string{"GENKAN_LISTEN=localhost:8080"},
		want: one("warning", "GK113", "server.public_urls", "it is http://localhost:8000 by default, but Genkan listens on port 8080", "Set server.public_urls to the address that browsers open.")},
	scalarCase("short token", "GENKAN_ADMIN_TOKEN", "canary", "GK502", "it is shorter than 16 characters and can be guessed", "genkan keys new"),
	scalarCase("public URL with a path", "GENKAN_PUBLIC_URLS", "http://localhost:8000/", "GK101", `"http://localhost:8000/": it has a path; write http://localhost:8000`, "no path, query or trailing slash"),
	scalarCase("public URL with a password", "GENKAN_PUBLIC_URLS", "http://u:canary@localhost:8000", "GK101", "it has more than scheme, host and port", "Write scheme://host[:port]"),
	scalarCase("any origin", "GENKAN_SPA_ORIGINS", "*", "GK102", `"*" stands for more than one origin`, "List each origin"),
	scalarCase("null origin", "GENKAN_SPA_ORIGINS", "null", "GK102", `"null" stands for more than one origin`, "List each origin"),
	scalarCase("pattern of origins", "GENKAN_SPA_ORIGINS", "https://*.example.com", "GK102", `"https://*.example.com" stands for more than one origin`, "List each origin"),
	scalarCase("alias", "GENKAN_LOOPBACK_ALIAS", "alow", "GK502", `"alow" is not a value of this setting`, "Write redirect, allow or reject; the nearest is allow."),
	scalarCase("proxy that is a name", "GENKAN_TRUSTED_PROXIES", "proxy", "GK502", `"proxy" is not a CIDR`, "10.0.0.0/8"),
	scalarCase("everybody a proxy", "GENKAN_TRUSTED_PROXIES", "0.0.0.0/0", "GK502", `"0.0.0.0/0" trusts everybody: any client could forge its address and scheme`, "List the proxy's own addresses."),
	scalarCase("prefix with a slash at its end", "GENKAN_PREFIX", "/bff/", "GK502", `"/bff/" is not a plain path that begins with / and does not end with one`, "Write a path such as /bff."),
	scalarCase("root as prefix", "GENKAN_PREFIX", "/", "GK502", `"/" is not a plain path that begins with / and does not end with one`, "Write a path such as /bff."),
	scalarCase("dot segment in prefix", "GENKAN_PREFIX", "/a/../b", "GK502", `"/a/../b" is not a plain path that begins with / and does not end with one`, "Write a path such as /bff."),
	scalarCase("no such folder", "GENKAN_SPA_DIR", "nowhere", "GK502", `there is no index.html in "nowhere": no such file or directory`, "or off."),
	scalarCase("no store", "GENKAN_SESSION_STORE", "mysql://u:canary@db", "GK304", "it does not begin as the address of a store", "postgres:// or redis://."),
	scalarCase("misspelt scheme", "GENKAN_SESSION_STORE", "reddis://u:canary@db", "GK304", "it does not begin as the address of a store", "the nearest is redis://."),
	scalarCase("schemes in another order", "GENKAN_SESSION_STORE", "redis+sentinels://h/canary", "GK304", "it does not begin as the address of a store", "the nearest is redis+sentinel://."),
	scalarCase("memory without a colon", "GENKAN_SESSION_STORE", "memory", "GK304", "it does not begin as the address of a store", "the nearest is memory:."),
	scalarCase("a database without slashes", "GENKAN_SESSION_STORE", "postgres:canary", "GK304", "it does not begin as the address of a store", "the nearest is postgres://."),
	scalarCase("a bare password", "GENKAN_SESSION_STORE", "canary", "GK304", "it does not begin as the address of a store", "postgres:// or redis://."),
	scalarCase("sqlite without a path", "GENKAN_SESSION_STORE", "sqlite:", "GK304", "after sqlite: there is no plain path", "Write sqlite:PATH"),
	scalarCase("sqlite with a query", "GENKAN_SESSION_STORE", "sqlite:a.db?key=canary", "GK304", "after sqlite: there is no plain path", "Write sqlite:PATH"),
	scalarCase("a password that is not escaped", "GENKAN_SESSION_STORE", "postgres://u:canary@x@db/genkan", "GK304",
		"the address is not a URL; in user name, password and parameters write : as %3A, / as %2F, ? as %3F, @ as %40, & as %26, % as %25", "Correct session.store."),
	scalarCase("sentinels without a master", "GENKAN_SESSION_STORE", "redis+sentinel://u:canary@h1,h2", "GK304",
		"address: the name by which the sentinels know the master is missing: redis+sentinel://host1,host2/name", "Correct session.store."),
	scalarCase("sessions per user beyond all measure", "GENKAN_SESSION_MAX_PER_USER", "1001", "GK502", `"1001" is not a number from 0 to 1000`, "Write a whole number from 0 to 1000."),
	scalarCase("sessions per user below none", "GENKAN_SESSION_MAX_PER_USER", "-1", "GK502", `"-1" is not a number from 0 to 1000`, "Write a whole number from 0 to 1000."),
	scalarCase("sessions per user in a word", "GENKAN_SESSION_MAX_PER_USER", "many", "GK502", `"many" is not a number from 0 to 1000`, "Write a whole number from 0 to 1000."),
	scalarCase("duration without unit", "GENKAN_SESSION_IDLE_TIMEOUT", "60", "GK502", `"60" is not a length of time`, "Write a number and a unit, for example 90s"),
	scalarCase("days", "GENKAN_SESSION_ABSOLUTE_TIMEOUT", "30d", "GK502", `"30d" is not a length of time`, "Write 720h."),
	scalarCase("no idle time-out", "GENKAN_SESSION_IDLE_TIMEOUT", "0s", "GK502", "it is 0, and there is no unlimited", "Write a positive length of time."),
	scalarCase("negative time-out", "GENKAN_SESSION_IDLE_TIMEOUT", "-1h", "GK502", `"-1h" is negative`, "Write a positive length of time."),
	scalarCase("idle over absolute", "GENKAN_SESSION_IDLE_TIMEOUT", "13h", "GK305", "it is 13h, longer than session.absolute_timeout, which is 12h", "Write 12h or less"),
	scalarCase("SameSite in capitals", "GENKAN_SESSION_COOKIE_SAME_SITE", "Strict", "GK502", `"Strict" is not a value of this setting`, "the nearest is strict."),
	scalarCase("log level", "GENKAN_LOG_LEVEL", "warning", "GK502", `"warning" is not a value of this setting`, "the nearest is warn."),
	scalarCase("log level that resembles none", "GENKAN_LOG_LEVEL", "verbose", "GK502", `"verbose" is not a value of this setting`, "Write debug, info, warn or error."),
	scalarCase("scopes with blanks between", "GENKAN_OIDC_SCOPES", "openid profile email", "GK201", `"openid profile email" is not one word`, "Write openid,profile,email."),
	scalarCase("control character", "GENKAN_SPA_DIR", "a\x1b[2Jb", "GK502", "it holds a line break or another control character", "Remove it."),
	{name: "short key", bare: true, environ: append([]string{"GENKAN_SESSION_KEYS=canary"}, sound[1:]...),
		want: one("error", "GK302", "GENKAN_SESSION_KEYS", "key 1: not 32 bytes in base64", "Run `genkan keys new`.")},
	{name: "keys that are one, short and weak", bare: true,
		environ: append([]string{"GENKAN_SESSION_KEYS=" + keyOne + "," + keyOne + ",canary,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}, sound[1:]...),
		want: []said{
			{"error", "GK303", "GENKAN_SESSION_KEYS", "key 2: this key stands in the list twice", "Remove one of the two."},
			{"error", "GK302", "GENKAN_SESSION_KEYS", "key 3: not 32 bytes in base64", "Run `genkan keys new`."},
			{"error", "GK302", "GENKAN_SESSION_KEYS", "key 4: the bytes are not random", "Run `genkan keys new`."},
		}},
}

var providerCases = []refusalCase{
	{name: "two ids that are one", yaml: "providers:\n- {id: a, issuer: https://a.example, client_id: x, client_secret: y}\n- {id: a, issuer: https://b.example, client_id: x, client_secret: y}\n", bare: true, environ: sound[:1],
		want: one("error", "GK201", "providers[1].id (config/genkan.yaml:3)", `"a" is the id of providers[0] too`, "an id of its own")},
	{name: "an empty provider", yaml: "providers:\n- name: x\n", bare: true, environ: sound[:1],
		want: []said{
			{"error", "GK201", "providers[0] (config/genkan.yaml:2)", "id is missing", "Add id, for example okta."},
			{"error", "GK201", "providers[0] (config/genkan.yaml:2)", "issuer is missing", "Add issuer, for example https://dev-1.okta.com/oauth2/default."},
			{"error", "GK201", "providers[0] (config/genkan.yaml:2)", "client_id is missing", "Add client_id, for example 0oa1b2c3."},
		}},
	providerCase("id", "id: Okta!", "error", "GK201", "id", `"Okta!" is not of a-z, 0-9 and -, up to 64`, "Write a word such as okta."),
	providerCase("issuer without scheme", "issuer: idp.example", "error", "GK201", "issuer", `"idp.example" does not begin with https://`, "Write https://idp.example."),
	providerCase("issuer by http", "issuer: http://idp.example", "error", "GK201", "issuer", `"http://idp.example" is plain http to another machine: client secret and tokens could be read on the way`, "Write https://idp.example."),
	providerCase("issuer with another scheme", "issuer: ftp://idp.example", "error", "GK201", "issuer", `"ftp://idp.example" is not an https URL`, "Write the issuer that the provider's metadata shows, for example"),
	providerCase("issuer with a user", "issuer: https://u:canary@idp.example", "error", "GK201", "issuer", "it is not a plain URL", "Write the issuer that the provider's metadata shows"),
	providerCase("issuer with a query", "issuer: https://idp.example/?t=1", "error", "GK201", "issuer", `"https://idp.example/?t=1" has a query or a fragment`, "Write it without."),
	providerCase("metadata address as issuer", "issuer: https://idp.example/a/.well-known/openid-configuration", "error", "GK201", "issuer",
		`"https://idp.example/a/.well-known/openid-configuration" is an address below the issuer`, "Write https://idp.example/a."),
	providerCase("endpoint as issuer", "issuer: https://idp.example/oauth2/default/v1/authorize", "error", "GK201", "issuer",
		`"https://idp.example/oauth2/default/v1/authorize" is an address below the issuer`, "Write https://idp.example/oauth2/default."),
	providerCase("Okta's admin console", "preset: okta, issuer: https://dev-1-admin.okta.com", "error", "GK201", "issuer",
		`"dev-1-admin.okta.com" is the address of Okta's admin console`, "Write https://dev-1.okta.com."),
	providerCase("Okta with a slash at its end", "preset: okta, issuer: https://dev-1.okta.com/oauth2/default/", "error", "GK201", "issuer",
		"it ends with /, and no issuer of Okta does", "Write https://dev-1.okta.com/oauth2/default."),
	providerCase("Okta's endpoints as issuer", "preset: okta, issuer: https://dev-1.okta.com/oauth2/v1", "error", "GK201", "issuer",
		"it is the beginning of an endpoint, not an issuer", "Write https://dev-1.okta.com/oauth2/default, or https://dev-1.okta.com for the org server."),
	providerCase("groups scope of a custom server", "preset: okta, issuer: https://dev-1.okta.com/oauth2/default, scopes: 'openid, groups'", "warning", "GK201", "scopes",
		"only Okta's org server has a scope groups of its own; this issuer is a custom server", "Add a claim groups in Okta"),
	providerCase("misspelt preset", "preset: octa", "error", "GK502", "preset", `"octa" is not a value of this setting`, "Write okta, entra, auth0, google, keycloak, cognito, dex or generic; the nearest is okta."),
	providerCase("client_auth", "client_auth: basic", "error", "GK502", "client_auth", `"basic" is not a value of this setting`, "self_signed_tls_client_auth or none."),
	providerCase("public client with a secret", "client_auth: none", "error", "GK201", "client_auth", "it is none, but there is a client_secret", "Remove the secret"),
	providerCase("blank around the secret", `client_secret: " canary"`, "warning", "GK201", "client_secret", "it begins or ends with a blank or a quote", "Remove it"),
	providerCase("line break in the secret", `client_secret: "canary\nx"`, "error", "GK502", "client_secret", "it holds a line break or another control character", "Remove it."),
	providerCase("scopes in one string", "scopes: openid email", "error", "GK201", "scopes", `"openid email" is not one word`, "Write openid,email."),
	providerCase("algorithm none", "id_token_signing_algs: [RS256, none]", "error", "GK502", "id_token_signing_algs", `"none" is not a value of this setting`, "Write RS256"),
	providerCase("MAC algorithm", "id_token_signing_algs: [HS256]", "error", "GK502", "id_token_signing_algs", `"HS256" is not a value of this setting`, "Write RS256"),
	providerCase("implicit flow", "authorize_params: {response_type: token}", "error", "GK201", "authorize_params", `"response_type" is set by Genkan itself`, "Remove it."),
	providerCase("prompt none and more", "authorize_params: {prompt: none login}", "error", "GK201", "authorize_params", "prompt cannot be used: none stands alone", "Write none alone"),
	providerCase("max_age in parts of a second", "max_age: 1500ms", "error", "GK502", "max_age", `"1500ms" is not a whole number of seconds`, "Write whole seconds."),
	providerCase("no CA file", "ca_file: nowhere.pem", "error", "GK502", "ca_file", `"nowhere.pem": no such file or directory`, "Name a PEM file"),
	providerCase("CA file that is none", "ca_file: config/genkan.yaml", "error", "GK502", "ca_file", `"config/genkan.yaml": it holds no PEM certificate`, "Name a PEM file"),
	{name: "no secret and no word about it", yaml: "providers: [{id: a, issuer: https://a.example, client_id: x}]", bare: true, environ: sound[:1],
		want: one("warning", "GK201", "providers[0].client_secret", "it is missing, so this is a public client", "client_auth: none to say so")},
	{name: "no secret but a way to show it", yaml: "providers: [{id: a, issuer: https://a.example, client_id: x, client_auth: client_secret_post}]", bare: true, environ: sound[:1],
		want: one("error", "GK201", "providers[0].client_secret", "it is missing, but client_auth is client_secret_post", "Set client_secret or client_secret_file.")},
	{name: "secret file beside the secret", yaml: "providers: [{id: a, issuer: https://a.example, client_id: x, client_secret: canary, client_secret_file: s}]", bare: true, environ: sound[:1],
		want: one("error", "GK502", "providers[0].client_secret (config/genkan.yaml:1)", "it is given beside providers[0].client_secret_file (config/genkan.yaml:1)", "Remove one of the two.")},
}

// providerCase overrides one key of a sound provider.
func providerCase(name, keys, severity, code, key, detail, fix string) refusalCase {
	text := "providers:\n- {" + keys
	for key, usual := range map[string]string{"id": "a", "issuer": "https://idp.example", "client_id": "x", "client_secret": "y"} {
		if !strings.Contains(" "+keys, " "+key+":") {
			text += ", " + key + ": " + usual
		}
	}
	return refusalCase{name: name, yaml: text + "}\n", bare: true, environ: sound[:1],
		want: one(severity, code, "providers[0]."+key+" (config/genkan.yaml:2)", detail, fix)}
}

var upstreamCases = []refusalCase{
	{name: "an empty upstream", yaml: "upstreams:\n- auth: none\n",
		want: []said{
			{"error", "GK401", "upstreams[0] (config/genkan.yaml:2)", "path is missing", "Add path, for example /api/orders/."},
			{"error", "GK401", "upstreams[0] (config/genkan.yaml:2)", "url is missing", "Add url, for example http://127.0.0.1:9100/."},
		}},
	{name: "two with one path", yaml: "upstreams:\n- {path: /a/, url: 'http://localhost', auth: required}\n- {path: /a/, url: 'http://localhost', auth: required}\n",
		want: one("error", "GK402", "upstreams[1].path (config/genkan.yaml:3)", `"/a/" is the path of upstreams[0] too`, "Remove one of the two.")},
	upstreamCase("path without slash at its end", "path: /api", "error", "GK401", "path", `"/api" is not a plain path that begins and ends with /`, "Write /api/."),
	upstreamCase("path with dot segments", "path: /api/../x/", "error", "GK401", "path", `"/api/../x/" is not a plain path that begins and ends with /`, "Write a plain path such as /api/orders/."),
	upstreamCase("path of Genkan's own", "path: /bff/api/", "error", "GK403", "path", `"/bff/api/" is below server.prefix, which is /bff`, "Choose another path."),
	upstreamCase("the prefix itself", "path: /bff/", "error", "GK403", "path", `"/bff/" is below server.prefix, which is /bff`, "Choose another path."),
	upstreamCase("url without scheme", "url: 'localhost:9100'", "error", "GK401", "url", `"localhost:9100" is not an absolute http or https URL`, "Write http://host:port/"),
	upstreamCase("url with a password", "url: 'http://u:canary@localhost/'", "error", "GK401", "url", "it holds a user name", "Remove everything before the @."),
	upstreamCase("url with a query", "url: 'http://localhost/?a=canary'", "error", "GK401", "url", "it has a query or a fragment", "Write it without."),
	upstreamCase("token by plain http", "url: 'http://orders.internal/'", "warning", "GK405", "url", `"orders.internal" is another machine, and tokens go there by plain http`, "Write https://"),
	upstreamCase("method in small letters", "methods: [get]", "error", "GK502", "methods", `"get" is not a method; methods are written in capitals`, "Write GET."),
	upstreamCase("TRACE", "methods: [TRACE]", "error", "GK502", "methods", "TRACE is never let through", "Remove it."),
	upstreamCase("no method", "methods: [G E T]", "error", "GK502", "methods", `"G E T" is not a method`, "GET or POST"),
	upstreamCase("auth", "auth: maybe", "error", "GK502", "auth", `"maybe" is not a value of this setting`, "Write required, optional or none"),
	upstreamCase("token of another name", "token: exchanged", "error", "GK502", "token", `"exchanged" is not a value of this setting`, "the nearest is exchange"),
	upstreamCase("token without caller", "auth: none, token: relay", "error", "GK401", "token", "it is relay, but auth is none: nobody is known whose token it could be", "Write token: none"),
	upstreamCase("assertion without caller", "auth: none, token: assertion", "error", "GK401", "token", "it is assertion, but auth is none: nobody is known whose token it could be", "Write token: none"),
	upstreamCase("Genkan's own token for everybody", "auth: none, token: client", "warning", "GK406", "token", "auth is none, so whoever reaches Genkan calls this service with Genkan's own token", "Write auth: required"),
	upstreamCase("claims without caller", "auth: none, headers: {X-User: sub}", "error", "GK401", "headers", "auth is none: without a caller there are no claims", "Remove headers"),
	upstreamCase("rule without caller", "auth: none, require: {groups: [a]}", "error", "GK401", "require.groups", "auth is none: nobody looks who is calling", "write auth: required"),
	upstreamCase("rule for who may be nobody", "auth: optional, require: {groups: [a]}", "error", "GK401", "auth", "it is optional, but require asks who is calling", "Write auth: required"),
	upstreamCase("a rule left empty", "require: {groups: }", "error", "GK502", "require.groups", "it has no value", "remove the key"),
	upstreamCase("a rule with an empty list", "require: {scopes: []}", "error", "GK502", "require.scopes", "the list, or a value in it, is empty", "Write at least one value"),
	upstreamCase("a rule with a variable that is empty", "require: {acr: ['${NOTHING:-}']}", "error", "GK502", "require.acr", "the list, or a value in it, is empty", "Write at least one value"),
	upstreamCase("a claim without values", "require: {claims: {department: []}}", "error", "GK502", "require.claims", `"department" has no value`, "List the values"),
	upstreamCase("claims without a claim", "require: {claims: {}}", "error", "GK502", "require.claims", "it names no claim", "Write a claim"),
	upstreamCase("rules, and none of them", "require: {}", "error", "GK502", "require", "nothing is below it", "remove the key"),
	{name: "rules that are all commented out", yaml: "upstreams:\n- path: /a/\n  url: http://localhost\n  auth: required\n  require:\n    # groups: [a]\n",
		want: one("error", "GK502", "upstreams[0].require (config/genkan.yaml:5)", "nothing is below it", "remove the key")},
	upstreamCase("an age of nothing", "require: {max_age: 0s}", "error", "GK502", "require.max_age", "it is 0, and there is no unlimited", "Write a positive length of time."),
	upstreamCase("an age of parts of seconds", "require: {max_age: 1500ms}", "error", "GK502", "require.max_age", `"1500ms" is not a whole number of seconds`, "Write whole seconds."),
	upstreamCase("a rule of another name", "require: {roles: [a]}", "error", "GK501", "require.roles", "Genkan has no setting of this name", "the nearest known key"),
	upstreamCase("two ways to sign in as one", "require: {acr: [mfa phr]}", "error", "GK401", "require.acr", `"mfa phr" has a blank in it or is very long; acr_values has blanks between its values`, "one value an element"),
	{name: "a way to sign in that the provider is not asked for", bare: true, environ: sound[:1], yaml: "providers: [{id: a, issuer: 'https://a.example', client_id: x, client_secret: 0123456789abcdef, acr_values: [low]}]\nupstreams:\n- {path: /a/, url: 'http://localhost', require: {acr: [high]}}\n",
		want: one("error", "GK401", "upstreams[0].require.acr (config/genkan.yaml:3)", "acr_values of provider a has none of it, and a sign-in there asks for nothing else", "Add a value of it")},
	upstreamCase("exchange for nothing", "token: exchange", "error", "GK401", "token", "it is exchange, but nothing says for what", "Add exchange.audience"),
	upstreamCase("exchange of another kind of token", "exchange: {audience: orders}", "error", "GK401", "exchange.audience", "it says something about token: exchange, but token is relay", "Write token: exchange"),
	upstreamCase("audience of another kind of token", "audience: orders", "error", "GK401", "audience", "it says something about token: assertion, but token is relay", "Write token: assertion"),
	upstreamCase("relative resource", "token: exchange, exchange: {resource: [orders]}", "error", "GK401", "exchange.resource", `"orders" is not an absolute URI without fragment`, "Write a URI"),
	upstreamCase("resource with a fragment", "token: exchange, exchange: {resource: ['https://a.example/#b']}", "error", "GK401", "exchange.resource", `"https://a.example/#b" is not an absolute URI without fragment`, "Write a URI"),
	upstreamCase("token type that is no URI", "token: exchange, exchange: {audience: a, requested_token_type: jwt}", "error", "GK401", "exchange.requested_token_type", "it is not the type of a token that an upstream can be called with", "Write urn:ietf:params:oauth:token-type:access_token"),
	upstreamCase("token of a provider that is none", "token: client, client: {provider: okat}", "error", "GK401", "client.provider", `"okat" is the id of no provider`, "Write oidc"),
	{name: "programs without audience", yaml: "upstreams:\n- {path: /a/, url: 'http://localhost', auth: required, accept: [session, bearer]}\n",
		want: one("error", "GK401", "upstreams[0].audiences", "it is missing, but accept has bearer: access tokens for other services would do", "Add audiences")},
	upstreamCase("audience without programs", "audiences: [api]", "error", "GK401", "audiences", "it is about access tokens that callers bring, but accept has no bearer", "Write accept: [session, bearer]"),
	upstreamCase("nobody accepted", "accept: []", "error", "GK502", "accept", "it is empty: nobody could call", "Write session, bearer or both."),
	upstreamCase("introspection at a provider that is none", "accept: [bearer], audiences: [api], introspection: okta", "error", "GK401", "introspection", `"okta" is the id of no provider`, "Write oidc"),
	{name: "neither auth nor rules", yaml: "upstreams:\n- {path: /a/, url: 'http://localhost'}\n",
		want: one("warning", "GK406", "upstreams[0].auth", "neither auth nor require is written", "Write auth: required")},
	{name: "a part guarded less", yaml: "upstreams:\n- {path: /a/, url: 'http://localhost', auth: required}\n- {path: /a/b/, url: 'http://localhost', auth: none}\n- {path: /ab/, url: 'http://localhost', auth: none}\n",
		want: one("warning", "GK404", "upstreams[1].path (config/genkan.yaml:3)", `"/a/b/" is inside "/a/", which asks for more`, "Write the same auth")},
	{name: "a part without the rules around it", yaml: "upstreams:\n- {path: /a/b/, url: 'http://localhost', auth: required}\n- {path: /a/, url: 'http://localhost', require: {groups: [x]}}\n",
		want: one("warning", "GK404", "upstreams[0].path (config/genkan.yaml:2)", `"/a/b/" is inside "/a/", which asks for more`, "Write the same auth")},
	{name: "a part guarded more", yaml: "upstreams:\n- {path: /a/, url: 'http://localhost', auth: none}\n- {path: /a/b/, url: 'http://localhost', require: {groups: [x]}}\n"},
	upstreamCase("header of the protocol", "headers: {authorization: sub}", "error", "GK502", "headers", "Authorization has a meaning of its own on the way", "Choose another name."),
	upstreamCase("header that is none", "headers: {'X User': sub}", "error", "GK502", "headers", `"X User" is not a header name`, "X-User"),
	upstreamCase("header twice", "headers: {X-User: sub, x-user: email}", "error", "GK502", "headers", "X-User stands there twice; case does not count", "Remove one of the two."),
	upstreamCase("header without claim", "headers: {X-User: }", "error", "GK502", "headers", "X-User has no claim", "Write a claim"),
	upstreamCase("navigate", "navigate: yes", "error", "GK502", "navigate", `"yes" is neither true nor false`, "Write true or false."),
	upstreamCase("time-out", "timeout: soon", "error", "GK502", "timeout", `"soon" is not a length of time`, "Write a number and a unit"),
	upstreamCase("no time-out", "timeout: 0s", "error", "GK502", "timeout", "it is 0, and there is no unlimited", "Write a positive length of time."),
	upstreamCase("size", "max_body: 10 potatoes", "error", "GK502", "max_body", `"10 potatoes" is not a size`, "for example 512KiB"),
	upstreamCase("size beyond all measure", "max_body: 999999GiB", "error", "GK502", "max_body", `"999999GiB" is not between 1 byte and 1024GiB`, "for example 512KiB or 10MiB."),
	upstreamCase("no body", "max_body: 0", "error", "GK502", "max_body", `"0" is not between 1 byte and 1024GiB`, "for example 512KiB or 10MiB."),
}

func upstreamCase(name, keys, severity, code, key, detail, fix string) refusalCase {
	text := "upstreams:\n- {" + keys
	for key, usual := range map[string]string{"path": "/api/", "url": "'http://localhost/'", "auth": "required"} {
		if !strings.Contains(" "+keys, " "+key+":") {
			text += ", " + key + ": " + usual
		}
	}
	return refusalCase{name: name, yaml: text + "}\n", want: one(severity, code, "upstreams[0]."+key+" (config/genkan.yaml:2)", detail, fix)}
}

// combinationCases are settings that do not fit each other; those of origins are
// tested where they are judged, and here only for where they are said to stand.
var combinationCases = []refusalCase{
	{name: "two spellings of loopback", yaml: "spa:\n  origins: [http://127.0.0.1:5173]\n",
		want: one("error", "GK108", "spa.origins (config/genkan.yaml:2)", "http://127.0.0.1:5173 calls http://localhost:8000: to a browser 127.0.0.1 and localhost are two sites", "Write http://localhost:5173 in spa.origins")},
	{name: "strict with navigations", environ: []string{"GENKAN_SESSION_COOKIE_SAME_SITE=strict"}, yaml: "upstreams: [{path: /a/, url: 'http://localhost', auth: required, navigate: true}]",
		want: one("error", "GK107", "GENKAN_SESSION_COOKIE_SAME_SITE", "strict, but an upstream has navigate: true: a link from another site would arrive without the session", "auto or lax")},
	{name: "https behind nothing", environ: []string{"GENKAN_PUBLIC_URLS=https://app.example.com"},
		want: one("warning", "GK110", "server.trusted_proxies", "https://app.example.com is https; Genkan itself listens on plain http", "Set server.trusted_proxies")},
	{name: "no public URL", yaml: "server: {public_urls: []}",
		want: one("error", "GK101", "server.public_urls (config/genkan.yaml:1)", "there is no public URL", "Set server.public_urls")},
	{name: "one address twice", environ: []string{"GENKAN_ADMIN_LISTEN=localhost:8000"},
		want: one("error", "GK502", "GENKAN_ADMIN_LISTEN", "it is the same as server.listen", "Choose another port")},
	{name: "administration for everybody, without a token", environ: []string{"GENKAN_ADMIN_LISTEN=:8001"},
		want: one("warning", "GK543", "GENKAN_ADMIN_LISTEN", "it is :8001, and there is no server.admin_token", "Set server.admin_token")},
	{name: "administration by name, without a token", environ: []string{"GENKAN_ADMIN_LISTEN=genkan.internal:8001"},
		want: one("warning", "GK543", "GENKAN_ADMIN_LISTEN", "it is genkan.internal:8001, and there is no server.admin_token", "localhost:8001")},
	{name: "administration for everybody, with a token", environ: []string{"GENKAN_ADMIN_LISTEN=0.0.0.0:8001", "GENKAN_ADMIN_TOKEN=0123456789abcdef"}},
	{name: "administration for everybody, with a token that is refused", environ: []string{"GENKAN_ADMIN_LISTEN=0.0.0.0:8001", "GENKAN_ADMIN_TOKEN=canary"},
		want: one("error", "GK502", "GENKAN_ADMIN_TOKEN", "it is shorter than 16 characters and can be guessed", "Write a long random one")},
	{name: "administration for this machine", environ: []string{"GENKAN_ADMIN_LISTEN=127.0.0.1:8001"}},
	{name: "administration for this machine by IPv6", environ: []string{"GENKAN_ADMIN_LISTEN=[::1]:8001"}},
	{name: "certificate without key", environ: []string{"GENKAN_TLS_CERT_FILE=a.pem", "GENKAN_PUBLIC_URLS=https://localhost:8000"},
		want: one("error", "GK502", "GENKAN_TLS_CERT_FILE", "it is set without server.tls.key_file", "Set server.tls.key_file too.")},
	{name: "key without certificate", environ: []string{"GENKAN_TLS_KEY_FILE=a.pem"},
		want: one("error", "GK502", "GENKAN_TLS_KEY_FILE", "it is set without server.tls.cert_file", "Set server.tls.cert_file too.")},
	{name: "certificate that is not there", environ: []string{"GENKAN_TLS_CERT_FILE=a.pem", "GENKAN_TLS_KEY_FILE=b.pem", "GENKAN_PUBLIC_URLS=https://localhost:8000"},
		want: one("error", "GK502", "GENKAN_TLS_CERT_FILE", "the certificate and its key cannot be used: no such file or directory", "Name a PEM certificate chain")},
	{name: "several things at once", environ: []string{"GENKAN_LISTEN=x", "GENKAN_TYPO=1"}, yaml: "log: {level: inf}\nupstreams: [{path: x, url: y, auth: required}]",
		want: []said{
			{"error", "GK501", "GENKAN_TYPO", "Genkan has no setting of this name", "the nearest known name"},
			{"error", "GK502", "GENKAN_LISTEN", `"x" is not host:port`, "Write host:port"},
			{"error", "GK502", "log.level (config/genkan.yaml:1)", `"inf" is not a value of this setting`, "the nearest is info."},
			{"error", "GK401", "upstreams[0].path (config/genkan.yaml:2)", `"x" is not a plain path that begins and ends with /`, "Write /x/."},
			{"error", "GK401", "upstreams[0].url (config/genkan.yaml:2)", `"y" is not an absolute http or https URL`, "Write http://host:port/"},
		}},
}

func TestExplicitFilesMustExist(t *testing.T) {
	t.Parallel()
	_, found := Load(Sources{Dir: folder(t, nil), Files: []string{"a.yaml"}, EnvFile: "b.env", Environ: sound})
	compare(t, []said{
		{"error", "GK503", "b.env", "no such file or directory", "Correct the path or the file."},
		{"error", "GK503", "a.yaml", "no such file or directory", "Correct the path or the file."},
	}, found)
}

func TestAFileThatCannotBeReadIsNotReportedAsMissingSettings(t *testing.T) {
	t.Parallel()
	_, found := Load(Sources{Dir: folder(t, map[string]string{"config/genkan.yaml": "a: [\n"})})
	if len(found) != 1 || found[0].Code != "GK503" {
		t.Errorf("findings:\n%v", found)
	}
}
