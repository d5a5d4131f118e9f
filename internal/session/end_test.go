package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/session"
)

func TestTerminateEndsTheSessionEverywhereAndGivesItsLastTokensBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.rotate(0)
		cookie, old := f.signIn(t, 0)
		for range 5 { // the refresh token is another one than old has
			if _, err := f.replicas[1].Renew(t.Context(), f.mustLoad(t, 1, cookie)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.replicas[0].Terminate(t.Context(), []*session.Session{old}, session.Revoked); err != nil {
			t.Fatal(err)
		}
		for i := range f.replicas {
			if _, err := f.load(i, cookie); !errors.Is(err, session.ErrNone) {
				t.Errorf("replica %d: %v, want ErrNone", i, err)
			}
		}
		synctest.Wait()
		if got := f.provider.gaveBack(); !slices.Equal(got, []string{"refresh_token refresh-6"}) {
			t.Errorf("revoked %v, want the last refresh token", got)
		}
	})
}

func TestSigningOutKnowsTheLastTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.rotate(0)
		cookie, _ := f.signIn(t, 0)
		r := f.request(cookie)
		live, err := f.replicas[0].Load(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.replicas[1].Renew(t.Context(), f.mustLoad(t, 1, cookie)); err != nil {
			t.Fatal(err)
		}
		if err := f.replicas[0].End(httptest.NewRecorder(), r, session.SignedOut); err != nil {
			t.Fatal(err)
		}
		if got := live.Grant.Tokens.Refresh.Reveal(); got != "refresh-2" {
			t.Errorf("%s would be revoked, want refresh-2", got)
		}
	})
}

// The keys are being rotated, and this replica has not read the new one yet.
func TestASessionThatIsSealedWithAKeyFromElsewhereEndsTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rings := [][]string{{keyA}, {keyB, keyA}}
		f := newFleet(t, 2, func(i int, c *session.Config) { c.Ring = ring(t, rings[i]...) })
		f.rotate(0)
		cookie, s := f.signIn(t, 0)
		if _, err := f.replicas[1].Renew(t.Context(), f.mustLoad(t, 1, cookie)); err != nil {
			t.Fatal(err)
		}
		if ended, err := f.replicas[0].Terminate(t.Context(), []*session.Session{s}, session.Revoked); err != nil || len(ended) != 1 {
			t.Fatalf("%d ended, %v", len(ended), err)
		}
		if _, err := f.load(1, cookie); !errors.Is(err, session.ErrNone) {
			t.Errorf("%v, want ErrNone", err)
		}
		synctest.Wait()
	})
}

// A fault at one session does not cut off the end of another that is under way.
func TestAnEndThatIsUnderWayWhenAnotherFailsCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		var list []*session.Session
		for range 8 { // as many as end side by side
			_, s := f.signIn(t, 0)
			list = append(list, s)
		}
		f.replicas[0].line.Store = &onTheWay{f.store}
		var tries atomic.Int32
		f.replicas[0].line.on(func(operation string) error {
			if operation != "delete" {
				return nil
			}
			if n := tries.Add(1); n > 1 && n <= 8 {
				return nil
			}
			pass(100 * time.Millisecond) // the others' deletes are on their way
			return errCut
		})
		ended, err := f.replicas[0].Terminate(t.Context(), list, session.Revoked)
		if !errors.Is(err, session.ErrStore) || len(ended) != 7 {
			t.Errorf("%d ended (%v), want 7 and ErrStore", len(ended), err)
		}
		if left, err := f.replicas[0].All(t.Context(), 100); err != nil || len(left) != 1 {
			t.Errorf("%d are left (%v), want 1", len(left), err)
		}
		synctest.Wait()
	})
}

func TestTerminateTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		cookie, s := f.signIn(t, 0)
		again := f.mustLoad(t, 1, cookie)
		for i, one := range []*session.Session{s, again} {
			if _, err := f.replicas[i].Terminate(t.Context(), []*session.Session{one}, session.Revoked); err != nil {
				t.Errorf("replica %d: %v", i, err)
			}
		}
		synctest.Wait()
	})
}

func TestTerminateWithAStoreThatIsDownEndsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, s := f.signIn(t, 0)
		f.replicas[0].line.cut()
		if _, err := f.replicas[0].Terminate(t.Context(), []*session.Session{s}, session.Revoked); !errors.Is(err, session.ErrStore) {
			t.Errorf("%v, want ErrStore", err)
		}
		f.replicas[0].line.mend()
		pass(time.Second)
		f.mustLoad(t, 0, cookie)
		if got := f.provider.gaveBack(); len(got) != 0 {
			t.Errorf("tokens of a session that lives were revoked: %v", got)
		}
	})
}

func TestAHangUpDoesNotKeepTheTokensFromBeingRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		var ended error
		f.provider.revoke = func(ctx context.Context) error { pass(time.Second); ended = ctx.Err(); return nil }
		_, s := f.signIn(t, 0)
		ctx, hangUp := context.WithCancel(t.Context())
		began := time.Now()
		if _, err := f.replicas[0].Terminate(ctx, []*session.Session{s}, session.Revoked); err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %v, want no wait for the provider", err, time.Since(began))
		}
		hangUp()
		if err := f.replicas[0].Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began).Truncate(100 * time.Millisecond); ended != nil || took != time.Second {
			t.Errorf("%v after %v, want a revocation that was waited for", ended, took)
		}
	})
}

func TestRevocationsAreBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		takes  time.Duration // the provider, for one
		begun  int           // of a hundred, in four rounds of 32
		answer time.Duration // when the last one is over
	}{
		{"a provider that answers", time.Second, 100, 4 * time.Second},
		{"a slow provider", 3 * time.Second, 100, 12 * time.Second},
		{"a provider that does not answer", time.Hour, 32, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				var under gauge
				f.provider.revoke = func(ctx context.Context) error {
					defer under.enter()()
					select {
					case <-ctx.Done():
						pass(time.Millisecond) // so that nobody takes the place at the instant in which the wait for it ends
						return ctx.Err()
					case <-time.After(tt.takes):
						return nil
					}
				}
				for range 100 {
					f.signIn(t, 0)
				}
				list, err := f.replicas[0].All(t.Context(), 100)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				ended, err := f.replicas[0].Terminate(t.Context(), list, session.Revoked)
				if took := time.Since(began); err != nil || len(ended) != 100 || took > 0 {
					t.Errorf("%d ended, %v, after %v; want all at once", len(ended), err, took)
				}
				if left, err := f.replicas[0].All(t.Context(), 100); err != nil || len(left) != 0 {
					t.Errorf("%d are left (%v)", len(left), err)
				}
				if err := f.replicas[0].Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
				if under.peak() != 32 || len(f.provider.gaveBack()) != tt.begun || (f.log.lines("tokens not revoked: the provider does not answer") == 0) != (tt.begun == 100) {
					t.Errorf("%d at once, %d begun, given up %d times; want 32, %d, and once for the rest", under.peak(), len(f.provider.gaveBack()), f.log.lines("tokens not revoked: the"), tt.begun)
				}
				if took := time.Since(began).Truncate(100 * time.Millisecond); took != tt.answer {
					t.Errorf("over after %v, want %v", took, tt.answer)
				}
			})
		})
	}
}

func TestWhatHasEndedIsToldWhenTheStoreFailsInBetween(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		for range 30 {
			f.signIn(t, 0)
		}
		list, err := f.replicas[0].All(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		var deleted atomic.Int32
		f.replicas[0].line.on(func(operation string) error {
			if operation == "delete" && deleted.Add(1) > 10 {
				return errCut
			}
			return nil
		})
		ended, err := f.replicas[0].Terminate(t.Context(), list, session.Revoked)
		if !errors.Is(err, session.ErrStore) || len(ended) != 10 {
			t.Errorf("%d ended (%v), want 10 and ErrStore", len(ended), err)
		}
		if left, err := f.replicas[1].All(t.Context(), 100); err != nil || len(left) != 20 {
			t.Errorf("%d live on (%v), want 20", len(left), err)
		}
		synctest.Wait()
		if got := len(f.provider.gaveBack()); got != 10 {
			t.Errorf("%d refresh tokens were given back, want those of the 10", got)
		}
		f.replicas[0].line.mend()
		pass(time.Second)
	})
}

// What Store.Lag says: other replicas may take the session for alive for so long.
func TestEndingReturnsWhenEveryReplicaKnows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func(ctx context.Context, f *fleet, r *http.Request, s *session.Session) error
	}{
		{"Terminate", func(ctx context.Context, f *fleet, _ *http.Request, s *session.Session) error {
			_, err := f.replicas[0].Terminate(ctx, []*session.Session{s}, session.Revoked)
			return err
		}},
		{"End", func(ctx context.Context, f *fleet, r *http.Request, _ *session.Session) error {
			return f.replicas[0].End(httptest.NewRecorder(), r.WithContext(siteContext{ctx, r.Context()}), session.SignedOut)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				f.replicas[0].line.lag = 2 * time.Second
				for patience, want := range map[time.Duration]time.Duration{time.Hour: 2 * time.Second, time.Second: time.Second} {
					cookie, s := f.signIn(t, 0)
					ctx, hangUp := context.WithTimeout(t.Context(), patience)
					began := time.Now()
					if err := tt.end(ctx, f, f.request(cookie), s); err != nil || time.Since(began) != want {
						t.Errorf("%v after %v, want it after %v", err, time.Since(began), want)
					}
					hangUp()
					if _, err := f.load(0, cookie); !errors.Is(err, session.ErrNone) {
						t.Errorf("%v, want ErrNone", err)
					}
				}
			})
		})
	}
}

func TestWhoHangsUpAtTheEndStillGivesTheTokensBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.replicas[0].line.lag = 2 * time.Second
		for range 20 {
			f.signIn(t, 0)
		}
		list, err := f.replicas[0].All(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		ctx, hangUp := context.WithTimeout(t.Context(), time.Second)
		defer hangUp()
		if _, err := f.replicas[0].Terminate(ctx, list, session.Revoked); err != nil {
			t.Fatal(err)
		}
		if err := f.replicas[0].Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := len(f.provider.gaveBack()); got != 20 {
			t.Errorf("%d refresh tokens were given back, want 20", got)
		}
	})
}

func TestTheOldestSessionsAboveTheLimitEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		had, limit int
		behind     time.Duration // the clock of the replica that signs in
		left       []int         // of those it had
	}{
		{"below", 1, 2, 0, []int{0}},
		{"one over", 2, 2, 0, []int{1}},
		{"three over", 5, 3, 0, []int{3, 4}},
		{"only the new one", 3, 1, 0, nil},
		{"no limit", 5, 0, 0, []int{0, 1, 2, 3, 4}},
		{"a clock that is behind", 3, 2, time.Minute, []int{2}},
		{"only the new one, by a clock that is behind", 2, 1, time.Minute, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2, func(i int, c *session.Config) {
					if i == 1 {
						c.MaxPerUser = tt.limit
						c.Now = func() time.Time { return time.Now().Add(-tt.behind) }
					}
				})
				_, bob := f.signIn(t, 0, as("subject-bob"))
				_, elsewhere := f.signIn(t, 0, at("other"))
				var had []*session.Session
				for range tt.had {
					_, s := f.signIn(t, 0)
					had = append(had, s)
					pass(time.Second)
				}
				_, fresh := f.signIn(t, 1)
				want := []string{fresh.ID, bob.ID, elsewhere.ID}
				for _, i := range tt.left {
					want = append(want, had[i].ID)
				}
				left, err := f.replicas[0].All(t.Context(), 100)
				if got := ids(left); err != nil || !slices.Equal(sorted(got), sorted(want)) {
					t.Errorf("%d sessions are left (%v), want %d: %v, want %v", len(got), err, len(want), got, want)
				}
				synctest.Wait()
				if got := len(f.provider.gaveBack()); got != tt.had-len(tt.left) {
					t.Errorf("%d refresh tokens were given back, want %d", got, tt.had-len(tt.left))
				}
				if got := f.log.lines("reason=limit"); got != tt.had-len(tt.left) {
					t.Errorf("%d lines in the log, want %d", got, tt.had-len(tt.left))
				}
			})
		})
	}
}

func TestTheLimitHoldsForSignInsOfOneInstant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, func(_ int, c *session.Config) { c.MaxPerUser = 2 })
		for range 20 {
			cookie, _ := f.signIn(t, 0)
			f.mustLoad(t, 0, cookie)
		}
		if left, err := f.replicas[0].All(t.Context(), 100); err != nil || len(left) != 2 {
			t.Errorf("%d sessions are left (%v), want 2", len(left), err)
		}
		synctest.Wait()
	})
}

func TestTheLimitHoldsForSignInsAtOnceOnManyReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, func(_ int, c *session.Config) { c.MaxPerUser = 1 })
		for _, r := range f.replicas {
			r.line.on(func(string) error { pass(time.Millisecond); return nil }) // so that they meet
		}
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				in := session.SignIn{Provider: "idp", Grant: grant(time.Now(), "first")}
				if _, err := f.replicas[i%3].Start(httptest.NewRecorder(), f.request(), in); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if left, err := f.replicas[0].All(t.Context(), 100); err != nil || len(left) != 1 {
			t.Errorf("%d sessions are left (%v), want 1", len(left), err)
		}
		synctest.Wait()
	})
}

func TestWhoHangsUpWhileTheOthersAreCountedKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, func(_ int, c *session.Config) { c.MaxPerUser = 1 })
		f.signIn(t, 0)
		ctx, hangUp := context.WithCancel(t.Context())
		f.replicas[0].line.on(func(operation string) error {
			if operation == "find" {
				hangUp()
			}
			return nil
		})
		r := f.request()
		in := session.SignIn{Provider: "idp", Grant: grant(time.Now(), "first")}
		_, _ = f.replicas[0].Start(httptest.NewRecorder(), r.WithContext(siteContext{ctx, r.Context()}), in)
		if ctx.Err() == nil {
			t.Fatal("the others were not counted")
		}
		began := time.Now()
		f.signIn(t, 1)
		if took := time.Since(began); took > 0 {
			t.Errorf("the next sign-in took %v", took)
		}
		synctest.Wait()
	})
}

func TestASignInSucceedsAlthoughTheOthersCannotBeCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, func(_ int, c *session.Config) { c.MaxPerUser = 1 })
		f.signIn(t, 0)
		f.replicas[0].line.on(func(operation string) error {
			if operation == "find" {
				return errCut
			}
			return nil
		})
		f.signIn(t, 0)
		f.replicas[0].line.mend()
		f.signIn(t, 0)
		if left, err := f.replicas[0].All(t.Context(), 100); err != nil || len(left) != 1 {
			t.Errorf("%d sessions are left after the next sign-in (%v), want 1", len(left), err)
		}
		synctest.Wait()
	})
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}
