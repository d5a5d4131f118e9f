package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/telemetry"
)

// arrived has the router's handlers see only requests to a public URL.
func (s *Server) arrived(c *gin.Context) {
	if !s.arrive(c.Writer, c.Request) {
		c.Abort()
	}
}

// arrive reports whether a request was sent to a public URL, or answers that it was not
// (RFC 9110 15.5.20). A navigation to another spelling of the loopback address is
// sent to the canonical one before any cookie is set.
func (s *Server) arrive(w http.ResponseWriter, r *http.Request) bool {
	m := viaOf(r).astray
	if m == nil {
		return true
	}
	limitBoth(w, r)
	s.Logger.WarnContext(r.Context(), "request for a host that is not public",
		"finding", m.Row.Code, "host", cut(r.Host), "canonical", m.Canonical.String(), "fix", m.Row.Fix)
	target := r.URL.RequestURI()
	detail := "Open " + m.Canonical.String() + " instead."
	switch {
	case m.Redirect && origin.Navigation(r) && strings.HasPrefix(target, "/"): // an opaque one has no slash and could go on with @host
		w.Header().Set("Location", m.Canonical.String()+target)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case origin.Navigation(r):
		s.page(w, m.Row.Status, errorPage(m.Row, detail, w.Header().Get(finding.RequestIDHeader), link{"Go there", m.Canonical.String() + "/"}))
	default:
		m.Row.Problem(detail).Write(w)
	}
	return false
}

// counted counts answers by the endpoint's pattern; what is none is "other", unless an
// upstream says better. ready is to be called when all endpoints are known.
func (s *Server) counted(e *gin.Engine) (count gin.HandlerFunc, ready func()) {
	calls := map[string]*telemetry.Calls{"": s.Metrics.Calls("other")}
	count = func(c *gin.Context) {
		endpoint := c.FullPath()
		if endpoint == "" && s.asksByPath(c.Request) { // by a method that the router does not know
			endpoint = s.Policy.Prefix() + callPath
		}
		telemetry.CountAs(c.Writer, calls[endpoint])
	}
	return count, func() {
		for _, endpoint := range e.Routes() {
			calls[endpoint.Path] = s.Metrics.Calls(endpoint.Path)
		}
	}
}

// apiPolicy is the Content-Security-Policy of everything that is no page: nothing
// loads, nothing frames it, and opened as a document it is sandboxed.
const apiPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"

// secure sets the headers that every answer carries (ASVS 5.0 V3.4). Handlers of
// pages replace the Content-Security-Policy by their own.
func (s *Server) secure(next http.Handler) http.Handler {
	common := http.Header{
		"Content-Security-Policy":      {apiPolicy},
		"X-Content-Type-Options":       {"nosniff"},
		"Referrer-Policy":              {"same-origin"},
		"Cross-Origin-Opener-Policy":   {"same-origin"},
		"Cross-Origin-Resource-Policy": {"same-origin"},
	}
	if s.Policy.Canonical().Origin().Secure() {
		common["Strict-Transport-Security"] = []string{"max-age=31536000"}
	}
	vary := []string{"Sec-Fetch-Site, Sec-Fetch-Mode, Origin"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for name, value := range common {
			h[name] = value // shared: Set and Add make another one
		}
		h["Vary"] = append(h["Vary"], vary...)
		next.ServeHTTP(w, r)
	})
}

// noStore keeps Genkan's own answers out of every cache (ASVS 14.3.2).
func noStore(c *gin.Context) { c.Header("Cache-Control", "no-store") }

// checked lets a request use the session when it comes from a configured origin.
// A navigation of a safe method needs no proof: it changes nothing and no script of
// another site can read its answer.
func (s *Server) checked(c *gin.Context) {
	if origin.Navigation(c.Request) {
		return
	}
	if err := origin.SiteOf(c.Request).Check(c.Request); err != nil {
		s.fail(c, finding.CSRF, "", "reason", err, "origin", cut(c.GetHeader("Origin")), "sec_fetch_site", cut(c.GetHeader("Sec-Fetch-Site")))
	}
}

// cut bounds what a log line repeats of a request.
func cut(header string) string { return header[:min(len(header), 200)] }

// noPrefetch keeps a browser that asks ahead of a click from beginning or ending
// anything.
func noPrefetch(c *gin.Context) {
	if origin.Prefetch(c.Request) {
		c.AbortWithStatus(http.StatusNoContent)
	}
}

const (
	// bodyLimit is how long a request to Genkan itself may take to send its body.
	bodyLimit = 10 * time.Second
	// answerLimit is how long its answer may take, the provider's part included.
	answerLimit = 2 * time.Minute
)

// unlimit is for streams, which have limits of their own.
func unlimit(c *gin.Context) { deadlines(c.Writer, c.Request, time.Time{}, time.Time{}) }

// limit bounds the waits for a browser that stalls, which net/http does not: it reads
// a body that a handler left before it answers, and writes for as long as it takes.
func limit(c *gin.Context) { limitBoth(c.Writer, c.Request) }

func limitBoth(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	deadlines(w, r, now.Add(bodyLimit), now.Add(answerLimit))
}

func deadlines(w http.ResponseWriter, r *http.Request, body, answer time.Time) {
	control := http.NewResponseController(w) // its errors: not every test's writer has deadlines
	_ = control.SetWriteDeadline(answer)
	if r.ContentLength != 0 {
		_ = control.SetReadDeadline(body)
	}
}

// detachedLimit bounds a sign-out in all.
const detachedLimit = 10 * time.Second

// detached lets a sign-out that has begun go on when the browser hangs up: people
// close the window behind them.
func detached(c *gin.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), detachedLimit)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	c.Next()
}
