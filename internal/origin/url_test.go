package origin_test

import (
	"testing"

	"genkan/internal/origin"
)

// TestParseAccepts: each is what new URL(text).origin gives for itself in a browser.
func TestParseAccepts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		host, port       string
		secure, loopback bool
	}{
		"http://localhost:8000":                  {"localhost", "8000", false, true},
		"http://localhost":                       {"localhost", "80", false, true},
		"https://localhost":                      {"localhost", "443", true, true},
		"https://localhost:80":                   {"localhost", "80", true, true},
		"http://localhost:443":                   {"localhost", "443", false, true},
		"http://localhost:1":                     {"localhost", "1", false, true},
		"http://localhost:65535":                 {"localhost", "65535", false, true},
		"http://127.0.0.1:8000":                  {"127.0.0.1", "8000", false, true},
		"http://127.8.8.8":                       {"127.8.8.8", "80", false, true},
		"http://[::1]:8000":                      {"::1", "8000", false, true},
		"https://[2001:db8::1]":                  {"2001:db8::1", "443", true, false},
		"http://app.localhost:5173":              {"app.localhost", "5173", false, true},
		"http://192.168.1.5:8000":                {"192.168.1.5", "8000", false, false},
		"http://0.0.0.0:8000":                    {"0.0.0.0", "8000", false, false},
		"https://app.example.com":                {"app.example.com", "443", true, false},
		"https://app.example.com:8443":           {"app.example.com", "8443", true, false},
		"https://qa--shop.netlify.app":           {"qa--shop.netlify.app", "443", true, false},
		"https://my_app.example.com":             {"my_app.example.com", "443", true, false},
		"http://intranet":                        {"intranet", "80", false, false},
		"http://3com:8000":                       {"3com", "8000", false, false},
		"https://localhost.example.com":          {"localhost.example.com", "443", true, false},
		"https://notlocalhost":                   {"notlocalhost", "443", true, false},
		"http://localhost.:8000":                 {"localhost.", "8000", false, false},
		"https://xn--rhqv96g.example":            {"xn--rhqv96g.example", "443", true, false},
		"https://xn--fa-hia.de":                  {"xn--fa-hia.de", "443", true, false},
		"https://1.2.3.4.example":                {"1.2.3.4.example", "443", true, false},
		"https://0x7f.example":                   {"0x7f.example", "443", true, false},
		"https://deploy-preview-1--a.example.io": {"deploy-preview-1--a.example.io", "443", true, false},
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			o, err := origin.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if o.String() != text || o.Host() != want.host || o.Port() != want.port || o.Secure() != want.secure || o.Loopback() != want.loopback {
				t.Errorf("got %s: host %s, port %s, secure %v, loopback %v", o, o.Host(), o.Port(), o.Secure(), o.Loopback())
			}
		})
	}
}

const (
	badURL     = "it is not a URL"
	badScheme  = "it does not begin with http:// or https://"
	badMore    = "it has more than scheme, host and port"
	badHost    = "its host is not valid"
	badPort    = "its port is not a number from 1 to 65535"
	badIPv4    = "its host looks like an IPv4 address and is none"
	badIPv6    = "its IPv6 address is not valid"
	badSeveral = "it stands for more than one origin"
)

// refusedOrigins are what no Origin header ever holds, with the error, which names
// the right spelling where a browser reads the text as an origin at all.
var refusedOrigins = map[string]string{
	"":                                 "it is empty",
	" ":                                "it is empty",
	"*":                                badSeveral,
	"null":                             badSeveral,
	"localhost":                        badScheme,
	"localhost:8000":                   badScheme,
	"//localhost:8000":                 badScheme,
	"ftp://localhost":                  badScheme,
	"ws://localhost:8000":              badScheme,
	"javascript:alert(1)":              badScheme,
	"http:localhost":                   badMore,
	"http://localhost:8000/":           "it has a path; write http://localhost:8000",
	"https://example.com/app":          "it has a path; write https://example.com",
	"http://localhost:8000?":           badMore,
	"http://localhost:8000?a":          badMore,
	"http://localhost:8000#":           badMore,
	"http://localhost:8000#a":          badMore,
	"http://user@localhost:8000":       badMore,
	"http://user:secret@localhost":     badMore,
	"http://@localhost":                badMore,
	"http://localhost:80":              "a browser writes it http://localhost",
	"https://example.com:443":          "a browser writes it https://example.com",
	"HTTP://localhost":                 "a browser writes it http://localhost",
	"https://Example.COM":              "a browser writes it https://example.com",
	"https://faß.de":                   "a browser writes it https://xn--fa-hia.de",
	"https://例え.テスト":                   "a browser writes it https://xn--r8jz45g.xn--zckzah",
	"https://ｅxample.com":              "a browser writes it https://example.com",
	"https://example。com":              "a browser writes it https://example.com",
	"http://[0:0:0:0:0:0:0:1]:8000":    "a browser writes it http://[::1]:8000",
	"https://[2001:DB8::1]":            "a browser writes it https://[2001:db8::1]",
	"http://[::ffff:127.0.0.1]:8000":   badIPv6,
	"http://[::ffff:7f00:1]:8000":      badIPv6,
	"http://[fe80::1%25eth0]":          badIPv6,
	"http://[localhost]":               badURL,
	"http://[127.0.0.1]":               badURL,
	"http://127.1:8000":                badIPv4,
	"http://2130706433":                badIPv4,
	"http://0x7f.0.0.1":                badIPv4,
	"http://0x7f.1":                    badIPv4,
	"http://127.0.0.0x1":               badIPv4,
	"http://127.0.0.1.:8000":           badIPv4,
	"http://127.0.0.01":                badIPv4,
	"http://256.0.0.1":                 badIPv4,
	"http://1.2.3.4.5":                 badIPv4,
	"http://a.0x":                      badIPv4,
	"http://localhost:":                "its port is empty",
	"http://localhost:0":               badPort,
	"http://localhost:65536":           badPort,
	"http://localhost:08000":           badPort,
	"http://localhost:99999999999":     badPort,
	"http://localhost:8000:8000":       badURL,
	"http://localhost:80a":             badURL,
	"http://::1:8000":                  badURL,
	"http://[::1":                      badURL,
	"http://[::1]a:80":                 badURL,
	"http://":                          badHost,
	"http:///":                         badHost,
	"http://.":                         badHost,
	"http://*.example.com":             badHost,
	"http://ex%61mple.com":             badURL,
	"http://exa mple.com":              badURL,
	" http://localhost":                badURL,
	"http://localhost ":                badURL,
	"http://localhost\n":               badURL,
	"http://local\thost":               badURL,
	"http://a\x00b":                    badURL,
	"http://xn--a":                     badHost,
	"http://a;b":                       badHost,
	"http://a,b":                       badHost,
	"http://a\u2100b":                  badHost,
	"http://a\uff0fb":                  badHost,
	"http://localhost\\":               badURL,
	"http://localhost:8000, http://a":  badURL,
	"http://localhost:8000\\@evil.com": badURL,
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range refusedOrigins {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			o, err := origin.Parse(text)
			if err == nil || err.Error() != want || o != (origin.Origin{}) || o.String() != "" {
				t.Errorf("Parse(%q) = %q, %v; want the error %q", text, o, err, want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"http://localhost:8000", "https://example.com", "http://[::1]:8000", "http://[::ffff:127.0.0.1]", "http://127.1", "https://xn--rhqv96g",
		"https://例え.テスト", "http://0x7f.1:80", "null", "*", "http://a_b:1", "HTTP://A:80", "http://[fe80::1%25eth0]:1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := origin.Parse(text)
		if err != nil {
			if o != (origin.Origin{}) {
				t.Fatalf("Parse(%q) = %q beside an error", text, o)
			}
			return
		}
		if o.String() != text {
			t.Fatalf("Parse(%q) writes itself %q", text, o)
		}
		// A browser that opens it is at that very origin.
		if to := browse("http://other.test", text); to.origin != text || to.path != "/" {
			t.Fatalf("Parse(%q), but a browser is at %q, %q", text, to.origin, to.path)
		}
		if !origin.SameSite(o, o) {
			t.Fatalf("%q is not of its own site", text)
		}
	})
}

func TestSameSite(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		a, b string
		want bool
	}{
		"one origin":                 {"https://example.com", "https://example.com", true},
		"ports do not count":         {"http://localhost:5173", "http://localhost:8000", true},
		"IPv4 ports":                 {"http://127.0.0.1:5173", "http://127.0.0.1:8000", true},
		"IPv6 ports":                 {"http://[::1]:5173", "http://[::1]:8000", true},
		"siblings":                   {"https://app.example.com", "https://api.example.com", true},
		"parent":                     {"https://example.com", "https://api.example.com", true},
		"deep":                       {"https://a.b.c.example.com", "https://example.com:8443", true},
		"siblings in co.uk":          {"https://app.example.co.uk", "https://api.example.co.uk", true},
		"siblings on a test name":    {"https://app.dev.test", "https://api.dev.test", true},
		"siblings in punycode":       {"https://a.xn--rhqv96g.jp", "https://b.xn--rhqv96g.jp", true},
		"single label":               {"http://intranet", "http://intranet:8080", true},
		"schemes count":              {"http://localhost:5173", "https://localhost:8443", false},
		"schemes count on siblings":  {"http://app.example.com", "https://api.example.com", false},
		"two domains":                {"https://example.com", "https://example.net", false},
		"two domains in co.uk":       {"https://example.co.uk", "https://other.co.uk", false},
		"public suffix github.io":    {"https://app.github.io", "https://bff.github.io", false},
		"public suffix netlify.app":  {"https://a.netlify.app", "https://b.netlify.app", false},
		"below one github.io name":   {"https://a.app.github.io", "https://b.app.github.io", true},
		"a public suffix itself":     {"https://github.io", "https://app.github.io", false},
		"localhost and IPv4":         {"http://localhost:5173", "http://127.0.0.1:8000", false},
		"localhost and IPv6":         {"http://localhost:5173", "http://[::1]:8000", false},
		"IPv4 and IPv6":              {"http://127.0.0.1:5173", "http://[::1]:8000", false},
		"two loopback addresses":     {"http://127.0.0.1:5173", "http://127.0.0.2:8000", false},
		"names below localhost":      {"http://app.localhost:5173", "http://api.localhost:8000", false},
		"localhost and a name below": {"http://localhost:5173", "http://api.localhost:8000", false},
		"deep names below localhost": {"http://a.dev.localhost", "http://b.dev.localhost", false},
		"two LAN addresses":          {"http://192.168.1.5", "http://192.168.1.6", false},
		"IPv6 with one half":         {"https://[2001:db8::1]", "https://[2001:db8::2]", false},
		"two single labels":          {"http://intranet", "http://wiki", false},
		"trailing dot":               {"https://example.com", "https://example.com.", false},
		"a domain as a prefix":       {"https://example.com", "https://example.com.evil.example", false},
		"a domain as a suffix":       {"https://example.com", "https://evilexample.com", false},
		"numbers inside a name":      {"https://a.1.2.3.example", "https://b.9.3.example", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pair := origins(t, tt.a+", "+tt.b)
			if origin.SameSite(pair[0], pair[1]) != tt.want || origin.SameSite(pair[1], pair[0]) != tt.want {
				t.Errorf("%s and %s: want %v", tt.a, tt.b, tt.want)
			}
		})
	}
}
