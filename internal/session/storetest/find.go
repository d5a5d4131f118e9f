package storetest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"genkan/internal/session"
)

// tagged saves a new row with tags.
func (t *tester) tagged(key byte, tags ...session.Tag) session.Row {
	t.Helper()
	row := t.row(key, fmt.Sprintf("data of %d", key))
	row.Tags = tags
	row.Version = t.save(row)
	return row
}

// wantFound asserts that Find gives exactly the rows, each once and whole.
func (t *tester) wantFound(tags []session.Tag, want ...session.Row) {
	t.Helper()
	got, err := t.store.Find(t.Context(), tags, 100)
	if err != nil {
		t.Fatalf("Find: %v", err)
	}
	if len(got) != len(want) {
		t.Errorf("Find: %d rows, want %d", len(got), len(want))
	}
	for _, row := range want {
		i := slices.IndexFunc(got, func(found session.Row) bool { return found.Key == row.Key })
		if i < 0 {
			t.Errorf("Find: no row %x", row.Key)
			continue
		}
		t.wantSame("Find", got[i], row)
	}
}

func set(tags ...session.Tag) []session.Tag { return tags }

func tags() []rule {
	a, b, c := session.Tag{1}, session.Tag{2}, session.Tag{3}
	return []rule{
		{"every Save gives the whole set of tags", func(t *tester) {
			other := t.tagged(9, a, b, c)
			row := t.tagged(1, a, b)
			for _, tags := range [][]session.Tag{{b, c}, {}, {c, a, c, a}, {a}, nil, {a, b, c}, {b}} {
				row.Tags = tags
				row.Version = t.save(row)
				for _, tag := range set(a, b, c) {
					want := []session.Row{other}
					if slices.Contains(tags, tag) {
						want = append(want, row)
					}
					t.wantFound(set(tag), want...)
				}
			}
		}},
		{"Touch leaves the tags, and Find sees what it moved", func(t *tester) {
			row := t.tagged(1, a, b)
			row.Seen, row.Idle = row.Seen.Add(time.Minute), row.Idle.Add(time.Minute)
			t.touch(row, row.Seen, row.Idle)
			t.wantFound(set(a), row)
			t.wantFound(set(b), row)
		}},
		{"a Save that fails leaves the tags", func(t *tester) {
			row := t.tagged(1, a)
			stale, insert, gone := row, row, t.row(2, "gone")
			stale.Version, insert.Version, gone.Version = 7, 0, 1
			stale.Tags, insert.Tags, gone.Tags = set(b), set(b), set(b)
			t.wantSaveError(stale, session.ErrConflict)
			t.wantSaveError(insert, session.ErrConflict)
			t.wantSaveError(gone, session.ErrNone)
			t.wantFound(set(a), row)
			t.wantFound(set(b))
		}},
		{"a row carries 8 tags; 9 are ErrTooLarge and change nothing", func(t *tester) {
			nine := make([]session.Tag, 9)
			for i := range nine {
				nine[i] = session.Tag{31: byte(i)}
			}
			row := t.tagged(1, nine[:8]...)
			for _, large := range []session.Row{row, t.row(2, "")} {
				large.Tags = nine
				t.wantSaveError(large, session.ErrTooLarge)
			}
			for _, tag := range nine[:8] {
				t.wantFound(set(tag), row)
			}
			t.wantFound(set(nine[8]))
			t.wantRow(row)
			t.wantNone(t.row(2, "").Key)
		}},
	}
}

func tagBytes() []rule {
	return []rule{
		{"every byte of a tag counts, zeros too", func(t *tester) {
			var rows []session.Row
			all := set(session.Tag{}, session.Tag{31: 1}, session.Tag{0: 1}, session.Tag{0: 1, 31: 1},
				session.Tag{0: '\'', 1: '"', 2: '\\', 3: '{', 4: '\n', 5: '*'}, session.Tag{255, 254, 253})
			for i, tag := range all {
				rows = append(rows, t.tagged(byte(i), tag))
			}
			for i, tag := range all {
				t.wantFound(set(tag), rows[i])
			}
		}},
		{"a tag that is also a key is still a tag", func(t *tester) {
			row := t.tagged(1, session.Tag(t.row(2, "").Key))
			other := t.tagged(2, session.Tag(row.Key))
			t.wantFound(set(session.Tag(row.Key)), other)
			t.wantFound(set(session.Tag(other.Key)), row)
		}},
	}
}

func finds() []rule {
	a, b, c := session.Tag{1}, session.Tag{2}, session.Tag{3}
	return []rule{
		{"Find gives the rows that carry any of the tags, each once", func(t *tester) {
			one, two, three := t.tagged(1, a, b), t.tagged(2, b), t.tagged(3, c)
			t.tagged(4)
			t.wantFound(set(a), one)
			t.wantFound(set(b), one, two)
			t.wantFound(set(a, b), one, two)
			t.wantFound(set(c, a, b, c, session.Tag{4}), one, two, three)
			t.wantFound(set(session.Tag{4}))
			t.wantFound(nil)
		}},
		{"Find takes a hundred tags", func(t *tester) {
			row := t.tagged(1, session.Tag{99})
			many := make([]session.Tag, 100)
			for i := range many {
				many[i][0] = byte(i)
			}
			t.wantFound(many, row)
		}},
		{"Find gives at most limit rows, and those that are over do not count", func(t *tester) {
			for key := range byte(5) {
				t.tagged(key, a, b)
			}
			t.clock.Set(t.clock.Now().Add(2 * time.Hour))
			for key := range byte(4) {
				t.tagged(100+key, a, b)
			}
			for limit, want := range map[int]int{-1: 0, 0: 0, 1: 1, 3: 3, 4: 4, 100: 4} {
				rows, err := t.store.Find(t.Context(), set(a, b), limit)
				keys := map[session.Key]bool{}
				for _, row := range rows {
					keys[row.Key] = true
				}
				if err != nil || len(rows) != want || len(keys) != want {
					t.Errorf("limit %d: %d rows of %d keys, %v; want %d", limit, len(rows), len(keys), err, want)
				}
			}
		}},
	}
}

func goneRows() []rule {
	a, b, c := session.Tag{1}, session.Tag{2}, session.Tag{3}
	return []rule{
		{"Find gives no row that is over, by Idle or by Expires", func(t *tester) {
			idle := t.tagged(1, a)
			absolute := t.row(2, "x")
			absolute.Tags, absolute.Idle = set(a), absolute.Expires.Add(time.Hour)
			absolute.Version = t.save(absolute)
			t.clock.Set(idle.Idle.Add(-time.Millisecond))
			t.wantFound(set(a), idle, absolute)
			t.clock.Set(idle.Idle)
			t.wantFound(set(a), absolute)
			t.clock.Set(absolute.Expires)
			t.wantFound(set(a))
			t.wantFound(set(a, b), t.tagged(1, b)) // nothing of the old row is left
			t.wantFound(set(a))
		}},
		{"Find gives no row that was deleted, and after a new insert only by its new tags", func(t *tester) {
			row, other := t.tagged(1, a, b), t.tagged(2, a)
			t.remove(row.Key)
			t.wantFound(set(a, b), other)
			row = t.tagged(1, c)
			t.wantFound(set(a, b), other)
			t.wantFound(set(c), row)
			t.wantDeleteError(row.Key, 1, nil)
			t.wantFound(set(c))
		}},
		{"Find gives no row that was swept, and after a new insert only by its new tags", func(t *tester) {
			row := t.tagged(1, a, b)
			t.clock.Set(row.Idle)
			t.wantSwept(100, 1)
			row = t.tagged(1, c)
			t.wantFound(set(a, b))
			t.wantFound(set(c), row)
		}},
	}
}

func crowds() []rule {
	return []rule{
		{"a row whose Save has returned is found at once", func(t *tester) {
			var calls []func()
			for i := range crowd {
				row := t.row(byte(i), "x")
				row.Tags = set(session.Tag{1}, session.Tag{2, byte(i)})
				calls = append(calls, func() {
					row.Version = t.save(row)
					t.wantFound(row.Tags[1:], row)
				})
			}
			together(calls...)
			if rows, err := t.store.Find(t.Context(), set(session.Tag{1}), 100); err != nil || len(rows) != crowd {
				t.Errorf("%d rows, %v; want %d", len(rows), err, crowd)
			}
		}},
		{"of Saves at once the winner's tags stay, and no other", func(t *tester) {
			for key := range byte(8) {
				t.wantTagsOfTheWinner(t.row(key, "x"))
			}
		}},
		{"5,000 other rows do not matter", func(t *tester) {
			one, two := t.tagged(1, session.Tag{1}), t.tagged(2, session.Tag{1}, session.Tag{2})
			find := func() { t.wantFound(set(session.Tag{1}), one, two) }
			alone := shortest(find)
			t.fill(5000)
			if among := shortest(find); among > 10*alone+100*time.Microsecond {
				t.Errorf("Find takes %v among them and %v without", among, alone)
			}
		}},
	}
}

// wantTagsOfTheWinner lets a crowd save row, each with a tag of its own.
func (t *tester) wantTagsOfTheWinner(row session.Row) {
	t.Helper()
	var mu sync.Mutex
	var won, lost []session.Tag
	var calls []func()
	for i := range crowd {
		mine := row
		mine.Tags = set(session.Tag{row.Key[0], byte(i)})
		calls = append(calls, func() {
			_, err := t.store.Save(t.Context(), mine)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, mine.Tags...)
			} else {
				lost = append(lost, mine.Tags...)
			}
		})
	}
	together(calls...)
	row.Version++
	t.wantFound(won, row)
	t.wantFound(lost)
}

// fill saves count rows that have nothing to do with those of the subtest.
func (t *tester) fill(count int) {
	t.Helper()
	var calls []func()
	for part := range 8 {
		calls = append(calls, func() {
			for i := part; i < count; i += 8 {
				row := t.row(0, "other")
				binary.BigEndian.PutUint32(row.Key[4:], uint32(i)+1)
				row.Tags = set(session.Tag(row.Key), session.Tag{9, byte(i)}, session.Tag{10})
				if _, err := t.store.Save(t.Context(), row); err != nil {
					t.Errorf("Save: %v", err)
					return
				}
			}
		})
	}
	together(calls...)
}

// shortest is how long the fastest of fifty calls takes, which is what the call
// itself needs: the rest is what else the machine does.
func shortest(call func()) time.Duration {
	best := time.Hour
	for range 50 {
		start := time.Now()
		call()
		best = min(best, time.Since(start))
	}
	return best
}
