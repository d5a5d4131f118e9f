package session

import (
	"context"
	"errors"
	"time"
)

// EventKind is what an Event tells.
type EventKind string

// Kinds of events.
const (
	EventExpiring  EventKind = "expiring"  // a time-out is near
	EventRefreshed EventKind = "refreshed" // its tokens were renewed
	EventEnded     EventKind = "ended"
)

// Event is what happens to a session that is watched.
type Event struct {
	Kind    EventKind
	Session *Session // as it is now; nil when it has ended
	Reason  Reason   // why it has ended
}

const (
	// watchEvery is how soon a change is seen; looking costs no question to the store.
	watchEvery = 250 * time.Millisecond
	// watchBlind is how often the store is asked while it cannot tell of changes.
	watchBlind = 2 * time.Second
	// expiringBefore is how long before the end EventExpiring comes, at most.
	expiringBefore = 2 * time.Minute
)

// Watch tells what happens to s until it ends or ctx does; then the channel is closed.
// A reader that is slow misses nothing but learns of it late. Watching is no activity.
func (m *Manager) Watch(ctx context.Context, s *Session) <-chan Event {
	events := make(chan Event)
	go func() {
		defer close(events)
		w := watch{manager: m, known: s}
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for _, e := range w.look(ctx) {
				select {
				case <-ctx.Done():
					return
				case events <- e:
				}
				if e.Kind == EventEnded {
					return
				}
			}
		}
	}()
	return events
}

// watch is one watcher's view of a session.
type watch struct {
	manager *Manager
	known   *Session // as last seen
	stamp   uint64   // of its row, from before it was last read
	asked   time.Time
	next    time.Time
	warned  bool // that the end is near
}

// look finds out what happened since the last look.
func (w *watch) look(ctx context.Context) []Event {
	if !w.due() {
		return nil
	}
	return w.ask(ctx)
}

// due reports whether to ask the store: when the row may have changed, when a time-out
// comes near, and now and then.
func (w *watch) due() bool {
	m := w.manager
	stamp, trusted := m.Store.Stamp(w.known.row.Key)
	changed := trusted && stamp != w.stamp
	blind := !trusted && m.Now().Sub(w.asked) >= watchBlind
	return !m.Now().Before(w.next) || changed || blind
}

func (w *watch) ask(ctx context.Context) []Event {
	m := w.manager
	stamp, trusted := m.Store.Stamp(w.known.row.Key) // from before the read
	now, err := m.read(ctx, w.known.row.Key)
	if errors.Is(err, ErrNone) {
		return []Event{{Kind: EventEnded, Reason: w.why(ctx)}}
	}
	w.stamp, w.asked = stamp, m.Now()
	w.next = w.asked.Add(watchBlind)
	if err != nil { // whether it has ended is not known, so nothing is told
		return nil
	}
	var events []Event
	if now.row.Version != w.known.row.Version {
		events = append(events, Event{Kind: EventRefreshed, Session: now})
	}
	w.known = now
	warning := w.end().Add(-min(expiringBefore, m.IdleTimeout/4))
	near := !m.Now().Before(warning)
	if near && !w.warned {
		events = append(events, Event{Kind: EventExpiring, Session: now})
	}
	w.warned = near
	if trusted && !near {
		w.next = earlier(m.Now().Add(readAgain), warning)
	}
	return events
}

// end is when the session ends without further activity.
func (w *watch) end() time.Time { return earlier(w.known.Idle, w.known.Expires) }

func (w *watch) why(ctx context.Context) Reason {
	reason := w.manager.reason(ctx, w.known.row.Key)
	switch {
	case reason == replaced:
		return Ended
	case reason == leftThere:
		return ProviderEnded
	case reason == Ended && !w.manager.Now().Before(w.end()):
		return Expired
	}
	return reason
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
