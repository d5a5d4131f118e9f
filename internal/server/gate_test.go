package server

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAGateBoundsThoseWithinAndThoseBefore: 267.
func TestAGateBoundsThoseWithinAndThoseBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, began := newGate(), time.Now()
		for i := range 32 {
			if !g.enter(t.Context()) {
				t.Fatalf("no place for number %d", i+1)
			}
		}
		got := make(chan bool, 1000)
		for range 1000 {
			go func() { got <- g.enter(t.Context()) }()
		}
		synctest.Wait()
		if g.enter(t.Context()) || time.Since(began) != 0 {
			t.Errorf("the queue took one more, for %s", time.Since(began))
		}
		g.leave()
		if !<-got || time.Since(began) != 0 {
			t.Errorf("a place that was left went to nobody, after %s", time.Since(began))
		}
		for range 999 {
			if <-got {
				t.Fatal("more places than 32")
			}
		}
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("they waited for %s, want 3s", waited)
		}
	})
}
