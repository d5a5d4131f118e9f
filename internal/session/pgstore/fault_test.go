package pgstore

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/backing"
	"genkan/internal/session"
)

// journal is a log to read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) count(part string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), part)
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// wantFault asserts that Load fails without saying that there is no session.
func wantFault(t testing.TB, store session.Store, key session.Key, within time.Duration) {
	t.Helper()
	start := time.Now()
	_, err := store.Load(t.Context(), key)
	if took := time.Since(start); took > within {
		t.Errorf("Load took %v, want at most %v", took, within)
	}
	if err == nil || errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrConflict) {
		t.Errorf("Load: %v, want a fault", err)
	}
}

func TestAServerThatIsKilledLosesNothingAndIsUsedAgain(t *testing.T) {
	t.Parallel()
	server := backing.Postgres(t)
	address := server.URL()
	store := open(t, address, time.Now)
	var rows []session.Row
	for range 20 {
		rows = append(rows, saveOne(t, store))
	}
	eventually(t, 10*time.Second, "the feed is up", func() bool { return isTold(store) })
	server.Kill()
	eventually(t, 3*time.Second, "the feed is down", func() bool { return !isTold(store) })
	wantFault(t, store, rows[0].Key, time.Second)
	late := open(t, address, time.Now)
	wantFault(t, late, rows[0].Key, 100*time.Millisecond)
	if err := late.Ping(t.Context()); err == nil {
		t.Error("Ping says that a store works whose server is down")
	}
	server.Start()
	for _, row := range rows {
		got, err := store.Load(t.Context(), row.Key)
		if err != nil || !bytes.Equal(got.Data, row.Data) {
			t.Fatalf("after the restart: %v", err)
		}
	}
	eventually(t, 15*time.Second, "the feed is up again, and the late store works", func() bool {
		return isTold(store) && isTold(late)
	})
	if _, err := late.Load(t.Context(), rows[0].Key); err != nil {
		t.Error(err)
	}
}

func hanging(t *testing.T, server *backing.PostgresServer) {
	valve, address := newValve(t, server.NewDatabase(t))
	store := open(t, address, time.Now)
	row := saveOne(t, store)
	eventually(t, 10*time.Second, "the feed is up", func() bool { return isTold(store) })
	before, _ := store.Stamp(row.Key)
	func() {
		valve.Lock()
		defer valve.Unlock()
		start := time.Now()
		var calls sync.WaitGroup
		for range 30 { // more than the pool has connections
			calls.Go(func() { wantFault(t, store, row.Key, 5500*time.Millisecond) })
		}
		eventually(t, 500*time.Millisecond, "what was proved is no longer: it holds for 200 ms", func() bool { return !isTold(store) })
		calls.Wait()
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("30 calls at once took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := store.Load(ctx, row.Key); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Load with a deadline: %v", err)
		}
	}()
	if _, err := store.Load(t.Context(), row.Key); err != nil {
		t.Errorf("once it goes on: %v", err)
	}
	eventually(t, 15*time.Second, "the feed is up again", func() bool { return isTold(store) })
	if after, ok := store.Stamp(row.Key); ok && after == before {
		t.Error("the stamp from before the outage is valid again")
	}
}

func broken(t *testing.T, server *backing.PostgresServer) {
	address := server.NewDatabase(t)
	store := open(t, address, time.Now)
	row := saveOne(t, store)
	eventually(t, 10*time.Second, "the feed is up", func() bool { return isTold(store) })
	for range 2 {
		killPool(t, store, address)
		if _, err := store.Load(t.Context(), row.Key); err != nil {
			t.Fatalf("Load with a pool of dead connections: %v", err)
		}
		killPool(t, store, address)
		if err := store.Delete(t.Context(), session.Key{1}, 0); err != nil {
			t.Fatalf("Delete with a pool of dead connections: %v", err)
		}
	}
}

func hangingUp(t *testing.T, server *backing.PostgresServer) {
	store := open(t, server.NewDatabase(t), time.Now)
	row := saveOne(t, store)
	eventually(t, 10*time.Second, "the feed is up", func() bool { return isTold(store) })
	before, ended := store.pool.Stat().NewConnsCount(), 0
	for i := range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*5*time.Microsecond)
		if _, err := store.Load(ctx, row.Key); err != nil {
			ended++
		}
		cancel()
	}
	if opened := store.pool.Stat().NewConnsCount() - before; opened > 2 || ended == 0 {
		t.Errorf("%d calls that were hung up cost %d connections", ended, opened)
	}
}

// killPool makes the pool open all its connections, and ends them at the server.
func killPool(t testing.TB, store *Store, address string) {
	t.Helper()
	var all []uint32
	for range 10 {
		conn, err := store.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		all = append(all, conn.Conn().PgConn().PID())
	}
	if _, err := connect(t, address).Exec(t.Context(), `SELECT pg_terminate_backend(pid, 5000) FROM unnest($1::int[]) AS pid`, all); err != nil {
		t.Fatal(err)
	}
}

// terminate ends every connection of Genkan to a database.
func terminate(t testing.TB, address string) {
	t.Helper()
	execute(t, address, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
		WHERE application_name = 'genkan' AND datname = current_database()`)
}

func ended(t *testing.T, server *backing.PostgresServer) {
	address := server.NewDatabase(t)
	store, other := open(t, address, time.Now), open(t, address, time.Now)
	row := saveOne(t, store)
	eventually(t, 10*time.Second, "the feed is up", func() bool { return isTold(store) && isTold(other) })
	before, _ := store.Stamp(row.Key)
	terminate(t, address)
	var after uint64
	eventually(t, 10*time.Second, "the feed was down, which changes all stamps, and is up again", func() (ok bool) {
		after, ok = store.Stamp(row.Key)
		return ok && after != before && isTold(other)
	})
	if err := other.Delete(t.Context(), row.Key, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "the new connection hears", func() bool { last, _ := store.Stamp(row.Key); return last != after })
}

func refusing(t *testing.T, server *backing.PostgresServer) {
	good, err := url.Parse(server.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := good.User.Password()
	wrong, missing, off := *good, *good, *good
	wrong.User = url.UserPassword("genkan", "hunter2")
	missing.Path = "/nothere"
	off.Host = "127.0.0.1:1"
	for _, row := range []struct {
		name    string
		address url.URL
		want    []string
	}{
		{"wrong password", wrong, []string{"28P01", "check user name, password"}},
		{"missing database", missing, []string{"3D000", "create the database"}},
		{"nobody there", off, []string{"connection refused", "server runs"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var log journal
			store := openWith(t, parse(t, row.address.String()), time.Now, log.logger())
			eventually(t, 10*time.Second, "it is tried four times", func() bool { return store.pool.Stat().NewConnsCount() >= 4 })
			for _, want := range row.want {
				if log.count(want) != 1 {
					t.Errorf("%q is logged %d times:\n%s", want, log.count(want), log.text.String())
				}
			}
			_, err := store.Load(t.Context(), session.Key{})
			if err == nil || errors.Is(err, session.ErrNone) {
				t.Errorf("Load: %v, want a fault", err)
			}
			for _, secret := range []string{"hunter2", password} {
				if log.count(secret) > 0 || strings.Contains(err.Error(), secret) {
					t.Errorf("the password is in the log or in %q", err)
				}
			}
		})
	}
}
