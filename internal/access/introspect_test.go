package access_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/access"
	"genkan/internal/keys"
	"genkan/internal/rp"
)

func inactive() (rp.Access, error) {
	return rp.Access{}, &rp.Error{Op: "introspection", Kind: rp.Refused, Code: "inactive"}
}

func down() (rp.Access, error) {
	return rp.Access{}, &rp.Error{Op: "introspection", Kind: rp.Fault, Code: "network"}
}

func expiring(in time.Duration) func() (rp.Access, error) {
	return func() (rp.Access, error) { return rp.Access{Expires: now.Add(in)}, nil }
}

func TestHowLongAnAnswerAboutATokenCounts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func() (rp.Access, error)
		after  time.Duration
		asked  int
	}{
		"good, at once":              {good, 0, 1},
		"good, 29 s":                 {good, 29 * time.Second, 1},
		"good, 30 s":                 {good, 30 * time.Second, 2},
		"good until it expires":      {expiring(10 * time.Second), 9 * time.Second, 1},
		"not when it has expired":    {expiring(10 * time.Second), 10 * time.Second, 2},
		"expired already":            {expiring(-time.Second), 0, 2},
		"good without an expiry":     {func() (rp.Access, error) { return rp.Access{}, nil }, 29 * time.Second, 1},
		"without an expiry, 30 s":    {func() (rp.Access, error) { return rp.Access{}, nil }, 30 * time.Second, 2},
		"bad, 4 s":                   {inactive, 4 * time.Second, 1},
		"bad, 5 s":                   {inactive, 5 * time.Second, 2},
		"a failure is not an answer": {down, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := now
			p := &provider{id: "second", issuer: "https://second.example/", answer: tt.answer}
			b := access.NewBearer([]access.Provider{p}, func() time.Time { return at })
			_, first := b.Authenticate(t.Context(), carrying("Bearer abc"), orders)
			at = at.Add(tt.after)
			_, then := b.Authenticate(t.Context(), carrying("Bearer abc"), orders)
			if len(p.introspect) != tt.asked {
				t.Errorf("asked %d times, want %d", len(p.introspect), tt.asked)
			}
			if fmt.Sprint(first) != fmt.Sprint(then) {
				t.Errorf("first %v, then %v", first, then)
			}
		})
	}
}

func TestAnswerCountsForOneQuestionOnly(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		token string
		rule  access.BearerRule
	}{
		"another token":        {"abd", orders},
		"another audience":     {"abc", access.BearerRule{Audiences: []string{"api://invoices"}, Introspection: "second"}},
		"one more audience":    {"abc", access.BearerRule{Audiences: []string{"api://orders", "x"}, Introspection: "second"}},
		"audience cut in two":  {"abc", access.BearerRule{Audiences: []string{"api:", "//orders"}, Introspection: "second"}},
		"another provider":     {"abc", access.BearerRule{Audiences: []string{"api://orders"}, Introspection: "first"}},
		"the same, for a test": {"abc", orders},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, first, _, second := two()
			if _, err := b.Authenticate(t.Context(), carrying("Bearer abc"), orders); err != nil {
				t.Fatal(err)
			}
			first.answer, second.answer = inactive, inactive
			_, err := b.Authenticate(t.Context(), carrying("Bearer "+tt.token), tt.rule)
			if same := strings.HasPrefix(name, "the same"); same != (err == nil) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOneQuestionAboutATokenAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := &provider{id: "second", answer: func() (rp.Access, error) { <-release; return good() }}
		b := access.NewBearer([]access.Provider{p}, clock)
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if c, err := b.Authenticate(t.Context(), carrying("Bearer abc"), orders); err != nil || c.Identity.Subject != "u1" {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		if _, asked := p.asked(); asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		close(release)
		callers.Wait()
	})
}

// patient answers when it is released, unless its caller ends it.
type patient struct {
	*provider
	release chan struct{}
}

func (p *patient) Introspect(ctx context.Context, token keys.Secret, audiences []string) (rp.Access, error) {
	select {
	case <-p.release:
		return p.provider.Introspect(ctx, token, audiences)
	case <-ctx.Done():
		return rp.Access{}, ctx.Err()
	}
}

func TestCallerThatGivesUpDoesNotTakeTheAnswerFromOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &patient{&provider{id: "second", answer: good}, make(chan struct{})}
		b := access.NewBearer([]access.Provider{p}, clock)
		ctx, hangUp := context.WithCancel(t.Context())
		var leaving, staying sync.WaitGroup
		leaving.Go(func() {
			if _, err := b.Authenticate(ctx, carrying("Bearer abc"), orders); !errors.Is(err, access.ErrUnavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("who hung up got %v", err)
			}
		})
		synctest.Wait()
		staying.Go(func() {
			if _, err := b.Authenticate(t.Context(), carrying("Bearer abc"), orders); err != nil {
				t.Errorf("who stayed got %v", err)
			}
		})
		synctest.Wait()
		hangUp()
		leaving.Wait()
		close(p.release)
		staying.Wait()
		if _, asked := p.asked(); asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
}

func TestFloodOfTokensIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := &provider{id: "second", answer: func() (rp.Access, error) { <-release; return good() }}
		b := access.NewBearer([]access.Provider{p}, clock)
		var callers sync.WaitGroup
		for i := range 64 {
			callers.Go(func() {
				if _, err := b.Authenticate(t.Context(), carrying(fmt.Sprintf("Bearer token-%d", i)), orders); err != nil {
					t.Errorf("token %d: %v", i, err)
				}
			})
		}
		synctest.Wait()
		if _, err := b.Authenticate(t.Context(), carrying("Bearer one-more"), orders); !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("one more: %v", err)
		}
		if _, asked := p.asked(); asked != 64 {
			t.Errorf("asked %d times", asked)
		}
		close(release)
		callers.Wait()
		if _, err := b.Authenticate(t.Context(), carrying("Bearer one-more"), orders); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestPanicOfAProviderEndsNoProcess(t *testing.T) {
	t.Parallel()
	p := &provider{id: "second", answer: func() (rp.Access, error) { panic("abc") }}
	b := access.NewBearer([]access.Provider{p}, clock)
	for range 100 { // more often than there are places
		_, err := b.Authenticate(t.Context(), carrying("Bearer abc"), orders)
		if !errors.Is(err, access.ErrUnavailable) || strings.Contains(err.Error(), "abc") || strings.Contains(err.Error(), "too many") {
			t.Fatalf("got %v", err)
		}
	}
}
