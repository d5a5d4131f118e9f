package session

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"
)

// memoryRows is how many rows the memory store takes: sessions, and for ten minutes
// each answer of a provider. The bound keeps whoever begins sign-ins without end from
// taking the machine's memory.
const memoryRows = 100_000

var (
	errMemoryClosed = errors.New("session: memory store is closed")
	errMemoryFull   = errors.New("session: memory store is full")
)

// Memory is a Store for tests and for trying things out: a restart ends every
// session, and no second process sees them. It takes at most 100,000 live
// sessions; one more is a fault of the store.
type Memory struct {
	now   func() time.Time
	limit int

	mu     sync.Mutex
	rows   map[Key]Row
	closed bool
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store. now is the clock rows end by.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{now: now, limit: memoryRows, rows: map[Key]Row{}}
}

// Load implements Store.
func (m *Memory) Load(ctx context.Context, key Key) (Row, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return Row{}, err
	}
	defer unlock()
	row, ok := m.live(key)
	if !ok {
		return Row{}, ErrNone
	}
	row.Data = bytes.Clone(row.Data)
	return row, nil
}

// Save implements Store.
func (m *Memory) Save(ctx context.Context, row Row) (uint64, error) {
	if len(row.Data) > MaxData {
		return 0, ErrTooLarge
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	row.Data = bytes.Clone(row.Data)
	row.Seen, row.Idle, row.Expires = stored(row.Seen), stored(row.Idle), stored(row.Expires)
	old, ok := m.live(row.Key)
	switch {
	case row.Version == 0 && ok:
		return 0, ErrConflict
	case row.Version == 0:
		if len(m.rows) >= m.limit && m.sweep(m.limit) == 0 {
			return 0, errMemoryFull
		}
	case !ok:
		return 0, ErrNone
	case row.Version != old.Version:
		return 0, ErrConflict
	default:
		row.Seen, row.Idle = later(row.Seen, old.Seen), later(row.Idle, old.Idle)
	}
	row.Version++
	m.rows[row.Key] = row
	return row.Version, nil
}

// Touch implements Store.
func (m *Memory) Touch(ctx context.Context, key Key, seen, idle time.Time) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	row, ok := m.live(key)
	if !ok {
		return ErrNone
	}
	row.Seen, row.Idle = later(row.Seen, stored(seen)), later(row.Idle, stored(idle))
	m.rows[key] = row
	return nil
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, key Key) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	delete(m.rows, key)
	return nil
}

// Sweep implements Store. It looks at every row, unlike the other stores.
func (m *Memory) Sweep(ctx context.Context, limit int) (int, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	return m.sweep(limit), nil
}

// Ping implements Store.
func (m *Memory) Ping(ctx context.Context) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	unlock()
	return nil
}

// Close implements Store and forgets every session.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.rows = true, nil
	return nil
}

func (m *Memory) lock(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, errMemoryClosed
	}
	return m.mu.Unlock, nil
}

func (m *Memory) live(key Key) (Row, bool) {
	row, ok := m.rows[key]
	return row, ok && !row.over(m.now())
}

func (m *Memory) sweep(limit int) (swept int) {
	now := m.now()
	for key, row := range m.rows {
		if swept >= limit {
			break
		}
		if row.over(now) {
			delete(m.rows, key)
			swept++
		}
	}
	return swept
}

func (r Row) over(now time.Time) bool { return !now.Before(r.Idle) || !now.Before(r.Expires) }

// stored is t as every store keeps it. It has no monotonic reading: that clock
// stands still while a machine sleeps, and sessions would outlive their limits.
func stored(t time.Time) time.Time { return t.Truncate(time.Millisecond).UTC() }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
