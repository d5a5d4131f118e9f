package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/access"
	"genkan/internal/credential"
	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/proxy"
	"genkan/internal/rp"
	"genkan/internal/session"
	"genkan/internal/telemetry"
)

const public = "http://localhost:8000"

// bench is a Handler with everything around it under the test's control.
type bench struct {
	sessions *session.Manager
	store    *flakyStore
	provider *fakeProvider
	tokens   *fakeEndpoint
	site     *origin.Site
	cookie   *http.Cookie // of alice, signed in
	log      *lockedBuffer

	mu  sync.Mutex
	now time.Time
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC), provider: &fakeProvider{}, tokens: &fakeEndpoint{}, log: &lockedBuffer{}}
	own, err := origin.Parse(public)
	if err != nil {
		t.Fatal(err)
	}
	app, err := origin.Parse("http://localhost:5173")
	if err != nil {
		t.Fatal(err)
	}
	policy, found := origin.New(origin.Config{PublicURLs: []origin.Origin{own}, SPAOrigins: []origin.Origin{app}})
	if policy == nil {
		t.Fatal(found)
	}
	ring, err := keys.Parse([]keys.Secret{keys.NewSecret(keys.Generate())})
	if err != nil {
		t.Fatal(err)
	}
	b.site = policy.Canonical()
	b.store = &flakyStore{Store: session.NewMemory(b.clock)}
	b.sessions = session.New(session.Config{
		Store: b.store, Ring: ring, Deployment: public, Now: b.clock,
		Providers: map[string]session.Provider{"idp": b.provider},
	})
	b.cookie = b.signIn(t, grant(b.clock().Add(time.Hour), "at-1", "rt-1"))
	return b
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// signIn starts a session and returns its cookie as a browser sends it.
func (b *bench) signIn(t testing.TB, g rp.Grant) *http.Cookie {
	t.Helper()
	w := httptest.NewRecorder()
	r := origin.WithSite(httptest.NewRequest("GET", public+"/", nil), b.site)
	if _, err := b.sessions.Start(w, r, session.SignIn{Provider: "idp", Grant: g}); err != nil {
		t.Fatal(err)
	}
	c := w.Result().Cookies()[0]
	return &http.Cookie{Name: c.Name, Value: c.Value}
}

func grant(expiry time.Time, access, refresh string) rp.Grant {
	return rp.Grant{
		Tokens: rp.Tokens{Access: keys.NewSecret(access), Refresh: keys.NewSecret(refresh), Expiry: expiry},
		Identity: rp.Identity{Issuer: "https://idp.example", Subject: "alice", Claims: map[string]json.RawMessage{
			"sub": json.RawMessage(`"alice"`), "email": json.RawMessage(`"alice@example.com"`),
			"groups": json.RawMessage(`["staff","ops"]`), "email_verified": json.RawMessage(`true`),
			"level": json.RawMessage(`12345678901234567890`), "name": json.RawMessage(`"アリス"`),
			"evil": json.RawMessage(`"a\r\nX-Admin: 1"`), "tricky": json.RawMessage(`["a,admin"]`), "padded": json.RawMessage(`["a"," admin"]`),
			"nested": json.RawMessage(`{"a":1}`), "empty": json.RawMessage(`[]`), "nothing": json.RawMessage(`null`), "mixed": json.RawMessage(`["a",{"b":1}]`),
		}},
	}
}

// handler builds the Handler alone.
func (b *bench) handler(t testing.TB, transport http.RoundTripper, routes ...proxy.Route) *proxy.Handler {
	t.Helper()
	h, err := proxy.New(proxy.Config{
		Routes: routes, Sessions: b.sessions, Transport: transport, Credentials: b.credentials(),
		Bearer: access.NewBearer([]access.Provider{b.tokens}, b.clock),
		Logger: telemetry.New(b.log, telemetry.Options{Format: "json"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// credentials signs with a key of its own.
func (b *bench) credentials() *credential.Source {
	signers := []*keys.Signer{keys.NewSigner()}
	return credential.New(credential.Config{
		Providers: map[string]credential.Provider{"idp": {Endpoint: b.tokens}}, Issuer: public,
		Signers: func() []*keys.Signer { return signers }, Now: b.clock,
	})
}

// front serves routes as the program does: access log, recovery, security headers
// and the public URL before the Handler.
func (b *bench) front(t testing.TB, routes ...proxy.Route) *httptest.Server {
	t.Helper()
	return b.serve(t, b.handler(t, nil, routes...))
}

func (b *bench) serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	logger := telemetry.New(b.log, telemetry.Options{Format: "json"})
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		w.Header().Set("Referrer-Policy", "same-origin")
		w.Header().Set("Access-Control-Allow-Origin", "http://localhost:5173")
		w.Header().Add("Vary", "Origin")
		h.ServeHTTP(w, origin.WithSite(r, b.site))
	})
	failed := func(http.ResponseWriter, *http.Request) { t.Error("the handler panicked") }
	s := httptest.NewServer(telemetry.AccessLog(logger, time.Now)(telemetry.Recover(logger, failed)(inner)))
	t.Cleanup(s.Close)
	return s
}

// call is what an app's fetch sends: the cookie, the header and the origin.
func (b *bench) call(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(b.cookie)
	r.Header.Set("X-CSRF", "1")
	r.Header.Set("Origin", "http://localhost:5173")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	return r
}

// reply is an answer, read to its end.
type reply struct {
	*http.Response
	text string
}

func (r reply) problem() (code, loginURL string) {
	var p struct {
		Code     string
		LoginURL string `json:"login_url"`
	}
	_ = json.Unmarshal([]byte(r.text), &p)
	return p.Code, p.LoginURL
}

// send makes the request without following redirects.
func send(t testing.TB, r *http.Request) reply {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res, string(text)}
}

// seen is one request as an upstream got it.
type seen struct {
	method, uri, host, body string
	header                  http.Header
}

// upstream records what arrives.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex
	list []seen
}

// newUpstream answers with h, or with 200 and "ok" when h is nil.
func newUpstream(t testing.TB, h http.HandlerFunc) *upstream {
	t.Helper()
	u := &upstream{}
	u.Server = httptest.NewServer(u.recording(h))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) recording(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		u.mu.Lock()
		u.list = append(u.list, seen{r.Method, r.RequestURI, r.Host, string(body), r.Header.Clone()})
		u.mu.Unlock()
		if h != nil {
			h(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "ok")
	})
}

func (u *upstream) seen() []seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]seen(nil), u.list...)
}

// only returns the one request that must have arrived.
func (u *upstream) only(t testing.TB) seen {
	t.Helper()
	list := u.seen()
	if len(list) != 1 {
		t.Fatalf("%d requests at the upstream, want 1: %v", len(list), list)
	}
	return list[0]
}

func (u *upstream) route(path string, change ...func(*proxy.Route)) proxy.Route {
	target, err := url.Parse(u.URL)
	if err != nil {
		panic(err)
	}
	r := proxy.Route{Path: path, URL: target}
	for _, f := range change {
		f(&r)
	}
	return r
}

var errDown = errors.New("connection to 10.1.2.3 refused")

// flakyStore fails on demand and counts activity.
type flakyStore struct {
	session.Store
	mu      sync.Mutex
	down    bool
	touches int
}

func (s *flakyStore) fail(down bool) { s.mu.Lock(); defer s.mu.Unlock(); s.down = down }

func (s *flakyStore) Load(ctx context.Context, key session.Key) (session.Row, error) {
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		return session.Row{}, errDown
	}
	return s.Store.Load(ctx, key)
}

func (s *flakyStore) Touch(ctx context.Context, all []session.Activity) error {
	s.mu.Lock()
	s.touches += len(all)
	s.mu.Unlock()
	return s.Store.Touch(ctx, all)
}

// fakeProvider renews as a test tells it to.
type fakeProvider struct {
	mu     sync.Mutex
	answer func(prev rp.Grant) (rp.Grant, error)
	calls  int
}

func (p *fakeProvider) renewing(answer func(rp.Grant) (rp.Grant, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *fakeProvider) count() int { p.mu.Lock(); defer p.mu.Unlock(); return p.calls }

func (p *fakeProvider) Refresh(_ context.Context, prev rp.Grant) (rp.Grant, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	return p.answer(prev)
}

func (p *fakeProvider) Revoke(context.Context, keys.Secret, string) error { return nil }

// fakeEndpoint gives and judges tokens as a test tells it to.
type fakeEndpoint struct {
	mu        sync.Mutex
	exchanges []string // subject token and what was asked for
	clients   []string // scopes asked for
	exchange  func(subject rp.Tokens) (rp.Tokens, error)
	client    func() (rp.Tokens, error)
	judge     func(token string, audiences []string) (rp.Access, error)
}

func (e *fakeEndpoint) ID() string { return "idp" }

func (e *fakeEndpoint) Issuer() string { return "https://idp.example" }

func (e *fakeEndpoint) Exchange(_ context.Context, subject rp.Tokens, what rp.ExchangeRequest) (rp.Tokens, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.exchanges = append(e.exchanges, subject.Access.Reveal()+" for "+what.Audience)
	return e.exchange(subject)
}

func (e *fakeEndpoint) ClientTokens(_ context.Context, _ keys.Secret, what rp.ClientCredentials) (rp.Tokens, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clients = append(e.clients, what.Scope)
	return e.client()
}

func (e *fakeEndpoint) VerifyAccess(_ context.Context, raw string, audiences []string) (rp.Access, error) {
	return e.judge(raw, audiences)
}

func (e *fakeEndpoint) Introspect(_ context.Context, token keys.Secret, audiences []string) (rp.Access, error) {
	return e.judge(token.Reveal(), audiences)
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func (l *lockedBuffer) count(text string) int { return strings.Count(l.String(), text) }
