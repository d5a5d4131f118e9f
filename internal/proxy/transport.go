package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxUpload bounds one upload however slowly it keeps coming.
const maxUpload = 10 * time.Minute

// newTransport is the one transport of all routes. HTTP_PROXY and its kin are not
// read: upstreams are named one by one, and their tokens go nowhere else. Redirects
// are answers like others, and bodies pass as they are.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           512,
		MaxIdleConnsPerHost:    128, // the default of 2 would dial anew under any load
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		// A connection that swallows everything would get every later call as well.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// patience gives a call up when nothing has moved for the route's time-out before the
// answer, and has an answer that goes on for long looked after: to set its timer anew costs
// less than another one would.
type patience struct {
	call  *call
	mu    sync.Mutex
	timer *time.Timer
	end   time.Time // of any upload
	over  bool      // the answer is there, or there will be none
	long  bool      // the timer is for the answer
}

// begin is the start of an attempt.
func (p *patience) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over, p.end = false, time.Now().Add(maxUpload)
	if p.timer == nil {
		p.timer = time.AfterFunc(p.call.route.Timeout, p.fire)
		return
	}
	p.timer.Reset(p.call.route.Timeout)
}

func (p *patience) fire() {
	p.mu.Lock()
	over, long := p.over, p.long
	p.mu.Unlock()
	switch {
	case long:
		p.call.stream.join(p.call.stream.breakOff)
	case !over:
		p.call.breakOff(errTimeout)
		p.call.stream.untilGone(func() { p.call.abandonUpload(0) }) // the transport does not return while it reads the body
	}
}

// moved starts the wait anew, unless it is over.
func (p *patience) moved() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.timer.Reset(min(p.call.route.Timeout, time.Until(p.end)))
	}
}

// stop is for an answer that is looked after otherwise, and the end of the call.
func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

// answered is called when there is an answer.
func (p *patience) answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over, p.long = true, true
	p.timer.Reset(longAfter)
}

var errTooLarge = errors.New("the body is larger than the route takes")

// upload is a body on its way: bounded, and a sign of life while it moves. The
// transport may still read it when the call has failed.
type upload struct {
	body io.Reader
	call *call
	mu   sync.Mutex
	left int64 // below 0: too large
	err  error // of the last read
	over bool  // nothing more is read
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	room, over := max(u.left, 0)+1, u.over // one byte more tells too large from just fitting
	u.mu.Unlock()
	if over {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := u.body.Read(p[:min(int64(len(p)), room)])
	u.call.patience.moved()
	u.call.stream.quiet.Store(0)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err = err; err == io.EOF {
		u.call.fillTrailer()
	}
	if u.left -= int64(n); u.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

func (u *upload) tooLarge() bool { u.mu.Lock(); defer u.mu.Unlock(); return u.left < 0 }

func (u *upload) ended() bool { u.mu.Lock(); defer u.mu.Unlock(); return u.err == io.EOF }

func (u *upload) broken() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err != nil && u.err != io.EOF
}

// Close ends the reading. It leaves the body to net/http: to close it would wait for a read
// under way, and for a browser that stands still.
func (u *upload) Close() error { u.mu.Lock(); defer u.mu.Unlock(); u.over = true; return nil }
