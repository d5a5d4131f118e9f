package sqlitestore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"genkan/internal/session"
	"genkan/internal/session/storetest"
)

func TestSQLiteKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Options{
		Open: func(t *testing.T, now func() time.Time) session.Store {
			return open(t, filepath.Join(t.TempDir(), "sessions.db"), now)
		},
		Sibling: func(t *testing.T, store session.Store) session.Store { return again(t, store.(*Store)) },
	})
}

// TestTwoStoresOnOneFileKeepTheContract sends the calls in turn through two stores,
// as two processes would.
func TestTwoStoresOnOneFileKeepTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Options{Open: func(t *testing.T, now func() time.Time) session.Store {
		one := open(t, filepath.Join(t.TempDir(), "sessions.db"), now)
		return &pair{one: one, two: again(t, one)}
	}})
}

// again opens the file of store once more.
func again(t *testing.T, store *Store) *Store {
	t.Helper()
	return open(t, strings.TrimSuffix(store.stamps.file.Name(), "-stamps"), store.now)
}

func TestNoStatementReadsTheWholeTable(t *testing.T) {
	t.Parallel()
	store := open(t, filepath.Join(t.TempDir(), "sessions.db"), time.Now)
	const byKey, byEnds = "(key=?)", "USING INDEX session_ends (ends<?)"
	const byTag = "SEARCH session_tag USING PRIMARY KEY (tag=?)"
	for _, row := range []struct{ name, query, want string }{
		{"load", loadRow, byKey},
		{"replace", replaceRow, byKey},
		{"version", versionOfRow, byKey},
		{"touch", touchRow, byKey},
		{"delete", deleteRow, byKey},
		{"delete of a version", deleteVersion, byKey},
		{"find finds by tag", findQuery(5), byTag},
		{"find loads by key", findQuery(5), byKey},
		{"sweep of leases", sweepLeases, "USING COVERING INDEX lease_until (until<?)"},
		{"lease", heldLease, byKey},
		{"release", endLease, byKey},
		{"sweep finds by index", sweepRows, byEnds},
		{"sweep removes by key", sweepRows, byKey},
		{"ping", writeNothing, byKey},
	} {
		plan := explain(t, store, row.query)
		if strings.Contains(plan, "SCAN") || !strings.Contains(plan, row.want) {
			t.Errorf("%s: plan %q, want %q and no SCAN", row.name, plan, row.want)
		}
	}
}

// EXPLAIN does not show what triggers do.
func TestNoTriggerReadsTheWholeIndexOfTags(t *testing.T) {
	t.Parallel()
	store := open(t, filepath.Join(t.TempDir(), "sessions.db"), time.Now)
	var triggers string
	if err := store.read.QueryRowContext(t.Context(), `SELECT group_concat(sql) FROM sqlite_schema WHERE type = 'trigger'`).Scan(&triggers); err != nil {
		t.Fatal(err)
	}
	deletes := regexp.MustCompile(`DELETE FROM [^;]+`).FindAllString(triggers, -1)
	if len(deletes) != 2 {
		t.Errorf("%d triggers delete, want 2", len(deletes))
	}
	for _, query := range deletes {
		plan := explain(t, store, regexp.MustCompile(`old\.\w+`).ReplaceAllString(query, "?8"))
		if !strings.Contains(plan, "SEARCH session_tag USING PRIMARY KEY (tag=? AND key=?)") {
			t.Errorf("%s: plan %q", query, plan)
		}
	}
}

func explain(t *testing.T, store *Store, query string) string {
	t.Helper()
	args := make([]any, 8)
	rows, err := store.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "; ")
}

func TestAWaitForAnotherProcessEndsWithTheContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	store, other := open(t, path, time.Now), open(t, path, time.Now)
	row := saveOne(t, store)
	lock, err := other.write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = store.Save(ctx, newRow())
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second {
		t.Errorf("after %v: %v, want the deadline's error", took, err)
	}
	if !strings.HasPrefix(err.Error(), "sqlitestore: save: ") {
		t.Errorf("error %q does not say what was being done", err)
	}
	if _, err := store.Load(t.Context(), row.Key); err != nil {
		t.Errorf("a writer keeps a reader waiting: %v", err)
	}
	if err := store.Ping(ctx); err == nil {
		t.Error("Ping says that a store works that cannot be written")
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	saveOne(t, store)
}

func TestAWriteWaitsForAnotherProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	store, other := open(t, path, time.Now), open(t, path, time.Now)
	lock, err := other.write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	saved := make(chan error)
	go func() {
		_, err := store.Save(t.Context(), newRow())
		saved <- err
	}()
	select { // longer than SQLite waits by itself
	case err := <-saved:
		t.Fatalf("Save came back under the other's lock: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-saved; err != nil {
		t.Error(err)
	}
}

func open(t testing.TB, path string, now func() time.Time) *Store {
	t.Helper()
	store, err := Open(t.Context(), path, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// newRow is a row of one hour under a random key, with data that tells its key.
func newRow() session.Row {
	var row session.Row
	_, _ = rand.Read(row.Key[:])
	now := time.Now()
	row.Seen, row.Idle, row.Expires = now, now.Add(time.Hour), now.Add(time.Hour)
	row.Data = bytes.Repeat(row.Key[:], 64)
	return row
}

func BenchmarkSQLite(b *testing.B) {
	path := filepath.Join(b.TempDir(), "sessions.db")
	store := open(b, path, time.Now)
	pragma := func(text string) {
		if _, err := store.write.ExecContext(b.Context(), "PRAGMA "+text); err != nil {
			b.Fatal(err)
		}
	}
	pragma("synchronous = OFF") // the filling is not what is measured
	storetest.Bench(b, store, func() int64 {
		pragma("wal_checkpoint(TRUNCATE)")
		pragma("synchronous = FULL")
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		return info.Size()
	})
}
