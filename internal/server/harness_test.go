package server_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/server"
	"genkan/internal/session"
	"genkan/internal/telemetry"
)

const testKey = "rv6wWm8XcXWn2hIE5wDmjcPLGzO0uxBTtJ7o5ZrJ0pQ="

// fixture is a Server that is called directly, with everything under control.
type fixture struct {
	*server.Server
	handler http.Handler
	admin   http.Handler
	store   *faultyStore
	log     *logText
	clients atomic.Uint32 // that have sent a request
}

type options struct {
	public    []string
	spa       []string
	alias     origin.Alias
	formPost  bool
	proxies   []string
	providers []rp.Config
	upstreams server.Upstreams
	files     fs.FS
	now       func() time.Time
	admin     string // the token
	random    func(int) int
	keys      []string     // default testKey
	store     *faultyStore // default a new one
	metrics   *telemetry.Metrics
}

// deadIssuer refuses connections: nothing listens on port 1 of the loopback.
const deadIssuer = "http://127.0.0.1:1"

func newFixture(t testing.TB, o options) *fixture {
	t.Helper()
	if len(o.public) == 0 {
		o.public = []string{"http://localhost:8000"}
	}
	if len(o.providers) == 0 {
		o.providers = []rp.Config{{ID: "idp", Name: "Test provider", Issuer: deadIssuer, ClientID: "genkan", ClientSecret: keys.NewSecret("s3cret-canary")}}
	}
	if o.now == nil {
		o.now = time.Now
	}
	policy, found := origin.New(origin.Config{
		PublicURLs: origins(t, o.public), SPAOrigins: origins(t, o.spa), LoopbackAlias: o.alias, FormPost: o.formPost,
		TrustedProxies: len(o.proxies) > 0,
	})
	if policy == nil {
		t.Fatal(found)
	}
	if o.keys == nil {
		o.keys = []string{testKey}
	}
	secrets := []keys.Secret{}
	for _, key := range o.keys {
		secrets = append(secrets, keys.NewSecret(key))
	}
	ring, err := keys.Parse(secrets)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{store: o.store, log: &logText{}}
	if f.store == nil {
		f.store = &faultyStore{Store: session.NewMemory(o.now)}
	}
	logger := slog.New(slog.NewJSONHandler(f.log, nil))
	clients, renewers := []*rp.Client{}, map[string]session.Provider{}
	for _, pc := range o.providers {
		pc.Logger = logger
		client, err := rp.New(pc)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, client)
		renewers[client.ID()] = client
	}
	s, err := server.New(server.Config{
		Policy: policy, Ring: ring, Providers: clients, SPA: o.files, TrustedProxies: prefixes(o.proxies),
		Sessions: session.New(session.Config{
			Store: f.store, Ring: ring, Deployment: policy.Canonical().Origin().String(), Providers: renewers, Now: o.now, Logger: logger,
		}),
		AdminToken: keys.NewSecret(o.admin), Now: o.now, Random: o.random, Logger: logger, Metrics: o.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Server, f.handler, f.admin = s, s.Handler(o.upstreams), s.Admin()
	return f
}

func origins(t testing.TB, texts []string) (list []origin.Origin) {
	t.Helper()
	for _, text := range texts {
		o, err := origin.Parse(text)
		if err != nil {
			t.Fatal(text, err)
		}
		list = append(list, o)
	}
	return list
}

func prefixes(texts []string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// do sends one request; headers are "Name: value" lines.
func (f *fixture) do(method, target string, headers ...string) *http.Response {
	return f.send(httptest.NewRequest(method, target, nil), headers...)
}

// send sends r, from a client of its own unless the test says from which.
func (f *fixture) send(r *http.Request, headers ...string) *http.Response {
	if r.RemoteAddr == "192.0.2.1:1234" || r.RemoteAddr == "" { // as httptest and net/http leave it
		n := f.clients.Add(1)
		r.RemoteAddr = fmt.Sprintf("198.%d.%d.%d:1234", 18+n>>16&1, n>>8&0xff, n&0xff) // RFC 2544
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return w.Result()
}

// Header sets as browsers send them (measured, cookie-truth table).
var (
	navigate  = []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: none", "Accept: text/html,application/xhtml+xml"}
	fetchSame = []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin", "Accept: application/json", "X-CSRF: 1"}
)

type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
	LoginURL  string `json:"login_url"`
}

// wantProblem checks that an answer is a problem with status and code.
func wantProblem(t *testing.T, r *http.Response, status int, code string) problem {
	t.Helper()
	var p problem
	body := bodyOf(t, r)
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q, want application/problem+json; body %.200s", got, body)
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v in %.200s", err, body)
	}
	if r.StatusCode != status || p.Status != status || p.Code != code {
		t.Errorf("status %d, problem %d %s, want %d %s", r.StatusCode, p.Status, p.Code, status, code)
	}
	if p.RequestID == "" || p.RequestID != r.Header.Get("X-Request-Id") {
		t.Errorf("request_id %q, header %q", p.RequestID, r.Header.Get("X-Request-Id"))
	}
	return p
}

// wantPage checks that an answer is a page of Genkan's own.
func wantPage(t *testing.T, r *http.Response, status int, words ...string) string {
	t.Helper()
	body := bodyOf(t, r)
	if r.StatusCode != status || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("status %d, %q, want %d and a page; body %.200s", r.StatusCode, r.Header.Get("Content-Type"), status, body)
	}
	for _, word := range words {
		if !strings.Contains(body, word) {
			t.Errorf("the page lacks %q", word)
		}
	}
	if csp := r.Header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("Content-Security-Policy %q", csp)
	}
	return body
}

func bodyOf(t testing.TB, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

var appFiles = fstest.MapFS{
	"index.html":      {Data: []byte("<!doctype html><title>App</title>")},
	"assets/app-1.js": {Data: []byte("export {}")},
	"favicon.svg":     {Data: []byte("<svg/>")},
	".gitkeep":        {Data: []byte{}},
}

// faultyStore fails while it is told to.
type faultyStore struct {
	session.Store
	mu    sync.Mutex
	err   error
	stuck error // of Delete alone
	full  error // of Save alone
	calls int
}

func (s *faultyStore) fail(err error) { s.mu.Lock(); s.err = err; s.mu.Unlock() }

// failDeletes lets everything but the end of rows succeed.
func (s *faultyStore) failDeletes(err error) { s.mu.Lock(); s.stuck = err; s.mu.Unlock() }

// failSaves lets everything but writing succeed.
func (s *faultyStore) failSaves(err error) { s.mu.Lock(); s.full = err; s.mu.Unlock() }

// recover ends a failure and waits until the Manager has noticed.
func (s *faultyStore) recover(t testing.TB, m *session.Manager) {
	t.Helper()
	s.fail(nil)
	for end := time.Now().Add(5 * time.Second); ; {
		if _, err := m.Store.Load(t.Context(), session.Key{}); errors.Is(err, session.ErrNone) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the store is not asked again")
		}
	}
}

func (s *faultyStore) fault() error { s.mu.Lock(); defer s.mu.Unlock(); s.calls++; return s.err }

func (s *faultyStore) asked() int { s.mu.Lock(); defer s.mu.Unlock(); return s.calls }

// logText is a log that may be read while it is written.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.text.String() }

func (l *logText) Reset() { l.mu.Lock(); defer l.mu.Unlock(); l.text.Reset() }

func (l *logText) Len() int { l.mu.Lock(); defer l.mu.Unlock(); return l.text.Len() }

func (s *faultyStore) Load(ctx context.Context, key session.Key) (session.Row, error) {
	if err := s.fault(); err != nil {
		return session.Row{}, err
	}
	return s.Store.Load(ctx, key)
}

func (s *faultyStore) Save(ctx context.Context, row session.Row) (uint64, error) {
	s.mu.Lock()
	full := s.full
	s.mu.Unlock()
	if err := cmp.Or(s.fault(), full); err != nil {
		return 0, err
	}
	return s.Store.Save(ctx, row)
}

func (s *faultyStore) Delete(ctx context.Context, key session.Key, version uint64) error {
	s.mu.Lock()
	stuck := s.stuck
	s.mu.Unlock()
	if err := cmp.Or(s.fault(), stuck); err != nil {
		return err
	}
	return s.Store.Delete(ctx, key, version)
}

func (s *faultyStore) Find(ctx context.Context, tags []session.Tag, limit int) ([]session.Row, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.Store.Find(ctx, tags, limit)
}

// Stamp tells nothing while the store is down.
func (s *faultyStore) Stamp(key session.Key) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamp, ok := s.Store.Stamp(key)
	return stamp, ok && s.err == nil
}

func (s *faultyStore) Ping(context.Context) error { return s.fault() }
