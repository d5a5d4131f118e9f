package session

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// touchEvery bounds how often activity of a session is written.
	touchEvery = time.Minute
	// touchTogether is how long it waits to be written with that of others: what many
	// people do at a time costs the store one write.
	touchTogether = time.Second
)

// activity is what has not been written yet.
type activity struct {
	mu      sync.Mutex
	waiting map[Key]noted
	timer   *time.Timer // nil while nothing waits
}

// noted is activity, and what the store knows.
type noted struct {
	Activity
	before Activity
}

// Active counts a request as activity of s: it moves the idle limit, at most once a minute
// on each replica. The store learns of it a second later at most, at once where the idle
// limit is near; if this process is killed before, only the extension is lost. If the store
// fails, the next request tries again. It returns s as it is from now on.
func (m *Manager) Active(s *Session) *Session {
	now, key := m.Now(), s.row.Key
	recent := func(seen time.Time) bool { return now.Sub(seen) < min(touchEvery, m.IdleTimeout/10) }
	if recent(s.row.Seen) {
		return s
	}
	seen := m.cache.seen(key)
	if !recent(seen) { // else it was noted while s was on its way here
		a := noted{Activity{key, now, m.idleLimit(now, s.Expires)}, Activity{key, s.row.Seen, s.row.Idle}}
		seen = m.noteActive(a, recent)
	}
	moved := *s
	moved.active(seen, m.idleLimit(seen, s.Expires))
	return &moved
}

// noteActive has a written soon, unless what waits is recent. It returns when the last
// activity was.
func (m *Manager) noteActive(a noted, recent func(time.Time) bool) time.Time {
	all := &m.activity
	all.mu.Lock()
	defer all.mu.Unlock()
	if known, there := all.waiting[a.Key]; there && recent(known.Seen) {
		return known.Seen
	}
	if all.timer == nil {
		all.waiting = map[Key]noted{}
		all.timer = time.AfterFunc(touchTogether, func() { m.writeActivity(context.Background()) })
	}
	if a.before.Idle.Sub(a.Seen) < 3*touchTogether { // the row would end while this waits
		all.timer.Reset(0)
	}
	all.waiting[a.Key] = a
	m.cache.touched(a.Activity)
	return a.Seen
}

// waitingActivity is what key waits to be moved to.
func (m *Manager) waitingActivity(key Key) (Activity, bool) {
	m.activity.mu.Lock()
	defer m.activity.mu.Unlock()
	a, waits := m.activity.waiting[key]
	return a.Activity, waits
}

// writeActivity writes what waits.
func (m *Manager) writeActivity(ctx context.Context) {
	m.busy.Add(1)
	defer m.busy.Add(-1)
	all := &m.activity
	all.mu.Lock()
	waiting := all.waiting
	if all.timer != nil {
		all.timer.Stop()
	}
	all.waiting, all.timer = nil, nil
	all.mu.Unlock()
	for list := range slices.Chunk(slices.Collect(maps.Values(waiting)), MaxTouched) {
		m.touchAll(ctx, list)
	}
}

// touchAll writes list. What could not be written was no activity as far as the next
// request goes, which tries again.
func (m *Manager) touchAll(ctx context.Context, list []noted) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	all := make([]Activity, len(list))
	for i, a := range list {
		all[i] = a.Activity
	}
	if err := m.touch(ctx, all); err != nil {
		for _, a := range list {
			m.cache.untouched(a)
		}
		m.Logger.WarnContext(ctx, "activity not written", "sessions", len(list), "error", err)
	}
}

func (m *Manager) touch(ctx context.Context, all []Activity) (err error) {
	defer m.caught(&err)
	return m.Store.Touch(ctx, all)
}
