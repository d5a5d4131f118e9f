package origin_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/origin"
)

// corsPolicy serves Genkan at http://localhost:8000 to apps at http://localhost:5173
// and http://localhost.
func corsPolicy(t *testing.T, apps string) *origin.Policy {
	t.Helper()
	c := origin.Config{PublicURLs: origins(t, "http://localhost:8000")}
	if apps != "" {
		c.SPAOrigins = origins(t, apps)
	}
	p, found := origin.New(c)
	if p == nil {
		t.Fatal(found)
	}
	return p
}

// accessControl is every Access-Control header of an answer, and Vary.
func accessControl(h http.Header) map[string]string {
	got := map[string]string{}
	for name, values := range h {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			got[name] = strings.Join(values, ", ")
		}
	}
	return got
}

// TestCORSOnEveryAnswer: the app can read errors, too (contract section 5).
func TestCORSOnEveryAnswer(t *testing.T) {
	t.Parallel()
	p := corsPolicy(t, "http://localhost:5173, http://localhost")
	want := map[string]string{
		"Access-Control-Allow-Origin":      "http://localhost:5173",
		"Access-Control-Allow-Credentials": "true",
		"Access-Control-Expose-Headers":    "X-Request-Id, Location, Etag, Content-Disposition, Retry-After, Www-Authenticate, Link",
		"Vary":                             "Origin",
	}
	for _, status := range []int{200, 204, 302, 400, 401, 403, 404, 405, 421, 500, 503} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			h := p.CORS(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request(method, map[string]string{"Origin": "http://localhost:5173"}))
			if w.Code != status {
				t.Errorf("%s: the handler's %d became %d", method, status, w.Code)
			}
			if diff := cmp.Diff(want, accessControl(w.Header())); diff != "" {
				t.Errorf("%s %d: -want +got:\n%s", method, status, diff)
			}
		}
	}
}

func TestCORSPreflight(t *testing.T) {
	t.Parallel()
	p := corsPolicy(t, "http://localhost:5173")
	const vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
	allowed := func(method, headers string) map[string]string {
		want := map[string]string{
			"Access-Control-Allow-Origin": "http://localhost:5173", "Access-Control-Allow-Credentials": "true",
			"Access-Control-Allow-Methods": method, "Access-Control-Max-Age": "600", "Vary": vary,
		}
		if headers != "" {
			want["Access-Control-Allow-Headers"] = headers
		}
		return want
	}
	refused := map[string]string{"Vary": vary}
	tests := map[string]struct {
		from, method, headers string
		want                  map[string]string
	}{
		"POST with X-CSRF":  {"http://localhost:5173", "POST", "content-type,x-csrf", allowed("POST", "content-type,x-csrf")},
		"GET with X-CSRF":   {"http://localhost:5173", "GET", "x-csrf", allowed("GET", "x-csrf")},
		"DELETE":            {"http://localhost:5173", "DELETE", "", allowed("DELETE", "")},
		"any other header":  {"http://localhost:5173", "PUT", "x-trace-id", allowed("PUT", "x-trace-id")},
		"TRACE":             {"http://localhost:5173", "TRACE", "", refused},
		"a foreign origin":  {"https://evil.example", "POST", "x-csrf", refused},
		"null":              {"null", "POST", "x-csrf", refused},
		"our own origin":    {"http://localhost:8000", "POST", "x-csrf", refused},
		"a neighbour's":     {"http://localhost:3000", "POST", "x-csrf", refused},
		"the app, spelt up": {"http://LOCALHOST:5173", "POST", "x-csrf", refused},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := p.CORS(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a preflight reached the handler") }))
			r := request("OPTIONS", map[string]string{"Origin": tt.from, "Access-Control-Request-Method": tt.method})
			if tt.headers != "" {
				r.Header.Set("Access-Control-Request-Headers", tt.headers)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusNoContent {
				t.Errorf("status %d", w.Code)
			}
			if diff := cmp.Diff(tt.want, accessControl(w.Header())); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestCORSRefuses: no answer, nor preflight, lets another origin read (Fetch; ASVS 3.4.2).
func TestCORSRefuses(t *testing.T) {
	t.Parallel()
	p := corsPolicy(t, "http://localhost:5173, http://localhost")
	tests := map[string][]string{
		"none":                    {},
		"empty":                   {""},
		"null":                    {"null"},
		"star":                    {"*"},
		"foreign":                 {"https://evil.example"},
		"upper case":              {"HTTP://LOCALHOST:5173"},
		"slash at the end":        {"http://localhost:5173/"},
		"path":                    {"http://localhost:5173/a"},
		"other port":              {"http://localhost:3000"},
		"port as a prefix":        {"http://localhost:51730"},
		"default port":            {"http://localhost:80"},
		"other scheme":            {"https://localhost:5173"},
		"other spelling":          {"http://127.0.0.1:5173"},
		"trailing dot":            {"http://localhost.:5173"},
		"ours as a prefix":        {"http://localhost:5173.evil.example"},
		"our host as a prefix":    {"http://localhost.evil.example"},
		"our host as a suffix":    {"http://evillocalhost:5173"},
		"ours as user":            {"http://localhost:5173@evil.example"},
		"space in front":          {" http://localhost:5173"},
		"two in one":              {"http://localhost:5173, https://evil.example"},
		"twice":                   {"http://localhost:5173", "http://localhost:5173"},
		"ours, then a foreign":    {"http://localhost:5173", "https://evil.example"},
		"a foreign one, then our": {"https://evil.example", "http://localhost:5173"},
	}
	h := p.CORS(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for name, from := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, method := range []string{"GET", "POST", "OPTIONS"} {
				r := request(method, map[string]string{"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-csrf"})
				r.Header["Origin"] = from
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				got := accessControl(w.Header())
				if vary := got["Vary"]; !slices.Contains(strings.Split(vary, ", "), "Origin") {
					t.Errorf("%s: Vary is %q, so a cache could give this answer to the app", method, vary)
				}
				delete(got, "Vary")
				if len(got) > 0 {
					t.Errorf("%s: got %v", method, got)
				}
			}
		})
	}
}

// TestCORSWithoutApps: one origin needs none, and an empty list must not mean all.
func TestCORSWithoutApps(t *testing.T) {
	t.Parallel()
	h := corsPolicy(t, "").CORS(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for _, from := range []string{"http://localhost:8000", "https://evil.example", "null", "*"} {
		for _, method := range []string{"GET", "OPTIONS"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request(method, map[string]string{"Origin": from, "Access-Control-Request-Method": "POST"}))
			if w.Code != http.StatusTeapot || len(w.Header()) > 0 {
				t.Errorf("%s from %s: status %d, headers %v", method, from, w.Code, w.Header())
			}
		}
	}
}

// TestCORSKeepsVary: what the handler varies by stays.
func TestCORSKeepsVary(t *testing.T) {
	t.Parallel()
	h := corsPolicy(t, "http://localhost:5173").CORS(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Vary", "Sec-Fetch-Site")
	}))
	for range 2 { // a shared slice would grow
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request("GET", map[string]string{"Origin": "http://localhost:5173"}))
		if diff := cmp.Diff([]string{"Origin", "Sec-Fetch-Site"}, w.Header().Values("Vary")); diff != "" {
			t.Error(diff)
		}
	}
}
