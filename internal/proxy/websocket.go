package proxy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"genkan/internal/telemetry"
)

// frames follows the frames of one direction of a WebSocket by their headers (RFC 6455
// 5.2). It neither changes nor judges them: what is no WebSocket just has no end of a
// frame where one would look for it.
type frames struct {
	header [14]byte
	have   int    // bytes of the header under way
	left   uint64 // bytes of the payload under way
	closed bool   // a close frame has begun: no other frame may follow (RFC 6455 5.5.1)
}

// between reports whether no frame is under way.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 }

// next takes from p the rest of the frame under way, or one frame when there is none, and
// returns how many bytes that is; all of p when the frame goes on after it.
func (f *frames) next(p []byte) (n int) {
	for f.left == 0 {
		if n == len(p) {
			return n
		}
		f.header[f.have] = p[n]
		f.have++
		n++
		if f.have < f.size() {
			continue
		}
		f.have, f.left = 0, f.payload()
		f.closed = f.closed || f.header[0]&0x0f == opClose
		if f.left == 0 {
			return n
		}
	}
	rest := min(f.left, uint64(len(p)-n))
	f.left -= rest
	return n + int(rest)
}

func (f *frames) follow(p []byte) {
	for len(p) > 0 {
		p = p[f.next(p):]
	}
}

const (
	opClose = 0x8
	final   = 0x80
	masked  = 0x80
)

// size is how long the header is, as far as what is there of it tells.
func (f *frames) size() int {
	if f.have < 2 {
		return 2
	}
	size := 2
	switch f.header[1] &^ masked {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if f.header[1]&masked != 0 {
		size += 4
	}
	return size
}

func (f *frames) payload() uint64 {
	switch length := f.header[1] &^ masked; length {
	case 126:
		return uint64(binary.BigEndian.Uint16(f.header[2:]))
	case 127:
		return binary.BigEndian.Uint64(f.header[2:])
	default:
		return uint64(length)
	}
}

// closeFrame says goodbye with a code and a word (RFC 6455 5.5.1). What goes to a service
// is masked, as all of a client's frames are (RFC 6455 5.3).
func closeFrame(code uint16, reason string, toService bool) []byte {
	frame := []byte{final | opClose, byte(2 + len(reason))}
	payload := append(binary.BigEndian.AppendUint16(nil, code), reason...)
	if toService {
		frame[1] |= masked
		var mask [4]byte
		_, _ = rand.Read(mask[:]) // never fails
		frame = append(frame, mask[:]...)
		for i := range payload {
			payload[i] ^= mask[i%len(mask)]
		}
	}
	return append(frame, payload...)
}

// lane is one direction of a WebSocket.
type lane struct {
	mu     sync.Mutex // held while to is written
	to     io.Writer
	left   func() // is called when a close frame has begun, before the other side can answer it
	frames frames
	last   []byte                 // a close frame that comes after the frame under way
	stop   atomic.Pointer[[]byte] // one that comes now, or not at all in the middle of a frame
	shut   bool                   // nothing more is written
	done   chan struct{}          // closed with shut
}

// write passes p on. What comes after the end is dropped.
func (l *lane) write(p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.obey(); l.shut {
		l.frames.follow(p)
		return nil
	}
	n := len(p)
	if l.last == nil {
		l.frames.follow(p)
	} else {
		n = l.frames.next(p)
	}
	if l.frames.closed {
		l.left()
	}
	_, err := l.to.Write(p[:n])
	if err != nil || l.last != nil && l.frames.between() {
		l.finish(err == nil)
		l.frames.follow(p[n:])
	}
	return err
}

// end has last come after the frame under way, and nothing after it. mu is held, as for
// what follows.
func (l *lane) end(last []byte) {
	if l.last = last; !l.shut && l.frames.between() {
		l.finish(true)
	}
}

// obey looks whether the lane is to stop.
func (l *lane) obey() {
	if last := l.stop.Load(); last != nil && !l.shut {
		l.last = *last
		l.finish(l.frames.between())
	}
}

func (l *lane) finish(whole bool) {
	if whole && !l.frames.closed {
		_, _ = l.to.Write(l.last)
	}
	l.shut = true
	close(l.done)
}

// socket is a WebSocket on its way.
type socket struct {
	stream   *stream
	upstream io.ReadWriteCloser
	user     net.Conn      // the browser's
	said     io.Reader     // what comes from it
	down, up lane          // to the browser, to the upstream
	answered chan struct{} // closed when the browser has answered the close frame, or left
	finished chan struct{} // closed when cut has done its part
}

var (
	errSwitch   = errors.New("the upstream switches to a protocol that nobody asked for")
	errNoTunnel = errors.New("the upstream's connection cannot be written to")
)

// switches reports whether an answer 101 is what the browser asked for.
func (c *call) switches(res *http.Response) bool {
	return isWebSocket(c.in) && strings.EqualFold(res.Header.Get("Upgrade"), "websocket")
}

// tunnel answers the upgrade and joins both connections until one side has failed, or both
// have nothing more to say.
func (c *call) tunnel(res *http.Response) {
	upstream, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		c.failed(errNoTunnel)
		return
	}
	conn, rw, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		c.failed(err)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(c.ctx, func() { _ = upstream.Close() })()
	res.Header["Connection"], res.Header["Upgrade"] = upgrade, webSocket
	res.Body = nil // what is written is the header alone
	if err := errors.Join(res.Write(rw), rw.Flush()); err != nil {
		return
	}
	w := newSocket(&c.stream, upstream, conn, io.MultiReader(io.LimitReader(rw, int64(rw.Reader.Buffered())), conn))
	w.stream.join(w.cut) // not before the upgrade is answered: no close frame may come first
	w.run()
}

// newSocket joins two connections; said is what comes from user, the first of which may have
// been read before.
func newSocket(s *stream, upstream io.ReadWriteCloser, user net.Conn, said io.Reader) *socket {
	w := &socket{stream: s, upstream: upstream, user: user, said: said, answered: make(chan struct{}), finished: make(chan struct{})}
	w.up.to, w.up.done, w.up.left = upstream, make(chan struct{}), func() { s.leftBy(telemetry.EndClient) }
	w.down.to, w.down.done, w.down.left = user, make(chan struct{}), func() { s.leftBy(telemetry.EndUpstream) }
	return w
}

// run copies both ways until one of them fails, or both have ended. Whoever has heard that
// the other side has nothing more to say gets a moment to finish, no more: a WebSocket is
// over then, and a service that does not listen would keep the place of a browser that has
// long left.
func (w *socket) run() {
	ends := make(chan error, 2)
	go func() { ends <- w.copyDown() }()
	go func() { ends <- w.copyUp() }()
	if err := <-ends; err != nil {
		return
	}
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-ends:
	case <-timer.C:
	}
}

// lastWords is how long one side of a WebSocket may go on when the other has ended.
const lastWords = 3 * time.Second

// copyDown copies to the browser.
func (w *socket) copyDown() error {
	err := w.copy(w.upstream, &w.down)
	switch {
	case w.stream.over.Load() != nil:
	case err != nil:
		return err
	default:
		return closeWrite(w.user)
	}
	w.down.mu.Lock()
	if !w.down.shut { // the frame under way does not go on
		w.down.finish(false)
	}
	w.down.mu.Unlock()
	<-w.finished
	return errBrokenOff
}

// copyUp copies to the upstream.
func (w *socket) copyUp() error {
	err := w.copy(w.said, &w.up)
	switch {
	case w.stream.over.Load() != nil:
	case err != nil:
		return err
	default:
		return closeWrite(w.upstream)
	}
	close(w.answered)
	<-w.finished
	return errBrokenOff
}

// idleBuffer is the size of a buffer, in bytes, until there is much to copy: thousands of
// WebSockets say nothing most of the time.
const idleBuffer = 4 << 10

// copy goes on until one side has nothing more to say, or is not to say it.
func (w *socket) copy(from io.Reader, to *lane) error {
	buffer := make([]byte, idleBuffer)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			w.stream.quiet.Store(0)
			if err := to.write(buffer[:n]); err != nil {
				w.other(to).left() // who does not take it
				return err
			}
			w.stream.quiet.Store(0)
		}
		if err != nil {
			to.left()
		}
		switch {
		case errors.Is(err, io.EOF), to.frames.closed && to.frames.between() && w.stream.over.Load() != nil:
			return nil
		case err != nil:
			return err
		case n == len(buffer) && n == idleBuffer:
			buffer = make([]byte, bufferSize)
		}
	}
}

// other is the lane of the other direction.
func (w *socket) other(l *lane) *lane {
	if l == &w.up {
		return &w.down
	}
	return &w.up
}

// closeWrite passes on that one side has sent all it has to say.
func closeWrite(conn any) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// cut ends the WebSocket: the browser gets a close frame after the frame under way, and
// a moment to answer it. To close at once, with something unread, would reset the
// connection (RFC 9293 3.5.2), and the close frame might never be seen. The upstream is
// told as well, unless it waits for the rest of a frame.
func (w *socket) cut(e ending) {
	defer close(w.finished)
	began := time.Now()
	_ = w.user.SetWriteDeadline(began.Add(boundaryLimit))
	goodbye := closeFrame(closeGoingAway, "", true)
	w.down.mu.Lock()
	w.up.stop.Store(&goodbye) // before the browser can answer; and the upstream's answer must not pass before
	w.down.end(closeFrame(e.code, e.reason, false))
	w.down.mu.Unlock()
	go func() { // the upstream may not read
		w.up.mu.Lock()
		defer w.up.mu.Unlock()
		w.up.obey()
	}()
	finished := within(boundaryLimit-time.Since(began), w.down.done)
	within(boundaryLimit-time.Since(began), w.up.done)
	go w.upstream.Close() // over TLS it may wait for who does not read
	if finished && within(farewell-time.Since(began), w.answered) {
		_ = w.user.Close()
		return
	}
	hangUp(w.user)
}

// hangUp closes without a word, for which TLS would wait.
func hangUp(conn net.Conn) {
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		_ = secure.NetConn().Close()
	}
	_ = conn.Close()
}

// within waits for done, and reports whether it came in time.
func within(limit time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}
