package app

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"slices"
	"time"

	"genkan/internal/config"
	"genkan/internal/finding"
	"genkan/internal/keys"
)

const (
	// lookEvery is how often the session keys are read again. Notices of the file system
	// would miss what Kubernetes does, which swaps a symbolic link above the file, and
	// what another machine writes to a shared folder.
	lookEvery = 5 * time.Second
	// sealAfter is how long the old key goes on sealing. Replicas learn of the new one at
	// different times, and all must be able to open what any of them seals: Kubernetes
	// takes up to two minutes to bring a changed secret to every node.
	sealAfter = 5 * time.Minute
)

// keyWatch keeps a ring at what session.keys says.
type keyWatch struct {
	read             func() ([]keys.Secret, finding.Findings) // nil: the keys cannot change
	ring             *keys.Ring
	log              *slog.Logger
	every, sealAfter time.Duration
	asked            chan struct{}
	// judged is what is in the ring or was refused; seen is what the last look showed.
	judged, seen [sha256.Size]byte
}

func newKeyWatch(c config.Session, ring *keys.Ring, log *slog.Logger) *keyWatch {
	first := digest(c.Keys, nil)
	return &keyWatch{
		read: c.ReadKeys, ring: ring, log: log, every: lookEvery, sealAfter: sealAfter,
		asked: make(chan struct{}, 1), judged: first, seen: first,
	}
}

// ReloadKeys makes Run read the session keys again at once, as SIGHUP asks for. It does
// not wait for that.
func (a *App) ReloadKeys() {
	select {
	case a.keys.asked <- struct{}{}:
	default: // it is about to
	}
}

// run looks at the keys until ctx ends.
func (w *keyWatch) run(ctx context.Context) {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look(ctx, false)
		case <-w.asked:
			w.look(ctx, true)
		}
	}
}

// look takes over keys that have changed. Unless somebody has asked for it, they must
// be the same at two looks: a file may be half-written, and a list without its second
// half would end sessions.
func (w *keyWatch) look(ctx context.Context, asked bool) {
	if w.read == nil {
		if asked {
			w.log.InfoContext(ctx, "the session keys stay as they are: they are in the environment, which changes only with a restart")
		}
		return
	}
	list, found := w.read()
	now := digest(list, found)
	settled := now == w.seen
	w.seen = now
	switch {
	case now == w.judged && asked:
		w.log.InfoContext(ctx, "the session keys stay as they are: nothing has changed", "keys", len(w.ring.IDs()))
	case now != w.judged && (asked || settled):
		w.judged = now
		w.take(ctx, list, found)
	}
}

// take puts the list into the ring, or says why not.
func (w *keyWatch) take(ctx context.Context, list []keys.Secret, found finding.Findings) {
	for _, f := range found {
		w.log.ErrorContext(ctx, "the session keys stay as they are: what is there now cannot be used",
			"finding", f.Code, "where", f.Where, "detail", f.Detail, "fix", f.Fix)
	}
	if found.Failed() {
		return
	}
	next, err := keys.Parse(list)
	if err != nil {
		w.log.ErrorContext(ctx, "the session keys stay as they are", "error", err)
		return
	}
	before, after := w.ring.IDs(), next.IDs()
	w.ring.Replace(next, w.sealAfter)
	w.log.InfoContext(ctx, "session keys read again", "keys", len(after), "ids", after, "added", without(after, before),
		"removed", without(before, after), "first_seals_within", w.sealAfter.String())
}

// without returns what all has and others lacks.
func without(all, others []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool { return slices.Contains(others, one) })
}

// digest tells two lists, or two ways in which they cannot be used, apart.
func digest(list []keys.Secret, found finding.Findings) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, key := range list {
		h.Write([]byte(key.Reveal() + "\n"))
	}
	h.Write([]byte(found.Error()))
	h.Sum(sum[:0])
	return sum
}
