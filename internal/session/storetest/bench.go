package storetest

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"genkan/internal/session"
)

const (
	benchRows  = 100_000
	benchSwept = 10_000 // the last of them
	benchUsers = 100    // with benchEach sessions each: the first; the others have one
	benchEach  = 20
)

// Bench measures store with 100,000 sessions of 2 KiB and three tags each: a hundred
// users with twenty sessions, and users with one. It calls filled, unless that is nil,
// once they are in; that tells what they take on the medium.
func Bench(b *testing.B, store session.Store, filled func() (bytes int64)) {
	f := &field{store: store, now: time.Now(), versions: make([]uint64, benchRows)}
	start := time.Now()
	f.fill(b)
	report(b, "Save of 100,000", time.Since(start).Seconds(), "s")
	if filled != nil {
		report(b, "Size", float64(filled())/benchRows, "B/session")
	}
	f.each(b, "Load", func(b *testing.B, i int) error { _, err := store.Load(b.Context(), keyOf(i)); return err })
	f.each(b, "Save", func(b *testing.B, i int) error { return f.save(b, i, f.row(i)) })
	f.each(b, "Touch", func(b *testing.B, i int) error {
		f.now = f.now.Add(time.Millisecond)
		return store.Touch(b.Context(), []session.Activity{{Key: keyOf(i), Seen: f.now, Idle: f.now.Add(time.Hour)}})
	})
	f.each(b, "Stamp", func(_ *testing.B, i int) error { store.Stamp(keyOf(i)); return nil })
	f.each(b, "Lease and Release", func(b *testing.B, i int) error {
		if _, err := store.Lease(b.Context(), keyOf(i), session.Owner{1}, time.Minute); err != nil {
			return err
		}
		return store.Release(b.Context(), keyOf(i), session.Owner{1})
	})
	b.Run("Load in parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := store.Load(b.Context(), keyOf(i*7919%benchRows)); err != nil {
					b.Error(err)
					return
				}
			}
		})
		inMicroseconds(b)
	})
	f.users(b)
	f.sweep(b)
}

// field is a store full of sessions.
type field struct {
	store    session.Store
	now      time.Time
	versions []uint64
}

// keyOf is spread over the whole range, as hashes are.
func keyOf(i int) (key session.Key) {
	binary.BigEndian.PutUint64(key[:], uint64(i+1)*0x9E3779B97F4A7C15)
	return key
}

func tagOf(kind byte, i int) session.Tag {
	tag := session.Tag(keyOf(i))
	tag[31] = kind
	return tag
}

// row is session i; it belongs to a user, to a session at the provider, and to the
// 256th part of all sessions.
func (f *field) row(i int) session.Row {
	user := i
	if i < benchUsers*benchEach {
		user = i / benchEach
	}
	return session.Row{
		Key: keyOf(i), Version: f.versions[i], Data: make([]byte, 2<<10),
		Seen: f.now, Idle: f.now.Add(time.Hour), Expires: f.now.Add(12 * time.Hour),
		Tags: []session.Tag{tagOf('u', user), tagOf('s', i), tagOf('p', i%256)},
	}
}

func (f *field) save(b *testing.B, i int, row session.Row) (err error) {
	f.versions[i], err = f.store.Save(b.Context(), row)
	return err
}

func (f *field) fill(b *testing.B) {
	b.Helper()
	var wait sync.WaitGroup
	for part := range 8 {
		wait.Go(func() {
			for i := part; i < benchRows; i += 8 {
				if err := f.save(b, i, f.row(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	if wait.Wait(); b.Failed() {
		b.FailNow()
	}
}

func (f *field) each(b *testing.B, name string, call func(b *testing.B, i int) error) {
	b.Run(name, func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if err := call(b, i*7919%benchRows); err != nil {
				b.Fatal(err)
			}
		}
		inMicroseconds(b)
	})
}

func (f *field) users(b *testing.B) {
	b.Run("Find a user's 20", func(b *testing.B) {
		for user := 0; b.Loop(); user = (user + 1) % benchUsers {
			f.find(b, user)
		}
		inMicroseconds(b)
	})
	b.Run("Find and delete a user's 20", func(b *testing.B) {
		for user := 0; b.Loop(); user = (user + 1) % benchUsers {
			for _, row := range f.find(b, user) {
				if err := f.store.Delete(b.Context(), row.Key, row.Version); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			for i := user * benchEach; i < (user+1)*benchEach; i++ {
				f.versions[i] = 0
				if err := f.save(b, i, f.row(i)); err != nil {
					b.Fatal(err)
				}
			}
			b.StartTimer()
		}
		inMicroseconds(b)
	})
}

func (f *field) find(b *testing.B, user int) []session.Row {
	rows, err := f.store.Find(b.Context(), []session.Tag{tagOf('u', user)}, 1000)
	if err != nil || len(rows) != benchEach {
		b.Fatalf("%d rows, %v", len(rows), err)
	}
	return rows
}

// sweep measures once: making the rows over takes longer than removing them.
func (f *field) sweep(b *testing.B) {
	for i := benchRows - benchSwept; i < benchRows; i++ {
		row := f.row(i)
		row.Expires = time.Now().Add(-time.Second)
		if err := f.save(b, i, row); err != nil {
			b.Fatal(err)
		}
	}
	start := time.Now()
	swept, err := f.store.Sweep(b.Context(), benchSwept)
	if err != nil {
		b.Fatal(err)
	}
	report(b, fmt.Sprintf("Sweep of %d", swept), float64(time.Since(start).Microseconds())/1000, "ms")
}

// report prints a figure that was measured once.
func report(b *testing.B, name string, value float64, unit string) {
	b.Run(name, func(b *testing.B) {
		b.ReportMetric(0, "ns/op") // hides it
		b.ReportMetric(value, unit)
	})
}

func inMicroseconds(b *testing.B) {
	b.ReportMetric(0, "ns/op") // hides it
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1000/float64(b.N), "us/op")
}
