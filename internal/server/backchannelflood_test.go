package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/devidp"
	"genkan/internal/rp"
)

// TestAFloodOfForgedLogoutTokens: 267. A thousand tokens with a kid each, a hundred at
// a time: few requests to the provider, few lines in the log, nobody signed out; and a
// good token works right after it.
func TestAFloodOfForgedLogoutTokens(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	all := map[string]member{"alice": s.enter(t, person{subject: "alice"})}
	forged := s.logoutToken(t, "alice", "")
	_, rest, _ := strings.Cut(forged, ".")
	work := make(chan int)
	var senders sync.WaitGroup
	var mu sync.Mutex
	answers := map[int]int{}
	for range 100 {
		senders.Go(func() {
			for i := range work {
				r := s.tell(url.Values{"logout_token": {b64(fmt.Appendf(nil, `{"alg":"RS256","kid":"forged-%d"}`, i)) + "." + rest}})
				mu.Lock()
				answers[r.StatusCode]++
				mu.Unlock()
			}
		})
	}
	for i := range 1000 {
		work <- i
	}
	close(work)
	senders.Wait()
	if answers[400]+answers[429] != 1000 || answers[400] == 0 {
		t.Errorf("answers by status: %v", answers)
	}
	if n := s.idp.Stats().Keys; n < 1 || n > 4 {
		t.Errorf("%d fetches of keys, want the first and at most three more", n)
	}
	if n := strings.Count(s.log.String(), "request of a provider refused"); n < 1 || n > 20 {
		t.Errorf("%d lines in the log", n)
	}
	s.wantLive(t, all, "alice")
	wantTold(t, s.tell(url.Values{"logout_token": {forged}}), "")
	s.wantLive(t, all)
}

// TestAStalledProviderDoesNotPileUpLogouts: while its keys do not come, few calls wait.
func TestAStalledProviderDoesNotPileUpLogouts(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	stalled, release := make(chan struct{}, 1), make(chan struct{})
	s.idp.Inject(devidp.Fault{At: "/jwks", Times: 1, Answer: func(w http.ResponseWriter, r *http.Request) {
		stalled <- struct{}{}
		<-release
		w.WriteHeader(http.StatusBadGateway)
	}})
	token := url.Values{"logout_token": {s.logoutToken(t, "alice", "")}}
	statuses := make(chan int, 40)
	for range 40 {
		go func() { statuses <- s.tell(token).StatusCode }()
	}
	<-stalled
	for range 8 { // 40 less the 32 that have a place
		if got := <-statuses; got != 429 {
			t.Errorf("%d for a call that found no place in time, want 429", got)
		}
	}
	close(release)
	for range 32 {
		if got := <-statuses; got != 400 {
			t.Errorf("%d for one that waited for the keys, want 400", got)
		}
	}
}

// stalled is a provider that never answers.
type stalled struct{ release chan struct{} }

func (s stalled) RoundTrip(*http.Request) (*http.Response, error) {
	<-s.release
	return nil, errors.New("gone")
}

// TestAStalledProviderStopsNoOthersLogouts: each has places of its own.
func TestAStalledProviderStopsNoOthersLogouts(t *testing.T) {
	t.Parallel()
	const other = "https://stalled.example"
	for name, calls := range map[string]struct {
		send func(s *system, issuer string) int
		want int
	}{
		"logout tokens": {func(s *system, issuer string) int {
			token := s.logoutToken(t, "alice", "", func(j *devidp.JWT) { j.Claims["iss"] = issuer })
			return s.tell(url.Values{"logout_token": {token}}).StatusCode
		}, 200},
		"global revocations": {func(s *system, issuer string) int {
			return s.revoke(s.credential(t, func(j *devidp.JWT) { j.Claims["iss"] = issuer }), s.issSub("nobody")).StatusCode
		}, 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			network := stalled{make(chan struct{})}
			s := newSystem(t, func(o *options, pc *rp.Config) {
				slow := *pc
				slow.ID, slow.Issuer, slow.Transport = "slow", other, network
				o.providers = []rp.Config{*pc, slow}
			})
			statuses := make(chan int, 40)
			for range 40 {
				go func() { statuses <- calls.send(s, other) }()
			}
			for range 8 { // 32 have a place now
				if got := <-statuses; got != 429 {
					t.Errorf("%d for a call that found no place in time, want 429", got)
				}
			}
			if got := calls.send(s, s.issuer); got != calls.want {
				t.Errorf("%d for a call of another provider, want %d", got, calls.want)
			}
			close(network.release)
			for range 32 {
				<-statuses
			}
		})
	}
}

func TestComplaintsAreBounded(t *testing.T) {
	t.Parallel()
	now := &clock{}
	f := newFixture(t, options{now: now.now})
	lines := func() (n, skipped int) {
		for line := range strings.Lines(f.log.String()) {
			var entry struct {
				Msg     string `json:"msg"`
				Skipped int    `json:"not_logged_before"`
			}
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "request of a provider refused" {
				n, skipped = n+1, skipped+entry.Skipped
			}
		}
		return n, skipped
	}
	for range 50 {
		f.tell(url.Values{})
	}
	if n, skipped := lines(); n != 10 || skipped != 0 {
		t.Errorf("%d lines, %d told of as left out; want 10 and 0", n, skipped)
	}
	now.pass(11 * time.Second)
	f.tell(url.Values{})
	if n, skipped := lines(); n != 11 || skipped != 40 {
		t.Errorf("%d lines, %d told of as left out; want 11 and 40", n, skipped)
	}
}
