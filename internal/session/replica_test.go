package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// fleet is several replicas on one store, in a bubble whose clock is everybody's.
type fleet struct {
	store    *session.Memory
	replicas []*replica
	provider *fakeProvider
	log      *journal
	site     *origin.Site
}

// replica is a Manager and its own way to the store.
type replica struct {
	*session.Manager
	line *line
}

func newFleet(t *testing.T, count int, change ...func(i int, c *session.Config)) *fleet {
	t.Helper()
	f := &fleet{store: session.NewMemory(time.Now), provider: &fakeProvider{}, log: &journal{}, site: site(t, "http://localhost:8000")}
	logger := slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for i := range count {
		way := &line{Store: f.store}
		c := session.Config{
			Store: way, Ring: ring(t, keyA), Deployment: "http://localhost:8000", Logger: logger,
			Providers: map[string]session.Provider{"idp": f.provider, "other": f.provider},
		}
		for _, set := range change {
			set(i, &c)
		}
		f.replicas = append(f.replicas, &replica{session.New(c), way})
	}
	return f
}

func ring(t *testing.T, encoded ...string) *keys.Ring {
	t.Helper()
	var secrets []keys.Secret
	for _, k := range encoded {
		secrets = append(secrets, keys.NewSecret(k))
	}
	parsed, err := keys.Parse(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func (f *fleet) request(cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://localhost:8000/", nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return origin.WithSite(r, f.site)
}

// signIn signs a user in at replica i: alice at idp, unless change says otherwise. What it
// loads by itself is not counted.
func (f *fleet) signIn(t *testing.T, i int, change ...func(*session.SignIn)) (*http.Cookie, *session.Session) {
	t.Helper()
	in := session.SignIn{Provider: "idp", Grant: grant(time.Now(), "first")}
	for _, set := range change {
		set(&in)
	}
	w := httptest.NewRecorder()
	s, err := f.replicas[i].Start(w, f.request(), in)
	if err != nil {
		t.Fatal(err)
	}
	f.replicas[i].line.forget("load")
	return w.Result().Cookies()[0], s
}

func as(subject string) func(*session.SignIn) {
	return func(in *session.SignIn) { in.Grant.Identity.Subject = subject }
}

func at(provider string) func(*session.SignIn) {
	return func(in *session.SignIn) { in.Provider = provider }
}

func of(sid string) func(*session.SignIn) {
	return func(in *session.SignIn) { in.Grant.Identity.SID = sid }
}

func (f *fleet) load(i int, cookie *http.Cookie) (*session.Session, error) {
	return f.replicas[i].Load(f.request(cookie))
}

func (f *fleet) mustLoad(t *testing.T, i int, cookie *http.Cookie) *session.Session {
	t.Helper()
	s, err := f.load(i, cookie)
	if err != nil {
		t.Fatalf("replica %d: %v", i, err)
	}
	return s
}

// fresh is what a request at replica i does that needs an access token.
func (f *fleet) fresh(ctx context.Context, i int, cookie *http.Cookie) (token string, err error) {
	s, err := f.load(i, cookie)
	if err == nil {
		s, err = f.replicas[i].Fresh(ctx, s)
	}
	if err != nil {
		return "", err
	}
	return s.Grant.Tokens.Access.Reveal(), nil
}

// renewedElsewhere is the row of s as a replica would save it that has renewed its tokens
// to "late" and has not been heard of since.
func (f *fleet) renewedElsewhere(t *testing.T, cookie *http.Cookie, s *session.Session) session.Row {
	t.Helper()
	row, err := f.store.Load(t.Context(), s.Key())
	if err != nil {
		t.Fatal(err)
	}
	apart := newFleet(t, 1)
	apart.provider.answer = func(rp.Grant) (rp.Grant, error) { return grant(time.Now(), "late"), nil }
	version := row.Version
	row.Version = 0
	if _, err := apart.store.Save(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	if _, err := apart.replicas[0].Renew(t.Context(), apart.mustLoad(t, 0, cookie)); err != nil {
		t.Fatal(err)
	}
	if row, err = apart.store.Load(t.Context(), s.Key()); err != nil {
		t.Fatal(err)
	}
	row.Version = version
	return row
}

// rotate makes the provider take each refresh token once; names of tokens count from 2.
func (f *fleet) rotate(latency time.Duration) {
	current, n := "refresh-first", 1
	f.provider.answer = func(prev rp.Grant) (rp.Grant, error) {
		<-time.After(latency) // of the bubble's clock
		f.provider.mu.Lock()
		defer f.provider.mu.Unlock()
		if prev.Tokens.Refresh.Reveal() != current {
			return rp.Grant{}, &rp.Error{Kind: rp.Refused, Code: "invalid_grant"}
		}
		n++
		current = fmt.Sprintf("refresh-%d", n)
		next := grant(time.Now(), fmt.Sprint(n))
		next.Identity = prev.Identity
		return next, nil
	}
}

func (f *fleet) refuse() {
	f.provider.answer = func(rp.Grant) (rp.Grant, error) {
		return rp.Grant{}, &rp.Error{Kind: rp.Refused, Code: "invalid_grant"}
	}
}

func pass(d time.Duration) { <-time.After(d) } // of the bubble's clock

var errCut = errors.New("connection refused")

// line is one replica's way to the store, where a test can stand.
type line struct {
	session.Store
	mu       sync.Mutex
	hook     func(operation string) error // before each operation, in place of it when it fails
	asked    map[string]int
	untrusty bool
	lag      time.Duration
}

func (l *line) begin(operation string) error {
	l.mu.Lock()
	if l.asked == nil {
		l.asked = map[string]int{}
	}
	l.asked[operation]++
	hook := l.hook
	l.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(operation)
}

func (l *line) on(hook func(operation string) error) { l.mu.Lock(); l.hook = hook; l.mu.Unlock() }

func (l *line) cut()  { l.on(func(string) error { return errCut }) }
func (l *line) mend() { l.on(nil) }

func (l *line) distrust(yes bool) { l.mu.Lock(); l.untrusty = yes; l.mu.Unlock() }

func (l *line) count(operation string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[operation]
}

func (l *line) forget(operation string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[operation] = 0
}

func (l *line) Load(ctx context.Context, key session.Key) (session.Row, error) {
	operation := "load"
	if key == session.ProbeKey {
		operation = "probe"
	}
	if err := l.begin(operation); err != nil {
		return session.Row{}, err
	}
	return l.Store.Load(ctx, key)
}

func (l *line) Save(ctx context.Context, row session.Row) (uint64, error) {
	if err := l.begin("save"); err != nil {
		return 0, err
	}
	return l.Store.Save(ctx, row)
}

func (l *line) Touch(ctx context.Context, all []session.Activity) error {
	if err := l.begin("touch"); err != nil {
		return err
	}
	return l.Store.Touch(ctx, all)
}

func (l *line) Delete(ctx context.Context, key session.Key, version uint64) error {
	if err := l.begin("delete"); err != nil {
		return err
	}
	return l.Store.Delete(ctx, key, version)
}

func (l *line) Find(ctx context.Context, tags []session.Tag, limit int) ([]session.Row, error) {
	if err := l.begin("find"); err != nil {
		return nil, err
	}
	return l.Store.Find(ctx, tags, limit)
}

func (l *line) Stamp(key session.Key) (uint64, bool) {
	stamp, ok := l.Store.Stamp(key)
	l.mu.Lock()
	defer l.mu.Unlock()
	return stamp, ok && !l.untrusty
}

func (l *line) Lag() time.Duration { return l.lag }

func (l *line) Lease(ctx context.Context, key session.Key, owner session.Owner, ttl time.Duration) (session.Lease, error) {
	if err := l.begin("lease"); err != nil {
		return session.Lease{}, err
	}
	return l.Store.Lease(ctx, key, owner, ttl)
}

func (l *line) Release(ctx context.Context, key session.Key, owner session.Owner) error {
	if err := l.begin("release"); err != nil {
		return err
	}
	return l.Store.Release(ctx, key, owner)
}

func (l *line) Sweep(ctx context.Context, limit int) (int, error) {
	if err := l.begin("sweep"); err != nil {
		return 0, err
	}
	return l.Store.Sweep(ctx, limit)
}

func (l *line) Ping(ctx context.Context) error {
	if err := l.begin("ping"); err != nil {
		return err
	}
	return l.Store.Ping(ctx)
}

// gauge counts who is at it, and how many were at the most.
type gauge struct {
	mu        sync.Mutex
	now, most int
}

func (g *gauge) peak() int { g.mu.Lock(); defer g.mu.Unlock(); return g.most }

func (g *gauge) enter() (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now++
	g.most = max(g.most, g.now)
	return func() { g.mu.Lock(); g.now--; g.mu.Unlock() }
}

// journal is a log that can be asked.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// lines counts those that hold word.
func (j *journal) lines(word string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		if strings.Contains(line, word) {
			n++
		}
	}
	return n
}
