package sqlitestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"genkan/internal/session"
)

// slots is how many groups of keys are told apart.
const slots = 1 << 16

// counters count the writes to each group of keys, by all processes that have the
// database open. A write that is under way, or was killed, has begun and is not done.
type counters struct {
	begun, done [slots]atomic.Uint32
}

const stampsSize = int(unsafe.Sizeof(counters{}))

// stamps tells of changes. SQLite sends no notices, so all processes count their
// writes in a small file beside the database, which each maps into its memory.
//
// As with SQLite's own -shm, what the file holds means nothing once nobody has the
// database open, and it must not be removed or replaced while somebody has.
type stamps struct {
	file *os.File // while it is open it holds a lock that all users share

	mu     sync.RWMutex // held for reading while mapped is in use, for a whole write too
	mapped []byte       // nil before open and after close
}

// open maps the file at path, and makes it when it is missing.
func (s *stamps) open(ctx context.Context, path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	if s.mapped, err = mapShared(ctx, file); err != nil {
		return errors.Join(err, file.Close())
	}
	s.file = file
	return nil
}

func mapShared(ctx context.Context, file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if err := file.Chmod(0o600); err != nil {
		return nil, err
	}
	if err := share(ctx, int(file.Fd()), file); err != nil {
		return nil, err
	}
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if info.Size() < int64(stampsSize) { // the kernel kills whoever touches what is mapped behind the end
		return nil, fmt.Errorf("%d bytes, want %d", info.Size(), stampsSize)
	}
	return syscall.Mmap(int(file.Fd()), 0, stampsSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
}

// share takes the shared lock of the file. Whoever finds itself alone with it sets all
// counters to zero first, so that slots in which somebody was killed are trusted
// again; written out, not left as a hole, since a full disk could not fill that later.
func share(ctx context.Context, fd int, file *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		if syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			if _, err := file.WriteAt(make([]byte, stampsSize), 0); err != nil {
				return err
			}
		}
		// The exclusive lock is let go before the shared one is taken. Somebody else may
		// start anew in between, which does no harm: nobody has counted yet.
		err := syscall.Flock(fd, syscall.LOCK_SH|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock: %w", ctx.Err())
		case <-time.After(pause):
		}
	}
}

func (s *stamps) counters() *counters { return (*counters)(unsafe.Pointer(unsafe.SliceData(s.mapped))) }

// change counts the beginning of a write to the row of key, and done its end.
func (s *stamps) change(key session.Key) (done func()) {
	s.mu.RLock()
	if s.mapped == nil { // closed: the write will fail
		return s.mu.RUnlock
	}
	count, slot := s.counters(), slotOf(key)
	count.begun[slot].Add(1)
	return func() {
		count.done[slot].Add(1)
		s.mu.RUnlock()
	}
}

// of implements session.Store.Stamp. Two calls that give the same number have had no
// write under way between them: done is read first, and is never ahead of begun.
func (s *stamps) of(key session.Key) (stamp uint64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.mapped == nil {
		return 0, false
	}
	count, slot := s.counters(), slotOf(key)
	done := count.done[slot].Load()
	return uint64(done), count.begun[slot].Load() == done
}

// close waits for the writes that are under way.
func (s *stamps) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mapped == nil {
		return nil
	}
	err := errors.Join(syscall.Munmap(s.mapped), s.file.Close())
	s.mapped = nil
	return err
}

// slotOf relies on keys being hashes: their first bytes are spread evenly.
func slotOf(key session.Key) uint16 { return binary.BigEndian.Uint16(key[:2]) }
