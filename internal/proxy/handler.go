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
// Informational answers (1xx) of an upstream are not forwarded: no browser shows them to an
// app. Trailers are, by the rules for headers.
package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"genkan/internal/access"
	"genkan/internal/credential"
	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
	"genkan/internal/telemetry"
)

// Config is a Handler's.
type Config struct {
	Routes   []Route
	Sessions *session.Manager // required as soon as one route's Auth is not AuthNone
	// Credentials is required as soon as one route's Token is TokenExchange, TokenClient or
	// TokenAssertion, Bearer as soon as one accepts AcceptBearer.
	Credentials *credential.Source
	Bearer      *access.Bearer
	// Refuse writes the answer of a call that goes no further; by default a problem
	// (RFC 9457) with row's own words. Retry-After of a 503 is its part, too.
	Refuse func(w http.ResponseWriter, r *http.Request, row finding.Row)
	// Transport replaces the HTTP transport in tests.
	Transport http.RoundTripper
	Metrics   *telemetry.Metrics // counts calls and streams; nil: nobody does
	Logger    *slog.Logger
}

// Handler serves the routes. origin.WithSite must have come before it.
type Handler struct {
	routes      []Route // the longest path first
	plain       bool    // no route's path has capitals
	sessions    *session.Manager
	credentials *credential.Source
	bearer      *access.Bearer
	transport   http.RoundTripper
	refusal     func(w http.ResponseWriter, r *http.Request, row finding.Row)
	log         *slog.Logger
	buffers     buffers
	metrics     *telemetry.Metrics
	calls       map[string]*telemetry.Calls // by Route.Path
	streams     streams
	nonces      rp.Nonces       // of upstreams, for tokens that are bound to a key
	identity    map[string]bool // folded names of all headers made from claims, of any route
	everyday    map[string]bool // whether they pass, by canonical name
	unfit       sync.Map        // header names whose claim could not be sent, logged once each
}

// New checks the routes and fills in their defaults. The error names the first route
// that cannot work; the configuration's own check is the one that explains.
func New(c Config) (*Handler, error) {
	h := &Handler{
		sessions: c.Sessions, credentials: c.Credentials, bearer: c.Bearer, transport: c.Transport, log: cmp.Or(c.Logger, slog.New(slog.DiscardHandler)),
		refusal: c.Refuse, metrics: c.Metrics, calls: map[string]*telemetry.Calls{}, identity: map[string]bool{}, plain: true,
	}
	if h.refusal == nil {
		h.refusal = func(w http.ResponseWriter, _ *http.Request, row finding.Row) {
			if row.Status == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", "5")
			}
			row.Problem("").Write(w)
		}
	}
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
		if err := c.serves(r); err != nil {
			return nil, fmt.Errorf("proxy: route %q: %w", r.Path, err)
		}
		seen[r.Path] = true
		h.calls[r.Path] = c.Metrics.Calls("upstream " + r.Path)
		for name := range r.Headers {
			h.identity[fold(name)] = true
		}
		h.routes = append(h.routes, r)
		h.plain = h.plain && r.lenient == r.Path
	}
	known := map[string]bool{}
	for _, name := range everyday {
		name = http.CanonicalHeaderKey(name)
		known[name] = h.passes(name)
	}
	h.everyday = known
	slices.SortFunc(h.routes, func(a, b Route) int { return len(b.Path) - len(a.Path) })
	return h, nil
}

// serves reports what a route needs and the Config has not.
func (c Config) serves(r Route) error {
	switch {
	case (r.Auth != AuthNone || r.Token == TokenClient) && c.Sessions == nil: // whose clock counts
		return errors.New("needs sessions")
	case (r.Token == TokenExchange || r.Token == TokenClient || r.Token == TokenAssertion) && c.Credentials == nil:
		return errors.New("needs a source of credentials")
	case r.accepts(AcceptBearer) && c.Bearer == nil:
		return errors.New("needs to know whose access tokens it accepts")
	}
	return nil
}

// Match reports whether some route's path covers r's. A path is also covered when
// only the route's last slash is missing: /api/orders is / of /api/orders/.
func (h *Handler) Match(r *http.Request) bool { return h.route(r.URL.Path) != nil }

// routeOf is the one route that every program would take r's path to belong to, nil for none.
func (h *Handler) routeOf(r *http.Request) (*Route, error) {
	if strings.ContainsAny(r.URL.RawQuery, " #") { // HTTP/2 has no line that a blank would end
		return nil, errQuery
	}
	route := h.route(r.URL.Path)
	if h.plain && plain(r.URL) {
		return route, nil
	}
	if err := ambiguous(r); err != nil {
		return nil, err
	}
	if route != h.lenientRoute(r.URL.Path) { // or ;x, or /Admin, would open what a longer route guards
		return nil, errRoute
	}
	return route, nil
}

// lenientRoute is the route that the least strict service would take path to belong to.
func (h *Handler) lenientRoute(path string) *Route {
	path = lenient(path)
	for i := range h.routes {
		if r := &h.routes[i]; covers(r.lenient, path) {
			return r
		}
	}
	return nil
}

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
	route, err := h.routeOf(r)
	switch {
	case err != nil:
		h.refuse(w, r, finding.PathRefused, err)
	case route == nil:
		h.refuse(w, r, finding.NotFound, nil)
	case !route.allows(r.Method):
		w.Header().Set("Allow", route.allowed())
		h.refuse(w, r, finding.MethodNotAllowed, nil)
	case !route.Navigate && !route.takesBearer(r) && (origin.Navigation(r) || r.Header.Get("Sec-Fetch-Mode") == "navigate"):
		h.refuse(w, r, finding.NavigationRefused, nil)
	case r.ContentLength > route.MaxBody:
		h.refuse(w, r, finding.BodyTooLarge, nil)
	case (route.Token != TokenNone || route.accepts(AcceptBearer)) && hasAccessToken(r.URL.RawQuery):
		h.refuse(w, r, finding.ParameterInvalid, errTwoTokens)
	default:
		telemetry.CountAs(w, h.calls[route.Path])
		caller, err := h.admit(r, route)
		if err != nil {
			h.deny(w, r, err)
			return
		}
		h.forward(w, r, route, caller)
	}
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

// buffers lends buffers to copy with.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() *[bufferSize]byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p
	}
	return new([bufferSize]byte)
}

func (b *buffers) Put(p *[bufferSize]byte) { b.pool.Put(p) }
