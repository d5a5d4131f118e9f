package pgstore

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"genkan/internal/backing"
	"genkan/internal/session"
	"genkan/internal/session/storetest"
)

// countOf runs a query that gives a number.
func countOf(t testing.TB, address, query string) (count int) {
	t.Helper()
	if err := connect(t, address).QueryRow(t.Context(), query).Scan(&count); err != nil {
		t.Fatal(err)
	}
	return count
}

func tenOpens(t *testing.T, server *backing.PostgresServer) {
	address := server.NewDatabase(t)
	var stores [10]*Store
	var opens sync.WaitGroup
	config := parse(t, address)
	for i := range stores {
		opens.Go(func() {
			store, err := Open(t.Context(), config, time.Now, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Error(err)
				return
			}
			stores[i] = store
		})
	}
	opens.Wait()
	for _, store := range stores {
		if store == nil {
			continue
		}
		saveOne(t, store) // fails unless it is ready at once
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	if rows, version := countOf(t, address, `SELECT count(*) FROM genkan_schema`), countOf(t, address, `SELECT version FROM genkan_schema`); rows != 1 || version != 1 {
		t.Errorf("genkan_schema: %d rows, version %d; want 1 and 1", rows, version)
	}
}

func newPool(t testing.TB, address string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(t.Context(), parse(t, address).pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func tenUpgrades(t *testing.T, server *backing.PostgresServer) {
	address := server.NewDatabase(t)
	old := fstest.MapFS{"schema/0001_a.sql": {Data: []byte(`CREATE TABLE a (x int); INSERT INTO a VALUES (1)`)}}
	both := fstest.MapFS{
		"schema/0001_a.sql": old["schema/0001_a.sql"],
		"schema/0002_b.sql": {Data: []byte(`UPDATE a SET x = x + 1`)},
	}
	if _, err := migrate(t.Context(), newPool(t, address), old); err != nil {
		t.Fatal(err)
	}
	var upgrades sync.WaitGroup
	for range 10 {
		pool := newPool(t, address)
		upgrades.Go(func() {
			if _, err := migrate(t.Context(), pool, both); err != nil {
				t.Error(err)
			}
		})
	}
	upgrades.Wait()
	if x, version := countOf(t, address, `SELECT x FROM a`), countOf(t, address, `SELECT version FROM genkan_schema`); x != 2 || version != 2 {
		t.Errorf("x %d, version %d; want 2 and 2", x, version)
	}
	if _, err := migrate(t.Context(), newPool(t, address), old); !errors.Is(err, errNewer) {
		t.Errorf("an older program: %v, want errNewer", err)
	}
}

func failedMigration(t *testing.T, server *backing.PostgresServer) {
	address := server.NewDatabase(t)
	bad := fstest.MapFS{
		"schema/0001_a.sql": {Data: []byte(`CREATE TABLE a (x int)`)},
		"schema/0002_b.sql": {Data: []byte(`CREATE TABLE b (x int); nonsense`)},
	}
	if _, err := migrate(t.Context(), newPool(t, address), bad); err == nil || !strings.Contains(err.Error(), "0002_b.sql") {
		t.Errorf("error %v does not name the file", err)
	}
	if tables := countOf(t, address, `SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace`); tables != 0 {
		t.Errorf("%d tables are left", tables)
	}
}

func newerSchema(t *testing.T, server *backing.PostgresServer) {
	address := server.NewDatabase(t)
	saveOne(t, open(t, address, time.Now))
	execute(t, address, `UPDATE genkan_schema SET version = 99`)
	_, err := Open(t.Context(), parse(t, address), time.Now, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("Open: %v, want an error that says that the schema is newer", err)
	}
}

func modestUser(t *testing.T, server *backing.PostgresServer) {
	address := newSpace(t, server.NewDatabase(t))
	saveOne(t, open(t, address, time.Now))
	execute(t, address, `DO $$ BEGIN EXECUTE format('REVOKE INSERT, UPDATE ON genkan_schema FROM genkan; REVOKE ALL ON SCHEMA %I FROM genkan; GRANT USAGE ON SCHEMA %I TO genkan', current_schema(), current_schema()); END $$`)
	saveOne(t, open(t, address, time.Now))
}

func noSchema(t *testing.T, server *backing.PostgresServer) {
	address := server.NewDatabase(t)
	var log journal
	store := openWith(t, parse(t, with(t, address, "search_path", "nothere")), time.Now, log.logger())
	wantFault(t, store, session.Key{}, time.Second)
	eventually(t, 5*time.Second, "it is logged", func() bool { return log.count("no schema of search_path exists") == 1 })
}

func noScan(t *testing.T, server *backing.PostgresServer) {
	address := server.NewDatabase(t)
	open(t, address, time.Now)
	execute(t, address, `
		INSERT INTO genkan_session (key, version, seen, idle, expires, data)
			SELECT sha256(i::text::bytea), 1, i, i, i, 'x' FROM generate_series(1, 20000) AS i;
		INSERT INTO genkan_tag SELECT sha256((i % 5000)::text::bytea), sha256(i::text::bytea) FROM generate_series(1, 20000) AS i;
		INSERT INTO genkan_lease SELECT sha256(i::text::bytea), '', false, now() + i * interval '1 second' FROM generate_series(1, 20000) AS i`)
	const byKey, byEnds = "genkan_session_pkey", "Index Scan using genkan_session_ends"
	var key, owner [32]byte
	tags := [][]byte{key[:], owner[:]}
	for _, analyzed := range []bool{false, true} {
		if analyzed {
			execute(t, address, `ANALYZE`)
		}
		for _, row := range []struct {
			name, query string
			args        []any
			want        []string
		}{
			{"load", loadRow, []any{key[:], 1}, []string{byKey}},
			{"insert", insertRow, []any{key[:], 0, 1, 1, 1, key[:], 1, tags, "c", "p"}, []string{byKey, "genkan_tag_key"}},
			{"replace", replaceRow, []any{key[:], 1, 1, 1, 1, key[:], 1, tags, "c", "p"}, []string{byKey, "genkan_tag_key"}},
			{"why", isLive, []any{key[:], 1}, []string{byKey}},
			{"touch", touchRows, []any{tags, []int64{1, 1}, []int64{1, 1}, 1}, []string{byKey}},
			{"delete", deleteRow, []any{key[:], 1, "c", "p"}, []string{byKey}},
			{"find", findRows, []any{tags, 1, 1000}, []string{"genkan_tag_pkey", byKey}},
			{"lease", takeLease, []any{key[:], owner[:], 1.0}, []string{"genkan_lease_pkey"}},
			{"release", releaseLease, []any{key[:], owner[:]}, []string{"genkan_lease_pkey"}},
			{"sweep", sweepRows, []any{100, 1000}, []string{byEnds, byKey}},
			{"sweep of everything", sweepRows, []any{1 << 40, 1000}, []string{byEnds, byKey}},
			{"sweep of leases", sweepLeases, []any{1000}, []string{"Index Scan using genkan_lease_until", "genkan_lease_pkey"}},
			{"ping", pingDatabase, nil, []string{byKey}},
		} {
			plan := explain(t, address, row.query, row.args...)
			// Whether there is any session at all, a scan of one row tells best.
			if strings.Contains(strings.Replace(plan, "->  Seq Scan on genkan_session genkan_session_1", "", 1), "Seq Scan") {
				t.Errorf("%s, analyzed %v: reads a whole table:\n%s", row.name, analyzed, plan)
			}
			for _, want := range row.want {
				if !strings.Contains(plan, want) {
					t.Errorf("%s, analyzed %v: no %q in\n%s", row.name, analyzed, want, plan)
				}
			}
		}
	}
}

func explain(t testing.TB, address, query string, args ...any) string {
	t.Helper()
	rows, err := connect(t, address).Query(t.Context(), "EXPLAIN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return plan.String()
}

func sweptLeases(t *testing.T, server *backing.PostgresServer) {
	address := server.NewDatabase(t)
	store := open(t, address, time.Now)
	for i := range 5 {
		var key session.Key
		binary.BigEndian.PutUint16(key[:], uint16(i))
		if _, err := store.Lease(t.Context(), key, session.Owner{1}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	execute(t, address, `UPDATE genkan_lease SET until = now() - interval '9 minutes 50 seconds' WHERE key < '\x0001';
		UPDATE genkan_lease SET until = now() - interval '10 minutes 1 second' WHERE key >= '\x0002'`)
	for _, want := range []int{3, 2, 2} { // at most two at a time
		if swept, err := store.Sweep(t.Context(), 2); err != nil || swept != 0 {
			t.Errorf("Sweep: %d, %v; want 0 rows", swept, err)
		}
		if got := countOf(t, address, `SELECT count(*) FROM genkan_lease`); got != want {
			t.Errorf("%d leases are left, want %d", got, want)
		}
	}
}

func BenchmarkPostgreSQL(b *testing.B) {
	address := newSpace(b, backing.Postgres(b).URL())
	storetest.Bench(b, open(b, address, time.Now), func() (bytes int64) {
		return int64(countOf(b, address, `SELECT pg_total_relation_size('genkan_session') + pg_total_relation_size('genkan_tag')`))
	})
}
