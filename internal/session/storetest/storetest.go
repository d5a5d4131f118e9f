// Package storetest is the contract of session.Store as a test suite: one subtest
// per sentence, races included. A new store is done when Run passes.
package storetest

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"genkan/internal/session"
)

// Options is how Run gets at stores of one kind.
type Options struct {
	// Open gives an empty store that ends its rows by now; Run closes it. The clock
	// starts at the present, so that a server with a clock of its own removes nothing
	// early.
	Open func(t *testing.T, now func() time.Time) session.Store
	// Sibling opens the medium of store, which Open has made, once more, as another
	// process would, with the same clock; Run closes it. Nil when a medium has one store.
	Sibling func(t *testing.T, store session.Store) session.Store
	// SelfSweeping says that the medium removes rows that are over by itself, so that
	// Sweep has none to count.
	SelfSweeping bool
}

// Run checks the stores of o.
func Run(t *testing.T, o Options) {
	groups := [][]rule{
		basics(), keys(), deletes(), versionedDeletes(), saves(), touches(), lifetimes(), sweeps(), faults(),
		races(), touchRaces(), sweepRaces(),
		tags(), tagBytes(), finds(), goneRows(), crowds(), leases(), lapses(), leaseRaces(), stamps(), failedWrites(),
	}
	if o.Sibling != nil {
		groups = append(groups, siblings(), siblingStamps())
	}
	for _, group := range groups {
		for _, rule := range group {
			t.Run(rule.name, func(t *testing.T) {
				t.Parallel()
				clock := &clock{now: time.Now().Truncate(time.Millisecond)}
				store := o.Open(t, clock.Now)
				t.Cleanup(func() { _ = store.Close() })
				rule.check(&tester{T: t, Options: o, store: store, clock: clock})
			})
		}
	}
}

type rule struct {
	name  string
	check func(*tester)
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// tester is a subtest with its store and clock.
type tester struct {
	*testing.T
	Options
	store session.Store
	clock *clock
}

// row makes an unsaved row of a key that starts with the given byte: idle limit in
// one hour, absolute limit in twelve.
func (t *tester) row(key byte, data string) session.Row {
	now := t.clock.Now()
	return session.Row{
		Key: session.Key{key, 31: 0xee}, Data: []byte(data),
		Seen: now, Idle: now.Add(time.Hour), Expires: now.Add(12 * time.Hour),
	}
}

func (t *tester) save(row session.Row) uint64 {
	t.Helper()
	version, err := t.store.Save(t.Context(), row)
	if err != nil {
		t.Fatalf("Save: %v", err)
	}
	return version
}

// inserted saves a new row and returns it with its version.
func (t *tester) inserted(key byte, data string) session.Row {
	t.Helper()
	row := t.row(key, data)
	row.Version = t.save(row)
	return row
}

func (t *tester) wantSaveError(row session.Row, want error) {
	t.Helper()
	if version, err := t.store.Save(t.Context(), row); !is(err, want) || version != 0 {
		t.Errorf("Save: got %d, %v; want %v", version, err, want)
	}
}

// wantRow asserts that the store holds exactly row, as seen through Load.
func (t *tester) wantRow(want session.Row) {
	t.Helper()
	got, err := t.store.Load(t.Context(), want.Key)
	if err != nil {
		t.Errorf("Load: %v", err)
		return
	}
	t.wantSame("Load", got, want)
}

func (t *tester) wantSame(call string, got, want session.Row) {
	t.Helper()
	if got.Key != want.Key || got.Version != want.Version || !bytes.Equal(got.Data, want.Data) {
		t.Errorf("%s: key %x, version %d, %d bytes of data; want %x, %d, %d", call, got.Key, got.Version, len(got.Data), want.Key, want.Version, len(want.Data))
	}
	if len(got.Tags) > 0 {
		t.Errorf("%s: %d tags, want none", call, len(got.Tags))
	}
	for _, moment := range []struct {
		name      string
		got, want time.Time
	}{{"Seen", got.Seen, want.Seen}, {"Idle", got.Idle, want.Idle}, {"Expires", got.Expires, want.Expires}} {
		if cut := moment.want.UTC().Truncate(time.Millisecond); !moment.got.Equal(cut) || moment.got.Location() != time.UTC {
			t.Errorf("%s: %s %v, want %v", call, moment.name, moment.got, cut)
		}
	}
}

func (t *tester) wantNone(key session.Key) {
	t.Helper()
	if row, err := t.store.Load(t.Context(), key); !is(err, session.ErrNone) || row.Data != nil {
		t.Errorf("Load: got version %d, %v; want ErrNone", row.Version, err)
	}
}

func (t *tester) touch(row session.Row, seen, idle time.Time) {
	t.Helper()
	if err := t.store.Touch(t.Context(), []session.Activity{{Key: row.Key, Seen: seen, Idle: idle}}); err != nil {
		t.Errorf("Touch: %v", err)
	}
}

func (t *tester) remove(key session.Key) {
	t.Helper()
	if err := t.store.Delete(t.Context(), key, 0); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

func (t *tester) wantSwept(limit, want int) {
	t.Helper()
	if t.SelfSweeping {
		want = 0
	}
	if swept, err := t.store.Sweep(t.Context(), limit); err != nil || swept != want {
		t.Errorf("Sweep(%d): got %d, %v; want %d", limit, swept, err, want)
	}
}

// eventually asks until it is so, or for limit.
func (t *tester) eventually(limit time.Duration, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// operations are all calls of a Store that take a context, on one row.
func operations(store session.Store, row session.Row) map[string]func(context.Context) error {
	fresh := row
	fresh.Key[0]++
	fresh.Version = 0
	return map[string]func(context.Context) error{
		"Load":    func(ctx context.Context) error { _, err := store.Load(ctx, row.Key); return err },
		"insert":  func(ctx context.Context) error { _, err := store.Save(ctx, fresh); return err },
		"replace": func(ctx context.Context) error { _, err := store.Save(ctx, row); return err },
		"Touch": func(ctx context.Context) error {
			return store.Touch(ctx, []session.Activity{{Key: row.Key, Seen: row.Seen.Add(time.Minute), Idle: row.Idle.Add(time.Minute)}})
		},
		"Delete":              func(ctx context.Context) error { return store.Delete(ctx, row.Key, 0) },
		"Delete of a version": func(ctx context.Context) error { return store.Delete(ctx, row.Key, row.Version) },
		"Find":                func(ctx context.Context) error { _, err := store.Find(ctx, []session.Tag{{1}}, 10); return err },
		"Lease": func(ctx context.Context) error {
			_, err := store.Lease(ctx, row.Key, session.Owner{1}, time.Minute)
			return err
		},
		"Release": func(ctx context.Context) error { return store.Release(ctx, row.Key, session.Owner{1}) },
		"Sweep":   func(ctx context.Context) error { _, err := store.Sweep(ctx, 100); return err },
		"Ping":    store.Ping,
	}
}
