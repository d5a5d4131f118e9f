package sqlitestore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"genkan/internal/session"
)

// Find implements session.Store.
func (s *Store) Find(ctx context.Context, tags []session.Tag, limit int) (rows []session.Row, err error) {
	err = s.do(ctx, "find", func(ctx context.Context) error {
		rows, err = s.find(ctx, tags, max(limit, 0))
		return err
	})
	return rows, err
}

func (s *Store) find(ctx context.Context, tags []session.Tag, limit int) ([]session.Row, error) {
	args := []any{s.now().UnixMilli()}
	for _, tag := range tags {
		args = append(args, tag[:])
	}
	found, err := s.read.QueryContext(ctx, findQuery(len(tags)), append(args, limit)...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var rows []session.Row
	for found.Next() {
		var row session.Row
		var key []byte
		if err := scan(found, &row, &key); err != nil {
			return nil, err
		}
		copy(row.Key[:], key)
		rows = append(rows, row)
	}
	return rows, found.Err()
}

// findQuery takes the time, a number of tags and the limit.
func findQuery(tags int) string {
	return findRows + strings.TrimSuffix(strings.Repeat("?,", tags), ",") + findLimit
}

// setOf is tags as a row keeps them: each once, in order, one after the other.
func setOf(tags []session.Tag) []byte {
	compare := func(a, b session.Tag) int { return bytes.Compare(a[:], b[:]) }
	set := []byte{} // nil would be NULL
	for _, tag := range slices.Compact(slices.SortedFunc(slices.Values(tags), compare)) {
		set = append(set, tag[:]...)
	}
	return set
}

// Lease implements session.Store; its clock is the store's.
func (s *Store) Lease(ctx context.Context, key session.Key, owner session.Owner, ttl time.Duration) (lease session.Lease, err error) {
	err = s.do(ctx, "lease", func(ctx context.Context) error {
		lease = session.Lease{}
		now := s.now()
		changed, err := s.exec(ctx, takeLease, key[:], owner[:], now.Add(ttl).UnixMilli(), now.UnixMilli())
		if err != nil || changed == 0 {
			return err
		}
		err = s.writing[heldLease].QueryRowContext(ctx, key[:], owner[:]).Scan(&lease.Inherited)
		lease.Held = err == nil
		if errors.Is(err, sql.ErrNoRows) { // it is over already, and another's
			return nil
		}
		return err
	})
	return lease, err
}

// Release implements session.Store.
func (s *Store) Release(ctx context.Context, key session.Key, owner session.Owner) error {
	return s.do(ctx, "release", func(ctx context.Context) error {
		_, err := s.exec(ctx, endLease, key[:], owner[:])
		return err
	})
}
