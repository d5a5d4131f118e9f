package storetest

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"genkan/internal/session"
)

// stamp waits until the store can tell the stamp of key.
func (t *tester) stamp(key session.Key) (stamp uint64) {
	t.Helper()
	t.eventually(patience, "the store tells the stamp", func() (ok bool) {
		stamp, ok = t.store.Stamp(key)
		return ok
	})
	return stamp
}

// isValid reports whether what was loaded under stamp may still be used.
func (t *tester) isValid(key session.Key, stamp uint64) bool {
	now, ok := t.store.Stamp(key)
	return ok && now == stamp
}

// wantWriteChanges asserts that the stamp of key is another one after a write.
func (t *tester) wantWriteChanges(name string, key session.Key, write func()) {
	t.Helper()
	before := t.stamp(key)
	write()
	if t.isValid(key, before) {
		t.Errorf("the stamp is the same after %s", name)
	}
}

func stamps() []rule {
	return []rule{
		{"the stamp of a row that nobody changes comes to rest", func(t *tester) {
			row := t.inserted(1, "x")
			t.eventually(patience, "Load is followed by the stamp from before it", func() bool {
				stamp, ok := t.store.Stamp(row.Key)
				t.wantRow(row)
				return ok && t.isValid(row.Key, stamp)
			})
		}},
		{"a key without a row has a stamp too, and an insert changes it", func(t *tester) {
			row := t.row(1, "x")
			t.wantWriteChanges("an insert", row.Key, func() { t.save(row) })
		}},
		{"a write has changed the stamp when it returns", func(t *tester) {
			row := t.inserted(1, "x")
			for range 32 {
				t.wantWriteChanges("a replacement", row.Key, func() { row.Version = t.save(row) })
			}
			t.wantWriteChanges("Delete of a version", row.Key, func() { t.wantDeleteError(row.Key, row.Version, nil) })
			row = t.inserted(1, "x")
			t.wantWriteChanges("Delete", row.Key, func() { t.remove(row.Key) })
		}},
		{"a valid stamp never hides a write that has returned", func(t *tester) {
			t.wantNothingHidden(t.inserted(1, "x"), nil)
		}},
		{"a valid stamp never hides a write beside others of the same stamp", func(t *tester) {
			neighbour := t.row(1, "x")
			neighbour.Key[30]++
			t.wantNothingHidden(t.inserted(1, "x"), func() { neighbour.Version = t.save(neighbour) })
		}},
		{"the stamps of 256 rows change with their own writes", func(t *tester) {
			for key := range 256 {
				row := t.inserted(byte(key), "x")
				t.wantWriteChanges("a replacement", row.Key, func() { t.save(row) })
			}
		}},
	}
}

// wantNothingHidden replaces row, removes it and inserts it again for a while, while
// others use what they have loaded for as long as the stamp says that they may.
func (t *tester) wantNothingHidden(row session.Row, disturb func()) {
	t.Helper()
	key, end := row.Key, time.Now().Add(200*time.Millisecond)
	var returned atomic.Uint64 // the number of the last write that has
	var over atomic.Bool
	write := func() {
		defer over.Store(true)
		for n := uint64(1); time.Now().Before(end); n++ {
			if n%3 == 0 {
				t.remove(key)
				row.Version = 0
			} else {
				row.Data = binary.BigEndian.AppendUint64(nil, n)
				row.Version = t.save(row)
			}
			returned.Store(n)
		}
	}
	read := func() {
		var kept []byte
		var under uint64
		for !over.Load() {
			least := returned.Load()
			stamp, ok := t.store.Stamp(key)
			if ok && stamp == under && len(kept) == 8 {
				if n := binary.BigEndian.Uint64(kept); n < least {
					t.Errorf("what write %d left has a valid stamp after write %d", n, least)
					return
				}
				continue
			}
			loaded, _ := t.store.Load(t.Context(), key)
			kept, under = loaded.Data, stamp
			if !ok {
				kept = nil
			}
		}
	}
	together(write, read, read, func() {
		for disturb != nil && !over.Load() {
			disturb()
		}
	})
}

func failedWrites() []rule {
	return []rule{
		{"a write that is refused has changed the stamp when it returns", func(t *tester) {
			row := t.inserted(1, "x")
			stale := row
			stale.Version = 7
			t.wantWriteChanges("a Save with ErrConflict", row.Key, func() { t.wantSaveError(stale, session.ErrConflict) })
			t.wantWriteChanges("a Delete with ErrConflict", row.Key, func() { t.wantDeleteError(row.Key, 7, session.ErrConflict) })
			t.remove(row.Key)
			t.wantWriteChanges("a Save with ErrNone", row.Key, func() { t.wantSaveError(row, session.ErrNone) })
		}},
		{"a write that is cut off never leaves an old stamp valid", func(t *tester) {
			row := t.inserted(1, "x")
			for i := range 50 {
				before := t.stamp(row.Key)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*20*time.Microsecond)
				_, err := t.store.Save(ctx, row)
				cancel()
				after, loadErr := t.store.Load(t.Context(), row.Key)
				if loadErr != nil {
					t.Fatalf("Load: %v", loadErr)
				}
				if after.Version != row.Version && t.isValid(row.Key, before) {
					t.Errorf("after a Save with %v the row has changed and its stamp has not", err)
				}
				row.Version = after.Version
			}
		}},
	}
}

// other is the subtest with its store opened once more, as another process would.
func (t *tester) other() *tester {
	t.Helper()
	store := t.Sibling(t.T, t.store)
	t.Cleanup(func() { _ = store.Close() })
	there := *t
	there.store = store
	return &there
}

func siblings() []rule {
	return []rule{
		{"what is written here is read there at once", func(here *tester) {
			there := here.other()
			row := here.tagged(1, session.Tag{1})
			there.wantRow(row)
			there.wantFound(set(session.Tag{1}), row)
			row.Data, row.Tags = []byte("from there"), set(session.Tag{2})
			row.Version = there.save(row)
			here.wantRow(row)
			here.wantFound(set(session.Tag{1}, session.Tag{2}), row)
			here.wantDeleteError(row.Key, 1, session.ErrConflict)
			there.remove(row.Key)
			here.wantNone(row.Key)
			here.wantFound(set(session.Tag{1}, session.Tag{2}))
		}},
		{"a lease held here is refused there", func(here *tester) {
			there, key := here.other(), session.Key{1}
			here.wantLease(key, ann, held)
			there.wantLease(key, bob, refused)
			there.release(key, bob)
			there.wantLease(key, bob, refused)
			here.release(key, ann)
			there.wantLease(key, bob, held)
			here.wantLease(key, ann, refused)
		}},
		{"of two that write one version here and there, exactly one wins", func(here *tester) {
			there := here.other()
			for key := range byte(32) {
				row := here.inserted(key, "x")
				var one, two error
				together(
					func() { _, one = here.store.Save(here.Context(), row) },
					func() { _, two = there.store.Save(there.Context(), row) },
				)
				if (one == nil) == (two == nil) {
					here.Errorf("here %v, there %v", one, two)
				}
				row.Version = 2
				here.wantRow(row)
				there.wantRow(row)
			}
		}},
		{"closing the one leaves the other working", func(here *tester) {
			there := here.other()
			row := there.inserted(1, "x")
			if err := there.store.Close(); err != nil {
				here.Fatalf("Close: %v", err)
			}
			here.wantRow(row)
			here.wantWriteChanges("a replacement", row.Key, func() { row.Version = here.save(row) })
			again := here.other()
			again.wantRow(row)
			again.stamp(row.Key)
		}},
	}
}

func siblingStamps() []rule {
	return []rule{
		{"a write there changes the stamp here", func(here *tester) {
			there := here.other()
			if lag := here.store.Lag(); lag < 0 || lag > time.Second {
				here.Errorf("Lag %v, want at most a second", lag)
			}
			row := there.inserted(1, "x")
			here.wantWriteShows("a replacement", row.Key, func() { row.Version = there.save(row) })
			here.wantWriteShows("Delete of a version", row.Key, func() { there.wantDeleteError(row.Key, 2, nil) })
			row = there.inserted(1, "x")
			here.wantWriteShows("Delete", row.Key, func() { there.remove(row.Key) })
		}},
		{"loading while another writes never leaves the old stamp valid", func(here *tester) {
			there := here.other()
			row := here.inserted(1, "x")
			for range 64 {
				var loaded session.Row
				var stamp uint64
				var ok bool
				together(
					func() { row.Version = there.save(row) },
					func() {
						stamp, ok = here.store.Stamp(row.Key)
						loaded, _ = here.store.Load(here.Context(), row.Key)
					},
				)
				if ok && loaded.Version != row.Version {
					here.wantNotice("a replacement", row.Key, stamp)
				}
			}
		}},
	}
}

// wantWriteShows loads the row of key, and asserts that what it has loaded is known to
// be old after a write there.
func (t *tester) wantWriteShows(name string, key session.Key, write func()) {
	t.Helper()
	stamp := t.stamp(key)
	_, _ = t.store.Load(t.Context(), key)
	write()
	t.wantNotice(name, key, stamp)
}

// wantNotice asserts that an old stamp is not valid any more once Lag has gone by since
// a write there, which has just returned.
func (t *tester) wantNotice(name string, key session.Key, stamp uint64) {
	t.Helper()
	start, gone := time.Now(), false
	for t.isValid(key, stamp) {
		if gone {
			t.Errorf("the stamp is the same %v after %s", t.store.Lag(), name)
			return
		}
		time.Sleep(time.Millisecond)
		gone = time.Since(start) >= t.store.Lag()
	}
}
