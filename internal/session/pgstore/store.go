// Package pgstore keeps sessions in PostgreSQL 14 or later, for any number of replicas.
//
// It owns its tables (genkan_*, in the first schema of the connection's search_path),
// their migration, and the notices by which one replica tells the others what has
// changed; what is inside a row it does not know. A notice names a row by its key,
// which is a hash and opens nothing.
//
// Behind a pooler the notices need session pooling. Where they do not arrive, as with
// transaction pooling, the store notices that, and works without Stamp: every request
// then reads its session. PgBouncer moreover needs ignore_startup_parameters =
// statement_timeout,lock_timeout,default_transaction_isolation, and in the address
// default_query_exec_mode=cache_describe, as prepared statements have names else.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"genkan/internal/session"
)

// wait bounds every operation, also one whose context has no deadline.
const wait = 5 * time.Second

// Store is a session.Store in a PostgreSQL database.
type Store struct {
	now      func() time.Time
	logger   *slog.Logger
	pool     *pgxpool.Pool
	listener *pgx.ConnConfig
	feed     feed
	fault    atomic.Pointer[error] // why no call can work yet; nil when it can

	stop       context.CancelFunc
	working    sync.WaitGroup
	channel    string               // of notices; for work alone, and after fault is nil
	complained map[string]time.Time // when a message was last logged; for work alone
}

var _ session.Store = (*Store)(nil)

// Load implements session.Store.
func (s *Store) Load(ctx context.Context, key session.Key) (session.Row, error) {
	row := session.Row{Key: key}
	err := s.repeatable(ctx, "load", func(ctx context.Context, conn *pgx.Conn) error {
		var seen, idle, expires int64
		err := conn.QueryRow(ctx, loadRow, key[:], s.now().UnixMilli()).
			Scan(&row.Version, &seen, &idle, &expires, &row.Data)
		if errors.Is(err, pgx.ErrNoRows) {
			return session.ErrNone
		}
		row.Seen, row.Idle, row.Expires = timeOf(seen), timeOf(idle), timeOf(expires)
		return err
	})
	if err != nil {
		return session.Row{}, err
	}
	return row, nil
}

// Save implements session.Store.
func (s *Store) Save(ctx context.Context, row session.Row) (uint64, error) {
	if len(row.Data) > session.MaxData || len(row.Tags) > session.MaxTags {
		return 0, session.ErrTooLarge
	}
	if row.Data == nil {
		row.Data = []byte{} // nil would be NULL
	}
	query := replaceRow
	if row.Version == 0 {
		query = insertRow
	}
	err := s.change(ctx, row.Key, row.Version > 0, func(payload string) error {
		return s.do(ctx, "save", func(ctx context.Context, conn *pgx.Conn) error {
			now := s.now().UnixMilli()
			result, err := conn.Exec(ctx, query, row.Key[:], int64(row.Version),
				row.Seen.UnixMilli(), row.Idle.UnixMilli(), row.Expires.UnixMilli(),
				row.Data, now, bytesOf(row.Tags), s.channel, payload)
			switch {
			case err != nil || result.RowsAffected() > 0:
				return err
			case row.Version == 0:
				return session.ErrConflict
			}
			return why(ctx, conn, row.Key, now)
		})
	})
	if err != nil {
		return 0, err
	}
	return row.Version + 1, nil
}

// why tells ErrConflict from ErrNone when a statement has found no row of a version.
func why(ctx context.Context, conn *pgx.Conn, key session.Key, now int64) error {
	var live bool
	err := conn.QueryRow(ctx, isLive, key[:], now).Scan(&live)
	switch {
	case err != nil:
		return err
	case live:
		return session.ErrConflict
	}
	return session.ErrNone
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, all []session.Activity) error {
	keys, seen, idle := make([][]byte, len(all)), make([]int64, len(all)), make([]int64, len(all))
	for i, a := range all {
		keys[i], seen[i], idle[i] = a.Key[:], a.Seen.UnixMilli(), a.Idle.UnixMilli()
	}
	return s.repeatable(ctx, "touch", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, touchRows, keys, seen, idle, s.now().UnixMilli())
		return err
	})
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, key session.Key, version uint64) error {
	err := s.change(ctx, key, true, func(payload string) error {
		return s.repeatable(ctx, "delete", func(ctx context.Context, conn *pgx.Conn) error {
			result, err := conn.Exec(ctx, deleteRow, key[:], int64(version), s.channel, payload)
			switch {
			case err != nil || result.RowsAffected() > 0:
				return err
			case version == 0:
				return session.ErrNone
			}
			return why(ctx, conn, key, s.now().UnixMilli())
		})
	})
	if errors.Is(err, session.ErrNone) {
		return nil
	}
	return err
}

// Find implements session.Store.
func (s *Store) Find(ctx context.Context, tags []session.Tag, limit int) (found []session.Row, err error) {
	err = s.repeatable(ctx, "find", func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, findRows, bytesOf(tags), s.now().UnixMilli(), max(limit, 0))
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (row session.Row, err error) {
			var key []byte
			var seen, idle, expires int64
			err = r.Scan(&key, &row.Version, &seen, &idle, &expires, &row.Data)
			copy(row.Key[:], key)
			row.Seen, row.Idle, row.Expires = timeOf(seen), timeOf(idle), timeOf(expires)
			return row, err
		})
		return err
	})
	return found, err
}

// Stamp implements session.Store.
func (s *Store) Stamp(key session.Key) (stamp uint64, ok bool) { return s.feed.stamps.Of(key) }

// Lag implements session.Store.
func (s *Store) Lag() time.Duration { return session.Lag }

// Lease implements session.Store.
func (s *Store) Lease(ctx context.Context, key session.Key, owner session.Owner, ttl time.Duration) (lease session.Lease, err error) {
	err = s.do(ctx, "lease", func(ctx context.Context, conn *pgx.Conn) error {
		err := conn.QueryRow(ctx, takeLease, key[:], owner[:], ttl.Seconds()).Scan(&lease.Inherited)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		lease.Held = err == nil
		return err
	})
	return lease, err
}

// Release implements session.Store.
func (s *Store) Release(ctx context.Context, key session.Key, owner session.Owner) error {
	return s.repeatable(ctx, "release", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, releaseLease, key[:], owner[:])
		return err
	})
}

// Sweep implements session.Store. It sends no notices: who has a copy of a row that is
// over sees that by its times.
func (s *Store) Sweep(ctx context.Context, limit int) (swept int, err error) {
	limit = max(limit, 0)
	err = s.do(ctx, "sweep", func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, sweepLeases, limit); err != nil {
			return err
		}
		rows, err := conn.Query(ctx, sweepRows, s.now().UnixMilli(), limit)
		if err != nil {
			return err
		}
		keys, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
		for _, key := range keys {
			s.feed.stamps.Changed(session.Key(key))
		}
		swept = len(keys)
		return err
	})
	return swept, err
}

// Ping implements session.Store with a write that changes nothing and a read.
func (s *Store) Ping(ctx context.Context) error {
	return s.repeatable(ctx, "ping", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, pingDatabase)
		return err
	})
}

// Close implements session.Store. It does not wait for a server that hangs.
func (s *Store) Close() error {
	s.stop()
	s.working.Wait()
	closed := make(chan struct{})
	go func() {
		s.pool.Close()
		close(closed)
	}()
	select {
	case <-closed:
		return nil
	case <-time.After(wait):
		return errors.New("pgstore: close: connections are still in use")
	}
}

type operation func(context.Context, *pgx.Conn) error

// do runs an operation, and says which it was when the store is at fault.
func (s *Store) do(ctx context.Context, name string, run operation) error {
	return s.try(ctx, name, pgconn.SafeToRetry, run)
}

// repeatable is do for what may be done twice: a connection that turns out to be
// broken, as after a restart of the server, costs a second try.
func (s *Store) repeatable(ctx context.Context, name string, run operation) error {
	return s.try(ctx, name, func(error) bool { return true }, run)
}

func (s *Store) try(ctx context.Context, name string, again func(error) bool, run operation) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	broken, err := s.once(ctx, run)
	for tries := 0; tries < 5 && (broken && again(err) || lostRace(err)); tries++ {
		broken, err = s.once(ctx, run)
	}
	if err == nil || errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrConflict) {
		return err
	}
	return fmt.Errorf("pgstore: %s: %w", name, err)
}

// lostRace reports that PostgreSQL has undone the statement because of another's, as it
// does where somebody has set a stricter isolation than ours; once more it finds what the
// other one has left.
func lostRace(err error) bool {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (refusal.Code == "40001" || refusal.Code == "40P01") // serialization_failure, deadlock_detected
}

// once reports whether the connection was broken, and then also forgets those in the
// pool, which are likely to be so too.
func (s *Store) once(ctx context.Context, run operation) (broken bool, err error) {
	if fault := s.fault.Load(); fault != nil {
		return false, *fault
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	err = run(ctx, conn.Conn())
	if err == nil || ctx.Err() != nil || !conn.Conn().IsClosed() {
		return false, err
	}
	s.pool.Reset()
	return true, err
}

func bytesOf(tags []session.Tag) [][]byte {
	all := make([][]byte, len(tags)) // never nil, which would be NULL
	for i := range tags {
		all[i] = tags[i][:]
	}
	return all
}

func timeOf(milli int64) time.Time { return time.UnixMilli(milli).UTC() }
