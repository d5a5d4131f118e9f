package server

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
)

// limiter bounds how often each of many callers may do one thing: a token bucket for
// each key. Sign-in and the callback have one each, so that a flood of the one does not
// close the other, and so has what a front-channel logout writes. What providers call has a
// gate instead.
type limiter struct {
	interval time.Duration // one token comes back in each
	burst    time.Duration // how far ahead of the clock a key may be

	mu sync.Mutex
	// The instant at which the bucket of a key is full again. Keys seen of late are in
	// young; what is in neither has a full bucket. So at most limiterKeys are kept, and
	// what goes first was not seen for the longest time.
	young, old map[string]time.Time
}

// limiterKeys bounds the keys of one limiter.
const limiterKeys = 10_000

// newLimiter lets each key do burst things at once, and then one in every interval.
func newLimiter(interval time.Duration, burst int) *limiter {
	return &limiter{interval: interval, burst: time.Duration(burst) * interval, young: map[string]time.Time{}}
}

// allow takes a token from key's bucket; false: there is none.
func (l *limiter) allow(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, seen := l.young[key]
	if !seen {
		full = l.old[key]
		if len(l.young) >= limiterKeys/2 {
			l.young, l.old = map[string]time.Time{}, l.young
		}
	}
	if full.Before(now) {
		full = now
	}
	next := full.Add(l.interval)
	if next.Sub(now) > l.burst {
		next = full
	}
	l.young[key] = next // also when there was none: who floods is not forgotten
	return next != full
}

// rated takes a token of the client's address from l, or answers that there is none. It is
// for right before the work that a provider has a part in: what any page on the web can
// have its visitors send, such as an image, must cost nobody a sign-in.
func (s *Server) rated(c *gin.Context, l *limiter) bool {
	if l.allow(clientKey(c.Request), s.Now()) {
		return true
	}
	c.Header("Retry-After", s.retryAfter())
	s.fail(c, finding.TooManyRequests, "")
	return false
}

// clientKey stands for one client: its address, as trusted proxies tell it, or of IPv6
// the /64, of which one client has all.
func clientKey(r *http.Request) string {
	addr, ok := address(r.RemoteAddr)
	if !ok {
		return ""
	}
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().String()
	}
	return addr.String()
}
