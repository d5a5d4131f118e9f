// Package app builds Genkan from its settings and runs it: the one place that knows
// every package on the serving path. It decides nothing itself.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"genkan/frontend"
	"genkan/internal/access"
	"genkan/internal/config"
	"genkan/internal/credential"
	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/proxy"
	"genkan/internal/rp"
	"genkan/internal/server"
	"genkan/internal/session"
	"genkan/internal/session/pgstore"
	"genkan/internal/session/redisstore"
	"genkan/internal/session/sqlitestore"
	"genkan/internal/telemetry"
)

// App is a built Genkan that has not started to listen.
type App struct {
	config   *config.Config
	log      *slog.Logger
	policy   *origin.Policy
	keys     *keyWatch
	store    session.Store
	sessions *session.Manager
	// credentials are what goes along with calls to upstreams.
	credentials *credential.Source
	public      http.Handler
	admin       http.Handler
	// closeStreams ends the streams of events, which a stop would wait for.
	closeStreams func()
}

// New builds everything. An error means that nothing is left open.
func New(ctx context.Context, c *config.Config, log *slog.Logger) (*App, error) {
	policy, found := origin.New(c.Origin)
	if found.Failed() {
		return nil, found
	}
	ring, err := keys.Parse(c.Session.Keys)
	if err != nil {
		return nil, fmt.Errorf("session.keys: %w", err)
	}
	a := &App{config: c, log: log, policy: policy, keys: newKeyWatch(c.Session, ring, log)}
	if a.store, err = openStore(ctx, c.Session.Store.Reveal(), log); err != nil {
		return nil, fmt.Errorf("session.store: %w", err)
	}
	if err := a.build(ring); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	return a, nil
}

// build wires the packages, the simpler ones first.
func (a *App) build(ring *keys.Ring) error {
	clients, renewers, endpoints := []*rp.Client{}, map[string]session.Provider{}, map[string]credential.Provider{}
	for _, pc := range a.config.Providers {
		pc.Logger = a.log
		client, err := rp.New(pc)
		if err != nil {
			return fmt.Errorf("providers: %s: %w", pc.ID, err)
		}
		clients = append(clients, client)
		renewers[pc.ID], endpoints[pc.ID] = client, credential.Provider{Endpoint: client, DPoP: pc.DPoP}
	}
	a.sessions = session.New(session.Config{
		Store: a.store, Ring: ring, Deployment: a.policy.Canonical().Origin().String(), Providers: renewers,
		IdleTimeout: a.config.Session.IdleTimeout, AbsoluteTimeout: a.config.Session.AbsoluteTimeout,
		CacheSize: cacheSize(memory()), MaxPerUser: a.config.Session.MaxPerUser, Logger: a.log,
	})
	signers := assertionKeys(a.config.Assertions, ring)
	a.credentials = credential.New(credential.Config{
		Providers: endpoints, Issuer: a.policy.Canonical().Origin().String(), Signers: signers, Stamp: a.sessions.Store.Stamp, Logger: a.log,
	})
	files, err := spaFiles(a.config.SPADir)
	if err != nil {
		return fmt.Errorf("spa.dir: %w", err)
	}
	if files != nil {
		if _, err := fs.Stat(files, "index.html"); err != nil {
			a.log.Info("no app is served at /: there is no index.html; scripts/build puts the app in, spa.dir names another folder")
		}
	}
	metrics := telemetry.NewMetrics()
	front, err := server.New(server.Config{
		Policy: a.policy, Sessions: a.sessions, Ring: ring, Providers: clients, AssertionKeys: signers,
		SPA: files, TrustedProxies: a.config.Server.TrustedProxies, AdminToken: a.config.Server.AdminToken, Metrics: metrics, Logger: a.log,
	})
	if err != nil {
		return err
	}
	upstreams, err := proxy.New(proxy.Config{
		Routes: a.config.Upstreams, Sessions: a.sessions, Credentials: a.credentials, Bearer: access.NewBearer(judges(clients), time.Now),
		Refuse: front.Refuse, Metrics: metrics, Logger: a.log,
	})
	if err != nil {
		return fmt.Errorf("upstreams: %w", err)
	}
	a.public, a.admin = front.Handler(upstreams), front.Admin()
	a.closeStreams = func() { front.Close(); upstreams.Close() }
	return nil
}

// judges are the providers whose access tokens programs may bring.
func judges(clients []*rp.Client) (all []access.Provider) {
	for _, c := range clients {
		all = append(all, c)
	}
	return all
}

// assertionKeys are the operator's, else those that come of the session keys there are.
func assertionKeys(c config.Assertions, ring *keys.Ring) func() []*keys.Signer {
	if len(c.Keys) > 0 {
		return func() []*keys.Signer { return c.Keys }
	}
	return func() []*keys.Signer { return ring.Signers(c.Alg) }
}

// openStore opens the session store that an address names; config has checked it.
func openStore(ctx context.Context, address string, log *slog.Logger) (session.Store, error) {
	scheme, rest, _ := strings.Cut(address, ":")
	switch scheme {
	case "memory":
		return session.NewMemory(time.Now), nil
	case "sqlite":
		return sqlitestore.Open(ctx, rest, time.Now)
	case "postgres", "postgresql":
		c, err := pgstore.Parse(address)
		if err != nil {
			return nil, err
		}
		return pgstore.Open(ctx, c, time.Now, log)
	}
	c, err := redisstore.Parse(address)
	if err != nil {
		return nil, err
	}
	return redisstore.Open(ctx, c, time.Now, log)
}

// spaFiles are the browser app's: embedded, none, or a folder's.
func spaFiles(dir string) (fs.FS, error) {
	switch dir {
	case "":
		return fs.Sub(frontend.Dist, "dist")
	case "off":
		return nil, nil
	}
	root, err := os.OpenRoot(dir) // symbolic links cannot lead out of it
	if err != nil {
		return nil, err
	}
	return root.FS(), nil
}

// Close releases what New opened. Call it when Run has returned, or instead of Run.
func (a *App) Close() error { return a.sessions.Store.Close() }
