package session

import (
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	// cacheSize bounds what opened sessions may take of the memory, in bytes as
	// counted by weigh.
	cacheSize = 128 << 20
	// readAgain is after how long an opened session is read anew although nobody has
	// told of a change: activity on other replicas, and a notice that got lost.
	readAgain = time.Minute
)

// cache keeps opened sessions. Whether one may still be used is for Store.Stamp to
// say: a session that was ended elsewhere is refused although it is still here.
type cache struct {
	entries *otter.Cache[Key, *entry]
}

// entry is a session as it was read; nothing changes it.
type entry struct {
	session *Session
	stamp   uint64 // of the row, from before it was read
	read    time.Time
	weight  uint32
}

func newCache() *cache {
	return &cache{otter.Must(&otter.Options[Key, *entry]{
		MaximumWeight: cacheSize,
		Weigher:       func(_ Key, e *entry) uint32 { return e.weight },
	})}
}

// session returns a copy of what is kept under key, if stamp still is its row's.
func (c *cache) session(key Key, stamp uint64, now time.Time) (*Session, bool) {
	e, ok := c.entries.GetIfPresent(key)
	if !ok {
		return nil, false
	}
	s := e.session
	if e.stamp != stamp || now.Sub(e.read) >= readAgain || !now.Before(s.Idle) || !now.Before(s.Expires) {
		return nil, false
	}
	copied := *s
	return &copied, true
}

// keep takes s, which the caller does not change any more.
func (c *cache) keep(key Key, s *Session, stamp uint64, now time.Time) {
	kept := *s
	c.entries.Set(key, &entry{session: &kept, stamp: stamp, read: now, weight: weigh(s)})
}

// touched moves the activity of the session that is kept under key.
func (c *cache) touched(key Key, seen, idle time.Time) {
	c.entries.ComputeIfPresent(key, func(e *entry) (*entry, otter.ComputeOp) {
		kept, moved := *e, *e.session
		moved.active(seen, idle)
		kept.session = &moved
		return &kept, otter.WriteOp
	})
}

// seen is the last activity of the session that is or was kept under key.
func (c *cache) seen(key Key) time.Time {
	if e, ok := c.entries.GetIfPresent(key); ok {
		return e.session.row.Seen
	}
	return time.Time{}
}

func (c *cache) drop(key Key) { c.entries.Invalidate(key) }

// purge drops the sessions that have ended, so that their tokens do not stay in memory.
func (c *cache) purge(stamp func(Key) (uint64, bool), now time.Time) {
	for key, e := range c.entries.All() {
		if at, ok := stamp(key); !ok || at != e.stamp || !now.Before(e.session.Idle) || !now.Before(e.session.Expires) {
			c.drop(key)
		}
	}
}

// weigh estimates the bytes that s takes in memory.
func weigh(s *Session) uint32 {
	const fixed = 1 << 10 // structs, times, map headers
	t, who := s.Grant.Tokens, s.Grant.Identity
	n := fixed + len(t.Access.Reveal()) + len(t.Refresh.Reveal()) + len(t.ID.Reveal()) + len(s.Agent)
	for name, value := range who.Claims {
		n += len(name) + len(value) + 64
	}
	for _, scope := range t.Scope {
		n += len(scope) + 16
	}
	return uint32(n)
}
