package proxy_test

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"genkan/internal/proxy"
	"genkan/internal/rp"
)

func auth(a proxy.Auth) func(*proxy.Route) { return func(r *proxy.Route) { r.Auth = a } }
func token(k proxy.Token) func(*proxy.Route) {
	return func(r *proxy.Route) { r.Token = k }
}
func navigate(r *proxy.Route) { r.Navigate = true }

var (
	errRefused = &rp.Error{Op: "refresh", Kind: rp.Refused, Code: "invalid_grant"}
	errFault   = &rp.Error{Op: "refresh", Kind: rp.Fault, Err: errors.New("10.9.8.7 refused")}
)

func failing(err error) func(rp.Grant) (rp.Grant, error) {
	return func(rp.Grant) (rp.Grant, error) { return rp.Grant{}, err }
}

func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	signedOut := func(b *bench, r *http.Request) { r.Header.Del("Cookie") }
	storeDown := func(b *bench, _ *http.Request) { b.store.fail(true) }
	expired := func(err error) func(*bench, *http.Request) {
		return func(b *bench, _ *http.Request) { b.provider.renewing(failing(err)); b.pass(70 * time.Minute) }
	}
	renewed := func(b *bench, _ *http.Request) {
		b.provider.renewing(func(rp.Grant) (rp.Grant, error) { return grant(b.now.Add(time.Hour), "at-2", "rt-2"), nil })
		b.pass(70 * time.Minute)
	}
	tests := []struct {
		name    string
		auth    proxy.Auth
		prepare func(*bench, *http.Request)
		status  int
		code    string // of the problem
		sent    string // Authorization upstream, "none" for a call without, "" for no call
	}{
		{"required, signed in", proxy.AuthRequired, nil, 200, "", "Bearer at-1"},
		{"required, token renewed first", proxy.AuthRequired, renewed, 200, "", "Bearer at-2"},
		{"required, signed out", proxy.AuthRequired, signedOut, 401, "unauthenticated", ""},
		{"required, store down", proxy.AuthRequired, storeDown, 503, "store_unavailable", ""},
		{"required, no longer renewed", proxy.AuthRequired, expired(errRefused), 401, "session_expired", ""},
		{"required, provider down", proxy.AuthRequired, expired(errFault), 503, "provider_unavailable", ""},
		{"optional, signed in", proxy.AuthOptional, nil, 200, "", "Bearer at-1"},
		{"optional, signed out", proxy.AuthOptional, signedOut, 200, "", "none"},
		{"optional, no longer renewed", proxy.AuthOptional, expired(errRefused), 200, "", "none"},
		{"optional, store down", proxy.AuthOptional, storeDown, 503, "store_unavailable", ""},
		{"optional, provider down", proxy.AuthOptional, expired(errFault), 503, "provider_unavailable", ""},
		{"none, signed in", proxy.AuthNone, nil, 200, "", "none"},
		{"none, store down", proxy.AuthNone, storeDown, 200, "", "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, nil)
			b.sessions.IdleTimeout = 2 * time.Hour
			b.cookie = b.signIn(t, grant(b.clock().Add(time.Hour), "at-1", "rt-1"))
			r := b.call(t, "GET", b.front(t, up.route("/api/", auth(tt.auth))).URL+"/api/x", nil)
			if tt.prepare != nil {
				tt.prepare(b, r)
			}
			res := send(t, r)
			code, login := res.problem()
			if res.StatusCode != tt.status || code != tt.code {
				t.Errorf("%d %s", res.StatusCode, res.text)
			}
			sent := ""
			for _, got := range up.seen() {
				sent = cmp.Or(got.header.Get("Authorization"), "none")
			}
			if sent != tt.sent || len(up.seen()) > 1 {
				t.Errorf("upstream got %q, want %q", sent, tt.sent)
			}
			checkRefusal(t, res, login)
		})
	}
}

// checkRefusal: 401 says where to sign in, 503 when to try again, and only the end
// of a session takes its cookie.
func checkRefusal(t *testing.T, res reply, login string) {
	t.Helper()
	if want := map[bool]string{true: "http://localhost:8000/bff/login"}[res.StatusCode == 401]; login != want {
		t.Errorf("login_url %q, want %q", login, want)
	}
	if got := res.Header.Get("Retry-After") != ""; got != (res.StatusCode == 503) {
		t.Errorf("Retry-After on %d: %v", res.StatusCode, got)
	}
	cleared := strings.Contains(res.text, "session_expired")
	if cookies := res.Cookies(); (len(cookies) == 1) != cleared || cleared && cookies[0].MaxAge >= 0 {
		t.Errorf("cookies %v", cookies)
	}
	if res.StatusCode != 200 && (res.Header.Get("Cache-Control") != "no-store" || !strings.Contains(res.text, res.Header.Get("X-Request-Id"))) {
		t.Errorf("%v %s", res.Header, res.text)
	}
	for _, internal := range []string{"10.9.8.7", "10.1.2.3", "invalid_grant"} {
		if strings.Contains(res.text, internal) {
			t.Errorf("the answer tells %s", internal)
		}
	}
}

func TestASessionThatIsOverIsGone(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newUpstream(t, nil)
	front := b.front(t, up.route("/api/"))
	b.cookie = b.signIn(t, grant(b.clock().Add(-time.Minute), "at-old", "")) // nothing to renew it with
	for _, want := range []string{"session_expired", "unauthenticated"} {
		if code, _ := send(t, b.call(t, "GET", front.URL+"/api/x", nil)).problem(); code != want {
			t.Errorf("%s, want %s", code, want)
		}
	}
}

func TestCallsCountAsActivity(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		auth proxy.Auth
		want int
	}{{"required", proxy.AuthRequired, 1}, {"optional", proxy.AuthOptional, 1}, {"public", proxy.AuthNone, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, nil)
			b.pass(10 * time.Minute)
			send(t, b.call(t, "GET", b.front(t, up.route("/api/", auth(tt.auth))).URL+"/api/x", nil))
			if err := b.sessions.Drain(t.Context()); err != nil { // it is written a little later
				t.Fatal(err)
			}
			if b.store.touches != tt.want {
				t.Errorf("%d touches", b.store.touches)
			}
		})
	}
}

func TestCallsMustComeFromTheApp(t *testing.T) {
	t.Parallel()
	bare := map[string]string{"X-CSRF": "", "Origin": "", "Sec-Fetch-Mode": ""}
	with := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for k, v := range bare {
			m[k] = v
		}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	tests := []struct {
		name   string
		method string
		auth   proxy.Auth
		header map[string]string // "" removes
		status int
	}{
		{"header and origin", "POST", proxy.AuthRequired, nil, 200},
		{"GET with nothing", "GET", proxy.AuthRequired, bare, 403},
		{"GET with the header", "GET", proxy.AuthRequired, with("X-CSRF", "1"), 200},
		{"GET from a foreign origin with the header", "GET", proxy.AuthRequired, with("X-CSRF", "1", "Origin", "http://evil.example"), 403},
		{"POST without the header", "POST", proxy.AuthRequired, with("Origin", "http://localhost:5173"), 403},
		{"POST with the header alone", "POST", proxy.AuthRequired, with("X-CSRF", "1"), 403},
		{"DELETE from another site", "DELETE", proxy.AuthRequired, with("X-CSRF", "1", "Sec-Fetch-Site", "cross-site"), 403},
		{"null origin", "POST", proxy.AuthRequired, with("X-CSRF", "1", "Origin", "null"), 403},
		{"optional is checked too", "POST", proxy.AuthOptional, bare, 403},
		{"public is not", "POST", proxy.AuthNone, bare, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, nil)
			r := b.call(t, tt.method, b.front(t, up.route("/api/", auth(tt.auth))).URL+"/api/x", nil)
			for k, v := range tt.header {
				r.Header.Set(k, v)
				if v == "" {
					r.Header.Del(k)
				}
			}
			res := send(t, r)
			if code, _ := res.problem(); res.StatusCode != tt.status || (code == "csrf") != (tt.status == 403) {
				t.Errorf("%d %s", res.StatusCode, res.text)
			}
			if reached := len(up.seen()) == 1; reached != (tt.status == 200) {
				t.Errorf("reached the upstream: %v", reached)
			}
			if logged := b.log.count("GK510") == 1; logged != (tt.status == 403) {
				t.Errorf("log: %s", b.log)
			}
		})
	}
}

func TestNavigations(t *testing.T) {
	t.Parallel()
	document := http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {"cross-site"}}
	frame := http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"iframe"}, "Sec-Fetch-Site": {"cross-site"}}
	old := http.Header{"Accept": {"text/html,*/*;q=0.8"}}
	tests := []struct {
		name     string
		method   string
		navigate bool
		auth     proxy.Auth
		header   http.Header
		signedIn bool
		status   int
		code     string
	}{
		{"address bar", "GET", false, proxy.AuthRequired, document, true, 403, "navigation_refused"},
		{"address bar, public route", "GET", false, proxy.AuthNone, document, true, 403, "navigation_refused"},
		{"address bar, old browser", "GET", false, proxy.AuthRequired, old, true, 403, "navigation_refused"},
		{"frame", "GET", false, proxy.AuthRequired, frame, true, 403, "navigation_refused"},
		{"form", "POST", false, proxy.AuthNone, document, true, 403, "navigation_refused"},
		{"allowed, a link from another site", "GET", true, proxy.AuthRequired, document, true, 200, ""},
		{"allowed, old browser", "GET", true, proxy.AuthRequired, old, true, 200, ""},
		{"allowed, but framed by another site", "GET", true, proxy.AuthRequired, frame, true, 403, "csrf"},
		{"allowed, but a form of another site", "POST", true, proxy.AuthRequired, document, true, 403, "csrf"},
		{"allowed, signed out: to sign-in and back", "GET", true, proxy.AuthRequired, document, false, 302, ""},
		{"allowed, signed out, a prefetch", "GET", true, proxy.AuthRequired, http.Header{"Accept": {"text/html"}, "Sec-Purpose": {"prefetch"}}, false, 401, "unauthenticated"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, nil)
			route := up.route("/files/", auth(tt.auth))
			route.Navigate = tt.navigate
			r, _ := http.NewRequestWithContext(t.Context(), tt.method, b.front(t, route).URL+"/files/a%20b?x=1", nil)
			r.Header = tt.header.Clone()
			if tt.signedIn {
				r.AddCookie(b.cookie)
			}
			res := send(t, r)
			if code, _ := res.problem(); res.StatusCode != tt.status || code != tt.code {
				t.Errorf("%d %s", res.StatusCode, res.text)
			}
			if tt.status == 302 {
				to, err := url.Parse(res.Header.Get("Location"))
				if err != nil || to.Host != "localhost:8000" || to.Path != "/bff/login" || to.Query().Get("returnUrl") != "http://localhost:8000/files/a%20b?x=1" {
					t.Errorf("Location %s", to)
				}
			}
			if reached := len(up.seen()) == 1; reached != (tt.status == 200) {
				t.Errorf("reached the upstream: %v", reached)
			}
		})
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		methods []string
		method  string
		allow   string // "" for a call that is forwarded
	}{
		{"any by default", nil, "PATCH", ""},
		{"unknown ones too", nil, "PROPFIND", ""},
		{"OPTIONS", nil, "OPTIONS", ""},
		{"TRACE", nil, "TRACE", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
		{"TRACE in small letters", nil, "trace", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
		{"TRACE even if listed", []string{"TRACE", "GET"}, "TRACE", "TRACE, GET"},
		{"listed", []string{"GET", "POST"}, "POST", ""},
		{"not listed", []string{"GET", "POST"}, "DELETE", "GET, POST"},
		{"letter by letter", []string{"GET"}, "get", "GET"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, nil)
			route := up.route("/api/")
			route.Methods = tt.methods
			res := send(t, b.call(t, tt.method, b.front(t, route).URL+"/api/x", nil))
			if tt.allow == "" {
				if up.only(t).method != tt.method || res.StatusCode != 200 {
					t.Errorf("%d %v", res.StatusCode, up.seen())
				}
				return
			}
			if code, _ := res.problem(); res.StatusCode != 405 || code != "method_not_allowed" || res.Header.Get("Allow") != tt.allow || len(up.seen()) != 0 {
				t.Errorf("%d %s, Allow: %s", res.StatusCode, res.text, res.Header.Get("Allow"))
			}
		})
	}
}

func TestASecondTokenInTheQueryIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, query string
		token       proxy.Token
		status      int
	}{
		{"plain", "access_token=y", proxy.TokenRelay, 400},
		{"among others", "a=1&access_token=y", proxy.TokenRelay, 400},
		{"escaped", "a=1&access%5Ftoken=y", proxy.TokenRelay, 400},
		{"after a semicolon", "a=1;access_token=y", proxy.TokenRelay, 400},
		{"in capitals", "ACCESS_TOKEN=y", proxy.TokenRelay, 400},
		{"without a value", "access_token", proxy.TokenRelay, 400},
		{"as a value", "a=access_token", proxy.TokenRelay, 200},
		{"another name", "my_access_token=y", proxy.TokenRelay, 200},
		{"where no token is sent", "access_token=y", proxy.TokenNone, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, nil)
			res := send(t, b.call(t, "GET", b.front(t, up.route("/api/", token(tt.token))).URL+"/api/x?"+tt.query, nil))
			if res.StatusCode != tt.status || (len(up.seen()) == 1) != (tt.status == 200) {
				t.Errorf("%d %s", res.StatusCode, res.text)
			}
		})
	}
}

func TestRoutesThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	good, _ := url.Parse("http://127.0.0.1:9100/")
	tests := []struct {
		name   string
		change func(*proxy.Route)
		want   string
	}{
		{"path without a slash in front", func(r *proxy.Route) { r.Path = "api/" }, "path"},
		{"path without a slash behind", func(r *proxy.Route) { r.Path = "/api" }, "path"},
		{"path with dots", func(r *proxy.Route) { r.Path = "/a/../api/" }, "path"},
		{"no URL", func(r *proxy.Route) { r.URL = nil }, "URL"},
		{"another scheme", func(r *proxy.Route) { r.URL, _ = url.Parse("ftp://h/") }, "URL"},
		{"no host", func(r *proxy.Route) { r.URL, _ = url.Parse("/x") }, "URL"},
		{"a password in the URL", func(r *proxy.Route) { r.URL, _ = url.Parse("http://u:p@h/") }, "user"},
		{"a query in the URL", func(r *proxy.Route) { r.URL, _ = url.Parse("http://h/?a") }, "query"},
		{"unknown auth", auth("maybe"), "auth"},
		{"unknown token", token("exchanged"), "token"},
		{"a token that nothing gives", token("exchange"), "credentials"},
		{"programs, and nobody to ask about them", func(r *proxy.Route) { r.Accept, r.Bearer.Audiences = bearers, []string{"api"} }, "access tokens"},
		{"programs without audience", func(r *proxy.Route) { r.Accept = bearers }, "audience"},
		{"an unknown kind of caller", func(r *proxy.Route) { r.Accept = []proxy.Accept{"robot"} }, "caller"},
		{"rules for who may be nobody", func(r *proxy.Route) { r.Auth, r.Require.Groups = proxy.AuthOptional, []string{"ops"} }, "rules"},
		{"Genkan's own token of nobody", token("client"), "provider"},
		{"claim into Authorization", func(r *proxy.Route) { r.Headers = map[string]string{"authorization": "sub"} }, "authorization"},
		{"claim into Host", func(r *proxy.Route) { r.Headers = map[string]string{"Host": "sub"} }, "Host"},
		{"claim into a bad name", func(r *proxy.Route) { r.Headers = map[string]string{"X User": "sub"} }, "X User"},
		{"negative time-out", func(r *proxy.Route) { r.Timeout = -1 }, "negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := proxy.Route{Path: "/api/", URL: good}
			tt.change(&r)
			_, err := proxy.New(proxy.Config{Routes: []proxy.Route{r}, Sessions: newBench(t).sessions})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one about %s", err, tt.want)
			}
		})
	}
	route := proxy.Route{Path: "/api/", URL: good}
	if _, err := proxy.New(proxy.Config{Routes: []proxy.Route{route, route}, Sessions: newBench(t).sessions}); err == nil {
		t.Error("one path twice was taken")
	}
	if _, err := proxy.New(proxy.Config{Routes: []proxy.Route{route}}); err == nil {
		t.Error("a route with a session was taken without sessions")
	}
}
