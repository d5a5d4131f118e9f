package sqlstore

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"genkan/internal/session"
)

// pair is two stores on one file that take calls in turn.
type pair struct {
	one, two *Store
	calls    atomic.Uint64
}

func (p *pair) next() *Store {
	if p.calls.Add(1)%2 == 0 {
		return p.one
	}
	return p.two
}

func (p *pair) Load(ctx context.Context, key session.Key) (session.Row, error) {
	return p.next().Load(ctx, key)
}

func (p *pair) Save(ctx context.Context, row session.Row) (uint64, error) {
	return p.next().Save(ctx, row)
}

func (p *pair) Touch(ctx context.Context, key session.Key, seen, idle time.Time) error {
	return p.next().Touch(ctx, key, seen, idle)
}

func (p *pair) Delete(ctx context.Context, key session.Key) error { return p.next().Delete(ctx, key) }

func (p *pair) Sweep(ctx context.Context, limit int) (int, error) { return p.next().Sweep(ctx, limit) }

func (p *pair) Ping(ctx context.Context) error { return p.next().Ping(ctx) }

func (p *pair) Close() error { return errors.Join(p.one.Close(), p.two.Close()) }
