package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"genkan/internal/finding"
)

const (
	// patience is how long an operation waits for a store that is down to come back,
	// before it fails: a restart of a moment goes unnoticed.
	patience = 250 * time.Millisecond
	// probeFirst and probeLast bound the pause between two questions whether it is back;
	// it grows so slowly that one falls within patience after a restart of 100 ms.
	probeFirst = 20 * time.Millisecond
	probeLast  = 500 * time.Millisecond
	// probeLimit bounds one such question.
	probeLimit = 2 * time.Second
	// atOnce bounds the operations under way, so that whoever has waited for a store
	// does not arrive all at one instant.
	atOnce = 64
)

// probeKey is of no row.
var probeKey Key = sha256.Sum256([]byte("genkan probe"))

// errDown: the store failed a moment ago and has not answered since. The operation
// was not tried.
var errDown = errors.New("session: store is down")

// guard stands before a Store that may fail. After a fault nobody asks the store but
// one probe, until that gets an answer: a store that comes back meets one question
// and then at most atOnce, not everything that has piled up.
type guard struct {
	Store
	log   *slog.Logger
	turns chan struct{}
	quit  chan struct{}
	once  sync.Once

	mu   sync.Mutex
	back chan struct{} // closed when the store is back; nil while it is there
}

func newGuard(s Store, log *slog.Logger) *guard {
	return &guard{Store: s, log: log, turns: make(chan struct{}, atOnce), quit: make(chan struct{})}
}

// do runs one operation of the store, unless the store is down. A fault is ErrStore.
func (g *guard) do(ctx context.Context, operation func() error) error {
	err := g.attempt(ctx, operation)
	if isFault(err) {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return err
}

func (g *guard) attempt(ctx context.Context, operation func() error) error {
	for turn := false; !turn; {
		if err := g.await(ctx); err != nil {
			return err
		}
		select {
		case g.turns <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if turn = g.down() == nil; !turn { // it fell while this one waited
			<-g.turns
		}
	}
	defer func() { <-g.turns }()
	err := operation()
	if isFault(err) && ctx.Err() == nil { // the caller's own end says nothing of the store
		g.fell(err)
	}
	return err
}

// repeat is do for an operation that may be done twice: whoever meets the fault first
// need not notice a restart of a moment either.
func (g *guard) repeat(ctx context.Context, operation func() error) error {
	err := g.do(ctx, operation)
	if isFault(err) && !errors.Is(err, errDown) && ctx.Err() == nil {
		err = g.do(ctx, operation)
	}
	return err
}

// down is closed when the store is back, and nil while it is there.
func (g *guard) down() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.back
}

// isFault tells faults of the store from what it has to say.
func isFault(err error) bool {
	return err != nil && !errors.Is(err, ErrNone) && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrTooLarge)
}

// await returns once the store is there.
func (g *guard) await(ctx context.Context) error {
	back := g.down()
	if back == nil {
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-back:
		return nil
	case <-timer.C:
		return errDown
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errDown, ctx.Err())
	}
}

// fell notes a fault and begins to ask whether the store is back.
func (g *guard) fell(cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.back != nil {
		return
	}
	g.back = make(chan struct{})
	go g.probe(g.back, cause)
}

func (g *guard) probe(back chan struct{}, cause error) {
	began, pause := time.Now(), probeFirst
	for tries := 0; ; tries++ {
		ctx, cancel := context.WithTimeout(context.Background(), probeLimit)
		_, err := g.Store.Load(ctx, probeKey) // no Ping: a store that takes no writes is still to be read
		cancel()
		if !isFault(err) {
			g.mu.Lock()
			g.back = nil
			g.mu.Unlock()
			close(back)
			if tries > 0 {
				g.log.Info("the session store is back", "after", time.Since(began).Round(time.Millisecond))
			}
			return
		}
		if tries == 0 {
			g.log.Error("the session store is down; requests get 503 and nobody is signed out", "finding", finding.StoreUnavailable.Code, "error", cause)
		}
		select {
		case <-g.quit:
			return
		case <-time.After(pause*3/4 + rand.N(pause/2)): // replicas must not ask in step
		}
		pause = min(pause*3/2, probeLast)
	}
}

func (g *guard) Load(ctx context.Context, key Key) (row Row, err error) {
	err = g.repeat(ctx, func() (err error) { row, err = g.Store.Load(ctx, key); return })
	return row, err
}

func (g *guard) Save(ctx context.Context, row Row) (version uint64, err error) {
	err = g.do(ctx, func() (err error) { version, err = g.Store.Save(ctx, row); return })
	return version, err
}

func (g *guard) Touch(ctx context.Context, all []Activity) error {
	return g.repeat(ctx, func() error { return g.Store.Touch(ctx, all) })
}

func (g *guard) Delete(ctx context.Context, key Key, version uint64) error {
	return g.repeat(ctx, func() error { return g.Store.Delete(ctx, key, version) })
}

func (g *guard) Find(ctx context.Context, tags []Tag, limit int) (rows []Row, err error) {
	err = g.repeat(ctx, func() (err error) { rows, err = g.Store.Find(ctx, tags, limit); return })
	return rows, err
}

func (g *guard) Lease(ctx context.Context, key Key, owner Owner, ttl time.Duration) (lease Lease, err error) {
	err = g.repeat(ctx, func() (err error) { lease, err = g.Store.Lease(ctx, key, owner, ttl); return })
	return lease, err
}

func (g *guard) Release(ctx context.Context, key Key, owner Owner) error {
	return g.repeat(ctx, func() error { return g.Store.Release(ctx, key, owner) })
}

func (g *guard) Sweep(ctx context.Context, limit int) (n int, err error) {
	err = g.repeat(ctx, func() (err error) { n, err = g.Store.Sweep(ctx, limit); return })
	return n, err
}

// Close ends the probe and the store.
func (g *guard) Close() error {
	g.once.Do(func() { close(g.quit) })
	return g.Store.Close()
}
