package server

import (
	"context"
	"net/http"
	"time"

	"genkan/internal/finding"
)

// readyLimit bounds a readiness check.
const readyLimit = 2 * time.Second

// Admin is the admin listener's handler: /healthz says that the process runs,
// /readyz that it can serve. A provider that is down does not make it unready:
// sessions go on without it.
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
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { finding.NotFound.Problem("").Write(w) })
	return mux
}

func plain(w http.ResponseWriter, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(line + "\n"))
}
