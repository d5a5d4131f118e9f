package proxy

import (
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"genkan/internal/telemetry"
)

// lines follows a stream of server-sent events (HTML, 9.2.5): where an event ends, another
// can be put after it.
type lines struct {
	inside  bool // of a line
	pending bool // an event has begun: a line that is no comment came after the last blank one
	cr      bool // the last byte was CR: an LF now belongs to it
}

// between reports whether no event is under way.
func (l *lines) between() bool { return !l.inside && !l.pending }

// next takes p up to the end of the event under way, or of the first one, and returns how
// many bytes that is; all of p when the event goes on after it.
func (l *lines) next(p []byte) int {
	for i, b := range p {
		switch {
		case b == '\n' && l.cr:
			l.cr = false
			continue
		case b == '\n' || b == '\r':
			if !l.inside {
				l.pending = false
			}
			l.inside, l.cr = false, b == '\r'
		default:
			if !l.inside && b != ':' {
				l.pending = true
			}
			l.inside, l.cr = true, false
		}
		if l.between() {
			return i + 1
		}
	}
	return len(p)
}

func (l *lines) follow(p []byte) {
	for len(p) > 0 {
		p = p[l.next(p):]
	}
}

// followEvents has a stream of events end with an event. Where the bytes are encoded, none
// can be put among them.
func (c *call) followEvents(res *http.Response) error {
	s := &c.stream
	if err := s.enter(telemetry.StreamEvents); err != nil {
		return err
	}
	if res.Header.Get("Content-Encoding") != "" {
		s.join(s.breakOff)
		return nil
	}
	f := &feed{ReadCloser: res.Body, stream: s}
	res.Body = f
	s.join(f.cut)
	return nil
}

// feed is a stream of events on its way: the body of the answer. When its session ends it
// says so in an event of its own, and then ends as if the service had ended it.
type feed struct {
	io.ReadCloser
	stream *stream

	mu    sync.Mutex
	lines lines
	over  bool
	last  []byte // comes after the event under way when the stream is over
}

func (f *feed) Read(p []byte) (int, error) {
	if n, err := f.rest(p); n > 0 || err != nil {
		return n, err
	}
	n, err := f.ReadCloser.Read(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.over:
		f.lines.follow(p[:n])
		return n, err
	case f.lines.between(): // what has come meanwhile is dropped
		return 0, nil
	}
	n = f.lines.next(p[:n])
	if err != nil && !f.lines.between() {
		return n, errBrokenOff
	}
	return n, nil
}

// rest is what comes after the last event, nothing while that is under way.
func (f *feed) rest(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over || !f.lines.between() {
		return 0, nil
	}
	n := copy(p, f.last)
	if f.last = f.last[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// cut ends the stream after the event under way. When that does not go on, or nothing has
// moved for long, it is broken off.
func (f *feed) cut(e ending) {
	if e.cause == telemetry.EndIdle {
		f.stream.breakOff(e)
		return
	}
	f.mu.Lock()
	f.over, f.last = true, lastEvent(e)
	between := f.lines.between()
	f.mu.Unlock()
	gone := time.Now().Add(farewell)
	if !between {
		within(boundaryLimit, f.stream.call.ctx.Done())
	}
	f.stream.unblock(gone)
}

// lastEvent tells that the session has ended. A stop is no news of a session: the stream
// ends, and an EventSource comes back, to another replica maybe.
func lastEvent(e ending) []byte {
	if e.cause != telemetry.EndSession {
		return nil
	}
	data, _ := json.Marshal(map[string]string{"reason": e.reason}) // never fails
	return append(append([]byte("event: ended\ndata: "), data...), "\n\n"...)
}
