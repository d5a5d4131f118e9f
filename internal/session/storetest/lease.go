package storetest

import (
	"sync/atomic"
	"time"

	"genkan/internal/session"
)

const (
	// brief is the ttl of a lease that is to end: short, since a server's own clock
	// cannot be moved on.
	brief = 60 * time.Millisecond
	// patience is how long the suite waits for anything.
	patience = 10 * time.Second
)

// Owners that differ in one byte.
var (
	ann = session.Owner{1}
	bob = session.Owner{15: 1}
	cat = session.Owner{1, 15: 1}
)

func (t *tester) lease(key session.Key, owner session.Owner, ttl time.Duration) session.Lease {
	t.Helper()
	lease, err := t.store.Lease(t.Context(), key, owner, ttl)
	if err != nil {
		t.Fatalf("Lease: %v", err)
	}
	return lease
}

func (t *tester) wantLease(key session.Key, owner session.Owner, want session.Lease) {
	t.Helper()
	if got := t.lease(key, owner, time.Minute); got != want {
		t.Errorf("Lease: got %+v, want %+v", got, want)
	}
}

func (t *tester) release(key session.Key, owner session.Owner) {
	t.Helper()
	if err := t.store.Release(t.Context(), key, owner); err != nil {
		t.Errorf("Release: %v", err)
	}
}

// lapse returns when a lease that was taken for brief until now has ended: at once by
// the clock of the test, after a moment by a server's own.
func (t *tester) lapse() {
	t.Helper()
	other := session.Key{31: 0xaa}
	if !t.lease(other, ann, brief).Held {
		t.Fatal("Lease: a free one is not given")
	}
	t.clock.Set(t.clock.Now().Add(brief))
	t.eventually(patience, "the lease ends", func() bool { return t.lease(other, bob, time.Minute).Held })
	t.release(other, bob)
}

var (
	refused   = session.Lease{}
	held      = session.Lease{Held: true}
	inherited = session.Lease{Held: true, Inherited: true}
)

func leases() []rule {
	key, other := session.Key{1}, session.Key{2}
	return []rule{
		{"a lease has one owner at a time, each key its own", func(t *tester) {
			t.wantLease(key, ann, held)
			t.wantLease(key, bob, refused)
			t.wantLease(key, cat, refused)
			t.wantLease(other, bob, held)
			t.wantLease(key, ann, held)
			t.wantLease(key, bob, refused)
		}},
		{"a released lease is free, and nobody inherits it", func(t *tester) {
			t.wantLease(key, ann, held)
			t.wantLease(other, ann, held)
			t.release(key, ann)
			t.wantLease(key, bob, held)
			t.wantLease(key, ann, refused)
			t.wantLease(other, bob, refused)
		}},
		{"Release by another than the owner changes nothing", func(t *tester) {
			t.wantLease(key, ann, held)
			t.release(key, bob)
			t.release(key, session.Owner{})
			t.wantLease(key, cat, refused)
			t.wantLease(key, ann, held)
		}},
		{"Release of a missing lease is no error", func(t *tester) {
			t.release(key, ann)
			t.release(key, session.Owner{})
			t.wantLease(key, bob, held)
		}},
		{"a lease needs no row and makes none", func(t *tester) {
			t.wantLease(key, ann, held)
			t.wantNone(key)
			t.wantSwept(100, 0)
			row := t.row(1, "x")
			t.wantLease(row.Key, ann, held)
			row.Version = t.save(row)
			t.wantRow(row)
			t.wantLease(row.Key, bob, refused)
		}},
		{"a lease outlives its row", func(t *tester) {
			row, over := t.inserted(1, "x"), t.row(2, "y")
			over.Idle = over.Seen.Add(time.Second)
			over.Version = t.save(over)
			t.wantLease(row.Key, ann, held)
			t.wantLease(over.Key, ann, held)
			t.remove(row.Key)
			t.clock.Set(over.Idle)
			t.wantSwept(100, 1)
			t.wantLease(row.Key, bob, refused)
			t.wantLease(over.Key, bob, refused)
		}},
	}
}

func lapses() []rule {
	key := session.Key{1}
	return []rule{
		{"a lease ends after its ttl, and the next owner inherits it", func(t *tester) {
			t.lease(key, ann, brief)
			t.lapse()
			t.wantLease(key, bob, inherited)
			t.wantLease(key, bob, inherited) // who did not get the answer asks again
			t.wantLease(key, cat, refused)
		}},
		{"whoever lost a lease does not get it back, and its Release ends nothing", func(t *tester) {
			t.lease(key, ann, brief)
			t.lapse()
			t.wantLease(key, bob, inherited)
			t.wantLease(key, ann, refused)
			t.release(key, ann)
			t.wantLease(key, ann, refused)
			t.release(key, bob)
			t.wantLease(key, ann, held)
		}},
		{"a prolonged lease does not end after its first ttl", func(t *tester) {
			t.lease(key, ann, brief)
			t.wantLease(key, ann, held) // for a minute
			t.lapse()
			t.wantLease(key, bob, refused)
			t.wantLease(key, ann, held)
		}},
		{"an owner may take up its own lapsed lease, and has inherited nothing", func(t *tester) {
			t.lease(key, ann, brief)
			t.lapse()
			t.wantLease(key, ann, held)
			t.wantLease(key, bob, refused)
		}},
		{"a lapsed lease that its owner released later is not inherited", func(t *tester) {
			t.lease(key, ann, brief)
			t.lapse()
			t.release(key, ann)
			t.wantLease(key, bob, held)
		}},
		{"Sweep leaves a lapsed lease for its heir", func(t *tester) {
			t.lease(key, ann, brief)
			t.lapse()
			t.wantSwept(100, 0)
			t.clock.Set(t.clock.Now().Add(9 * time.Minute))
			t.wantSwept(100, 0)
			t.wantLease(key, bob, inherited)
		}},
	}
}

func leaseRaces() []rule {
	return []rule{
		{"of 32 that want one lease, exactly one gets it", func(t *tester) {
			for key := range byte(8) {
				t.wantOneOwner(session.Key{key}, held)
			}
		}},
		{"of 32 that want a lapsed lease, exactly one inherits it", func(t *tester) {
			for key := range byte(4) {
				t.lease(session.Key{key}, session.Owner{99}, brief)
			}
			t.lapse()
			for key := range byte(4) {
				t.wantOneOwner(session.Key{key}, inherited)
			}
		}},
	}
}

// wantOneOwner lets a crowd ask for the lease of key: one of them gets what is wanted,
// the others nothing.
func (t *tester) wantOneOwner(key session.Key, want session.Lease) {
	t.Helper()
	var owners atomic.Int32
	var calls []func()
	for i := range crowd {
		calls = append(calls, func() {
			lease, err := t.store.Lease(t.Context(), key, session.Owner{byte(i)}, time.Minute)
			switch {
			case err != nil:
				t.Errorf("Lease: %v", err)
			case lease == want:
				owners.Add(1)
			case lease != refused:
				t.Errorf("Lease: got %+v, want %+v or %+v", lease, want, refused)
			}
		})
	}
	together(calls...)
	if got := owners.Load(); got != 1 {
		t.Errorf("%d owners, want 1", got)
	}
}
