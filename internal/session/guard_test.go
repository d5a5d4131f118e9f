package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/session"
)

// operations are the calls of a store that a Manager makes, by the names that line has
// for them.
func operations(store session.Store) map[string]func(context.Context) error {
	var key session.Key
	return map[string]func(context.Context) error{
		"load":   func(ctx context.Context) error { _, err := store.Load(ctx, key); return err },
		"touch":  func(ctx context.Context) error { return store.Touch(ctx, []session.Activity{{Key: key}}) },
		"delete": func(ctx context.Context) error { return store.Delete(ctx, key, 1) },
		"find":   func(ctx context.Context) error { _, err := store.Find(ctx, nil, 1); return err },
		"lease": func(ctx context.Context) error {
			_, err := store.Lease(ctx, key, session.Owner{}, time.Second)
			return err
		},
		"release": func(ctx context.Context) error { return store.Release(ctx, key, session.Owner{}) },
		"sweep":   func(ctx context.Context) error { _, err := store.Sweep(ctx, 1); return err },
		"save": func(ctx context.Context) error {
			_, err := store.Save(ctx, session.Row{Key: session.Key{1}, Idle: time.Now().Add(time.Hour), Expires: time.Now().Add(time.Hour)})
			return err
		},
	}
}

func TestAStoreThatIsDownIsAskedByOneProbeAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		one := f.replicas[0]
		cookie, _ := f.signIn(t, 0)
		var asking gauge
		one.line.on(func(operation string) error {
			if operation == "probe" {
				defer asking.enter()()
			}
			pass(time.Millisecond)
			return errCut
		})
		var wg sync.WaitGroup
		for i := range 50 { // who meet the fault together
			wg.Go(func() {
				if _, err := one.Store.Load(t.Context(), session.Key{byte(i)}); err == nil || errors.Is(err, session.ErrNone) {
					t.Errorf("%v, want a fault", err)
				}
			})
		}
		wg.Wait()
		before := one.line.count("load")
		for range 100 {
			wg.Go(func() {
				began := time.Now()
				_, err := f.load(0, cookie)
				if took := time.Since(began); !errors.Is(err, session.ErrStore) || errors.Is(err, session.ErrNone) || took > 250*time.Millisecond {
					t.Errorf("%v after %v, want ErrStore within 250 ms", err, took)
				}
			})
		}
		wg.Wait()
		if got := one.line.count("load"); got != before {
			t.Errorf("the store that is down was asked %d times", got-before)
		}
		if one.line.count("probe") == 0 || asking.peak() != 1 {
			t.Errorf("%d probes, %d at once, want some, one at a time", one.line.count("probe"), asking.peak())
		}
		pass(time.Minute)
		if got := one.line.count("probe"); got < 60 || got > 300 {
			t.Errorf("%d probes in a minute, want about two a second", got)
		}
		one.line.mend()
		pass(time.Second)
		if _, err := f.load(0, cookie); err != nil {
			t.Errorf("the store is back: %v", err)
		}
		if down, back := f.log.lines("GK320"), f.log.lines("the session store is back"); down != 1 || back != 1 {
			t.Errorf("logged %d times down and %d times back, want once each", down, back)
		}
	})
}

func TestARestartOfAMomentGoesUnnoticed(t *testing.T) {
	t.Parallel()
	for name := range operations(nil) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				one := f.replicas[0]
				answer := func(call string) error {
					err := operations(one.Store)[call](t.Context())
					if errors.Is(err, session.ErrNone) {
						return nil
					}
					return err
				}
				one.line.cut()
				time.AfterFunc(100*time.Millisecond, one.line.mend)
				met := make(chan error)
				go func() { met <- answer(name) }()
				pass(10 * time.Millisecond)
				if err := answer(name); err != nil {
					t.Errorf("in the middle of it: %v", err)
				}
				// A save may have happened, so that it is not for the guard to do it again.
				if err := <-met; (err != nil) != (name == "save") {
					t.Errorf("who met the fault: %v", err)
				}
			})
		})
	}
}

func TestAThousandWhoWaitedDoNotComeAllAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		one := f.replicas[0]
		one.line.cut()
		_, _ = one.Store.Save(t.Context(), session.Row{}) // which fails at once: what may be done twice would wait
		var under gauge
		var done atomic.Int32
		time.AfterFunc(100*time.Millisecond, func() {
			one.line.on(func(string) error {
				defer under.enter()()
				pass(time.Millisecond)
				return nil
			})
		})
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if _, err := one.Store.Load(t.Context(), session.Key{}); errors.Is(err, session.ErrNone) {
					done.Add(1)
				}
			})
		}
		wg.Wait()
		if under.peak() > 64 || done.Load() != 1000 {
			t.Errorf("%d at once and %d answers, want at most 64 and 1000", under.peak(), done.Load())
		}
	})
}

// A store that swallows every question must not be asked by those who queue for it.
func TestWhoeverWaitsForATurnDoesNotAskAStoreThatHasFallen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		one := f.replicas[0]
		one.line.on(func(string) error { pass(5 * time.Second); return errCut })
		began := time.Now()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if _, err := one.Store.Load(t.Context(), session.Key{}); err == nil {
					t.Error("an answer of a store that is down")
				}
			})
		}
		wg.Wait()
		if took, asked := time.Since(began), one.line.count("load"); took > 6*time.Second || asked > 64 {
			t.Errorf("%v and %d questions, want under 6 s and at most 64", took, asked)
		}
		one.line.mend()
		pass(5 * time.Second)
	})
}

func TestWhatIsNoFaultLeavesTheStoreUp(t *testing.T) {
	t.Parallel()
	for _, says := range []error{session.ErrNone, session.ErrConflict, session.ErrTooLarge, fmt.Errorf("save: %w", session.ErrConflict)} {
		t.Run(says.Error(), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 1)
			one := f.replicas[0]
			one.line.on(func(string) error { return says })
			for name, call := range operations(one.Store) {
				if err := call(t.Context()); !errors.Is(err, says) || one.line.count(name) != 1 {
					t.Errorf("%s: %v after %d questions, want what the store said, at once", name, err, one.line.count(name))
				}
			}
			if one.line.count("probe") != 0 {
				t.Error("the store was taken for down")
			}
		})
	}
}

func TestACallerThatGivesUpDoesNotBringTheStoreDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		one := f.replicas[0]
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		one.line.on(func(string) error { <-ctx.Done(); return ctx.Err() })
		for name, call := range operations(one.Store) {
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v, want the end of the caller's time", name, err)
			}
		}
		one.line.mend()
		if err := operations(one.Store)["save"](t.Context()); err != nil || one.line.count("probe") != 0 {
			t.Errorf("afterwards: %v and %d probes, want neither", err, one.line.count("probe"))
		}
	})
}

func TestCloseEndsTheProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		one := f.replicas[0]
		one.line.cut()
		_ = one.Store.Release(t.Context(), session.Key{}, session.Owner{})
		pass(time.Second)
		if err := errors.Join(one.Store.Close(), one.Store.Close()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		before := one.line.count("probe")
		pass(10 * time.Second)
		if got := one.line.count("probe"); before == 0 || got != before {
			t.Errorf("%d probes before and %d after, want some and none", before, got-before)
		}
	})
}
