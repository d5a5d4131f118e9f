package proxy

import (
	"context"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"genkan/internal/telemetry"
)

// backend answers a close frame the moment it is written, and its Write returns only when
// the browser has the answer: the schedule that a busy machine gives now and then.
type backend struct {
	io.Reader
	say  *io.PipeWriter
	seen chan struct{}
}

func (b *backend) Write(p []byte) (int, error) {
	if p[0]&0x0f == opClose {
		_, _ = b.say.Write([]byte{0x88, 0x02, 0x03, 0xe8})
		<-b.seen
	}
	return len(p), nil
}

func (b *backend) Close() error { return b.say.Close() }

// socketTo is a WebSocket between a service and a connection to a browser.
func socketTo(t *testing.T, upstream io.ReadWriteCloser, user net.Conn) *socket {
	t.Helper()
	c := &call{Handler: &Handler{}, in: httptest.NewRequest("GET", "/", nil), route: &Route{IdleTimeout: time.Hour}}
	c.ctx, c.breakOff = context.WithCancelCause(t.Context())
	c.stream.call = c
	if err := c.stream.enter(telemetry.StreamWebSocket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stream.leave)
	return newSocket(&c.stream, upstream, user, user)
}

func TestWhoSendsTheFirstCloseFrameHasLeftFirst(t *testing.T) {
	t.Parallel()
	r, say := io.Pipe()
	b := &backend{r, say, make(chan struct{})}
	browser, ours := net.Pipe()
	w := socketTo(t, b, ours)
	done := make(chan struct{})
	go func() { w.run(); close(done) }()
	_, _ = browser.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8})
	if _, err := io.ReadFull(browser, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	_ = say.Close()
	close(b.seen)
	_ = browser.Close()
	<-done
	if got := w.stream.cause(); got != telemetry.EndClient {
		t.Errorf("counted as %q", got)
	}
}

// gone is a connection whose other end does not take anything any more.
type gone struct{ net.Conn }

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWhoDoesNotTakeAFrameHasLeft(t *testing.T) {
	t.Parallel()
	r, say := io.Pipe()
	browser, ours := net.Pipe()
	defer browser.Close()
	w := socketTo(t, &backend{r, say, nil}, gone{ours})
	go func() { _, _ = say.Write([]byte{0x81, 0x02, 'h', 'i'}) }()
	if err := w.copyDown(); err == nil {
		t.Error("nothing failed")
	}
	if got := w.stream.cause(); got != telemetry.EndClient {
		t.Errorf("counted as %q", got)
	}
}

// The time-out of a call comes in the very moment of its answer.
func TestATimeOutThatComesTooLateDoesNothing(t *testing.T) {
	t.Parallel()
	c := &call{Handler: &Handler{}, in: httptest.NewRequest("GET", "/", nil), route: &Route{Timeout: time.Hour, IdleTimeout: time.Hour}}
	c.ctx, c.breakOff = context.WithCancelCause(t.Context())
	c.stream.call, c.patience.call = c, c
	c.patience.begin()
	c.patience.stop()
	c.patience.fire()
	if c.stream.cut != nil || c.ctx.Err() != nil {
		t.Errorf("looked after: %v, broken off: %v", c.stream.cut != nil, c.ctx.Err())
	}
}

// The network to an HTTP/2 upstream goes silent: bytes are taken, and nothing comes back.
func TestAConnectionThatSwallowsEverythingIsGivenUp(t *testing.T) {
	t.Parallel()
	if got := newTransport().HTTP2; got == nil || got.SendPingTimeout != 15*time.Second || got.PingTimeout != 5*time.Second {
		t.Errorf("%+v: nobody would find out", got)
	}
}

// The transport may read on when the call is over; the body is net/http's again by then.
func TestABodyIsNotReadAfterItsCall(t *testing.T) {
	t.Parallel()
	c := &call{route: &Route{Timeout: time.Hour}}
	c.patience.call, c.patience.over = c, true
	u := &upload{body: strings.NewReader("late"), left: 10, call: c}
	_ = u.Close()
	if n, err := u.Read(make([]byte, 4)); n > 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
