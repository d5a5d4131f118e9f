package app_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"genkan/internal/backing"
)

// shared are the stores that several replicas can use, with how to stop and start them.
type shared struct {
	address     string
	kill, start func()
}

var stores = map[string]func(t *testing.T) shared{
	"redis": func(t *testing.T) shared {
		s := backing.Redis(t, backing.RedisOptions{})
		return shared{"redis://" + s.Addr, s.Kill, s.Start}
	},
	"postgres": func(t *testing.T) shared {
		s := backing.Postgres(t)
		return shared{s.URL(), s.Kill, s.Start}
	},
}

const (
	life  = 2 * time.Second // of access tokens
	crowd = 200
)

// onEach runs a check on three replicas over every shared store, with a user whose
// access token has just expired.
func onEach(t *testing.T, check func(t *testing.T, r *rig, u *user, s shared)) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			r := newRig(t, 3, s.address, life)
			u := r.signIn()
			expiry := time.Now().Add(life)
			r.idp.SetAccessLifetime(time.Hour)                           // of the tokens that come next
			if got := u.crowd(t.Context(), 6); got[http.StatusOK] != 6 { // every replica knows the session
				t.Fatalf("before the expiry: %v", got)
			}
			<-time.After(time.Until(expiry)) // real clocks: the replicas are processes
			check(t, r, u, s)
		})
	}
}

func (r *rig) wantRefreshes(want int64) {
	r.t.Helper()
	if got := r.gate.count.Load(); got != want {
		r.t.Errorf("%d token requests, want %d", got, want)
	}
}

func TestTwoHundredRequestsAtTheInstantOfExpiryCostOneTokenRequest(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig, u *user, _ shared) {
		if got := u.crowd(t.Context(), crowd); got[http.StatusOK] != crowd {
			t.Errorf("answers by status: %v, want 200 of them 200", got)
		}
		r.wantRefreshes(1)
	})
}

func TestClientsThatHangUpLoseNoRotatedToken(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig, u *user, _ shared) {
		ctx, hangUp := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); u.crowd(ctx, crowd) }()
		<-r.gate.asked
		hangUp()
		<-done
		if got := u.crowd(t.Context(), 9); got[http.StatusOK] != 9 {
			t.Errorf("answers afterwards: %v, want 9 of 200", got)
		}
		r.wantRefreshes(1)
	})
}

// winner is the replica that asks the provider.
func (r *rig) winner() *process {
	r.t.Helper()
	var found *process
	eventually(r.t, 5*time.Second, "a replica asks the provider", func() bool {
		for _, p := range r.replicas {
			if p.has("asking the provider for new tokens") {
				found = p
			}
		}
		return found != nil
	})
	return found
}

func TestAReplicaKilledInMidRefreshLosesNoSession(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig, u *user, _ shared) {
		r.gate.gone.Store(true) // the provider has not rotated when the replica dies
		answers := make(chan map[int]int, 1)
		go func() { answers <- u.crowd(t.Context(), crowd) }()
		<-r.gate.asked
		r.winner().kill()
		if got := <-answers; got[http.StatusOK] != crowd {
			t.Errorf("answers by status: %v, want 200 of them 200", got)
		}
		r.wantRefreshes(2) // the one that was cut off, and one in its place
		if r.logged("GK330") != 1 || r.logged("GK331") != 0 {
			t.Errorf("%d takeovers and %d losses logged, want 1 and 0", r.logged("GK330"), r.logged("GK331"))
		}
	})
}

// The one window: the provider has rotated, and whoever got the answer is dead. Nobody
// can know the new refresh token; the reuse of the old one is refused.
func TestTokensThatOnlyADeadReplicaGotAreCountedAsLost(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig, u *user, _ shared) {
		answers := make(chan map[int]int, 1)
		go func() { answers <- u.crowd(t.Context(), crowd) }()
		<-r.gate.asked
		r.winner().kill()
		if got := <-answers; got[http.StatusUnauthorized] != crowd {
			t.Errorf("answers by status: %v, want 200 of them 401", got)
		}
		if r.logged("GK331") != 1 {
			t.Errorf("%d losses logged, want 1", r.logged("GK331"))
		}
	})
}

func TestAStoreRestartedInMidRefreshLosesNoSession(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig, u *user, s shared) {
		answers := make(chan map[int]int, 1)
		go func() { answers <- u.crowd(t.Context(), crowd) }()
		<-r.gate.asked
		s.kill()
		// The provider answers in a moment; what it says has nowhere to go until the store
		// is back, and the lease ends meanwhile.
		<-time.After(5 * time.Second)
		s.start()
		if got := <-answers; got[http.StatusOK]+got[http.StatusServiceUnavailable] != crowd {
			t.Errorf("answers by status: %v, want only 200 and 503", got)
		}
		eventually(t, 20*time.Second, "the session goes on", func() bool {
			status, body := u.send(t.Context(), http.MethodGet, "/api/x")
			if status == http.StatusUnauthorized {
				t.Fatalf("signed out by a restart of the store: %s", body)
			}
			return status == http.StatusOK
		})
		r.wantRefreshes(1)
	})
}

func TestASessionEndedOnOneReplicaIsRefusedByTheOthersAtOnce(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 3, open(t).address, time.Hour)
			for range 30 {
				u := r.signIn()
				if got := u.crowd(t.Context(), 6); got[http.StatusOK] != 6 {
					t.Fatalf("signed in: %v", got)
				}
				stolen := *u.client
				stolen.Jar = copyJar(t, u.client.Jar, r.url)
				if status, body := u.send(t.Context(), http.MethodPost, "/bff/logout", "Origin: "+r.url); status != http.StatusOK {
					t.Fatalf("sign-out: %d %s", status, body)
				}
				thief := &user{r, &stolen}
				for range 3 { // one for each replica
					if status, _ := thief.send(t.Context(), http.MethodGet, "/api/x"); status != http.StatusUnauthorized {
						t.Errorf("after sign-out the next request got %d, want 401", status)
					}
				}
			}
		})
	}
}
