package session

import (
	"sync"
	"time"
)

const (
	// brakeFor is how long nobody asks a provider again that could not renew a session.
	brakeFor = 5 * time.Second
	// doubtFor is how much longer it is remembered that an answer was lost.
	doubtFor = 5 * time.Minute
	// maxBrakes bounds how many sessions that is remembered of.
	maxBrakes = 10_000
)

// brakes remember the sessions whose provider has just failed, so that not every request
// of every tab waits for it to fail again.
type brakes struct {
	mu    sync.Mutex
	until map[Key]brake
}

type brake struct {
	until time.Time
	cause error
	// doubt: no answer of the provider came, so it may have renewed the tokens all the
	// same, and then refuses the old one.
	doubt bool
}

func newBrakes() *brakes { return &brakes{until: map[Key]brake{}} }

// on returns why the session's provider is not to be asked now, else nil.
func (b *brakes) on(key Key, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if found, ok := b.until[key]; ok && now.Before(found.until) {
		return found.cause
	}
	return nil
}

// doubtful reports whether the last answer for the session was lost.
func (b *brakes) doubtful(key Key) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until[key].doubt
}

func (b *brakes) pull(key Key, now time.Time, cause error, doubt bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, ok := b.until[key]
	if !ok && len(b.until) >= maxBrakes {
		b.drop(now)
	}
	if ok || len(b.until) < maxBrakes {
		b.until[key] = brake{now.Add(brakeFor), cause, doubt || known.doubt}
	}
}

// purge forgets what has ended long ago.
func (b *brakes) purge(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(now.Add(-doubtFor))
}

// drop forgets what ended before now.
func (b *brakes) drop(now time.Time) {
	for key, found := range b.until {
		if !now.Before(found.until) {
			delete(b.until, key)
		}
	}
}
