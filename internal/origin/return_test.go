package origin_test

import (
	"strings"
	"testing"

	"genkan/internal/origin"
)

// returnSite is the site of the tables below: Genkan at http://localhost:8000 and
// https://app.example.com:8443, an app at http://localhost:5173 and one at
// https://app.example.com.
func returnSite(t testing.TB) *origin.Site {
	t.Helper()
	p, found := origin.New(origin.Config{
		PublicURLs:     origins(t, "http://localhost:8000, https://app.example.com:8443, http://[::1]:8000"),
		SPAOrigins:     origins(t, "http://localhost:5173, https://app.example.com"),
		TrustedProxies: true,
	})
	if p == nil {
		t.Fatal(found)
	}
	return p.Canonical()
}

func TestReturnRefuses(t *testing.T) {
	t.Parallel()
	site := returnSite(t)
	for name, raw := range refusedReturns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := site.Return(raw); err == nil || got != "" {
				t.Errorf("Return(%q) = %q, %v; want no result and an error", raw, got, err)
			}
		})
	}
}

// refusedReturns either lead elsewhere in some browser or server, or are no URL.
var refusedReturns = map[string]string{
	// Another origin, plainly.
	"foreign https":                  "https://evil.example/",
	"foreign http":                   "http://evil.example/",
	"foreign without path":           "https://evil.example",
	"foreign with our host as path":  "https://evil.example/http://localhost:8000/",
	"foreign with our host as query": "https://evil.example?http://localhost:8000/",
	"foreign with our host as hash":  "https://evil.example#http://localhost:8000/",
	"our host as a prefix":           "http://localhost.evil.example:8000/",
	"our host as a suffix":           "http://evillocalhost:8000/",
	"our domain as a prefix":         "https://app.example.com.evil.example/",
	"our domain as a suffix":         "https://evilapp.example.com/",
	"sibling":                        "https://evil.example.com/",
	"parent domain":                  "https://example.com/",
	"other spelling of loopback":     "http://127.0.0.1:8000/",
	"short IPv4":                     "http://127.1:8000/",
	"number as host":                 "http://2130706433:8000/",
	"IPv4 in IPv6":                   "http://[::ffff:127.0.0.1]:8000/",
	"IPv6 zone":                      "http://[::1%25lo]:8000/",
	"IPv6 zone unescaped":            "http://[::1%lo]:8000/",
	"trailing dot in the host":       "http://localhost.:8000/",
	"trailing dot in the domain":     "https://app.example.com./",
	// Our host, another origin.
	"http for https":     "http://app.example.com/",
	"https for http":     "https://localhost:8000/",
	"other port":         "http://localhost:3000/",
	"default port":       "http://localhost/",
	"port with a zero":   "http://localhost:08000/",
	"port empty":         "http://localhost:/",
	"port too high":      "http://localhost:73536/",
	"port no number":     "http://localhost:8000a/",
	"port with a sign":   "http://localhost:+8000/",
	"port as user's tag": "http://localhost:8000:80/",
	// Scheme-relative, and what browsers read as it.
	"two slashes":                  "//evil.example/",
	"two slashes, our host":        "//localhost:8000/",
	"three slashes":                "///evil.example/",
	"four slashes":                 "////evil.example/",
	"slash backslash":              `/\evil.example/`,
	"backslash slash":              `\/evil.example/`,
	"two backslashes":              `\\evil.example/`,
	"backslash alone":              `\`,
	"tab between slashes":          "/\t/evil.example/",
	"newline between slashes":      "/\n/evil.example/",
	"return between slashes":       "/\r/evil.example/",
	"tab before slashes":           "\t//evil.example/",
	"space before slashes":         " //evil.example/",
	"encoded second slash":         "/%2fevil.example/",
	"encoded second slash, upper":  "/%2Fevil.example/",
	"encoded backslash":            "/%5cevil.example/",
	"encoded tab":                  "/%09/evil.example/",
	"two slashes after our origin": "http://localhost:8000//evil.example/",
	// Dot segments that leave two slashes in front.
	"dot segment":                   "/.//evil.example/",
	"dot-dot segment":               "/..//evil.example/",
	"dot-dot after a name":          "/a/..//evil.example/",
	"encoded dot-dot":               "/%2e%2e//evil.example/",
	"half encoded dot-dot":          "/.%2E//evil.example/",
	"encoded dot":                   "/%2e//evil.example/",
	"encoded dot-dot-slash":         "/a/%2e%2e%2f/evil.example/",
	"dot-dot at the end":            "/a/..",
	"dot-dot after our origin":      "http://localhost:8000/..//evil.example/",
	"dot-dot by backslash":          `/a\..\evil`,
	"encoded dot-dot, other origin": "https://app.example.com/%2e%2e//evil.example/",
	// User information.
	"our host as user":            "http://localhost:8000@evil.example/",
	"our host as user, no port":   "http://localhost@evil.example:8000/",
	"user before our host":        "http://evil@localhost:8000/",
	"empty user before our host":  "http://@localhost:8000/",
	"user and password":           "http://a:b@localhost:8000/",
	"two at signs":                "http://localhost:8000@@evil.example/",
	"encoded at sign in the host": "http://localhost:8000%40evil.example/",
	"backslash before at sign":    `http://localhost:8000\@evil.example/`,
	"backslash after our host":    `http://localhost:8000\.evil.example/`,
	"semicolon after our host":    "http://localhost:8000;@evil.example/",
	// Odd authorities.
	"lone http://":                     "http://",
	"lone https://":                    "https://",
	"http:///":                         "http:///evil.example/",
	"http:/":                           "http:/evil.example/",
	"http: without slashes":            "http:evil.example/",
	"https: without slashes":           "https:evil.example/",
	"http: with backslashes":           `http:\\evil.example/`,
	"http: with our host, one slash":   "http:/localhost:8000/",
	"encoded slash in the host":        "http://localhost:8000%2f.evil.example/",
	"encoded letter in the host":       "http://loc%61lhost:8000/",
	"encoded NUL in the host":          "http://localhost%00.evil.example:8000/",
	"space in the host":                "http://localhost :8000/",
	"comma in the host":                "http://localhost:8000,evil.example/",
	"unclosed bracket":                 "http://[::1:8000/",
	"text after the bracket":           "http://[::1]evil.example:8000/",
	"name in brackets":                 "http://[localhost]:8000/",
	"fullwidth slash in the host":      "http://localhost:8000\uff0f.evil.example/",
	"fullwidth dot in the host":        "https://app.example.com\uff0eevil.example/",
	"ideographic dot in the host":      "https://app.example.com\u3002evil.example/",
	"fullwidth at sign in the host":    "http://localhost:8000\uff20evil.example/",
	"fullwidth colon for the port":     "http://localhost\uff1a8000/",
	"character that becomes a/c":       "https://app.example.com\u2100.evil.example/",
	"Cyrillic homograph":               "https://\u0430pp.example.com/",
	"Cyrillic homograph, punycode":     "https://xn--pp-6kc.example.com/",
	"dotless i":                        "https://app.examp\u0131e.com/",
	"right-to-left override in a host": "https://app.example.com\u202e/",
	// Other schemes.
	"javascript":              "javascript:alert(1)",
	"javascript, upper":       "JaVaScRiPt:alert(1)",
	"javascript with slashes": "javascript://localhost:8000/%0aalert(1)",
	"javascript with tab":     "java\tscript:alert(1)",
	"data":                    "data:text/html,<script>alert(1)</script>",
	"vbscript":                "vbscript:msgbox(1)",
	"file":                    "file:///etc/passwd",
	"ftp":                     "ftp://localhost:8000/",
	"blob":                    "blob:http://localhost:8000/0",
	"view-source":             "view-source:http://localhost:8000/",
	"ws":                      "ws://localhost:8000/",
	"mailto":                  "mailto:a@localhost",
	"about":                   "about:blank",
	"scheme with a space":     " http://localhost:8000/",
	"no scheme":               "://localhost:8000/",
	// Not a path and not a URL.
	"relative path":        "evil.example/",
	"dot path":             "./a",
	"dot-dot path":         "../a",
	"query only":           "?a=b",
	"fragment only":        "#a",
	"at sign":              "@evil.example",
	"percent slash":        "%2f%2fevil.example",
	"host and port":        "localhost:8000/",
	"null as a word":       "null",
	"space":                " ",
	"broken escape":        "/%zz",
	"escape cut short":     "/a%2",
	"NUL":                  "/a\x00b",
	"encoded NUL":          "/a%00b",
	"newline in the path":  "/a\r\nSet-Cookie: a=b",
	"encoded newline":      "/a%0d%0aSet-Cookie:%20a=b",
	"newline in a query":   "/a?b=\nc",
	"delete":               "/a\x7f",
	"C1 control":           "/a\u0085b",
	"no-break space":       "\u00a0//evil.example",
	"byte order mark":      "\ufeff//evil.example",
	"line separator":       "/a\u2028b",
	"invalid UTF-8":        "/a\xffb",
	"overlong slash":       "/\xc0\xafevil.example",
	"overlong":             "/" + strings.Repeat("a", 2048),
	"overlong when coded":  "/" + strings.Repeat("\u00e9", 400),
	"overlong as given":    "https://ａｐｐ.example.com/" + strings.Repeat("a", 2020),
	"overlong URL":         "http://localhost:8000/" + strings.Repeat("a", 2027),
	"overlong coded URL":   "http://localhost:8000/" + strings.Repeat("a", 2021) + "\u00e9",
	"backslash in a query": `/a?b=\c`,
}

func TestReturnAccepts(t *testing.T) {
	t.Parallel()
	site := returnSite(t)
	for name, tt := range acceptedReturns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := site.Return(tt[0]); err != nil || got != tt[1] {
				t.Errorf("Return(%q) = %q, %v; want %q", tt[0], got, err, tt[1])
			}
		})
	}
}

// acceptedReturns are inputs and what becomes of them.
var acceptedReturns = map[string][2]string{
	"nothing is the app's start":     {"", "http://localhost:5173/"},
	"root":                           {"/", "/"},
	"path":                           {"/orders/7", "/orders/7"},
	"path with a slash at the end":   {"/orders/", "/orders/"},
	"two slashes later":              {"/a//b", "/a//b"},
	"query":                          {"/a?b=c&d=e", "/a?b=c&d=e"},
	"query at the root":              {"/?a=b", "/?a=b"},
	"fragment":                       {"/#/hash/route", "/#/hash/route"},
	"foreign URL in a query":         {"/a?next=https://evil.example/", "/a?next=https://evil.example/"},
	"two slashes in a query":         {"/a?//evil.example", "/a?//evil.example"},
	"dot segments in a query":        {"/a?../..", "/a?../.."},
	"encoded space":                  {"/my%20files/a%20b", "/my%20files/a%20b"},
	"encoded slash inside":           {"/files/a%2Fb", "/files/a%2Fb"},
	"encoded percent":                {"/a%252e%252e/b", "/a%252e%252e/b"},
	"encoded text":                   {"/%E7%8E%84%E9%96%A2", "/%E7%8E%84%E9%96%A2"},
	"text":                           {"/玄関?q=é#ü", "/%E7%8E%84%E9%96%A2?q=%C3%A9#%C3%BC"},
	"fullwidth slash stays a letter": {"/\uff0fevil.example", "/%EF%BC%8Fevil.example"},
	"names of dots":                  {"/.../.a/a./..b", "/.../.a/a./..b"},
	"at sign in a path":              {"/@user", "/@user"},
	"colon in a path":                {"/a:b", "/a:b"},
	"broken escape in a query":       {"/a?b=100%", "/a?b=100%"},
	"encoded newline in a query":     {"/a?b=c%0Ad", "/a?b=c%0Ad"},
	"this site":                      {"http://localhost:8000/a", "http://localhost:8000/a"},
	"this site, no path":             {"http://localhost:8000", "http://localhost:8000/"},
	"this site, query only":          {"http://localhost:8000?a=b", "http://localhost:8000/?a=b"},
	"this site, fragment only":       {"http://localhost:8000#a", "http://localhost:8000/#a"},
	"another public URL":             {"https://app.example.com:8443/a", "https://app.example.com:8443/a"},
	"public IPv6":                    {"http://[::1]:8000/a", "http://[::1]:8000/a"},
	"public IPv6 written out":        {"http://[0:0:0:0:0:0:0:1]:8000/a", "http://[::1]:8000/a"},
	"app":                            {"http://localhost:5173/a?b#c", "http://localhost:5173/a?b#c"},
	"other app":                      {"https://app.example.com/", "https://app.example.com/"},
	"default port written out":       {"https://app.example.com:443/a", "https://app.example.com/a"},
	"upper case":                     {"HTTP://LOCALHOST:5173/A", "http://localhost:5173/A"},
	"fullwidth letters in the host":  {"https://ａｐｐ.example.com/a", "https://app.example.com/a"},
	"at sign after the host":         {"http://localhost:8000/@evil.example", "http://localhost:8000/@evil.example"},
	"as long a URL as may be": {
		"http://localhost:8000/" + strings.Repeat("a", 2026), "http://localhost:8000/" + strings.Repeat("a", 2026)},
	"as long as may be": {"/" + strings.Repeat("a", 2047), "/" + strings.Repeat("a", 2047)},
}

// TestReturnStart tells where a browser goes that named no place.
func TestReturnStart(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ publics, apps, want string }{
		"no app elsewhere":       {"https://example.com", "", "/"},
		"one app":                {"http://localhost:8000", "http://localhost:5173", "http://localhost:5173/"},
		"the app of this site":   {"https://api.example.com, http://localhost:8000", "http://localhost:5173, https://app.example.com", "https://app.example.com/"},
		"the first of this site": {"http://localhost:8000", "http://localhost:5173, http://localhost:3000", "http://localhost:5173/"},
		"an app on another site": {"https://api.example.net", "https://app.example.com", "https://app.example.com/"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := origin.Config{PublicURLs: origins(t, tt.publics), TrustedProxies: true}
			if tt.apps != "" {
				c.SPAOrigins = origins(t, tt.apps)
			}
			p, found := origin.New(c)
			if p == nil {
				t.Fatal(found)
			}
			if got, err := p.Canonical().Return(""); err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}
