package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"genkan/internal/proxy"
	"genkan/internal/session"
)

// atMost is how long anything here may take on a machine under load; the log has the time
// that it took.
const atMost = 3 * time.Second

// chat is a service that sends back what it gets, and tells how each of its WebSockets ended.
type chat struct {
	*upstream
	ended chan websocket.StatusCode
}

func newChat(t testing.TB) *chat {
	t.Helper()
	c := &chat{ended: make(chan websocket.StatusCode, 100)}
	c.upstream = newUpstream(t, c.serve)
	return c
}

func (c *chat) serve(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	for {
		kind, message, err := conn.Read(context.Background())
		if err == nil {
			err = conn.Write(context.Background(), kind, message)
		}
		if err != nil {
			c.ended <- websocket.CloseStatus(err)
			return
		}
	}
}

// connect opens a WebSocket as alice's browser does.
func (b *bench) connect(t testing.TB, front *httptest.Server, path string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, front.URL+path, &websocket.DialOptions{
		HTTPHeader:      http.Header{"Cookie": {b.cookie.String()}, "Origin": {"http://localhost:5173"}},
		CompressionMode: websocket.CompressionContextTakeover,
	})
	if err == nil {
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, res, err
}

// talk opens a WebSocket over which a message has gone there and back.
func (b *bench) talk(t testing.TB, front *httptest.Server, path string) *websocket.Conn {
	t.Helper()
	conn, _, err := b.connect(t, front, path)
	if err != nil {
		t.Fatal(err)
	}
	said(t, conn, strings.Repeat("hello ", 1000))
	return conn
}

func said(t testing.TB, conn *websocket.Conn, text string) {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := conn.Read(t.Context()); err != nil || string(got) != text {
		t.Fatalf("%.40q %v", got, err)
	}
}

// closing waits for the close frame.
func closing(t testing.TB, conn *websocket.Conn) (code websocket.StatusCode, reason string) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), atMost)
	defer cancel()
	_, _, err := conn.Read(ctx)
	t.Logf("closed after %v", time.Since(began).Round(time.Millisecond))
	var frame websocket.CloseError
	if !errors.As(err, &frame) {
		t.Errorf("no close frame: %v", err)
	}
	return frame.Code, frame.Reason
}

func TestAWebSocketIsToldThatItsSessionHasEnded(t *testing.T) {
	t.Parallel()
	here := func(t *testing.T, b *bench) { b.terminate(t, b.sessions) }
	elsewhere := func(t *testing.T, b *bench) { b.terminate(t, session.New(b.sessions.Config)) } // another process with the same store and key
	signOut := func(t *testing.T, b *bench) {
		r := b.request()
		if err := b.sessions.End(httptest.NewRecorder(), r, session.SignedOut); err != nil {
			t.Fatal(err)
		}
	}
	timeOut := func(_ *testing.T, b *bench) { b.pass(13 * time.Hour) }
	for _, tt := range []struct {
		name, reason string
		auth         proxy.Auth
		end          func(*testing.T, *bench)
	}{
		{"revoked", "revoked", proxy.AuthRequired, here},
		{"by another replica", "revoked", proxy.AuthRequired, elsewhere},
		{"signed out", "signed_out", proxy.AuthRequired, signOut},
		{"timed out", "expired", proxy.AuthRequired, timeOut},
		{"on a route where a session is optional", "revoked", proxy.AuthOptional, here},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newChat(t)
			conn := b.talk(t, b.front(t, up.route("/api/", auth(tt.auth))), "/api/socket")
			tt.end(t, b)
			if code, reason := closing(t, conn); code != 4001 || reason != tt.reason {
				t.Errorf("code %d, reason %q, want 4001, %q", code, reason, tt.reason)
			}
			if code := <-up.ended; code != websocket.StatusGoingAway {
				t.Errorf("the service got %d, want 1001", code)
			}
			eventually(t, "the log has one line about it", func() bool { return b.log.count(`"reason":"`+tt.reason+`"`) == 1 })
		})
	}
}

func TestAWebSocketWithoutASessionHasNoneToEndWith(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newChat(t)
	conn := b.talk(t, b.front(t, up.route("/api/", auth(proxy.AuthNone))), "/api/socket")
	b.terminate(t, b.sessions)
	for end := time.Now().Add(700 * time.Millisecond); time.Now().Before(end); {
		said(t, conn, "still here")
	}
}

func TestAProgramsStreamsEndWithItsToken(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newChat(t)
	b.knowsRobot()
	front := b.front(t, up.route("/api/", programs))
	conn, _, err := websocket.Dial(t.Context(), front.URL+"/api/socket", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + jwtOf("https://idp.example")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	said(t, conn, "hello")
	b.pass(time.Hour)
	if code, reason := closing(t, conn); code != 4001 || reason != "expired" {
		t.Errorf("%d %q, want 4001 expired", code, reason)
	}
}

// raw serves a WebSocket as bytes.
func rawSocket(serve func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
		serve(conn)
	}
}

// upgrade opens a WebSocket whose bytes the test reads and writes itself. early is sent
// along with the request.
func (b *bench) upgrade(t testing.TB, front *httptest.Server, early string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, "GET /api/socket HTTP/1.1\r\nHost: localhost:8000\r\nOrigin: http://localhost:5173\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: "+b.cookie.String()+"\r\n\r\n"+early)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res, err)
	}
	return conn, in
}

// revoked is the close frame 4001 "revoked", as RFC 6455 5.5.1 has it.
var revoked = []byte("\x88\x09\x0f\xa1revoked")

func TestTheCloseFrameComesBetweenFrames(t *testing.T) {
	t.Parallel()
	ended := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	for _, tt := range []struct {
		name       string
		first      string // before the session ends
		then       string // after it
		want       string // all that the browser gets
		more       func(net.Conn)
		closeFrame bool
	}{
		{"nothing was ever sent", "", "", "", ended, true},
		{"after a frame", "\x81\x02hi", "", "\x81\x02hi", ended, true},
		{"between two fragments", "\x01\x02hi", "", "\x01\x02hi", ended, true},
		{"after the frame under way", "\x81\x05he", "llo\x81\x02no", "\x81\x05hello", ended, true},
		{"after the header under way", "\x81\x7e", "\x00\x80" + strings.Repeat("x", 128) + "\x81\x02no", "\x81\x7e\x00\x80" + strings.Repeat("x", 128), ended, true},
		{"in a frame that does not go on", "\x81\x05he", "", "\x81\x05he", ended, false},
		{"in a frame without an end", "\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00", "", "\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00", ended, false},
		{"in a frame with which the service leaves", "\x81\x05he", "", "\x81\x05he", func(net.Conn) {}, false},
		{"after the service's own close frame", "\x88\x02\x03\xe8", "", "\x88\x02\x03\xe8", ended, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, over := newBench(t), make(chan struct{})
			up := newUpstream(t, rawSocket(func(conn net.Conn) {
				_, _ = io.WriteString(conn, tt.first)
				<-over
				_, _ = io.WriteString(conn, tt.then)
				tt.more(conn)
			}))
			_, in := b.upgrade(t, b.front(t, up.route("/api/")), "")
			got := make([]byte, len(tt.first))
			if _, err := io.ReadFull(in, got); err != nil {
				t.Fatal(err)
			}
			b.terminate(t, b.sessions)
			eventually(t, "the end is seen", func() bool { return b.log.count("stream ended") == 1 })
			began := time.Now()
			close(over)
			rest, err := io.ReadAll(in)
			t.Logf("over after %v", time.Since(began).Round(time.Millisecond))
			want := []byte(tt.want)
			if tt.closeFrame {
				want = append(want, revoked...)
			}
			if got = append(got, rest...); !bytes.Equal(got, want) || err != nil || time.Since(began) > atMost {
				t.Errorf("the browser got %q and %v after %v, want %q", got, err, time.Since(began), want)
			}
		})
	}
}

// eventually waits until done reports true.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) { // between two looks
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// A close with something unread resets the connection, and the close frame may be lost.
func TestABrowserMayAnswerTheCloseFrame(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	up := newUpstream(t, rawSocket(func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }))
	conn, in := b.upgrade(t, b.front(t, up.route("/api/")), "")
	b.terminate(t, b.sessions)
	if _, err := io.ReadFull(in, make([]byte, len(revoked))); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := in.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("before it has answered: %v", err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	answered := time.Now()
	_, _ = io.WriteString(conn, "\x88\x82\x00\x00\x00\x00\x0f\xa1")
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("after it has answered: %v", err)
	}
	t.Logf("closed %v after the answer", time.Since(answered).Round(time.Millisecond)) // and at most a second after the end
}

func TestABrowserInTheMiddleOfSendingSeesTheCloseFrame(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	up := newUpstream(t, rawSocket(func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }))
	conn, in := b.upgrade(t, b.front(t, up.route("/api/")), "")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		message := append([]byte{0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0}, make([]byte, 0xffff)...)
		for {
			if _, err := conn.Write(message); err != nil {
				return
			}
		}
	}()
	b.terminate(t, b.sessions)
	got := make([]byte, len(revoked))
	if _, err := io.ReadFull(in, got); err != nil || !bytes.Equal(got, revoked) {
		t.Errorf("%q %v", got, err)
	}
	<-sent // until it is cut off
}

func TestWhatTheBrowserSendsAfterTheEndDoesNotArrive(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	arrived := make(chan []byte, 1)
	up := newUpstream(t, rawSocket(func(conn net.Conn) {
		_, _ = io.WriteString(conn, "\x81\x05he") // so that the end has to wait for the frame
		all, _ := io.ReadAll(conn)
		arrived <- all
	}))
	conn, _ := b.upgrade(t, b.front(t, up.route("/api/")), "\x81\x82\x00\x00\x00\x00hi") // ahead of the answer
	b.terminate(t, b.sessions)
	eventually(t, "the end is seen", func() bool { return b.log.count("stream ended") == 1 })
	_, _ = io.WriteString(conn, "\x81\x82\x00\x00\x00\x00no")
	if got := <-arrived; !bytes.HasPrefix(got, []byte("\x81\x82\x00\x00\x00\x00hi")) || bytes.Contains(got, []byte("no")) {
		t.Errorf("%q", got)
	}
}

func TestAnEndWaitsForNobodyWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	flood := func(conn net.Conn) {
		for {
			if _, err := conn.Write(append([]byte{0x82, 0x7e, 0xff, 0xff}, make([]byte, 0xffff)...)); err != nil {
				return
			}
		}
	}
	for _, tt := range []struct {
		name  string
		serve func(net.Conn) // returns when the connection is cut
		send  func(net.Conn)
	}{
		{"the browser", flood, func(net.Conn) {}},
		{"the service", func(conn net.Conn) {
			<-time.After(1500 * time.Millisecond) // then it looks
			_, _ = io.Copy(io.Discard, conn)
		}, flood},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, over := newBench(t), make(chan struct{})
			up := newUpstream(t, rawSocket(func(conn net.Conn) { tt.serve(conn); close(over) }))
			conn, _ := b.upgrade(t, b.front(t, up.route("/api/")), "")
			sent := make(chan struct{})
			go func() { tt.send(conn); close(sent) }()
			b.terminate(t, b.sessions)
			began := time.Now()
			<-over
			if tt.name == "the service" {
				<-sent
			}
			t.Logf("cut after %v", time.Since(began).Round(time.Millisecond))
			if time.Since(began) > atMost {
				t.Errorf("cut after %v", time.Since(began))
			}
			eventually(t, "the call is over", func() bool { return b.log.count(`"msg":"request"`) > 0 })
		})
	}
}

// Over TLS a service is spoken to in HTTP/2 where it can, but never for an upgrade.
func TestAWebSocketOfAServiceThatSpeaksHTTP2(t *testing.T) {
	t.Parallel()
	b, c := newBench(t), &chat{ended: make(chan websocket.StatusCode, 1)}
	api := httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	api.EnableHTTP2 = true
	api.StartTLS()
	t.Cleanup(api.Close)
	target, _ := url.Parse(api.URL)
	front := b.serve(t, b.handler(t, api.Client().Transport, proxy.Route{Path: "/api/", URL: target}))
	conn := b.talk(t, front, "/api/socket")
	b.terminate(t, b.sessions)
	if code, reason := closing(t, conn); code != 4001 || reason != "revoked" {
		t.Errorf("%d %q", code, reason)
	}
}
