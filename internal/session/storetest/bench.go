package storetest

import (
	"encoding/binary"
	"testing"
	"time"

	"genkan/internal/session"
)

// Bench measures a store that holds 10,000 sessions of 2 KiB.
func Bench(b *testing.B, store session.Store) {
	const count = 10_000
	now := time.Now()
	row := func(i int) session.Row {
		row := session.Row{Data: make([]byte, 2<<10), Seen: now, Idle: now.Add(time.Hour), Expires: now.Add(12 * time.Hour)}
		// Keys are hashes: spread over the whole range.
		binary.BigEndian.PutUint64(row.Key[:], uint64(i%count)*0x9E3779B97F4A7C15)
		return row
	}
	for i := range count {
		if _, err := store.Save(b.Context(), row(i)); err != nil {
			b.Fatal(err)
		}
	}
	versions := make([]uint64, count)
	for i := range versions {
		versions[i] = 1
	}
	each := func(name string, call func(i int) error) {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if err := call(i * 7919 % count); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	each("Load", func(i int) error { _, err := store.Load(b.Context(), row(i).Key); return err })
	each("Save", func(i int) (err error) {
		next := row(i)
		next.Version = versions[i]
		versions[i], err = store.Save(b.Context(), next)
		return err
	})
	each("Touch", func(i int) error {
		now = now.Add(time.Millisecond)
		return store.Touch(b.Context(), row(i).Key, now, now.Add(time.Hour))
	})
	b.Run("Load in parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := store.Load(b.Context(), row(i*7919%count).Key); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
