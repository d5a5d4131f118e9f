package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestOneSessionHasAtMost64Streams(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newChat(t)
	front := b.front(t, up.route("/api/"))
	first := b.talk(t, front, "/api/socket")
	for range 63 {
		if _, _, err := b.connect(t, front, "/api/socket"); err != nil {
			t.Fatal(err)
		}
	}
	_, res, err := b.connect(t, front, "/api/socket")
	if err == nil || res.StatusCode != http.StatusTooManyRequests {
		t.Fatal(res, err)
	}
	if text, _ := io.ReadAll(res.Body); !strings.Contains(string(text), `"too_many_streams"`) {
		t.Errorf("%s", text)
	}
	if res := send(t, b.call(t, "GET", front.URL+"/api/x", nil)); res.StatusCode == http.StatusTooManyRequests {
		t.Error("other calls count")
	}
	_ = first.CloseNow()
	eventually(t, "there is a place again", func() bool { _, _, err := b.connect(t, front, "/api/socket"); return err == nil })
	b.cookie = b.signIn(t, grant(b.clock().Add(time.Hour), "at-2", "rt-2"))
	b.talk(t, front, "/api/socket") // of another session
}

func TestAStopEndsTheStreams(t *testing.T) {
	t.Parallel()
	b, sockets, feeds, plain := newBench(t), newChat(t), newTrickle(t, events, "data: 1\n\n"), newTrickle(t, nil, "first")
	h := b.handler(t, nil, sockets.route("/api/socket/"), feeds.route("/api/stream/"), plain.route("/api/"))
	front := b.serve(t, h)
	conn := b.talk(t, front, "/api/socket/")
	stream := b.open(t, front, "data: 1\n\n")
	other, err := http.DefaultTransport.RoundTrip(b.call(t, "GET", front.URL+"/api/x", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Body.Close()
	closed := make(chan time.Duration)
	go func() {
		began := time.Now()
		h.Close()
		closed <- time.Since(began)
	}()
	if code, reason := closing(t, conn); code != websocket.StatusGoingAway || reason != "stopping" {
		t.Errorf("%d %q, want 1001 stopping", code, reason)
	}
	if rest, err := io.ReadAll(stream.Body); err != nil || len(rest) != 0 { // an EventSource comes back, elsewhere
		t.Errorf("the events ended with %q %v", rest, err)
	}
	took := <-closed
	t.Logf("closed in %v", took.Round(time.Millisecond))
	if took > atMost {
		t.Errorf("closed in %v", took)
	}
	plain.say(t, " and last")
	close(plain.next)
	if text, err := io.ReadAll(other.Body); string(text) != "first and last" || err != nil {
		t.Errorf("another call: %q %v", text, err)
	}
	if _, res, err := b.connect(t, front, "/api/socket/"); err == nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a stream afterwards: %v %v", res, err)
	}
	h.Close() // again does nothing
}

func TestAStopDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	up := newUpstream(t, rawSocket(func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }))
	h := b.handler(t, nil, up.route("/api/"))
	_, in := b.upgrade(t, b.serve(t, h), "") // does not answer the close frame
	began := time.Now()
	h.Close()
	if took := time.Since(began); took < 500*time.Millisecond || took > 2*time.Second+atMost {
		t.Errorf("closed in %v, want after the browser's moment to answer", took)
	}
	if rest, err := io.ReadAll(in); string(rest) != "\x88\x0a\x03\xe9stopping" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}
