package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/session"
)

const (
	// heartbeat keeps proxies from taking a silent stream for a dead one, and finds out
	// that a browser has gone without a word.
	heartbeat = 25 * time.Second
	// eventLimit bounds the sending of one event.
	eventLimit = 10 * time.Second
	// maxStreams and maxSessionStreams bound the streams of events of this process and of
	// one session; each holds a connection and two goroutines.
	maxStreams        = 10_000
	maxSessionStreams = 16
	// reconnectFirst and reconnectSpread say when a browser comes back whose stream broke,
	// in milliseconds: not all of a replica at one instant.
	reconnectFirst  = 2_000
	reconnectSpread = 6_000
)

// events tells an app what happens to its session, as server-sent events, until the
// session ends. It is no activity. Signed out it is 204, by which an EventSource stops
// to come back (HTML, 9.2.3).
func (s *Server) events(c *gin.Context) {
	if pageLoad(c.Request) { // with a Lax cookie a foreign site could open windows until no stream is left
		s.fail(c, finding.NavigationRefused, "")
		return
	}
	live, err := s.Sessions.Load(c.Request)
	if errors.Is(err, session.ErrNone) {
		c.AbortWithStatus(http.StatusNoContent)
		return
	} else if err != nil {
		s.failSession(c, err)
		return
	}
	if row := s.streams.enter(live.ID); row != nil {
		s.fail(c, *row, "")
		return
	}
	defer s.streams.leave(live.ID)
	unlimit(c)
	defer limit(c)
	c.Header("Content-Type", "text/event-stream")
	c.Header("X-Accel-Buffering", "no") // nginx would collect events else
	s.stream(c, live)
}

// stream sends events until the session ends, the browser leaves or Genkan stops.
func (s *Server) stream(c *gin.Context, live *session.Session) {
	happened := s.Sessions.Watch(c.Request.Context(), live)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	text := fmt.Sprintf("retry: %d\n\n", reconnectFirst+s.Random(reconnectSpread))
	for over := false; send(c, text) && !over; {
		select {
		case <-s.streams.closing:
			return
		case <-beat.C:
			text = ":\n\n"
		case e, open := <-happened:
			if !open { // the browser has left
				return
			}
			text, over = s.event(e), e.Kind == session.EventEnded
		}
	}
}

// event is e as it is sent. JSON has no line breaks.
func (s *Server) event(e session.Event) string {
	var data any = gin.H{"reason": e.Reason}
	switch e.Kind {
	case session.EventExpiring:
		info := s.sessionInfo(e.Session)
		data = gin.H{"idle_expires_in": info.IdleExpiresIn, "absolute_expires_in": info.AbsoluteExpiresIn}
	case session.EventRefreshed:
		data = s.sessionInfo(e.Session)
	}
	text, _ := json.Marshal(data) // strings, numbers and times always marshal
	return fmt.Sprintf("event: %s\ndata: %s\n\n", e.Kind, text)
}

// send writes and reports whether a browser may be there to read it. The deadline is
// taken away again, since in HTTP/2 it would end a stream that is silent.
func send(c *gin.Context, text string) bool {
	control := http.NewResponseController(c.Writer) // its errors: not every test's writer has deadlines
	_ = control.SetWriteDeadline(time.Now().Add(eventLimit))
	_, err := c.Writer.WriteString(text)
	if err == nil {
		err = control.Flush()
	}
	_ = control.SetWriteDeadline(time.Time{})
	return err == nil
}

// streams counts the streams of events that are open.
type streams struct {
	closing chan struct{}
	once    sync.Once
	mu      sync.Mutex
	all     int
	of      map[string]int // by session
}

func newStreams() *streams { return &streams{closing: make(chan struct{}), of: map[string]int{}} }

// enter takes a place for a stream of the session id, or says why there is none.
func (s *streams) enter(id string) *finding.Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.of[id] >= maxSessionStreams:
		return &finding.TooManyStreams
	case s.all >= maxStreams:
		return &finding.StreamsExhausted
	}
	s.all++
	s.of[id]++
	return nil
}

func (s *streams) leave(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.of[id]--; s.of[id] == 0 {
		delete(s.of, id)
	}
}

// Close ends the streams of events, which http.Server.Shutdown would wait for in vain.
// Nothing else changes.
func (s *Server) Close() { s.streams.once.Do(func() { close(s.streams.closing) }) }
