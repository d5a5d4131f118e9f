package server_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
	"genkan/internal/telemetry"
)

// asker is a web server in front of an app that Genkan guards.
type asker struct {
	*fixture
	cookie string // of alice; "Cookie: …"
}

var alice = rp.Identity{
	Issuer: deadIssuer, Subject: "alice-id", ACR: "pwd",
	Claims: map[string]json.RawMessage{
		"email": json.RawMessage(`"alice@app.example"`), "email_verified": json.RawMessage(`true`),
		"preferred_username": json.RawMessage(`"alice"`), "groups": json.RawMessage(`["staff","eng"]`), "department": json.RawMessage(`"sales"`),
	},
}

func newAsker(t testing.TB, id rp.Identity, o options) asker {
	t.Helper()
	o.public, o.proxies = []string{"https://app.example"}, []string{"10.0.0.0/8"}
	f := newFixture(t, o)
	if id.AuthTime.IsZero() {
		id.AuthTime = f.Now().Add(-time.Minute)
	}
	w := httptest.NewRecorder()
	r := origin.WithSite(httptest.NewRequest(http.MethodGet, "https://app.example/", nil), f.Policy.Canonical())
	_, err := f.Sessions.Start(w, r, session.SignIn{Provider: "idp", Grant: rp.Grant{Identity: id, Tokens: rp.Tokens{
		Access: keys.NewSecret("access-canary"), Refresh: keys.NewSecret("refresh-canary"), ID: keys.NewSecret("id-canary"),
		Expiry: f.Now().Add(time.Hour), Scope: []string{"openid", "orders.read"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	c := w.Result().Cookies()[0]
	return asker{f, "Cookie: " + c.Name + "=" + c.Value}
}

// asks sends a question by GET, as nginx, Traefik and Caddy do, about a call of method.
func (a asker) asks(query, method string, headers ...string) *http.Response {
	return a.sends(http.MethodGet, "/bff/auth"+query, append([]string{"X-Forwarded-Method: " + method}, headers...)...)
}

func (a asker) sends(method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	r.Host, r.RemoteAddr = "127.0.0.1:8000", "10.1.2.3:4000"
	common := []string{"X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: app.example"}
	return a.send(r, append(common, headers...)...)
}

func with(set []string, more ...string) []string { return append(slices.Clone(set), more...) }

func TestWhoIsSignedInMayPass(t *testing.T) {
	t.Parallel()
	a := newAsker(t, alice, options{})
	for _, tt := range []struct {
		name    string
		answer  *http.Response
		status  int
		headers map[string]string
	}{
		{"a page", a.asks("", "GET", with(navigate, a.cookie)...), 202, nil},
		{"the same of HEAD", a.asks("", "HEAD", with(navigate, a.cookie)...), 202, nil},
		{"a page from a link elsewhere", a.asks("", "GET", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: cross-site", a.cookie), 202, nil},
		{"fetch", a.asks("", "GET", with(fetchSame, a.cookie)...), 202, nil},
		{"a write", a.asks("", "POST", with(fetchSame, a.cookie)...), 202, nil},
		{"a WebSocket", a.asks("", "GET", "Upgrade: websocket", "Origin: https://app.example", "Sec-Fetch-Mode: websocket", "Sec-Fetch-Site: same-origin", a.cookie), 202, nil},
		{"by nginx's name of the method", a.sends("GET", "/bff/auth", with(navigate, "X-Original-Method: GET", a.cookie)...), 202, nil},
		{"by both names, which agree", a.asks("", "GET", with(navigate, "X-Original-Method: GET", a.cookie)...), 202, nil},
		{"Envoy, no rules", a.sends("GET", "/bff/auth/-/orders/7?groups=none&x", with(navigate, a.cookie)...), 200, nil},
		{"Envoy, with rules", a.sends("DELETE", "/bff/auth/groups=eng&scopes=orders.read/orders/7", with(fetchSame, a.cookie)...), 200, nil},
		{"Envoy, of WebDAV", a.sends("PROPFIND", "/bff/auth/-/files", with(fetchSame, a.cookie)...), 200, nil},
		{"Envoy, of a method with a hyphen", a.sends("VERSION-CONTROL", "/bff/auth/groups=eng/files", with(fetchSame, a.cookie)...), 200, nil},
		{"Envoy, of a method nobody knows", a.sends("QUERY", "/bff/auth/-/files?x", with(fetchSame, a.cookie)...), 200, nil},
		{"Envoy, of a hostile path", a.sends("GET", "/bff/auth/-/../..//%2e%2e%2fbff/logout", with(navigate, a.cookie)...), 200, nil},
	} {
		got := map[string]string{}
		for name := range tt.answer.Header {
			if strings.HasPrefix(name, "X-Auth-Request-") {
				got[name] = tt.answer.Header.Get(name)
			}
		}
		want := map[string]string{
			"X-Auth-Request-User": "alice-id", "X-Auth-Request-Email": "alice@app.example",
			"X-Auth-Request-Preferred-Username": "alice", "X-Auth-Request-Groups": "staff,eng",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if body := bodyOf(t, tt.answer); tt.answer.StatusCode != tt.status || body != "" || tt.answer.Header.Get("Cache-Control") != "no-store" || tt.answer.Header.Get("Allow") != "" {
			t.Errorf("%s: %d %q %v", tt.name, tt.answer.StatusCode, body, tt.answer.Header)
		}
	}
}

func TestACallIsJudgedAsIfItHadComeHere(t *testing.T) {
	t.Parallel()
	a := newAsker(t, alice, options{})
	foreign := []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"}
	for _, tt := range []struct {
		name   string
		answer *http.Response
		code   string
	}{
		{"a foreign write", a.asks("", "POST", with(foreign, a.cookie)...), "csrf"},
		{"a foreign write with our header", a.asks("", "POST", with(foreign, "X-CSRF: 1", a.cookie)...), "csrf"},
		{"a foreign read", a.asks("", "GET", with(foreign, a.cookie)...), "csrf"},
		{"a write that nginx would ask about by GET", a.asks("", "POST", "Sec-Fetch-Site: same-origin", a.cookie), "csrf"},
		{"a write without a sign of its origin", a.asks("", "POST", "X-CSRF: 1", a.cookie), "csrf"},
		{"a read without a sign", a.asks("", "GET", a.cookie), "csrf"},
		{"an image elsewhere", a.asks("", "GET", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Sec-Fetch-Site: cross-site", a.cookie), "csrf"},
		{"a foreign WebSocket", a.asks("", "GET", "Upgrade: websocket", "Origin: https://evil.example", a.cookie), "csrf"},
		{"a foreign WebSocket whose Upgrade was cut", a.asks("", "GET", "Sec-Fetch-Mode: websocket", "Origin: https://evil.example", a.cookie), "csrf"},
		{"a WebSocket that accepts pages", a.asks("", "GET", "Upgrade: websocket", "Accept: text/html", a.cookie), "csrf"},
		{"a foreign form", a.asks("", "POST", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: cross-site", "Origin: https://evil.example", "Accept: text/html", a.cookie), "csrf"},
		{"Envoy, a foreign write", a.sends("PUT", "/bff/auth/-/x", with(foreign, a.cookie)...), "csrf"},
		{"Envoy, a foreign write of WebDAV", a.sends("PROPPATCH", "/bff/auth/-/x", with(foreign, a.cookie)...), "csrf"},
		{"Envoy, a rule that is not met", a.sends("REPORT", "/bff/auth/groups=admins/x", with(fetchSame, a.cookie)...), "insufficient_groups"},
		{"no method", a.sends("GET", "/bff/auth", with(fetchSame, a.cookie)...), "forward_auth_method"},
		{"two methods", a.asks("", "GET", with(fetchSame, "X-Original-Method: POST", a.cookie)...), "forward_auth_method"},
		{"a repeated method", a.asks("", "GET", with(fetchSame, "X-Forwarded-Method: POST", a.cookie)...), "forward_auth_method"},
		{"an empty method", a.asks("", "", with(fetchSame, a.cookie)...), "forward_auth_method"},
		{"another server's question in Envoy's form", a.sends("GET", "/bff/auth/-/x", with(fetchSame, "X-Forwarded-Method: POST", a.cookie)...), "forward_auth_method"},
		{"two credentials", a.asks("", "GET", with(fetchSame, "Authorization: Bearer x", a.cookie)...), "credentials_ambiguous"},
		{"a password besides", a.asks("", "GET", with(fetchSame, "Authorization: Basic eDp5", a.cookie)...), "credentials_ambiguous"},
	} {
		wantNoIdentity(t, tt.name, tt.answer)
		if body := bodyOf(t, tt.answer); tt.answer.StatusCode != 403 || !strings.Contains(body, tt.code) {
			t.Errorf("%s: %d %.200s", tt.name, tt.answer.StatusCode, body)
		}
	}
}

func wantNoIdentity(t *testing.T, name string, r *http.Response) {
	t.Helper()
	for header := range r.Header {
		if strings.HasPrefix(header, "X-Auth-Request-") {
			t.Errorf("%s: %s is set with %d", name, header, r.StatusCode)
		}
	}
}

func TestOnlyKnownWebServersMayAsk(t *testing.T) {
	t.Parallel()
	a := newAsker(t, alice, options{})
	for _, target := range []string{"https://app.example/bff/auth", "https://app.example/bff/auth/-/x"} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.TLS, r.RemoteAddr = nil, "198.51.100.9:40000"
		r.Host = "app.example"
		answer := a.send(r, with(fetchSame, "X-Forwarded-Method: GET", "X-Forwarded-Proto: https", a.cookie)...)
		wantNoIdentity(t, target, answer)
		if p := wantProblem(t, answer, 403, "forward_auth_untrusted"); !strings.Contains(p.Detail, "server.trusted_proxies") {
			t.Errorf("%s: the answer does not say what to do: %q", target, p.Detail)
		}
	}
	if log := a.log.String(); !strings.Contains(log, "198.51.100.9:40000") || !strings.Contains(log, "Add the address of the web server") {
		t.Errorf("the log names neither who asked nor the fix: %s", log)
	}
}

func TestPeopleAreSentToSignInAndProgramsAreTold(t *testing.T) {
	t.Parallel()
	a := newAsker(t, alice, options{spa: []string{"https://spa.example"}})
	const login = "https://app.example/bff/login"
	for _, tt := range []struct {
		name     string
		answer   *http.Response
		status   int
		location string
	}{
		{"a page", a.asks("", "GET", with(navigate, "X-Forwarded-Uri: /a/b?c=d&e")...), 401, login + "?returnUrl=%2Fa%2Fb%3Fc%3Dd%26e"},
		{"a page, with redirect", a.asks("?redirect=true", "GET", with(navigate, "X-Forwarded-Uri: /a")...), 302, login + "?returnUrl=%2Fa"},
		{"a page, without redirect", a.asks("?redirect=false", "GET", with(navigate, "X-Forwarded-Uri: /a")...), 401, login + "?returnUrl=%2Fa"},
		{"Envoy with redirect", a.sends("GET", "/bff/auth/redirect=true/a?b", navigate...), 302, login + "?returnUrl=%2Fa%3Fb"},
		{"Envoy, of a path with signs", a.sends("GET", "/bff/auth/-/a%2Fb%20c?d=%26&e", navigate...), 401, login + "?returnUrl=%2Fa%252Fb%2520c%3Fd%3D%2526%26e"},
		{"Envoy, of the start", a.sends("GET", "/bff/auth/-/", navigate...), 401, login + "?returnUrl=%2F"},
		{"Envoy that names the place itself", a.sends("GET", "/bff/auth/-/a", with(navigate, "X-Forwarded-Uri: /b")...), 401, login + "?returnUrl=%2Fb"},
		{"Envoy that names two places", a.sends("GET", "/bff/auth/-/a", with(navigate, "X-Forwarded-Uri: /a", "X-Forwarded-Uri: /b")...), 401, login},
		{"Envoy, to another host", a.sends("GET", "/bff/auth/-//evil.example/", navigate...), 401, login},
		{"Envoy, to a page that servers read differently", a.sends("GET", "/bff/auth/-/a/../b", navigate...), 401, login},
		{"Envoy, of fetch", a.sends("GET", "/bff/auth/redirect=true/a", fetchSame...), 401, ""},
		{"of a place nobody named", a.asks("", "GET", navigate...), 401, login},
		{"of two places", a.asks("", "GET", with(navigate, "X-Forwarded-Uri: /a", "X-Forwarded-Uri: /b")...), 401, login},
		{"to another host", a.asks("", "GET", with(navigate, "X-Forwarded-Uri: //evil.example/")...), 401, login},
		{"to another host by URL", a.asks("", "GET", with(navigate, "X-Forwarded-Uri: https://evil.example/")...), 401, login},
		{"to the SPA, which is no page of the web server's", a.asks("", "GET", with(navigate, "X-Forwarded-Uri: https://spa.example/")...), 401, login},
		{"to a page that servers read differently", a.asks("", "GET", with(navigate, "X-Forwarded-Uri: /a/../b")...), 401, login},
		{"fetch", a.asks("?redirect=true", "GET", with(fetchSame, "X-Forwarded-Uri: /a")...), 401, ""},
		{"a write", a.asks("?redirect=true", "POST", with(fetchSame, "X-Forwarded-Uri: /a")...), 401, ""},
		{"a preflight of the SPA", a.asks("", "OPTIONS", "Origin: https://spa.example", "Access-Control-Request-Method: PUT", "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: cross-site"), 401, ""},
		{"a prefetched page", a.asks("?redirect=true", "GET", with(navigate, "Sec-Purpose: prefetch", "X-Forwarded-Uri: /a")...), 401, ""},
		{"a token of somebody not signed in", a.asks("", "GET", with(fetchSame, "Authorization: Bearer x")...), 401, ""},
		{"a cookie that is none of ours", a.asks("", "GET", with(fetchSame, "Cookie: __Host-Http-bff=junk")...), 401, ""},
	} {
		wantNoIdentity(t, tt.name, tt.answer)
		if got := tt.answer.Header.Get("Location"); tt.answer.StatusCode != tt.status || got != tt.location || tt.answer.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %d %q", tt.name, tt.answer.StatusCode, got)
		}
	}
	if p := wantProblem(t, a.asks("", "GET", fetchSame...), 401, "unauthenticated"); p.LoginURL != login {
		t.Errorf("login_url %q", p.LoginURL)
	}
	wantPage(t, a.asks("", "GET", with(navigate, "X-Forwarded-Uri: /a")...), 401, "returnUrl=%2Fa")
}

func TestRulesOfTheWebServerAreHeld(t *testing.T) {
	t.Parallel()
	a := newAsker(t, alice, options{})
	for _, tt := range []struct {
		query  string
		status int
		code   string
	}{
		{"?scopes=orders.read", 202, ""},
		{"?scopes=orders.read,orders.write", 403, "insufficient_scope"},
		{"?groups=admins,eng", 202, ""},
		{"?groups=admins", 403, "insufficient_groups"},
		{"?claim.department=it,sales", 202, ""},
		{"?claim.department=it", 403, "insufficient_claims"},
		{"?claim.nowhere=x", 403, "insufficient_claims"},
		{"?acr=mfa,pwd&max_age=10m&redirect=false", 202, ""},
		{"?acr=mfa", 401, "insufficient_user_authentication"},
		{"?max_age=30s", 401, "insufficient_user_authentication"},
		{"?groups=eng&acr=mfa&scopes=openid", 401, "insufficient_user_authentication"},
		{"?group=admins", 400, "parameter_invalid"},
		{"?Groups=admins", 400, "parameter_invalid"},
		{"?groups=", 400, "parameter_invalid"},
		{"?groups", 400, "parameter_invalid"},
		{"?groups=eng,", 400, "parameter_invalid"},
		{"?groups=eng&groups=staff", 400, "parameter_invalid"},
		{"?claim.=x", 400, "parameter_invalid"},
		{"?max_age=10", 400, "parameter_invalid"},
		{"?max_age=0s", 400, "parameter_invalid"},
		{"?max_age=-1h", 400, "parameter_invalid"},
		{"?redirect=yes", 400, "parameter_invalid"},
		{"?groups=eng;scopes=x", 400, "parameter_invalid"},
		{"?groups=%zz", 400, "parameter_invalid"},
		{"/", 400, "parameter_invalid"},
		{"/orders", 400, "parameter_invalid"},
		{"//orders", 400, "parameter_invalid"},
		{"/orders/7", 400, "parameter_invalid"},
		{"/groups=eng", 400, "parameter_invalid"},
		{"/claim.department=%2573ales/x", 403, "insufficient_claims"},
		{"/groups=admins/x", 403, "insufficient_groups"},
		{"/groups=a%2Fb%26scopes=x/x", 403, "insufficient_groups"},
		{"/claim.department=it/x?claim.department=sales", 403, "insufficient_claims"},
	} {
		answer := a.asks(tt.query, "GET", with(fetchSame, a.cookie)...)
		if tt.code == "" {
			if answer.StatusCode != tt.status {
				t.Errorf("%s: %d", tt.query, answer.StatusCode)
			}
			continue
		}
		wantNoIdentity(t, tt.query, answer)
		wantProblem(t, answer, tt.status, tt.code)
		if t.Failed() {
			t.Fatal(tt.query)
		}
	}
	if log := a.log.String(); !strings.Contains(log, `"decision":"deny"`) || !strings.Contains(log, `"decision":"allow"`) || strings.Contains(log, "alice@") {
		t.Error("the decisions are not in the log, or more than they")
	}
}

func TestAStrongerSignInIsAskedForAndLeadsBack(t *testing.T) {
	t.Parallel()
	a := newAsker(t, alice, options{})
	p := wantProblem(t, a.asks("?acr=mfa&max_age=10m", "POST", with(fetchSame, a.cookie)...), 401, "insufficient_user_authentication")
	if p.LoginURL != "https://app.example/bff/login?acr_values=mfa&max_age=600" {
		t.Errorf("login_url %q", p.LoginURL)
	}
	answer := a.asks("?acr=mfa&redirect=true", "GET", with(navigate, "X-Forwarded-Uri: /pay", a.cookie)...)
	if got := answer.Header.Get("Location"); answer.StatusCode != 302 || got != "https://app.example/bff/login?returnUrl=%2Fpay&acr_values=mfa" {
		t.Errorf("%d %q", answer.StatusCode, got)
	}
	if got := a.asks("?acr=mfa", "GET", with(fetchSame, a.cookie)...).Header.Get("WWW-Authenticate"); !strings.Contains(got, `error="insufficient_user_authentication"`) {
		t.Errorf("WWW-Authenticate %q", got)
	}
}

func TestClaimsThatNoHeaderCanHoldAreLeftOut(t *testing.T) {
	t.Parallel()
	odd := alice
	odd.Claims = map[string]json.RawMessage{
		"email": json.RawMessage(`"alice@app.example"`), "preferred_username": json.RawMessage(`"Zoë"`), "groups": json.RawMessage(`["a,b","c"]`),
	}
	for _, verified := range []string{``, `false`, `"yes"`, `null`, `1`} {
		if odd.Claims["email_verified"] = json.RawMessage(verified); verified == "" {
			delete(odd.Claims, "email_verified")
		}
		a := newAsker(t, odd, options{})
		answer := a.asks("", "GET", with(fetchSame, a.cookie)...)
		if answer.StatusCode != 202 || answer.Header.Get("X-Auth-Request-User") != "alice-id" {
			t.Errorf("%d %v", answer.StatusCode, answer.Header)
		}
		answer.Header.Del("X-Auth-Request-User")
		wantNoIdentity(t, "email_verified "+verified, answer)
	}
}

func TestAnOutageIsNoSignOut(t *testing.T) {
	t.Parallel()
	a := newAsker(t, alice, options{})
	a.store.fail(errors.New("down"))
	answer := a.asks("?redirect=true", "GET", with(fetchSame, a.cookie)...)
	wantNoIdentity(t, "outage", answer)
	wantProblem(t, answer, 503, "store_unavailable")
}

func TestASessionThatIsOverPassesNoMore(t *testing.T) {
	t.Parallel()
	clock := time.Now()
	a := newAsker(t, alice, options{now: func() time.Time { return clock }})
	for range 5 { // a call is activity: an hour of silence ends a session, not an hour of work
		clock = clock.Add(50 * time.Minute)
		if answer := a.asks("", "GET", with(fetchSame, a.cookie)...); answer.StatusCode != 202 {
			t.Fatalf("%d", answer.StatusCode)
		}
		if err := a.Sessions.Drain(t.Context()); err != nil { // the hour passes sooner than activity is written
			t.Fatal(err)
		}
	}
	clock = clock.Add(61 * time.Minute)
	if answer := a.asks("", "GET", with(fetchSame, a.cookie)...); answer.StatusCode != 401 {
		t.Errorf("%d after an idle hour", answer.StatusCode)
	}
}

func TestCountsOfTheListenersAreCollectedWithoutNames(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	a := newAsker(t, alice, options{metrics: m, admin: adminToken})
	a.asks("?groups=admins", "GET", with(fetchSame, a.cookie)...)
	a.asks("", "GET", with(fetchSame, a.cookie)...)
	a.sends("PROPFIND", "/bff/auth/-/path-canary", with(fetchSame, a.cookie)...)
	a.sends("GET", "/path-canary", with(fetchSame, a.cookie)...)
	answer := a.administer("GET", "/metrics") // without the token, as for health
	text := bodyOf(t, answer)
	if answer.StatusCode != 200 || answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %q", answer.StatusCode, answer.Header.Get("Cache-Control"))
	}
	for _, line := range []string{
		`genkan_http_requests_total{route="/bff/auth",status="2xx"} 1`, `genkan_http_requests_total{route="/bff/auth",status="4xx"} 1`,
		`genkan_http_requests_total{route="/bff/auth/*call",status="2xx"} 1`, `genkan_http_requests_total{route="other",status="4xx"} 1`, `genkan_access_denied_total{rule="insufficient_groups"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	for _, secret := range []string{"alice", "canary", "staff", "admins", "app.example", strings.TrimPrefix(a.cookie, "Cookie: __Host-Http-bff=")} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the metrics", secret)
		}
	}
	if answer := a.sends("GET", "/metrics", fetchSame...); answer.StatusCode != 404 {
		t.Errorf("the public listener answers /metrics with %d", answer.StatusCode)
	}
}

// An upstream counts by its own name the calls that it takes; these are the others.
func TestCallsOfUpstreamsThatComeNoFurtherAreCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{metrics: telemetry.NewMetrics(), upstreams: panicking{}})
	f.do(http.MethodGet, "http://localhost:8000/panic", fetchSame...)
	f.do(http.MethodGet, "http://evil.example/panic", fetchSame...)
	text := bodyOf(t, f.administer("GET", "/metrics"))
	for _, line := range []string{`genkan_http_requests_total{route="other",status="5xx"} 1`, `genkan_http_requests_total{route="other",status="4xx"} 1`} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

// FuzzForwardAuth: whatever a web server is made to say, nobody without a session passes,
// nobody passes a rule that is not met, and nobody is sent anywhere else to sign in.
func FuzzForwardAuth(f *testing.F) {
	a := newAsker(f, alice, options{})
	f.Add("groups=admins", "GET", "/a", "same-origin", "navigate")
	f.Add("scopes=x&redirect=true", "POST", "//evil.example", "cross-site", "cors")
	f.Add("claim.a=b&max_age=1s&acr=x", "HEAD", "/a/../b?c#d", "", "")
	f.Add("%zz&;=&groups", "CONNECT", "https://evil.example", "none", "websocket")
	f.Add("groups=eng", "get", "/\\evil.example", "same-origin, cross-site", "no-cors")
	f.Fuzz(func(t *testing.T, query, method, uri, site, mode string) {
		for _, cookie := range []string{"", strings.TrimPrefix(a.cookie, "Cookie: ")} {
			r := httptest.NewRequest(http.MethodGet, "/bff/auth", nil)
			r.URL.RawQuery = query
			r.Host, r.RemoteAddr = "app.example", "10.1.2.3:4000"
			r.Header = http.Header{
				"X-Forwarded-Proto": {"https"}, "X-Forwarded-Method": {method}, "X-Forwarded-Uri": {uri}, "Sec-Fetch-Site": {site}, "Sec-Fetch-Mode": {mode},
			}
			if cookie != "" {
				r.Header.Set("Cookie", cookie)
			}
			answer := a.send(r)
			passes := answer.StatusCode == 202
			if passes != (answer.Header.Get("X-Auth-Request-User") != "") {
				t.Fatalf("%d and identity %q", answer.StatusCode, answer.Header.Get("X-Auth-Request-User"))
			}
			asked, err := url.ParseQuery(query)
			if passes && (cookie == "" || err != nil || !slices.Contains([]string{"", "eng", "staff"}, asked.Get("groups")) && len(asked["groups"]) > 0 && !strings.Contains(asked.Get("groups"), ",")) {
				t.Fatalf("%q let %q through", query, cookie)
			}
			if location := answer.Header.Get("Location"); location != "" && !strings.HasPrefix(location, "https://app.example/bff/login") {
				t.Fatalf("sent to %q", location)
			}
			if passes && method != "GET" && method != "HEAD" && method != "OPTIONS" {
				t.Fatalf("a call of %q passes without X-CSRF", method)
			}
		}
	})
}
