package server_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestForwardingHeadersCountOnlyFromTrustedProxies(t *testing.T) {
	t.Parallel()
	const proxy, stranger = "10.1.2.3:4000", "203.0.113.9:4000"
	for name, tt := range map[string]struct {
		remote  string
		headers []string
		status  int
		client  string // as the access log has it
	}{
		"https by X-Forwarded":          {proxy, []string{"Host: genkan:8000", "X-Forwarded-Host: app.example.com", "X-Forwarded-Proto: https", "X-Forwarded-For: 198.51.100.7"}, 200, "198.51.100.7"},
		"a proxy by IPv6":               {"[::1]:4000", []string{"Host: genkan:8000", "X-Forwarded-Host: app.example.com", "X-Forwarded-Proto: https"}, 200, "::1"},
		"plain http":                    {proxy, []string{"Host: app.example.com", "X-Forwarded-Proto: http"}, 421, "10.1.2.3"},
		"a client put its own in front": {proxy, []string{"Host: genkan:8000", "X-Forwarded-Host: evil.example, app.example.com", "X-Forwarded-Proto: http, https", "X-Forwarded-For: 1.2.3.4, 198.51.100.7"}, 200, "198.51.100.7"},
		"two proxies":                   {proxy, []string{"Host: app.example.com", "X-Forwarded-Proto: https", "X-Forwarded-For: 198.51.100.7, 10.9.9.9"}, 200, "198.51.100.7"},
		"in two header lines":           {proxy, []string{"Host: app.example.com", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 198.51.100.7"}, 200, "198.51.100.7"},
		"Forwarded":                     {proxy, []string{"Host: genkan:8000", `Forwarded: for=198.51.100.7;host=app.example.com;proto=https`}, 200, "198.51.100.7"},
		"Forwarded, quoted IPv6":        {proxy, []string{"Host: genkan:8000", `Forwarded: For="[2001:db8::1]:4711"; Host="app.example.com"; Proto=HTTPS`}, 200, "2001:db8::1"},
		"Forwarded, a forged hop":       {proxy, []string{"Host: genkan:8000", `Forwarded: for=1.2.3.4;host=evil.example;proto=http, for=198.51.100.7;host=app.example.com;proto=https`}, 200, "198.51.100.7"},
		"Forwarded, two proxies":        {proxy, []string{"Host: genkan:8000", `Forwarded: for=198.51.100.7;host=app.example.com;proto=https, for=10.9.9.9;host=inner;proto=http`}, 200, "198.51.100.7"},
		"Forwarded beside the other":    {proxy, []string{"Host: app.example.com", "X-Forwarded-Proto: https", `Forwarded: for=1.2.3.4;host=evil.example;proto=http`}, 200, "10.1.2.3"},
		"not an address":                {proxy, []string{"Host: app.example.com", "X-Forwarded-For: unknown"}, 200, "10.1.2.3"},
		"a stranger":                    {stranger, []string{"Host: genkan:8000", "X-Forwarded-Host: app.example.com", "X-Forwarded-Proto: https", "X-Forwarded-For: 1.2.3.4"}, 421, "203.0.113.9"},
		"a stranger cannot downgrade":   {stranger, []string{"Host: app.example.com", "X-Forwarded-Proto: http", "Forwarded: proto=http"}, 200, "203.0.113.9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, options{public: []string{"https://app.example.com"}, proxies: []string{"10.0.0.0/8", "::1/128"}})
			r := httptest.NewRequest(http.MethodGet, "/bff/session", nil)
			r.RemoteAddr = tt.remote
			if got := f.send(r, slices.Concat(fetchSame, tt.headers)...); got.StatusCode != tt.status {
				t.Errorf("%d, want %d", got.StatusCode, tt.status)
			}
			if !strings.Contains(f.log.String(), `"`+tt.client+`"`) {
				t.Errorf("the log does not name %s: %s", tt.client, f.log)
			}
		})
	}
}

func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{"for=1.2.3.4;host=a;proto=https", `for="[::1]:1", for=_x`, ";;,,==", "for=", strings.Repeat("for=1.1.1.1,", 100)} {
		f.Add(seed, seed)
	}
	fix := newFixture(f, options{public: []string{"https://app.example.com"}, proxies: []string{"10.0.0.0/8"}})
	f.Fuzz(func(t *testing.T, forwarded, host string) {
		r := httptest.NewRequest(http.MethodGet, "/bff/session", nil)
		r.RemoteAddr, r.Host = "10.0.0.1:1", "app.example.com"
		r.Header.Set("Forwarded", forwarded)
		r.Header.Set("X-Forwarded-Host", host)
		r.Header.Set("X-CSRF", "1")
		w := httptest.NewRecorder()
		fix.handler.ServeHTTP(w, r)
		if w.Code >= 500 || strings.Contains(w.Header().Get("Location"), "evil") {
			t.Errorf("%d %v", w.Code, w.Header())
		}
	})
}
