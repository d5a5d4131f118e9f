package session_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/keys"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// Whoever can write to the store can take sessions away, and nothing else.
func TestARowMovedOrChangedIsNoSession(t *testing.T) {
	t.Parallel()
	type table struct{ row, other session.Row }
	flip := func(i int) func(table) []byte {
		return func(t table) []byte { t.row.Data[i] ^= 1; return t.row.Data }
	}
	tests := map[string]func(table) []byte{
		"the row of another session": func(t table) []byte { return t.other.Data },
		"nothing":                    func(table) []byte { return nil },
		"a byte":                     func(table) []byte { return []byte{1} },
		"cut off":                    func(t table) []byte { return t.row.Data[:len(t.row.Data)-1] },
		"only the header":            func(t table) []byte { return t.row.Data[:33] },
		"longer":                     func(t table) []byte { return append(t.row.Data, 0) },
		"doubled":                    func(t table) []byte { return append(t.row.Data, t.row.Data...) },
		"zeros":                      func(t table) []byte { return make([]byte, len(t.row.Data)) },
	}
	for i := range 40 { // the header, and the first bytes of what is sealed
		tests[fmt.Sprintf("byte %d flipped", i)] = flip(i)
	}
	for i := 47; i < 400; i += 41 {
		tests[fmt.Sprintf("byte %d flipped", i)] = flip(i)
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 1)
			cookie, s := f.signIn(t, 0)
			_, other := f.signIn(t, 0)
			both := table{mustRow(t, f.store, s.Key()), mustRow(t, f.store, other.Key())}
			f.mustLoad(t, 0, cookie)
			row := both.row
			row.Data = change(both)
			if _, err := f.store.Save(t.Context(), row); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := f.load(0, cookie); !errors.Is(err, session.ErrNone) {
					t.Errorf("%v, want ErrNone", err)
				}
			}
			if f.log.lines("counts as none") == 0 {
				t.Error("nothing in the log")
			}
			if f.log.lines("access-first")+f.log.lines("refresh-first")+f.log.lines("subject-alice") != 0 {
				t.Error("the log tells what was sealed")
			}
		})
	}
}

func mustRow(t *testing.T, store session.Store, key session.Key) session.Row {
	t.Helper()
	row, err := store.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// The cookie opens here, the record does not: a key that was removed too early, or the
// rows of a deployment that moved.
func TestARecordOfAnotherKeyOrDeploymentIsNoSession(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*session.Config){
		"the key is gone":    func(c *session.Config) { c.Ring = ring(t, keyB) },
		"another deployment": func(c *session.Config) { c.Deployment = "http://localhost:9999" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 2, func(i int, c *session.Config) {
				if i == 1 {
					change(c)
				}
			})
			foreign, s := f.signIn(t, 1)
			cookie, ours := f.signIn(t, 0)
			row, mine := mustRow(t, f.store, s.Key()), mustRow(t, f.store, ours.Key())
			row.Key, row.Version = mine.Key, mine.Version
			if _, err := f.store.Save(t.Context(), row); err != nil {
				t.Fatal(err)
			}
			if _, err := f.load(0, cookie); !errors.Is(err, session.ErrNone) || f.log.lines("counts as none") != 1 {
				t.Errorf("its record: %v with %d lines in the log, want ErrNone with one", err, f.log.lines("counts as none"))
			}
			if _, err := f.load(0, foreign); !errors.Is(err, session.ErrNone) {
				t.Errorf("its cookie: %v, want ErrNone", err)
			}
			if _, err := f.replicas[0].Fresh(t.Context(), ours); err != nil { // not due, so the store is not asked
				t.Error(err)
			}
			if _, err := f.replicas[0].Renew(t.Context(), ours); !errors.Is(err, session.ErrNone) || f.provider.count() != 0 {
				t.Errorf("renewal: %v with %d token requests, want ErrNone with none", err, f.provider.count())
			}
		})
	}
}

func TestKeysAreReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rings := []*keys.Ring{ring(t, keyA), ring(t, keyA), ring(t, keyB)}
		f := newFleet(t, 3, func(i int, c *session.Config) { c.Ring = rings[i] })
		f.provider.answer = func(prev rp.Grant) (rp.Grant, error) { return grant(time.Now(), "second"), nil }
		cookie, _ := f.signIn(t, 0)
		var wg sync.WaitGroup
		for n := range 20 {
			wg.Go(func() {
				for range 300 {
					s, err := f.load(n%2, cookie)
					if err == nil {
						s, err = f.replicas[n%2].Fresh(t.Context(), s)
					}
					if err != nil {
						t.Errorf("replica %d: %v", n%2, err)
						return
					}
					f.replicas[n%2].Active(s)
					pass(3 * time.Second)
				}
			})
		}
		rings[0].Replace(ring(t, keyB, keyA), 2*time.Minute)
		pass(5 * time.Second) // the other one read the list a little later
		rings[1].Replace(ring(t, keyB, keyA), 2*time.Minute)
		wg.Wait()
		if list, err := f.replicas[2].OfUser(t.Context(), "idp", "subject-alice"); err != nil || len(list) != 1 {
			t.Errorf("with the new key alone: %d sessions %v, want the one that was sealed anew", len(list), err)
		}
	})
}
