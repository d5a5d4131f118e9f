package session

import (
	"context"
	"sync"
	"time"
)

// lookingAtOnce is how many vigils ask the store side by side.
const lookingAtOnce = 32

// vigils are the sessions whose end somebody waits for. However many there are, one
// ticker looks after them, and only while there are any.
type vigils struct {
	mu      sync.Mutex
	of      map[Key]*vigil
	running bool
}

// vigil is one session, however many wait for its end.
type vigil struct {
	watch   watch // of whoever is asking, else of the ticker
	asking  bool
	waiting map[*waiter]struct{}
}

type waiter struct{ ended func(Reason) }

// OnEnd calls ended when s has ended, on whatever replica: once, as soon as Watch would
// tell, and never after stop has returned. ended must neither wait for anything nor call
// stop. Waiting is no activity, and it is cheap: no goroutine, no ticker.
func (m *Manager) OnEnd(s *Session, ended func(Reason)) (stop func()) {
	v, key, w := &m.vigils, s.row.Key, &waiter{ended}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = map[Key]*vigil{}
	}
	one, ok := v.of[key]
	if !ok {
		one = &vigil{watch: watch{manager: m, known: s}, waiting: map[*waiter]struct{}{}}
		v.of[key] = one
	}
	one.waiting[w] = struct{}{}
	if !v.running {
		v.running = true
		go m.keepVigil()
	}
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if delete(one.waiting, w); len(one.waiting) == 0 && v.of[key] == one {
			delete(v.of, key)
		}
	}
}

// keepVigil looks after all vigils until there are none.
func (m *Manager) keepVigil() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	places := make(chan struct{}, lookingAtOnce)
	for range tick.C {
		due, over := m.vigils.due()
		if over {
			return
		}
		for _, one := range due {
			places <- struct{}{}
			go func() {
				defer func() { <-places }()
				m.askFor(one)
			}()
		}
	}
}

// due returns the vigils that are to ask the store now; over: there are none at all.
func (v *vigils) due() (due []*vigil, over bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.running = len(v.of) > 0; !v.running {
		return nil, true
	}
	for _, one := range v.of {
		if !one.asking && one.watch.due() {
			one.asking = true
			due = append(due, one)
		}
	}
	return due, false
}

// askFor asks the store about one session, and tells all who wait when it has ended.
func (m *Manager) askFor(one *vigil) {
	ctx, cancel := context.WithTimeout(context.Background(), readLimit)
	defer cancel()
	events := one.watch.ask(ctx)
	v := &m.vigils
	v.mu.Lock()
	defer v.mu.Unlock()
	one.asking = false
	for _, e := range events {
		if e.Kind != EventEnded {
			continue
		}
		if key := one.watch.known.row.Key; v.of[key] == one {
			delete(v.of, key)
		}
		for w := range one.waiting {
			w.ended(e.Reason)
		}
	}
}
