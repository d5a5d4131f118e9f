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

// Tag is what a row can be found by beside its key: a keyed hash of a subject, of a
// provider's sid, and so on. Whoever has the store's data alone cannot tell what a
// tag stands for, nor make the tag of a name.
type Tag [sha256.Size]byte

// Owner is who holds a lease: a random name, made up for one attempt.
type Owner [16]byte

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
	// Tags is the set of tags that Find finds the row by, at most MaxTags. Every Save
	// gives the whole set. Load and Find leave it empty.
	Tags []Tag
}

// Activity is what Touch moves a row to.
type Activity struct {
	Key        Key
	Seen, Idle time.Time
}

const (
	// MaxTouched is the largest number of rows that Touch must take.
	MaxTouched = 500
	// MaxData is the largest Row.Data a store must take, in bytes.
	MaxData = 256 << 10
	// MaxTags is the largest number of Row.Tags a store must take.
	MaxTags = 8
)

// Errors of a Store. Any other error is a fault of the store or the end of the
// context: the session may still exist, and nobody may be signed out because of it.
// A write that failed so may have happened, unless the context was over before it.
var (
	// ErrNone: there is no such row, or it is over. From Load and, for a Version above 0,
	// Save.
	ErrNone = errors.New("session: none")
	// ErrConflict: the row has another version than the one given. From Save and,
	// for a version above 0, Delete.
	ErrConflict = errors.New("session: changed meanwhile")
	// ErrTooLarge: Row.Data or Row.Tags is longer than MaxData or MaxTags; nothing
	// was changed. From Save.
	ErrTooLarge = errors.New("session: data over 256 KiB")
)

// Store keeps rows. Implementations are safe for concurrent use by many processes
// where the medium is shared, honour the context's deadline, end every operation
// within seconds whatever the medium does, and treat a row whose Idle or Expires has
// come (by the clock they were opened with) as not there.
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
	// Touch moves Seen and Idle of live rows, each on its own and never backwards, at most
	// MaxTouched rows at once. It does not change their versions. A row that is not there is
	// left out. After an error any of them may have been moved.
	Touch(ctx context.Context, all []Activity) error
	// Delete removes the row when its version is the one given, else ErrConflict;
	// version 0 means whatever it is. A missing row is no error.
	Delete(ctx context.Context, key Key, version uint64) error
	// Find returns the live rows that carry any of tags, each once, at most limit of
	// them, in no order. It takes no longer for the rows that carry none of them. A
	// row whose Save had returned before Find was called is found.
	Find(ctx context.Context, tags []Tag, limit int) ([]Row, error)
	// Stamp returns a number that is another one as soon as the row of key may have
	// changed or gone, by whatever process; it may change without a reason. ok is
	// false while the store cannot tell, and what was loaded must not be used again.
	// It asks nobody and takes nanoseconds. After a write of this process has
	// returned, with an error too, the stamp has changed; when one of another process
	// returned Lag ago, it has changed or ok is false. Touch may leave it as it is, and
	// so may an insert over nothing elsewhere: nobody has a copy of what was not there.
	Stamp(key Key) (stamp uint64, ok bool)
	// Lag is how long after a write other processes may go on as if it had not been.
	Lag() time.Duration
	// Lease takes the lease of key for owner, or prolongs it, until ttl from now by
	// the medium's clock. One owner holds it at a time. A lease is apart from rows:
	// key need not have one. Nothing but its holder's good behaviour depends on it.
	Lease(ctx context.Context, key Key, owner Owner, ttl time.Duration) (Lease, error)
	// Release ends the lease of key if owner holds it.
	Release(ctx context.Context, key Key, owner Owner) error
	// Sweep removes at most limit rows that are over, and abandoned leases after ten
	// minutes, without looking at the others. It returns how many rows; none for a
	// limit below 1. A medium that removes them by itself returns 0.
	Sweep(ctx context.Context, limit int) (int, error)
	// Ping reports whether the store can be read and written.
	Ping(ctx context.Context) error
	// Close releases the store; later calls fail.
	Close() error
}

// Lease is the answer to a request for one.
type Lease struct {
	Held bool // by the owner that asked
	// Inherited: it was another owner's, which neither released it nor prolonged it
	// in time; what that one has begun may have been done or not. It stays so until the
	// lease is released.
	Inherited bool
}
