package session_test

import (
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"genkan/internal/session"
	"genkan/internal/session/storetest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Options{Open: func(_ *testing.T, now func() time.Time) session.Store {
		return session.NewMemory(now)
	}})
}

func TestMemoryTakesAHundredThousandSessions(t *testing.T) {
	t.Parallel()
	now := time.Now()
	store := session.NewMemory(func() time.Time { return now })
	row := func(i uint32) (row session.Row) {
		binary.BigEndian.PutUint32(row.Key[:], i)
		row.Idle, row.Expires = now.Add(time.Hour), now.Add(time.Hour)
		return row
	}
	save := func(row session.Row) error { _, err := store.Save(t.Context(), row); return err }
	for i := range uint32(100_000) {
		if err := save(row(i)); err != nil {
			t.Fatalf("session %d: %v", i+1, err)
		}
	}
	if err := save(row(100_000)); err == nil {
		t.Error("one more was taken")
	}
	held := row(0)
	held.Version = 1
	if err := save(held); err != nil {
		t.Errorf("a full store does not save what it holds: %v", err)
	}
	now = now.Add(time.Hour)
	if err := save(row(100_000)); err != nil {
		t.Errorf("a store full of sessions that are over takes no new one: %v", err)
	}
}

func TestMemoryForgetsTheTagsOfRowsThatAreGone(t *testing.T) {
	t.Parallel()
	now := time.Now()
	store := session.NewMemory(func() time.Time { return now })
	for i := range byte(100) {
		row := session.Row{Key: session.Key{i}, Tags: []session.Tag{{i}, {100}}, Idle: now.Add(time.Hour), Expires: now.Add(time.Hour)}
		if _, err := store.Save(t.Context(), row); err != nil {
			t.Fatal(err)
		}
	}
	if got := session.Tagged(store); got != 101 {
		t.Errorf("%d tags, want 101", got)
	}
	for i := range byte(50) {
		if err := store.Delete(t.Context(), session.Key{i}, 0); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Hour)
	if n, err := store.Sweep(t.Context(), 1000); n != 50 || err != nil {
		t.Fatalf("%d swept, %v", n, err)
	}
	if got := session.Tagged(store); got != 0 {
		t.Errorf("%d tags are left, want none", got)
	}
}

// A monotonic clock stands still while a machine sleeps.
func TestMemoryEndsSessionsByTheWallClock(t *testing.T) {
	t.Parallel()
	store := session.NewMemory(time.Now)
	now := time.Now()
	row := session.Row{Seen: now, Idle: now.Add(time.Hour), Expires: now.Add(time.Hour)}
	version, err := store.Save(t.Context(), row)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // as saved, then as touched
		got, err := store.Load(t.Context(), row.Key)
		if err != nil || got.Version != version {
			t.Fatal(got.Version, err)
		}
		for _, kept := range []time.Time{got.Seen, got.Idle, got.Expires} {
			if kept != kept.Round(0) { // == sees the monotonic reading
				t.Errorf("%v has a monotonic reading", kept)
			}
		}
		if err := store.Touch(t.Context(), []session.Activity{{Key: row.Key, Seen: now.Add(time.Second), Idle: now.Add(2 * time.Hour)}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMemoryForgetsALeaseTenMinutesAfterItsEnd(t *testing.T) {
	t.Parallel()
	now := time.Now()
	store := session.NewMemory(func() time.Time { return now })
	key := func(i uint32) (key session.Key) { binary.BigEndian.PutUint32(key[:], i); return key }
	for i := range uint32(100_000) {
		if _, err := store.Lease(t.Context(), key(i), session.Owner{1}, time.Minute); err != nil {
			t.Fatalf("lease %d: %v", i+1, err)
		}
	}
	for _, row := range []struct {
		name  string
		after time.Duration
		limit int
		fails bool
		want  session.Lease
	}{
		{"full", 0, 1, true, session.Lease{}},
		{"a millisecond too early", 11*time.Minute - time.Millisecond, 1, true, session.Lease{}},
		{"limit 0", 11 * time.Minute, 0, true, session.Lease{}},
		{"ten minutes after", 11 * time.Minute, 1, false, session.Lease{Held: true}},
	} {
		now = now.Add(row.after)
		if _, err := store.Sweep(t.Context(), row.limit); err != nil {
			t.Fatal(err)
		}
		if got, err := store.Lease(t.Context(), key(100_000), session.Owner{2}, time.Minute); got != row.want || (err != nil) != row.fails {
			t.Errorf("%s: %+v, %v", row.name, got, err)
		}
		now = now.Add(-row.after)
	}
}

func BenchmarkMemory(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	storetest.Bench(b, session.NewMemory(time.Now), func() int64 {
		runtime.GC()
		runtime.ReadMemStats(&after)
		return int64(after.HeapAlloc - before.HeapAlloc)
	})
}
