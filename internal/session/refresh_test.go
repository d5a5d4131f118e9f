package session_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/keys"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// fakeProvider answers as a test tells it to.
type fakeProvider struct {
	mu      sync.Mutex
	answer  func(prev rp.Grant) (rp.Grant, error)
	calls   int
	revoked []string
	revoke  func(ctx context.Context) error // nil: at once
}

func (p *fakeProvider) Refresh(ctx context.Context, prev rp.Grant) (rp.Grant, error) {
	p.mu.Lock()
	p.calls++
	answer := p.answer
	p.mu.Unlock()
	if ctx.Err() != nil {
		return rp.Grant{}, ctx.Err()
	}
	return answer(prev)
}

func (p *fakeProvider) Revoke(ctx context.Context, token keys.Secret, hint string) error {
	p.mu.Lock()
	p.revoked = append(p.revoked, hint+" "+token.Reveal())
	revoke := p.revoke
	p.mu.Unlock()
	if revoke == nil {
		return nil
	}
	return revoke(ctx)
}

func (p *fakeProvider) gaveBack() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.revoked)
}

func (p *fakeProvider) count() int { p.mu.Lock(); defer p.mu.Unlock(); return p.calls }

func TestATokenIsRenewedShortlyBeforeItExpires(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		after   time.Duration
		renewed int
	}{
		{"fresh", time.Minute, 0},
		{"a minute left of five", 4 * time.Minute, 0},
		{"29 seconds left of five minutes", 5*time.Minute - 29*time.Second, 1},
		{"expired", 6 * time.Minute, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.provider.answer = func(rp.Grant) (rp.Grant, error) { return grant(b.clock(), "second"), nil }
			cookie, _ := b.signIn(t)
			b.pass(tt.after)
			s, err := b.Load(b.request(cookie))
			if err != nil {
				t.Fatal(err)
			}
			if s, err = b.Fresh(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if b.provider.count() != tt.renewed {
				t.Errorf("%d token requests, want %d", b.provider.count(), tt.renewed)
			}
			want := map[int]string{0: "access-first", 1: "access-second"}[tt.renewed]
			if got := s.Grant.Tokens.Access.Reveal(); got != want {
				t.Errorf("access token %s, want %s", got, want)
			}
		})
	}
}

func TestParallelRequestsShareOneRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		gate := make(chan struct{})
		b.provider.answer = func(rp.Grant) (rp.Grant, error) { <-gate; return grant(b.clock(), "second"), nil }
		cookie, _ := b.signIn(t)
		b.pass(10 * time.Minute)
		var fresh atomic.Int32
		for range 200 {
			go func() {
				s, err := b.Load(b.request(cookie))
				if err == nil {
					s, err = b.Fresh(t.Context(), s)
				}
				if err == nil && s.Grant.Tokens.Access.Reveal() == "access-second" {
					fresh.Add(1)
				}
			}()
		}
		synctest.Wait()
		close(gate)
		synctest.Wait()
		if fresh.Load() != 200 || b.provider.count() != 1 {
			t.Errorf("%d requests got the new token with %d token requests, want 200 with 1", fresh.Load(), b.provider.count())
		}
	})
}

func TestALateRequestTakesTheResultThatIsThere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.answer = func(rp.Grant) (rp.Grant, error) { return grant(b.clock(), "second"), nil }
	cookie, _ := b.signIn(t)
	b.pass(10 * time.Minute)
	early, _ := b.Load(b.request(cookie))
	late, _ := b.Load(b.request(cookie))
	for _, s := range []*session.Session{early, late} {
		if s, err := b.Fresh(t.Context(), s); err != nil || s.Grant.Tokens.Access.Reveal() != "access-second" {
			t.Fatalf("%v %v", s, err)
		}
	}
	if b.provider.count() != 1 {
		t.Errorf("%d token requests, want 1", b.provider.count())
	}
}

func TestAHangUpDoesNotLoseTheRotatedToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		gate := make(chan struct{})
		b.provider.answer = func(rp.Grant) (rp.Grant, error) { <-gate; return grant(b.clock(), "second"), nil }
		cookie, s := b.signIn(t)
		b.pass(10 * time.Minute)
		ctx, hangUp := context.WithCancel(t.Context())
		go func() {
			if _, err := b.Fresh(ctx, s); !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want the caller's own cancellation", err)
			}
		}()
		synctest.Wait()
		hangUp()
		synctest.Wait()
		close(gate)
		synctest.Wait()
		got, err := b.Load(b.request(cookie))
		if err != nil || got.Grant.Tokens.Refresh.Reveal() != "refresh-second" {
			t.Errorf("the store holds %v (%v), want the rotated token", got, err)
		}
	})
}

func TestOutcomesOfAFailedRefresh(t *testing.T) {
	t.Parallel()
	const nearly, past = 5*time.Minute - 10*time.Second, 6 * time.Minute
	for _, tt := range []struct {
		name  string
		after time.Duration
		err   error
		want  error // of Fresh
		lives bool
	}{
		{"refused before expiry", nearly, &rp.Error{Kind: rp.Refused, Code: "invalid_grant"}, session.ErrExpired, false},
		{"refused after expiry", past, &rp.Error{Kind: rp.Refused, Code: "invalid_grant"}, session.ErrExpired, false},
		{"an ID token of somebody else", past, &rp.Error{Kind: rp.Invalid, Code: "sub"}, session.ErrExpired, false},
		{"fault before expiry: the token is still good", nearly, &rp.Error{Kind: rp.Fault, Status: 503}, nil, true},
		{"fault after expiry", past, &rp.Error{Kind: rp.Fault, Status: 503}, session.ErrProvider, true},
		{"our client is refused before expiry", nearly, &rp.Error{Kind: rp.Misconfigured, Code: "invalid_client"}, nil, true},
		{"our client is refused after expiry", past, &rp.Error{Kind: rp.Misconfigured, Code: "invalid_client"}, session.ErrProvider, true},
		{"an error of another kind", past, errors.New("no idea"), session.ErrProvider, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.provider.answer = func(rp.Grant) (rp.Grant, error) { return rp.Grant{}, tt.err }
			cookie, s := b.signIn(t)
			b.pass(tt.after)
			if _, err := b.Fresh(t.Context(), s); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if _, err := b.Load(b.request(cookie)); (err == nil) != tt.lives {
				t.Errorf("afterwards: %v, want the session to live: %v", err, tt.lives)
			}
		})
	}
}

func TestRenewAsksAtOnceAndOnlyOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.answer = func(rp.Grant) (rp.Grant, error) { return grant(b.clock(), "second"), nil }
	cookie, _ := b.signIn(t)
	one, _ := b.Load(b.request(cookie))
	two, _ := b.Load(b.request(cookie))
	for _, s := range []*session.Session{one, two} {
		if got, err := b.Renew(t.Context(), s); err != nil || got.Grant.Tokens.Access.Reveal() != "access-second" {
			t.Fatalf("%v %v", got, err)
		}
	}
	if b.provider.count() != 1 {
		t.Errorf("%d token requests, want 1", b.provider.count())
	}
}

// There is nothing to renew early, so the store is not asked either.
func TestAnAccessTokenWithoutARefreshTokenIsUsedToItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, s := f.signIn(t, 0, func(in *session.SignIn) { in.Grant.Tokens.Refresh = keys.Secret{} })
		pass(time.Until(s.Grant.Tokens.Expiry) - time.Second)
		for range 10 {
			if got, err := f.fresh(t.Context(), 0, cookie); err != nil || got != "access-first" {
				t.Errorf("%s %v", got, err)
			}
		}
		if got := f.replicas[0].line.count("lease"); got != 0 {
			t.Errorf("%d leases, want none", got)
		}
		pass(time.Second)
		if _, err := f.fresh(t.Context(), 0, cookie); !errors.Is(err, session.ErrExpired) {
			t.Errorf("after its end: %v, want ErrExpired", err)
		}
	})
}

func TestWithoutARefreshTokenTheSessionOutlivesItsAccessToken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, s := b.signIn(t)
	s.Grant.Tokens.Refresh = keys.Secret{}
	b.provider.answer = func(prev rp.Grant) (rp.Grant, error) {
		prev.Tokens.Refresh = keys.Secret{}
		prev.Tokens.Expiry = b.clock().Add(time.Minute)
		return prev, nil
	}
	if _, err := b.Renew(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	b.pass(2 * time.Minute)
	s, _ = b.Load(b.request(cookie))
	if _, err := b.Fresh(t.Context(), s); !errors.Is(err, session.ErrExpired) {
		t.Errorf("%v, want ErrExpired", err)
	}
	if _, err := b.Load(b.request(cookie)); err != nil {
		t.Errorf("the session ended with its access token: %v", err)
	}
	if b.provider.count() != 1 {
		t.Errorf("%d token requests, want none without a refresh token", b.provider.count()-1)
	}
}

func TestNewTokensAreStoredAlthoughTheStoreFailsForAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.provider.answer = func(rp.Grant) (rp.Grant, error) {
			b.store.fail(errors.New("restarting"))
			time.AfterFunc(2*time.Second, func() { b.store.fail(nil) })
			return grant(b.clock(), "second"), nil
		}
		cookie, s := b.signIn(t)
		b.pass(10 * time.Minute)
		if _, err := b.Fresh(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		got, err := b.Load(b.request(cookie))
		if err != nil || got.Grant.Tokens.Refresh.Reveal() != "refresh-second" {
			t.Errorf("the store holds %v (%v), want the rotated token", got, err)
		}
	})
}

func TestTokensOfASessionThatEndedMeanwhileAreRevoked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, s := b.signIn(t)
	b.provider.answer = func(rp.Grant) (rp.Grant, error) {
		if err := b.store.Delete(t.Context(), s.Key(), 0); err != nil {
			t.Error(err)
		}
		return grant(b.clock(), "second"), nil
	}
	b.pass(10 * time.Minute)
	if _, err := b.Fresh(t.Context(), s); !errors.Is(err, session.ErrNone) {
		t.Errorf("%v, want ErrNone", err)
	}
	if _, err := b.Load(b.request(cookie)); !errors.Is(err, session.ErrNone) {
		t.Errorf("the ended session came back: %v", err)
	}
	if len(b.provider.revoked) != 1 || b.provider.revoked[0] != "refresh_token refresh-second" {
		t.Errorf("revoked %v, want the new refresh token", b.provider.revoked)
	}
}

func TestAPanicWhileRenewingEndsNeitherTheProcessNorTheSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var log bytes.Buffer
	b.Logger = slog.New(slog.NewTextHandler(&log, nil))
	b.provider.answer = func(prev rp.Grant) (rp.Grant, error) { panic("kaboom with " + prev.Tokens.Refresh.Reveal()) }
	cookie, s := b.signIn(t)
	b.pass(10 * time.Minute)
	if _, err := b.Fresh(t.Context(), s); err == nil || errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrExpired) {
		t.Errorf("%v, want an error that signs nobody out", err)
	}
	if _, err := b.Load(b.request(cookie)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if !strings.Contains(log.String(), "panic") || strings.Contains(log.String(), "refresh-first") {
		t.Errorf("the log: %s", log.String())
	}
}

func TestAWriteThatHappenedAlthoughItFailedIsNoError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.provider.answer = func(rp.Grant) (rp.Grant, error) {
			b.store.loseAnswer(errors.New("connection reset"))
			return grant(b.clock(), "second"), nil
		}
		_, s := b.signIn(t)
		b.pass(10 * time.Minute)
		got, err := b.Fresh(t.Context(), s)
		if err != nil || got.Grant.Tokens.Refresh.Reveal() != "refresh-second" {
			t.Errorf("%v %v, want the tokens that are in the store", got, err)
		}
	})
}

func TestDrainWaitsForARefreshWhoseCallerIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.provider.answer = func(rp.Grant) (rp.Grant, error) {
			<-time.After(3 * time.Second) // of the bubble's clock
			return grant(b.clock(), "second"), nil
		}
		cookie, s := b.signIn(t)
		b.pass(10 * time.Minute)
		ctx, hangUp := context.WithCancel(t.Context())
		go func() { _, _ = b.Fresh(ctx, s) }()
		synctest.Wait()
		hangUp()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after a second: %v, want the end of the wait", err)
		}
		if err := b.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		got, err := b.Load(b.request(cookie))
		if err != nil || got.Grant.Tokens.Refresh.Reveal() != "refresh-second" {
			t.Errorf("the store holds %v (%v), want the rotated token", got, err)
		}
	})
}
