package session_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/session"
)

// expect is the next event within limit.
func expect(t *testing.T, events <-chan session.Event, kind session.EventKind, limit time.Duration) session.Event {
	t.Helper()
	select {
	case e, open := <-events:
		if !open || e.Kind != kind || (e.Session == nil) != (kind == session.EventEnded) {
			t.Fatalf("%+v (open: %v), want %s", e, open, kind)
		}
		return e
	case <-time.After(limit):
		t.Fatalf("nothing in %v, want %s", limit, kind)
	}
	return session.Event{}
}

// silent checks that nothing happens for d.
func silent(t *testing.T, events <-chan session.Event, d time.Duration) {
	t.Helper()
	select {
	case e, open := <-events:
		t.Fatalf("%+v (open: %v), want nothing for %v", e, open, d)
	case <-time.After(d):
	}
}

func closed(t *testing.T, events <-chan session.Event) {
	t.Helper()
	select {
	case e, open := <-events:
		if open {
			t.Errorf("%+v, want a closed channel", e)
		}
	case <-time.After(time.Second):
		t.Error("the channel is open")
	}
}

func TestAWatcherLearnsOfNewTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.rotate(0)
		cookie, s := f.signIn(t, 0)
		ctx, stop := context.WithCancel(t.Context())
		events := f.replicas[1].Watch(ctx, s)
		silent(t, events, time.Minute)
		for _, want := range []string{"access-2", "access-3"} {
			if _, err := f.replicas[0].Renew(t.Context(), f.mustLoad(t, 0, cookie)); err != nil {
				t.Fatal(err)
			}
			e := expect(t, events, session.EventRefreshed, 500*time.Millisecond)
			if got := e.Session.Grant.Tokens.Access.Reveal(); got != want {
				t.Errorf("told of %s, want %s", got, want)
			}
			silent(t, events, time.Minute)
		}
		stop()
		closed(t, events)
	})
}

func TestAWatcherIsWarnedOnceBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		idle, absolute time.Duration
		warned         time.Duration // after sign-in
		ended          time.Duration
	}{
		{"idle", time.Hour, 12 * time.Hour, 58 * time.Minute, time.Hour},
		{"absolute", time.Hour, 30 * time.Minute, 28 * time.Minute, 30 * time.Minute},
		{"a short idle time-out", 152 * time.Second, time.Hour, 114 * time.Second, 152 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1, func(_ int, c *session.Config) { c.IdleTimeout, c.AbsoluteTimeout = tt.idle, tt.absolute })
				_, s := f.signIn(t, 0)
				events := f.replicas[0].Watch(t.Context(), s)
				silent(t, events, tt.warned-time.Millisecond)
				expect(t, events, session.EventExpiring, 300*time.Millisecond)
				e := expect(t, events, session.EventEnded, tt.ended-tt.warned+2500*time.Millisecond)
				if took := time.Since(s.Created); e.Reason != session.Expired || took < tt.ended {
					t.Errorf("reason %q after %v, want expired after %v", e.Reason, took, tt.ended)
				}
				closed(t, events)
			})
		})
	}
}

func TestActivityElsewhereMovesTheWarning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		cookie, s := f.signIn(t, 0)
		events := f.replicas[0].Watch(t.Context(), s)
		active := func() { f.replicas[1].Active(f.mustLoad(t, 1, cookie)) }
		silent(t, events, 30*time.Minute)
		active() // so no warning at 58 minutes
		silent(t, events, 57*time.Minute)
		expect(t, events, session.EventExpiring, 2*time.Minute)
		active()
		silent(t, events, 57*time.Minute)
		expect(t, events, session.EventExpiring, 2*time.Minute)
		expect(t, events, session.EventEnded, 3*time.Minute)
	})
}

func TestAWatcherElsewhereLearnsWhyTheSessionEnded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		want session.Reason
		end  func(t *testing.T, f *fleet, cookie *http.Cookie, s *session.Session)
	}{
		{"signed_out", func(t *testing.T, f *fleet, cookie *http.Cookie, _ *session.Session) {
			if err := f.replicas[0].End(httptest.NewRecorder(), f.request(cookie), session.SignedOut); err != nil {
				t.Error(err)
			}
		}},
		{"revoked", func(t *testing.T, f *fleet, _ *http.Cookie, s *session.Session) {
			if _, err := f.replicas[0].Terminate(t.Context(), []*session.Session{s}, session.Revoked); err != nil {
				t.Error(err)
			}
		}},
		{"limit", func(t *testing.T, f *fleet, _ *http.Cookie, _ *session.Session) { f.signIn(t, 0) }},
		{"refused", func(t *testing.T, f *fleet, _ *http.Cookie, s *session.Session) {
			f.refuse()
			_, _ = f.replicas[0].Renew(t.Context(), s)
		}},
		{"ended", func(t *testing.T, f *fleet, cookie *http.Cookie, _ *session.Session) { // its browser signs in again
			in := session.SignIn{Provider: "idp", Grant: grant(time.Now(), "again")}
			if _, err := f.replicas[0].Start(httptest.NewRecorder(), f.request(cookie), in); err != nil {
				t.Error(err)
			}
		}},
		{"ended", func(t *testing.T, f *fleet, _ *http.Cookie, s *session.Session) {
			if err := f.store.Delete(t.Context(), s.Key(), 0); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(string(tt.want), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2, func(_ int, c *session.Config) { c.MaxPerUser = 1 })
				cookie, s := f.signIn(t, 0)
				events := f.replicas[1].Watch(t.Context(), f.mustLoad(t, 1, cookie))
				silent(t, events, time.Minute)
				tt.end(t, f, cookie, s)
				if e := expect(t, events, session.EventEnded, 500*time.Millisecond); e.Reason != tt.want {
					t.Errorf("reason %q, want %q", e.Reason, tt.want)
				}
				closed(t, events)
			})
		})
	}
}

func TestAnOutageOfTheStoreEndsNoStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		_, s := f.signIn(t, 0)
		events := f.replicas[1].Watch(t.Context(), s)
		silent(t, events, time.Minute)
		f.replicas[1].line.cut()
		f.replicas[1].line.distrust(true)
		silent(t, events, 10*time.Minute)
		if _, err := f.replicas[0].Terminate(t.Context(), []*session.Session{s}, session.Revoked); err != nil {
			t.Fatal(err)
		}
		silent(t, events, time.Minute) // it cannot know
		f.replicas[1].line.mend()
		f.replicas[1].line.distrust(false)
		e := expect(t, events, session.EventEnded, 3*time.Second)
		if e.Reason != session.Revoked {
			t.Errorf("reason %q, want revoked", e.Reason)
		}
	})
}

func TestWithoutNoticesAnEndIsSeenWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		distrust time.Duration // after the watch began
	}{
		{"never had any", 0},
		{"lost them after a while", 90 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				_, s := f.signIn(t, 0)
				if tt.distrust == 0 {
					f.replicas[1].line.distrust(true)
				}
				events := f.replicas[1].Watch(t.Context(), s)
				silent(t, events, 90*time.Second)
				f.replicas[1].line.distrust(true)
				silent(t, events, 100*time.Millisecond)
				if _, err := f.replicas[0].Terminate(t.Context(), []*session.Session{s}, session.Revoked); err != nil {
					t.Fatal(err)
				}
				expect(t, events, session.EventEnded, 2500*time.Millisecond)
			})
		})
	}
}

func TestWatchingIsCheapAndNoActivity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		_, s := f.signIn(t, 0)
		ctx, stop := context.WithCancel(t.Context())
		events := f.replicas[1].Watch(ctx, s)
		silent(t, events, 30*time.Minute)
		if got := f.replicas[1].line.count("load"); got > 31 {
			t.Errorf("asked the store %d times in 30 minutes, want once a minute", got)
		}
		if f.replicas[1].line.count("touch")+f.replicas[1].line.count("save") != 0 {
			t.Error("watching wrote to the store")
		}
		stop()
		closed(t, events)
	})
}

// The bubble of a test that leaves a goroutine behind panics.
func TestAWatcherWhoseContextEndsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		with func(f *fleet, s *session.Session)
	}{
		{"nothing happens", func(*fleet, *session.Session) {}},
		{"nobody takes the event", func(f *fleet, s *session.Session) { _, _ = f.replicas[0].Renew(context.Background(), s) }},
		{"nobody takes the last event", func(f *fleet, s *session.Session) {
			_, _ = f.replicas[0].Terminate(context.Background(), []*session.Session{s}, session.Revoked)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				f.rotate(0)
				cookie, s := f.signIn(t, 0)
				ctx, stop := context.WithCancel(t.Context())
				events := f.replicas[0].Watch(ctx, f.mustLoad(t, 0, cookie))
				pass(time.Second)
				tt.with(f, s)
				pass(time.Second)
				stop()
				synctest.Wait()
				for range events { // at most the one that was waiting, then closed
				}
			})
		})
	}
}
