package server_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"genkan/internal/keys"
	"genkan/internal/rp"
)

const portal = "http://portal.example/"

// post sends a form from the portal, as a browser does, and goes nowhere after that.
func (s *system) post(b *browser, form url.Values) page {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodPost, s.url+"/bff/login", strings.NewReader(form.Encode()))
	r.RequestURI = ""
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Origin", "http://portal.example")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.attach(r, true, true)
	return b.send(r)
}

func TestAThirdPartyBeginsASignIn(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			s, b := newSystem(t, nil), newBrowser(t)
			params := url.Values{
				"iss": {s.issuer}, "login_hint": {"alice@example.com"}, "target_link_uri": {s.url + "/profile?tab=2"},
				// A third party decides nothing else.
				"prompt": {"none"}, "max_age": {"1"}, "acr_values": {"mfa"}, "ui_locales": {"ja"}, "returnUrl": {"/elsewhere"},
				"client_id": {"evil"}, "redirect_uri": {"https://evil.example/"}, "scope": {"all"}, "unknown": {"1", "2"},
			}
			var done page
			if method == http.MethodGet {
				done = b.open(s.url+"/bff/login?"+params.Encode(), portal)
			} else {
				done = b.submit(s.url+"/bff/login", portal, params)
			}
			if done.url.String() != s.url+"/profile?tab=2" || done.status != 200 {
				t.Errorf("landed at %s with %d: %.300s", done.url, done.status, done.body)
			}
			s.wantSignedIn(t, b, true)
			asked := s.idp.Stats().LastAuthorize
			if asked.Get("login_hint") != "alice@example.com" || asked.Get("client_id") != "genkan" || asked.Get("redirect_uri") != s.url+"/bff/callback" {
				t.Errorf("the provider was asked %v", asked)
			}
			for _, name := range []string{"prompt", "max_age", "acr_values", "ui_locales", "target_link_uri", "iss", "unknown"} {
				if asked.Has(name) {
					t.Errorf("the third party's %s went on to the provider", name)
				}
			}
			if strings.Contains(asked.Get("scope"), "all") {
				t.Errorf("scope %q", asked.Get("scope"))
			}
		})
	}
}

func TestAThirdPartyMayLeaveOutAllButTheIssuer(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	if p := b.open(s.url+"/bff/login?iss="+url.QueryEscape(s.issuer), portal); p.url.String() != s.app+"/" {
		t.Errorf("landed at %s with %d", p.url, p.status)
	}
	if s.idp.Stats().LastAuthorize.Has("login_hint") {
		t.Error("there is a login_hint")
	}
}

func TestThirdPartySignInIsARedirectThatNothingFrames(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	good, bad := url.Values{"iss": {s.issuer}}, url.Values{"iss": {"https://attacker.example"}}
	for name, p := range map[string]page{
		"GET":          s.step(b, s.url+"/bff/login?"+good.Encode(), portal),
		"POST":         s.post(b, good),
		"GET refused":  s.step(b, s.url+"/bff/login?"+bad.Encode(), portal),
		"POST refused": s.post(b, bad),
	} {
		want := map[string]int{"GET": 302, "POST": 303}[name]
		if want == 0 {
			want = 400
		}
		location := p.header.Get("Location")
		if p.status != want || (want != 400) != strings.HasPrefix(location, s.issuer+"/authorize?") {
			t.Errorf("%s: %d to %q", name, p.status, location)
		}
		if csp := p.header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: Content-Security-Policy %q", name, csp)
		}
		if p.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", name, p.header.Get("Cache-Control"))
		}
	}
}

// forbidden is a transport that nothing may use.
type forbidden struct{ used atomic.Int64 }

func (f *forbidden) RoundTrip(*http.Request) (*http.Response, error) {
	f.used.Add(1)
	return nil, errors.New("nobody may be asked")
}

func TestWhatAThirdPartyMayNotAskIsRefusedWithoutAskingAnybody(t *testing.T) {
	t.Parallel()
	const issuer = "https://idp.example/a"
	network := &forbidden{}
	f := newFixture(t, options{providers: []rp.Config{{ID: "idp", Issuer: issuer, ClientID: "genkan", ClientSecret: keys.NewSecret("s3cret-canary"), Transport: network}}})
	type row struct {
		name   string
		params url.Values
		code   string
	}
	with := func(name string, values ...string) url.Values {
		params := url.Values{"iss": {issuer}}
		params[name] = values
		return params
	}
	rows := []row{
		{"an issuer that nobody configured", with("iss", "https://attacker.example"), "GK513"},
		{"a slash more", with("iss", issuer+"/"), "GK513"},
		{"the issuer's host in capitals", with("iss", "https://IDP.example/a"), "GK513"},
		{"a beginning of the issuer", with("iss", "https://idp.example"), "GK513"},
		{"a space around it", with("iss", " "+issuer), "GK513"},
		{"an empty issuer", with("iss", ""), "GK513"},
		{"the issuer twice", with("iss", issuer, issuer), "GK513"},
		{"a provider too", with("provider", "idp"), "GK513"},
		{"an empty provider too", with("provider", ""), "GK513"},
		{"a hint twice", with("login_hint", "a", "b"), "GK513"},
		{"a long hint", with("login_hint", strings.Repeat("a", 513)), "GK513"},
		{"a target twice", with("target_link_uri", "/a", "/b"), "GK513"},
		{"both wrong", url.Values{"iss": {"https://attacker.example"}, "target_link_uri": {"https://attacker.example"}}, "GK512"},
	}
	for _, foreign := range foreignReturns {
		rows = append(rows, row{"target " + foreign, with("target_link_uri", foreign), "GK512"})
	}
	for _, tt := range rows {
		get := httptest.NewRequest(http.MethodGet, "http://localhost:8000/bff/login?"+tt.params.Encode(), nil)
		post := httptest.NewRequest(http.MethodPost, "http://localhost:8000/bff/login", strings.NewReader(tt.params.Encode()))
		post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, r := range []*http.Request{get, post} {
			r.RemoteAddr = "[2001:db8::1]:1"
			if r.Method == http.MethodPost {
				r.RemoteAddr = "192.0.2.9:1"
			}
			got := f.send(r, navigate...)
			body := bodyOf(t, got)
			if got.StatusCode != 400 || !strings.Contains(body, tt.code) || len(got.Header["Location"])+len(got.Header["Set-Cookie"]) > 0 {
				t.Errorf("%s by %s: %d %v %.300s", tt.name, r.Method, got.StatusCode, got.Header, body)
			}
		}
	}
	if used := network.used.Load(); used != 0 {
		t.Errorf("%d requests went out", used)
	}
}

func TestOnlyAFormThatIsOpenedInAWindowBeginsASignIn(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	form := url.Values{"iss": {s.issuer}}.Encode()
	const kind = "Content-Type: application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name, query, body string
		headers           []string
		status            int
	}{
		{"a form", "", form, slices.Concat(navigate, []string{kind, "Origin: http://portal.example"}), 303},
		{"a form without an origin", "", form, slices.Concat(navigate, []string{kind, "Origin: null"}), 303},
		{"a browser without Fetch Metadata", "", form, []string{kind, "Accept: text/html"}, 303},
		{"a charset", "", form, slices.Concat(navigate, []string{kind + "; charset=utf-8"}), 303},
		{"a fetch", "", form, slices.Concat(fetchSame, []string{kind}), 400},
		{"a fetch without Fetch Metadata", "", form, []string{kind, "Accept: */*"}, 400},
		{"a form in a frame", "", form, []string{kind, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", "Accept: text/html"}, 400},
		{"no issuer", "", "login_hint=a", slices.Concat(navigate, []string{kind}), 400},
		{"nothing", "", "", slices.Concat(navigate, []string{kind}), 400},
		{"an issuer in the query", "?" + form, "", slices.Concat(navigate, []string{kind}), 400},
		{"JSON", "", `{"iss":"` + s.issuer + `"}`, slices.Concat(navigate, []string{"Content-Type: application/json"}), 400},
		{"plain text", "", form, slices.Concat(navigate, []string{"Content-Type: text/plain"}), 400},
		{"no form", "", "iss=%zz", slices.Concat(navigate, []string{kind}), 400},
		{"a huge form", "", form + "&x=" + strings.Repeat("a", 100_000), slices.Concat(navigate, []string{kind}), 400},
	} {
		r := httptest.NewRequest(http.MethodPost, s.url+"/bff/login"+tt.query, strings.NewReader(tt.body))
		got := s.send(r, tt.headers...)
		if cookies := len(got.Header["Set-Cookie"]); got.StatusCode != tt.status || (cookies == 1) != (tt.status == 303) {
			t.Errorf("%s: %d with %d cookies, want %d: %.200s", tt.name, got.StatusCode, cookies, tt.status, bodyOf(t, got))
		}
	}
}

func TestPostedSignInsShareOneCookieAndTheLastOneWorks(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	var answers []string
	for range 12 {
		p := s.post(b, url.Values{"iss": {s.issuer}, "target_link_uri": {"/profile"}})
		answers = append(answers, s.step(b, p.header.Get("Location"), portal).header.Get("Location"))
	}
	if held := b.cookies("localhost"); len(held) != 1 {
		t.Fatalf("%d cookies after twelve posts, want 1", len(held))
	}
	if p := b.open(answers[0], s.issuer+"/"); !strings.Contains(p.body, `id="continue"`) {
		t.Errorf("the first one, which was begun anew since: %d %.200s", p.status, p.body)
	}
	if p := b.open(answers[11], s.issuer+"/"); p.url.String() != s.url+"/profile" {
		t.Errorf("the last one landed at %s with %d: %.300s", p.url, p.status, p.body)
	}
	s.wantSignedIn(t, b, true)
	if held := b.cookies("localhost"); len(held) != 1 || held["bff-"+s.port] == nil {
		t.Errorf("cookies left: %v", held)
	}
}

func TestOfTwoProvidersWithOneIssuerTheFirstIsMeant(t *testing.T) {
	t.Parallel()
	s := newSystem(t, func(o *options, pc *rp.Config) {
		first, second, other := *pc, *pc, *pc
		first.ID, first.ClientID = "first", "client-1"
		second.ID, second.ClientID = "second", "client-2"
		other.ID, other.Issuer = "other", deadIssuer
		o.providers = []rp.Config{other, first, second}
	})
	p := s.step(newBrowser(t), s.url+"/bff/login?iss="+url.QueryEscape(s.issuer), portal)
	location, err := url.Parse(p.header.Get("Location"))
	if err != nil || location.Query().Get("client_id") != "client-1" {
		t.Errorf("%d to %s: %v", p.status, location, err)
	}
}
