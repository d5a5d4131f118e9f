package session_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/rp"
	"genkan/internal/session"
)

func TestAProviderThatFailedIsLeftAloneForFiveSeconds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"503", &rp.Error{Kind: rp.Fault, Status: 503}},
		{"our client is refused", &rp.Error{Kind: rp.Misconfigured, Code: "invalid_client"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				f.provider.answer = func(rp.Grant) (rp.Grant, error) { return rp.Grant{}, tt.err }
				cookie, s := f.signIn(t, 0)
				other, _ := f.signIn(t, 0, as("subject-bob"))
				pass(time.Until(s.Grant.Tokens.Expiry))
				for range 50 { // 4.9 seconds
					if _, err := f.fresh(t.Context(), 0, cookie); !errors.Is(err, session.ErrProvider) || !errors.Is(err, tt.err) {
						t.Fatalf("%v, want ErrProvider with its cause", err)
					}
					pass(98 * time.Millisecond)
				}
				if got := f.provider.count(); got != 1 {
					t.Errorf("%d token requests in five seconds, want 1", got)
				}
				_, _ = f.fresh(t.Context(), 0, other)
				if got := f.provider.count(); got != 2 {
					t.Errorf("another session made %d token requests, want 1", got-1)
				}
				f.provider.answer = func(rp.Grant) (rp.Grant, error) { return grant(time.Now(), "second"), nil }
				pass(200 * time.Millisecond)
				if got, err := f.fresh(t.Context(), 0, cookie); err != nil || got != "access-second" || f.provider.count() != 3 {
					t.Errorf("then: %s %v with %d token requests, want access-second with one more", got, err, f.provider.count()-2)
				}
			})
		})
	}
}

func TestWhileTheTokenLivesABrakeCostsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.provider.answer = func(rp.Grant) (rp.Grant, error) { return rp.Grant{}, &rp.Error{Kind: rp.Fault, Status: 503} }
		cookie, s := f.signIn(t, 0)
		pass(time.Until(s.Grant.Tokens.Expiry) - 4*time.Second)
		for range 10 {
			if got, err := f.fresh(t.Context(), 0, cookie); err != nil || got != "access-first" {
				t.Errorf("%s %v, want the present token", got, err)
			}
		}
		if got := f.provider.count(); got != 1 {
			t.Errorf("%d token requests, want 1", got)
		}
		pass(4 * time.Second)
		if _, err := f.fresh(t.Context(), 0, cookie); !errors.Is(err, session.ErrProvider) {
			t.Errorf("after its life: %v, want ErrProvider", err)
		}
	})
}
