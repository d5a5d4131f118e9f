package session_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/session"
)

func TestActivityOfManyPeopleIsOneWriteASecondLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		var cookies []*http.Cookie
		var started time.Time
		for range 30 {
			cookie, s := f.signIn(t, 0)
			cookies, started = append(cookies, cookie), s.Created
		}
		pass(10 * time.Minute)
		for _, cookie := range cookies {
			s := f.replicas[0].Active(f.mustLoad(t, 0, cookie))
			if age := s.Idle.Sub(started); age != 70*time.Minute {
				t.Fatalf("idle after %v, want 70 min at once for who was active", age)
			}
		}
		if got := f.replicas[0].line.count("touch"); got != 0 {
			t.Errorf("%d writes at once", got)
		}
		list, err := f.replicas[0].OfUser(t.Context(), "idp", "subject-alice")
		if err != nil || len(list) != 30 || list[0].Seen().Sub(started) != 10*time.Minute {
			t.Errorf("a list of %d: seen after %v, %v", len(list), list[0].Seen().Sub(started), err)
		}
		pass(1100 * time.Millisecond)
		if got := f.replicas[0].line.count("touch"); got != 1 {
			t.Errorf("%d writes for 30 people, want 1", got)
		}
		for _, cookie := range cookies {
			if s := f.mustLoad(t, 1, cookie); s.Seen().Sub(started) != 10*time.Minute {
				t.Fatalf("elsewhere: seen after %v", s.Seen().Sub(started))
			}
		}
	})
}

func TestActivityThatWaitsIsWrittenAtAStop(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, _ := b.signIn(t)
	b.pass(10 * time.Minute)
	s, err := b.Load(b.request(cookie))
	if err != nil {
		t.Fatal(err)
	}
	b.Active(s)
	if err := b.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	row, err := b.store.Load(t.Context(), s.Key())
	if err != nil || !row.Seen.Equal(b.clock()) {
		t.Errorf("seen %v, want %v; %v", row.Seen, b.clock(), err)
	}
}

func TestAStoreThatFailsCostsOnlyTheExtension(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, _ := b.signIn(t)
	b.pass(10 * time.Minute)
	s, err := b.Load(b.request(cookie))
	if err != nil {
		t.Fatal(err)
	}
	b.Active(s)
	b.store.fail(errors.New("disk on fire"))
	b.written(t)
	b.store.fail(nil)
	b.pass(time.Minute)
	if s, err = b.Load(b.request(cookie)); err != nil {
		t.Fatal(err)
	}
	b.Active(s) // the next one is written again
	b.written(t)
	row, err := b.store.Load(t.Context(), s.Key())
	if err != nil || !row.Seen.Equal(b.clock()) {
		t.Errorf("seen %v, want %v; %v", row.Seen, b.clock(), err)
	}
}

func TestActivityDoesNotBringAnEndedSessionBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, s := b.signIn(t)
	b.pass(10 * time.Minute)
	b.Active(s)
	if _, err := b.Terminate(t.Context(), []*session.Session{s}, session.Revoked); err != nil {
		t.Fatal(err)
	}
	b.written(t)
	if _, err := b.Load(b.request(cookie)); !errors.Is(err, session.ErrNone) {
		t.Errorf("%v, want ErrNone", err)
	}
}

// The store fails until the last second of the idle time, and the user works on.
func TestNobodyIsSignedOutBecauseAWriteOfActivityFailed(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]func(operation string) error{
		"a fault": func(operation string) error {
			if operation == "touch" {
				return errCut
			}
			return nil
		},
		"a panic": func(operation string) error {
			if operation == "touch" {
				panic("access-first")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				cookie, _ := f.signIn(t, 0)
				pass(59*time.Minute + 50*time.Second + 200*time.Millisecond)
				f.replicas[0].line.on(hook)
				for second := range 120 {
					if second == 9 {
						f.replicas[0].line.mend()
					}
					f.replicas[0].Active(f.mustLoad(t, 0, cookie))
					pass(time.Second)
				}
				if f.log.lines("activity not written") == 0 || f.log.lines("access-first") != 0 {
					t.Errorf("want a line in the log, without the text of the panic:\n%s", f.log.text.String())
				}
			})
		})
	}
}

func TestActivityShortlyBeforeTheIdleEndIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	for _, left := range []time.Duration{2900 * time.Millisecond, time.Second, 10 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 2)
			waits, _ := f.signIn(t, 0) // what is near its end goes along with what is not
			pass(20 * time.Minute)
			cookie, _ := f.signIn(t, 0)
			f.replicas[0].Active(f.mustLoad(t, 0, waits))
			pass(time.Hour - left)
			f.replicas[0].Active(f.mustLoad(t, 0, waits))
			f.replicas[0].Active(f.mustLoad(t, 0, cookie))
			synctest.Wait()
			pass(left)
			for range 2 {
				if _, err := f.load(1, cookie); err != nil {
					t.Errorf("%v before its end: elsewhere %v", left, err)
				}
				pass(time.Minute)
			}
		})
	}
}

// One call each half of a second, for twenty times as long as the session may be idle.
func TestShortIdleTimeoutsAreKeptUp(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{time.Second, 2 * time.Second, 10 * time.Second, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 2, func(_ int, c *session.Config) { c.IdleTimeout = idle })
			cookie, _ := f.signIn(t, 0)
			for n := range int(20 * idle / (500 * time.Millisecond)) {
				pass(500 * time.Millisecond)
				s, err := f.load(n%2, cookie)
				if err != nil {
					t.Fatalf("%v: %v after %d calls", idle, err, n)
				}
				f.replicas[n%2].Active(s)
				synctest.Wait()
			}
			pass(idle + time.Second)
			if _, err := f.load(0, cookie); !errors.Is(err, session.ErrNone) {
				t.Errorf("%v: %v after the idle end, want ErrNone", idle, err)
			}
		})
	}
}

// batches is a store that notes how many rows each Touch moves, and takes its time.
type batches struct {
	session.Store
	takes time.Duration
	mu    sync.Mutex
	sizes []int
}

func (b *batches) Touch(ctx context.Context, all []session.Activity) error {
	pass(b.takes)
	b.mu.Lock()
	b.sizes = append(b.sizes, len(all))
	b.mu.Unlock()
	return b.Store.Touch(ctx, all)
}

func (b *batches) seen() []int { b.mu.Lock(); defer b.mu.Unlock(); return b.sizes }

func TestOneWriteOfActivityIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		store := &batches{Store: f.store}
		f.replicas[0].line.Store = store
		var all []*session.Session
		for range 1100 {
			_, s := f.signIn(t, 0)
			all = append(all, s)
		}
		pass(10 * time.Minute)
		for _, s := range all {
			f.replicas[0].Active(s)
		}
		pass(2 * time.Second)
		if got := store.seen(); !slices.Equal(got, []int{500, 500, 100}) {
			t.Errorf("writes of %v rows", got)
		}
		for _, s := range all {
			if row, err := f.store.Load(t.Context(), s.Key()); err != nil || time.Since(row.Seen) > time.Minute {
				t.Fatalf("seen %v, %v", row.Seen, err)
			}
		}
	})
}

func TestAStopWaitsForTheActivityThatIsBeingWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		store := &batches{Store: f.store, takes: 5 * time.Second}
		f.replicas[0].line.Store = store
		cookie, _ := f.signIn(t, 0)
		pass(10 * time.Minute)
		f.replicas[0].Active(f.mustLoad(t, 0, cookie))
		pass(2 * time.Second) // the write is under way
		if err := f.replicas[0].Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := store.seen(); !slices.Equal(got, []int{1}) {
			t.Errorf("writes of %v rows", got)
		}
	})
}
