package session_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/rp"
	"genkan/internal/session"
)

var dead = session.Owner{0xde, 0xad}

// killed leaves what a replica does that is killed while it asks the provider.
func (f *fleet) killed(t *testing.T, s *session.Session) {
	t.Helper()
	lease, err := f.store.Lease(t.Context(), s.Key(), dead, 4*time.Second)
	if err != nil || !lease.Held || lease.Inherited {
		t.Fatalf("%+v %v", lease, err)
	}
}

func TestASlowProviderIsNotAskedTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3)
		f.rotate(20 * time.Second)
		cookie, _ := f.signIn(t, 0)
		pass(10 * time.Minute)
		var wg sync.WaitGroup
		for i := range f.replicas {
			for n := range 5 {
				wg.Go(func() {
					pass(time.Duration(n) * 4 * time.Second)
					if got, err := f.fresh(t.Context(), i, cookie); err != nil || got != "access-2" {
						t.Errorf("replica %d: %s %v", i, got, err)
					}
				})
			}
		}
		wg.Wait()
		if f.provider.count() != 1 || f.log.lines("GK330") != 0 {
			t.Errorf("%d token requests and %d takeovers, want 1 and 0", f.provider.count(), f.log.lines("GK330"))
		}
	})
}

func TestTheLeaseOfAReplicaThatWasKilledIsInherited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.rotate(300 * time.Millisecond) // and has not rotated for the dead one
		cookie, s := f.signIn(t, 0)
		pass(10 * time.Minute)
		f.killed(t, s)
		began := time.Now()
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				if got, err := f.fresh(t.Context(), n%2, cookie); err != nil || got != "access-2" {
					t.Errorf("%s %v", got, err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took > 7*time.Second {
			t.Errorf("took %v, want at most 7 s", took)
		}
		if f.provider.count() != 1 || f.log.lines("GK330") != 1 || f.log.lines("GK331") != 0 {
			t.Errorf("%d token requests, %d takeovers, %d losses; want 1, 1, 0", f.provider.count(), f.log.lines("GK330"), f.log.lines("GK331"))
		}
	})
}

func TestARefusalOfTheHeirIsCountedAsALoss(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		killed bool
		losses int
	}{
		{"a replica was killed", true, 1},
		{"nobody was", false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				f.refuse()
				cookie, s := f.signIn(t, 0)
				watched := f.mustLoad(t, 1, cookie)
				pass(10 * time.Minute)
				if tt.killed {
					f.killed(t, s)
				}
				if _, err := f.fresh(t.Context(), 0, cookie); !errors.Is(err, session.ErrExpired) {
					t.Errorf("%v, want ErrExpired", err)
				}
				if _, err := f.load(1, cookie); !errors.Is(err, session.ErrNone) {
					t.Errorf("the other replica: %v, want ErrNone", err)
				}
				if e := <-f.replicas[1].Watch(t.Context(), watched); e.Reason != session.Refused {
					t.Errorf("reason %q, want refused", e.Reason)
				}
				if f.log.lines("GK331") != tt.losses || f.provider.count() != 1 {
					t.Errorf("%d losses and %d token requests, want %d and 1", f.log.lines("GK331"), f.provider.count(), tt.losses)
				}
			})
		})
	}
}

func TestTheHeirTakesTokensThatAreStoredLate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		down, stored time.Duration // after the lease was taken: the store comes back, and the tokens
	}{
		{"just after the lease ended", 0, 5 * time.Second},
		{"after an outage of the store", 10 * time.Second, 11 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				f.refuse() // the provider has rotated
				cookie, s := f.signIn(t, 0)
				pass(10 * time.Minute)
				f.mustLoad(t, 0, cookie)
				late := f.renewedElsewhere(t, cookie, s)
				f.killed(t, s)
				time.AfterFunc(tt.stored, func() {
					if _, err := f.store.Save(context.Background(), late); err != nil {
						t.Error(err)
					}
				})
				f.replicas[0].line.cut()
				pass(tt.down)
				f.replicas[0].line.mend()
				if got, err := f.fresh(t.Context(), 0, cookie); err != nil || got != "access-late" {
					t.Errorf("%s %v, want access-late", got, err)
				}
				if f.provider.count() != 0 {
					t.Errorf("%d token requests, want none", f.provider.count())
				}
			})
		})
	}
}

func TestWhileTheTokenLivesOnlyRenewWaitsForAnotherReplica(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.rotate(5 * time.Second)
		cookie, s := f.signIn(t, 0)
		pass(time.Until(s.Grant.Tokens.Expiry) - 20*time.Second)
		go func() { _, _ = f.fresh(t.Context(), 0, cookie) }()
		pass(time.Second)
		began := time.Now()
		if got, err := f.fresh(t.Context(), 1, cookie); err != nil || got != "access-first" || time.Since(began) > 0 {
			t.Errorf("Fresh: %s %v after %v, want the present token at once", got, err, time.Since(began))
		}
		var wg sync.WaitGroup
		wg.Go(func() { // beside a Renew that waits too
			pass(time.Second)
			if got, err := f.fresh(t.Context(), 1, cookie); err != nil || got != "access-first" || time.Since(began) > time.Second {
				t.Errorf("Fresh beside Renew: %s %v after %v, want the present token at once", got, err, time.Since(began))
			}
		})
		got, err := f.replicas[1].Renew(t.Context(), f.mustLoad(t, 1, cookie))
		if err != nil || got.Grant.Tokens.Access.Reveal() != "access-2" {
			t.Errorf("Renew: %v %v, want access-2", got, err)
		}
		wg.Wait()
		if f.provider.count() != 1 {
			t.Errorf("%d token requests, want 1", f.provider.count())
		}
	})
}

// A waiter looks at the row before it waits for a change; what changes between the two
// must not make it wait for the next.
func TestAChangeJustAfterTheLookIsNotMissed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, s := f.signIn(t, 0)
		pass(10 * time.Minute)
		f.mustLoad(t, 0, cookie)
		f.killed(t, s)
		late := f.renewedElsewhere(t, cookie, s)
		f.replicas[0].line.on(func(operation string) error {
			if operation == "lease" && late.Key != (session.Key{}) {
				if _, err := f.store.Save(context.Background(), late); err != nil {
					t.Error(err)
				}
				late = session.Row{}
			}
			return nil
		})
		began := time.Now()
		if got, err := f.fresh(t.Context(), 0, cookie); err != nil || got != "access-late" || time.Since(began) > 50*time.Millisecond {
			t.Errorf("%s %v after %v, want the new tokens at the next look", got, err, time.Since(began))
		}
	})
}

func TestTheLeaseIsGivenBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer func() (rp.Grant, error)
	}{
		{"new tokens", func() (rp.Grant, error) { return grant(time.Now(), "second"), nil }},
		{"a fault", func() (rp.Grant, error) { return rp.Grant{}, &rp.Error{Kind: rp.Fault} }},
		{"a refusal", func() (rp.Grant, error) { return rp.Grant{}, &rp.Error{Kind: rp.Refused} }},
		{"a panic", func() (rp.Grant, error) { panic("kaboom") }},
		{"just when it is prolonged", func() (rp.Grant, error) { pass(1100 * time.Millisecond); return grant(time.Now(), "second"), nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				f.provider.answer = func(rp.Grant) (rp.Grant, error) { return tt.answer() }
				cookie, s := f.signIn(t, 0)
				pass(10 * time.Minute)
				f.mustLoad(t, 0, cookie)
				f.replicas[0].line.Store = &onTheWay{f.store}
				_, _ = f.fresh(t.Context(), 0, cookie)
				pass(time.Second)
				lease, err := f.store.Lease(t.Context(), s.Key(), dead, time.Second)
				if err != nil || !lease.Held || lease.Inherited {
					t.Errorf("the next one gets %+v %v, want a lease that nobody left", lease, err)
				}
			})
		})
	}
}

// What a replica that was killed has begun is in doubt until somebody knows more.
func TestAnHeirGivesTheLeaseBackWhenItKnowsWhatBecameOfTheTokens(t *testing.T) {
	t.Parallel()
	renewed := func() (rp.Grant, error) { return grant(time.Now(), "second"), nil }
	for _, tt := range []struct {
		name    string
		begin   func(t *testing.T, f *fleet, cookie *http.Cookie, s *session.Session)
		answer  func() (rp.Grant, error)
		settled bool
	}{
		{"new tokens", nil, renewed, true},
		{"a refusal", nil, func() (rp.Grant, error) { return rp.Grant{}, &rp.Error{Kind: rp.Refused} }, true},
		{"a fault", nil, func() (rp.Grant, error) { return rp.Grant{}, &rp.Error{Kind: rp.Fault} }, false},
		{"a row that cannot be read", func(_ *testing.T, f *fleet, _ *http.Cookie, _ *session.Session) {
			began := time.Now()
			f.replicas[0].line.on(func(operation string) error {
				if operation == "load" && time.Since(began) > 5*time.Second { // after the lease was inherited
					return errCut
				}
				return nil
			})
		}, renewed, false},
		{"tokens that were stored late", func(t *testing.T, f *fleet, cookie *http.Cookie, s *session.Session) {
			late := f.renewedElsewhere(t, cookie, s)
			time.AfterFunc(5*time.Second, func() { _, _ = f.store.Save(context.Background(), late) })
		}, renewed, true},
		{"the session ended", func(t *testing.T, f *fleet, _ *http.Cookie, s *session.Session) {
			time.AfterFunc(6500*time.Millisecond, func() { _ = f.store.Delete(context.Background(), s.Key(), 0) })
		}, func() (rp.Grant, error) { pass(time.Second); return renewed() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				f.provider.answer = func(rp.Grant) (rp.Grant, error) { return tt.answer() }
				cookie, s := f.signIn(t, 0)
				pass(10 * time.Minute)
				f.mustLoad(t, 0, cookie)
				if tt.begin != nil {
					tt.begin(t, f, cookie, s)
				}
				f.killed(t, s)
				_, _ = f.fresh(t.Context(), 0, cookie)
				pass(time.Second)
				if f.log.lines("GK330") != 1 {
					t.Fatal("nobody has inherited the lease")
				}
				lease, err := f.store.Lease(t.Context(), s.Key(), dead, time.Second)
				if err != nil || lease.Held != tt.settled || lease.Inherited {
					t.Errorf("a second later: %+v %v, want it free: %v", lease, err, tt.settled)
				}
				pass(4 * time.Second)
				lease, err = f.store.Lease(t.Context(), s.Key(), session.Owner{1}, time.Second)
				if err != nil || !lease.Held || !lease.Inherited {
					t.Errorf("when it has ended: %+v %v, want to inherit", lease, err)
				}
			})
		})
	}
}

// Between its lease and the question to the provider a replica hears nothing from the
// store: another one may have asked by then.
func TestNobodyAsksTheProviderAfterItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.rotate(0)
		cookie, s := f.signIn(t, 0)
		pass(10 * time.Minute)
		f.mustLoad(t, 0, cookie)
		var leased atomic.Bool
		f.replicas[0].line.on(func(operation string) error {
			switch {
			case operation == "lease" && leased.Swap(true):
				return errCut
			case operation == "load" && leased.Load():
				pass(5 * time.Second)
			}
			return nil
		})
		if _, err := f.replicas[0].Fresh(t.Context(), s); !errors.Is(err, session.ErrProvider) || f.provider.count() != 0 {
			t.Errorf("%v and %d token requests, want ErrProvider and none", err, f.provider.count())
		}
		pass(10 * time.Second)
	})
}

// onTheWay is a store to which a request for a lease or a delete takes time, and arrives
// although the caller has given up.
type onTheWay struct{ session.Store }

func (s *onTheWay) Lease(ctx context.Context, key session.Key, owner session.Owner, ttl time.Duration) (lease session.Lease, err error) {
	err = arrive(ctx, func(ctx context.Context) (err error) { lease, err = s.Store.Lease(ctx, key, owner, ttl); return err })
	return lease, err
}

func (s *onTheWay) Delete(ctx context.Context, key session.Key, version uint64) error {
	return arrive(ctx, func(ctx context.Context) error { return s.Store.Delete(ctx, key, version) })
}

func arrive(ctx context.Context, operation func(context.Context) error) error {
	answered := make(chan error, 1)
	go func() {
		pass(300 * time.Millisecond)
		answered <- operation(context.WithoutCancel(ctx))
	}()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestNobodyWaitsForEverForAnotherReplica(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, s := f.signIn(t, 0)
		pass(10 * time.Minute)
		f.mustLoad(t, 0, cookie)
		go func() {
			for range 40 {
				_, _ = f.store.Lease(t.Context(), s.Key(), dead, 4*time.Second)
				pass(time.Second)
			}
		}()
		synctest.Wait()
		began := time.Now()
		if _, err := f.fresh(t.Context(), 0, cookie); !errors.Is(err, session.ErrProvider) || time.Since(began) > 31*time.Second {
			t.Errorf("%v after %v, want ErrProvider after 30 s", err, time.Since(began))
		}
		f.mustLoad(t, 0, cookie)
		pass(10 * time.Second)
	})
}
