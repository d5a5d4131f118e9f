package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime"
	"sync"
	"time"
)

// serve runs one of the benchmark's own servers until ctx ends.
func serve(ctx context.Context, args []string, handler func(to *url.URL) http.Handler) error {
	flags := flag.NewFlagSet("bench server", flag.ContinueOnError)
	address := flags.String("listen", "127.0.0.1:0", "`address`")
	target := flags.String("to", "", "`URL` of the upstream")
	headroom := flags.Bool("headroom", false, "let the garbage collector begin as late as Genkan's does")
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	to, err := url.Parse(*target)
	if err != nil {
		return err
	}
	if *headroom {
		defer runtime.KeepAlive(make([]byte, 32<<20))
	}
	l, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	// The limits of Genkan's own server, so that both pay for them.
	s := &http.Server{Handler: handler(to), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// fixedToken has the length of an access token in JWT form.
const fixedToken = "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9"

// reverseProxy is what Genkan is compared with: the standard library's, tuned as far as
// its options go, with the settings of Genkan's own transport. It relays a fixed token,
// cuts the browser's cookies, and knows neither sessions nor logs.
func reverseProxy(to *url.URL) http.Handler {
	token := "Bearer " + fixedToken
	for len(token) < 900 {
		token += fixedToken
	}
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.SetXForwarded()
			p.Out.Header.Set("Authorization", token)
			p.Out.Header.Del("Cookie")
		},
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second, ForceAttemptHTTP2: true, DisableCompression: true,
			MaxIdleConns: 512, MaxIdleConnsPerHost: 128, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		BufferPool: &pool{},
	}
}

// pool lends copy buffers without an allocation.
type pool struct{ pool sync.Pool }

const poolSize = 32 << 10

func (p *pool) Get() []byte {
	if b, ok := p.pool.Get().(*[poolSize]byte); ok {
		return b[:]
	}
	return make([]byte, poolSize)
}

func (p *pool) Put(b []byte) { p.pool.Put((*[poolSize]byte)(b)) }
