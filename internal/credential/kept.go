package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"genkan/internal/rp"
)

const (
	// askLimit bounds a token request that several calls wait for. A provider's client
	// ends its own requests earlier.
	askLimit = 30 * time.Second
	// refusedFor and faultFor are how long a provider is not asked again after it said no,
	// and after it failed.
	refusedFor = 5 * time.Second
	faultFor   = 2 * time.Second
	// dropEvery is how long after a token was dropped the next one is not.
	dropEvery = 10 * time.Second
)

var errNoProvider = errors.New("there is no provider of this name")

// kept are the tokens that were got, by what they were got for.
type kept[K comparable] struct {
	entries *otter.Cache[K, *entry]
	asking  singleflight.Group
	now     func() time.Time
	log     *slog.Logger
}

// entry is what is known of one token. Nothing changes it; the zero value knows nothing.
type entry struct {
	tokens  rp.Tokens
	renew   time.Time // from here on another one is asked for
	until   time.Time // from here on this one is not used
	err     error     // why there is no other one
	retry   time.Time // nobody asks for it before
	dropped time.Time // when an upstream last had a token dropped
	doubted bool      // an upstream refused it: another one is waited for, and this one used where there is none
	stamp   uint64    // of the session, from before the token was asked for
	stamped bool      // stamp is known
}

// order says how a token is got.
type order struct {
	provider, kind, session string // for the log; session is the public handle
	ask                     func(ctx context.Context) (rp.Tokens, error)
	life                    func(tokens rp.Tokens, asked time.Time) (renew, until time.Time)
	stamp                   uint64
	stamped                 bool
}

func newKept[K comparable](size uint64, c Config) *kept[K] {
	return &kept[K]{now: c.Now, log: c.Logger, entries: otter.Must(&otter.Options[K, *entry]{
		MaximumWeight: size,
		Weigher: func(_ K, e *entry) uint32 {
			const fixed = 512 // structs and the key
			return uint32(fixed + len(e.tokens.Access.Reveal()) + len(e.tokens.Refresh.Reveal()) + len(e.tokens.ID.Reveal()))
		},
	})}
}

// over reports whether e says nothing any more.
func (e *entry) over(now time.Time) bool {
	return !now.Before(e.until) && !now.Before(e.retry) && now.Sub(e.dropped) >= dropEvery
}

// ready is the token of key, if there is one that needs no renewal yet.
func (k *kept[K]) ready(key K) (rp.Tokens, bool) {
	e, ok := k.entries.GetIfPresent(key)
	if !ok || !k.now().Before(e.renew) {
		return rp.Tokens{}, false
	}
	return e.tokens, true
}

// get is the token of key, and asks for one when it has to.
func (k *kept[K]) get(ctx context.Context, key K, o order) (rp.Tokens, error) {
	now, e := k.now(), &entry{}
	if known, ok := k.entries.GetIfPresent(key); ok {
		e = known
	}
	good := now.Before(e.until)
	if now.Before(e.retry) {
		if good {
			return e.tokens, nil
		}
		return rp.Tokens{}, e.err
	}
	// %#v tells any two keys apart.
	flight := k.asking.DoChan(fmt.Sprintf("%#v", key), func() (any, error) { return k.ask(context.WithoutCancel(ctx), key, o) })
	if good && !e.doubted {
		return e.tokens, nil
	}
	select {
	case <-ctx.Done():
		return rp.Tokens{}, fmt.Errorf("%w: %w", ErrProvider, ctx.Err())
	case r := <-flight:
		if r.Err != nil && good {
			return e.tokens, nil
		}
		if r.Err != nil {
			return rp.Tokens{}, r.Err
		}
		return r.Val.(rp.Tokens), nil
	}
}

// ask makes the one token request and keeps what came of it.
func (k *kept[K]) ask(ctx context.Context, key K, o order) (rp.Tokens, error) {
	if tokens, ok := k.ready(key); ok { // it came while the caller was on its way here
		return tokens, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	asked := k.now()
	tokens, err := guarded(ctx, o.ask)
	next := entry{stamp: o.stamp, stamped: o.stamped}
	if err == nil {
		next.tokens = tokens
		next.renew, next.until = o.life(tokens, asked)
	} else {
		err = classify(err)
		wait := refusedFor
		if errors.Is(err, ErrProvider) {
			wait = faultFor
		}
		next.err, next.retry = err, k.now().Add(wait)
		attrs := []any{"provider", o.provider, "grant", o.kind, "error", err}
		if o.session != "" {
			attrs = append(attrs, "session", o.session)
		}
		k.log.WarnContext(ctx, "no token for an upstream", attrs...)
	}
	k.entries.Compute(key, func(now *entry, found bool) (*entry, otter.ComputeOp) {
		if found { // what an upstream said meanwhile counts
			next.dropped = now.dropped
			if next.err != nil {
				next.tokens, next.until = now.tokens, now.until
			}
		}
		return &next, otter.WriteOp
	})
	return tokens, err
}

// drop has another token asked for in place of refused, and reports whether that may be.
// Unless others share it, refused is forgotten: one upstream that says no must not take the
// token from all.
func (k *kept[K]) drop(key K, refused rp.Tokens, shared bool) (again bool) {
	now := k.now()
	k.entries.Compute(key, func(e *entry, found bool) (*entry, otter.ComputeOp) {
		switch {
		case !found || e.tokens.Access.Reveal() != refused.Access.Reveal(): // it has gone already
			again = true
		case now.Sub(e.dropped) >= dropEvery:
			again = true
			next := entry{dropped: now}
			if shared {
				next = *e
				next.renew, next.doubted, next.dropped = now, true, now
			}
			return &next, otter.WriteOp
		}
		return e, otter.CancelOp
	})
	return again
}

func (k *kept[K]) sweep(gone func(K, *entry) bool) {
	for key, e := range k.entries.All() {
		if gone(key, e) {
			k.entries.Invalidate(key)
		}
	}
}

// guarded turns a panic into an error: singleflight would end the process.
func guarded(ctx context.Context, ask func(context.Context) (rp.Tokens, error)) (tokens rp.Tokens, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic of type %T", v) // its text could hold a token
		}
	}()
	return ask(ctx)
}

// classify says what a failure means for who asked.
func classify(err error) error {
	failure, known := errors.AsType[*rp.Error](err)
	switch {
	case errors.Is(err, errNoProvider):
		return fmt.Errorf("%w: %w", ErrMisconfigured, err)
	case known && failure.Kind == rp.Refused && failure.Op == "exchange":
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case known && (failure.Kind == rp.Refused || failure.Kind == rp.Misconfigured):
		return fmt.Errorf("%w: %w", ErrMisconfigured, err)
	}
	return fmt.Errorf("%w: %w", ErrProvider, err)
}
