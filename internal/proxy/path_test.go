package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"genkan/internal/origin"
	"genkan/internal/proxy"
)

// raw sends a request line and headers as they stand and returns the status.
func raw(t testing.TB, server *httptest.Server, head string) int {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, head+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

func TestPathsArriveAsSent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, base, path string
		keep             bool
		sent, want       string
	}{
		{"the prefix is cut", "/", "/api/orders/", false, "/api/orders/7", "/7"},
		{"the prefix is kept", "/", "/api/orders/", true, "/api/orders/7", "/api/orders/7"},
		{"a base path comes before", "/v2/", "/api/orders/", false, "/api/orders/7/items", "/v2/7/items"},
		{"a base path without its slash", "/v2", "/api/orders/", false, "/api/orders/7", "/v2/7"},
		{"base and kept prefix", "/v2", "/api/orders/", true, "/api/orders/7", "/v2/api/orders/7"},
		{"the prefix itself", "/", "/api/orders/", false, "/api/orders/", "/"},
		{"the prefix without its slash is the root", "/", "/api/orders/", false, "/api/orders", "/"},
		{"kept, without its slash", "/", "/api/orders/", true, "/api/orders", "/api/orders"},
		{"escapes stay", "/", "/api/orders/", false, "/api/orders/a%20b%3Fc%23d%25e", "/a%20b%3Fc%23d%25e"},
		{"unneeded escapes stay", "/", "/api/orders/", false, "/api/orders/%61%2Ejson", "/%61%2Ejson"},
		{"unicode", "/", "/api/orders/", false, "/api/orders/%E6%B3%A8%E6%96%87", "/%E6%B3%A8%E6%96%87"},
		{"an escaped letter of the prefix", "/", "/api/orders/", false, "/api/%6frders/7", "/7"},
		{"a trailing slash stays", "/", "/api/orders/", false, "/api/orders/7/", "/7/"},
		{"parameters stay", "/", "/api/orders/", false, "/api/orders/a;v=1/b,c@d", "/a;v=1/b,c@d"},
		{"three dots are a name", "/", "/api/orders/", false, "/api/orders/.../.hidden", "/.../.hidden"},
		{"the query stays byte for byte", "/", "/api/orders/", false, "/api/orders/?b=2&a=1;c&d=%zz&e=a+b%2F..", "/?b=2&a=1;c&d=%zz&e=a+b%2F.."},
		{"an empty query stays", "/", "/api/orders/", false, "/api/orders/x?", "/x?"},
		{"a route for everything", "/", "/", false, "/a/b", "/a/b"},
		{"absolute form for this host", "/", "/api/orders/", false, "http://localhost:8000/api/orders/7?a", "/7?a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, nil)
			route := up.route(tt.path, public0(tt.keep))
			route.URL.Path = tt.base
			front := b.front(t, route)
			if status := raw(t, front, "GET "+tt.sent+" HTTP/1.1\r\nHost: localhost:8000"); status != 200 {
				t.Fatalf("status %d", status)
			}
			got := up.only(t)
			if got.uri != tt.want || got.host != strings.TrimPrefix(up.URL, "http://") {
				t.Errorf("%s at %s, want %s", got.uri, got.host, tt.want)
			}
		})
	}
}

// public0 opens a route to everybody, so that only its path decides.
func public0(keep bool) func(*proxy.Route) {
	return func(r *proxy.Route) { r.Auth, r.Token, r.KeepPrefix = proxy.AuthNone, proxy.TokenNone, keep }
}

func TestAmbiguousPathsNeverLeave(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, target string }{
		{"encoded slash", "/api/orders/..%2fadmin"},
		{"encoded slash, capital", "/api/orders/a%2Fb"},
		{"encoded slash in the prefix", "/api%2forders/7"},
		{"backslash", `/api/orders/..\admin`},
		{"encoded backslash", "/api/orders/..%5cadmin"},
		{"dot segment", "/api/orders/./7"},
		{"two dots", "/api/orders/../admin/"},
		{"two dots at the end", "/api/orders/.."},
		{"encoded dots", "/api/orders/%2e%2e/admin"},
		{"half encoded dots", "/api/orders/.%2E/admin"},
		{"one encoded dot", "/api/orders/%2e/7"},
		{"dots with a parameter", "/api/orders/..;x=1/admin"},
		{"dots with an encoded semicolon", "/api/orders/..%3b/admin"},
		{"an empty segment with a parameter", "/api/orders/;x=1/admin"},
		{"a parameter hides the prefix", "/api/orders;x=1/7"},
		{"a parameter hides the whole prefix", "/api/orders;x=1"},
		{"a parameter in the middle of the prefix", "/api;x/orders/7"},
		{"an encoded semicolon hides the prefix", "/api/orders%3bx/7"},
		{"capitals hide the prefix", "/api/Orders/7"},
		{"capitals hide the whole prefix", "/API/ORDERS"},
		{"an encoded capital", "/api/%4frders/7"},
		{"a dot hides the prefix", "/api/orders./7"},
		{"a blank hides the prefix", "/api/orders%20/7"},
		{"a letter encoded twice hides the prefix", "/api/%256frders/7"},
		{"encoded twice, slash", "/api/orders/..%252fadmin"},
		{"encoded twice, dots", "/api/orders/%252e%252e/admin"},
		{"encoded twice, backslash", "/api/orders/a%255cb"},
		{"encoded three times", "/api/orders/a%25252fb"},
		{"two slashes", "/api/orders//evil.example"},
		{"two slashes at the end", "/api/orders/7//"},
		{"NUL", "/api/orders/a%00b"},
		{"line break", "/api/orders/a%0d%0aX-User:%20bob"},
		{"DEL", "/api/orders/a%7f"},
		{"C1 control", "/api/orders/a%c2%9b"},
		{"overlong slash", "/api/orders/..%c0%afadmin"},
		{"no UTF-8", "/api/orders/%ff"},
		{"absolute form for another host", "http://evil.example/api/orders/7"},
		{"absolute form with a user", "http://a@localhost:8000/api/orders/7"},
		{"absolute form for another port", "http://localhost:9100/api/orders/7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, nil)
			front := b.front(t, up.route("/api/orders/", public0(false)), up.route("/", public0(false)))
			if status := raw(t, front, "GET "+tt.target+" HTTP/1.1\r\nHost: localhost:8000"); status != 400 {
				t.Errorf("status %d", status)
			}
			if n := len(up.seen()); n != 0 {
				t.Errorf("the upstream got %v", up.seen())
			}
		})
	}
}

func TestTheLongestPrefixWins(t *testing.T) {
	t.Parallel()
	b, outer, inner := newBench(t), newUpstream(t, nil), newUpstream(t, nil)
	h := b.handler(t, nil, outer.route("/api/", public0(false)), inner.route("/api/orders/", public0(false)))
	front := b.serve(t, h)
	tests := []struct {
		path  string
		match bool
		to    *upstream
		want  string
	}{
		{"/api/orders/7", true, inner, "/7"},
		{"/api/orders", true, inner, "/"},
		{"/api/orders2", true, outer, "/orders2"},
		{"/api", true, outer, "/"},
		{"/apis", false, nil, ""},
		{"/", false, nil, ""},
	}
	for _, tt := range tests {
		if got := h.Match(httptest.NewRequest("GET", public+tt.path, nil)); got != tt.match {
			t.Errorf("Match(%s) = %v", tt.path, got)
		}
		before := [2]int{len(outer.seen()), len(inner.seen())}
		status := raw(t, front, "GET "+tt.path+" HTTP/1.1\r\nHost: localhost:8000")
		if tt.to == nil {
			if status != 404 || before != [2]int{len(outer.seen()), len(inner.seen())} {
				t.Errorf("%s: status %d", tt.path, status)
			}
			continue
		}
		list := tt.to.seen()
		if status != 200 || len(list) == 0 || list[len(list)-1].uri != tt.want || len(outer.seen())+len(inner.seen()) != before[0]+before[1]+1 {
			t.Errorf("%s: status %d, %v", tt.path, status, list)
		}
	}
}

func TestUpstreamAddressesAreMappedBack(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, base string
		keep       bool
		location   string // UP stands for the upstream's scheme and host
		want       string
	}{
		{"absolute", "/", false, "UP/7?a=b#c", "/api/orders/7?a=b#c"},
		{"scheme-relative", "/", false, "//HOST/7", "/api/orders/7"},
		{"path only", "/", false, "/7", "/api/orders/7"},
		{"path that has the public prefix", "/", false, "/api/orders/7", "/api/orders/7"},
		{"absolute with the public prefix", "/", false, "UP/api/orders/7", "/api/orders/7"},
		{"host only", "/", false, "UP", "/api/orders/"},
		{"below the base path", "/v2/", false, "UP/v2/7", "/api/orders/7"},
		{"a name that begins like the base path", "/v2/", false, "/v2evil/7", "/v2evil/7"},
		{"outside the base path tells no host", "/v2/", false, "UP/other", "/other"},
		{"kept prefix", "/v2", true, "UP/v2/api/orders/7", "/api/orders/7"},
		{"never another host", "/", false, "UP//evil.example/x", "/api/orders/evil.example/x"},
		{"never another host, kept prefix", "/", true, "UP//evil.example/x", "/evil.example/x"},
		{"escapes stay", "/", false, "/a%2Fb", "/api/orders/a%2Fb"},
		{"relative", "/", false, "7", "7"},
		{"elsewhere", "/", false, "https://files.example/7", "https://files.example/7"},
		{"another port of the same host", "/", false, "http://127.0.0.1:1/7", "http://127.0.0.1:1/7"},
		{"unreadable", "/", false, "http://[", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", strings.NewReplacer("UP", "http://"+r.Host, "HOST", r.Host).Replace(tt.location))
				w.WriteHeader(http.StatusFound)
			})
			route := up.route("/api/orders/", public0(tt.keep))
			route.URL.Path = tt.base
			res := send(t, b.call(t, "GET", b.front(t, route).URL+"/api/orders/x", nil))
			if got := res.Header.Get("Location"); res.StatusCode != 302 || got != tt.want {
				t.Errorf("%d %q, want %q", res.StatusCode, got, tt.want)
			}
			if len(up.seen()) != 1 {
				t.Error("the redirect was followed")
			}
		})
	}
}

// recordingTransport is two upstreams without a network.
type recordingTransport struct{ got []*http.Request }

func (t *recordingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.got = append(t.got, r)
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok")), Request: r}, nil
}

// reading is the strangest sensible reading of a path: decoded until nothing
// changes, backslashes and parameters taken for what some servers take them for.
func reading(p string) string {
	p, _, _ = strings.Cut(p, "?")
	for range 8 {
		if plain, err := url.PathUnescape(p); err == nil {
			p = plain
		}
	}
	segments := strings.Split(strings.ReplaceAll(p, `\`, "/"), "/")
	for i := range segments {
		segments[i], _, _ = strings.Cut(segments[i], ";")
	}
	return path.Clean("/" + strings.Join(segments, "/"))
}

// FuzzEveryCallStaysInItsRoute throws request lines and headers at two routes: what
// arrives at one was meant for it by any reading, and bears nothing a browser said
// about the user.
func FuzzEveryCallStaysInItsRoute(f *testing.F) {
	for _, p := range []string{
		"/api/a/x", "/api/b/x", "/api/a/../b/x", "/api/a/..%2fb/x", "/api/b/..;/a", "/api/a", "//api/b/", "/api/%62/x", "/api/a/%252e%252e/b", "http://b.test/api/b/",
		`/api/a/..\b/`, "/api/a/%c0%ae%c0%ae/b", "/api/a/?/../b", "/api/b;/x", "*",
	} {
		f.Add(p, "X-User", "mallory")
	}
	for _, name := range []string{"Cookie", "authorization", "X_User", "X.Team", "x-forwarded-for", "Connection", "Forwarded", "X-Original-URL", "Upgrade", "Transfer-Encoding"} {
		f.Add("/api/a/x", name, "X-User")
		f.Add("/api/b/x", name, "mallory")
	}
	b := newBench(f)
	f.Fuzz(func(t *testing.T, target, name, value string) {
		text := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: localhost:8000\r\nX-CSRF: 1\r\nCookie: %s\r\n%s: %s\r\n\r\n", target, b.cookie, name, value)
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return // as net/http's server refuses it
		}
		r.RemoteAddr = "192.0.2.7:4711"
		transport := &recordingTransport{}
		h := b.handler(t, transport,
			proxy.Route{Path: "/api/a/", URL: &url.URL{Scheme: "http", Host: "a.test", Path: "/base/"}, Headers: map[string]string{"X-User": "sub"}},
			proxy.Route{Path: "/api/b/", URL: &url.URL{Scheme: "http", Host: "b.test", Path: "/"}, Headers: map[string]string{"X-Team": "team"}})
		func() {
			defer func() { // http.ErrAbortHandler: a body that broke off
				if v := recover(); v != nil && v != http.ErrAbortHandler {
					panic(v)
				}
			}()
			h.ServeHTTP(httptest.NewRecorder(), origin.WithSite(r, b.site))
		}()
		for _, got := range transport.got {
			meant, base := "/api/a", "/base"
			if got.URL.Host == "b.test" {
				meant, base = "/api/b", "/"
			}
			line, _, _ := strings.Cut(strings.TrimPrefix(text, "GET "), " ")
			line = strings.TrimPrefix(line, "http://localhost:8000")
			if p := reading(line); p != meant && !strings.HasPrefix(p, meant+"/") {
				t.Errorf("%q, read as %q, arrived at %s", line, p, got.URL)
			}
			if p := reading(got.URL.RequestURI()); p != base && !strings.HasPrefix(p, strings.TrimSuffix(base, "/")+"/") {
				t.Errorf("%q left its base: %s", line, got.URL)
			}
			checkIdentity(t, got)
		}
	})
}

// checkIdentity finds anything that a service could take for somebody else's word.
func checkIdentity(t *testing.T, got *http.Request) {
	t.Helper()
	want := map[string]string{"authorization": "Bearer at-1", "x-forwarded-for": "192.0.2.7", "x-forwarded-host": "localhost:8000", "x-forwarded-proto": "http"}
	if got.URL.Host == "a.test" {
		want["x-user"] = "alice"
	}
	for name, values := range got.Header {
		folded := strings.Map(func(r rune) rune {
			if strings.ContainsRune("_.!#$%&'*+^`|~", r) {
				return '-'
			}
			return r
		}, strings.ToLower(name))
		switch text, ours := want[folded]; {
		case ours && (len(values) != 1 || values[0] != text):
			t.Errorf("%s: %q, want %q", name, values, text)
		case ours:
			delete(want, folded)
		case folded == "cookie", folded == "x-user", folded == "x-team", folded == "forwarded", folded == "x-original-url", folded == "remote-user", folded == "x-csrf", folded == "trailer":
			t.Errorf("%s: %q arrived", name, values)
		}
	}
	for name := range want {
		t.Errorf("%s is missing", name)
	}
	if len(got.Trailer) > 0 {
		t.Errorf("trailers %v", got.Trailer)
	}
}
