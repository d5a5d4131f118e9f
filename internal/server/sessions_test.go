package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
)

const (
	agentLinux  = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
	agentIPhone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1"
)

// member is a signed-in browser of a fixture.
type member struct{ id, cookie string }

// signIn starts a session without a provider.
func (f *fixture) signIn(t testing.TB, in session.SignIn, subject string) member {
	t.Helper()
	in.Grant = rp.Grant{
		Tokens: rp.Tokens{
			Access: keys.NewSecret("access-canary"), Refresh: keys.NewSecret("refresh-canary"), ID: keys.NewSecret("id-canary"), Expiry: f.Now().Add(24 * time.Hour),
		},
		Identity: rp.Identity{Issuer: deadIssuer, Subject: subject, Claims: map[string]json.RawMessage{"name": json.RawMessage(`"claim-canary"`)}},
	}
	if in.Provider == "" {
		in.Provider = "idp"
	}
	w := httptest.NewRecorder()
	r := origin.WithSite(httptest.NewRequest(http.MethodGet, f.Policy.Canonical().Origin().String()+"/", nil), f.Policy.Canonical())
	live, err := f.Sessions.Start(w, r, in)
	if err != nil {
		t.Fatal(err)
	}
	c := w.Result().Cookies()[0]
	return member{live.ID, "Cookie: " + c.Name + "=" + c.Value}
}

// by sends what the app sends for m.
func (f *fixture) by(m member, method, path string) *http.Response {
	return f.do(method, f.Policy.Canonical().Origin().String()+path, append(slices.Clone(fetchSame), m.cookie)...)
}

// live reports whether m's session is.
func (f *fixture) live(t testing.TB, m member) bool {
	t.Helper()
	body := bodyOf(t, f.by(m, http.MethodGet, "/bff/session?slide=false"))
	return strings.Contains(body, `"authenticated":true`)
}

func twoProviders() []rp.Config {
	one := rp.Config{ID: "idp", Issuer: deadIssuer, ClientID: "genkan", ClientSecret: keys.NewSecret("s3cret-canary")}
	two := one
	two.ID = "other"
	return []rp.Config{one, two}
}

func TestUsersSeeWhereTheyAreSignedIn(t *testing.T) {
	t.Parallel()
	now := &clock{}
	f := newFixture(t, options{now: now.now, providers: twoProviders()})
	first := f.signIn(t, session.SignIn{Agent: agentLinux, Address: "192.0.2.1"}, "alice")
	now.pass(10 * time.Minute)
	second := f.signIn(t, session.SignIn{Agent: "<b>hostile\x1b[2J", Address: "2001:db8::1"}, "alice")
	f.signIn(t, session.SignIn{}, "bob")
	f.signIn(t, session.SignIn{Provider: "other"}, "alice") // another alice
	var got struct{ Sessions []map[string]any }
	res := f.by(first, http.MethodGet, "/bff/sessions")
	if err := json.Unmarshal([]byte(bodyOf(t, res)), &got); err != nil || res.StatusCode != 200 || res.Header.Get("Cache-Control") != "no-store" {
		t.Fatal(res.Status, res.Header, err)
	}
	if len(got.Sessions) != 2 {
		t.Fatalf("%d sessions, want alice's two: %v", len(got.Sessions), got.Sessions)
	}
	for i := range got.Sessions {
		for _, name := range []string{"created_at", "last_seen_at"} {
			at, err := time.Parse(time.RFC3339, got.Sessions[i][name].(string))
			if age := now.now().Sub(at); err != nil || age < 0 || age > 11*time.Minute {
				t.Errorf("%s %v %v", name, got.Sessions[i][name], err)
			}
			delete(got.Sessions[i], name)
		}
	}
	want := []map[string]any{
		{"id": second.id, "current": false, "browser": "Unknown browser", "ip": "2001:db8::1", "provider": "idp", "idle_expires_in": 3599.0, "absolute_expires_in": 43199.0},
		{"id": first.id, "current": true, "browser": "Chrome 141 on Linux", "ip": "192.0.2.1", "provider": "idp", "idle_expires_in": 3599.0, "absolute_expires_in": 42599.0},
	}
	if diff := cmp.Diff(want, got.Sessions); diff != "" {
		t.Error(diff)
	}
	wantProblem(t, f.do(http.MethodGet, "http://localhost:8000/bff/sessions", fetchSame...), 401, "unauthenticated")
}

func TestOneSessionIsEndedByItsOwnUserOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{providers: twoProviders()})
	alice, phone := f.signIn(t, session.SignIn{}, "alice"), f.signIn(t, session.SignIn{}, "alice")
	bob, other := f.signIn(t, session.SignIn{}, "bob"), f.signIn(t, session.SignIn{Provider: "other"}, "alice")
	unknown := string(bob.id[0]) + strings.Repeat("A", len(bob.id)-1)
	f.live(t, alice) // and is in the cache
	answers, asked := map[string]problem{}, map[string]int{}
	for name, id := range map[string]string{
		"of somebody else": bob.id, "of the same name at another provider": other.id, "unknown": unknown,
		"": "", "..": "%2e%2e", "a path": bob.id + "%2f", "long": strings.Repeat("A", 5000), "no text": "%ff%00",
	} {
		before := f.store.asked()
		res := f.by(alice, http.MethodDelete, "/bff/sessions/"+id)
		asked[name] = f.store.asked() - before
		p := wantProblem(t, res, 404, "not_found")
		p.RequestID = ""
		answers[name] = p
	}
	for _, name := range []string{"of somebody else", "of the same name at another provider"} {
		if answers[name] != answers["unknown"] || asked[name] != asked["unknown"] || asked[name] == 0 {
			t.Errorf("%s: %+v with %d questions to the store; an unknown one %+v with %d", name, answers[name], asked[name], answers["unknown"], asked["unknown"])
		}
	}
	for name, m := range map[string]member{"alice": alice, "her phone": phone, "bob": bob, "the other alice": other} {
		if !f.live(t, m) {
			t.Fatalf("%s is signed out", name)
		}
	}
	if res := f.by(alice, http.MethodDelete, "/bff/sessions/"+phone.id); res.StatusCode != 204 || len(res.Cookies()) != 0 {
		t.Errorf("her phone: %d %v", res.StatusCode, res.Cookies())
	}
	if f.live(t, phone) || !f.live(t, alice) {
		t.Errorf("phone live %v, this one live %v", f.live(t, phone), f.live(t, alice))
	}
	res := f.by(alice, http.MethodDelete, "/bff/sessions/"+alice.id)
	if cookies := res.Cookies(); res.StatusCode != 204 || len(cookies) != 1 || cookies[0].MaxAge >= 0 || cookies[0].Name != "bff-8000" {
		t.Errorf("this one: %d %v", res.StatusCode, cookies)
	}
	if f.live(t, alice) || !f.live(t, bob) {
		t.Error("the wrong one ended")
	}
	if log := f.log.String(); strings.Count(log, "session ended by its user") != 1 || strings.Count(log, `"msg":"signed out"`) != 1 {
		t.Error(log)
	}
}

func TestAllOtherSessionsOfAUserEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{providers: twoProviders()})
	alice, bob := f.signIn(t, session.SignIn{}, "alice"), f.signIn(t, session.SignIn{}, "bob")
	var elsewhere []member
	for range 20 {
		elsewhere = append(elsewhere, f.signIn(t, session.SignIn{}, "alice"))
	}
	for _, query := range []string{"", "?others=false", "?others", "?other=true", "?others=TRUE"} {
		if p := wantProblem(t, f.by(alice, http.MethodDelete, "/bff/sessions"+query), 400, "parameter_invalid"); !strings.Contains(p.Detail, "?others=true") {
			t.Errorf("%s: %s", query, p.Detail)
		}
	}
	if !f.live(t, elsewhere[0]) {
		t.Fatal("a refused call ended something")
	}
	for _, want := range []string{`{"ended":20}`, `{"ended":0}`} {
		if res := f.by(alice, http.MethodDelete, "/bff/sessions?others=true"); res.StatusCode != 200 || bodyOf(t, res) != want {
			t.Errorf("%d, want %s", res.StatusCode, want)
		}
	}
	for _, m := range elsewhere {
		if f.live(t, m) {
			t.Errorf("%s lives", m.id)
		}
	}
	if !f.live(t, alice) || !f.live(t, bob) {
		t.Error("the wrong one ended")
	}
}

func TestMoreOtherSessionsThanOneLookUpFindsEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	for range 1100 { // one look-up finds 1000
		f.signIn(t, session.SignIn{}, "alice")
	}
	alice := f.signIn(t, session.SignIn{}, "alice")
	if res := f.by(alice, http.MethodDelete, "/bff/sessions?others=true"); bodyOf(t, res) != `{"ended":1100}` {
		t.Errorf("%d, want 1100 ended", res.StatusCode)
	}
	if !f.live(t, alice) {
		t.Error("this one ended too")
	}
}

// hangingUp is a store during whose next write the browser hangs up.
type hangingUp struct {
	session.Store
	hangUp context.CancelFunc
}

func (s *hangingUp) Save(ctx context.Context, row session.Row) (uint64, error) {
	if s.hangUp != nil {
		s.hangUp()
	}
	return s.Store.Save(ctx, row)
}

func TestAnEndThatHasBegunGoesOnWhenTheBrowserHangsUp(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		method, path string
		own          bool // it is the session that asks
	}{
		{http.MethodDelete, "/bff/sessions/{id}", false},
		{http.MethodDelete, "/bff/sessions?others=true", false},
		{http.MethodPost, "/bff/logout", true},
	} {
		store := &hangingUp{Store: session.NewMemory(time.Now)}
		f := newFixture(t, options{store: &faultyStore{Store: store}})
		alice, phone := f.signIn(t, session.SignIn{}, "alice"), f.signIn(t, session.SignIn{}, "alice")
		ended := phone
		if row.own {
			ended = alice
		}
		ctx, hangUp := context.WithCancel(t.Context())
		store.hangUp = hangUp
		target := f.Policy.Canonical().Origin().String() + strings.ReplaceAll(row.path, "{id}", phone.id)
		f.send(httptest.NewRequest(row.method, target, nil).WithContext(ctx), append(slices.Clone(fetchSame), alice.cookie)...)
		if ctx.Err() == nil || f.live(t, ended) {
			t.Errorf("%s %s: hung up: %v, it lives: %v", row.method, row.path, ctx.Err() != nil, f.live(t, ended))
		}
	}
}

func TestSessionsAreListedAndEndedByTheAppOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{spa: []string{"http://localhost:5173"}})
	alice, phone := f.signIn(t, session.SignIn{}, "alice"), f.signIn(t, session.SignIn{}, "alice")
	for _, tt := range []struct {
		name, method, path string
		headers            []string
		status             int
	}{
		{"read by the app", "GET", "/bff/sessions", []string{"Origin: http://localhost:5173"}, 200},
		{"read by another site", "GET", "/bff/sessions", []string{"Origin: http://evil.example", "X-CSRF: 1"}, 403},
		{"read as a script of another site", "GET", "/bff/sessions", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 403},
		{"ended without the header", "DELETE", "/bff/sessions/" + phone.id, []string{"Origin: http://localhost:5173"}, 403},
		{"ended without an origin", "DELETE", "/bff/sessions/" + phone.id, []string{"X-CSRF: 1"}, 403},
		{"ended by another site", "DELETE", "/bff/sessions/" + phone.id, []string{"X-CSRF: 1", "Origin: http://evil.example"}, 403},
		{"all ended by another site", "DELETE", "/bff/sessions?others=true", []string{"X-CSRF: 1", "Sec-Fetch-Site: cross-site"}, 403},
		{"ended as a page load", "DELETE", "/bff/sessions/" + phone.id, navigate, 403},
		{"ended by the app", "DELETE", "/bff/sessions/" + phone.id, []string{"X-CSRF: 1", "Origin: http://localhost:5173"}, 204},
	} {
		if res := f.do(tt.method, "http://localhost:8000"+tt.path, append(slices.Clone(tt.headers), alice.cookie)...); res.StatusCode != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, res.StatusCode, tt.status)
		}
		if live := f.live(t, phone); live != (tt.status != 204) {
			t.Errorf("%s: live %v", tt.name, live)
		}
	}
	ask := f.do(http.MethodOptions, "http://localhost:8000/bff/sessions/x", "Origin: http://localhost:5173", "Access-Control-Request-Method: DELETE", "Access-Control-Request-Headers: x-csrf")
	if ask.Header.Get("Access-Control-Allow-Methods") != "DELETE" || ask.Header.Get("Access-Control-Allow-Origin") != "http://localhost:5173" {
		t.Errorf("preflight: %v", ask.Header)
	}
}

func TestAStoreOutageEndsNoSessionOfAList(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	alice, phone := f.signIn(t, session.SignIn{}, "alice"), f.signIn(t, session.SignIn{}, "alice")
	f.store.fail(errors.New("down"))
	for _, call := range [][2]string{{"GET", ""}, {"DELETE", "/" + phone.id}, {"DELETE", "/" + alice.id}, {"DELETE", "?others=true"}} {
		res := f.by(alice, call[0], "/bff/sessions"+call[1])
		if wantProblem(t, res, 503, "store_unavailable"); res.Header.Get("Retry-After") == "" || len(res.Cookies()) != 0 {
			t.Errorf("%v: %v", call, res.Header)
		}
	}
	f.store.recover(t, f.Sessions)
	if !f.live(t, alice) || !f.live(t, phone) {
		t.Error("a session is gone")
	}
}

func TestASignInIsRememberedWithItsBrowserAndAddress(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	phone := newBrowser(t)
	s.login(phone, "/")
	p := b.fetch(http.MethodGet, s.url+"/bff/sessions", s.app)
	if strings.Count(p.body, `"ip":"127.0.0.1"`) != 2 || strings.Count(p.body, `"current":true`) != 1 || strings.Count(p.body, `"browser":"Chrome 141 on Linux"`) != 2 {
		t.Error(p.body)
	}
	if p := b.fetch(http.MethodDelete, s.url+"/bff/sessions?others=true", s.app); p.body != `{"ended":1}` {
		t.Error(p.body)
	}
	s.wantSignedIn(t, phone, false)
	s.wantSignedIn(t, b, true)
	for end := time.Now().Add(5 * time.Second); s.idp.Stats().Revocations == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("its refresh token lives on at the provider")
		}
	}
}

func TestComeBackAtDifferentInstants(t *testing.T) {
	t.Parallel()
	next := 0
	f := newFixture(t, options{random: func(n int) int { next++; return next % n }})
	alice := f.signIn(t, session.SignIn{}, "alice")
	f.store.fail(errors.New("down"))
	got := []string{}
	for range 5 {
		got = append(got, f.by(alice, http.MethodGet, "/bff/session").Header.Get("Retry-After"))
	}
	if diff := cmp.Diff([]string{"2", "3", "4", "5", "1"}, got); diff != "" {
		t.Error(diff)
	}
	f = newFixture(t, options{}) // its provider is down
	seen := map[string]bool{}
	for range 100 {
		seen[f.do(http.MethodGet, "http://localhost:8000/bff/login", navigate...).Header.Get("Retry-After")] = true
	}
	for value := range seen {
		if len(seen) < 2 || !slices.Contains([]string{"1", "2", "3", "4", "5"}, value) {
			t.Errorf("at random: %v", seen)
		}
	}
}
