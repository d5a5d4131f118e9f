package server_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"genkan/internal/devidp"
	"genkan/internal/keys"
	"genkan/internal/rp"
)

// system is Genkan and a provider on another site, both listening.
type system struct {
	*fixture
	idp    *devidp.Provider
	url    string // http://localhost:port
	issuer string // http://127.0.0.1:port
	port   string
	app    string
	clock  *clock
	config options // what the fixture was made of
}

type clock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return time.Now().Add(c.off) }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.off += d }

func newSystem(t testing.TB, change func(*options, *rp.Config)) *system {
	t.Helper()
	front := listener(t)
	_, port, _ := net.SplitHostPort(front.Addr().String())
	spa := listener(t)
	start(t, spa, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	_, appPort, _ := net.SplitHostPort(spa.Addr().String())
	s := &system{url: "http://localhost:" + port, port: port, app: "http://localhost:" + appPort, clock: &clock{}}
	idp, err := devidp.New(devidp.Config{
		AutoSignIn: "alice", SkipConsent: true, NewKey: firstKey(),
		Clients: []devidp.Client{{
			ID: "genkan", Secret: "s3cret-canary", RedirectURIs: []string{s.url + "/bff/callback", "http://127.0.0.1:" + port + "/bff/callback"},
			PostLogoutURIs: []string{s.url + "/bff/logout/callback"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	back := listener(t)
	s.idp, s.issuer = idp, "http://"+back.Addr().String()
	idp.SetIssuer(s.issuer)
	start(t, back, idp)

	o := options{public: []string{s.url}, spa: []string{s.app}, files: appFiles, now: s.clock.now}
	pc := rp.Config{ID: "idp", Issuer: s.issuer, ClientID: "genkan", ClientSecret: keys.NewSecret("s3cret-canary"),
		Scopes: []string{"openid", "profile", "email", "groups", "offline_access"}}
	if change != nil {
		change(&o, &pc)
	}
	if o.providers == nil {
		o.providers = []rp.Config{pc}
	}
	s.fixture, s.config = newFixture(t, o), o
	start(t, front, s.handler)
	return s
}

func listener(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func start(t testing.TB, l net.Listener, h http.Handler) {
	server := httptest.NewUnstartedServer(h)
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
}

// login opens the sign-in address from the app and goes wherever that leads.
func (s *system) login(b *browser, returnURL string) page {
	return b.open(s.url+"/bff/login?returnUrl="+url.QueryEscape(returnURL), s.app+"/")
}

// session asks who is signed in.
func (s *system) session(t testing.TB, b *browser) map[string]any {
	t.Helper()
	p := b.fetch(http.MethodGet, s.url+"/bff/session", s.app)
	var body map[string]any
	if err := json.Unmarshal([]byte(p.body), &body); err != nil || p.status != 200 {
		t.Fatalf("%d %s: %v", p.status, p.body, err)
	}
	return body
}

func (s *system) wantSignedIn(t testing.TB, b *browser, want bool) {
	t.Helper()
	if got := s.session(t, b)["authenticated"]; got != want {
		t.Errorf("authenticated %v, want %v", got, want)
	}
}

func TestSignInEndsAtTheReturnURLWithASession(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	got := s.login(b, s.url+"/profile?tab=2")
	if got.url.String() != s.url+"/profile?tab=2" || got.status != 200 {
		t.Fatalf("landed at %s with %d: %s", got.url, got.status, got.body)
	}
	body := s.session(t, b)
	user, _ := body["user"].(map[string]any)
	info, _ := body["session"].(map[string]any)
	if user["sub"] != "dev-user-alice-7f3a" || user["email"] != "alice@example.com" || info["provider"] != "idp" {
		t.Errorf("session %v", body)
	}
	if idle, _ := info["idle_expires_in"].(float64); idle < 3590 || idle > 3600 {
		t.Errorf("idle_expires_in %v, want about an hour", idle)
	}
	if absolute, _ := info["absolute_expires_in"].(float64); absolute < 43190 || absolute > 43200 {
		t.Errorf("absolute_expires_in %v, want about twelve hours", absolute)
	}
	for _, hidden := range []string{"nonce", "at_hash", "iss", "aud", "sid", "exp"} {
		if _, there := user[hidden]; there {
			t.Errorf("the user's claims hold the protocol's %s", hidden)
		}
	}
	held := b.cookies("localhost")
	if len(held) != 1 || held["bff-"+s.port] == nil {
		t.Errorf("after sign-in the browser holds %v, want the session cookie alone", held)
	}
}

func TestUserHasDuendesShape(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	var claims []struct {
		Type  string
		Value any
	}
	if err := json.Unmarshal([]byte(b.fetch(http.MethodGet, s.url+"/bff/user?slide=false", s.app).body), &claims); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, c := range claims {
		got[c.Type] = append(got[c.Type], fmt.Sprint(c.Value))
	}
	if fmt.Sprint(got["groups"]) != "[staff admins]" || fmt.Sprint(got["name"]) != "[Alice Arai]" {
		t.Errorf("claims %v", got)
	}
	if len(got["bff:logout_url"]) != 1 || !strings.HasPrefix(got["bff:logout_url"][0], s.url+"/bff/logout?sid=") || len(got["bff:session_expires_in"]) != 1 || len(got["bff:session_state"]) != 1 {
		t.Errorf("bff claims %v", got)
	}
}

func TestSigningOutEndsItHereAndAtTheProvider(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	old := b.cookies("localhost")["bff-"+s.port]
	answer := b.fetch(http.MethodPost, s.url+"/bff/logout?returnUrl="+url.QueryEscape(s.app+"/signed-out"), s.app)
	var next struct{ URL string }
	if err := json.Unmarshal([]byte(answer.body), &next); err != nil || answer.status != 200 {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	if len(b.cookies("localhost")) != 0 {
		t.Errorf("cookies left: %v", b.cookies("localhost"))
	}
	for _, token := range s.idp.Issued() {
		if strings.Contains(answer.body, token) {
			t.Error("a script can read a token in the answer")
		}
	}
	r, _ := http.NewRequest(http.MethodGet, next.URL, nil)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	first := b.send(r)
	location, _ := url.Parse(first.header.Get("Location"))
	if location.Host != strings.TrimPrefix(s.issuer, "http://") || location.Query().Get("id_token_hint") == "" || location.Query().Get("state") == "" {
		t.Errorf("redirected to %s", location)
	}
	final := b.open(location.String(), s.url+"/")
	if got := final.url.String(); got != s.app+"/signed-out" {
		t.Errorf("landed at %s", got)
	}
	b.jar["localhost"] = map[string]*http.Cookie{old.Name: old}
	s.wantSignedIn(t, b, false)
	if got := s.idp.Stats(); got.Revocations != 1 || got.Logouts == 0 {
		t.Errorf("%d revocations and %d logouts at the provider", got.Revocations, got.Logouts)
	}
}

var sharedKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// firstKey saves each provider the making of its first key; later ones are new.
func firstKey() func() (*rsa.PrivateKey, error) {
	var used atomic.Bool
	return func() (*rsa.PrivateKey, error) {
		if used.CompareAndSwap(false, true) {
			return sharedKey()
		}
		return rsa.GenerateKey(rand.Reader, 2048)
	}
}
