package proxy

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"genkan/internal/finding"
	"genkan/internal/session"
	"genkan/internal/telemetry"
)

const (
	// round is how often the streams are looked after.
	round = 250 * time.Millisecond
	// maxStreams, maxNobodys and maxCallers bound the WebSockets and the streams of events
	// of this process, of all who did not say who they are, and of one session or program.
	maxStreams = 10_000
	maxNobodys = maxStreams / 2 // they cannot take all places
	maxCallers = 64
	// boundaryLimit is how long a stream whose end has come may take to finish the frame or
	// the event under way, and farewell how long the end may take in all.
	boundaryLimit = 500 * time.Millisecond
	farewell      = time.Second
	// closeLimit bounds Close.
	closeLimit = 2 * time.Second
)

// ending is why Genkan ends a stream.
type ending struct {
	cause  telemetry.StreamEnd
	code   uint16 // of the WebSocket close frame (RFC 6455 7.4)
	reason string // one word, for the browser and the log
}

const (
	closeGoingAway = 1001 // RFC 6455 7.4.1
	closeSignedOut = 4001 // Genkan's own
)

func signedOut(reason session.Reason) ending {
	return ending{telemetry.EndSession, closeSignedOut, string(reason)}
}

func stoodStill() ending { return ending{telemetry.EndIdle, closeGoingAway, "idle"} }

func stopping() ending { return ending{telemetry.EndStop, closeGoingAway, "stopping"} }

// streams are all answers under way that may go on for long. One ticker looks after them,
// and only while there are any.
type streams struct {
	mu      sync.Mutex
	open    map[*stream]struct{}
	places  int            // taken by WebSockets and streams of events
	of      map[string]int // places by caller
	busy    sync.WaitGroup // one for each place
	running bool
	closing bool
}

// stream is an answer that is looked after. The zero value is one that is not.
type stream struct {
	call  *call
	kind  telemetry.StreamKind // "": an answer like others that goes on for long
	quiet atomic.Uint32        // rounds in which no byte has moved
	over  atomic.Pointer[ending]
	left  atomic.Pointer[telemetry.StreamEnd] // which side has left first, as far as is known

	mu      sync.Mutex
	gone    bool         // the call is over: its connection may be another call's now
	cut     func(ending) // ends it, on a goroutine of its own; nil: not looked after
	forget  func()       // ends the waiting for the session's end
	counted func(telemetry.StreamEnd)
}

// errNoPlace is a stream too many.
type errNoPlace struct{ row finding.Row }

func (e errNoPlace) Error() string { return e.row.Name }

// holder is whose place a stream takes, "" for nobody's.
func (c *call) holder() string {
	switch {
	case c.caller == nil:
		return ""
	case c.caller.Session != nil:
		return "session " + c.caller.Session.ID
	}
	return "program " + strconv.Quote(c.caller.Provider) + " " + c.caller.Identity.Subject
}

// enter takes a place for a stream of events or a WebSocket, or says why there is none.
func (s *stream) enter(kind telemetry.StreamKind) error {
	all, holder := &s.call.streams, s.call.holder()
	all.mu.Lock()
	defer all.mu.Unlock()
	switch {
	case holder != "" && all.of[holder] >= maxCallers:
		return errNoPlace{finding.TooManyStreams}
	case all.closing || all.places >= maxStreams || holder == "" && all.of[holder] >= maxNobodys:
		return errNoPlace{finding.StreamsExhausted}
	}
	if all.of == nil {
		all.of = map[string]int{}
	}
	all.of[holder]++
	all.places++
	all.busy.Add(1)
	s.kind = kind
	s.counted = s.call.metrics.StreamOpened(kind)
	return nil
}

// join has s looked after: it ends with its session, when nothing moves for the route's
// IdleTimeout, and when Genkan stops.
func (s *stream) join(cut func(ending)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return
	}
	s.cut = cut
	if live := s.call.live(); live != nil {
		s.forget = s.call.sessions.OnEnd(live, func(r session.Reason) { s.end(signedOut(r)) })
	}
	all := &s.call.streams
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.open == nil {
		all.open = map[*stream]struct{}{}
	}
	all.open[s] = struct{}{}
	if !all.running {
		all.running = true
		go all.look()
	}
	if all.closing && s.kind != "" {
		s.end(stopping())
	}
}

// leave is the end of the call.
func (s *stream) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	if s.forget != nil {
		s.forget()
	}
	if s.cut == nil && s.kind == "" { // nobody has looked after it
		return
	}
	all := &s.call.streams
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.open, s)
	if s.kind == "" {
		return
	}
	holder := s.call.holder()
	if all.of[holder]--; all.of[holder] == 0 {
		delete(all.of, holder)
	}
	all.places--
	all.busy.Done()
	s.counted(s.cause())
}

// cause is why a stream that is over has ended.
func (s *stream) cause() telemetry.StreamEnd {
	e, left := s.over.Load(), s.left.Load()
	switch {
	case e != nil:
		return e.cause
	case left != nil:
		return *left
	case s.call.in.Context().Err() != nil:
		return telemetry.EndClient
	}
	return telemetry.EndUpstream
}

// leftBy notes which side has left; the first counts.
func (s *stream) leftBy(side telemetry.StreamEnd) { s.left.CompareAndSwap(nil, &side) }

// look goes its rounds until nothing is open.
func (all *streams) look() {
	tick := time.NewTicker(round)
	defer tick.Stop()
	for range tick.C {
		if !all.round() {
			return
		}
	}
}

// round looks after every stream once, and reports whether there are any.
func (all *streams) round() bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	for s := range all.open {
		switch {
		case time.Duration(s.quiet.Add(1))*round > s.call.route.IdleTimeout:
			s.end(stoodStill())
		case s.call.tokenExpired():
			s.end(signedOut(session.Expired))
		}
	}
	all.running = len(all.open) > 0
	return all.running
}

// tokenExpired reports whether the access token by which a program was let in has expired.
func (c *call) tokenExpired() bool {
	return c.caller != nil && c.caller.Session == nil && !c.caller.Expires.IsZero() && !c.sessions.Now().Before(c.caller.Expires)
}

// end ends the stream, once, and keeps nobody waiting. s.cut has been set.
func (s *stream) end(e ending) {
	if !s.over.CompareAndSwap(nil, &e) {
		return
	}
	go s.cut(e)
	go s.log(e) // which may have to wait
}

func (s *stream) log(e ending) {
	level, id := slog.LevelInfo, ""
	if e.cause == telemetry.EndStop { // of all, and there may be thousands
		level = slog.LevelDebug
	}
	if live := s.call.live(); live != nil {
		id = live.ID
	}
	s.call.log.Log(s.call.in.Context(), level, "stream ended", "reason", e.reason, "route", s.call.route.Path, "session", id)
}

// untilGone does what must not happen to another call on the same connection.
func (s *stream) untilGone(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gone {
		do()
	}
}

// breakOff ends an answer so that the browser does not take it for whole.
func (s *stream) breakOff(ending) { s.unblock(time.Now()) }

// unblock ends a read of the upstream's answer now, and a write to the browser at a time.
func (s *stream) unblock(writing time.Time) {
	s.call.breakOff(nil)
	s.untilGone(func() { _ = http.NewResponseController(s.call.w).SetWriteDeadline(writing) })
}

// Close ends the WebSockets and the streams of events, since http.Server.Shutdown does not
// know of the first and would wait for the others, and lets in no more. Other calls go on.
// It waits until they are gone, two seconds at most.
func (h *Handler) Close() {
	all := &h.streams
	all.mu.Lock()
	all.closing = true
	for s := range all.open {
		if s.kind != "" {
			s.end(stopping())
		}
	}
	all.mu.Unlock()
	gone := make(chan struct{})
	go func() { all.busy.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(closeLimit):
		h.log.Warn("streams cut off at stop")
	}
}

// longAfter is when an answer that still goes on begins to be looked after.
const longAfter = time.Second

// follow keeps an answer from going on without its session, or for nobody.
func (c *call) follow(res *http.Response) error {
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		c.patience.stop()
		return c.stream.enter(telemetry.StreamWebSocket)
	case strings.EqualFold(strings.TrimSpace(kind), "text/event-stream"):
		c.patience.stop()
		return c.followEvents(res)
	case res.ContentLength == 0:
		c.patience.stop()
		return nil
	}
	c.patience.answered()
	return nil
}

// errBrokenOff ends an answer that is not whole; whoever broke it off has logged it.
var errBrokenOff = errors.New("broken off")
