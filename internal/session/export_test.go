package session

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

// Braked is how many sessions m remembers a failure of the provider of.
func Braked(m *Manager) int {
	m.brakes.mu.Lock()
	defer m.brakes.mu.Unlock()
	return len(m.brakes.until)
}

// Tagged is how many tags m keeps.
func Tagged(m *Memory) int { return len(m.tagged) }
