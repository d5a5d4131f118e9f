package session

import "time"

// ProbeKey is what a store is asked for that may be down.
var ProbeKey = probeKey

// LimitCache makes the cache of m smaller.
func LimitCache(m *Manager, bytes uint64) { m.cache.entries.SetMaximum(bytes) }

// Cached is how many opened sessions m keeps and what they weigh.
func Cached(m *Manager) (sessions int, bytes uint64) {
	m.cache.entries.CleanUp()
	for range m.cache.entries.All() {
		sessions++
	}
	return sessions, m.cache.entries.WeightedSize()
}

// Braked is for how many of count sessions that just failed it is remembered, and how
// many of those are left after a purge at the end of the brake.
func Braked(count int, now time.Time) (kept, left int) {
	b := newBrakes()
	for i := range count {
		b.pull(Key{byte(i), byte(i >> 8), byte(i >> 16)}, now, ErrProvider, false)
	}
	kept = len(b.until)
	b.purge(now.Add(brakeFor + doubtFor))
	return kept, len(b.until)
}
