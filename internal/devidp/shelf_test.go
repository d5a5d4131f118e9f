package devidp

import (
	"fmt"
	"testing"
	"time"
)

func TestShelfIsBoundedAndForgets(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	s := newShelf[int](func() time.Time { return now }, 3)
	for i, lifetime := range []time.Duration{30, 10, 20} {
		s.put(fmt.Sprint(i), i, lifetime*time.Second)
	}
	s.put("3", 3, 5*time.Second) // 1 would have expired first
	wantShelf(t, "full", s, "0", "2", "3")
	s.put("3", 4, 40*time.Second) // needs no room
	wantShelf(t, "replaced", s, "0", "2", "3")
	now = now.Add(20 * time.Second)
	wantShelf(t, "expired", s, "0", "3")
	s.put("5", 5, time.Second)
	if len(s.entries) != 3 || s.entries["5"].value != 5 {
		t.Errorf("entries %v", s.entries)
	}
	s.drop("0")
	s.dropIf(func(v int) bool { return v == 4 })
	wantShelf(t, "dropped", s, "5")
}

func wantShelf(t *testing.T, name string, s *shelf[int], want ...string) {
	t.Helper()
	got := map[string]bool{}
	for i := range 6 {
		if _, ok := s.get(fmt.Sprint(i)); ok {
			got[fmt.Sprint(i)] = true
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: holds %v, want %v", name, got, want)
	}
	for _, key := range want {
		if !got[key] {
			t.Errorf("%s: %s is missing", name, key)
		}
	}
}

func TestIssuedTokensAreBounded(t *testing.T) {
	t.Parallel()
	p := &Provider{}
	for i := range 10_005 {
		p.note(fmt.Sprint(i), "")
	}
	if got := p.Issued(); len(got) != 10_000 || got[0] != "5" || got[9_999] != "10004" {
		t.Errorf("%d tokens, %s to %s", len(got), got[0], got[len(got)-1])
	}
}
