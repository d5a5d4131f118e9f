package session

// ProbeKey is what a store is asked for that may be down.
var ProbeKey = probeKey

// Cached is how many opened sessions m keeps and what they weigh.
func Cached(m *Manager) (sessions int, bytes uint64) {
	m.cache.entries.CleanUp()
	for _, e := range m.cache.entries.All() {
		sessions++
		bytes += uint64(weigh(e.session))
	}
	return sessions, bytes
}

// Braked is how many sessions m remembers a failure of the provider of.
func Braked(m *Manager) int {
	m.brakes.mu.Lock()
	defer m.brakes.mu.Unlock()
	return len(m.brakes.until)
}

// Tagged is how many tags m keeps.
func Tagged(m *Memory) int { return len(m.tagged) }
