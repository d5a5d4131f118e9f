package config

import (
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"genkan/internal/access"
	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/proxy"
	"genkan/internal/rp"
)

const (
	keyOne = "zaQrMCw2YHQsEfJLWTRFKk9Cuw2dzv3uHThnzbJpr80="
	keyTwo = "Hx0P1rXhMYwLlJwq6bH1rzjwB8CZ1ZlZCf9qJgk3u3I="
)

// sound is the least environment that Load accepts without a word.
var sound = []string{
	"GENKAN_SESSION_KEYS=" + keyOne,
	"GENKAN_OIDC_ISSUER=https://idp.example/tenant", "GENKAN_OIDC_CLIENT_ID=app", "GENKAN_OIDC_CLIENT_SECRET=s3cret-canary",
}

// folder writes files into a new folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mustLoad(t *testing.T, src Sources) *Config {
	t.Helper()
	c, found := Load(src)
	if len(found) > 0 {
		t.Fatalf("unexpected findings:\n%v", found)
	}
	return c
}

func origins(list []origin.Origin) (out []string) {
	for _, o := range list {
		out = append(out, o.String())
	}
	return out
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, Sources{Dir: folder(t, nil), Environ: sound})
	if got := origins(c.Origin.PublicURLs); !cmp.Equal(got, []string{"http://localhost:8000"}) {
		t.Errorf("public URLs %v", got)
	}
	if len(c.Session.Keys) != 1 || c.Session.Keys[0].Reveal() != keyOne {
		t.Error("the session key was not taken over")
	}
	got := map[string]any{
		"listen": c.Server.Listen, "admin": c.Server.AdminListen, "token": c.Server.AdminToken.Empty(), "alias": string(c.Origin.LoopbackAlias),
		"prefix": c.Origin.Prefix, "same site": string(c.Origin.SameSite), "spa": c.SPADir, "idle": c.Session.IdleTimeout,
		"absolute": c.Session.AbsoluteTimeout, "per user": c.Session.MaxPerUser, "level": c.Log.Level, "format": c.Log.Format, "apps": len(c.Origin.SPAOrigins),
		"navigate": c.Origin.Navigate, "form post": c.Origin.FormPost, "tls": c.Origin.TLS, "proxies": c.Origin.TrustedProxies,
	}
	want := map[string]any{
		"listen": "localhost:8000", "admin": "localhost:8001", "token": true, "alias": "redirect",
		"prefix": "/bff", "same site": "auto", "spa": "", "idle": time.Hour,
		"absolute": 12 * time.Hour, "per user": 0, "level": slog.LevelInfo, "format": "auto", "apps": 0,
		"navigate": false, "form post": false, "tls": false, "proxies": false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if store := c.Session.Store.Reveal(); filepath.Base(store) != "sessions.db" || store[:8] != "sqlite:/" {
		t.Errorf("store %q: want an absolute path below the folder", store)
	}
}

func TestProviderByEnvironmentAlone(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, Sources{Dir: folder(t, nil), Environ: append([]string{
		"GENKAN_OIDC_CLIENT_AUTH=client_secret_post", "GENKAN_OIDC_SCOPES=openid, email", "GENKAN_OIDC_PRESET=okta",
	}, sound...)})
	if len(c.Providers) != 1 {
		t.Fatalf("%d providers", len(c.Providers))
	}
	p := c.Providers[0]
	got := []any{p.ID, p.Issuer, p.ClientID, p.ClientSecret.Reveal(), p.ClientAuth, p.Scopes}
	want := []any{"oidc", "https://idp.example/tenant", "app", "s3cret-canary", rp.AuthPost, []string{"openid", "email"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

const everything = `
server:
  listen: 0.0.0.0:8443
  public_urls: [https://app.example.com]
  trusted_proxies: 10.1.2.3/8, 192.0.2.7, 2001:db8::/32
  prefix: /auth/bff
session:
  store: "memory:"
  keys:
    - ${KEY}
    - ` + keyTwo + `
  idle_timeout: 30m
  max_per_user: 5
log: {level: debug}
providers:
  - id: okta
    name: Company Okta
    preset: okta
    issuer: https://dev-1.okta.com/oauth2/default
    client_id: ${CLIENT:-fallback}
    client_secret: pa$$word$${X}
    client_auth: client_secret_basic
    scopes: [openid, offline_access]
    response_mode: form_post
    userinfo: off
    id_token_signing_algs: [RS256, ES256]
    trusted_audiences: [other]
    acr_values: [urn:okta:loa:2fa:any]
    max_age: 8h
    authorize_params: {idp: 0oa1, prompt: login}
  - {id: second, issuer: "http://127.0.0.1:9000", client_id: public, client_auth: none}
upstreams:
  - path: /api/orders/
    url: https://orders.example:8443/v1/
    keep_prefix: true
    methods: [GET, POST]
    auth: optional
    token: none
    headers: {x-user: sub}
    navigate: true
    timeout: 5s
    max_body: 512KiB
  - {path: /, url: "http://localhost:9100", auth: none}
  - path: /api/exchanged/
    url: https://orders.example/
    token: exchange
    exchange: {audience: orders, scope: orders.read orders.write, resource: ["https://orders.example"], requested_token_type: "urn:ietf:params:oauth:token-type:access_token"}
    accept: [session, bearer]
    audiences: [api://orders, orders]
    introspection: okta
    require: {scopes: [orders.read], groups: "sales, support", claims: {department: [sales, 7], active: true}, acr: ["urn:okta:loa:2fa:any"], max_age: 10m}
    idle_timeout: 1h
  - {path: /api/reports/, url: https://reports.example/, auth: required, token: client, client: {scope: reports.read, audience: reports, resource: "https://reports.example", provider: okta}}
  - {path: /api/known/, url: https://known.example/, auth: required, token: assertion, audience: known}
`

func TestEverySettingReachesItsField(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"config/genkan.yaml": everything})
	c := mustLoad(t, Sources{Dir: dir, Environ: []string{"KEY=" + keyOne}})
	if len(c.Session.Keys) != 2 || c.Session.Keys[0].Reveal() != keyOne || c.Session.Keys[1].Reveal() != keyTwo {
		t.Error("keys are not the two given, in order")
	}
	wantProxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32")}
	if diff := cmp.Diff(wantProxies, c.Server.TrustedProxies, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if c.Session.Store.Reveal() != "memory:" || c.Session.MaxPerUser != 5 {
		t.Errorf("store %q, %d sessions per user", c.Session.Store.Reveal(), c.Session.MaxPerUser)
	}
	o := c.Origin
	if !o.Navigate || !o.FormPost || !o.TrustedProxies || o.TLS || o.Prefix != "/auth/bff" {
		t.Errorf("origin settings %+v", o)
	}
	p := c.Providers[0]
	if p.ClientSecret.Reveal() != "pa$$word${X}" {
		t.Error("$$ or $${ was not kept as documented")
	}
	got := []any{p.ID, p.Name, p.Issuer, p.ClientID, p.ClientAuth, p.Scopes, p.ResponseMode, p.UserInfo, p.SigningAlgs, p.TrustedAudiences, p.ACRValues, p.MaxAge, p.AuthorizeParams}
	want := []any{"okta", "Company Okta", "https://dev-1.okta.com/oauth2/default", "fallback", rp.AuthBasic, []string{"openid", "offline_access"}, rp.ModeFormPost,
		rp.UserInfoOff, []string{"RS256", "ES256"}, []string{"other"}, []string{"urn:okta:loa:2fa:any"}, 8 * time.Hour, map[string]string{"idp": "0oa1", "prompt": "login"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	browsers := []proxy.Accept{"session"}
	wantRoutes := []proxy.Route{
		{Path: "/api/orders/", URL: &url.URL{Scheme: "https", Host: "orders.example:8443", Path: "/v1/"}, KeepPrefix: true, Methods: []string{"GET", "POST"},
			Auth: "optional", Token: "none", Headers: map[string]string{"X-User": "sub"}, Navigate: true, Accept: browsers, Timeout: 5 * time.Second, IdleTimeout: 15 * time.Minute, MaxBody: 524288},
		{Path: "/", URL: &url.URL{Scheme: "http", Host: "localhost:9100"}, Auth: "none", Token: "none", Accept: browsers, Timeout: 30 * time.Second, IdleTimeout: 15 * time.Minute, MaxBody: 10485760},
		{Path: "/api/exchanged/", URL: &url.URL{Scheme: "https", Host: "orders.example", Path: "/"}, Auth: "required", Token: "exchange",
			Exchange: rp.ExchangeRequest{Audience: "orders", Scope: "orders.read orders.write", Resource: []string{"https://orders.example"}, RequestedTokenType: "urn:ietf:params:oauth:token-type:access_token"},
			Accept:   []proxy.Accept{"session", "bearer"}, Bearer: access.BearerRule{Audiences: []string{"api://orders", "orders"}, Introspection: "okta"},
			Require: access.Rules{Scopes: []string{"orders.read"}, Groups: []string{"sales", "support"}, Claims: map[string][]string{"department": {"sales", "7"}, "active": {"true"}},
				ACR: []string{"urn:okta:loa:2fa:any"}, MaxAge: 10 * time.Minute}, Timeout: 30 * time.Second, IdleTimeout: time.Hour, MaxBody: 10485760},
		{Path: "/api/reports/", URL: &url.URL{Scheme: "https", Host: "reports.example", Path: "/"}, Auth: "required", Token: "client", Provider: "okta",
			Client: rp.ClientCredentials{Scope: "reports.read", Audience: "reports", Resource: []string{"https://reports.example"}},
			Accept: browsers, Timeout: 30 * time.Second, IdleTimeout: 15 * time.Minute, MaxBody: 10485760},
		{Path: "/api/known/", URL: &url.URL{Scheme: "https", Host: "known.example", Path: "/"}, Auth: "required", Token: "assertion", Audience: "known",
			Accept: browsers, Timeout: 30 * time.Second, IdleTimeout: 15 * time.Minute, MaxBody: 10485760},
	}
	if diff := cmp.Diff(wantRoutes, c.Upstreams, cmpopts.IgnoreUnexported(proxy.Route{})); diff != "" {
		t.Error(diff)
	}
}

func TestLaterSourcesWin(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"a.yaml": "server: {listen: a:8000, admin_listen: localhost:1}\nsession: {idle_timeout: 1m, absolute_timeout: 1h}\nlog: {level: warn}\n" +
			"providers: [{id: a, issuer: https://a.example, client_id: x, client_secret: y}]\n",
		"b.yaml": "server: {admin_listen: localhost:2}\nsession: {idle_timeout: 2m}\nproviders: [{id: b, issuer: https://b.example, client_id: x}]\n",
		".env":   "GENKAN_SESSION_IDLE_TIMEOUT=3m\nGENKAN_SESSION_ABSOLUTE_TIMEOUT=3h # comment\nGENKAN_OIDC_CLIENT_SECRET='from env file'\n",
	})
	src := Sources{Dir: dir, Files: []string{"a.yaml", "b.yaml"}, Environ: []string{
		"GENKAN_SESSION_ABSOLUTE_TIMEOUT=4h", "GENKAN_SESSION_KEYS=" + keyOne, "GENKAN_LOG_LEVEL=", "GENKAN_OIDC_CLIENT_ID=from-environment",
	}}
	mustLoad(t, src)
	values, _ := Effective(src)
	got := map[string][2]string{}
	for _, v := range values {
		got[v.Key] = [2]string{v.Text, v.From}
	}
	for key, want := range map[string][2]string{
		"server.prefix":              {"/bff", "default"},
		"server.listen":              {"a:8000", "a.yaml:1"},
		"server.admin_listen":        {"localhost:2", "b.yaml:1"},
		"session.idle_timeout":       {"3m", ".env:1"},
		"session.absolute_timeout":   {"4h", "environment"},
		"session.keys":               {"[redacted]", "environment"},
		"log.level":                  {"warn", "a.yaml:3"}, // an empty variable is one that is not set
		"server.admin_token":         {"", "not set"},
		"providers[0].id":            {"b", "b.yaml:3"},
		"providers[0].client_id":     {"from-environment", "environment"},
		"providers[0].client_secret": {"[redacted]", ".env:3"},
		"providers[0].scopes":        {"openid, profile, email", "default"},
	} {
		if got[key] != want {
			t.Errorf("%s: got %v, want %v", key, got[key], want)
		}
	}
	if _, there := got["providers[1].id"]; there {
		t.Error("the list of the first file was not replaced")
	}
}

func TestSecretsFromFiles(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"keys": keyOne + "\n" + keyTwo + "\r\n", "secret": " spaces count \n", "token": "0123456789abcdef\r\n",
		"config/genkan.yaml": "providers: [{id: a, issuer: https://a.example, client_id: x, client_secret_file: secret}]\nsession: {keys: [overridden]}\n",
	})
	c, found := Load(Sources{Dir: dir, Environ: []string{"GENKAN_SESSION_KEYS_FILE=keys", "GENKAN_ADMIN_TOKEN_FILE=" + filepath.Join(dir, "token")}})
	if found.Failed() {
		t.Fatal(found)
	}
	got := []string{c.Session.Keys[0].Reveal(), c.Session.Keys[1].Reveal(), c.Providers[0].ClientSecret.Reveal(), c.Server.AdminToken.Reveal()}
	if diff := cmp.Diff([]string{keyOne, keyTwo, " spaces count ", "0123456789abcdef"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestVariablesOfKubernetesAndDockerAreNoSettings(t *testing.T) {
	t.Parallel()
	mustLoad(t, Sources{Dir: folder(t, nil), Environ: append([]string{
		"GENKAN_SERVICE_HOST=10.0.0.1", "GENKAN_SERVICE_PORT=8000", "GENKAN_SERVICE_PORT_HTTP=8000", "GENKAN_PORT=tcp://10.0.0.1:8000",
		"GENKAN_PORT_8000_TCP=tcp://10.0.0.1:8000", "GENKAN_PORT_8000_TCP_ADDR=10.0.0.1", "GENKAN_ADMIN_PORT_8001_TCP_PROTO=tcp",
		"GENKAN_ADMIN_SERVICE_HOST=10.0.0.2", "PATH=/bin", "GENKAN=x",
	}, sound...)})
}

func TestDevelopmentDefaults(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"config/genkan.yaml": "upstreams: [{path: /api/mine/, url: 'http://127.0.0.1:1/', auth: required}]"})
	src := Sources{Dir: dir, Development: true}
	c := mustLoad(t, src)
	p, demo := c.Providers[0], c.Upstreams[1]
	got := []any{p.ID, p.Issuer, p.ClientID, p.ClientSecret.Reveal(), p.Scopes, origins(c.Origin.SPAOrigins), demo.Path, demo.URL.String(), len(c.Upstreams)}
	want := []any{"dev", "http://127.0.0.1:9000", "genkan-dev", "genkan-dev-secret", []string{"openid", "profile", "email", "groups", "offline_access"},
		[]string{"http://localhost:5173"}, "/api/demo/", "http://127.0.0.1:9100/", 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(filepath.Join(dir, ".genkan/session.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("session key: %v %v", info, err)
	}
	if again := mustLoad(t, src); again.Session.Keys[0].Reveal() != c.Session.Keys[0].Reveal() {
		t.Error("a second start made another key")
	}
	values, _ := Effective(src)
	for _, v := range values {
		if v.Key == "providers[0].issuer" && v.From != "development default" {
			t.Errorf("the issuer is said to come from %q", v.From)
		}
	}
}

func TestDevelopmentKeepsWhatIsConfigured(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"config/genkan.yaml": "upstreams: [{path: /api/demo/, url: 'http://127.0.0.1:7/', auth: required}]"})
	c := mustLoad(t, Sources{Dir: dir, Development: true, Environ: append([]string{"GENKAN_SPA_ORIGINS=http://localhost:3000"}, sound...)})
	got := []any{c.Providers[0].Issuer, len(c.Providers), origins(c.Origin.SPAOrigins), c.Upstreams[0].URL.String(), len(c.Upstreams)}
	want := []any{"https://idp.example/tenant", 1, []string{"http://localhost:3000"}, "http://127.0.0.1:7/", 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(dir, ".genkan")); err == nil {
		t.Error("a key was made though one is configured")
	}
}

func TestDevelopmentRefusesAPublicURLThatIsNotLoopback(t *testing.T) {
	t.Parallel()
	_, found := Load(Sources{Dir: folder(t, nil), Development: true, Environ: []string{
		"GENKAN_PUBLIC_URLS=https://app.example.com", "GENKAN_SPA_ORIGINS=https://app.example.com", "GENKAN_TRUSTED_PROXIES=10.0.0.1",
	}})
	want := finding.Findings{{
		Code: "GK502", Severity: "error", Title: "A setting has a value that cannot be used", Where: "GENKAN_PUBLIC_URLS", Docs: "docs/errors.md#gk502",
		Detail: "https://app.example.com is not on this machine; development uses a client secret that everybody knows",
		Fix:    "Run `genkan serve`, or remove it for `genkan dev`.",
	}}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
}

func TestSessionKeysNeedNothingElse(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"config/genkan.yaml": "nonsense: 1\nsession: {keys: [" + keyOne + "]}"})
	list, found := SessionKeys(Sources{Dir: dir})
	if len(found) > 0 || len(list) != 1 || list[0].Reveal() != keyOne {
		t.Errorf("%d keys, findings %v", len(list), found)
	}
	if _, found := SessionKeys(Sources{Dir: folder(t, nil)}); len(found) != 1 || found[0].Code != "GK301" {
		t.Errorf("without a key: %v", found)
	}
}

// A rotation that goes on without the old keys signs everybody out.
func TestSessionKeysThatCannotBeReadAreSaid(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]map[string]string{
		"a variable that is not set": {"config/genkan.yaml": "session: {keys: '${NOWHERE}'}"},
		"one of two":                 {"config/genkan.yaml": "session: {keys: [" + keyOne + ", '${NOWHERE}']}"},
		"a mapping":                  {"config/genkan.yaml": "session: {keys: {a: b}}"},
		"a file's name is a list":    {"config/genkan.yaml": "session: {keys_file: [a]}"},
		"twice in .env":              {".env": "GENKAN_SESSION_KEYS=" + keyOne + "\nGENKAN_SESSION_KEYS=" + keyTwo},
	} {
		if _, found := SessionKeys(Sources{Dir: folder(t, files)}); len(found) != 1 || found[0].Code != "GK502" {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func TestKeysAreReadAgainFromWhereTheyAre(t *testing.T) {
	t.Parallel()
	inYAML := func(list string) string {
		return "session: {keys: [" + list + "]}\nproviders: [{id: a, issuer: https://a.example, client_id: x, client_secret: y}]\n"
	}
	for _, row := range []struct {
		name, file, before, after string
		environ                   []string
		development               bool
	}{
		{name: "a file of keys", file: "keys", before: keyOne, after: keyTwo + "\n" + keyOne + "\n", environ: append([]string{"GENKAN_SESSION_KEYS_FILE=keys"}, sound[1:]...)},
		{name: "a settings file", file: "config/genkan.yaml", before: inYAML(keyOne), after: inYAML(keyTwo + "," + keyOne)},
		{name: ".env", file: ".env", before: "GENKAN_SESSION_KEYS=" + keyOne, after: "GENKAN_SESSION_KEYS=" + keyTwo + "," + keyOne, environ: sound[1:]},
		{name: "the key of development", file: ".genkan/session.key", before: keyOne, after: keyTwo + "\n" + keyOne, development: true},
	} {
		dir := folder(t, map[string]string{row.file: row.before})
		c := mustLoad(t, Sources{Dir: dir, Environ: row.environ, Development: row.development})
		write := func(text string) {
			if err := os.WriteFile(filepath.Join(dir, row.file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(row.after)
		list, found := c.Session.ReadKeys()
		if len(found) > 0 || len(list) != 2 || list[0].Reveal() != keyTwo || list[1].Reveal() != keyOne {
			t.Errorf("%s: %d keys, findings %v", row.name, len(list), found)
		}
		if err := os.Remove(filepath.Join(dir, row.file)); err != nil {
			t.Fatal(err)
		}
		if list, found := c.Session.ReadKeys(); !found.Failed() {
			t.Errorf("%s: it is gone, and there are %d keys", row.name, len(list))
		}
	}
	if c := mustLoad(t, Sources{Dir: folder(t, nil), Environ: sound}); c.Session.ReadKeys != nil {
		t.Error("keys of the environment are said to be readable again")
	}
}
