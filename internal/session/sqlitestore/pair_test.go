package sqlitestore

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

func (p *pair) Touch(ctx context.Context, all []session.Activity) error {
	return p.next().Touch(ctx, all)
}

func (p *pair) Delete(ctx context.Context, key session.Key, version uint64) error {
	return p.next().Delete(ctx, key, version)
}

func (p *pair) Find(ctx context.Context, tags []session.Tag, limit int) ([]session.Row, error) {
	return p.next().Find(ctx, tags, limit)
}

func (p *pair) Stamp(key session.Key) (uint64, bool) { return p.next().Stamp(key) }

func (p *pair) Lag() time.Duration { return p.next().Lag() }

func (p *pair) Lease(ctx context.Context, key session.Key, owner session.Owner, ttl time.Duration) (session.Lease, error) {
	return p.next().Lease(ctx, key, owner, ttl)
}

func (p *pair) Release(ctx context.Context, key session.Key, owner session.Owner) error {
	return p.next().Release(ctx, key, owner)
}

func (p *pair) Sweep(ctx context.Context, limit int) (int, error) { return p.next().Sweep(ctx, limit) }

func (p *pair) Ping(ctx context.Context) error { return p.next().Ping(ctx) }

func (p *pair) Close() error { return errors.Join(p.one.Close(), p.two.Close()) }
