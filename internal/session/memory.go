package session

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// memoryRows is how many rows the memory store takes: sessions, and for ten minutes
// each answer of a provider. The bound keeps whoever begins sign-ins without end from
// taking the machine's memory.
const memoryRows = 100_000

// abandoned is how long after its end a lease nobody has released is kept.
const abandoned = 10 * time.Minute

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

	stamps Stamps // changed under mu, so that Load is never ahead of them
	mu     sync.Mutex
	rows   map[Key]Row
	tagged map[Tag]map[Key]struct{} // of rows, by each of its Tags
	leases map[Key]memoryLease
	closed bool
}

type memoryLease struct {
	owner     Owner
	until     time.Time
	inherited bool
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store. now is the clock rows end by.
func NewMemory(now func() time.Time) *Memory {
	m := &Memory{
		now: now, limit: memoryRows,
		rows: map[Key]Row{}, tagged: map[Tag]map[Key]struct{}{}, leases: map[Key]memoryLease{},
	}
	m.stamps.Up() // there is no other process to hear of
	return m
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
	return given(row), nil
}

// Save implements Store.
func (m *Memory) Save(ctx context.Context, row Row) (uint64, error) {
	if len(row.Data) > MaxData || len(row.Tags) > MaxTags {
		return 0, ErrTooLarge
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	defer m.stamps.Changed(row.Key)
	row.Data, row.Tags = bytes.Clone(row.Data), slices.Clone(row.Tags)
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
	m.remove(row.Key)
	m.rows[row.Key] = row
	for _, tag := range row.Tags {
		if m.tagged[tag] == nil {
			m.tagged[tag] = map[Key]struct{}{}
		}
		m.tagged[tag][row.Key] = struct{}{}
	}
	return row.Version, nil
}

// Touch implements Store.
func (m *Memory) Touch(ctx context.Context, all []Activity) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, a := range all {
		if row, ok := m.live(a.Key); ok {
			row.Seen, row.Idle = later(row.Seen, stored(a.Seen)), later(row.Idle, stored(a.Idle))
			m.rows[a.Key] = row
		}
	}
	return nil
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, key Key, version uint64) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	defer m.stamps.Changed(key)
	if row, ok := m.live(key); ok && version != 0 && version != row.Version {
		return ErrConflict
	}
	m.remove(key)
	return nil
}

// Find implements Store.
func (m *Memory) Find(ctx context.Context, tags []Tag, limit int) ([]Row, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var rows []Row
	met := map[Key]bool{}
	for _, tag := range tags {
		for key := range m.tagged[tag] {
			if len(rows) >= limit {
				return rows, nil
			}
			if row, ok := m.live(key); ok && !met[key] {
				met[key] = true
				rows = append(rows, given(row))
			}
		}
	}
	return rows, nil
}

// Stamp implements Store.
func (m *Memory) Stamp(key Key) (stamp uint64, ok bool) { return m.stamps.Of(key) }

// Lag implements Store.
func (m *Memory) Lag() time.Duration { return 0 }

// Lease implements Store.
func (m *Memory) Lease(ctx context.Context, key Key, owner Owner, ttl time.Duration) (Lease, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return Lease{}, err
	}
	defer unlock()
	now := m.now()
	lease, had := m.leases[key]
	switch {
	case !had && len(m.leases) >= m.limit:
		return Lease{}, errMemoryFull
	case had && lease.owner != owner && now.Before(lease.until):
		return Lease{}, nil
	case had && lease.owner != owner:
		lease.inherited = true
	}
	lease.owner, lease.until = owner, stored(now.Add(ttl))
	m.leases[key] = lease
	return Lease{Held: true, Inherited: lease.inherited}, nil
}

// Release implements Store.
func (m *Memory) Release(ctx context.Context, key Key, owner Owner) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if m.leases[key].owner == owner {
		delete(m.leases, key)
	}
	return nil
}

// Sweep implements Store. It looks at every row, unlike the other stores.
func (m *Memory) Sweep(ctx context.Context, limit int) (int, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if limit > 0 {
		now := m.now()
		maps.DeleteFunc(m.leases, func(_ Key, lease memoryLease) bool { return now.Sub(lease.until) >= abandoned })
	}
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
	m.closed, m.rows, m.tagged, m.leases = true, nil, nil, nil
	m.stamps.Down()
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
			m.remove(key)
			swept++
		}
	}
	return swept
}

func (m *Memory) remove(key Key) {
	for _, tag := range m.rows[key].Tags {
		delete(m.tagged[tag], key)
		if len(m.tagged[tag]) == 0 {
			delete(m.tagged, tag)
		}
	}
	delete(m.rows, key)
}

// given is row as a caller gets it.
func given(row Row) Row {
	row.Data, row.Tags = bytes.Clone(row.Data), nil
	return row
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
