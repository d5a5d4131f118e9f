package sqlitestore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// schema holds the migrations, one file each, in the order of their names; the
// file's user_version counts those it has had.
//
//go:embed schema/*.sql
var schema embed.FS

// Open opens the file at path for this process, makes it and its folder when they
// are missing, and brings its schema up to date. Only this user can read what it
// makes (0600, 0700), and an existing file is narrowed to that. now is the clock
// rows end by. The error names the path.
func Open(ctx context.Context, path string, now func() time.Time) (*Store, error) {
	s := &Store{now: now}
	err := s.open(ctx, path)
	switch {
	case err == nil:
		return s, nil
	case isCode(err, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
		err = fmt.Errorf("%w; moving it and its -wal away ends its sessions and starts a new one", err)
	}
	return nil, fmt.Errorf("sqlitestore: %s: %w", path, err)
}

func (s *Store) open(ctx context.Context, path string) (err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := makeFile(path); err != nil {
		return err
	}
	// A link to the file is another name of it: SQLite puts -wal and -shm beside the
	// file itself, and so must be the stamps.
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	s.read, err = connect(path, readOptions, readers)
	if err != nil {
		return err
	}
	s.write, err = connect(path, writeOptions, 1)
	if err != nil {
		return err
	}
	if err := s.start(ctx, path); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

func (s *Store) start(ctx context.Context, path string) error {
	if err := s.stamps.open(ctx, path+"-stamps"); err != nil {
		return fmt.Errorf("stamps: %w", err)
	}
	return retry(ctx, func(ctx context.Context) error {
		if err := s.migrate(ctx); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		return s.prepare(ctx)
	})
}

func (s *Store) prepare(ctx context.Context) (err error) {
	s.writing = map[string]*sql.Stmt{}
	for _, query := range []string{
		insertRow, replaceRow, versionOfRow, touchRow, deleteRow, deleteVersion,
		sweepRows, sweepLeases, takeLease, heldLease, endLease, writeNothing,
	} {
		if s.writing[query], err = s.write.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	s.load, err = s.read.PrepareContext(ctx, loadRow)
	return err
}

// makeFile makes what is missing. It opens no file that exists: closing one drops
// every POSIX lock this process holds on it, SQLite's own included.
func makeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		return file.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm"} { // SQLite makes the other two like the first
		info, err := os.Stat(path + suffix)
		if suffix != "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return errors.New("not a regular file")
		}
		if info.Mode().Perm()&0o077 != 0 {
			if err := os.Chmod(path+suffix, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// Options of the driver. mode=rw: a file removed under us is a fault, not a new and
// empty store. Milliseconds of busy_timeout: see retry.
const (
	readOptions  = "mode=rw&_busy_timeout=100&_error_rc=1"
	writeOptions = readOptions + "&_journal_mode=WAL&_synchronous=FULL&_txlock=immediate"
)

func connect(path, options string, connections int) (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: options}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// migrate runs what the file has not had yet, in one transaction that takes the
// write lock first, so that processes starting at once take turns.
func (s *Store) migrate(ctx context.Context) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	var had int
	if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&had); err != nil {
		return err
	}
	files, err := schema.ReadDir("schema")
	if err != nil {
		return err
	}
	if had > len(files) {
		return fmt.Errorf("schema %d is newer than this program's %d", had, len(files))
	}
	for _, file := range files[had:] {
		text, err := schema.ReadFile("schema/" + file.Name())
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, string(text)); err != nil {
			return fmt.Errorf("%s: %w", file.Name(), err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, len(files))); err != nil {
		return err
	}
	return tx.Commit()
}
