package pgstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"genkan/internal/backing"
	"genkan/internal/session"
	"genkan/internal/session/storetest"
)

// TestPostgreSQL runs everything that needs a server and leaves it alive: starting one
// takes longer than most of the tests.
func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	server := backing.Postgres(t)
	for name, test := range map[string]func(*testing.T, *backing.PostgresServer){
		"the store keeps the contract":                                           contract,
		"no statement reads a whole table":                                       noScan,
		"Sweep removes leases ten minutes after their end":                       sweptLeases,
		"a server that hangs gives errors in time":                               hanging,
		"a stricter isolation makes no faults":                                   isolated,
		"a broken connection costs no read":                                      broken,
		"hanging up costs no connection":                                         hangingUp,
		"the feed comes back after its connection was ended":                     ended,
		"a database that refuses is logged without the password":                 refusing,
		"what changes a row that others may have read is told, and nothing else": told,
		"stores of two schemas do not hear each other":                           apart,
		"Delete and a replacement wait for their echo, but not long":             echoed,
		"while nobody listens no write waits":                                    unheard,
		"an echo that does not come takes the feed down":                         deaf,
		"ten stores opened at once on nothing migrate once":                      tenOpens,
		"ten programs upgrade an older schema once":                              tenUpgrades,
		"a migration that fails leaves nothing":                                  failedMigration,
		"a newer schema is an error":                                             newerSchema,
		"a user who may not make tables can use those that are there":            modestUser,
		"a search_path without a schema says so":                                 noSchema,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, server)
		})
	}
}

func contract(t *testing.T, server *backing.PostgresServer) {
	type opened struct {
		address string
		now     func() time.Time
	}
	database := server.NewDatabase(t)
	var stores sync.Map
	storetest.Run(t, storetest.Options{
		Open: func(t *testing.T, now func() time.Time) session.Store {
			address := newSpace(t, database)
			store := open(t, address, now)
			stores.Store(store, opened{address, now})
			return store
		},
		Sibling: func(t *testing.T, store session.Store) session.Store {
			first, _ := stores.Load(store)
			return open(t, first.(opened).address, first.(opened).now)
		},
	})
}

// newSpace makes a schema in a database and returns the address of it.
func newSpace(t testing.TB, database string) string {
	t.Helper()
	name := "s" + strings.ToLower(rand.Text())
	execute(t, database, "CREATE SCHEMA "+name)
	return with(t, database, "search_path", name)
}

// with adds a parameter to an address.
func with(t testing.TB, address, name, value string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set(name, value)
	u.RawQuery = query.Encode()
	return u.String()
}

func connect(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func execute(t testing.TB, address, statement string) {
	t.Helper()
	conn := connect(t, address)
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func parse(t testing.TB, address string) *Config {
	t.Helper()
	config, err := Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func open(t testing.TB, address string, now func() time.Time) *Store {
	t.Helper()
	return openWith(t, parse(t, address), now, slog.New(slog.DiscardHandler))
}

func openWith(t testing.TB, config *Config, now func() time.Time, logger *slog.Logger) *Store {
	t.Helper()
	store, err := Open(t.Context(), config, now, logger)
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
	row.Tags = []session.Tag{session.Tag(row.Key)}
	return row
}

func saveOne(t testing.TB, store session.Store) session.Row {
	t.Helper()
	row := newRow()
	version, err := store.Save(t.Context(), row)
	if err != nil {
		t.Fatal(err)
	}
	row.Version = version
	return row
}

// eventually asks until it is so, or for limit.
func eventually(t testing.TB, limit time.Duration, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func isTold(store session.Store) bool {
	_, ok := store.Stamp(session.Key{})
	return ok
}

// isolated: somebody has set a stricter isolation in the address.
func isolated(t *testing.T, server *backing.PostgresServer) {
	store := open(t, server.NewDatabase(t)+"&default_transaction_isolation=serializable", time.Now)
	row := saveOne(t, store)
	var won atomic.Int64
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			switch _, err := store.Save(t.Context(), row); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, session.ErrConflict):
				t.Errorf("%v, want ErrConflict", err)
			}
		})
	}
	wait.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 16 saved one version, want 1", won.Load())
	}
}
