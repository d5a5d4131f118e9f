package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/keys"
	"genkan/internal/rp"
	"genkan/internal/session"
)

func TestAnUnchangedSessionIsReadOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, _ := f.signIn(t, 0)
		for range 1000 {
			f.mustLoad(t, 0, cookie)
		}
		if got := f.replicas[0].line.count("load"); got != 1 {
			t.Errorf("1000 requests asked the store %d times, want once", got)
		}
	})
}

func TestRequestsAtOneInstantShareOneQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, _ := f.signIn(t, 0)
		f.replicas[0].line.on(func(string) error { pass(50 * time.Millisecond); return nil })
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if _, err := f.load(0, cookie); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := f.replicas[0].line.count("load"); got != 1 {
			t.Errorf("200 requests asked the store %d times, want once", got)
		}
	})
}

func TestWhoeverHangsUpDoesNotFailTheOthersWhoAsk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, _ := f.signIn(t, 0)
		f.replicas[0].line.on(func(string) error { pass(time.Second); return nil })
		ctx, hangUp := context.WithCancel(t.Context())
		r := f.request(cookie)
		go func() {
			if _, err := f.replicas[0].Load(r.WithContext(siteContext{ctx, r.Context()})); !errors.Is(err, session.ErrStore) || errors.Is(err, session.ErrNone) {
				t.Errorf("%v, want not to know", err)
			}
		}()
		synctest.Wait()
		time.AfterFunc(100*time.Millisecond, hangUp)
		f.mustLoad(t, 0, cookie)
		if got := f.replicas[0].line.count("load"); got != 1 {
			t.Errorf("asked the store %d times, want once", got)
		}
	})
}

// siteContext ends with one context and has the values of another.
type siteContext struct {
	context.Context
	values context.Context
}

func (c siteContext) Value(key any) any { return c.values.Value(key) }

func TestASessionThatEndedElsewhereIsRefusedAtTheVeryNextRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		cookie, s := f.signIn(t, 0)
		f.mustLoad(t, 0, cookie)
		f.mustLoad(t, 1, cookie)
		if _, err := f.replicas[0].Terminate(t.Context(), []*session.Session{s}, session.Revoked); err != nil {
			t.Fatal(err)
		}
		for i := range f.replicas {
			if _, err := f.load(i, cookie); !errors.Is(err, session.ErrNone) {
				t.Errorf("replica %d: %v, want ErrNone", i, err)
			}
		}
	})
}

// A question that was under way when the session ended is no answer for who asks later.
func TestAReadThatBeganBeforeTheEndIsNotSharedAfterIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		cookie, s := f.signIn(t, 1)
		slow := &afterwards{Store: f.store, wait: time.Second}
		f.replicas[0].line.Store = slow
		go func() { _, _ = f.load(0, cookie) }()
		synctest.Wait() // the row is read, the answer on its way
		if _, err := f.replicas[1].Terminate(t.Context(), []*session.Session{s}, session.Revoked); err != nil {
			t.Fatal(err)
		}
		if _, err := f.load(0, cookie); !errors.Is(err, session.ErrNone) {
			t.Errorf("%v, want ErrNone", err)
		}
		pass(2 * time.Second)
		if _, err := f.load(0, cookie); !errors.Is(err, session.ErrNone) {
			t.Errorf("after the slow answer: %v, want ErrNone", err)
		}
	})
}

// afterwards is a store whose answers to Load take time to arrive.
type afterwards struct {
	session.Store
	wait time.Duration
}

func (a *afterwards) Load(ctx context.Context, key session.Key) (session.Row, error) {
	row, err := a.Store.Load(ctx, key)
	pass(a.wait)
	return row, err
}

func TestNothingComesFromMemoryWhileNoticesCannotBeTrusted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, _ := f.signIn(t, 0)
		f.mustLoad(t, 0, cookie)
		f.replicas[0].line.distrust(true)
		for range 10 {
			f.mustLoad(t, 0, cookie)
		}
		if got := f.replicas[0].line.count("load"); got != 11 {
			t.Errorf("asked the store %d times, want 11", got)
		}
	})
}

func TestActivityElsewhereShowsWithinAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		cookie, started := f.signIn(t, 0)
		pass(10 * time.Minute)
		f.mustLoad(t, 0, cookie)
		f.replicas[1].Active(f.mustLoad(t, 1, cookie))
		pass(time.Minute)
		s := f.mustLoad(t, 0, cookie)
		if s.Seen().Sub(started.Created) != 10*time.Minute || s.Idle.Sub(started.Created) != 70*time.Minute {
			t.Errorf("seen after %v, idle after %v; want 10 min and 70 min", s.Seen().Sub(started.Created), s.Idle.Sub(started.Created))
		}
		if got := f.replicas[0].line.count("load"); got != 2 {
			t.Errorf("asked the store %d times, want twice", got)
		}
	})
}

func TestWhatIsKeptDoesNotOutliveItsTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		idle, absolute time.Duration
	}{
		{"idle", 30 * time.Second, 12 * time.Hour},
		{"absolute", time.Hour, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1, func(_ int, c *session.Config) { c.IdleTimeout, c.AbsoluteTimeout = tt.idle, tt.absolute })
				cookie, _ := f.signIn(t, 0)
				pass(29 * time.Second)
				f.mustLoad(t, 0, cookie)
				pass(time.Second)
				if _, err := f.load(0, cookie); !errors.Is(err, session.ErrNone) {
					t.Errorf("%v, want ErrNone", err)
				}
			})
		})
	}
}

func TestRequestsDoNotChangeEachOthersSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, started := f.signIn(t, 0, func(in *session.SignIn) { in.Trips = make([]time.Time, 3) })
		var theirs []*session.Session
		for i := range 3 { // what was read, then what was kept
			s := f.mustLoad(t, 0, cookie)
			theirs = append(theirs, s)
			s.ID, s.Provider, s.Expires, s.Idle = "changed", "changed", s.Expires.Add(time.Hour), s.Idle.Add(time.Hour)
			s.Grant.Tokens.Access = keys.NewSecret("changed")
			s.Grant.Identity.Subject = "changed"
			s.Trips = append(s.Trips, time.Unix(int64(i), 0))
		}
		for i, s := range theirs {
			if len(s.Trips) != 4 || s.Trips[3].Unix() != int64(i) {
				t.Errorf("what request %d appended is now %v", i, s.Trips)
			}
		}
		s := f.mustLoad(t, 0, cookie)
		if s.ID == "changed" || s.Provider != "idp" || !s.Expires.Equal(started.Expires) || !s.Idle.Equal(started.Idle) || s.Grant.Tokens.Access.Reveal() != "access-first" ||
			s.Grant.Identity.Subject != "subject-alice" || len(s.Trips) != 3 {
			t.Errorf("another request's changes show: %+v", s.Record)
		}
	})
}

// 100 sessions of 50 kB are five times what may be kept, wherever the bytes are.
func TestTheMemoryOfOpenedSessionsIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 50_000)
	many := slices.Repeat([]string{strings.Repeat("x", 40)}, 800)
	for name, fill := range map[string]func(*rp.Grant){
		"a long claim": func(g *rp.Grant) {
			g.Identity.Claims = map[string]json.RawMessage{"groups": json.RawMessage(`"` + long + `"`)}
		},
		"the access token":  func(g *rp.Grant) { g.Tokens.Access = keys.NewSecret(long) },
		"the refresh token": func(g *rp.Grant) { g.Tokens.Refresh = keys.NewSecret(long) },
		"the ID token":      func(g *rp.Grant) { g.Tokens.ID = keys.NewSecret(long) },
		"the key":           func(g *rp.Grant) { g.Tokens.Key = keys.NewSecret(long) },
		"the nonce":         func(g *rp.Grant) { g.Identity.Nonce = long },
		"scopes":            func(g *rp.Grant) { g.Tokens.Scope = many },
		"audiences":         func(g *rp.Grant) { g.Identity.Audience = many },
		"methods":           func(g *rp.Grant) { g.Identity.AMR = many },
		"many claims": func(g *rp.Grant) {
			g.Identity.Claims = map[string]json.RawMessage{}
			for i := range 480 {
				g.Identity.Claims[strconv.Itoa(i)] = json.RawMessage(`1`)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 1, func(_ int, c *session.Config) { c.CacheSize = 1 << 20 })
			for range 100 {
				cookie, _ := f.signIn(t, 0, func(in *session.SignIn) { fill(&in.Grant) })
				f.mustLoad(t, 0, cookie)
			}
			count, weight := session.Cached(f.replicas[0].Manager)
			if count == 0 || count > 25 || weight > 1<<20 {
				t.Errorf("%d sessions of 50 kB are kept and weigh %d, want some, within 1 MiB", count, weight)
			}
		})
	}
}

func TestSweepForgetsTheTokensOfSessionsThatEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		s := keep(t, f)
		if _, err := f.replicas[1].Terminate(t.Context(), []*session.Session{s}, session.Revoked); err != nil {
			t.Fatal(err)
		}
		keep(t, f)
		sweep(t, f)
		if count, _ := session.Cached(f.replicas[0].Manager); count != 1 {
			t.Errorf("%d sessions are kept, want the one that lives", count)
		}
		pass(time.Hour)
		sweep(t, f)
		if count, _ := session.Cached(f.replicas[0].Manager); count != 0 {
			t.Errorf("%d sessions are kept after their time-out", count)
		}
		keep(t, f)
		f.replicas[0].line.distrust(true)
		sweep(t, f)
		if count, _ := session.Cached(f.replicas[0].Manager); count != 0 {
			t.Errorf("%d sessions are kept that must not be used", count)
		}
	})
}

// keep signs in and has replica 0 open the session.
func keep(t *testing.T, f *fleet) *session.Session {
	t.Helper()
	cookie, s := f.signIn(t, 0)
	f.mustLoad(t, 0, cookie)
	return s
}

func sweep(t *testing.T, f *fleet) {
	t.Helper()
	if _, err := f.replicas[0].Sweep(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
}

func TestActivityOfManyRequestsIsWrittenOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, started := f.signIn(t, 0)
		pass(10 * time.Minute)
		late := f.mustLoad(t, 0, cookie)
		f.replicas[0].line.on(func(string) error { pass(20 * time.Millisecond); return nil })
		var wg sync.WaitGroup
		for range 100 {
			s := f.mustLoad(t, 0, cookie)
			wg.Go(func() { f.replicas[0].Active(s) })
		}
		wg.Wait()
		pass(2 * time.Second)
		late = f.replicas[0].Active(late) // it was read before the others wrote
		if got := f.replicas[0].line.count("touch"); got != 1 {
			t.Errorf("%d writes, want 1", got)
		}
		for name, s := range map[string]*session.Session{"the late one": late, "the next one": f.mustLoad(t, 0, cookie)} {
			if got := s.Seen().Sub(started.Created); got != 10*time.Minute || s.Idle.Sub(s.Seen()) != time.Hour {
				t.Errorf("%s: seen after %v, idle %v later; want 10 min and 1 h", name, got, s.Idle.Sub(s.Seen()))
			}
		}
	})
}
