package server

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

func TestABucketGivesItsBurstAndThenOneInEachInterval(t *testing.T) {
	t.Parallel()
	l, now := newLimiter(time.Second, 3), time.Unix(1_700_000_000, 0)
	given := func(key string, n int) (got int) {
		for range n {
			if l.allow(key, now) {
				got++
			}
		}
		return got
	}
	for _, step := range []struct {
		name string
		key  string
		pass time.Duration
		want int
	}{
		{"at once", "a", 0, 3},
		{"another key", "b", 0, 3},
		{"too soon", "a", 999 * time.Millisecond, 0},
		{"one interval", "a", time.Millisecond, 1},
		{"two intervals and a half", "a", 2500 * time.Millisecond, 2},
		{"the rest of the half", "a", 500 * time.Millisecond, 1},
		{"a long rest is no more than the burst", "a", time.Hour, 3},
		{"the clock goes back", "a", -time.Minute, 0},
	} {
		now = now.Add(step.pass)
		if got := given(step.key, 10); got != step.want {
			t.Errorf("%s: %d, want %d", step.name, got, step.want)
		}
	}
}

func TestABucketKeepsFewKeysAndThoseSeenOfLate(t *testing.T) {
	t.Parallel()
	l, now := newLimiter(time.Second, 2), time.Unix(1_700_000_000, 0)
	refused := 0
	for i := range 50_000 {
		l.allow(strconv.Itoa(i), now)
		if i%1000 == 0 && !l.allow("busy", now) {
			refused++
		}
		if kept := len(l.young) + len(l.old); kept > 10_000 {
			t.Fatalf("%d keys are kept", kept)
		}
	}
	if refused != 48 {
		t.Errorf("the busy one was refused %d times of 50, want 48: others pushed it out", refused)
	}
}

func TestAClientIsItsAddressOrItsIPv6Network(t *testing.T) {
	t.Parallel()
	for peer, want := range map[string]string{
		"192.0.2.1:1234":                 "192.0.2.1",
		"192.0.2.1:9":                    "192.0.2.1",
		"[::ffff:192.0.2.1]:1234":        "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:1234":    "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:1234":    "2001:db8:1:2::/64",
		"[2001:db8:1:3::1]:1234":         "2001:db8:1:3::/64",
		"[fe80::1%eth0]:1234":            "fe80::/64",
		"[::1]:1234":                     "::/64",
		"@":                              "",
		"a socket that has no addresses": "",
	} {
		if got := clientKey(&http.Request{RemoteAddr: peer}); got != want {
			t.Errorf("%s: %q, want %q", peer, got, want)
		}
	}
}
