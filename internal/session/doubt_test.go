package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/rp"
	"genkan/internal/session"
)

// A full Redis with noeviction: writes fail, reads and deletes work.
func TestAStoreThatTakesNoWritesIsStillReadAndEmptied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, s := f.signIn(t, 0)
		f.replicas[0].line.distrust(true)
		f.replicas[0].line.on(func(op string) error {
			if op == "save" || op == "ping" {
				return errCut
			}
			return nil
		})
		_, _ = f.replicas[0].Once(t.Context(), "x", time.Minute)
		pass(time.Minute)
		if _, err := f.load(0, cookie); err != nil {
			t.Errorf("reading a session: %v", err)
		}
		if _, err := f.replicas[0].Terminate(t.Context(), []*session.Session{s}, session.Revoked); err != nil {
			t.Errorf("ending one, which would free memory: %v", err)
		}
		f.replicas[0].line.mend()
		pass(time.Second)
	})
}

// Its user signs in again in the same browser while its tokens are renewed.
func TestTokensOfAReplacedSessionAreNotRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.rotate(300 * time.Millisecond)
		cookie, _ := f.signIn(t, 0)
		pass(10 * time.Minute)
		go func() { _, _ = f.fresh(t.Context(), 0, cookie) }()
		pass(100 * time.Millisecond)
		if _, err := f.replicas[0].Start(httptest.NewRecorder(), f.request(cookie), session.SignIn{Provider: "idp", Grant: grant(time.Now(), "again")}); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if got := f.provider.gaveBack(); len(got) != 0 {
			t.Errorf("revoked %v, though Start says that would take the new sign-in's tokens along", got)
		}
	})
}

// The provider rotated, its answer was lost on the network, then it was down, and the next
// try is refused.
func TestARefusalAfterALostAnswerCountsAsLostTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, _ := f.signIn(t, 0)
		pass(10 * time.Minute)
		f.provider.answer = lostThenRefused()
		for range 2 {
			_, _ = f.fresh(t.Context(), 0, cookie)
			pass(6 * time.Second)
		}
		if _, err := f.fresh(t.Context(), 0, cookie); !errors.Is(err, session.ErrExpired) {
			t.Fatal(err)
		}
		if f.log.lines("GK331") != 1 {
			t.Errorf("%d losses counted, want 1", f.log.lines("GK331"))
		}
	})
}

func TestEveryTokenOfManySessionsIsRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.provider.revoke = func(context.Context) error { pass(300 * time.Millisecond); return nil }
		var list []*session.Session
		for range 1000 {
			_, s := f.signIn(t, 0)
			list = append(list, s)
		}
		if _, err := f.replicas[0].Terminate(t.Context(), list, session.Revoked); err != nil {
			t.Fatal(err)
		}
		_ = f.replicas[0].Drain(t.Context())
		if got := len(f.provider.gaveBack()); got != 1000 {
			t.Errorf("%d of 1000 refresh tokens revoked at a healthy provider with 300 ms", got)
		}
	})
}

func TestDrainKnowsARefreshWhoseCallerHasNotNoticedTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.rotate(3 * time.Second)
		cookie, _ := f.signIn(t, 0)
		pass(10 * time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = f.fresh(ctx, 0, cookie) }()
		synctest.Wait()
		cancel() // http.Server.Close cancels the handler's context
		began := time.Now()
		err := f.replicas[0].Drain(t.Context())
		if took := time.Since(began); took < 2*time.Second {
			t.Errorf("drained (%v) after %v while a refresh is under way", err, took)
		}
		pass(5 * time.Second)
	})
}

func TestABrakeHoldsThoughManySessionsHaveOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.provider.answer = func(rp.Grant) (rp.Grant, error) { return rp.Grant{}, &rp.Error{Kind: rp.Fault, Status: 503} }
		var cookies []*http.Cookie
		for range 10_001 {
			c, _ := f.signIn(t, 0)
			cookies = append(cookies, c)
		}
		pass(10 * time.Minute)
		for _, c := range cookies {
			if _, err := f.fresh(t.Context(), 0, c); !errors.Is(err, session.ErrProvider) {
				t.Fatal(err)
			}
		}
		pass(10 * time.Second) // every brake is over
		before := f.provider.count()
		for range 20 {
			_, _ = f.fresh(t.Context(), 0, cookies[0])
		}
		if got := f.provider.count() - before; got != 1 {
			t.Errorf("%d token requests at one instant for one session, want 1", got)
		}
		if got := session.Braked(f.replicas[0].Manager); got != 10_000 {
			t.Errorf("it is remembered of %d sessions, want at most 10000", got)
		}
		pass(6 * time.Minute)
		sweep(t, f)
		if got := session.Braked(f.replicas[0].Manager); got != 0 {
			t.Errorf("after its time it is remembered of %d sessions", got)
		}
	})
}

// A replica that cannot reach the store loses its lease. Its own request comes to the
// provider late, and is refused because the heir has rotated.
func TestARefusalWithoutTheLeaseEndsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		cookie, _ := f.signIn(t, 0)
		pass(10 * time.Minute)
		var mu sync.Mutex
		n := 0
		f.provider.answer = func(prev rp.Grant) (rp.Grant, error) {
			mu.Lock()
			n++
			me := n
			mu.Unlock()
			if me == 1 { // the first replica's request is slow on its way; the second's comes first and rotates
				pass(8 * time.Second)
				return rp.Grant{}, &rp.Error{Kind: rp.Refused, Code: "invalid_grant"}
			}
			pass(3 * time.Second) // the answer with the good tokens
			return grant(time.Now(), "good"), nil
		}
		// replica 0 cannot reach the store while it waits
		done := make(chan error, 1)
		go func() { _, err := f.fresh(t.Context(), 0, cookie); done <- err }()
		pass(10 * time.Millisecond)
		f.replicas[0].line.cut()
		go func() { pass(7 * time.Second); f.replicas[0].line.mend() }()
		pass(time.Second)
		got, err := f.fresh(t.Context(), 1, cookie)
		t.Logf("replica 1: %s %v; replica 0: %v", got, err, <-done)
		if _, err := f.load(1, cookie); err != nil {
			t.Errorf("the session is gone although replica 1 had good tokens: %v", err)
		}
		pass(10 * time.Second)
	})
}

func lostThenRefused() func(rp.Grant) (rp.Grant, error) {
	n := 0
	return func(rp.Grant) (rp.Grant, error) {
		switch n++; n {
		case 1:
			return rp.Grant{}, &rp.Error{Kind: rp.Fault} // no answer came
		case 2:
			return rp.Grant{}, &rp.Error{Kind: rp.Fault, Status: 503}
		}
		return rp.Grant{}, &rp.Error{Kind: rp.Refused, Code: "invalid_grant"}
	}
}
