package pgstore

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"genkan/internal/backing"
	"genkan/internal/session"
)

// next returns the key that the next notice names.
func next(t *testing.T, conn *pgx.Conn) session.Key {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	notice, err := conn.WaitForNotification(ctx)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := keyOf(notice.Payload)
	if !ok {
		t.Fatalf("payload %q", notice.Payload)
	}
	return key
}

func told(t *testing.T, server *backing.PostgresServer) {
	address := server.NewDatabase(t)
	clock := time.Now()
	store := open(t, address, func() time.Time { return clock })
	eventually(t, 10*time.Second, "the feed is up", func() bool { return isTold(store) })
	conn := connect(t, address)
	if _, err := conn.Exec(t.Context(), "LISTEN "+store.channel); err != nil {
		t.Fatal(err)
	}
	var want []session.Key
	write := func(tells bool, key session.Key, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if tells {
			want = append(want, key)
		}
	}
	row, over := newRow(), newRow()
	over.Idle = clock
	_, err := store.Save(t.Context(), row)
	write(false, row.Key, err)
	_, err = store.Save(t.Context(), over)
	write(false, over.Key, err)
	_, err = store.Save(t.Context(), over)
	write(true, over.Key, err) // over a row that is over
	write(false, row.Key, store.Touch(t.Context(), []session.Activity{{Key: row.Key, Seen: row.Seen.Add(time.Minute), Idle: row.Idle}}))
	row.Version = 1
	_, err = store.Save(t.Context(), row)
	write(true, row.Key, err)
	if _, err := store.Save(t.Context(), row); !errors.Is(err, session.ErrConflict) {
		t.Errorf("Save of an old version: %v", err)
	}
	write(false, row.Key, store.Delete(t.Context(), newRow().Key, 0))
	write(true, row.Key, store.Delete(t.Context(), row.Key, 2))
	end := newRow().Key // tells that no more follow
	if _, err := conn.Exec(t.Context(), notify, store.channel, payloadOf(end)); err != nil {
		t.Fatal(err)
	}
	var got []session.Key
	for key := next(t, conn); key != end; key = next(t, conn) {
		got = append(got, key)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got)\n%s", diff)
	}
}

func apart(t *testing.T, server *backing.PostgresServer) {
	address := server.NewDatabase(t)
	one, two := open(t, newSpace(t, address), time.Now), open(t, newSpace(t, address), time.Now)
	third := open(t, with(t, address, "search_path", one.listener.RuntimeParams["search_path"]), time.Now)
	row := saveOne(t, one)
	eventually(t, 10*time.Second, "the feeds are up", func() bool { return isTold(one) && isTold(two) && isTold(third) })
	before, _ := two.Stamp(row.Key)
	heard, _ := third.Stamp(row.Key)
	if err := one.Delete(t.Context(), row.Key, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "the other store of the schema hears", func() bool { now, _ := third.Stamp(row.Key); return now != heard })
	if after, ok := two.Stamp(row.Key); !ok || after != before {
		t.Error("a store of another schema has heard")
	}
}

// redirect has the pool connect elsewhere than the listener, as to and from the
// database of another address, once it says so.
func redirect(t *testing.T, config *Config, address string, says func() bool) {
	t.Helper()
	target := parse(t, address).pool.ConnConfig
	config.pool.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		if says() {
			c.Host, c.Port, c.Database = target.Host, target.Port, target.Database
		}
		return nil
	}
}

func always() bool { return true }

// echoed has only the listener behind the valve.
func echoed(t *testing.T, server *backing.PostgresServer) {
	address := server.NewDatabase(t)
	valve, through := newValve(t, address)
	config := parse(t, through)
	redirect(t, config, address, always)
	store := openWith(t, config, time.Now, slog.New(slog.DiscardHandler))
	eventually(t, 10*time.Second, "the feed is up", func() bool { return isTold(store) })
	row := saveOne(t, store)
	writes := map[string]func() error{
		"replacement": func() (err error) { row.Version, err = store.Save(t.Context(), row); return err },
		"Delete":      func() error { return store.Delete(t.Context(), saveOne(t, store).Key, 0) },
	}
	for name, write := range writes {
		fastest := time.Hour
		for range 20 {
			fastest = min(fastest, timed(t, write))
		}
		if fastest > 100*time.Millisecond {
			t.Errorf("%s: takes %v when the echo comes", name, fastest)
		}
		valve.Lock()
		took := timed(t, write)
		valve.Unlock()
		if took < 250*time.Millisecond || took > 2*time.Second {
			t.Errorf("%s: takes %v when the echo does not come, want 250ms", name, took)
		}
	}
	eventually(t, 5*time.Second, "no echo is expected any more", func() bool {
		store.feed.mu.Lock()
		defer store.feed.mu.Unlock()
		return len(store.feed.echoes) == 0
	})
}

func timed(t *testing.T, write func() error) time.Duration {
	t.Helper()
	start := time.Now()
	if err := write(); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// unheard has the listener on another database than the pool; a pooler in transaction
// mode does the same to it in effect.
func unheard(t *testing.T, server *backing.PostgresServer) {
	config := parse(t, server.NewDatabase(t))
	redirect(t, config, server.NewDatabase(t), always)
	var log journal
	store := openWith(t, config, time.Now, log.logger())
	eventually(t, 10*time.Second, "it is logged", func() bool { return log.count("use session pooling") == 1 })
	if isTold(store) {
		t.Error("a feed that hears nothing is up")
	}
	row, slow := saveOne(t, store), 0
	for range 10 {
		if timed(t, func() (err error) { row.Version, err = store.Save(t.Context(), row); return err }) >= 250*time.Millisecond {
			slow++
		}
	}
	if slow > 5 {
		t.Errorf("%d of 10 writes wait", slow)
	}
}

// deaf moves the pool to another database, and the listener stays where it is: a
// fail-over that it has not noticed.
func deaf(t *testing.T, server *backing.PostgresServer) {
	old, fresh := server.NewDatabase(t), server.NewDatabase(t)
	saveOne(t, open(t, fresh, time.Now)) // has the tables
	var moved atomic.Bool
	config := parse(t, old)
	redirect(t, config, fresh, moved.Load)
	store := openWith(t, config, time.Now, slog.New(slog.DiscardHandler))
	eventually(t, 10*time.Second, "the feed is up", func() bool { return isTold(store) })
	moved.Store(true)
	store.pool.Reset()
	row := saveOne(t, store)
	if _, err := store.Save(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the feed is down", func() bool { return !isTold(store) })
	moved.Store(false) // the one place to listen is the one to write to, again
	store.pool.Reset()
	eventually(t, 10*time.Second, "the feed is up again", func() bool { return isTold(store) })
}

func FuzzNotice(f *testing.F) {
	f.Add("")
	f.Add(".x")
	f.Add("AAAA.")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.x")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.x")
	f.Fuzz(func(t *testing.T, payload string) {
		feed := feed{echoes: map[string]chan struct{}{}}
		feed.up()
		seen := feed.expect(payload)
		feed.heard(payload)
		select {
		case <-seen:
		default:
			t.Errorf("payload %q is not taken for its own echo", payload)
		}
	})
}

func TestAPayloadNamesItsKey(t *testing.T) {
	t.Parallel()
	key := newRow().Key
	if got, ok := keyOf(payloadOf(key)); !ok || got != key {
		t.Errorf("key %x, %v; want %x", got, ok, key)
	}
	for _, payload := range []string{"", ".", "x", ".ABCDEF", "AAAA.x", payloadOf(key)[1:]} {
		if got, ok := keyOf(payload); ok {
			t.Errorf("payload %q names %x", payload, got)
		}
	}
}
