package devidp

import "time"

// shelf is a map whose entries expire and whose size is capped: the entry that would
// expire first makes room. Its user does the locking.
type shelf[V any] struct {
	now     func() time.Time
	limit   int
	entries map[string]shelved[V]
}

type shelved[V any] struct {
	value   V
	expires time.Time
}

func newShelf[V any](now func() time.Time, limit int) *shelf[V] {
	return &shelf[V]{now, limit, map[string]shelved[V]{}}
}

func (s *shelf[V]) get(key string) (V, bool) {
	e, ok := s.entries[key]
	if !ok || !s.now().Before(e.expires) {
		var none V
		return none, false
	}
	return e.value, true
}

func (s *shelf[V]) put(key string, value V, lifetime time.Duration) {
	if _, known := s.entries[key]; !known && len(s.entries) >= s.limit {
		s.makeRoom()
	}
	s.entries[key] = shelved[V]{value, s.now().Add(lifetime)}
}

func (s *shelf[V]) drop(key string) { delete(s.entries, key) }

// dropIf removes every entry that gone selects.
func (s *shelf[V]) dropIf(gone func(V) bool) {
	for key, e := range s.entries {
		if gone(e.value) {
			delete(s.entries, key)
		}
	}
}

func (s *shelf[V]) makeRoom() {
	first, now := "", s.now()
	for key, e := range s.entries {
		if !now.Before(e.expires) {
			delete(s.entries, key)
			continue
		}
		if held, ok := s.entries[first]; !ok || e.expires.Before(held.expires) {
			first = key
		}
	}
	if len(s.entries) >= s.limit {
		delete(s.entries, first)
	}
}
