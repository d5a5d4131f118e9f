package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/origin"
)

// resolveSite finds the public URL a request was sent to, or refuses it
// (RFC 9110 15.5.20). A navigation to another spelling of the loopback address is
// sent to the canonical one before any cookie is set.
func (s *Server) resolveSite(c *gin.Context) {
	site, err := s.Policy.Site(origin.Arrival{Host: c.Request.Host, Scheme: scheme(c.Request)})
	if err == nil {
		c.Request = origin.WithSite(c.Request, site)
		return
	}
	var m *origin.Misdirected
	errors.As(err, &m) // Site has no other error
	s.Logger.WarnContext(c.Request.Context(), "request for a host that is not public",
		"finding", m.Row.Code, "host", cut(c.Request.Host), "canonical", m.Canonical.String(), "fix", m.Row.Fix)
	target := c.Request.URL.RequestURI()
	if m.Redirect && origin.Navigation(c.Request) && strings.HasPrefix(target, "/") { // an opaque one has no slash and could go on with @host
		redirect(c, http.StatusTemporaryRedirect, m.Canonical.String()+target)
		return
	}
	c.Abort()
	detail := "Open " + m.Canonical.String() + " instead."
	if origin.Navigation(c.Request) {
		s.page(c.Writer, m.Row.Status, errorPage(m.Row, detail, c.Writer.Header().Get(finding.RequestIDHeader), link{"Go there", m.Canonical.String() + "/"}))
		return
	}
	m.Row.Problem(detail).Write(c.Writer)
}

// apiPolicy is the Content-Security-Policy of everything that is no page: nothing
// loads, nothing frames it, and opened as a document it is sandboxed.
const apiPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"

// secure sets the headers that every answer carries (ASVS 5.0 V3.4). Handlers of
// pages replace the Content-Security-Policy by their own.
func (s *Server) secure(next http.Handler) http.Handler {
	https := s.Policy.Canonical().Origin().Secure()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", apiPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Add("Vary", "Sec-Fetch-Site, Sec-Fetch-Mode, Origin")
		if https {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
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

// limit bounds the waits for a browser that stalls, which net/http does not: it reads
// a body that a handler left before it answers, and writes for as long as it takes.
func limit(c *gin.Context) {
	deadlines(c.Writer, c.Request, time.Now().Add(bodyLimit), time.Now().Add(answerLimit))
}

// unlimit is for uploads and streams, which have limits of their own.
func unlimit(c *gin.Context) { deadlines(c.Writer, c.Request, time.Time{}, time.Time{}) }

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
