package session_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/rp"
	"genkan/internal/session"
)

// A replica that did not keep to the lease, say because it was stopped for a while, was
// faster: its tokens are in the row.
func TestTheTokensInTheRowCountWhenSomebodyWasFaster(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer func() (rp.Grant, error)
	}{
		{"we got other tokens", func() (rp.Grant, error) { return grant(time.Now(), "ours"), nil }},
		{"we were refused", func() (rp.Grant, error) { return rp.Grant{}, &rp.Error{Kind: rp.Refused, Code: "invalid_grant"} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				cookie, s := f.signIn(t, 0)
				pass(10 * time.Minute)
				theirs := f.renewedElsewhere(t, cookie, s)
				f.provider.answer = func(rp.Grant) (rp.Grant, error) {
					if _, err := f.store.Save(t.Context(), theirs); err != nil {
						t.Error(err)
					}
					return tt.answer()
				}
				if got, err := f.fresh(t.Context(), 0, cookie); err != nil || got != "access-late" {
					t.Errorf("%s %v, want the tokens that were stored first", got, err)
				}
				s = f.mustLoad(t, 0, cookie)
				if got := s.Grant.Tokens.Refresh.Reveal(); got != "refresh-late" {
					t.Errorf("the row holds %s", got)
				}
				events := f.replicas[0].Watch(t.Context(), s)
				if err := f.store.Delete(t.Context(), s.Key(), 0); err != nil {
					t.Fatal(err)
				}
				if e := <-events; e.Reason != session.Ended {
					t.Errorf("the end that came later has the reason %q, want %q", e.Reason, session.Ended)
				}
			})
		})
	}
}

func TestThreeReplicasAndTwoHundredRequestsEachMakeOneTokenRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3)
		f.rotate(300 * time.Millisecond)
		cookie, s := f.signIn(t, 0)
		for i := range f.replicas {
			f.mustLoad(t, i, cookie)
		}
		pass(time.Until(s.Grant.Tokens.Expiry))
		var fresh atomic.Int32
		var wg sync.WaitGroup
		began := time.Now()
		for n := range 600 {
			wg.Go(func() {
				if got, err := f.fresh(t.Context(), n%3, cookie); err != nil || got != "access-2" {
					t.Errorf("%s %v", got, err)
					return
				}
				fresh.Add(1)
			})
		}
		wg.Wait()
		if fresh.Load() != 600 || f.provider.count() != 1 {
			t.Errorf("%d requests got the new token with %d token requests, want 600 with 1", fresh.Load(), f.provider.count())
		}
		if took := time.Since(began); took > 400*time.Millisecond {
			t.Errorf("the slowest took %v, want little more than the provider's 300 ms", took)
		}
		for i := range f.replicas {
			if got := f.mustLoad(t, i, cookie).Grant.Tokens.Refresh.Reveal(); got != "refresh-2" {
				t.Errorf("replica %d then holds %s", i, got)
			}
		}
	})
}

func TestAClientThatHangsUpLosesNoRotatedToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.rotate(time.Second)
		cookie, _ := f.signIn(t, 0)
		pass(10 * time.Minute)
		ctx, hangUp := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer hangUp()
		if _, err := f.fresh(ctx, 0, cookie); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the caller's own end", err)
		}
		if got, err := f.fresh(t.Context(), 1, cookie); err != nil || got != "access-2" || f.provider.count() != 1 {
			t.Errorf("the other replica: %s %v with %d token requests, want access-2 with 1", got, err, f.provider.count())
		}
	})
}

// Renew must not be answered by a refresh that was content with less.
func TestRenewIsNotAnsweredByWhatOthersWereContentWith(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		cookie, s := f.signIn(t, 0)
		n := atomic.Int32{}
		f.provider.answer = func(rp.Grant) (rp.Grant, error) {
			pass(time.Second)
			return grant(time.Now(), []string{"", "second", "third"}[n.Add(1)]), nil
		}
		old := f.mustLoad(t, 0, cookie)
		if _, err := f.replicas[0].Renew(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		now := f.mustLoad(t, 0, cookie)
		f.replicas[0].line.on(func(string) error { pass(100 * time.Millisecond); return nil })
		var wg sync.WaitGroup
		for from, want := range map[*session.Session]string{old: "access-second", now: "access-third"} {
			wg.Go(func() {
				got, err := f.replicas[0].Renew(t.Context(), from)
				if err != nil || got.Grant.Tokens.Access.Reveal() != want {
					t.Errorf("%v %v, want %s", got, err, want)
				}
			})
		}
		wg.Wait()
		if f.provider.count() != 2 {
			t.Errorf("%d token requests, want 2", f.provider.count())
		}
	})
}

func TestNewTokensWaitForAStoreThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.rotate(300 * time.Millisecond)
		cookie, _ := f.signIn(t, 0)
		pass(10 * time.Minute)
		began := time.Now()
		done := make(chan error, 1)
		go func() { _, err := f.fresh(t.Context(), 0, cookie); done <- err }()
		pass(100 * time.Millisecond)
		for _, r := range f.replicas {
			r.line.cut()
		}
		if _, err := f.fresh(t.Context(), 1, cookie); !errors.Is(err, session.ErrStore) {
			t.Errorf("meanwhile at the other replica: %v, want ErrStore", err)
		}
		pass(30*time.Second - time.Since(began))
		for _, r := range f.replicas {
			r.line.mend()
		}
		mended := time.Now()
		for i := range f.replicas { // also by who comes the moment the store is back
			got, err := f.fresh(t.Context(), i, cookie)
			for errors.Is(err, session.ErrStore) && time.Since(mended) < 2*time.Second { // until the replica has noticed
				got, err = f.fresh(t.Context(), i, cookie)
			}
			if err != nil || got != "access-2" {
				t.Errorf("replica %d: %s %v, want access-2", i, got, err)
			}
		}
		if err := <-done; err != nil && !errors.Is(err, session.ErrProvider) {
			t.Errorf("who waited all the time: %v", err)
		}
		if f.provider.count() != 1 || f.log.lines("GK331") != 0 {
			t.Errorf("%d token requests and %d losses, want 1 and 0", f.provider.count(), f.log.lines("GK331"))
		}
	})
}

func TestTokensThatAreNeverStoredAreReportedAsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.rotate(0)
		cookie, _ := f.signIn(t, 0)
		pass(10 * time.Minute)
		f.replicas[0].line.on(func(operation string) error {
			if operation == "save" {
				return errCut
			}
			return nil
		})
		_, err := f.fresh(t.Context(), 0, cookie)
		if err == nil || errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrExpired) {
			t.Errorf("%v, want an error that signs nobody out", err)
		}
		if err := f.replicas[0].Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if f.log.lines("GK331") != 1 || f.log.lines("refresh-2") != 0 {
			t.Errorf("%d losses and %d tokens logged, want 1 and 0", f.log.lines("GK331"), f.log.lines("refresh-2"))
		}
		f.replicas[0].line.mend()
		pass(time.Second)
		if _, err := f.fresh(t.Context(), 0, cookie); !errors.Is(err, session.ErrProvider) || f.provider.count() != 1 {
			t.Errorf("at once: %v and %d token requests, want ErrProvider and no second one", err, f.provider.count())
		}
		pass(5 * time.Second)
		if _, err := f.fresh(t.Context(), 0, cookie); !errors.Is(err, session.ErrExpired) || f.log.lines("GK331") != 2 {
			t.Errorf("later: %v and %d losses, want the refusal of a token that was rotated, as a loss", err, f.log.lines("GK331"))
		}
	})
}

func TestASessionEndedElsewhereWhileItsTokensAreRenewedStaysEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.rotate(time.Second)
		cookie, s := f.signIn(t, 0)
		pass(10 * time.Minute)
		time.AfterFunc(500*time.Millisecond, func() {
			if _, err := f.replicas[1].Terminate(context.Background(), []*session.Session{s}, session.Revoked); err != nil {
				t.Error(err)
			}
		})
		if _, err := f.fresh(t.Context(), 0, cookie); !errors.Is(err, session.ErrNone) {
			t.Errorf("%v, want ErrNone", err)
		}
		if _, err := f.load(0, cookie); !errors.Is(err, session.ErrNone) {
			t.Errorf("afterwards: %v, want ErrNone", err)
		}
		want := []string{"refresh_token refresh-first", "refresh_token refresh-2"}
		if got := f.provider.gaveBack(); !slices.Equal(got, want) {
			t.Errorf("revoked %v, want %v", got, want)
		}
		if f.log.lines("GK331") != 0 {
			t.Error("tokens that nobody may use were reported as lost")
		}
	})
}
