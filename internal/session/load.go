package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/singleflight"
)

// readLimit bounds a read or a Touch that several requests wait for. A store ends its
// own operations earlier.
const readLimit = 10 * time.Second

// load returns the live session of key, which others may have as well: ErrNone or ErrStore.
// It asks the store only for what has changed since it was last asked.
func (m *Manager) load(ctx context.Context, key Key) (*Session, error) {
	stamp, trusted := m.Store.Stamp(key)
	if !trusted {
		return m.read(ctx, key)
	}
	if s, ok := m.cache.session(key, stamp, m.Now()); ok {
		return s, nil
	}
	return m.readShared(ctx, key, stamp)
}

// readShared asks the store once for all who ask for key at a time.
func (m *Manager) readShared(ctx context.Context, key Key, stamp uint64) (*Session, error) {
	// The stamp is part of the name: who comes after a change does not get what was
	// read before it.
	name := string(key[:]) + strconv.FormatUint(stamp, 16)
	result := m.share(&m.reading, name, func() (*Session, error) {
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), readLimit)
		defer cancel()
		s, err := m.read(detached, key)
		if err != nil {
			m.cache.drop(key)
			return nil, err
		}
		m.cache.keep(key, s, stamp, m.Now())
		return s, nil
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrStore, ctx.Err())
	case r := <-result:
		return ownOf(r)
	}
}

// share runs find once for all who ask by that name at a time.
func (m *Manager) share(group *singleflight.Group, name string, find func() (*Session, error)) <-chan singleflight.Result {
	return group.DoChan(name, func() (found any, err error) {
		m.busy.Add(1)
		defer m.busy.Add(-1)
		defer m.caught(&err)
		return find()
	})
}

// caught makes an error of a panic that would end the process, outside of any request.
func (m *Manager) caught(err *error) {
	if v := recover(); v != nil {
		m.Logger.Error("panic while a session was read, renewed or touched", "type", fmt.Sprintf("%T", v)) // its text could hold a token
		*err = errors.New("session: reading, renewing or touching it panicked")
	}
}

// ownOf is what share found, as each who asked gets it.
func ownOf(r singleflight.Result) (*Session, error) {
	if r.Err != nil {
		return nil, r.Err
	}
	own := *r.Val.(*Session)
	return &own, nil
}

// read asks the store.
func (m *Manager) read(ctx context.Context, key Key) (*Session, error) {
	row, err := m.Store.Load(ctx, key)
	if err != nil {
		return nil, err
	}
	return m.open(ctx, row)
}

// open unseals what a store gave. A row that was copied onto another key, changed, or
// sealed with a key that is gone counts as no session.
func (m *Manager) open(ctx context.Context, row Row) (*Session, error) {
	plain, err := m.Ring.Open(purposeRecord, m.bind(row.Key), row.Data)
	if err != nil {
		m.Logger.WarnContext(ctx, "a stored session cannot be opened and counts as none: its key is gone, or it was changed or moved")
		return nil, ErrNone
	}
	record, err := unmarshal(plain)
	if err != nil {
		m.Logger.WarnContext(ctx, "a stored session cannot be read and counts as none", "error", err)
		return nil, ErrNone
	}
	if !m.Now().Before(record.Expires) { // sealed, unlike the row's own times
		return nil, ErrNone
	}
	record.Trips = slices.Clip(record.Trips) // requests share what the cache keeps
	row.Data = nil
	if a, waits := m.waitingActivity(row.Key); waits { // the store does not know yet
		row.Seen, row.Idle = later(row.Seen, a.Seen), later(row.Idle, a.Idle)
	}
	return &Session{Record: record, Idle: row.Idle, row: row}, nil
}

// write seals and saves s, with the newest key; the store decides whether it is still
// the same row.
func (m *Manager) write(ctx context.Context, s *Session) error {
	plain, err := s.marshal()
	if err != nil {
		return fmt.Errorf("session: record: %w", err)
	}
	row := s.row
	row.Data = m.Ring.Seal(purposeRecord, m.bind(row.Key), plain)
	row.Tags = m.tags(row.Key, &s.Record)
	version, err := m.Store.Save(ctx, row)
	if err != nil {
		return err
	}
	s.row.Version = version
	return nil
}
