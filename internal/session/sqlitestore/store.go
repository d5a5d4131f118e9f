// Package sqlitestore keeps sessions in SQLite: in one file, which several processes
// of one machine may share.
//
// It owns the file, those beside it (-wal, -shm, -stamps), their permissions, the
// schema and the locks; what is inside a row it does not know. They must be on a local
// disk of Linux or macOS, since SQLite's write-ahead log and the stamps need shared
// memory and honest locks. None of them may be replaced, by a restored copy for
// instance, while a process has them open: it would go on with what it has loaded.
//
// Every commit is flushed to the disk (synchronous=FULL). The process could be
// killed without that, but a loss of power could then bring back a session that
// had signed out, or a refresh token that the provider has already rotated.
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"genkan/internal/session"
)

// Does not compile with a SQLite before 3.51.3, whose write-ahead log can corrupt
// the file when two connections reset it at once.
const _ = uint(sqlite3.SQLITE_VERSION_NUMBER - 3051003)

const (
	// wait bounds every operation, also one whose context has no deadline.
	wait = 5 * time.Second
	// pause is between two tries when another process holds the lock.
	pause = 10 * time.Millisecond
	// readers is how many connections serve Load and Find.
	readers = 4
	// abandoned is how long after its end a lease nobody has released is kept.
	abandoned = 10 * time.Minute
)

// Store is a session.Store in one SQLite file.
type Store struct {
	now    func() time.Time
	write  *sql.DB // one connection: writers queue here, not in SQLite's busy loop
	read   *sql.DB
	stamps stamps

	// Preparing a statement takes as long as running it.
	load    *sql.Stmt
	writing map[string]*sql.Stmt // by its text
}

var _ session.Store = (*Store)(nil)

// Load implements session.Store.
func (s *Store) Load(ctx context.Context, key session.Key) (session.Row, error) {
	row := session.Row{Key: key}
	err := s.do(ctx, "load", func(ctx context.Context) error {
		err := scan(s.load.QueryRowContext(ctx, key[:], s.now().UnixMilli()), &row)
		if errors.Is(err, sql.ErrNoRows) {
			return session.ErrNone
		}
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
	data := row.Data
	if data == nil {
		data = []byte{} // nil would be NULL
	}
	defer s.stamps.change(row.Key)()
	err := s.do(ctx, "save", func(ctx context.Context) error {
		now := s.now().UnixMilli()
		args := []any{row.Key[:], int64(row.Version), row.Seen.UnixMilli(), row.Idle.UnixMilli(), row.Expires.UnixMilli(), data, setOf(row.Tags), now}
		query := replaceRow
		if row.Version == 0 {
			query = insertRow
		}
		switch changed, err := s.exec(ctx, query, args...); {
		case err != nil || changed > 0:
			return err
		case row.Version == 0:
			return session.ErrConflict
		}
		if err := s.present(ctx, row.Key, now); err != nil {
			return err
		}
		return session.ErrConflict
	})
	if err != nil {
		return 0, err
	}
	return row.Version + 1, nil
}

// Touch implements session.Store: one transaction, and one flush to the disk.
func (s *Store) Touch(ctx context.Context, all []session.Activity) error {
	return s.do(ctx, "touch", func(ctx context.Context) (err error) {
		tx, err := s.write.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, finish(tx, err == nil)) }()
		touch, now := tx.StmtContext(ctx, s.writing[touchRow]), s.now().UnixMilli()
		for _, a := range all {
			if _, err := touch.ExecContext(ctx, a.Key[:], a.Seen.UnixMilli(), a.Idle.UnixMilli(), now); err != nil {
				return err
			}
		}
		return nil
	})
}

// finish commits, or takes everything back.
func finish(tx *sql.Tx, good bool) error {
	if good {
		return tx.Commit()
	}
	return tx.Rollback()
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, key session.Key, version uint64) error {
	defer s.stamps.change(key)()
	return s.do(ctx, "delete", func(ctx context.Context) error {
		if version == 0 {
			_, err := s.exec(ctx, deleteRow, key[:])
			return err
		}
		if changed, err := s.exec(ctx, deleteVersion, key[:], int64(version)); err != nil || changed > 0 {
			return err
		}
		switch err := s.present(ctx, key, s.now().UnixMilli()); {
		case errors.Is(err, session.ErrNone):
			return nil
		case err != nil:
			return err
		}
		return session.ErrConflict
	})
}

// present is ErrNone when there is no live row, as the writer sees it.
func (s *Store) present(ctx context.Context, key session.Key, now int64) error {
	var version int64
	err := s.writing[versionOfRow].QueryRowContext(ctx, key[:], now).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return session.ErrNone
	}
	return err
}

// Sweep implements session.Store.
func (s *Store) Sweep(ctx context.Context, limit int) (swept int, err error) {
	err = s.do(ctx, "sweep", func(ctx context.Context) error {
		now, limit := s.now(), max(limit, 0)
		if _, err := s.exec(ctx, sweepLeases, now.Add(-abandoned).UnixMilli(), limit); err != nil {
			return err
		}
		changed, err := s.exec(ctx, sweepRows, now.UnixMilli(), limit)
		swept = int(changed)
		return err
	})
	return swept, err
}

// Ping implements session.Store with a write that changes nothing and a read.
func (s *Store) Ping(ctx context.Context) error {
	return s.do(ctx, "ping", func(ctx context.Context) error {
		if _, err := s.exec(ctx, writeNothing); err != nil {
			return err
		}
		var any bool
		return s.read.QueryRowContext(ctx, readNothing).Scan(&any)
	})
}

// Stamp implements session.Store.
func (s *Store) Stamp(key session.Key) (stamp uint64, ok bool) { return s.stamps.of(key) }

// Lag implements session.Store: the processes share the memory that the stamps are in.
func (s *Store) Lag() time.Duration { return 0 }

// Close implements session.Store. The last process to close the file also folds
// the write-ahead log into it.
func (s *Store) Close() error {
	// The stamps go last: writes under way still have to count.
	if err := errors.Join(s.read.Close(), s.write.Close(), s.stamps.close()); err != nil {
		return fmt.Errorf("sqlitestore: close: %w", err)
	}
	return nil
}

func (s *Store) exec(ctx context.Context, query string, args ...any) (changed int64, err error) {
	result, err := s.writing[query].ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// do runs one operation and says which it was when the store is at fault.
func (s *Store) do(ctx context.Context, name string, operation func(context.Context) error) error {
	err := retry(ctx, operation)
	if err == nil || errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrConflict) {
		return err
	}
	return fmt.Errorf("sqlitestore: %s: %w", name, err)
}

// retry repeats operation for as long as another process holds the lock. That wait
// is here and not in SQLite (busy_timeout), which cannot be woken from it by the
// end of the context.
func retry(ctx context.Context, operation func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		err := operation(ctx)
		if !isCode(err, sqlite3.SQLITE_BUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

// isCode compares primary result codes, the low byte of SQLite's extended ones.
func isCode(err error, codes ...int) bool {
	var fault *sqlite.Error
	if !errors.As(err, &fault) {
		return false
	}
	for _, code := range codes {
		if fault.Code()&0xff == code {
			return true
		}
	}
	return false
}

// scan reads the columns of loadRow, after those of before.
func scan(from interface{ Scan(...any) error }, row *session.Row, before ...any) error {
	var seen, idle, expires int64
	err := from.Scan(append(before, &row.Version, &seen, &idle, &expires, &row.Data)...)
	row.Seen, row.Idle, row.Expires = timeOf(seen), timeOf(idle), timeOf(expires)
	return err
}

func timeOf(milli int64) time.Time { return time.UnixMilli(milli).UTC() }
