package origin

import (
	"errors"
	"net/http"
	"strings"

	"github.com/rs/cors"
)

// CSRFHeader is the header an app must send with unsafe requests. Only "1" counts.
const CSRFHeader = "X-CSRF"

// csrfField is CSRFHeader as net/http spells it, so that no call has to find that out.
var csrfField = http.CanonicalHeaderKey(CSRFHeader)

// Navigation reports whether r is a top-level page load: Sec-Fetch-Mode says so, or,
// without Fetch Metadata, it accepts HTML and has nothing that only scripts send. Only
// navigations are ever redirected or given a page.
func Navigation(r *http.Request) bool {
	h := r.Header
	if (r.Method != http.MethodGet && r.Method != http.MethodHead) || h.Get("Upgrade") != "" {
		return false
	}
	if mode := h.Get("Sec-Fetch-Mode"); mode != "" {
		dest := h.Get("Sec-Fetch-Dest")
		return mode == "navigate" && (dest == "document" || dest == "")
	}
	if h.Get("Origin") != "" || h.Get(csrfField) != "" || h.Get("X-Requested-With") == "XMLHttpRequest" {
		return false
	}
	return strings.Contains(strings.ToLower(strings.Join(h.Values("Accept"), ",")), "text/html")
}

// Prefetch reports whether a browser asks ahead of a click that may never come.
func Prefetch(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
		if strings.Contains(r.Header.Get(name), "prefetch") {
			return true
		}
	}
	return false
}

// Errors of Check, for the log.
var (
	errForeign   = errors.New("its Origin is not a configured one")
	errCrossSite = errors.New("Sec-Fetch-Site says cross-site, and no allowed Origin stands against it")
	errNoProof   = errors.New("it has neither X-CSRF: 1 nor an allowed Origin nor Sec-Fetch-Site: same-origin")
	errNoHeader  = errors.New("it changes something and lacks X-CSRF: 1")
	errNoOrigin  = errors.New("it changes something and has neither an allowed Origin nor Sec-Fetch-Site: same-origin")
	errSocket    = errors.New("a WebSocket upgrade needs an allowed Origin")
)

// Check decides whether a request that uses the session came from a configured
// origin (RFC 10017 6.1.3.3, Fetch Metadata). Navigations are the caller's to judge:
// Check treats them as any other request. The error's text is for the log.
func (s *Site) Check(r *http.Request) error {
	header := r.Header.Get(csrfField) == "1"
	// A value that is unknown, as any repeated one is, neither proves nor refutes.
	fetchSite := strings.Join(r.Header.Values("Sec-Fetch-Site"), ",")
	allowed := false
	if values := r.Header.Values("Origin"); len(values) > 0 {
		if allowed = len(values) == 1 && s.allows(values[0]); !allowed {
			return errForeign
		}
	}
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	switch {
	case webSocket(r):
		if !allowed {
			return errSocket
		}
	case fetchSite == "cross-site" && !allowed:
		return errCrossSite
	case safe:
		if !header && !allowed && fetchSite != "same-origin" {
			return errNoProof
		}
	case !header:
		return errNoHeader
	case !allowed && fetchSite != "same-origin":
		return errNoOrigin
	}
	return nil
}

// webSocket reports whether r asks to become a WebSocket, among other things or not.
func webSocket(r *http.Request) bool {
	for protocol := range strings.SplitSeq(strings.Join(r.Header.Values("Upgrade"), ","), ",") {
		if name, _, _ := strings.Cut(protocol, "/"); strings.EqualFold(strings.TrimSpace(name), "websocket") {
			return true
		}
	}
	return false
}

// allows reports whether an Origin header is this site's own or an app's, letter by
// letter.
func (s *Site) allows(origin string) bool {
	_, app := s.policy.apps[origin]
	return app || origin == s.text
}

// CORS wraps next so that every answer to an app's origin can be read by it,
// errors included. Without SPA origins it is next itself: rs/cors reads an empty
// list as "allow all". Credentials are allowed, for exact origins only.
func (p *Policy) CORS(next http.Handler) http.Handler {
	if len(p.apps) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowOriginVaryRequestFunc: func(r *http.Request, origin string) (bool, []string) {
			_, ok := p.apps[origin]
			return ok && len(r.Header.Values("Origin")) == 1, nil // rs/cors would repeat all of them
		},
		AllowedMethods: []string{
			http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		},
		// Any header: with credentials browsers take * literally, so rs/cors repeats
		// the ones asked for. The origin is trusted, its headers are not a boundary.
		AllowedHeaders:   []string{"*"},
		ExposedHeaders:   []string{"X-Request-Id", "Location", "ETag", "Content-Disposition", "Retry-After", "WWW-Authenticate", "Link"},
		AllowCredentials: true,
		MaxAge:           600,
	}).Handler(next)
}
