package origin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"genkan/internal/origin"
)

// csrfMatrix is section "CSRF" of the contract written out: every combination of
// method class, Sec-Fetch-Site and Origin, without and with X-CSRF: 1. A cell is the
// two verdicts, "-" for refused and "+" for let through. Genkan is at
// http://localhost:8000, an app at http://localhost:5173.
const csrfMatrix = `
method  sec-fetch-site  absent  own  app  foreign  null
GET     absent          -+      ++   ++   --       --
GET     same-origin     ++      ++   ++   --       --
GET     same-site       -+      ++   ++   --       --
GET     cross-site      --      ++   ++   --       --
GET     none            -+      ++   ++   --       --
GET     banana          -+      ++   ++   --       --
HEAD    absent          -+      ++   ++   --       --
HEAD    same-origin     ++      ++   ++   --       --
HEAD    same-site       -+      ++   ++   --       --
HEAD    cross-site      --      ++   ++   --       --
HEAD    none            -+      ++   ++   --       --
HEAD    banana          -+      ++   ++   --       --
OPTIONS absent          -+      ++   ++   --       --
OPTIONS same-origin     ++      ++   ++   --       --
OPTIONS same-site       -+      ++   ++   --       --
OPTIONS cross-site      --      ++   ++   --       --
OPTIONS none            -+      ++   ++   --       --
OPTIONS banana          -+      ++   ++   --       --
POST    absent          --      -+   -+   --       --
POST    same-origin     -+      -+   -+   --       --
POST    same-site       --      -+   -+   --       --
POST    cross-site      --      -+   -+   --       --
POST    none            --      -+   -+   --       --
POST    banana          --      -+   -+   --       --
PUT     absent          --      -+   -+   --       --
PUT     same-origin     -+      -+   -+   --       --
PUT     same-site       --      -+   -+   --       --
PUT     cross-site      --      -+   -+   --       --
PUT     none            --      -+   -+   --       --
PUT     banana          --      -+   -+   --       --
PATCH   absent          --      -+   -+   --       --
PATCH   same-origin     -+      -+   -+   --       --
PATCH   same-site       --      -+   -+   --       --
PATCH   cross-site      --      -+   -+   --       --
PATCH   none            --      -+   -+   --       --
PATCH   banana          --      -+   -+   --       --
DELETE  absent          --      -+   -+   --       --
DELETE  same-origin     -+      -+   -+   --       --
DELETE  same-site       --      -+   -+   --       --
DELETE  cross-site      --      -+   -+   --       --
DELETE  none            --      -+   -+   --       --
DELETE  banana          --      -+   -+   --       --
get     absent          --      -+   -+   --       --
TRACE   same-origin     -+      -+   -+   --       --
QUERY   same-origin     -+      -+   -+   --       --
upgrade absent          --      ++   ++   --       --
upgrade same-origin     --      ++   ++   --       --
upgrade same-site       --      ++   ++   --       --
upgrade cross-site      --      ++   ++   --       --
upgrade none            --      ++   ++   --       --
upgrade banana          --      ++   ++   --       --
`

func TestCheckMatrix(t *testing.T) {
	t.Parallel()
	origins := map[string]string{
		"absent": "", "own": "http://localhost:8000", "app": "http://localhost:5173", "foreign": "https://evil.example", "null": "null",
	}
	rows := strings.Split(strings.TrimSpace(csrfMatrix), "\n")
	columns := strings.Fields(rows[0])
	site, cells := returnSite(t), 0
	for _, row := range rows[1:] {
		fields := strings.Fields(row)
		for i, want := range fields[2:] {
			r := httptest.NewRequest("GET", "/", nil)
			if r.Method = fields[0]; r.Method == "upgrade" {
				r.Method = "GET"
				r.Header.Set("Upgrade", "websocket")
			}
			if fields[1] != "absent" {
				r.Header.Set("Sec-Fetch-Site", fields[1])
			}
			if from := origins[columns[i+2]]; from != "" {
				r.Header.Set("Origin", from)
			}
			got := verdict(site, r)
			r.Header.Set("X-CSRF", "1")
			if got += verdict(site, r); got != want {
				t.Errorf("%s, Sec-Fetch-Site %s, Origin %s: got %s, want %s", fields[0], fields[1], columns[i+2], got, want)
			}
			cells++
		}
	}
	if cells != 51*5 {
		t.Errorf("%d cells were tried", cells)
	}
}

func verdict(s *origin.Site, r *http.Request) string {
	if s.Check(r) == nil {
		return "+"
	}
	return "-"
}

// header makes a header of name, value pairs; a name may come twice.
func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

const app = "http://localhost:5173"

// checkLetters are requests where a letter or a number of headers counts.
var checkLetters = map[string]struct {
	method string
	header http.Header
	want   string
}{
	"the app":                           {"POST", header("X-Csrf", "1", "Origin", app), "+"},
	"header 0":                          {"POST", header("X-Csrf", "0", "Origin", app), "-"},
	"header true":                       {"POST", header("X-Csrf", "true", "Origin", app), "-"},
	"header with a space":               {"POST", header("X-Csrf", " 1", "Origin", app), "-"},
	"header empty":                      {"POST", header("X-Csrf", "", "Origin", app), "-"},
	"header 0 on a safe method":         {"GET", header("X-Csrf", "0"), "-"},
	"header 0 beside a foreign origin":  {"GET", header("X-Csrf", "0", "Origin", "https://evil.example"), "-"},
	"origin in upper case":              {"POST", header("X-Csrf", "1", "Origin", "HTTP://LOCALHOST:5173"), "-"},
	"origin with a slash":               {"POST", header("X-Csrf", "1", "Origin", app+"/"), "-"},
	"origin with a path":                {"POST", header("X-Csrf", "1", "Origin", app+"/a"), "-"},
	"origin at a sibling port":          {"POST", header("X-Csrf", "1", "Origin", "http://localhost:3000"), "-"},
	"origin without port":               {"POST", header("X-Csrf", "1", "Origin", "http://localhost"), "-"},
	"origin of the other scheme":        {"POST", header("X-Csrf", "1", "Origin", "https://localhost:5173"), "-"},
	"origin of the other spelling":      {"POST", header("X-Csrf", "1", "Origin", "http://127.0.0.1:5173"), "-"},
	"our origin as a prefix":            {"POST", header("X-Csrf", "1", "Origin", app+".evil.example"), "-"},
	"our origin as a suffix":            {"POST", header("X-Csrf", "1", "Origin", "http://evillocalhost:5173"), "-"},
	"origin empty":                      {"POST", header("X-Csrf", "1", "Origin", ""), "-"},
	"origin empty, same-origin":         {"GET", header("Sec-Fetch-Site", "same-origin", "Origin", ""), "-"},
	"origin twice":                      {"POST", header("X-Csrf", "1", "Origin", app, "Origin", app), "-"},
	"origin twice, one foreign":         {"POST", header("X-Csrf", "1", "Origin", app, "Origin", "https://evil.example"), "-"},
	"two origins in one":                {"POST", header("X-Csrf", "1", "Origin", app+", https://evil.example"), "-"},
	"another public URL":                {"POST", header("X-Csrf", "1", "Origin", "https://app.example.com:8443"), "-"},
	"another app of the list":           {"POST", header("X-Csrf", "1", "Origin", "https://app.example.com"), "+"},
	"same-origin in upper case":         {"GET", header("Sec-Fetch-Site", "Same-Origin"), "-"},
	"same-origin twice":                 {"GET", header("Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "same-origin"), "-"},
	"same-origin and cross-site":        {"POST", header("X-Csrf", "1", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"), "-"},
	"same-origin with a space":          {"GET", header("Sec-Fetch-Site", "same-origin "), "-"},
	"a Referer proves nothing":          {"GET", header("Referer", app+"/"), "-"},
	"a cookie proves nothing":           {"GET", header("Cookie", "X-CSRF=1"), "-"},
	"a custom header of another name":   {"POST", header("X-Requested-With", "XMLHttpRequest", "Origin", app), "-"},
	"navigations get no favour":         {"GET", header("Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "cross-site"), "-"},
	"socket in upper case":              {"GET", header("Upgrade", "WebSocket", "Sec-Fetch-Site", "same-origin"), "-"},
	"socket beside another protocol":    {"GET", header("Upgrade", "h2c, websocket", "X-Csrf", "1"), "-"},
	"socket in a second header":         {"GET", header("Upgrade", "h2c", "Upgrade", "websocket", "X-Csrf", "1"), "-"},
	"socket with a version":             {"GET", header("Upgrade", "websocket/13", "X-Csrf", "1"), "-"},
	"socket of the app":                 {"GET", header("Upgrade", "websocket", "Origin", app), "+"},
	"socket from a sibling port":        {"GET", header("Upgrade", "websocket", "Origin", "http://localhost:3000", "X-Csrf", "1"), "-"},
	"socket by ws://":                   {"GET", header("Upgrade", "websocket", "Origin", "ws://localhost:5173"), "-"},
	"another upgrade is no socket":      {"GET", header("Upgrade", "h2c", "X-Csrf", "1"), "+"},
	"same-origin beside an app, unsafe": {"DELETE", header("X-Csrf", "1", "Origin", app, "Sec-Fetch-Site", "same-origin"), "+"},
}

func TestCheckLetters(t *testing.T) {
	t.Parallel()
	site := returnSite(t)
	for name, tt := range checkLetters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(tt.method, "/", nil)
			r.Header = tt.header
			if got := verdict(site, r); got != tt.want {
				t.Errorf("got %s (%v), want %s", got, site.Check(r), tt.want)
			}
		})
	}
}
