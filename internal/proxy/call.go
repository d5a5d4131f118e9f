package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"genkan/internal/access"
	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/session"
)

// replayable is how large a body may be, in bytes, to be kept for a second attempt
// with a new token.
const replayable = 64 << 10

var (
	errTimeout = errors.New("no answer within the route's time-out")
	errStatus  = errors.New("the upstream's status is none of an answer (RFC 9110 15)")
)

// call is one request on its way to an upstream, and the answer on its way back.
type call struct {
	*Handler
	w        http.ResponseWriter // the browser's
	in       *http.Request       // as it arrived
	route    *Route
	caller   *access.Caller          // nil: nobody is known
	ctx      context.Context         // of this call alone
	breakOff context.CancelCauseFunc // ends it, both ways
	patience patience                // until the answer begins
	upload   *upload                 // the body, when it is streamed
	stream   stream                  // the answer, when it goes on for long
	trailer  http.Header             // of the request, as it goes out
}

func (h *Handler) forward(w http.ResponseWriter, r *http.Request, route *Route, caller *access.Caller) {
	c := &call{Handler: h, w: w, in: r, route: route, caller: caller}
	c.ctx, c.breakOff = context.WithCancelCause(r.Context())
	c.patience.call, c.stream.call = c, c
	defer c.leave()
	out := c.request()
	res, err := c.send(out)
	if err != nil {
		c.failed(err)
		return
	}
	defer res.Body.Close()
	if err := c.filter(res); err != nil {
		c.failed(err)
		return
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		c.tunnel(res)
		return
	}
	c.answer(res)
}

// leave is the end of the call, however it ends.
func (c *call) leave() {
	c.stream.leave()
	c.patience.stop()
	if c.upload != nil {
		_ = c.upload.Close() // the transport may read on for a while
		c.abandonUpload(linger)
	}
	c.breakOff(nil)
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

// live is the session that the call is made with, nil without one.
func (c *call) live() *session.Session {
	if c.caller == nil {
		return nil
	}
	return c.caller.Session
}

// request is the upstream's.
func (c *call) request() *http.Request {
	out := c.in.WithContext(c.ctx)
	out.URL, out.Host, out.RequestURI, out.Close = c.route.target(c.in.URL), "", "", false
	out.Header = c.inbound(c.in.Header)
	if c.trailer = c.announced(); c.trailer != nil {
		out.ContentLength = -1 // HTTP/1.1 has trailers only after chunks
	}
	out.Trailer = c.trailer
	c.setBody(out)
	if isWebSocket(c.in) { // any other upgrade (h2c) would be a tunnel past every check
		out.Header["Connection"], out.Header["Upgrade"] = upgrade, webSocket
	}
	site := origin.SiteOf(c.in)
	peer, _, _ := net.SplitHostPort(c.in.RemoteAddr)
	ours := [...]string{site.HostPort(), site.Scheme(), peer}
	out.Header["X-Forwarded-Host"], out.Header["X-Forwarded-Proto"] = ours[0:1:1], ours[1:2:2]
	if peer != "" {
		out.Header["X-Forwarded-For"] = ours[2:3:3]
	}
	if id := c.w.Header()[finding.RequestIDHeader]; len(id) > 0 {
		out.Header[finding.RequestIDHeader] = id
	}
	c.identify(out.Header)
	return out
}

// Values of headers of many calls, shared: they are replaced, never changed.
var upgrade, webSocket = []string{"Upgrade"}, []string{"websocket"}

// setBody bounds the body of a request: a small one is read now, so that it can be sent
// twice; a larger one is streamed and watched.
func (c *call) setBody(out *http.Request) {
	if c.in.ContentLength == 0 || c.in.Body == nil {
		out.Body = nil
		return
	}
	if c.in.ContentLength < 0 || c.in.ContentLength > replayable || len(c.in.Trailer) > 0 || !c.renews() {
		c.upload = &upload{body: c.in.Body, left: c.route.MaxBody, call: c}
		out.Body = c.upload
		return
	}
	control := http.NewResponseController(c.w)
	_ = control.SetReadDeadline(time.Now().Add(c.route.Timeout)) // not every test's writer has one
	data, err := io.ReadAll(c.in.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the browser broke off
	}
	_ = control.SetReadDeadline(time.Time{})
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	out.Body, _ = out.GetBody()
}

// identify sets the route's claim headers. A claim that does not fit into a header is
// left out, since a service must not read half of it.
func (c *call) identify(header http.Header) {
	if c.caller == nil {
		return
	}
	for name, claim := range c.route.Headers {
		header.Del(name)
		text, fits := access.HeaderText(c.caller.Identity, claim)
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

// isWebSocket asks for more than origin.Site.Check does, so that no upgrade escapes its
// Origin rule. A body could still be read when the connection has become a WebSocket.
func isWebSocket(r *http.Request) bool {
	asked := r.Header["Upgrade"]
	return len(asked) == 1 && strings.EqualFold(asked[0], "websocket") && r.Method == http.MethodGet && r.ContentLength == 0 &&
		listed(r.Header["Connection"], "upgrade")
}

// discard ends an answer nobody will read; a short one leaves the connection usable.
func discard(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10)
	_ = res.Body.Close()
}

// attempt is one exchange, given up when it stands still for the route's time-out
// before the response header is there.
func (c *call) attempt(req *http.Request) (*http.Response, error) {
	c.patience.begin()
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		c.patience.stop()
		if errors.Is(context.Cause(c.ctx), errTimeout) {
			err = errTimeout
		}
	}
	return res, err
}

// failed answers when there is no answer of the upstream. Addresses and causes are
// for the log.
func (c *call) failed(err error) {
	var network net.Error
	var full errNoPlace
	c.closeAfter()
	switch {
	case errors.As(err, &full):
		c.refuse(c.w, c.in, full.row, err)
	case c.upload != nil && c.upload.tooLarge():
		c.refuse(c.w, c.in, finding.BodyTooLarge, err)
	case errors.Is(err, errTimeout): // before the next: a read that is broken off ends the context
		c.refuse(c.w, c.in, finding.UpstreamTimeout, err)
	case errors.Is(err, errNonce): // as well: the transport stops reading a body that was answered
		c.refuse(c.w, c.in, finding.UpstreamNonce, err)
	case c.in.Context().Err() != nil || c.upload != nil && c.upload.broken():
		panic(http.ErrAbortHandler) // nobody is listening, or nobody who speaks HTTP
	case errors.Is(err, session.ErrExpired) || errors.Is(err, session.ErrNone) || errors.As(err, new(*errStepUp)) || credentialFailed(err):
		c.deny(c.w, c.in, err)
	case errors.As(err, &network) && network.Timeout():
		c.refuse(c.w, c.in, finding.UpstreamTimeout, err)
	default:
		c.refuse(c.w, c.in, finding.UpstreamUnavailable, err)
	}
}

// filter makes an upstream's answer fit for the app's origin.
func (c *call) filter(res *http.Response) error {
	if err := c.demandsStepUp(res); err != nil {
		return err
	}
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols && !c.switches(res):
		return errSwitch
	case res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols:
		return errStatus
	}
	cutOutbound(res.Header)
	if err := c.follow(res); err != nil || res.StatusCode == http.StatusSwitchingProtocols {
		return err
	}
	for _, name := range [...]string{"Location", "Content-Location"} {
		if len(res.Header[name]) == 0 {
			continue
		}
		if value := c.route.relocate(res.Header[name][0]); value != "" {
			res.Header[name] = []string{value}
			continue
		}
		delete(res.Header, name)
	}
	if len(res.Header["Content-Type"]) == 0 && res.ContentLength != 0 {
		res.Header.Set("Content-Type", "application/octet-stream") // else net/http would guess, perhaps HTML
	}
	keepPrivate(res.Header, c.route)
	return nil
}
