package session_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/session"
)

func TestStamps(t *testing.T) {
	t.Parallel()
	var s session.Stamps
	one, other := session.Key{1}, session.Key{2}
	if _, ok := s.Of(one); ok {
		t.Error("trusted before anybody said that notices arrive")
	}
	s.Up()
	first, ok := s.Of(one)
	otherFirst, _ := s.Of(other)
	if again, _ := s.Of(one); !ok || again != first {
		t.Errorf("trusted: %v, %d then %d; want it trusted and the same", ok, first, again)
	}
	s.Changed(one)
	second, ok := s.Of(one)
	if !ok || second == first {
		t.Error("a change did not show")
	}
	if again, _ := s.Of(other); again != otherFirst {
		t.Error("a change shows at another key")
	}
	s.Down()
	if _, ok := s.Of(one); ok {
		t.Error("trusted while changes may go unnoticed")
	}
	s.Up()
	for key, before := range map[session.Key][]uint64{one: {first, second}, other: {otherFirst}} {
		got, ok := s.Of(key)
		for _, old := range before {
			if !ok || got == old {
				t.Error("what was read before an outage of the notices is still trusted")
			}
		}
	}
}

func TestUpTwiceForgetsWhatWasReadBefore(t *testing.T) {
	t.Parallel()
	var s session.Stamps
	s.Up()
	before, _ := s.Of(session.Key{})
	s.Up()
	if after, ok := s.Of(session.Key{}); !ok || after == before {
		t.Error("a second Up, after a lost connection say, left the stamps as they were")
	}
}

func TestLateNoticesAreNotTrustedForLongerThanTheirProof(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := session.Stamps{Proofs: true}
		s.Up()
		ok := func() bool { _, ok := s.Of(session.Key{}); return ok }
		if ok() {
			t.Error("trusted without a proof")
		}
		asked := time.Now()
		time.Sleep(150 * time.Millisecond) // until the answer
		s.Proved(asked)
		if !ok() {
			t.Error("not trusted 150 ms after a proof was asked for")
		}
		time.Sleep(50 * time.Millisecond)
		if ok() {
			t.Error("trusted 200 ms after the last proof was asked for")
		}
		s.Proved(time.Now())
		if !ok() {
			t.Error("not trusted after another proof")
		}
		s.Down()
		if ok() {
			t.Error("trusted by a proof of a connection that is gone")
		}
	})
}

func TestStampsOfManyGoroutines(t *testing.T) {
	t.Parallel()
	var s session.Stamps
	s.Up()
	before, _ := s.Of(session.Key{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				s.Changed(session.Key{})
				s.Of(session.Key{})
			}
		})
	}
	wg.Wait()
	if after, _ := s.Of(session.Key{}); after-before != 8000 {
		t.Errorf("8000 changes moved the stamp by %d", after-before)
	}
}
