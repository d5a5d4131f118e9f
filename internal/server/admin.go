package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"genkan/internal/finding"
	"genkan/internal/telemetry"
)

const (
	// readyLimit bounds a readiness check.
	readyLimit = 2 * time.Second
	// adminLimit bounds one call of an administrator; ending everybody's session may take
	// a while.
	adminLimit = 10 * time.Minute
)

// Admin is the admin listener's handler: /healthz says that the process runs,
// /readyz that it can serve, /metrics counts for Prometheus, /admin/ is the administration of sessions. A provider
// that is down does not make it unready: sessions go on without it.
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyLimit)
		defer cancel()
		if err := s.Sessions.Store.Ping(ctx); err != nil {
			s.Logger.WarnContext(ctx, "not ready", "finding", finding.StoreUnavailable.Code, "error", err)
			finding.StoreUnavailable.Problem("").Write(w)
			return
		}
		plain(w, "ready")
	})
	metrics := s.Metrics.Handler()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		metrics.ServeHTTP(w, r)
	})
	mux.Handle("/admin/", s.administration())
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { finding.NotFound.Problem("").Write(w) })
	return mux
}

func plain(w http.ResponseWriter, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(line + "\n"))
}

// administration is everything under /admin/, for whom admitted lets in. Unlike health
// it is in the access log.
func (s *Server) administration() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /admin/sessions", s.adminList)
	mux.HandleFunc("DELETE /admin/sessions", s.adminEndMany)
	mux.HandleFunc("DELETE /admin/sessions/{id}", s.adminEnd)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { finding.NotFound.Problem("").Write(w) })

	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		deadlines(w, r, now.Add(bodyLimit), now.Add(adminLimit))
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if refusal := s.admitted(r); refusal != nil {
			s.adminFail(w, r, *refusal, "")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), adminLimit)
		defer cancel()
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
	h = telemetry.Recover(s.Logger, func(w http.ResponseWriter, _ *http.Request) { finding.Internal.Problem("").Write(w) })(h)
	return telemetry.AccessLog(s.Logger, s.Now)(h)
}

// adminFail answers with row and says so in the log.
func (s *Server) adminFail(w http.ResponseWriter, r *http.Request, row finding.Row, detail string, attrs ...any) {
	if errors.Is(r.Context().Err(), context.Canceled) {
		panic(http.ErrAbortHandler) // the caller has left
	}
	s.Logger.Log(r.Context(), level(row), "administration refused", append([]any{"finding", row.Code, "problem", row.Name}, attrs...)...)
	switch row.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", s.retryAfter())
	}
	row.Problem(detail).Write(w)
}

// admitted says why r may not administer, or nil. A page has no business here, so
// whatever only browsers send is refused. Without a token only programs of this machine
// count, and a loopback name must be what they called: a page whose own name was made
// to resolve to 127.0.0.1 comes from here, too (DNS rebinding), and so does what a
// proxy on this machine passes on.
func (s *Server) admitted(r *http.Request) *finding.Row {
	fetchSite := r.Header.Values("Sec-Fetch-Site")
	switch {
	case len(r.Header.Values("Origin")) > 0 || len(fetchSite) > 1 || len(fetchSite) == 1 && fetchSite[0] != "none":
		return &finding.AdminBrowser
	case !s.AdminToken.Empty():
		if !s.bearsToken(r) {
			return &finding.AdminUnauthorized
		}
	case !fromHere(r.RemoteAddr) || !loopbackHost(r.Host) || forwarded(r.Header):
		return &finding.AdminForbidden
	}
	return nil
}

// bearsToken compares hashes, so that the time it takes tells not even a length.
func (s *Server) bearsToken(r *http.Request) bool {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.AdminToken.Reveal()))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func fromHere(peer string) bool {
	addr, ok := address(peer)
	return ok && addr.IsLoopback()
}

// loopbackHost reports whether a Host header names this machine for sure: resolvers
// decide about every name but localhost.
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil && addr.Unmap().IsLoopback()
}

// forwarded reports whether a proxy has passed a request on.
func forwarded(h http.Header) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if len(h.Values(name)) > 0 {
			return true
		}
	}
	return false
}
