package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"
)

// Key names a row: the SHA-256 of a session id. A store never sees the id, so a
// copy of its data is not a set of usable cookies.
type Key [sha256.Size]byte

// Row is what a store keeps of one session. Data is sealed and bound to Key;
// everything else is in the clear and holds nothing personal. Times come back in
// UTC, cut to the millisecond.
type Row struct {
	Key     Key
	Version uint64    // of Data: 1 when inserted; the store adds 1 on every Save
	Data    []byte    // sealed record, at most MaxData bytes
	Seen    time.Time // last activity
	Idle    time.Time // over from here on without further activity
	Expires time.Time // over from here on in any case
}

// MaxData is the largest Row.Data a store must take, in bytes.
const MaxData = 256 << 10

// Errors of a Store. Any other error is a fault of the store or the end of the
// context: the session may still exist, and nobody may be signed out because of it.
// A write that failed so may have happened, unless the context was over before it.
var (
	// ErrNone: there is no such row, or it is over. From Load, Touch and, for a
	// Version above 0, Save.
	ErrNone = errors.New("session: none")
	// ErrConflict: the row has another version than the one given. From Save.
	ErrConflict = errors.New("session: changed meanwhile")
	// ErrTooLarge: Row.Data is longer than MaxData; nothing was changed. From Save.
	ErrTooLarge = errors.New("session: data over 256 KiB")
)

// Store keeps rows. Implementations are safe for concurrent use by many processes
// where the medium is shared, honour the context's deadline, and treat a row whose
// Idle or Expires has come (by the clock they were opened with) as not there.
type Store interface {
	// Load returns the row of key, or ErrNone. The caller owns Row.Data.
	Load(ctx context.Context, key Key) (Row, error)
	// Save inserts row when row.Version is 0, else replaces the row whose version
	// is row.Version; any other state of the store gives ErrConflict (a live row
	// at an insert, another version) or ErrNone (no row to replace), and changes
	// nothing. A replacement never moves Seen and Idle backwards, since a Touch may
	// have come between Load and Save. It returns the new version. When Save has
	// returned, the row survives a kill -9 of this process (not for a store in
	// memory).
	Save(ctx context.Context, row Row) (version uint64, err error)
	// Touch moves Seen and Idle of a live row, each on its own and never backwards.
	// It does not change the version. ErrNone if there is no such row.
	Touch(ctx context.Context, key Key, seen, idle time.Time) error
	// Delete removes the row; a missing one is no error.
	Delete(ctx context.Context, key Key) error
	// Sweep removes at most limit rows that are over and returns how many; none for
	// a limit below 1.
	Sweep(ctx context.Context, limit int) (int, error)
	// Ping reports whether the store can be read and written.
	Ping(ctx context.Context) error
	// Close releases the store; later calls fail.
	Close() error
}
