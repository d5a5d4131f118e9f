package session

import (
	"time"

	"github.com/maypok86/otter/v2"

	"genkan/internal/keys"
)

const (
	// defaultCacheSize is Config.CacheSize where none is given.
	defaultCacheSize = 128 << 20
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

func newCache(size uint64) *cache {
	return &cache{otter.Must(&otter.Options[Key, *entry]{
		MaximumWeight: size,
		Weigher:       func(_ Key, e *entry) uint32 { return e.weight },
	})}
}

// session returns what is kept under key, if stamp still is its row's. It is shared.
func (c *cache) session(key Key, stamp uint64, now time.Time) (*Session, bool) {
	e, ok := c.entries.GetIfPresent(key)
	if !ok {
		return nil, false
	}
	s := e.session
	if e.stamp != stamp || now.Sub(e.read) >= readAgain || !now.Before(s.Idle) || !now.Before(s.Expires) {
		return nil, false
	}
	return s, true
}

// keep takes s, which the caller does not change any more.
func (c *cache) keep(key Key, s *Session, stamp uint64, now time.Time) {
	kept := *s
	c.entries.Set(key, &entry{session: &kept, stamp: stamp, read: now, weight: weigh(s)})
}

// touched moves the activity of the session that is kept.
func (c *cache) touched(a Activity) {
	c.change(a.Key, func(s *Session) { s.active(a.Seen, a.Idle) })
}

// untouched takes a back, which the store does not know.
func (c *cache) untouched(a noted) {
	c.change(a.Key, func(s *Session) {
		if s.row.Seen.Equal(a.Seen) { // else later activity waits
			s.active(a.before.Seen, a.before.Idle)
		}
	})
}

// change puts a changed copy in the place of the session that is kept under key.
func (c *cache) change(key Key, by func(*Session)) {
	c.entries.ComputeIfPresent(key, func(e *entry) (*entry, otter.ComputeOp) {
		kept, s := *e, *e.session
		by(&s)
		kept.session = &s
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
	const (
		fixed = 1 << 10 // structs, times, map headers
		claim = 100     // its place in the map, two headers and what allocation rounds up
		one   = 24      // the same of a text in a list
	)
	t, who := s.Grant.Tokens, s.Grant.Identity
	n := fixed + len(s.Agent) + len(who.Nonce)
	for _, secret := range []keys.Secret{t.Access, t.Refresh, t.ID, t.Key} {
		n += len(secret.Reveal())
	}
	for name, value := range who.Claims {
		n += len(name) + len(value) + claim
	}
	for _, list := range [][]string{t.Scope, who.Audience, who.AMR} {
		for _, text := range list {
			n += len(text) + one
		}
	}
	return uint32(n)
}
