package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"genkan/internal/origin"
	"genkan/internal/proxy"
	"genkan/internal/session"
)

// feed sends an event and then nothing until the caller leaves.
func feed(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		echo(w, r)
		return
	}
	w.Header().Set("Content-Type", r.URL.Query().Get("type"))
	_, _ = io.WriteString(w, "data: 1\n\n")
	_ = http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case <-time.After(2 * time.Second): // what nobody ends, ends by itself
	}
	_, _ = io.WriteString(w, "data: last\n\n")
}

const feedPath = "/api/feed?type=text/event-stream"

// dial opens a WebSocket or a stream of events through front and reads its first line;
// the rest is for the caller.
func dial(t *testing.T, b *bench, front *httptest.Server, path string) (rest *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	head := "GET " + path + " HTTP/1.1\r\nHost: localhost:8000\r\nOrigin: http://localhost:5173\r\nX-CSRF: 1\r\nCookie: " + b.cookie.String() + "\r\n"
	if strings.Contains(path, "socket") {
		head += "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	rest = bufio.NewReader(conn)
	res, err := http.ReadResponse(rest, nil)
	if err != nil || res.StatusCode >= 400 {
		t.Fatalf("%v %v", res, err)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		_, _ = io.WriteString(conn, "ping\n")
		if line, err := rest.ReadString('\n'); line != "ping\n" {
			t.Fatalf("%q %v", line, err)
		}
		return rest
	}
	body := bufio.NewReader(res.Body)
	if line, err := body.ReadString('\n'); line != "data: 1\n" {
		t.Fatalf("%q %v", line, err)
	}
	return body
}

// current is alice's session, as another request or another replica finds it.
func current(t *testing.T, b *bench, m *session.Manager) *session.Session {
	t.Helper()
	r := origin.WithSite(httptest.NewRequest("GET", public+"/", nil), b.site)
	r.AddCookie(b.cookie)
	s, err := m.Load(r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStreamsEndWithTheirSession(t *testing.T) {
	t.Parallel()
	terminate := func(t *testing.T, b *bench) {
		if _, err := b.sessions.Terminate(t.Context(), []*session.Session{current(t, b, b.sessions)}, session.Revoked); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := func(t *testing.T, b *bench) { // another process with the same store and key
		other := session.New(b.sessions.Config)
		if _, err := other.Terminate(t.Context(), []*session.Session{current(t, b, other)}, session.Revoked); err != nil {
			t.Fatal(err)
		}
	}
	timeOut := func(_ *testing.T, b *bench) { b.pass(13 * time.Hour) }
	tests := []struct {
		name, path string
		auth       proxy.Auth
		end        func(*testing.T, *bench)
	}{
		{"a WebSocket", "/api/socket", proxy.AuthRequired, terminate},
		{"a WebSocket of a session that another replica ends", "/api/socket", proxy.AuthRequired, elsewhere},
		{"a WebSocket of a session that times out", "/api/socket", proxy.AuthRequired, timeOut},
		{"a stream of events", feedPath, proxy.AuthRequired, terminate},
		{"a stream of events with parameters in its type", feedPath + ";charset=utf-8", proxy.AuthRequired, elsewhere},
		{"a stream on a route where a session is optional", feedPath, proxy.AuthOptional, terminate},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, feed)
			rest := dial(t, b, b.front(t, up.route("/api/", auth(tt.auth))), strings.ReplaceAll(tt.path, ";", "%3B"))
			tt.end(t, b)
			began := time.Now()
			got, err := io.ReadAll(rest)
			if took := time.Since(began); took > time.Second || strings.Contains(string(got), "last") {
				t.Errorf("after %s: %q %v", took, got, err)
			}
		})
	}
}

func TestWhatIsNoStreamIsNotCutOff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, path string
		auth       proxy.Auth
	}{
		{"an ordinary download", "/api/feed?type=application/octet-stream", proxy.AuthRequired},
		{"a stream of a public route", feedPath, proxy.AuthNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, feed)
			rest := dial(t, b, b.front(t, up.route("/api/", auth(tt.auth))), tt.path)
			if _, err := b.sessions.Terminate(t.Context(), []*session.Session{current(t, b, b.sessions)}, session.Revoked); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(rest); !strings.Contains(string(got), "data: last") || err != nil {
				t.Errorf("%q %v", got, err)
			}
		})
	}
}

func TestStreamsLeaveNothingBehind(t *testing.T) { // alone: it counts goroutines
	b, up := newBench(t), newUpstream(t, feed)
	front := b.front(t, up.route("/api/"))
	for _, path := range []string{"/api/socket", feedPath} {
		before := runtime.NumGoroutine()
		for range 20 {
			t.Run("stream", func(t *testing.T) { dial(t, b, front, path) }) // the browser hangs up
		}
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+10; { // some kept-alive connections
			if time.Now().After(end) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("%s: %d goroutines, %d before\n%s", path, runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}
