package session_test

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/session"
)

// await begins to wait for the end of s on a replica.
func (f *fleet) await(i int, s *session.Session) (ended chan session.Reason, stop func()) {
	ended = make(chan session.Reason, 10)
	return ended, f.replicas[i].OnEnd(s, func(r session.Reason) { ended <- r })
}

// wantEnd checks that the end came once, within limit.
func wantEnd(t *testing.T, ended chan session.Reason, want session.Reason, limit time.Duration) {
	t.Helper()
	select {
	case got := <-ended:
		if got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
	case <-time.After(limit):
		t.Fatalf("nothing in %v", limit)
	}
	pass(time.Minute)
	if len(ended) != 0 {
		t.Error("told twice")
	}
}

func TestWhoWaitsForAnEndIsToldOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		want session.Reason
		end  func(t *testing.T, f *fleet, s *session.Session)
		take time.Duration
	}{
		{"revoked elsewhere", "revoked", func(t *testing.T, f *fleet, s *session.Session) {
			if _, err := f.replicas[0].Terminate(t.Context(), []*session.Session{s}, session.Revoked); err != nil {
				t.Error(err)
			}
		}, 500 * time.Millisecond},
		{"a time-out", "expired", func(*testing.T, *fleet, *session.Session) { pass(time.Hour - time.Minute) }, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				cookie, s := f.signIn(t, 0)
				first, _ := f.await(1, f.mustLoad(t, 1, cookie))
				second, _ := f.await(1, f.mustLoad(t, 1, cookie))
				here, _ := f.await(0, s)
				gone, stop := f.await(1, s)
				pass(time.Minute)
				stop()
				tt.end(t, f, s)
				for _, ended := range []chan session.Reason{first, second, here} {
					wantEnd(t, ended, tt.want, tt.take)
					tt.take = time.Millisecond // the others at the same time
				}
				if len(gone) != 0 {
					t.Error("told after it had stopped to wait")
				}
			})
		})
	}
}

func TestASessionThatHadEndedBeforeAnybodyWaitedIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		cookie, s := f.signIn(t, 0)
		if err := f.replicas[0].End(httptest.NewRecorder(), f.request(cookie), session.SignedOut); err != nil {
			t.Fatal(err)
		}
		ended, _ := f.await(0, s)
		wantEnd(t, ended, session.SignedOut, 500*time.Millisecond)
	})
}

func TestAnOutageOfTheStoreIsNoEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		_, s := f.signIn(t, 0)
		ended, _ := f.await(1, s)
		pass(time.Second)
		f.replicas[1].line.cut()
		f.replicas[1].line.distrust(true)
		pass(10 * time.Minute)
		if _, err := f.replicas[0].Terminate(t.Context(), []*session.Session{s}, session.Revoked); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if len(ended) != 0 {
			t.Error("told of what it cannot know")
		}
		f.replicas[1].line.mend()
		f.replicas[1].line.distrust(false)
		wantEnd(t, ended, session.Revoked, 3*time.Second)
	})
}

// A bubble ends only when its goroutines have: the ticker stops with the last who waits.
func TestWaitingForEndsIsCheap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		_, s := f.signIn(t, 0)
		var stops []func()
		for range 1000 {
			_, stop := f.await(1, s)
			stops = append(stops, stop)
		}
		pass(30 * time.Minute)
		if got := f.replicas[1].line.count("load"); got > 31 {
			t.Errorf("asked the store %d times in 30 minutes, want once a minute for all", got)
		}
		if f.replicas[1].line.count("touch")+f.replicas[1].line.count("save") != 0 {
			t.Error("waiting wrote to the store")
		}
		for _, stop := range stops {
			stop()
			stop() // does nothing more
		}
		ended, _ := f.await(1, s) // begins anew
		if _, err := f.replicas[0].Terminate(t.Context(), []*session.Session{s}, session.Revoked); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, ended, session.Revoked, 500*time.Millisecond)
	})
}
