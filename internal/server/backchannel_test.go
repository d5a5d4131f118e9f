package server_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"genkan/internal/devidp"
	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// person is who signs in without a provider's page.
type person struct {
	provider, subject, sid, email string
	scope                         []string
}

// enter starts a session of who.
func (f *fixture) enter(t testing.TB, who person) member {
	t.Helper()
	if who.provider == "" {
		who.provider = "idp"
	}
	email, _ := json.Marshal(who.email)
	grant := rp.Grant{
		Tokens:   rp.Tokens{Access: keys.NewSecret("access-canary"), Refresh: keys.NewSecret("refresh-canary"), ID: keys.NewSecret("id-canary"), Scope: who.scope, Expiry: f.Now().Add(24 * time.Hour)},
		Identity: rp.Identity{Issuer: deadIssuer, Subject: who.subject, SID: who.sid, Claims: map[string]json.RawMessage{"email": email}},
	}
	w := httptest.NewRecorder()
	r := origin.WithSite(httptest.NewRequest(http.MethodGet, f.Policy.Canonical().Origin().String()+"/", nil), f.Policy.Canonical())
	live, err := f.Sessions.Start(w, r, session.SignIn{Provider: who.provider, Grant: grant, Redeemed: f.Now()})
	if err != nil {
		t.Fatal(err)
	}
	c := w.Result().Cookies()[0]
	return member{live.ID, "Cookie: " + c.Name + "=" + c.Value}
}

// wantLive checks whose sessions live, by name.
func (f *fixture) wantLive(t *testing.T, all map[string]member, names ...string) {
	t.Helper()
	for name, m := range all {
		if got := f.live(t, m); got != slices.Contains(names, name) {
			t.Errorf("%s is signed in: %v", name, got)
		}
	}
}

// logoutToken is one of the provider's, for the client genkan.
func (s *system) logoutToken(t testing.TB, sub, sid string, changes ...func(*devidp.JWT)) string {
	t.Helper()
	token, err := s.idp.LogoutToken("genkan", sub, sid, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// tell posts a form to the back-channel as a provider does: no cookie, no CSRF header.
func (f *fixture) tell(form url.Values, headers ...string) *http.Response {
	r := httptest.NewRequest(http.MethodPost, f.Policy.Canonical().URL("/backchannel"), strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return f.send(r, headers...)
}

// wantTold checks the answer to a logout token; code is the error member's, "" for 200.
func wantTold(t *testing.T, r *http.Response, code string) {
	t.Helper()
	body := bodyOf(t, r)
	if got := r.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	if len(r.Cookies()) != 0 || r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("cookies %v, Access-Control-Allow-Origin %q", r.Cookies(), r.Header.Get("Access-Control-Allow-Origin"))
	}
	if code == "" {
		if r.StatusCode != 200 || body != "" {
			t.Errorf("%d %q, want 200 and nothing", r.StatusCode, body)
		}
		return
	}
	var answer map[string]string
	if err := json.Unmarshal([]byte(body), &answer); err != nil || r.StatusCode != 400 || answer["error"] != code || answer["error_description"] == "" {
		t.Errorf("%d %s, want 400 and %s", r.StatusCode, body, code)
	}
	if strings.Contains(body, "eyJ") || strings.Contains(body, "canary") {
		t.Errorf("the answer repeats a token: %s", body)
	}
}

// TestLogoutTokensEndWhatTheyName: 263, 264.
func TestLogoutTokensEndWhatTheyName(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name     string
		sub, sid string
		live     []string
		refused  bool
	}{
		{"a sid ends one", "", "sid-1", []string{"phone", "bob", "elsewhere"}, false},
		{"sid and sub end one", "alice", "sid-1", []string{"phone", "bob", "elsewhere"}, false},
		{"a sub ends all", "alice", "", []string{"bob", "elsewhere"}, false},
		{"a sid of another user than sub", "bob", "sid-1", []string{"alice", "phone", "bob", "elsewhere"}, true},
		{"an unknown sid", "alice", "sid-9", []string{"alice", "phone", "bob", "elsewhere"}, false},
		{"an unknown sub", "carol", "", []string{"alice", "phone", "bob", "elsewhere"}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, func(o *options, pc *rp.Config) {
				other := *pc
				other.ID, other.Issuer = "other", deadIssuer
				o.providers = []rp.Config{*pc, other}
			})
			all := map[string]member{
				"alice": s.enter(t, person{subject: "alice", sid: "sid-1"}), "phone": s.enter(t, person{subject: "alice", sid: "sid-2"}),
				"bob": s.enter(t, person{subject: "bob", sid: "sid-3"}), "elsewhere": s.enter(t, person{provider: "other", subject: "alice", sid: "sid-1"}),
			}
			s.wantLive(t, all, "alice", "phone", "bob", "elsewhere")
			code := ""
			if row.refused {
				code = "invalid_request"
			}
			wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, row.sub, row.sid)}}), code)
			s.wantLive(t, all, row.live...)
			if ended, log := 4-len(row.live), s.log.String(); strings.Count(log, `"session ended by its provider"`) != ended || strings.Count(log, `"reason":"provider"`) != ended {
				t.Errorf("the log tells not of %d ends: %s", ended, log)
			}
		})
	}
}

// TestTwoBrowsersAndALogoutToken signs in for real.
func TestTwoBrowsersAndALogoutToken(t *testing.T) {
	t.Parallel()
	s, one, two := newSystem(t, nil), newBrowser(t), newBrowser(t)
	s.login(one, "/")
	s.login(two, "/")
	list, err := s.Sessions.OfUser(t.Context(), "idp", "dev-user-alice-7f3a")
	if err != nil || len(list) != 2 || list[0].Grant.Identity.SID == list[1].Grant.Identity.SID {
		t.Fatal(list, err)
	}
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "dev-user-alice-7f3a", list[1].Grant.Identity.SID)}}), "")
	s.wantSignedIn(t, one, false)
	s.wantSignedIn(t, two, true)
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "dev-user-alice-7f3a", "")}}), "")
	s.wantSignedIn(t, two, false)
}

// TestProvidersOfOneIssuerAreToldApartByAudience: two clients, and one client twice.
func TestProvidersOfOneIssuerAreToldApartByAudience(t *testing.T) {
	t.Parallel()
	s := newSystem(t, func(o *options, pc *rp.Config) {
		other, twin := *pc, *pc
		other.ID, other.ClientID = "other", "another-client"
		twin.ID = "twin"
		o.providers = []rp.Config{other, *pc, twin}
	})
	all := map[string]member{}
	for _, id := range []string{"other", "idp", "twin"} {
		all[id] = s.enter(t, person{provider: id, subject: "alice", sid: "sid-1"})
	}
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "sid-1")}}), "")
	s.wantLive(t, all, "other")
	nobody := s.logoutToken(t, "alice", "sid-1", func(j *devidp.JWT) { j.Claims["aud"] = "nobody" })
	wantTold(t, s.tell(url.Values{"logout_token": {nobody}}), "invalid_request")
	s.wantLive(t, all, "other")
}

// TestLogoutRequests: 255, 265, 267.
func TestLogoutRequests(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	alice := map[string]member{"alice": s.enter(t, person{subject: "alice"})}
	good := func() string { return s.logoutToken(t, "alice", "") }
	post := func(contentType, body string) *http.Response {
		r := httptest.NewRequest(http.MethodPost, s.url+"/bff/backchannel?logout_token="+good(), strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		return s.send(r)
	}
	const form = "application/x-www-form-urlencoded"
	for name, r := range map[string]*http.Response{
		"no parameter":          post(form, "x=y"),
		"an empty one":          post(form, "logout_token="),
		"repeated":              post(form, url.Values{"logout_token": {good(), good()}}.Encode()),
		"JSON":                  post("application/json", `{"logout_token":"`+good()+`"}`),
		"text":                  post("text/plain", "logout_token="+good()),
		"multipart":             post("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"logout_token\"\r\n\r\n"+good()+"\r\n--x--\r\n"),
		"broken percent signs":  post(form, "logout_token=%zz"),
		"a megabyte":            post(form, "logout_token="+good()+"&x="+strings.Repeat("x", 1<<20)),
		"a megabyte of a token": post(form, "logout_token="+strings.Repeat("x", 1<<20)),
		"of nobody's issuer":    s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "", func(j *devidp.JWT) { j.Claims["iss"] = s.issuer + "/" })}}),
		"without an issuer":     s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "", func(j *devidp.JWT) { delete(j.Claims, "iss") })}}),
		"junk":                  s.tell(url.Values{"logout_token": {"junk"}}),
	} {
		t.Run(name, func(t *testing.T) { wantTold(t, r, "invalid_request") })
	}
	s.wantLive(t, alice, "alice")
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		wantProblem(t, s.do(method, s.url+"/bff/backchannel?logout_token="+good()), 405, "method_not_allowed")
	}
	s.wantLive(t, alice, "alice")
	wantTold(t, s.tell(url.Values{"logout_token": {good()}, "state": {"x"}, "client_id": {"y", "z"}}, "Origin: https://evil.example", "Accept: text/html", "Cookie: x=y"), "")
	s.wantLive(t, alice)
	if log := s.log.String(); strings.Contains(log, "eyJ") {
		t.Error("the log holds a token")
	}
}

// TestFormsOfLogoutRequests: media types are compared without case (RFC 9110 8.3.1), a body
// may have 64 KiB, and what is in the address does not matter.
func TestFormsOfLogoutRequests(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	pad := func(body string, size int) string { return body + strings.Repeat("x", size-len(body)) }
	for name, row := range map[string]struct {
		contentType, query string
		size               int
		code               string
	}{
		"capitals":                 {"Application/X-WWW-Form-URLencoded", "", 0, ""},
		"a parameter":              {"application/x-www-form-urlencoded;charset=UTF-8", "", 0, ""},
		"a broken parameter":       {"application/x-www-form-urlencoded; charset=", "", 0, ""},
		"space before a semicolon": {"application/x-www-form-urlencoded ; charset=utf-8", "", 0, ""},
		"a malformed query":        {"application/x-www-form-urlencoded", "?%zz;", 0, ""},
		"64 KiB":                   {"application/x-www-form-urlencoded", "", 65536, ""},
		"a byte more":              {"application/x-www-form-urlencoded", "", 65537, "invalid_request"},
		"something like it":        {"application/x-www-form-urlencoded+json", "", 0, "invalid_request"},
		"none":                     {"", "", 0, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			body := "logout_token=" + s.logoutToken(t, "alice", "")
			if row.size > 0 {
				body = pad(body+"&x=", row.size)
			}
			r := httptest.NewRequest(http.MethodPost, s.url+"/bff/backchannel"+row.query, strings.NewReader(body))
			r.Header.Set("Content-Type", row.contentType)
			wantTold(t, s.send(r), row.code)
		})
	}
	for name, row := range map[string]struct {
		contentType string
		size        int
		status      int
	}{
		"revocation, capitals": {"Application/JSON; charset=utf-8", 0, 404}, "revocation, 64 KiB": {"application/json", 65536, 404},
		"revocation, a byte more": {"application/json", 65537, 400}, "revocation, something like it": {"application/json-seq", 0, 400},
	} {
		t.Run(name, func(t *testing.T) {
			body := s.issSub("nobody")
			body += strings.Repeat(" ", max(0, row.size-len(body)))
			r := httptest.NewRequest(http.MethodPost, s.url+"/bff/global-token-revocation", strings.NewReader(body))
			r.Header.Set("Content-Type", row.contentType)
			r.Header.Set("Authorization", "Bearer "+s.credential(t))
			if got := s.send(r).StatusCode; got != row.status {
				t.Errorf("%d, want %d", got, row.status)
			}
		})
	}
}

// TestALogoutTokenCountsOnce: 261. Repeated it is a 200 that ends nothing.
func TestALogoutTokenCountsOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	token := url.Values{"logout_token": {s.logoutToken(t, "alice", "")}}
	all := map[string]member{"before": s.enter(t, person{subject: "alice"})}
	wantTold(t, s.tell(token), "")
	all["after"] = s.enter(t, person{subject: "alice"})
	wantTold(t, s.tell(token), "")
	s.wantLive(t, all, "after")
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "")}}), "")
	s.wantLive(t, all)
}

// TestALogoutThatFailedMayBeTriedAgain: Back-Channel 2.8 has 400 for it.
func TestALogoutThatFailedMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	all := map[string]member{"alice": s.enter(t, person{subject: "alice"})}
	token := url.Values{"logout_token": {s.logoutToken(t, "alice", "")}}
	s.idp.Inject(devidp.Fault{At: "/jwks", Answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }})
	wantTold(t, s.tell(token), "temporarily_unavailable")
	s.idp.Heal()
	s.store.fail(errors.New("down"))
	for end := time.Now().Add(5 * time.Second); ; { // the keys are asked for again after a second
		r := s.tell(token)
		if strings.Contains(s.log.String(), "store_unavailable") {
			wantTold(t, r, "temporarily_unavailable")
			break
		}
		if time.Now().After(end) {
			t.Fatal("the provider is not asked again")
		}
		s.clock.pass(2 * time.Second)     // so that the log tells more
		time.Sleep(20 * time.Millisecond) // between two looks: an hour of that clock would end the session
	}
	s.store.recover(t, s.Sessions)
	s.wantLive(t, all, "alice")
	wantTold(t, s.tell(token), "")
	s.wantLive(t, all)
}

// TestRefreshTokensOfALogout: 266.
func TestRefreshTokensOfALogout(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	revoked := func(want int) {
		t.Helper()
		if err := s.Sessions.Drain(t.Context()); err != nil || s.idp.Stats().Revocations != want {
			t.Errorf("%d revocations (%v), want %d", s.idp.Stats().Revocations, err, want)
		}
	}
	s.enter(t, person{subject: "alice", scope: []string{"openid", "offline_access"}})
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "")}}), "")
	revoked(0)
	s.enter(t, person{subject: "alice", scope: []string{"openid"}})
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "")}}), "")
	revoked(1)
}

// TestAStreamOnAnotherReplicaTellsOfAnEndAtTheProvider: the reason reaches the browser.
func TestAStreamOnAnotherReplicaTellsOfAnEndAtTheProvider(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	alice := s.enter(t, person{subject: "alice", sid: "sid-1"})
	shared := s.config
	shared.store = s.store
	front := httptest.NewServer(newFixture(t, shared).handler)
	t.Cleanup(front.Close)
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL+"/bff/events", nil)
	r.Host = "localhost:" + s.port
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	name, value, _ := strings.Cut(alice.cookie, ": ")
	r.Header.Set(name, value)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	paragraph(t, in)
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "", "sid-1")}}), "")
	if got := paragraph(t, in); got != "event: ended\ndata: {\"reason\":\"provider\"}\n" {
		t.Errorf("%q", got)
	}
}

// FuzzBackchannel: whatever comes to the endpoint, nobody is signed out by it.
func FuzzBackchannel(f *testing.F) {
	s := newSystem(f, nil)
	alice := s.enter(f, person{subject: "alice", sid: "sid-1"})
	good := s.logoutToken(f, "alice", "sid-1")
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	f.Add("application/x-www-form-urlencoded", "logout_token="+head+"."+payload+".")
	f.Add("application/x-www-form-urlencoded", "logout_token="+head+"."+b64([]byte(`{"iss":"`+s.issuer+`","aud":"genkan"}`))+"."+signature)
	f.Add("application/x-www-form-urlencoded", "logout_token="+b64([]byte(`{"alg":"none"}`))+"."+payload+".")
	f.Add("application/x-www-form-urlencoded; charset=\xff", "%%%&;=&logout_token")
	f.Add("multipart/form-data; boundary=", "--\r\n")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		s.log.Reset()
		if strings.Contains(body, good) {
			t.Skip()
		}
		r := httptest.NewRequest(http.MethodPost, s.url+"/bff/backchannel", strings.NewReader(body))
		r.Header["Content-Type"] = []string{contentType}
		if got := s.send(r).StatusCode; got != 400 {
			t.Fatalf("%d for %q", got, body)
		}
		if !s.live(t, alice) {
			t.Fatalf("signed out by %q", body)
		}
	})
}
