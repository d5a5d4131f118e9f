package proxy_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"genkan/internal/proxy"
	"genkan/internal/telemetry"
)

// counted serves one route and returns what m says of it.
func (b *bench) counted(t testing.TB, route proxy.Route) (front *httptest.Server, metrics func() string) {
	t.Helper()
	m := telemetry.NewMetrics()
	h, err := proxy.New(proxy.Config{Routes: []proxy.Route{route}, Sessions: b.sessions, Metrics: m, Logger: telemetry.New(b.log, telemetry.Options{Format: "json"})})
	if err != nil {
		t.Fatal(err)
	}
	return b.serve(t, h), func() string {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
}

func TestABrowserThatClosesInFullFlowHasLeft(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	up := newUpstream(t, rawSocket(func(conn net.Conn) {
		for err := error(nil); err == nil; {
			_, err = conn.Write(append([]byte{0x82, 0x7e, 0xff, 0xff}, make([]byte, 0xffff)...))
		}
	}))
	front, metrics := b.counted(t, up.route("/api/"))
	const browsers = 30
	for range browsers {
		conn, in := b.upgrade(t, front, "")
		_, _ = io.ReadFull(in, make([]byte, 100_000))
		_ = conn.Close()
	}
	eventually(t, "all are over", func() bool {
		return strings.Contains(metrics(), `genkan_streams_total{ended="client",kind="websocket"} 30`)
	})
}

// A service that only sends does not notice that the browser has left.
func TestWhoHasLeftGivesTheirPlaceBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	up := newUpstream(t, rawSocket(func(net.Conn) { <-stop }))
	front, metrics := b.counted(t, up.route("/api/"))
	conn, _ := b.upgrade(t, front, "")
	_, _ = io.WriteString(conn, "\x88\x82\x00\x00\x00\x00\x03\xe9") // a reload: 1001
	_ = conn.Close()
	eventually(t, "the place is free", func() bool { return strings.Contains(metrics(), `genkan_streams{kind="websocket"} 0`) })
}

func TestAStreamThatIsOverDoesNotWaitForItsSession(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newTrickle(t, events, "data: 1\n\n")
	front, metrics := b.counted(t, up.route("/api/"))
	for range 3 {
		_ = b.open(t, front, "data: 1\n\n").Body.Close()
	}
	eventually(t, "all are over", func() bool { return strings.Contains(metrics(), `genkan_streams{kind="events"} 0`) })
	last := b.open(t, front, "data: 1\n\n")
	b.terminate(t, b.sessions)
	_, _ = io.Copy(io.Discard, last.Body)
	eventually(t, "the end is logged", func() bool { return strings.Contains(b.log.String(), `"stream ended"`) })
	if n := strings.Count(b.log.String(), `"stream ended"`); n != 1 {
		t.Errorf("%d streams ended with the session, want the one that was open", n)
	}
}

func TestAnUpstreamThatSwitchesUnaskedIsLetGo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, upgrade, switches string }{
		{"to a protocol that nobody asked for", "", "websocket"},
		{"to another protocol than was asked for", "websocket", "other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, closed := newBench(t), make(chan error, 1)
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, _ := http.NewResponseController(w).Hijack()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+tt.switches+"\r\n\r\n")
				_ = conn.SetReadDeadline(time.Now().Add(atMost))
				_, err := conn.Read(make([]byte, 1))
				closed <- err
				_ = conn.Close()
			})
			r := b.call(t, "GET", b.front(t, up.route("/api/")).URL+"/api/x", nil)
			if tt.upgrade != "" {
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", tt.upgrade)
			}
			if res := send(t, r); res.StatusCode != http.StatusBadGateway {
				t.Errorf("%d %s", res.StatusCode, res.text)
			}
			if err := <-closed; err != io.EOF {
				t.Errorf("the upstream's connection: %v", err)
			}
		})
	}
}

// A small answer that comes byte by byte moves all the time.
func TestASmallAnswerThatMovesIsNotIdle(t *testing.T) {
	t.Parallel()
	const limit, want = time.Second, "xxxxxxxxxxxx"
	b := newBench(t)
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(want)))
		tick := time.NewTicker(limit / 4) // in all longer than it may stand still
		defer tick.Stop()
		for range len(want) {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			<-tick.C
		}
	})
	if res := send(t, b.call(t, "GET", b.front(t, up.route("/api/", idle(limit), func(r *proxy.Route) { r.Timeout = limit / 2 })).URL+"/api/x", nil)); res.text != want {
		t.Errorf("%d %q: %s", res.StatusCode, res.text, b.log)
	}
}

func TestAProgramsLongAnswerEndsWithItsToken(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newTrickle(t, http.Header{"Content-Type": {"application/x-ndjson"}}, "{}\n")
	b.knowsRobot()
	r, err := http.NewRequestWithContext(t.Context(), "GET", b.front(t, up.route("/api/", programs)).URL+"/api/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+jwtOf("https://idp.example"))
	res, err := (&http.Transport{}).RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	b.pass(24 * time.Hour)
	if text, err := io.ReadAll(res.Body); string(text) != "{}\n" || err == nil {
		t.Errorf("%q %v", text, err)
	}
	<-up.left
}

func TestAnUpgradeNeedsItsConnectionHeader(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newUpstream(t, echo)
	r := b.call(t, "GET", b.front(t, up.route("/api/")).URL+"/api/x", nil)
	r.Header.Set("Upgrade", "websocket")
	if res := send(t, r); res.text != "no upgrade" { // RFC 9110 7.8
		t.Errorf("%d %q", res.StatusCode, res.text)
	}
}
