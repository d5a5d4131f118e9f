package session_test

import (
	"encoding/binary"
	"testing"
	"time"

	"genkan/internal/session"
	"genkan/internal/session/storetest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(_ *testing.T, now func() time.Time) session.Store { return session.NewMemory(now) })
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
		if err := store.Touch(t.Context(), row.Key, now.Add(time.Second), now.Add(2*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkMemory(b *testing.B) { storetest.Bench(b, session.NewMemory(time.Now)) }
