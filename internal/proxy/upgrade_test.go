package proxy_test

import (
	"bufio"
	"cmp"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"genkan/internal/proxy"
)

// echo answers any upgrade and sends back what it gets.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		_, _ = io.WriteString(w, "no upgrade")
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + r.Header.Get("Upgrade") + "\r\nSet-Cookie: a=b\r\nSec-WebSocket-Accept: x\r\n\r\n")
	_ = rw.Flush()
	_, _ = io.Copy(conn, rw)
}

func TestUpgrades(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		head   string
		cookie bool
		status int
		socket bool // the upstream saw an upgrade
		path   string
	}{
		{"WebSocket of the app", "Upgrade: websocket\r\nOrigin: http://localhost:5173", true, 101, true, ""},
		{"WebSocket that calls itself a page", "Upgrade: websocket\r\nAccept: text/html", true, 403, false, "/pages/x"},
		{"WebSocket of this origin", "Upgrade: WebSocket\r\nOrigin: http://localhost:8000", true, 101, true, ""},
		{"WebSocket of another origin", "Upgrade: websocket\r\nOrigin: http://evil.example", true, 403, false, ""},
		{"WebSocket without an origin", "Upgrade: websocket\r\nX-CSRF: 1", true, 403, false, ""},
		{"WebSocket signed out", "Upgrade: websocket\r\nOrigin: http://localhost:5173", false, 401, false, ""},
		{"h2c is no tunnel", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nOrigin: http://localhost:5173", true, 200, false, ""},
		{"a list of protocols is none", "Upgrade: websocket, h2c\r\nOrigin: http://localhost:5173", true, 200, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, echo)
			front := b.front(t, up.route("/api/"), up.route("/pages/", navigate))
			conn, err := net.Dial("tcp", front.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			head := "GET " + cmp.Or(tt.path, "/api/socket") + " HTTP/1.1\r\nHost: localhost:8000\r\nConnection: Upgrade\r\n" + tt.head + "\r\n"
			if tt.cookie {
				head += "Cookie: " + b.cookie.String() + "\r\n"
			}
			_, _ = io.WriteString(conn, head+"\r\n")
			in := bufio.NewReader(conn)
			res, err := http.ReadResponse(in, nil)
			if err != nil || res.StatusCode != tt.status || len(res.Cookies()) != 0 {
				t.Fatalf("%v %v", res, err)
			}
			list := up.seen()
			if saw := len(list) == 1 && list[0].header.Get("Upgrade") != ""; saw != tt.socket {
				t.Errorf("the upstream saw an upgrade: %v", saw)
			}
			if !tt.socket {
				return
			}
			if list[0].header.Get("Cookie") != "" || list[0].header.Get("Authorization") != "Bearer at-1" {
				t.Errorf("%v", list[0].header)
			}
			_, _ = io.WriteString(conn, "ping\n")
			if line, err := in.ReadString('\n'); line != "ping\n" {
				t.Errorf("%q %v", line, err)
			}
		})
	}
}

func TestAWebSocketOfAnotherOriginIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*proxy.Route)
	}{
		{"auth required", func(*proxy.Route) {}},
		{"auth optional", auth(proxy.AuthOptional)},
		{"pages may be opened", navigate},
		{"programs may call", programs},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newChat(t)
			front := b.front(t, up.route("/api/", tt.change))
			for _, header := range []http.Header{
				{"Origin": {"http://evil.example"}}, {"Origin": {"null"}}, {}, {"X-Csrf": {"1"}},
				{"Origin": {"http://evil.example"}, "Sec-Fetch-Mode": {"navigate"}, "Accept": {"text/html"}},
				{"Origin": {"http://evil.example"}, "Sec-Fetch-Mode": {"websocket"}, "Sec-Fetch-Site": {"same-origin"}},
			} {
				header.Set("Cookie", b.cookie.String())
				_, res, err := websocket.Dial(t.Context(), front.URL+"/api/socket", &websocket.DialOptions{HTTPHeader: header})
				if err == nil || res == nil || res.StatusCode != http.StatusForbidden {
					t.Errorf("%v: %v %v", header, res, err)
				}
			}
			if len(up.seen()) != 0 {
				t.Error("one arrived")
			}
		})
	}
}
