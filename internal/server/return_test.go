package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// foreignReturns are ways to name another site that some parser takes for ours (RFC
// 9700 4.11.1), and what is no address at all. The app is at http://localhost:5173,
// Genkan at http://localhost:8000.
var foreignReturns = []string{
	"https://evil.example/", "http://evil.example", "HTTP://evil.example/", "//evil.example", "///evil.example", "////evil.example/x",
	"/\\evil.example", "\\\\evil.example", "\\/evil.example", "/\\/evil.example", "/%5cevil.example", "/%2fevil.example", "/%2Fevil.example",
	"%2f%2fevil.example", "/\tevil.example", "/\t/evil.example", "/\n/evil.example", "/\r\nSet-Cookie:a=b", "/%0d%0aSet-Cookie:%20a=b", " //evil.example",
	"\u00a0//evil.example", "\ufeff//evil.example", "/\x00/evil.example", "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)",
	"data:text/html,<script>alert(1)</script>", "vbscript:x", "file:///etc/passwd", "blob:http://localhost:8000/x", "ftp://localhost:8000/",
	"http:evil.example", "http:/evil.example", "http:///evil.example", "http:\\\\evil.example", "https:localhost:8000",
	"http://localhost:8000@evil.example/", "http://localhost:8000:x@evil.example/", "http://user:pass@localhost:8000/", "http://@localhost:8000/",
	"http://localhost:8000.evil.example/", "http://evil.example#http://localhost:8000/", "http://evil.example?http://localhost:8000/",
	"http://evil.example\\@localhost:8000/", "http://localhost:8000\\@evil.example/", "http://localhost:8000%2f@evil.example/",
	"http://localhost:8000%00.evil.example/", "http://localhost:9000/", "http://localhost/", "https://localhost:8000/", "http://127.0.0.1:8000/",
	"http://[::1]:8000/", "http://localhost.:8000/", "http://app.localhost:8000/", "http://2130706433:8000/", "http://0x7f.1:8000/",
	"http://ⓛocalhost:9000/", "http://evil。example/", "http://xn--lcalhost-54a:8000/", "/../\\evil.example", "/./%2e%2e//evil.example", "/x/..//evil.example",
	"evil.example", "profile", "?x", "#x", "@evil.example", ".evil.example", "/" + strings.Repeat("a", 3000),
}

func TestForeignReturnURLsAreRefusedEverywhere(t *testing.T) {
	t.Parallel()
	if len(foreignReturns) < 40 {
		t.Fatal("the table is too short")
	}
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	logoutURL, _ := s.session(t, b)["logout_url"].(string)
	for _, foreign := range foreignReturns {
		// The shapes are for ports 8000 and 5173; here they are others.
		foreign = strings.ReplaceAll(foreign, ":8000", ":"+s.port)
		query := "returnUrl=" + url.QueryEscape(foreign)
		for _, call := range []struct {
			name, method, target string
			headers              []string
		}{
			{"login", http.MethodGet, s.url + "/bff/login?" + query, navigate},
			{"logout", http.MethodPost, s.url + "/bff/logout?" + query, []string{"X-CSRF: 1", "Origin: " + s.app}},
			{"logout page", http.MethodGet, logoutURL + "&" + query, navigate},
		} {
			r := httptest.NewRequest(call.method, call.target, nil)
			b.attach(r, false, false)
			got := s.send(r, call.headers...)
			body := bodyOf(t, got)
			if got.StatusCode != 400 || !strings.Contains(body, "return_url_refused") || len(got.Header["Set-Cookie"])+len(got.Header["Location"]) > 0 {
				t.Errorf("%s with %q: %d %v %.200s", call.name, foreign, got.StatusCode, got.Header, body)
			}
		}
	}
	s.wantSignedIn(t, b, true)
}

func TestReturnURLsOfOursAreAccepted(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	for _, ours := range []string{"", "/", "/profile?tab=2#x", s.url, s.url + "/x", s.app, s.app + "/x?y#z", strings.ToUpper(s.app[:4]) + s.app[4:] + "/x", "/x?next=//evil.example", "/%E7%8E%84"} {
		for _, target := range []string{"/bff/login", "/bff/logout"} {
			if r := s.do(http.MethodGet, s.url+target+"?returnUrl="+url.QueryEscape(ours), navigate...); r.StatusCode != 302 {
				t.Errorf("%s with %q: %d", target, ours, r.StatusCode)
			}
		}
	}
}

// TestASilentSignInReturnsWhereItStillMay: the origins may change while it is under way.
func TestASilentSignInReturnsWhereItStillMay(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.says("login_required")
	callback := s.answered(t, b, "prompt=none&returnUrl="+url.QueryEscape(s.app+"/x"))
	restarted := s.config
	restarted.spa = nil
	f := newFixture(t, restarted)
	r := httptest.NewRequest(http.MethodGet, callback, nil)
	b.attach(r, false, false)
	got := f.send(r, navigate...)
	if location := got.Header.Get("Location"); got.StatusCode != 303 || location != "/" {
		t.Errorf("%d to %q, want 303 to /", got.StatusCode, location)
	}
}

// TestUnsafeAndOddMethodsChangeNothing: with a session, from everywhere, every method
// and every header that a page of another site can bring about (RFC 10017 6.1.3.3).
func TestUnsafeAndOddMethodsChangeNothing(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	from := map[string][]string{
		"another site, fetch":        {"Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "X-CSRF: 1"},
		"another site, form":         {"Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Content-Type: text/plain"},
		"a sandboxed page":           {"Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "X-CSRF: 1"},
		"a neighbouring port":        {"Origin: http://localhost:1", "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "X-CSRF: 1"},
		"a neighbour without Origin": {"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"},
		"an old browser's form":      {"Origin: http://evil.example", "Accept: text/html", "Content-Type: application/x-www-form-urlencoded"},
		"our form, no header":        {"Origin: " + s.url, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"},
		"two origins":                {"Origin: " + s.app, "Origin: http://evil.example", "X-CSRF: 1"},
		"header of another value":    {"Origin: " + s.app, "X-CSRF: true"},
		"nothing":                    nil,
		"a WebSocket":                {"Origin: http://evil.example", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="},
		"a WebSocket of no origin":   {"Connection: Upgrade", "Upgrade: websocket", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"},
	}
	for name, headers := range from {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "LOGOUT"} {
			for _, path := range []string{"/bff/logout", "/bff/refresh", "/bff/session", "/bff/user"} {
				r := httptest.NewRequest(http.MethodPost, s.url+path, nil)
				r.Method = method // httptest would parse the target of CONNECT in its own way
				b.attach(r, false, false)
				got := s.send(r, headers...)
				if got.StatusCode != 403 && got.StatusCode != 405 || len(got.Header["Set-Cookie"]) > 0 || strings.Contains(bodyOf(t, got), "alice") {
					t.Errorf("%s: %s %s: %d %v", name, method, path, got.StatusCode, got.Header["Set-Cookie"])
				}
			}
		}
		for _, path := range []string{"/bff/session", "/bff/user"} {
			r := httptest.NewRequest(http.MethodGet, s.url+path, nil)
			b.attach(r, false, false)
			if got := s.send(r, headers...); got.StatusCode != 403 && !slices.Contains([]string{"another site, form", "our form, no header", "header of another value"}, name) {
				t.Errorf("%s: GET %s: %d, want 403", name, path, got.StatusCode)
			}
		}
	}
	if got := s.idp.Stats(); got.Revocations != 0 || got.Token["refresh_token"] != 0 {
		t.Errorf("the provider was asked: %+v", got)
	}
	s.wantSignedIn(t, b, true)
}
