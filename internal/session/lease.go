package session

import (
	"context"
	"crypto/rand"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// leaseLife is how long a replica that was killed keeps the others waiting.
	leaseLife = 4 * time.Second
	// leaseEvery is how often a replica that waits for the provider prolongs its lease.
	leaseEvery = time.Second
	// releaseLimit bounds prolonging it and giving it back; after leaseLife it ends by
	// itself.
	releaseLimit = 2 * time.Second
	// persistEvery is how often, at the least, new tokens are offered to a store that is
	// down, and inheritGrace how long an heir leaves them to whoever has them: when a
	// store comes back after the lease has ended, the tokens come before the heir.
	persistEvery = 500 * time.Millisecond
	inheritGrace = 2 * time.Second
	// changePoll is how often a waiter looks whether the row has changed, and changeAsk
	// after how many looks it asks the store.
	changePoll = 20 * time.Millisecond
	changeAsk  = 12
)

// turn is a lease that was got.
type turn struct {
	owner     Owner
	asked     time.Time
	inherited bool // from a replica that stopped in the middle
	held      *holding
}

func newOwner() (fresh Owner) {
	_, _ = rand.Read(fresh[:]) // never fails, crypto/rand since Go 1.24
	return fresh
}

// holding is a lease that is prolonged until it is ended or lost.
type holding struct {
	until       atomic.Pointer[time.Time] // by this process, which asked before the store counted
	stop, ended chan struct{}
	release     func()
}

// hold prolongs the lease of key from now on, and can give it back, whether the caller
// still waits or not. What is done under a lease that was lost meanwhile is settled by
// the row's version.
func (m *Manager) hold(ctx context.Context, key Key, t turn) *holding {
	ctx = context.WithoutCancel(ctx)
	h := &holding{stop: make(chan struct{}), ended: make(chan struct{})}
	until := t.asked.Add(leaseLife)
	h.until.Store(&until)
	h.release = func() {
		releasing, cancel := context.WithTimeout(ctx, releaseLimit)
		defer cancel()
		if err := m.Store.Release(releasing, key, t.owner); err != nil {
			m.Logger.DebugContext(ctx, "a lease was not given back; it ends by itself", "error", err)
		}
	}
	go func() {
		defer close(h.ended)
		tick := time.NewTicker(leaseEvery)
		defer tick.Stop()
		for {
			select {
			case <-h.stop:
				return
			case <-tick.C:
			}
			asked := time.Now()
			lease, err := m.prolong(ctx, key, t.owner)
			if err != nil {
				continue
			}
			until := asked.Add(leaseLife)
			if !lease.Held {
				m.Logger.WarnContext(ctx, "a lease was lost to another replica while tokens were renewed")
				until = asked
			}
			h.until.Store(&until)
			if !lease.Held {
				return
			}
		}
	}()
	return h
}

// errLeaseLost: another replica may be renewing the tokens now.
var errLeaseLost = errors.New("session: the lease was lost")

// still reports whether nobody else can have the lease.
func (h *holding) still() bool { return time.Now().Before(*h.until.Load()) }

// end stops prolonging the lease, and gives it back or leaves it to end by itself.
func (h *holding) end(giveBack bool) {
	close(h.stop)
	<-h.ended // a question under way is not cut off: it could arrive after the release
	if giveBack {
		h.release()
	}
}

func (m *Manager) prolong(ctx context.Context, key Key, owner Owner) (Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, releaseLimit)
	defer cancel()
	return m.Store.Lease(ctx, key, owner, leaseLife)
}

// alone runs one after the other, over all replicas, what is done under the lease of key.
func (m *Manager) alone(ctx context.Context, key Key, work func() error) error {
	waiting, cancel := context.WithTimeout(ctx, 2*leaseLife)
	defer cancel()
	for owner := newOwner(); ; {
		t := turn{owner: owner, asked: time.Now()}
		lease, err := m.Store.Lease(waiting, key, owner, leaseLife)
		if err != nil {
			return err
		}
		if lease.Held {
			held := m.hold(ctx, key, t)
			defer held.end(true)
			return work()
		}
		select {
		case <-waiting.Done():
			return waiting.Err()
		case <-time.After(changePoll):
		}
	}
}

// errWaited: nothing changed in time.
var errWaited = errors.New("session: waited in vain")

// change waits until the row of key may have changed since it had the stamp before, or
// its lease may be free.
func (m *Manager) change(ctx context.Context, key Key, before uint64) error {
	tick := time.NewTicker(changePoll)
	defer tick.Stop()
	for range changeAsk {
		select {
		case <-ctx.Done():
			return errWaited
		case <-tick.C:
		}
		if now, trusted := m.Store.Stamp(key); trusted && now != before {
			return nil
		}
	}
	return nil
}
