// Package proxy takes the browser app's calls to the services behind Genkan: it
// decides which route a path belongs to, whether the call may use the session, and
// exactly which headers cross in either direction.
//
// It owns the upstream side of RFC 10017 6.1: cookies stop here, access tokens start
// here. It starts no session and shows no page. What arrives from the browser is
// hostile (RFC 10017 6.1.3.6: a path or header must not reach another destination or
// speak for another user), and what a service answers is not trusted with the app's
// origin: it can set no cookie, open no CORS and run no HTML there.
//
// A request's trailers are not forwarded, and neither are informational answers
// (1xx) and trailers of an upstream: no browser shows them to an app.
package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// Config is a Handler's.
type Config struct {
	Routes   []Route
	Sessions *session.Manager // required as soon as one route's Auth is not AuthNone
	// Refuse writes the answer of a call that goes no further; by default a problem
	// (RFC 9457) with row's own words. Retry-After of a 503 is its part, too.
	Refuse func(w http.ResponseWriter, r *http.Request, row finding.Row)
	// Transport replaces the HTTP transport in tests.
	Transport http.RoundTripper
	Logger    *slog.Logger
}

// Handler serves the routes. origin.WithSite must have come before it.
type Handler struct {
	routes    []Route // the longest path first
	sessions  *session.Manager
	transport http.RoundTripper
	answer    func(w http.ResponseWriter, r *http.Request, row finding.Row)
	log       *slog.Logger
	errorLog  *log.Logger
	buffers   buffers
	nonces    rp.Nonces       // of upstreams, for tokens that are bound to a key
	identity  map[string]bool // folded names of all headers made from claims, of any route
	unfit     sync.Map        // header names whose claim could not be sent, logged once each
}

// New checks the routes and fills in their defaults. The error names the first route
// that cannot work; the configuration's own check is the one that explains.
func New(c Config) (*Handler, error) {
	h := &Handler{
		sessions: c.Sessions, transport: c.Transport, log: cmp.Or(c.Logger, slog.New(slog.DiscardHandler)),
		answer: c.Refuse, identity: map[string]bool{},
	}
	if h.answer == nil {
		h.answer = func(w http.ResponseWriter, _ *http.Request, row finding.Row) {
			if row.Status == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", "5")
			}
			row.Problem("").Write(w)
		}
	}
	h.errorLog = slog.NewLogLogger(h.log.Handler(), slog.LevelWarn)
	if h.transport == nil {
		h.transport = newTransport()
	}
	seen := map[string]bool{}
	for _, r := range c.Routes {
		r = r.withDefaults()
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("proxy: route %q: %w", r.Path, err)
		}
		if seen[r.Path] {
			return nil, fmt.Errorf("proxy: route %q: listed twice", r.Path)
		}
		if r.Auth != AuthNone && c.Sessions == nil {
			return nil, fmt.Errorf("proxy: route %q: needs sessions", r.Path)
		}
		seen[r.Path] = true
		for name := range r.Headers {
			h.identity[fold(name)] = true
		}
		h.routes = append(h.routes, r)
	}
	slices.SortFunc(h.routes, func(a, b Route) int { return len(b.Path) - len(a.Path) })
	return h, nil
}

// Match reports whether some route's path covers r's. A path is also covered when
// only the route's last slash is missing: /api/orders is / of /api/orders/.
func (h *Handler) Match(r *http.Request) bool { return h.route(r.URL.Path) != nil }

func (h *Handler) route(path string) *Route {
	for i := range h.routes {
		if h.routes[i].covers(path) {
			return &h.routes[i]
		}
	}
	return nil
}

// ServeHTTP forwards r, or refuses it with a problem.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := ambiguous(r); err != nil {
		h.refuse(w, r, finding.PathRefused, err)
		return
	}
	route := h.route(r.URL.Path)
	switch {
	case route != h.route(withoutParameters(r.URL.Path)): // or ;x would open what a longer route guards
		h.refuse(w, r, finding.PathRefused, errRoute)
	case route == nil:
		h.refuse(w, r, finding.NotFound, nil)
	case !route.allows(r.Method):
		w.Header().Set("Allow", route.allowed())
		h.refuse(w, r, finding.MethodNotAllowed, nil)
	case !route.Navigate && (origin.Navigation(r) || r.Header.Get("Sec-Fetch-Mode") == "navigate"):
		h.refuse(w, r, finding.NavigationRefused, nil)
	case r.ContentLength > route.MaxBody:
		h.refuse(w, r, finding.BodyTooLarge, nil)
	case route.Token == TokenRelay && hasAccessToken(r.URL.RawQuery):
		h.refuse(w, r, finding.ParameterInvalid, errTwoTokens)
	default:
		s, err := h.admit(r, route)
		if err != nil {
			h.deny(w, r, err)
			return
		}
		h.forward(w, r, route, s)
	}
}

var (
	errTwoTokens = errors.New("access_token in the query beside the session's own (RFC 6750 2)")
	// errCSRF marks what origin.Site.Check said.
	errCSRF = errors.New("not proven to come from the app")
)

// admit finds the session that the call may use, with a token that has not expired
// where one is relayed. Without one on an optional or public route it returns nil.
func (h *Handler) admit(r *http.Request, route *Route) (*session.Session, error) {
	if route.Auth == AuthNone {
		return nil, nil
	}
	if !route.Navigate || !origin.Navigation(r) {
		if err := origin.SiteOf(r).Check(r); err != nil {
			return nil, fmt.Errorf("%w: %w", errCSRF, err)
		}
	}
	s, err := h.sessions.Load(r)
	if err == nil {
		h.sessions.Active(r.Context(), s)
		if route.Token == TokenRelay {
			s, err = h.sessions.Fresh(r.Context(), s)
		}
	}
	if route.Auth == AuthOptional && (errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrExpired)) {
		return nil, nil
	}
	return s, err
}

// deny answers what admit or a renewal in the middle of a call said.
func (h *Handler) deny(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // nobody is listening; say nothing that looks like an answer
	case errors.Is(err, errCSRF):
		h.refuse(w, r, finding.CSRF, err)
	case errors.Is(err, session.ErrNone):
		h.signIn(w, r, finding.Unauthenticated)
	case errors.Is(err, session.ErrExpired):
		if err := h.sessions.End(w, r, session.Expired); err != nil {
			h.log.WarnContext(r.Context(), "a session that is over was not deleted", "error", err)
		}
		h.signIn(w, r, finding.SessionExpired)
	case errors.Is(err, session.ErrProvider):
		h.refuse(w, r, finding.ProviderUnavailable, err)
	case errors.Is(err, session.ErrStore) || errors.Is(err, session.ErrConflict):
		h.refuse(w, r, finding.StoreUnavailable, err)
	default:
		h.refuse(w, r, finding.Internal, err)
	}
}

// signIn tells a program where to sign in, and sends a person there. Only routes
// with Navigate let page loads come this far.
func (h *Handler) signIn(w http.ResponseWriter, r *http.Request, row finding.Row) {
	site := origin.SiteOf(r)
	if origin.Navigation(r) && !origin.Prefetch(r) {
		back := site.Origin().String() + r.URL.RequestURI()
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, site.URL("/login")+"?returnUrl="+url.QueryEscape(back), http.StatusFound)
		return
	}
	p := row.Problem("")
	p.LoginURL = site.URL("/login")
	p.Write(w)
}

// refuse answers with row's own words; cause is for the log.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, row finding.Row, cause error) {
	level := slog.LevelWarn
	if row.Status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	h.log.Log(r.Context(), level, "call refused", "finding", row.Code, "reason", cause, "path", r.URL.EscapedPath(),
		"origin", r.Header.Get("Origin"), "sec_fetch_site", r.Header.Get("Sec-Fetch-Site"))
	h.answer(w, r, row)
}

// hasAccessToken finds the query parameter of RFC 6750 2.3, also where a service
// takes ; for a separator or is not strict about escapes.
func hasAccessToken(query string) bool {
	for part := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if strings.EqualFold(strings.TrimSpace(name), "access_token") {
			return true
		}
	}
	return false
}

// buffers lends the reverse proxy its copy buffers.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
