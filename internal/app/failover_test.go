package app_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/backing"
)

// load is users who call the API without end, and what they were answered.
type load struct {
	stop chan struct{}
	wait sync.WaitGroup

	mu       sync.Mutex
	statuses map[int]int
	trouble  time.Time // when the last answer was not 200
}

func (r *rig) load(users []*user) *load {
	l := &load{stop: make(chan struct{}), statuses: map[int]int{}}
	for _, u := range users {
		l.wait.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				status, _ := u.send(r.t.Context(), http.MethodGet, "/api/x")
				l.mu.Lock()
				l.statuses[status]++
				if status != http.StatusOK {
					l.trouble = time.Now()
				}
				l.mu.Unlock()
			}
		})
	}
	return l
}

func (l *load) end() map[int]int {
	close(l.stop)
	l.wait.Wait()
	return l.statuses
}

// calm waits until every answer has been 200 for two seconds.
func (l *load) calm(t *testing.T, limit time.Duration) {
	t.Helper()
	began := time.Now()
	eventually(t, limit, "answers are 200 again", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		since := began
		if l.trouble.After(since) {
			since = l.trouble
		}
		return time.Since(since) > 2*time.Second
	})
}

func TestAFailoverOfTheStoreIs503ForABoundedTimeAndEndsNoSession(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(t *testing.T) (address string, disturb func())
	}{
		{"sentinel, the master is killed", func(t *testing.T) (string, func()) {
			s := backing.Sentinel(t)
			return "redis+sentinel://" + strings.Join(s.Addrs, ",") + "/" + s.Master, func() {
				old := s.CurrentMaster()
				s.KillMaster()
				s.AwaitMaster(old)
			}
		}},
		{"cluster, slots move and a master is killed", func(t *testing.T) (string, func()) {
			c := backing.Cluster(t)
			return "redis+cluster://" + strings.Join(c.Addrs, ","), func() {
				c.MoveSlots(2000)
				c.AwaitPromotion(c.KillMaster(0))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address, disturb := tt.open(t)
			r := newRig(t, 2, address, 5*time.Second) // so that tokens are renewed in the middle of it, too
			var users []*user
			for range 8 {
				users = append(users, r.signIn())
			}
			l := r.load(users)
			disturb()
			l.calm(t, 30*time.Second)
			got := l.end()
			if got[http.StatusOK] < 100 {
				t.Errorf("answers by status: %v: that is no load", got)
			}
			for status := range got {
				if status != http.StatusOK && status != http.StatusServiceUnavailable {
					t.Errorf("answers by status: %v, want only 200 and 503", got)
				}
			}
			for _, u := range users {
				if status, body := u.send(t.Context(), http.MethodGet, "/api/x"); status != http.StatusOK {
					t.Errorf("a session afterwards: %d %s", status, body)
				}
			}
			t.Logf("answers by status: %v; %d token requests", got, r.gate.count.Load())
		})
	}
}

func TestAStoreThatIsDownIs503AndNotReadyUntilItIsBack(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			r := newRig(t, 2, s.address, time.Hour)
			u := r.signIn()
			s.kill()
			eventually(t, 10*time.Second, "503 while the store is down", func() bool {
				status, body := u.send(t.Context(), http.MethodGet, "/api/x")
				return status == http.StatusServiceUnavailable && strings.Contains(body, `"code":"store_unavailable"`)
			})
			for _, p := range r.replicas {
				resp, err := http.Get("http://" + p.admin + "/readyz")
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("readyz %d, want 503", resp.StatusCode)
				}
			}
			if got := u.crowd(t.Context(), 50); got[http.StatusServiceUnavailable] != 50 {
				t.Errorf("answers while the store is down: %v, want 503 alone", got)
			}
			s.start()
			eventually(t, 20*time.Second, "200 again, without a restart or a new sign-in", func() bool {
				status, _ := u.send(t.Context(), http.MethodGet, "/api/x")
				return status == http.StatusOK
			})
			for _, p := range r.replicas {
				p.awaitReady()
			}
		})
	}
}
