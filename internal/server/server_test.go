package server_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestEveryAnswerCarriesTheSecurityHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{public: []string{"https://app.example.com"}, files: appFiles, proxies: []string{"10.0.0.0/8"}})
	for _, target := range []string{"/", "/assets/app-1.js", "/assets/none.js", "/bff/session", "/bff/login", "/bff/nothing", "/bff/callback", "/bff/assets/page.css"} {
		r := f.do(http.MethodGet, "https://app.example.com"+target)
		readers := "same-origin"
		if target == "/bff/assets/page.css" {
			readers = "cross-origin" // an app on a foreign origin tells by it that Genkan is up
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options":       "nosniff",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": readers,
			"Strict-Transport-Security":    "max-age=31536000",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s %q, want %q", target, name, got, want)
			}
		}
		csp := r.Header.Get("Content-Security-Policy")
		for _, word := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, word) {
				t.Errorf("%s: Content-Security-Policy %q lacks %s", target, csp, word)
			}
		}
		if strings.Contains(csp, "unsafe-") || r.Header.Get("Referrer-Policy") == "" || r.Header.Get("X-Request-Id") == "" || r.Header.Get("Server") != "" {
			t.Errorf("%s: headers %v", target, r.Header)
		}
		if kind := r.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/") && !strings.Contains(kind, "charset=utf-8") {
			t.Errorf("%s: content type %q has no charset", target, kind)
		}
	}
}

func TestTheAppIsServedWithHistoryFallback(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{files: appFiles})
	for _, tt := range []struct {
		name, target string
		headers      []string
		status       int
		kind, cache  string
	}{
		{"start", "/", navigate, 200, "text/html; charset=utf-8", "no-cache"},
		{"a route of the app", "/profile/settings", navigate, 200, "text/html; charset=utf-8", "no-cache"},
		{"a route, not navigated to", "/profile", fetchSame, 404, "application/problem+json", "no-store"},
		{"an asset", "/assets/app-1.js", nil, 200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		{"a missing asset, even navigated to", "/assets/none.js", navigate, 404, "text/html; charset=utf-8", "no-store"},
		{"a missing API, even navigated to", "/api/none", navigate, 404, "text/html; charset=utf-8", "no-store"},
		{"a hidden file", "/.gitkeep", navigate, 404, "text/html; charset=utf-8", "no-store"},
		{"a git folder", "/.git/config", fetchSame, 404, "application/problem+json", "no-store"},
		{"dot segments", "/assets/../../etc/passwd", fetchSame, 404, "application/problem+json", "no-store"},
	} {
		r := f.do(http.MethodGet, "http://localhost:8000"+tt.target, tt.headers...)
		if r.StatusCode != tt.status || r.Header.Get("Content-Type") != tt.kind || r.Header.Get("Cache-Control") != tt.cache {
			t.Errorf("%s: %d %q %q, want %d %q %q", tt.name, r.StatusCode, r.Header.Get("Content-Type"), r.Header.Get("Cache-Control"), tt.status, tt.kind, tt.cache)
		}
	}
	first := f.do(http.MethodGet, "http://localhost:8000/", navigate...)
	again := f.do(http.MethodGet, "http://localhost:8000/", slices.Concat(navigate, []string{"If-None-Match: " + first.Header.Get("ETag")})...)
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("with the ETag: %d, want 304", again.StatusCode)
	}
	if r := f.do(http.MethodPost, "http://localhost:8000/"); r.StatusCode != 404 {
		t.Errorf("POST /: %d, want 404", r.StatusCode)
	}
}

func TestAHostThatIsNotPublicIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{files: appFiles})
	for _, host := range []string{"evil.example", "localhost:9999", "localhost.evil.example:8000", "localhost:8000@evil.example", "", "127.0.0.1", "xn--e1awd7f.com"} {
		wantProblem(t, f.do(http.MethodGet, "/bff/session", slices.Concat(fetchSame, []string{"Host: " + host})...), 421, "host_unknown")
	}
	page := wantPage(t, f.do(http.MethodGet, "/", slices.Concat(navigate, []string{"Host: evil.example"})...), 421, "http://localhost:8000")
	if strings.Contains(page, "evil.example") {
		t.Error("the page repeats the forged host")
	}
}

func TestAForgedHostNeverBecomesTheRedirectURI(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	r := f.do(http.MethodGet, "/bff/login", slices.Concat(navigate, []string{"Host: localhost:8000", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "Forwarded: host=evil.example"})...)
	if body := bodyOf(t, r); strings.Contains(body, "evil.example") || strings.Contains(r.Header.Get("Location"), "evil.example") {
		t.Errorf("evil.example came back: %v %s", r.Header, body)
	}
}

func TestAnotherSpellingOfTheLoopbackIsRedirectedBeforeAnyCookie(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	for _, host := range []string{"127.0.0.1:8000", "[::1]:8000", "0.0.0.0:8000"} {
		r := f.do(http.MethodGet, "/bff/login?returnUrl=%2Fprofile", slices.Concat(navigate, []string{"Host: " + host})...)
		if r.StatusCode != 307 || r.Header.Get("Location") != "http://localhost:8000/bff/login?returnUrl=%2Fprofile" || len(r.Cookies()) != 0 {
			t.Errorf("%s: %d %q %v", host, r.StatusCode, r.Header.Get("Location"), r.Cookies())
		}
		wantProblem(t, f.do(http.MethodGet, "/bff/session", slices.Concat(fetchSame, []string{"Host: " + host})...), 421, "loopback_alias")
	}
	reject := newFixture(t, options{alias: "reject"})
	wantPage(t, reject.do(http.MethodGet, "/bff/login", slices.Concat(navigate, []string{"Host: 127.0.0.1:8000"})...), 421)
	allow := newFixture(t, options{alias: "allow"})
	if r := allow.do(http.MethodGet, "/bff/session", slices.Concat(fetchSame, []string{"Host: 127.0.0.1:8000"})...); r.StatusCode != 200 {
		t.Errorf("allow: %d, want 200", r.StatusCode)
	}
}

func TestCORSIsOnEveryAnswerToAnAppAndOnNoOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{spa: []string{"http://localhost:5173"}, upstreams: panicking{}})
	app := []string{"Origin: http://localhost:5173", "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "X-CSRF: 1"}
	for _, tt := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/bff/session", 200}, {"GET", "/bff/user", 401}, {"POST", "/bff/refresh", 401}, {"GET", "/bff/login", 400},
		{"GET", "/nothing", 404}, {"PUT", "/bff/session", 405}, {"GET", "/panic", 500},
	} {
		r := f.do(tt.method, "http://localhost:8000"+tt.target, app...)
		if r.StatusCode != tt.status || r.Header.Get("Access-Control-Allow-Origin") != "http://localhost:5173" || r.Header.Get("Access-Control-Allow-Credentials") != "true" {
			t.Errorf("%s %s: %d %v, want %d", tt.method, tt.target, r.StatusCode, r.Header, tt.status)
		}
	}
	r := f.do("OPTIONS", "http://localhost:8000/bff/refresh", "Origin: http://localhost:5173", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x-csrf")
	if r.StatusCode != 204 || !strings.EqualFold(r.Header.Get("Access-Control-Allow-Headers"), "x-csrf") {
		t.Errorf("preflight: %d %v", r.StatusCode, r.Header)
	}
	for _, evil := range []string{"http://evil.example", "http://localhost:5174", "https://localhost:5173", "null", "HTTP://LOCALHOST:5173", "http://localhost:5173.evil.example", "http://127.0.0.1:5173"} {
		for _, method := range []string{"GET", "OPTIONS"} {
			r := f.do(method, "http://localhost:8000/bff/session", "Origin: "+evil, "Access-Control-Request-Method: GET", "X-CSRF: 1")
			if r.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s: allowed %q", method, evil, r.Header.Get("Access-Control-Allow-Origin"))
			}
		}
	}
	same := newFixture(t, options{})
	if r := same.do("GET", "http://localhost:8000/bff/session", "Origin: http://localhost:5173", "X-CSRF: 1"); r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("CORS without SPA origins")
	}
}

func TestSessionEndpointsNeedProofOfOrigin(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{spa: []string{"http://localhost:5173"}})
	for _, tt := range []struct {
		name, method, target string
		headers              []string
		code                 string
	}{
		{"a script of a foreign site", "GET", "/bff/session", []string{"Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"}, "csrf"},
		{"an image", "GET", "/bff/session", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, "csrf"},
		{"a sibling port without Origin", "GET", "/bff/session", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"}, "csrf"},
		{"nothing at all", "GET", "/bff/user", nil, "csrf"},
		{"a form of the app's own origin", "POST", "/bff/logout", []string{"Origin: http://localhost:5173", "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, ""},
		{"no header", "POST", "/bff/refresh", []string{"Origin: http://localhost:5173", "Sec-Fetch-Site: same-site"}, "csrf"},
		{"header, foreign origin", "POST", "/bff/refresh", []string{"Origin: http://evil.example", "X-CSRF: 1"}, "csrf"},
		{"header, null origin", "POST", "/bff/refresh", []string{"Origin: null", "X-CSRF: 1"}, "csrf"},
		{"header, no origin", "POST", "/bff/refresh", []string{"X-CSRF: 1"}, "csrf"},
		{"the app", "POST", "/bff/refresh", []string{"Origin: http://localhost:5173", "Sec-Fetch-Site: same-site", "X-CSRF: 1"}, "unauthenticated"},
	} {
		r := f.do(tt.method, "http://localhost:8000"+tt.target, tt.headers...)
		if tt.code == "" {
			wantPage(t, r, 403)
			continue
		}
		wantProblem(t, r, map[string]int{"csrf": 403, "unauthenticated": 401}[tt.code], tt.code)
	}
}

func TestASignedOutSessionNamesTheProviders(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	r := f.do(http.MethodGet, "http://localhost:8000/bff/session", fetchSame...)
	const want = `{"authenticated":false,"providers":[{"id":"idp","name":"Test provider","login_url":"http://localhost:8000/bff/login"}]}`
	if got := bodyOf(t, r); got != want || r.StatusCode != 200 || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %q %s, want %s", r.StatusCode, r.Header.Get("Cache-Control"), got, want)
	}
	p := wantProblem(t, f.do(http.MethodGet, "http://localhost:8000/bff/user", fetchSame...), 401, "unauthenticated")
	if p.LoginURL != "http://localhost:8000/bff/login" {
		t.Errorf("login_url %q", p.LoginURL)
	}
}

func TestLoginIsForNavigations(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	wantProblem(t, f.do(http.MethodGet, "http://localhost:8000/bff/login", fetchSame...), 400, "not_a_navigation")
	wantProblem(t, f.do(http.MethodGet, "http://localhost:8000/bff/login", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Sec-Fetch-Site: cross-site"), 400, "not_a_navigation")
	if r := f.do(http.MethodGet, "http://localhost:8000/bff/login", slices.Concat(navigate, []string{"Sec-Purpose: prefetch;prerender"})...); r.StatusCode != 204 || len(r.Cookies()) != 0 {
		t.Errorf("prefetch: %d %v", r.StatusCode, r.Cookies())
	}
	for _, query := range []string{
		"returnUrl=https://evil.example/", "returnUrl=//evil.example", "returnUrl=/\\evil.example", "returnUrl=/&returnUrl=/", "returnUrl=javascript:alert(1)",
		"provider=other", "prompt=none+login", "prompt=admin", "max_age=-1", "max_age=soon", "login_hint=" + strings.Repeat("a", 600), "prompt=login&prompt=none", "%zz",
	} {
		r := f.do(http.MethodGet, "http://localhost:8000/bff/login?"+query, navigate...)
		if wantPage(t, r, 400); len(r.Cookies()) != 0 {
			t.Errorf("%s: set %v", query, r.Cookies())
		}
	}
}

func TestAProviderThatIsDownIsAClear503(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	r := f.do(http.MethodGet, "http://localhost:8000/bff/login?returnUrl=/profile", navigate...)
	wantPage(t, r, 503, "provider does not answer", "Try again", "returnUrl=%2Fprofile")
	if len(r.Cookies()) != 0 || r.Header.Get("Retry-After") == "" {
		t.Errorf("cookies %v, Retry-After %q", r.Cookies(), r.Header.Get("Retry-After"))
	}
	if log := f.log.String(); !strings.Contains(log, "GK210") || strings.Contains(log, "s3cret-canary") {
		t.Errorf("log: %s", log)
	}
}

func TestReadinessFollowsTheStore(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	get := func(path string) *http.Response {
		w := httptest.NewRecorder()
		f.admin.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Result()
	}
	if get("/healthz").StatusCode != 200 || get("/readyz").StatusCode != 200 {
		t.Error("not healthy at first")
	}
	f.store.fail(errors.New("gone"))
	if got := get("/readyz").StatusCode; got != 503 {
		t.Errorf("readyz with a dead store: %d, want 503", got)
	}
	if got := get("/healthz").StatusCode; got != 200 {
		t.Errorf("healthz with a dead store: %d, want 200", got)
	}
	if got := get("/other").StatusCode; got != 404 {
		t.Errorf("other: %d, want 404", got)
	}
	if r := f.do(http.MethodGet, "http://localhost:8000/healthz", fetchSame...); r.StatusCode != 404 {
		t.Errorf("healthz on the public listener: %d, want 404", r.StatusCode)
	}
}

type panicking struct{}

func (panicking) Match(r *http.Request) bool                   { return r.URL.Path == "/panic" }
func (panicking) ServeHTTP(http.ResponseWriter, *http.Request) { panic("kaboom") }
