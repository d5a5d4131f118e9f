package server_test

import (
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"genkan/internal/devidp"
	"genkan/internal/keys"
	"genkan/internal/rp"
)

var sendForm = regexp.MustCompile(`<form action="([^"]*)" id="send" method="post">`)

// send does what the script of the page does: post its form.
func (b *browser) sendForm(p page) page {
	b.t.Helper()
	action := sendForm.FindStringSubmatch(p.body)
	if action == nil {
		b.t.Fatalf("there is no form: %d %s", p.status, p.body)
	}
	form := url.Values{}
	for _, field := range inputs(p.body) {
		form.Add(field[0], field[1])
	}
	return b.submit(html.UnescapeString(action[1]), p.url.String(), form)
}

// longTokens makes the ID tokens to come longer than a redirect may be.
func (s *system) longTokens() {
	s.idp.Inject(devidp.Fault{IDToken: func(j *devidp.JWT) { j.Claims["groups"] = strings.Repeat("g", 12<<10) }})
}

// TestALongHintIsPosted: 254, from the app and by a link.
func TestALongHintIsPosted(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*system, *browser, *testing.T) page{
		"by fetch": func(s *system, b *browser, t *testing.T) page {
			answer := b.fetch(http.MethodPost, s.url+"/bff/logout?returnUrl="+url.QueryEscape(s.app+"/signed-out"), s.app)
			var next struct{ URL string }
			if err := json.Unmarshal([]byte(answer.body), &next); err != nil || !strings.HasPrefix(next.URL, s.url+"/bff/logout?ticket=") || len(next.URL) > 200 {
				t.Fatalf("%d %s", answer.status, answer.body)
			}
			return b.open(next.URL, s.app+"/")
		},
		"by a link": func(s *system, b *browser, t *testing.T) page {
			link, _ := s.session(t, b)["logout_url"].(string)
			return b.open(link+"&returnUrl="+url.QueryEscape(s.app+"/signed-out"), s.app+"/")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b := newSystem(t, nil), newBrowser(t)
			s.longTokens()
			s.login(b, "/")
			p := begin(s, b, t)
			if p.status != 200 || p.header.Get("Cache-Control") != "no-store" || p.header.Get("Referrer-Policy") != "strict-origin" {
				t.Errorf("%d %v", p.status, p.header)
			}
			if got, want := p.header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action *; frame-ancestors 'none'"; got != want {
				t.Errorf("Content-Security-Policy %q", got)
			}
			if coop := p.header.Get("Cross-Origin-Opener-Policy"); coop != "noopener-allow-popups" {
				t.Errorf("Cross-Origin-Opener-Policy %q", coop)
			}
			if strings.Contains(p.url.String(), "eyJ") || strings.Contains(p.body, "?id_token_hint") {
				t.Error("the token is in an address")
			}
			s.wantSignedIn(t, b, false)
			final := b.sendForm(p)
			if final.url.String() != s.app+"/signed-out" {
				t.Errorf("landed at %s: %d %.300s", final.url, final.status, final.body)
			}
			stats := s.idp.Stats()
			if hint := stats.LastLogout.Get("id_token_hint"); stats.Logouts == 0 || len(hint) < 12<<10 || !slices.Contains(s.idp.Issued(), hint) {
				t.Errorf("the provider got %d logouts and a hint of %d bytes", stats.Logouts, len(hint))
			}
			if strings.Contains(s.log.String(), "eyJ") {
				t.Error("the log holds a token")
			}
		})
	}
}

func TestATicketIsGoodOnce(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.longTokens()
	s.login(b, "/")
	var next struct{ URL string }
	_ = json.Unmarshal([]byte(b.fetch(http.MethodPost, s.url+"/bff/logout", s.app).body), &next)
	if p := b.open(next.URL, s.app+"/"); !strings.Contains(p.body, "eyJ") {
		t.Fatal(p.status, p.body)
	}
	for _, ticket := range []string{next.URL, s.url + "/bff/logout?ticket=junk"} {
		if p := b.open(ticket, s.app+"/"); strings.Contains(p.body, "eyJ") || p.url.String() != s.app+"/" && p.url.String() != s.url+"/" {
			t.Errorf("%s: %d at %s", ticket, p.status, p.url)
		}
	}
	if r := s.do(http.MethodGet, next.URL, fetchSame...); r.StatusCode != 400 {
		t.Errorf("by fetch: %d", r.StatusCode)
	}
}

// TestTheWayToAFormLosesItsOpener: of the redirect and the page, one differs from any
// opener, also where the page's own policy is not known; and no script can skip the redirect.
func TestTheWayToAFormLosesItsOpener(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.longTokens()
	s.login(b, "/")
	ticket := func() string {
		t.Helper()
		s.login(b, "/")
		var next struct{ URL string }
		_ = json.Unmarshal([]byte(b.fetch(http.MethodPost, s.url+"/bff/logout", s.app).body), &next)
		return next.URL
	}
	first := s.step(b, ticket(), s.app+"/")
	form := s.url + first.header.Get("Location")
	if first.status != 302 || first.header.Get("Cross-Origin-Opener-Policy") != "same-origin" || first.header.Get("Cross-Origin-Embedder-Policy") != "" || !strings.HasPrefix(form, s.url+"/bff/logout?form=") {
		t.Fatalf("%d %v", first.status, first.header)
	}
	p := s.step(b, form, s.app+"/")
	if p.status != 200 || p.header.Get("Cross-Origin-Opener-Policy") != "noopener-allow-popups" || !strings.Contains(p.body, "eyJ") {
		t.Errorf("%d %v", p.status, p.header)
	}
	for name, address := range map[string]string{
		"the form again":                  form,
		"the script's ticket as the form": strings.Replace(ticket(), "?ticket=", "?form=", 1),
		"junk":                            s.url + "/bff/logout?form=junk",
	} {
		if p := s.step(b, address, s.app+"/"); p.status != 302 || strings.Contains(p.body, "eyJ") || strings.Contains(p.header.Get("Location"), "form=") {
			t.Errorf("%s: %d to %q", name, p.status, p.header.Get("Location"))
		}
	}
}

// TestSigningOutNeedsNoProvider: 251.
func TestSigningOutNeedsNoProvider(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{providers: []rp.Config{{ID: "idp", Issuer: deadIssuer, ClientID: "genkan", ClientSecret: keys.NewSecret("s3cret-canary")}}})
	alice := f.enter(t, person{subject: "alice"})
	r := f.by(alice, http.MethodPost, "/bff/logout?returnUrl=%2Fbye")
	if body := bodyOf(t, r); r.StatusCode != 200 || body != `{"url":"/bye"}` || len(r.Cookies()) != 1 {
		t.Errorf("%d %s %v", r.StatusCode, body, r.Cookies())
	}
	if f.live(t, alice) {
		t.Error("signed in")
	}
	bob := f.enter(t, person{subject: "bob"})
	link := f.do(http.MethodGet, "http://localhost:8000/bff/logout?returnUrl=%2Fbye&sid="+bob.id, append(navigate[:4:4], bob.cookie)...)
	if link.StatusCode != 302 || link.Header.Get("Location") != "/bye" || f.live(t, bob) {
		t.Errorf("by a link: %d %s, signed in %v", link.StatusCode, link.Header.Get("Location"), f.live(t, bob))
	}
}
