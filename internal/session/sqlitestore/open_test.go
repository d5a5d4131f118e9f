package sqlitestore

import (
	"bytes"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"genkan/internal/session"
)

func TestOpenMakesAFileThatOnlyThisUserReads(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	path := filepath.Join(home, "new", "deep", "sessions.db")
	store := open(t, path, time.Now)
	saveOne(t, store)
	for _, row := range []struct {
		name string
		want fs.FileMode
	}{
		{"new", fs.ModeDir | 0o700},
		{"new/deep", fs.ModeDir | 0o700},
		{"new/deep/sessions.db", 0o600},
		{"new/deep/sessions.db-wal", 0o600},
		{"new/deep/sessions.db-shm", 0o600},
		{"new/deep/sessions.db-stamps", 0o600},
	} {
		wantMode(t, filepath.Join(home, row.name), row.want)
	}
}

func TestOpenNarrowsAFileThatOthersCouldRead(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "sessions.db")
	saveOne(t, open(t, path, time.Now)) // stays open, so that all files are there
	for _, suffix := range []string{"", "-wal", "-shm", "-stamps"} {
		if err := os.Chmod(path+suffix, 0o664); err != nil {
			t.Fatal(err)
		}
	}
	open(t, path, time.Now)
	for _, suffix := range []string{"", "-wal", "-shm", "-stamps"} {
		wantMode(t, path+suffix, 0o600)
	}
	wantMode(t, folder, fs.ModeDir|0o755) // a folder that was there is not ours to change
}

func TestOpenTakesAnyPath(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, path := range []string{"relative.db", ".genkan/sessions.db", "a b/ü.db", "odd?mode=memory&x=1.db", "odd#%41%zz.db", ":memory:", "file:x.db"} {
		row := saveOne(t, open(t, path, time.Now))
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: no such file was made: %v", path, err)
		}
		if _, err := open(t, path, time.Now).Load(t.Context(), row.Key); err != nil {
			t.Errorf("%s: opened again: %v", path, err)
		}
	}
}

func TestOpenTellsWhatIsWrongWithTheFile(t *testing.T) {
	t.Parallel()
	good := filepath.Join(t.TempDir(), "good.db")
	store := open(t, good, time.Now)
	for range 20 {
		saveOne(t, store)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Clone(whole)
	copy(newer[60:], []byte{0, 0, 0, 99}) // user_version, SQLite file format 1.3
	for _, row := range []struct {
		name, want string
		content    []byte
	}{
		{"text", "moving it", bytes.Repeat([]byte("this is no database\n"), 100)},
		{"cut in the middle", "moving it", whole[:len(whole)/2/4096*4096]},
		{"header overwritten", "moving it", append(bytes.Repeat([]byte{0xff}, 100), whole[100:]...)},
		{"schema overwritten", "moving it", append(append(bytes.Clone(whole[:100]), bytes.Repeat([]byte{0xff}, 3996)...), whole[4096:]...)},
		{"of a newer program", "newer", newer},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "sessions.db")
			if err := os.WriteFile(path, row.content, 0o600); err != nil {
				t.Fatal(err)
			}
			wantOpenError(t, path, row.want)
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, row.content) {
				t.Errorf("Open changed the file: %v", err)
			}
		})
	}
}

func TestOpenTellsWhatIsWrongWithTheStamps(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, want string
		make       func(path string) error
	}{
		{"folder", "is a directory", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"link", "symbolic links", func(path string) error { return os.Symlink(os.DevNull, path) }},
		{"pipe", "not a regular file", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
	} {
		path := filepath.Join(t.TempDir(), row.name)
		if err := row.make(path + "-stamps"); err != nil {
			t.Fatal(err)
		}
		wantOpenError(t, path, row.want)
	}
}

func TestOpenTellsWhatIsWrongWithThePath(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantOpenError(t, folder, "not a regular file")
	wantOpenError(t, filepath.Join(file, "sessions.db"), "not a directory")
	wantOpenError(t, filepath.Join(folder, "nul\x00.db"), "invalid")
}

func TestOpenAtOnceMigratesOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			store, err := Open(t.Context(), path, time.Now)
			if err != nil {
				t.Error(err)
				return
			}
			saveOne(t, store)
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	wantHealthy(t, open(t, path, time.Now), 8)
}

// A file of the first schema has sessions that no tag finds, until they are saved.
func TestOpenBringsAnOldFileUpToDate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	if err := makeFile(path); err != nil {
		t.Fatal(err)
	}
	old, err := connect(path, writeOptions, 1)
	if err != nil {
		t.Fatal(err)
	}
	first, err := schema.ReadFile("schema/0001_session.sql")
	if err != nil {
		t.Fatal(err)
	}
	row := newRow()
	for _, step := range []struct {
		query string
		args  []any
	}{
		{string(first), nil},
		{"PRAGMA user_version = 1", nil},
		{
			"INSERT INTO session (key, version, seen, idle, expires, data) VALUES (?, 7, ?, ?, ?, ?)",
			[]any{row.Key[:], row.Seen.UnixMilli(), row.Idle.UnixMilli(), row.Expires.UnixMilli(), row.Data},
		},
	} {
		if _, err := old.ExecContext(t.Context(), step.query, step.args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	store := open(t, path, time.Now)
	loaded, err := store.Load(t.Context(), row.Key)
	if err != nil || loaded.Version != 7 || !bytes.Equal(loaded.Data, row.Data) {
		t.Fatalf("version %d, %v", loaded.Version, err)
	}
	loaded.Tags = []session.Tag{{1}}
	if _, err := store.Save(t.Context(), loaded); err != nil {
		t.Fatal(err)
	}
	if found, err := store.Find(t.Context(), loaded.Tags, 10); err != nil || len(found) != 1 {
		t.Errorf("%d rows found, %v", len(found), err)
	}
	wantHealthy(t, store, 1)
}

func TestConnectionsAreSetUpAsPromised(t *testing.T) {
	t.Parallel()
	store := open(t, filepath.Join(t.TempDir(), "sessions.db"), time.Now)
	for _, row := range []struct {
		pragma, want string
		db           *sql.DB
	}{
		{"journal_mode", "wal", store.write},
		{"journal_mode", "wal", store.read},
		{"synchronous", "2", store.write}, // FULL
		{"user_version", "2", store.read},
	} {
		var got string
		if err := row.db.QueryRowContext(t.Context(), "PRAGMA "+row.pragma).Scan(&got); err != nil || got != row.want {
			t.Errorf("%s: got %q, %v; want %q", row.pragma, got, err, row.want)
		}
	}
}

func TestAFileRemovedLaterIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	db, err := connect(path, readOptions, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.PingContext(t.Context()); err == nil {
		t.Error("a connection to a missing file is no error")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
}

// saveOne saves a session of one hour under a new key.
func saveOne(t *testing.T, store *Store) session.Row {
	t.Helper()
	row := newRow()
	if _, err := store.Save(t.Context(), row); err != nil {
		t.Error(err)
	}
	return row
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.Mode() != want {
		t.Errorf("%s: mode %v, %v; want %v", filepath.Base(path), info.Mode(), err, want)
	}
}

func wantOpenError(t *testing.T, path, want string) {
	t.Helper()
	store, err := Open(t.Context(), path, time.Now)
	if err == nil {
		_ = store.Close()
		t.Fatal("Open took it")
	}
	if text := err.Error(); !strings.HasPrefix(text, "sqlitestore: "+path+": ") || !strings.Contains(text, want) {
		t.Errorf("error %q, want the path and %q", text, want)
	}
}

// wantHealthy asserts that the file is sound, and how many rows it has.
func wantHealthy(t *testing.T, store *Store, rows int) {
	t.Helper()
	wantSound(t, store)
	wantCount(t, store, "FROM session", rows)
}

// wantIntegrity asserts that SQLite finds no fault in the file.
func wantIntegrity(t *testing.T, store *Store) {
	t.Helper()
	var verdict string
	if err := store.read.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity_check: %q, %v", verdict, err)
	}
}

// wantSound asserts that, and that the index of tags is what the rows say.
func wantSound(t *testing.T, store *Store) {
	t.Helper()
	wantIntegrity(t, store)
	var tags int
	if err := store.read.QueryRowContext(t.Context(), "SELECT ifnull(sum(length(tags)), 0) / 32 FROM session").Scan(&tags); err != nil {
		t.Error(err)
	}
	wantCount(t, store, "FROM session_tag", tags)
	wantCount(t, store, "FROM session_tag JOIN session USING (key) WHERE instr(tags, tag) > 0", tags)
}

func wantCount(t *testing.T, store *Store, from string, want int) {
	t.Helper()
	var count int
	if err := store.read.QueryRowContext(t.Context(), "SELECT count(*) "+from).Scan(&count); err != nil || count != want {
		t.Errorf("%d rows %s, %v; want %d", count, from, err, want)
	}
}
