package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/session"
	"genkan/internal/session/pgstore"
	"genkan/internal/session/redisstore"
	"genkan/internal/session/sqlitestore"
)

// bySessions measures whether a call costs more when more people are signed in. The
// sessions are used in turn, so that no cache is spared.
func bySessions(ctx context.Context, r *rig) error {
	counts := []int{10, 1000, 100_000}
	if r.quick {
		counts[2] = 10_000
	}
	names := r.names([]string{"sqlite", "redis", "postgres"}) // memory: cannot be filled from outside
	stores, err := r.stores(names)
	if err != nil {
		return err
	}
	r.say("%-10s %9s %9s %9s %22s %8s %8s %7s %9s", "store", "sessions", "calls/s", "CPU µs", "ratio (min..max)", "p50 ms", "p99 ms", "failed", "RSS MiB")
	for _, name := range names {
		if address, ok := stores[name]; ok {
			if err := r.grow(ctx, genkan{name: name, store: address, address: r.take()}, counts); err != nil {
				return err
			}
		}
	}
	return nil
}

// grow measures one store with more and more sessions.
func (r *rig) grow(ctx context.Context, g genkan, counts []int) error {
	t, err := r.start(ctx, g)
	if err != nil {
		return err
	}
	first, err := r.signIn(ctx, t, "alice")
	t.stop() // a file is written by one process at a time
	if err != nil {
		return err
	}
	cookies := []string{first}
	for _, count := range counts {
		more, err := r.fill(ctx, g.store, t.base, first, count-len(cookies))
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		cookies = append(cookies, more...)
		if t, err = r.start(ctx, g); err != nil {
			return err
		}
		t.cookies = cookies
		if _, err := r.load.run(ctx, load{url: t.base + t.path, cookies: cookies, count: count}); err != nil { // everybody once
			return err
		}
		rounds, err := r.interleave(ctx, []*target{t})
		if err != nil {
			return err
		}
		after, err := t.used()
		if err != nil {
			return err
		}
		f := summary(rounds[t.name])
		r.say("%-10s %9d %9.0f %9.1f %22s %8.2f %8.2f %7d %9d", g.name, count, f.calls, f.cpu, f.ratio, f.p50, f.p99, f.failed, after.rss>>20)
		t.stop()
	}
	return nil
}

// fill adds count sessions, each of another user, as a sign-in would, and returns their
// cookies. Their tokens are those of the sign-in behind cookie.
func (r *rig) fill(ctx context.Context, address, base, cookie string, count int) (cookies []string, err error) {
	store, err := open(ctx, address)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	ring, err := keys.Parse([]keys.Secret{keys.NewSecret(r.key)})
	if err != nil {
		return nil, err
	}
	public, err := origin.Parse(base)
	if err != nil {
		return nil, err
	}
	policy, found := origin.New(origin.Config{PublicURLs: []origin.Origin{public}})
	if policy == nil {
		return nil, found
	}
	sessions := session.New(session.Config{Store: store, Ring: ring, Deployment: base})
	request := func(cookie string) *http.Request {
		q := httptest.NewRequestWithContext(ctx, http.MethodGet, base+"/bff/callback", nil)
		q.Header.Set("Cookie", cookie)
		return origin.WithSite(q, policy.Canonical())
	}
	signedIn, err := sessions.Load(request(cookie))
	if err != nil {
		return nil, err
	}
	cookies = make([]string, count)
	var all errgroup.Group
	all.SetLimit(16)
	for i := range cookies {
		all.Go(func() error {
			grant := signedIn.Grant
			grant.Identity.Subject = fmt.Sprintf("bench-user-%d", i)
			w := httptest.NewRecorder()
			_, err := sessions.Start(w, request(""), session.SignIn{
				Provider: signedIn.Provider, Grant: grant, Redeemed: time.Now(), Agent: signedIn.Agent, Address: "127.0.0.1",
			})
			cookies[i], _, _ = strings.Cut(w.Header().Get("Set-Cookie"), ";")
			return err
		})
	}
	return cookies, all.Wait()
}

// open opens a store as Genkan does.
func open(ctx context.Context, address string) (session.Store, error) {
	silent := slog.New(slog.DiscardHandler)
	scheme, rest, _ := strings.Cut(address, ":")
	switch scheme {
	case "sqlite":
		return sqlitestore.Open(ctx, rest, time.Now)
	case "postgres":
		c, err := pgstore.Parse(address)
		if err != nil {
			return nil, err
		}
		return pgstore.Open(ctx, c, time.Now, silent)
	case "redis":
		c, err := redisstore.Parse(address)
		if err != nil {
			return nil, err
		}
		return redisstore.Open(ctx, c, time.Now, silent)
	}
	return nil, fmt.Errorf("%w: only one process can use a store in %s", errUsage, scheme)
}
