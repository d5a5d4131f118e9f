package proxy

import (
	"errors"
	"io"
	"net/http"

	"genkan/internal/telemetry"
)

const (
	// apiPolicy keeps an answer opened as a document from doing anything (ASVS 3.2.1).
	apiPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
	// pagePolicy is for pages and downloads of a Navigate route that bring no policy.
	pagePolicy = "frame-ancestors 'self'"
)

// Values of every answer's headers, shared: they are replaced, never changed.
var (
	apiPolicies = []string{apiPolicy}
	nosniff     = []string{"nosniff"}
)

// answer sends the upstream's answer to the browser. Its header joins what the middlewares
// before have set: theirs win.
func (c *call) answer(res *http.Response) {
	ours := c.w.Header()
	c.settlePolicy(ours, res.Header)
	for name, values := range res.Header {
		switch _, taken := ours[name]; {
		case name == "Vary":
			ours[name] = append(ours[name], values...)
		case !taken:
			ours[name] = values
		}
	}
	ours["X-Content-Type-Options"] = nosniff
	c.announce(ours, res.Trailer)
	c.closeAfter()
	c.w.WriteHeader(res.StatusCode)
	if err := c.copyBody(res); err != nil {
		panic(http.ErrAbortHandler) // or the browser would take it for whole
	}
	_ = res.Body.Close() // now, for its trailers
	c.trail(ours, res.Trailer)
}

// copyBody sends the body on.
func (c *call) copyBody(res *http.Response) error {
	buffer := c.buffers.Get()
	if err := c.copyWith(buffer[:], res); err != nil { // a write that has failed may still hold the buffer
		return err
	}
	c.buffers.Put(buffer)
	return nil
}

// copyWith sends the body on. Events, and what has no length, are sent on as they come.
func (c *call) copyWith(buffer []byte, res *http.Response) error {
	flush := func() error { return nil }
	if res.ContentLength < 0 || c.stream.kind == telemetry.StreamEvents {
		flush = http.NewResponseController(c.w).Flush
	}
	if err := flush(); err != nil {
		return err
	}
	_, saysBye := res.Body.(*feed)
	for {
		n, failed := res.Body.Read(buffer)
		c.stream.quiet.Store(0)
		if !saysBye && c.stream.over.Load() != nil {
			return errBrokenOff
		}
		if n > 0 {
			if _, err := c.w.Write(buffer[:n]); err != nil {
				return err
			}
			if err := flush(); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(failed, io.EOF):
			return nil
		case failed == nil:
		case errors.Is(failed, errBrokenOff) || c.ctx.Err() != nil:
			return failed
		default:
			c.log.WarnContext(c.in.Context(), "an upstream broke its answer off", "route", c.route.Path, "reason", failed)
			return failed
		}
	}
}

// settlePolicy decides which security headers of a page count. On a Navigate route
// the page is the service's own and so are its policies; anywhere else no answer may
// act as a page.
func (c *call) settlePolicy(ours, theirs http.Header) {
	if !c.route.Navigate {
		delete(theirs, "Content-Security-Policy-Report-Only")
		ours["Content-Security-Policy"] = apiPolicies
		return
	}
	if theirs.Get("Content-Security-Policy") == "" {
		theirs.Set("Content-Security-Policy", pagePolicy)
	}
	for _, name := range [...]string{
		"Content-Security-Policy", "Referrer-Policy", "Permissions-Policy", "X-Frame-Options",
		"Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy", "Cross-Origin-Resource-Policy",
	} {
		if len(theirs[name]) > 0 {
			delete(ours, name)
		}
	}
}
