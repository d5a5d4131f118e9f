package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/session"
)

// replayable is how large a body may be, in bytes, to be kept for a second attempt
// with a new token.
const replayable = 64 << 10

var errTimeout = errors.New("no answer within the route's time-out")

// call is one request on its way to an upstream: the reverse proxy's hooks.
type call struct {
	*Handler
	w        http.ResponseWriter // the browser's
	in       *http.Request       // as it arrived
	route    *Route
	session  *session.Session // nil: none
	patience *patience        // of the attempt under way
	upload   *upload          // the body, when it is streamed
	ctx      context.Context  // of this call alone
	end      func()           // breaks the call off, both ways
}

func (h *Handler) forward(w http.ResponseWriter, r *http.Request, route *Route, s *session.Session) {
	ctx, end := context.WithCancel(r.Context())
	defer end()
	c := &call{Handler: h, w: w, in: r, route: route, session: s, ctx: ctx, end: end}
	proxy := httputil.ReverseProxy{
		Rewrite: c.rewrite, Transport: c, ModifyResponse: c.filter, ErrorHandler: c.failed,
		BufferPool: &h.buffers, ErrorLog: h.errorLog,
	}
	defer c.abandonUpload(linger)
	proxy.ServeHTTP(&answer{ResponseWriter: w, header: http.Header{}, navigate: route.Navigate, begin: c.closeAfter}, c.withBody(r.WithContext(ctx)))
}

// closeAfter is called before the answer. net/http would first read on in a body
// that nobody wants any more, and wait for a browser that has stalled.
func (c *call) closeAfter() {
	if c.upload != nil && !c.upload.ended() && c.in.ProtoMajor == 1 {
		c.w.Header().Set("Connection", "close")
	}
}

// linger is how long net/http may still read such a body after the answer: cut off
// at once, a browser that is busy sending would never see it.
const linger = time.Second

// abandonUpload ends the reading of a body that is still coming.
func (c *call) abandonUpload(within time.Duration) {
	if c.upload != nil && !c.upload.ended() {
		_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(within))
	}
}

// relays reports whether the session's token goes along.
func (c *call) relays() bool { return c.session != nil && c.route.Token == TokenRelay }

// withBody bounds the body of r, which is the caller's own copy: a small one is read
// now, so that it can be sent twice; a larger one is streamed and watched.
func (c *call) withBody(r *http.Request) *http.Request {
	if r.ContentLength == 0 || r.Body == nil {
		return r
	}
	if r.ContentLength < 0 || r.ContentLength > replayable || !c.relays() {
		c.upload = &upload{body: r.Body, left: c.route.MaxBody, call: c}
		r.Body = c.upload
		return r
	}
	control := http.NewResponseController(c.w)
	_ = control.SetReadDeadline(time.Now().Add(c.route.Timeout)) // not every test's writer has one
	data, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the browser broke off
	}
	_ = control.SetReadDeadline(time.Time{})
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	r.Body, _ = r.GetBody()
	return r
}

// rewrite makes the upstream's request.
func (c *call) rewrite(p *httputil.ProxyRequest) {
	out, site := p.Out, origin.SiteOf(c.in)
	out.URL, out.Host, out.Trailer = c.route.target(c.in.URL), "", nil
	c.cutInbound(out.Header, c.route)
	if !isWebSocket(c.in) { // any other upgrade (h2c) would be a tunnel past every check
		out.Header.Del("Connection")
		out.Header.Del("Upgrade")
	}
	scheme, host, _ := strings.Cut(site.Origin().String(), "://")
	out.Header.Set("X-Forwarded-Host", host)
	out.Header.Set("X-Forwarded-Proto", scheme)
	if peer, _, err := net.SplitHostPort(c.in.RemoteAddr); err == nil {
		out.Header.Set("X-Forwarded-For", peer)
	}
	if id := c.w.Header().Get(finding.RequestIDHeader); id != "" {
		out.Header.Set(finding.RequestIDHeader, id)
	}
	if c.session != nil {
		c.identify(out.Header)
	}
}

// identify sets the route's claim headers. A claim that does not fit into a header is
// left out, since a service must not read half of it.
func (c *call) identify(header http.Header) {
	for name, claim := range c.route.Headers {
		text, fits := claimText(c.session.Grant.Identity, claim)
		if fits {
			if text != "" {
				header.Set(name, text)
			}
			continue
		}
		if _, known := c.unfit.LoadOrStore(name, true); !known {
			c.log.WarnContext(c.in.Context(), "a claim does not fit into a header and is left out; logged once",
				"route", c.route.Path, "header", name, "claim", claim)
		}
	}
}

// isWebSocket uses origin.Site.Check's own words, so that no upgrade escapes its
// Origin rule.
func isWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// discard ends an answer nobody will read; a short one leaves the connection usable.
func discard(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10)
	_ = res.Body.Close()
}

// attempt is one exchange, given up when it stands still for the route's time-out
// before the response header is there.
func (c *call) attempt(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context()) // ends with the request
	c.patience = newPatience(c.route.Timeout, func() {
		cancel(errTimeout)
		c.abandonUpload(0) // the transport does not return while it reads the body
	})
	res, err := c.transport.RoundTrip(req.WithContext(ctx))
	c.patience.stop()
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		err = errTimeout
	}
	return res, err
}

// failed answers when there is no answer of the upstream. Addresses and causes are
// for the log.
func (c *call) failed(_ http.ResponseWriter, _ *http.Request, err error) {
	var network net.Error
	c.closeAfter()
	switch {
	case c.upload != nil && c.upload.tooLarge():
		c.refuse(c.w, c.in, finding.BodyTooLarge, err)
	case errors.Is(err, errTimeout): // before the next: a read that is broken off ends the context
		c.refuse(c.w, c.in, finding.UpstreamTimeout, err)
	case errors.Is(err, errNonce): // as well: the transport stops reading a body that was answered
		c.refuse(c.w, c.in, finding.UpstreamNonce, err)
	case c.in.Context().Err() != nil || c.upload != nil && c.upload.broken():
		panic(http.ErrAbortHandler) // nobody is listening, or nobody who speaks HTTP
	case errors.Is(err, session.ErrExpired) || errors.Is(err, session.ErrNone):
		c.deny(c.w, c.in, err)
	case errors.As(err, &network) && network.Timeout():
		c.refuse(c.w, c.in, finding.UpstreamTimeout, err)
	default:
		c.refuse(c.w, c.in, finding.UpstreamUnavailable, err)
	}
}

// outlives reports whether an answer goes on for as long as both sides like.
func outlives(res *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return res.StatusCode == http.StatusSwitchingProtocols || kind == "text/event-stream"
}

// endWithSession breaks the call off when its session ends, on whatever replica: what goes on
// under a session does not go on without it. It returns when the call is over.
func (c *call) endWithSession() {
	for e := range c.sessions.Watch(c.ctx, c.session) {
		if e.Kind == session.EventEnded {
			c.log.InfoContext(c.ctx, "stream ended with its session", "session", c.session.ID, "reason", string(e.Reason), "route", c.route.Path)
			c.end()
		}
	}
}

// filter makes an upstream's answer fit for the app's origin.
func (c *call) filter(res *http.Response) error {
	cutOutbound(res.Header)
	if c.session != nil && outlives(res) {
		go c.endWithSession()
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	for _, name := range []string{"Location", "Content-Location"} {
		if value := c.route.relocate(res.Header.Get(name)); value != "" {
			res.Header.Set(name, value)
			continue
		}
		res.Header.Del(name)
	}
	if len(res.Header["Content-Type"]) == 0 && res.ContentLength != 0 {
		res.Header.Set("Content-Type", "application/octet-stream") // else net/http would guess, perhaps HTML
	}
	keepPrivate(res.Header, c.route.Auth != AuthNone)
	return nil
}
