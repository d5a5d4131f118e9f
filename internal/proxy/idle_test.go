package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"genkan/internal/proxy"
)

func idle(limit time.Duration) func(*proxy.Route) {
	return func(r *proxy.Route) { r.IdleTimeout = limit }
}

func TestWhatStandsStillIsEnded(t *testing.T) {
	t.Parallel()
	const limit = 500 * time.Millisecond
	for _, tt := range []struct {
		name   string
		auth   proxy.Auth
		header http.Header
	}{
		{"events", proxy.AuthRequired, events},
		{"events of a public route", proxy.AuthNone, events},
		{"an answer", proxy.AuthRequired, http.Header{"Content-Type": {"application/x-ndjson"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newTrickle(t, tt.header, "data: 1\n\n")
			began := time.Now()
			res := b.open(t, b.front(t, up.route("/api/", auth(tt.auth), idle(limit))), "data: 1\n\n")
			rest, err := io.ReadAll(res.Body)
			took := time.Since(began)
			t.Logf("over after %v", took.Round(time.Millisecond))
			if err == nil || len(rest) > 0 || took < limit || took > limit+atMost {
				t.Errorf("%q and %v after %v", rest, err, took)
			}
			<-up.left
		})
	}
}

func TestAWebSocketThatStandsStillIsClosed(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newChat(t)
	conn := b.talk(t, b.front(t, up.route("/api/", auth(proxy.AuthNone), idle(500*time.Millisecond))), "/api/socket")
	if code, reason := closing(t, conn); code != websocket.StatusGoingAway || reason != "idle" {
		t.Errorf("%d %q, want 1001 idle", code, reason)
	}
	if code := <-up.ended; code != websocket.StatusGoingAway {
		t.Errorf("the service got %d", code)
	}
}

// The browser has stopped to read, and the service writes on.
func TestAWebSocketThatIsStuckIsClosed(t *testing.T) {
	t.Parallel()
	const limit = 500 * time.Millisecond
	b, over := newBench(t), make(chan struct{})
	up := newUpstream(t, rawSocket(func(conn net.Conn) {
		defer close(over)
		for err := error(nil); err == nil; {
			_, err = conn.Write(append([]byte{0x82, 0x7e, 0xff, 0xff}, make([]byte, 0xffff)...))
		}
	}))
	began := time.Now()
	b.upgrade(t, b.front(t, up.route("/api/", idle(limit))), "")
	<-over
	if took := time.Since(began); took < limit || took > limit+atMost {
		t.Errorf("over after %v", took)
	}
}

func TestWhatMovesIsNotIdle(t *testing.T) {
	t.Parallel()
	const limit, lives = 1500 * time.Millisecond, 3 * time.Second
	for _, tt := range []struct {
		name string
		open func(t *testing.T, b *bench) (move func())
	}{
		{"events", func(t *testing.T, b *bench) func() {
			s := newTrickle(t, events, "data: 1\n\n")
			res := b.open(t, b.front(t, s.route("/api/", idle(limit))), "data: 1\n\n")
			go func() { _, _ = io.Copy(io.Discard, res.Body) }()
			return func() { s.say(t, "data: 2\n\n") }
		}},
		{"an answer", func(t *testing.T, b *bench) func() {
			s := newTrickle(t, nil, "data: 1\n\n")
			res := b.open(t, b.front(t, s.route("/api/", idle(limit))), "data: 1\n\n")
			go func() { _, _ = io.Copy(io.Discard, res.Body) }()
			return func() { s.say(t, "data: 2\n\n") }
		}},
		{"a WebSocket of whose two sides one is silent", func(t *testing.T, b *bench) func() {
			s := newUpstream(t, rawSocket(func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }))
			conn, _, err := b.connect(t, b.front(t, s.route("/api/", idle(limit))), "/api/socket")
			if err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := conn.Write(context.Background(), websocket.MessageText, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			move := tt.open(t, b)
			for end := time.Now().Add(lives); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				move()
			}
			if b.log.count("stream ended") != 0 {
				t.Errorf("%s", b.log)
			}
		})
	}
}
