package session

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

// slots is how many groups of keys are told apart: a change of one session makes
// about one in 65,536 others be read again.
const slots = 1 << 16

// Lag is how old the last proof may be that every notice has arrived. It is what a Store
// with notices returns from its method Lag.
const Lag = 200 * time.Millisecond

// Stamps is how a Store whose medium sends notices implements Stamp. The zero value
// cannot tell anything: call Up when notices arrive.
type Stamps struct {
	// Proofs says that notices may be late: stamps then hold only for Lag after what was
	// Proved. It is set before the first use.
	Proofs bool

	up    atomic.Bool
	epoch atomic.Uint32             // in the upper half of every stamp
	proof atomic.Pointer[time.Time] // when the last proof was asked for
	slot  [slots]atomic.Uint32
}

// Of implements Store.Stamp.
func (s *Stamps) Of(key Key) (stamp uint64, ok bool) {
	// The order matters. A proof that is read before the slot covers what the slot shows;
	// and a Down, with or without another Up, between the reads shows in the epoch.
	proven := s.proven()
	epoch := s.epoch.Load()
	stamp = uint64(epoch)<<32 | uint64(s.of(key).Load())
	return stamp, proven && s.up.Load() && s.epoch.Load() == epoch
}

// proven reports whether a write that returned Lag ago shows here: however late notices
// are, what they tell is then never missed for longer.
func (s *Stamps) proven() bool {
	if !s.Proofs {
		return true
	}
	asked := s.proof.Load()
	if asked == nil {
		return false
	}
	now := time.Now()
	// By the wall clock too: the other one stands still while a machine sleeps.
	slept := now.Round(0).Sub(asked.Round(0))
	return now.Sub(*asked) < Lag && slept > -Lag && slept < Lag
}

// IsUp reports whether Up was called after the last Down.
func (s *Stamps) IsUp() bool { return s.up.Load() }

// Proved says that every notice of what was done before asked has been taken: the medium
// has answered, behind those notices, a question that was put then.
func (s *Stamps) Proved(asked time.Time) { s.proof.Store(&asked) }

// Changed gives the row of key another stamp.
func (s *Stamps) Changed(key Key) { s.of(key).Add(1) }

// Up says that from now on every change will be noticed. All stamps are other ones.
func (s *Stamps) Up() {
	s.epoch.Add(1)
	s.up.Store(true)
}

// Down says that changes may go unnoticed from now on.
func (s *Stamps) Down() {
	s.up.Store(false)
	s.epoch.Add(1)
}

// of relies on keys being hashes: their first bytes are spread evenly.
func (s *Stamps) of(key Key) *atomic.Uint32 { return &s.slot[binary.BigEndian.Uint16(key[:2])] }
