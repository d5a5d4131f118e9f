package server

import (
	"net/http"
	"path"
	"strings"
	"time"

	"genkan/internal/telemetry"
)

// Upstreams is what lies behind Genkan; *proxy.Handler is one.
type Upstreams interface {
	http.Handler
	// Match reports whether the request's path belongs to an upstream.
	Match(r *http.Request) bool
}

// dispatch takes the calls to upstreams, which are by far the most, past the router of
// Genkan's own endpoints.
func (s *Server) dispatch(endpoints http.Handler, upstreams Upstreams) http.Handler {
	if upstreams == nil {
		return endpoints
	}
	other := s.Metrics.Calls("other")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.ownPath(r.URL.Path) || !upstreams.Match(r) {
			endpoints.ServeHTTP(w, r)
			return
		}
		telemetry.CountAs(w, other) // until the upstream says better
		if !s.arrive(w, r) {
			return
		}
		deadlines(w, r, time.Time{}, time.Time{}) // uploads and streams have limits of their own
		defer limitBoth(w, r)                     // what is left of both
		upstreams.ServeHTTP(w, r)
	})
}

// ownPath reports whether a path can be Genkan's alone: nothing behind it has a part in it.
func (s *Server) ownPath(urlPath string) bool {
	if !strings.HasPrefix(urlPath, "/") {
		urlPath = "/" + urlPath
	}
	clean := path.Clean(urlPath)
	below, found := strings.CutPrefix(clean, s.Policy.Prefix())
	return found && (below == "" || below[0] == '/') || metadata(clean) || clean == jwksPath
}
