package telemetry

import (
	"io"
	"sync"
	"time"
)

const (
	// maxDelay is how long a line may wait for others to be written with.
	maxDelay = 100 * time.Millisecond
	// maxWaiting is how many bytes may wait; who writes more does the writing.
	maxWaiting = 256 << 10
)

// Buffer writes many lines at once: a system call for each costs more than the request
// that it tells of. No line waits longer than 100 ms, and a logger of New writes warnings
// and errors out at once. A process that is killed loses what it logged in its last 100 ms.
// It is bounded: when out does not take the lines, whoever logs waits, so that there are
// 256 KiB at most and a line of each who waits.
type Buffer struct {
	out     io.Writer
	writing sync.Mutex // held while lines go out, in their order

	mu      sync.Mutex
	waiting []byte
	spare   []byte // what was written last, for the next lines
	timer   *time.Timer
	closed  bool
}

// NewBuffer returns a Buffer before out. Close it at the end.
func NewBuffer(out io.Writer) *Buffer { return &Buffer{out: out} }

// Write implements io.Writer. It has no error: there is nobody to log it to.
func (b *Buffer) Write(line []byte) (int, error) {
	if b.add(line) {
		b.Flush()
	}
	return len(line), nil
}

// add reports whether the lines have to go out now.
func (b *Buffer) add(line []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := len(b.waiting) == 0
	b.waiting = append(b.waiting, line...)
	switch {
	case b.closed || len(b.waiting) >= maxWaiting:
		return true
	case b.timer == nil:
		b.timer = time.AfterFunc(maxDelay, b.Flush)
	case first:
		b.timer.Reset(maxDelay)
	}
	return false
}

// Flush writes what waits and returns when it is out.
func (b *Buffer) Flush() {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	lines := b.waiting
	b.waiting, b.spare = b.spare[:0], nil
	b.mu.Unlock()
	if len(lines) > 0 {
		_, _ = b.out.Write(lines)
	}
	if cap(lines) > 2*maxWaiting { // a line of that length was an exception
		lines = nil
	}
	b.mu.Lock()
	b.spare = lines[:0]
	b.mu.Unlock()
}

// Close writes what waits. Later lines are written at once.
func (b *Buffer) Close() {
	b.mu.Lock()
	b.closed = true
	if b.timer != nil {
		b.timer.Stop()
	}
	b.mu.Unlock()
	b.Flush()
}
