package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// drain is how long requests under way may go on after a stop signal, and then
	// refreshes of tokens.
	drain = 10 * time.Second
	// sweepEvery and sweepBatch bound the work of removing sessions that are over.
	sweepEvery = 5 * time.Minute
	sweepBatch = 1000
	// maxHeader bounds a request's header; browsers' cookies for one host stay far
	// below it.
	maxHeader = 64 << 10
)

// Run listens and serves until ctx ends, then lets requests and refreshes finish. It
// returns nil after an orderly stop.
func (a *App) Run(ctx context.Context) error {
	tlsConfig, err := a.tls()
	if err != nil {
		return err
	}
	public, err := listen(a.config.Server.Listen)
	if err != nil {
		return fmt.Errorf("server.listen: %w", explain(err))
	}
	admin, err := listen(a.config.Server.AdminListen)
	if err != nil {
		closeAll(public)
		return fmt.Errorf("server.admin_listen: %w", explain(err))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer runtime.KeepAlive(ballast(memory()))
	servers := []*http.Server{a.serve(a.public, public, tlsConfig, cancel), a.serve(a.admin, admin, nil, cancel)}
	var background sync.WaitGroup
	background.Go(func() { a.sweep(ctx) })
	background.Go(func() { a.keys.run(ctx) })
	a.announce(public)

	<-ctx.Done()
	a.log.Info("stopping")
	a.stop(servers)
	background.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// stop lets go what is under way, so that the store can be closed.
func (a *App) stop(servers []*http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	var ending sync.WaitGroup
	nobodyListens := make(chan struct{})
	servers[0].RegisterOnShutdown(func() { close(nobodyListens) })
	ending.Go(func() {
		<-nobodyListens // or a browser whose stream has ended would come back to this process
		a.closeStreams()
	})
	for _, s := range servers {
		ending.Go(func() {
			if err := s.Shutdown(ctx); err != nil {
				a.log.Warn("requests cut off at stop", "error", err)
				_ = s.Close()
			}
		})
	}
	ending.Wait()
	ctx, cancel = context.WithTimeout(context.Background(), drain)
	defer cancel()
	if err := a.sessions.Drain(ctx); err != nil {
		a.log.Warn("refreshes cut off at stop; their sessions may end", "error", err)
	}
}

// serve starts one server on its listeners; a listener that breaks ends Run.
func (a *App) serve(h http.Handler, listeners []net.Listener, t *tls.Config, fail context.CancelCauseFunc) *http.Server {
	s := &http.Server{
		Handler: h, TLSConfig: t, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, // bodies and streams are bounded by their handlers
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	for _, l := range listeners {
		if t != nil {
			l = tls.NewListener(l, t)
		}
		go func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				fail(err)
			}
		}()
	}
	return s
}

func (a *App) tls() (*tls.Config, error) {
	if a.config.Server.CertFile == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(a.config.Server.CertFile, a.config.Server.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("server.tls: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// listen binds an address. localhost means both loopback families: a browser may
// try ::1 first, and another program there would answer in our place. A machine
// without IPv6 has only the one.
func listen(address string) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host != "localhost" {
		l, err := net.Listen("tcp", address)
		return []net.Listener{l}, err
	}
	v4, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, err
	}
	_, bound, _ := net.SplitHostPort(v4.Addr().String())
	v6, err := net.Listen("tcp6", net.JoinHostPort("::1", bound))
	switch {
	case err == nil:
		return []net.Listener{v4, v6}, nil
	case errors.Is(err, syscall.EADDRINUSE):
		_ = v4.Close()
		return nil, err
	}
	return []net.Listener{v4}, nil
}

// explain adds the fix where the operator can see it.
func explain(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w (fix: stop the program that listens there, or set another address)", err)
	}
	return err
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close()
	}
}

// announce says where to go and what to register at the provider.
func (a *App) announce(listeners []net.Listener) {
	for _, l := range listeners {
		a.log.Info("listening", "address", l.Addr().String())
	}
	for i, site := range a.policy.Sites() {
		attrs := []any{"url", site.Origin().String(), "redirect_uri", site.RedirectURI(), "post_logout_redirect_uri", site.PostLogoutRedirectURI()}
		if i == 0 { // the provider tells Genkan at one address
			attrs = append(attrs, "backchannel_logout_uri", site.BackchannelURI(), "frontchannel_logout_uri", site.FrontchannelURI(), "global_token_revocation_uri", site.GlobalRevocationURI())
		}
		a.log.Info("ready", attrs...)
	}
}

// sweep removes sessions that are over, in bounded batches, and what was got for them.
func (a *App) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		for n := sweepBatch; n == sweepBatch && ctx.Err() == nil; {
			var err error
			if n, err = a.sessions.Sweep(ctx, sweepBatch); err != nil && ctx.Err() == nil {
				a.log.WarnContext(ctx, "expired sessions not removed", "error", err)
			}
		}
		a.credentials.Sweep()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
