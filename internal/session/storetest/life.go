package storetest

import (
	"context"
	"time"

	"genkan/internal/session"
)

func lifetimes() []rule {
	return []rule{
		{"a row is over from its Idle on", func(t *tester) {
			row := t.inserted(1, "x")
			t.clock.Set(row.Idle.Add(-time.Millisecond))
			t.wantRow(row)
			t.clock.Set(row.Idle)
			t.wantNone(row.Key)
		}},
		{"a row is over from its Expires on, whatever its Idle", func(t *tester) {
			row := t.row(1, "x")
			row.Idle = row.Expires.Add(time.Hour)
			row.Version = t.save(row)
			t.clock.Set(row.Expires.Add(-time.Millisecond))
			t.wantRow(row)
			t.clock.Set(row.Expires)
			t.wantNone(row.Key)
		}},
		{"Touch carries a row past its first Idle, not past its Expires", func(t *tester) {
			row := t.inserted(1, "x")
			first := row.Idle
			row.Seen, row.Idle = first.Add(-time.Minute), row.Expires.Add(time.Hour)
			t.touch(row, row.Seen, row.Idle)
			t.clock.Set(first.Add(time.Minute))
			t.wantRow(row)
			t.clock.Set(row.Expires)
			t.wantNone(row.Key)
		}},
		{"a row that is over cannot be touched back to life", func(t *tester) {
			row := t.inserted(1, "x")
			t.clock.Set(row.Idle)
			if err := t.store.Touch(t.Context(), []session.Activity{{Key: row.Key, Seen: row.Idle, Idle: row.Expires}}); err != nil {
				t.Errorf("Touch: %v", err)
			}
			t.wantNone(row.Key)
		}},
		{"a row that is over cannot be replaced", func(t *tester) {
			row := t.inserted(1, "x")
			t.clock.Set(row.Idle)
			row.Idle = row.Idle.Add(time.Hour)
			t.wantSaveError(row, session.ErrNone)
			t.wantNone(row.Key)
		}},
		{"a row that is over gives way to an insert, whole", func(t *tester) {
			old := t.row(1, "old")
			old.Seen, old.Idle, old.Expires = old.Seen.Add(72*time.Hour), old.Idle.Add(72*time.Hour), old.Seen.Add(time.Minute)
			old.Version = t.save(old)
			old.Version = t.save(old)
			t.clock.Set(old.Expires)
			t.wantRow(t.inserted(1, "new"))
		}},
	}
}

func sweeps() []rule {
	return []rule{
		{"Sweep removes rows that are over by Idle or by Expires, and counts them", func(t *tester) {
			t.inserted(1, "over by Idle")
			absolute := t.row(2, "over by Expires")
			absolute.Idle, absolute.Expires = absolute.Idle.Add(24*time.Hour), absolute.Idle
			t.save(absolute)
			t.wantSwept(100, 0)
			t.clock.Set(absolute.Expires)
			live := t.inserted(3, "live")
			t.wantSwept(100, 2)
			t.wantSwept(100, 0)
			t.wantRow(live)
		}},
		{"Sweep removes at most limit rows", func(t *tester) {
			for key := range byte(7) {
				t.inserted(key, "x")
			}
			t.clock.Set(t.clock.Now().Add(2 * time.Hour))
			t.wantSwept(3, 3)
			t.wantSwept(3, 3)
			t.wantSwept(3, 1)
			t.wantSwept(3, 0)
		}},
		{"Sweep with a limit below 1 removes nothing", func(t *tester) {
			t.inserted(1, "x")
			t.clock.Set(t.clock.Now().Add(2 * time.Hour))
			t.wantSwept(0, 0)
			t.wantSwept(-1, 0)
			t.wantSwept(1, 1)
		}},
	}
}

func faults() []rule {
	return []rule{
		{"a cancelled context is its error and changes nothing", func(t *tester) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			t.wantUnchanged(ctx, context.Canceled)
		}},
		{"a passed deadline is its error and changes nothing", func(t *tester) {
			ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
			defer cancel()
			t.wantUnchanged(ctx, context.DeadlineExceeded)
		}},
		{"a closed store fails, and never says that there is no session", func(t *tester) {
			row := t.inserted(1, "x")
			calls := operations(t.store, row)
			if err := t.store.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
			for name, call := range calls {
				if err := call(t.Context()); err == nil || is(err, session.ErrNone) || is(err, session.ErrConflict) {
					t.Errorf("%s: got %v, want a fault", name, err)
				}
			}
			if _, ok := t.store.Stamp(row.Key); ok {
				t.Error("Stamp: ok")
			}
		}},
	}
}

// wantUnchanged makes every call with a context that is over.
func (t *tester) wantUnchanged(ctx context.Context, want error) {
	t.Helper()
	over := t.row(9, "over")
	over.Idle = over.Seen.Add(-time.Second)
	t.save(over)
	row := t.inserted(1, "kept")
	for name, call := range operations(t.store, row) {
		if err := call(ctx); !is(err, want) || is(err, session.ErrNone) || is(err, session.ErrConflict) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	t.wantRow(row)
	t.wantNone(session.Key{2, 31: 0xee}) // the one "insert" would have made
	t.wantSwept(100, 1)
}
