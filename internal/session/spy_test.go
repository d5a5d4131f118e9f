package session_test

import (
	"context"
	"sync"
	"time"

	"genkan/internal/session"
)

// spyStore counts calls, keeps what was saved, and fails on demand.
type spyStore struct {
	session.Store
	mu    sync.Mutex
	err   error
	lost  error // of the next Save, which happens all the same
	calls map[string]int
	rows  []session.Row
}

func (s *spyStore) note(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls == nil {
		s.calls = map[string]int{}
	}
	s.calls[call]++
	return s.err
}

func (s *spyStore) fail(err error) { s.mu.Lock(); s.err = err; s.mu.Unlock() }

func (s *spyStore) loseAnswer(err error) { s.mu.Lock(); s.lost = err; s.mu.Unlock() }

func (s *spyStore) count(call string) int { s.mu.Lock(); defer s.mu.Unlock(); return s.calls[call] }

func (s *spyStore) saved() []session.Row { s.mu.Lock(); defer s.mu.Unlock(); return s.rows }

func (s *spyStore) Load(ctx context.Context, key session.Key) (session.Row, error) {
	if err := s.note("load"); err != nil {
		return session.Row{}, err
	}
	return s.Store.Load(ctx, key)
}

func (s *spyStore) Save(ctx context.Context, row session.Row) (uint64, error) {
	if err := s.note("save"); err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.rows = append(s.rows, row)
	lost := s.lost
	s.lost = nil
	s.mu.Unlock()
	version, err := s.Store.Save(ctx, row)
	if lost != nil {
		return 0, lost
	}
	return version, err
}

func (s *spyStore) Touch(ctx context.Context, all []session.Activity) error {
	if err := s.note("touch"); err != nil {
		return err
	}
	return s.Store.Touch(ctx, all)
}

func (s *spyStore) Delete(ctx context.Context, key session.Key, version uint64) error {
	if err := s.note("delete"); err != nil {
		return err
	}
	return s.Store.Delete(ctx, key, version)
}

func (s *spyStore) Find(ctx context.Context, tags []session.Tag, limit int) ([]session.Row, error) {
	if err := s.note("find"); err != nil {
		return nil, err
	}
	return s.Store.Find(ctx, tags, limit)
}

func (s *spyStore) Lease(ctx context.Context, key session.Key, owner session.Owner, ttl time.Duration) (session.Lease, error) {
	if err := s.note("lease"); err != nil {
		return session.Lease{}, err
	}
	return s.Store.Lease(ctx, key, owner, ttl)
}

func (s *spyStore) Release(ctx context.Context, key session.Key, owner session.Owner) error {
	if err := s.note("release"); err != nil {
		return err
	}
	return s.Store.Release(ctx, key, owner)
}
