package credential_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/access"
	"genkan/internal/credential"
	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
)

const public = "https://app.example.com"

// provider answers as a test tells it to, and counts.
type provider struct {
	mu       sync.Mutex
	exchange func(ctx context.Context, subject rp.Tokens, what rp.ExchangeRequest) (rp.Tokens, error)
	client   func(ctx context.Context, key keys.Secret, what rp.ClientCredentials) (rp.Tokens, error)
	asked    int
}

func (p *provider) Exchange(ctx context.Context, subject rp.Tokens, what rp.ExchangeRequest) (rp.Tokens, error) {
	p.mu.Lock()
	p.asked++
	answer := p.exchange
	p.mu.Unlock()
	return answer(ctx, subject, what)
}

func (p *provider) ClientTokens(ctx context.Context, key keys.Secret, what rp.ClientCredentials) (rp.Tokens, error) {
	p.mu.Lock()
	p.asked++
	answer := p.client
	p.mu.Unlock()
	return answer(ctx, key, what)
}

func (p *provider) count() int { p.mu.Lock(); defer p.mu.Unlock(); return p.asked }

func (p *provider) exchanges(answer func(context.Context, rp.Tokens, rp.ExchangeRequest) (rp.Tokens, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exchange = answer
}

func (p *provider) gives(answer func(context.Context, keys.Secret, rp.ClientCredentials) (rp.Tokens, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.client = answer
}

// renewer renews sessions with access tokens at-2, at-3 …
type renewer struct {
	mu sync.Mutex
	n  int
	b  *bench
}

func (r *renewer) Refresh(_ context.Context, prev rp.Grant) (rp.Grant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	next := prev
	next.Tokens.Access = keys.NewSecret(fmt.Sprintf("%s-%d", prev.Tokens.Access.Reveal(), r.n+1))
	next.Tokens.Expiry = r.b.clock().Add(time.Hour)
	return next, nil
}

func (r *renewer) Revoke(context.Context, keys.Secret, string) error { return nil }

// lines is a log that many may write.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}
func (l *lines) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.text.String() }

type bench struct {
	*credential.Source
	sessions *session.Manager
	provider *provider
	ring     *keys.Ring
	site     *origin.Site
	log      lines

	mu  sync.Mutex
	now time.Time
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC), provider: &provider{}}
	own, err := origin.Parse(public)
	if err != nil {
		t.Fatal(err)
	}
	policy, found := origin.New(origin.Config{PublicURLs: []origin.Origin{own}})
	if policy == nil {
		t.Fatal(found)
	}
	b.site = policy.Canonical()
	if b.ring, err = keys.Parse([]keys.Secret{keys.NewSecret(keys.Generate())}); err != nil {
		t.Fatal(err)
	}
	b.sessions = session.New(session.Config{
		Store: session.NewMemory(b.clock), Ring: b.ring, Deployment: public, Now: b.clock,
		Providers: map[string]session.Provider{"idp": &renewer{b: b}},
	})
	b.Source = credential.New(credential.Config{
		Providers: map[string]credential.Provider{"idp": {Endpoint: b.provider}, "bound": {Endpoint: b.provider, DPoP: true}},
		Issuer:    public, Signers: func() []*keys.Signer { return b.ring.Signers("ES256") }, Stamp: b.sessions.Store.Stamp,
		Now: b.clock, Logger: slog.New(slog.NewJSONHandler(&b.log, nil)),
	})
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

// signIn starts a session of user, whose access token is "at-" and the user's name.
func (b *bench) signIn(t testing.TB, user string) *session.Session {
	t.Helper()
	r := origin.WithSite(httptest.NewRequest("GET", public+"/", nil), b.site)
	s, err := b.sessions.Start(httptest.NewRecorder(), r, session.SignIn{Provider: "idp", Grant: rp.Grant{
		Tokens: rp.Tokens{Access: keys.NewSecret("at-" + user), Refresh: keys.NewSecret("rt"), Expiry: b.clock().Add(time.Hour)},
		Identity: rp.Identity{Issuer: "https://idp.example", Subject: user, Claims: map[string]json.RawMessage{
			"email": json.RawMessage(`"` + user + `@example.com"`), "groups": json.RawMessage(`["staff","ops"]`), "email_verified": json.RawMessage(`true`),
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// renew gives s new tokens.
func (b *bench) renew(t *testing.T, s *session.Session) *session.Session {
	t.Helper()
	next, err := b.sessions.Renew(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// program is a caller with a token of its own.
func program(token string, expires time.Time) *access.Caller {
	return &access.Caller{
		Token: keys.NewSecret(token), Provider: "idp", ClientID: "batch", Expires: expires,
		Identity: rp.Identity{Issuer: "https://idp.example", Subject: "batch"},
	}
}

func token(text string, expiry time.Time) rp.Tokens {
	return rp.Tokens{Access: keys.NewSecret(text), Expiry: expiry}
}

// failures is how many token requests were logged as failed.
func (b *bench) failures() int { return strings.Count(b.log.String(), "no token for an upstream") }
