package proxy_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"genkan/internal/origin"
	"genkan/internal/proxy"
	"genkan/internal/session"
	"genkan/internal/telemetry"
)

// request is one of alice's browser, as the session manager sees it.
func (b *bench) request() *http.Request {
	r := origin.WithSite(httptest.NewRequest("GET", public+"/", nil), b.site)
	r.AddCookie(b.cookie)
	return r
}

// current is alice's session, as another request or another replica finds it.
func current(t testing.TB, b *bench, m *session.Manager) *session.Session {
	t.Helper()
	s, err := m.Load(b.request())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (b *bench) terminate(t testing.TB, m *session.Manager) {
	t.Helper()
	if _, err := m.Terminate(t.Context(), []*session.Session{current(t, b, m)}, session.Revoked); err != nil {
		t.Fatal(err)
	}
}

// trickle answers in pieces: the first at once, the next when the test says so.
type trickle struct {
	*upstream
	next chan string
	left chan struct{} // closed when a caller has gone
}

func newTrickle(t testing.TB, header http.Header, first string) *trickle {
	t.Helper()
	s := &trickle{next: make(chan string), left: make(chan struct{})}
	leave := sync.OnceFunc(func() { close(s.left) })
	s.upstream = newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		_, _ = io.WriteString(w, first)
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case <-r.Context().Done():
				leave()
				return
			case text, open := <-s.next:
				if !open {
					return
				}
				_, _ = io.WriteString(w, text)
				_ = http.NewResponseController(w).Flush()
			}
		}
	})
	return s
}

// say has the service send text, unless the call is over.
func (s *trickle) say(t testing.TB, text string) {
	t.Helper()
	select {
	case s.next <- text:
	case <-s.left:
		t.Errorf("over before %q", text)
	}
}

// open makes alice's call, and returns the answer when its first bytes are there.
func (b *bench) open(t testing.TB, front *httptest.Server, first string) *http.Response {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	res, err := transport.RoundTrip(b.call(t, "GET", front.URL+"/api/stream", nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	got := make([]byte, len(first))
	if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != first {
		t.Fatalf("%d %q %v", res.StatusCode, got, err)
	}
	return res
}

var events = http.Header{"Content-Type": {"text/event-stream"}}

const farewellEvent = "event: ended\ndata: {\"reason\":\"revoked\"}\n\n"

func TestAStreamOfEventsIsToldThatItsSessionHasEnded(t *testing.T) {
	t.Parallel()
	typed := func(contentType string) http.Header { return http.Header{"Content-Type": {contentType}} }
	encoded := http.Header{"Content-Type": {"text/event-stream"}, "Content-Encoding": {"br"}}
	for _, tt := range []struct {
		name         string
		header       http.Header
		first, after string
		want         string // after first
		whole        bool
	}{
		{"after an event", events, "data: 1\n\n", "", farewellEvent, true},
		{"lines end with CR LF", events, "data: 1\r\n\r\n", "", farewellEvent, true},
		{"lines end with CR", events, "data: 1\r\r", "", farewellEvent, true},
		{"a type with parameters", typed("Text/Event-Stream ; charset=utf-8"), "data: 1\n\n", "", farewellEvent, true},
		{"after a comment", events, "data: 1\n\n:beat\n", "", farewellEvent, true},
		{"after the event under way", events, "data: 1\ndat", "a: 2\n\ndata: no\n\n", "a: 2\n\n" + farewellEvent, true},
		{"in an event that does not go on", events, "data: 1\n", "", "", false},
		{"in a line that does not go on", events, "data: 1\n\ndata", "", "", false},
		{"encoded", encoded, "\x00\x01\x02", "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newTrickle(t, tt.header, tt.first)
			res := b.open(t, b.front(t, up.route("/api/")), tt.first)
			b.terminate(t, session.New(b.sessions.Config)) // by another replica
			began := time.Now()
			eventually(t, "the end is seen", func() bool { return b.log.count("stream ended") == 1 })
			if tt.after != "" {
				up.say(t, tt.after)
			}
			rest, err := io.ReadAll(res.Body)
			t.Logf("over after %v", time.Since(began).Round(time.Millisecond))
			if string(rest) != tt.want || (err == nil) != tt.whole || time.Since(began) > atMost {
				t.Errorf("%q and %v after %v, want %q", rest, err, time.Since(began), tt.want)
			}
			<-up.left
		})
	}
}

func TestALongAnswerIsBrokenOffWithItsSession(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		header http.Header
	}{
		{"lines of JSON", http.Header{"Content-Type": {"application/x-ndjson"}}},
		{"a download", http.Header{"Content-Length": {"1000000"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			first := strings.Repeat("first\n", 2000) // more than net/http would hold back
			b, up := newBench(t), newTrickle(t, tt.header, first)
			res := b.open(t, b.front(t, up.route("/api/")), first[:1000])
			b.terminate(t, b.sessions)
			began := time.Now()
			rest, err := io.ReadAll(res.Body)
			t.Logf("over after %v", time.Since(began).Round(time.Millisecond)) // looked at after a second
			if err == nil || time.Since(began) > atMost {
				t.Errorf("%d bytes look whole after %v", len(rest), time.Since(began))
			}
			<-up.left
		})
	}
}

// net/http holds a few bytes of a known number back until they are all there.
func TestAShortAnswerFromWhichTheRestIsMissingIsBrokenOff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		auth proxy.Auth
		end  func(*testing.T, *bench)
	}{
		{"with its session", proxy.AuthRequired, func(t *testing.T, b *bench) { b.terminate(t, b.sessions) }},
		{"when it stands still", proxy.AuthNone, func(*testing.T, *bench) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newTrickle(t, http.Header{"Content-Length": {"100"}}, "first\n")
			front := b.front(t, up.route("/api/", auth(tt.auth), idle(2*time.Second)))
			go func() {
				eventually(t, "it has arrived", func() bool { return len(up.seen()) == 1 })
				tt.end(t, b)
			}()
			began := time.Now()
			res, err := http.DefaultTransport.RoundTrip(b.call(t, "GET", front.URL+"/api/x", nil))
			if err == nil {
				_, err = io.ReadAll(res.Body)
			}
			t.Logf("over after %v: %v", time.Since(began).Round(time.Millisecond), err)
			if err == nil || time.Since(began) > 3*time.Second+atMost {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			<-up.left
		})
	}
}

func TestWhatHasNoSessionGoesOn(t *testing.T) {
	t.Parallel()
	for _, header := range []http.Header{events, {"Content-Type": {"application/x-ndjson"}}} {
		b, up := newBench(t), newTrickle(t, header, "data: 1\n\n")
		res := b.open(t, b.front(t, up.route("/api/", auth(proxy.AuthNone))), "data: 1\n\n")
		b.terminate(t, b.sessions)
		for range 8 {
			time.Sleep(200 * time.Millisecond) // it must go on for long
			up.say(t, "data: 2\n\n")
		}
		close(up.next)
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) != 8*len("data: 2\n\n") {
			t.Errorf("%q %v", rest, err)
		}
	}
}

// The session of a browser that has not read for long ends at once all the same.
func TestAnAnswerThatNobodyReadsEndsWithItsSession(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"text/event-stream", "application/octet-stream"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b, left := newBench(t), make(chan struct{})
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				defer close(left)
				w.Header().Set("Content-Type", kind)
				for err := error(nil); err == nil; {
					_, err = w.Write([]byte("data: " + strings.Repeat("x", 30_000) + "\n\n"))
				}
			})
			b.open(t, b.front(t, up.route("/api/")), "data: x")
			b.terminate(t, b.sessions)
			began := time.Now()
			<-left
			t.Logf("over after %v", time.Since(began).Round(time.Millisecond))
			if time.Since(began) > atMost {
				t.Errorf("over after %v", time.Since(began))
			}
			eventually(t, "the call is over", func() bool { return b.log.count(`"msg":"request"`) == 1 })
		})
	}
}

func TestStreamsLeaveNothingBehind(t *testing.T) { // alone: it counts goroutines
	for _, tt := range []struct {
		name string
		open func(t *testing.T, b *bench)
	}{
		{"WebSockets", func(t *testing.T, b *bench) {
			front := b.front(t, newChat(t).route("/api/"))
			for range 20 {
				b.talk(t, front, "/api/socket")
			}
		}},
		{"events", func(t *testing.T, b *bench) {
			front := b.front(t, newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, "data: 1\n\n")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}).route("/api/"))
			for range 20 {
				b.open(t, front, "data: 1\n\n")
			}
		}},
	} {
		before := runtime.NumGoroutine()
		t.Run(tt.name, func(t *testing.T) { tt.open(t, newBench(t)) }) // the browsers hang up, everything stops
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+2; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("%s: %d goroutines, %d before\n%s", tt.name, runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
			}
		}
	}
}

func TestABrowserThatLeavesAStreamIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newTrickle(t, events, "data: 1\n\n")
	res := b.open(t, b.front(t, up.route("/api/")), "data: 1\n\n")
	_ = res.Body.Close()
	select {
	case <-up.left:
	case <-time.After(atMost):
		t.Error("the service still writes for nobody")
	}
}

func TestAServiceThatDiesInAStreamBreaksItOff(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	res := b.open(t, b.front(t, up.route("/api/")), "data: 1\n\n")
	if rest, err := io.ReadAll(bufio.NewReader(res.Body)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("%q looks whole", rest)
	}
}

func TestStreamsAreCounted(t *testing.T) {
	t.Parallel()
	b, sockets, feeds := newBench(t), newChat(t), newTrickle(t, events, "data: 1\n\n")
	m := telemetry.NewMetrics()
	h, err := proxy.New(proxy.Config{Routes: []proxy.Route{sockets.route("/api/socket/"), feeds.route("/api/stream/")}, Sessions: b.sessions, Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	front := b.serve(t, h)
	has := func(lines ...string) func() bool {
		return func() bool {
			w := httptest.NewRecorder()
			m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			return !slices.ContainsFunc(lines, func(line string) bool { return !strings.Contains(w.Body.String(), line+"\n") })
		}
	}
	first, second := b.talk(t, front, "/api/socket/"), b.talk(t, front, "/api/socket/")
	b.open(t, front, "data: 1\n\n")
	eventually(t, "they are open", has(`genkan_streams{kind="websocket"} 2`, `genkan_streams{kind="events"} 1`))
	_ = first.Close(websocket.StatusNormalClosure, "")
	eventually(t, "the browser has left", has(`genkan_streams_total{ended="client",kind="websocket"} 1`, `genkan_streams{kind="websocket"} 1`))
	b.terminate(t, b.sessions)
	closing(t, second)
	eventually(t, "the session has ended", has(`genkan_streams_total{ended="session",kind="websocket"} 1`,
		`genkan_streams_total{ended="session",kind="events"} 1`, `genkan_streams{kind="websocket"} 0`, `genkan_streams{kind="events"} 0`))
}
