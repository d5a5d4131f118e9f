// Package server is Genkan's HTTP face: sign-in and its callback, the session
// endpoints, sign-out, the app's files, health and administration.
//
// It owns the order of the middlewares and what a browser is shown; it decides
// nothing about origins (package origin), tokens (rp) or sessions (session).
// Everything that arrives is hostile: bodies are bounded, the Host header only
// selects among configured URLs, and only navigations get pages or redirects.
package server

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
	"genkan/internal/telemetry"
)

// Config is a Server's. Policy, Sessions and Ring are required.
type Config struct {
	Policy    *origin.Policy
	Sessions  *session.Manager
	Ring      *keys.Ring
	Providers []*rp.Client // the first is the default
	// AssertionKeys are published beside those of Providers; nil: there are none.
	AssertionKeys  func() []*keys.Signer
	SPA            fs.FS          // nil: no files are served
	TrustedProxies []netip.Prefix // whose forwarding headers count
	// AdminToken opens /admin/ of the admin listener; without one only this machine may.
	AdminToken keys.Secret
	Now        func() time.Time
	// Random returns a number from 0 to n-1, by which browsers come back at different
	// instants; math/rand's by default.
	Random  func(n int) int
	Logger  *slog.Logger
	Metrics *telemetry.Metrics // nil: nothing is counted
}

// Server answers browsers. All it keeps between requests is how many streams of events
// and calls of providers are open, how often each address signed in of late, and how much
// was logged of refused calls.
type Server struct {
	Config
	spa     *spa
	streams *streams

	signIns, callbacks, frames *limiter

	// What providers call is open to everybody until its token is verified. Where that needs
	// a provider's keys, each client has a gate: the slow keys of one close it for no other.
	backchannelGates, revocationGates gates
	frontchannelGate                  gate
	complaints                        complaints
}

// New makes a Server. The error is a fault of SPA, or of the private keys of Providers.
func New(c Config) (*Server, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.IntN
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	s := &Server{
		Config: c, streams: newStreams(),
		signIns: newLimiter(signInInterval, signInBurst), callbacks: newLimiter(signInInterval, signInBurst), frames: newLimiter(frameInterval, frameBurst),
		backchannelGates: newGates(c.Providers), revocationGates: newGates(c.Providers), frontchannelGate: newGate(),
	}
	if _, err := s.publicKeys(); err != nil {
		return nil, err
	}
	if c.SPA != nil {
		files, err := newSPA(c.SPA)
		if err != nil {
			return nil, err
		}
		s.spa = files
	}
	return s, nil
}

// Handler is the public listener's. From the outside in: what trusted proxies say, log,
// CORS (so that every answer below carries its headers, panics included), recovery,
// security headers, host check, routes. upstreams may be nil.
func (s *Server) Handler(upstreams Upstreams) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.RedirectTrailingSlash, e.HandleMethodNotAllowed = false, true
	counted, ready := s.counted(e)
	e.Use(counted, limit, s.arrived)

	bff := e.Group(s.Policy.Prefix(), noStore)
	bff.GET("/login", noPrefetch, s.login)
	bff.POST("/login", s.login)
	bff.GET("/callback", noPrefetch, s.callback)
	bff.POST("/callback", s.callback)
	bff.GET("/session", s.checked, s.showSession)
	bff.GET("/user", s.checked, s.showUser)
	bff.POST("/refresh", s.checked, s.refresh)
	bff.GET("/sessions", s.checked, s.listSessions)
	bff.DELETE("/sessions", s.checked, detached, s.endOthers)
	bff.DELETE("/sessions/:id", s.checked, detached, s.endSession)
	bff.GET("/events", s.checked, s.events)
	bff.GET("/auth", s.auth)
	bff.Any(callPath, s.auth) // and noMethod
	bff.POST("/logout", s.checked, detached, s.logout)
	bff.GET("/logout", noPrefetch, detached, s.logoutPage)
	bff.GET("/logout/callback", s.logoutCallback)
	bff.POST("/backchannel", detached, s.backchannel)
	bff.GET("/frontchannel", noPrefetch, detached, s.frontchannel)
	bff.POST("/global-token-revocation", detached, s.revokeAll)
	e.GET(s.Policy.Prefix()+"/assets/:name", s.asset)
	e.GET(jwksPath, s.showKeys)
	ready()
	e.NoRoute(s.fallback)
	e.NoMethod(s.noMethod)

	h := s.secure(s.dispatch(e, upstreams))
	h = telemetry.Recover(s.Logger, func(w http.ResponseWriter, _ *http.Request) { finding.Internal.Problem("").Write(w) })(h)
	h = s.Policy.CORS(h)
	return s.forward(telemetry.AccessLog(s.Logger, s.Now)(h))
}

// fallback serves what is no endpoint of Genkan and no upstream: a file of the app. It has
// no part in what lies under the prefix.
func (s *Server) fallback(c *gin.Context) {
	if s.ownPath(c.Request.URL.Path) || s.spa == nil || !s.spa.serve(c.Writer, c.Request) {
		s.fail(c, finding.NotFound, "")
	}
	c.Abort()
}

// noMethod answers for a method that no endpoint of the path has. Envoy asks by the method
// of the call, and apps have more of them than a router knows (WebDAV).
func (s *Server) noMethod(c *gin.Context) {
	if !s.asksByPath(c.Request) {
		s.fail(c, finding.MethodNotAllowed, "")
		return
	}
	c.Writer.Header().Del("Allow") // the router's
	noStore(c)
	s.auth(c)
}

// returnKey is where handlers leave a checked return URL for "try again".
const returnKey = "return_url"

// fail answers with row: a page for a page load, a problem for a program; and logs it
// with attrs. detail replaces the row's cause and may reach the browser.
func (s *Server) fail(c *gin.Context, row finding.Row, detail string, attrs ...any) {
	c.Abort()
	if row.Status >= http.StatusInternalServerError && errors.Is(c.Request.Context().Err(), context.Canceled) {
		panic(http.ErrAbortHandler) // nothing failed: the browser left, and nobody is there to answer
	}
	s.Logger.Log(c.Request.Context(), level(row), "request refused", append([]any{"finding", row.Code, "problem", row.Name}, attrs...)...)
	next := s.toApp(c.Request)
	if strings.HasPrefix(c.FullPath(), s.Policy.Prefix()+"/") { // of sign-in and sign-out themselves
		next = link{"Try again", s.loginPath(c.GetString(returnKey))}
	}
	s.answer(c.Writer, c.Request, row, detail, next)
}

// Refuse answers for a call to an upstream that goes no further, as fail does.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, row finding.Row) {
	s.answer(w, r, row, "", s.toApp(r))
}

// retryAfter is when to come back after an outage, in seconds: whoever was turned away
// at one instant is not to return at one.
func (s *Server) retryAfter() string { return strconv.Itoa(1 + s.Random(5)) }

// answer is a page for a page load and a problem for a program.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, row finding.Row, detail string, next link) {
	if row.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", s.retryAfter())
	}
	if pageLoad(r) {
		s.page(w, row.Status, errorPage(row, detail, w.Header().Get(finding.RequestIDHeader), next))
		return
	}
	p := row.Problem(detail)
	if row.Status == http.StatusUnauthorized {
		p.LoginURL = origin.SiteOf(r).URL("/login")
	}
	p.Write(w)
}

// toApp leads to the start of the browser app.
func (s *Server) toApp(r *http.Request) link {
	home, _ := origin.SiteOf(r).Return("") // the empty one is always good
	return link{"Go to the app", home}
}

// pageLoad reports whether a person looks at the answer: a navigation, or the POST
// of form_post.
func pageLoad(r *http.Request) bool {
	return origin.Navigation(r) || r.Header.Get("Sec-Fetch-Mode") == "navigate" ||
		(r.Header.Get("Sec-Fetch-Mode") == "" && strings.Contains(r.Header.Get("Accept"), "text/html"))
}

// level is how much a refusal matters to the operator. Every mistyped address would be
// a warning else.
func level(row finding.Row) slog.Level {
	switch {
	case row.Status >= http.StatusInternalServerError:
		return slog.LevelError
	case row.Status == http.StatusNotFound || row.Status == http.StatusMethodNotAllowed:
		return slog.LevelDebug
	case row.Severity == finding.Info:
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// redirect sends the browser to location as it stands. net/http's own Redirect would
// clean the path, with its fragment, and repeat the address, which may hold an ID
// token, in a body.
func redirect(c *gin.Context, status int, location string) {
	c.Header("Location", location)
	c.AbortWithStatus(status)
}
