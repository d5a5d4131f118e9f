package storetest

import (
	"errors"
	"math"
	"strings"
	"time"

	"genkan/internal/session"
)

func is(err, want error) bool { return errors.Is(err, want) }

func basics() []rule {
	return []rule{
		{"Load of a missing row is ErrNone", func(t *tester) {
			t.inserted(1, "other")
			t.wantNone(session.Key{2})
		}},
		{"a saved row comes back whole, times cut to the millisecond in UTC", func(t *tester) {
			every := make([]byte, 256)
			for i := range every {
				every[i] = byte(i)
			}
			row := t.row(1, string(every))
			row.Seen = time.Date(2031, 2, 3, 4, 5, 6, 987_654_321, time.FixedZone("", 9*3600))
			row.Idle = time.Date(2191, 1, 1, 0, 0, 0, 1_999_999, time.UTC)
			row.Expires = time.Date(2192, 1, 1, 0, 0, 0, 0, time.UTC)
			row.Version = t.save(row)
			t.wantRow(row)
		}},
		{"data may be nil or empty", func(t *tester) {
			for key, data := range [][]byte{nil, {}} {
				row := t.row(byte(key), "")
				row.Data = data
				row.Version = t.save(row)
				t.wantRow(row)
				row.Version = t.save(row)
				t.wantRow(row)
			}
		}},
		{"data of 262144 bytes is taken", func(t *tester) {
			row := t.row(1, strings.Repeat("x", 262144))
			row.Version = t.save(row)
			t.wantRow(row)
			row.Data[0]++
			row.Version = t.save(row)
			t.wantRow(row)
		}},
		{"data of 262145 bytes is ErrTooLarge and changes nothing", func(t *tester) {
			row := t.inserted(1, "kept")
			for _, large := range []session.Row{row, t.row(2, "")} {
				large.Data = make([]byte, 262145)
				t.wantSaveError(large, session.ErrTooLarge)
			}
			t.wantRow(row)
			t.wantNone(t.row(2, "").Key)
		}},
	}
}

func keys() []rule {
	return []rule{
		{"every byte of a key counts, zeros too", func(t *tester) {
			all := []session.Key{{}, {31: 1}, {0: 1}, {15: 1}, {0: 1, 31: 1}, {0: 255, 1: 0, 2: 255}, {0: '\'', 1: '"', 2: '\\', 3: '%', 4: '\n'}}
			for i, key := range all {
				row := t.row(0, strings.Repeat("x", i))
				row.Key = key
				t.save(row)
			}
			for i, key := range all {
				row := t.row(0, strings.Repeat("x", i))
				row.Key, row.Version = key, 1
				t.wantRow(row)
			}
			t.remove(all[0])
			t.wantNone(all[0])
			if _, err := t.store.Load(t.Context(), all[1]); err != nil {
				t.Errorf("Load of the neighbour of a deleted row: %v", err)
			}
		}},
		{"the store keeps its own copy of the data", func(t *tester) {
			row := t.inserted(1, "original")
			given := row
			given.Data = []byte("original")
			given.Version = t.save(given)
			copy(given.Data, "SCRIBBLE")
			row.Version = given.Version
			t.wantRow(row)
			loaded, err := t.store.Load(t.Context(), row.Key)
			if err != nil {
				t.Fatal(err)
			}
			copy(loaded.Data, "SCRIBBLE")
			t.wantRow(row)
		}},
	}
}

func deletes() []rule {
	return []rule{
		{"Delete removes the row and no other", func(t *tester) {
			row, other := t.inserted(1, "x"), t.inserted(2, "y")
			t.remove(row.Key)
			t.wantNone(row.Key)
			t.wantRow(other)
		}},
		{"Delete of a missing row is no error", func(t *tester) {
			t.remove(session.Key{9})
			row := t.inserted(1, "x")
			t.remove(row.Key)
			t.remove(row.Key)
		}},
		{"a deleted row cannot be replaced or touched, but inserted", func(t *tester) {
			row := t.inserted(1, "x")
			t.remove(row.Key)
			t.wantSaveError(row, session.ErrNone)
			if err := t.store.Touch(t.Context(), []session.Activity{{Key: row.Key, Seen: row.Seen, Idle: row.Idle}}); err != nil {
				t.Errorf("Touch: %v", err)
			}
			t.wantNone(row.Key)
			t.wantRow(t.inserted(1, "again"))
		}},
		{"Ping of a store that works is no error", func(t *tester) {
			if err := t.store.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			row := t.inserted(1, "x")
			if err := t.store.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			t.wantRow(row)
		}},
	}
}

func versionedDeletes() []rule {
	return []rule{
		{"Delete of the row's version removes it", func(t *tester) {
			row, other := t.inserted(1, "x"), t.inserted(2, "y")
			row.Version = t.save(row)
			t.wantDeleteError(row.Key, 2, nil)
			t.wantNone(row.Key)
			t.wantRow(other)
		}},
		{"Delete of another version is ErrConflict and removes nothing", func(t *tester) {
			row := t.inserted(1, "x")
			row.Version = t.save(row)
			for _, version := range []uint64{1, 3, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
				t.wantDeleteError(row.Key, version, session.ErrConflict)
			}
			t.wantRow(row)
		}},
		{"Delete of version 0 removes whatever version there is", func(t *tester) {
			row := t.inserted(1, "x")
			t.save(row)
			t.wantDeleteError(row.Key, 0, nil)
			t.wantNone(row.Key)
		}},
		{"Delete of any version of a missing row is no error", func(t *tester) {
			row := t.inserted(1, "x")
			t.remove(row.Key)
			for _, version := range []uint64{0, 1, 2, math.MaxUint64} {
				t.wantDeleteError(row.Key, version, nil)
			}
		}},
		{"Delete of any version of a row that is over is no error", func(t *tester) {
			row := t.inserted(1, "x")
			t.clock.Set(row.Idle)
			for _, version := range []uint64{2, 1, 0} {
				t.wantDeleteError(row.Key, version, nil)
				t.wantNone(row.Key)
			}
			t.wantRow(t.inserted(1, "again"))
		}},
		{"of a Delete and a Save of one version, exactly one happens", func(t *tester) {
			for key := range byte(32) {
				row := t.inserted(key, "x")
				var deleted, saved error
				together(
					func() { deleted = t.store.Delete(t.Context(), row.Key, 1) },
					func() { _, saved = t.store.Save(t.Context(), row) },
				)
				switch {
				case deleted == nil && is(saved, session.ErrNone):
					t.wantNone(row.Key)
				case is(deleted, session.ErrConflict) && saved == nil:
					row.Version = 2
					t.wantRow(row)
				default:
					t.Errorf("Delete: %v, Save: %v", deleted, saved)
				}
			}
		}},
	}
}

func (t *tester) wantDeleteError(key session.Key, version uint64, want error) {
	t.Helper()
	if err := t.store.Delete(t.Context(), key, version); !is(err, want) {
		t.Errorf("Delete of version %d: got %v, want %v", version, err, want)
	}
}

func saves() []rule {
	return []rule{
		{"an insert gives version 1, and every Save one more", func(t *tester) {
			row := t.row(1, "x")
			for want := uint64(1); want <= 5; want++ {
				row.Data = append(row.Data, 'y')
				if row.Version = t.save(row); row.Version != want {
					t.Errorf("version %d, want %d", row.Version, want)
				}
				t.wantRow(row)
			}
		}},
		{"an insert over a live row is ErrConflict and changes nothing", func(t *tester) {
			row := t.inserted(1, "first")
			second := t.row(1, "second")
			second.Idle, second.Expires = second.Idle.Add(time.Minute), second.Expires.Add(time.Minute)
			t.wantSaveError(second, session.ErrConflict)
			t.wantRow(row)
		}},
		{"a replacement of a missing row is ErrNone and inserts nothing", func(t *tester) {
			row := t.row(1, "x")
			row.Version = 1
			t.wantSaveError(row, session.ErrNone)
			t.wantNone(row.Key)
		}},
		{"another version is ErrConflict and changes nothing", func(t *tester) {
			row := t.inserted(1, "one")
			row.Data = []byte("two")
			row.Version = t.save(row)
			for _, version := range []uint64{1, 3, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
				stale := row
				stale.Version, stale.Data = version, []byte("stale")
				stale.Idle, stale.Expires = row.Idle.Add(time.Minute), row.Expires.Add(time.Minute)
				t.wantSaveError(stale, session.ErrConflict)
			}
			t.wantRow(row)
		}},
		{"a replacement never moves Seen and Idle backwards", func(t *tester) {
			loaded := t.inserted(1, "x")
			seen, idle := loaded.Seen.Add(time.Minute), loaded.Idle.Add(time.Minute)
			t.touch(loaded, seen, idle)
			loaded.Data = []byte("refreshed")
			loaded.Version = t.save(loaded)
			loaded.Seen, loaded.Idle = seen, idle
			t.wantRow(loaded)
		}},
		{"a replacement moves Seen and Idle forwards, and Expires either way", func(t *tester) {
			row := t.inserted(1, "x")
			row.Seen, row.Idle, row.Expires = row.Seen.Add(time.Minute), row.Idle.Add(time.Minute), row.Expires.Add(-time.Minute)
			row.Version = t.save(row)
			t.wantRow(row)
			row.Expires = row.Expires.Add(time.Hour)
			row.Version = t.save(row)
			t.wantRow(row)
		}},
	}
}

func touches() []rule {
	return []rule{
		{"Touch moves Seen and Idle and nothing else", func(t *tester) {
			row, other := t.inserted(1, "x"), t.inserted(2, "y")
			row.Seen, row.Idle = row.Seen.Add(time.Minute), row.Idle.Add(time.Hour)
			t.touch(row, row.Seen, row.Idle)
			t.wantRow(row)
			t.wantRow(other)
			row.Version = t.save(row) // the version given to Save is still the current one
			t.wantRow(row)
		}},
		{"Touch never moves Seen or Idle backwards, each on its own", func(t *tester) {
			row := t.inserted(1, "x")
			t.touch(row, row.Seen.Add(-time.Hour), row.Idle.Add(-time.Minute))
			t.wantRow(row)
			t.touch(row, row.Seen.Add(time.Minute), row.Idle.Add(-time.Minute))
			row.Seen = row.Seen.Add(time.Minute)
			t.wantRow(row)
			t.touch(row, row.Seen.Add(-time.Minute), row.Idle.Add(time.Minute))
			row.Idle = row.Idle.Add(time.Minute)
			t.wantRow(row)
		}},
		{"Touch moves many rows, and leaves out those that are not there", func(t *tester) {
			var rows []session.Row
			var all []session.Activity
			for n := range byte(200) {
				row := t.inserted(n, "x")
				if n%3 == 0 {
					t.remove(row.Key)
				}
				row.Seen, row.Idle = row.Seen.Add(time.Duration(n)*time.Second), row.Idle.Add(time.Duration(n)*time.Minute)
				rows, all = append(rows, row), append(all, session.Activity{Key: row.Key, Seen: row.Seen, Idle: row.Idle})
			}
			for i := range session.MaxTouched - len(all) {
				all = append(all, session.Activity{Key: session.Key{255, byte(i), byte(i >> 8)}, Seen: rows[0].Seen, Idle: rows[0].Idle})
			}
			if err := t.store.Touch(t.Context(), all); err != nil {
				t.Fatalf("Touch: %v", err)
			}
			for n, row := range rows {
				if n%3 == 0 {
					t.wantNone(row.Key)
					continue
				}
				t.wantRow(row)
			}
		}},
		{"Touch of nothing is no error", func(t *tester) {
			if err := t.store.Touch(t.Context(), nil); err != nil {
				t.Errorf("Touch: %v", err)
			}
		}},
		{"Touch of a missing row is no error and makes none", func(t *tester) {
			row := t.row(1, "x")
			if err := t.store.Touch(t.Context(), []session.Activity{{Key: row.Key, Seen: row.Seen, Idle: row.Idle}}); err != nil {
				t.Errorf("Touch: %v", err)
			}
			t.wantNone(row.Key)
		}},
	}
}
