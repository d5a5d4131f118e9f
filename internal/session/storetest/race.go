package storetest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"genkan/internal/session"
)

// crowd is how many callers meet in a race.
const crowd = 32

func races() []rule {
	return []rule{
		{"of 32 that replace one version, exactly one wins, every time", func(t *tester) {
			row := t.inserted(1, "start")
			for range 8 {
				row = t.wantOneWinner(row)
			}
		}},
		{"of 32 that insert one key, exactly one wins", func(t *tester) {
			for key := range byte(8) {
				t.wantOneWinner(t.row(key, ""))
			}
		}},
		{"of 32 that insert over a row that is over, exactly one wins", func(t *tester) {
			for key := range byte(8) {
				row := t.inserted(key, "old")
				t.clock.Set(row.Idle)
				t.wantOneWinner(t.row(key, ""))
			}
		}},
	}
}

func touchRaces() []rule {
	return []rule{
		{"a Touch and a Save at once are both kept", func(t *tester) {
			for key := range byte(32) {
				loaded := t.inserted(key, "old")
				seen, idle := loaded.Seen.Add(time.Minute), loaded.Idle.Add(time.Minute)
				loaded.Data = []byte("new")
				together(
					func() { t.touch(loaded, seen, idle) },
					func() { t.save(loaded) },
				)
				loaded.Version, loaded.Seen, loaded.Idle = 2, seen, idle
				t.wantRow(loaded)
			}
		}},
		{"of many Touches at once the latest stays", func(t *tester) {
			row := t.inserted(1, "x")
			var calls []func()
			for i := range crowd {
				ahead := time.Duration(i) * time.Second
				calls = append(calls, func() { t.touch(row, row.Seen.Add(ahead), row.Idle.Add(ahead)) })
			}
			together(calls...)
			row.Seen, row.Idle = row.Seen.Add(31*time.Second), row.Idle.Add(31*time.Second)
			t.wantRow(row)
		}},
		{"Touches of the same rows in other orders do not wait for each other", func(t *tester) {
			var up, down []session.Activity
			for n := range byte(100) {
				row := t.inserted(n, "x")
				up = append(up, session.Activity{Key: row.Key, Seen: row.Seen.Add(time.Minute), Idle: row.Idle.Add(time.Minute)})
			}
			for _, a := range slices.Backward(up) {
				down = append(down, a)
			}
			var calls []func()
			for i := range crowd {
				calls = append(calls, func() {
					if err := t.store.Touch(t.Context(), [2][]session.Activity{up, down}[i%2]); err != nil {
						t.Errorf("Touch: %v", err)
					}
				})
			}
			together(calls...)
		}},
		{"a Save or a Touch at the time of a Delete does not bring the row back", func(t *tester) {
			for key := range byte(32) {
				row := t.inserted(key, "x")
				together(
					func() { t.remove(row.Key) },
					func() { _, _ = t.store.Save(t.Context(), row) },
					func() { t.touch(row, row.Seen, row.Idle.Add(time.Minute)) },
				)
				t.wantNone(row.Key)
			}
		}},
	}
}

func sweepRaces() []rule {
	return []rule{
		{"a Sweep does not remove what is inserted at the same time", func(t *tester) {
			for key := range byte(32) {
				row := t.inserted(key, "old")
				t.clock.Set(row.Idle)
				fresh := t.row(key, "new")
				together(
					func() { t.save(fresh) },
					func() { _, _ = t.store.Sweep(t.Context(), 100) },
				)
				fresh.Version = 1
				t.wantRow(fresh)
			}
		}},
		{"sweepers at once count every row once", func(t *tester) {
			for key := range byte(100) {
				t.inserted(key, "x")
			}
			t.clock.Set(t.clock.Now().Add(2 * time.Hour))
			var total atomic.Int64
			var calls []func()
			for range 8 {
				calls = append(calls, func() {
					swept, err := t.store.Sweep(t.Context(), 15)
					if err != nil || swept > 15 {
						t.Errorf("Sweep(15): %d, %v", swept, err)
					}
					total.Add(int64(swept))
				})
			}
			together(calls...)
			t.wantSwept(100, 100-int(total.Load()))
		}},
	}
}

// wantOneWinner lets a crowd save row, each with its own data, and returns what the
// winner left. Everybody else must have got ErrConflict.
func (t *tester) wantOneWinner(row session.Row) session.Row {
	t.Helper()
	var mu sync.Mutex
	var winners []session.Row
	var calls []func()
	for i := range crowd {
		mine := row
		mine.Data = fmt.Appendf(nil, "writer %d", i)
		calls = append(calls, func() {
			version, err := t.store.Save(t.Context(), mine)
			if err != nil {
				if !is(err, session.ErrConflict) {
					t.Errorf("a loser got %v, want ErrConflict", err)
				}
				return
			}
			mine.Version = version
			mu.Lock()
			defer mu.Unlock()
			winners = append(winners, mine)
		})
	}
	together(calls...)
	if len(winners) != 1 {
		t.Fatalf("%d winners, want 1", len(winners))
	}
	if winners[0].Version != row.Version+1 {
		t.Errorf("version %d, want %d", winners[0].Version, row.Version+1)
	}
	t.wantRow(winners[0])
	return winners[0]
}

// together starts all calls as nearly at once as it can and waits for them.
func together(calls ...func()) {
	start := make(chan struct{})
	var wait sync.WaitGroup
	for _, call := range calls {
		wait.Go(func() {
			<-start
			call()
		})
	}
	close(start)
	wait.Wait()
}
