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
	}
}

// patience calls giveUp when nothing has moved for limit.
type patience struct {
	limit time.Duration
	end   time.Time // of any upload
	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

func newPatience(limit time.Duration, giveUp func()) *patience {
	return &patience{limit: limit, end: time.Now().Add(maxUpload), timer: time.AfterFunc(limit, giveUp)}
}

// moved starts the wait anew, unless it is over.
func (p *patience) moved() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.timer.Reset(min(p.limit, time.Until(p.end)))
	}
}

func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
}

var errTooLarge = errors.New("the body is larger than the route takes")

// upload is a body on its way: bounded, and a sign of life while it moves. The
// transport may still read it when the call has failed.
type upload struct {
	body io.ReadCloser
	call *call
	mu   sync.Mutex
	left int64 // below 0: too large
	err  error // of the last read
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	room := max(u.left, 0) + 1 // one byte more tells too large from just fitting
	u.mu.Unlock()
	n, err := u.body.Read(p[:min(int64(len(p)), room)])
	u.call.patience.moved()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.err = err
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

func (u *upload) Close() error { return u.body.Close() }
