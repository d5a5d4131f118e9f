package rp

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	pauseEmpty = time.Second      // between attempts while nothing is held
	pauseHeld  = 30 * time.Second // between attempts while an old copy still serves
	maxStale   = 24 * time.Hour   // how long an old copy serves a provider that is down
)

// cache holds one document of the provider: fetched when first needed, fetched anew
// after ttl, kept when that fails. However many callers wait, one request is under
// way, and a failing provider is asked no more often than the pauses say.
type cache[T any] struct {
	fetch func(context.Context) (T, error)
	now   func() time.Time
	warn  func(error)
	ttl   time.Duration

	flight singleflight.Group
	mu     sync.Mutex
	held   *document[T]
	failed time.Time // of the last attempt, while err is set
	err    error
}

type document[T any] struct {
	value T
	at    time.Time
}

// get returns a document younger than ttl, or an older one if no new one can be had.
func (c *cache[T]) get(ctx context.Context) (*document[T], error) {
	c.mu.Lock()
	held := c.held
	c.mu.Unlock()
	if held != nil && c.now().Sub(held.at) < c.ttl {
		return held, nil
	}
	fresh, err := c.renew(ctx, held, nil)
	if err != nil && ctx.Err() == nil && held != nil && c.now().Sub(held.at) < maxStale {
		return held, nil
	}
	return fresh, err
}

// renew returns a newer document than old. allow, if given, may veto the request that
// this takes. The request outlives a caller that gives up, for the others' sake.
func (c *cache[T]) renew(ctx context.Context, old *document[T], allow func() error) (*document[T], error) {
	done := c.flight.DoChan("", func() (got any, err error) {
		defer func() {
			// singleflight would end the process: nobody above it can recover.
			if cause := recover(); cause != nil {
				got, err = (*document[T])(nil), fault("discovery", "panic", fmt.Errorf("%T", cause))
			}
		}()
		return c.attempt(context.WithoutCancel(ctx), old, allow)
	})
	select {
	case result := <-done:
		return result.Val.(*document[T]), result.Err
	case <-ctx.Done():
		return nil, fault("discovery", "canceled", ctx.Err())
	}
}

func (c *cache[T]) attempt(ctx context.Context, old *document[T], allow func() error) (*document[T], error) {
	c.mu.Lock()
	held, failed, err := c.held, c.failed, c.err
	c.mu.Unlock()
	if held != old {
		return held, nil // another caller was faster
	}
	pause := pauseEmpty
	if held != nil {
		pause = pauseHeld
	}
	if err != nil && c.now().Sub(failed) < pause {
		return nil, err
	}
	if allow != nil {
		if err := allow(); err != nil {
			return nil, err
		}
	}
	value, err := c.fetch(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.failed = err, c.now()
	if err != nil {
		c.warn(err)
		return nil, err
	}
	c.held = &document[T]{value, c.now()}
	return c.held, nil
}
