package app_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// at is where a replica is called past the balancer.
func (u *user) at(p *process, method, path string) *http.Request {
	u.r.t.Helper()
	req, err := http.NewRequestWithContext(u.r.t.Context(), method, "http://"+p.address+path, nil)
	if err != nil {
		u.r.t.Fatal(err)
	}
	public, _ := http.NewRequest(http.MethodGet, u.r.url, nil)
	for _, cookie := range u.client.Jar.Cookies(public.URL) {
		req.AddCookie(cookie)
	}
	req.Host = public.Host
	req.Header.Set("X-CSRF", "1")
	req.Header.Set("Origin", u.r.url)
	return req
}

// arrival is how a stream ended, and when.
type arrival struct {
	text string
	at   time.Time
}

// socket opens a WebSocket at a replica and waits for its close frame.
func (u *user) socket(p *process) <-chan arrival {
	u.r.t.Helper()
	req := u.at(p, http.MethodGet, "/api/socket")
	conn, _, err := websocket.Dial(u.r.t.Context(), req.URL.String(), &websocket.DialOptions{HTTPHeader: req.Header, Host: req.Host})
	if err != nil {
		u.r.t.Fatal(err)
	}
	u.r.t.Cleanup(func() { _ = conn.CloseNow() })
	if _, text, err := conn.Read(u.r.t.Context()); string(text) != "hello" {
		u.r.t.Fatal(err)
	}
	over := make(chan arrival, 1)
	go func() {
		_, _, err := conn.Read(context.Background())
		var frame websocket.CloseError
		errors.As(err, &frame)
		over <- arrival{frame.Error(), time.Now()}
	}()
	return over
}

// events opens a stream of events at a replica and waits for its end.
func (u *user) events(p *process) <-chan arrival {
	u.r.t.Helper()
	res, err := http.DefaultTransport.RoundTrip(u.at(p, http.MethodGet, "/api/events"))
	if err != nil {
		u.r.t.Fatal(err)
	}
	u.r.t.Cleanup(func() { _ = res.Body.Close() })
	if _, err := io.ReadFull(res.Body, make([]byte, len("data: hello\n\n"))); err != nil {
		u.r.t.Fatal(res.Status, err)
	}
	over := make(chan arrival, 1)
	go func() {
		text, err := io.ReadAll(res.Body)
		if err != nil {
			text = append(text, err.Error()...)
		}
		over <- arrival{string(text), time.Now()}
	}()
	return over
}

// greeting is a service that says hello and then nothing.
func greeting(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: hello\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	_ = conn.Write(r.Context(), websocket.MessageText, []byte("hello"))
	_, _, _ = conn.Read(context.Background())
}

// The session ends at one replica, its streams are at another.
func TestStreamsEndWithTheirSessionOnEveryReplica(t *testing.T) {
	const atMost = 3 * time.Second // a second is promised; the log has what it took, on a machine under load maybe
	answered := func(t *testing.T, req *http.Request, status int) {
		t.Helper()
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if text, _ := io.ReadAll(res.Body); res.StatusCode != status {
			t.Fatalf("%d %s", res.StatusCode, text)
		}
	}
	ways := []struct {
		name, reason string
		end          func(t *testing.T, u *user, p *process)
	}{
		{"sign-out", "signed_out", func(t *testing.T, u *user, p *process) {
			answered(t, u.at(p, http.MethodPost, "/bff/logout"), http.StatusOK)
		}},
		{"back-channel logout", "provider", func(t *testing.T, u *user, p *process) {
			u.r.turn.Store(0) // the next is the second replica's
			for _, notice := range u.r.idp.EndSession("dev-user-alice-7f3a", "") {
				if notice.Status != http.StatusOK {
					t.Fatalf("%+v", notice)
				}
			}
		}},
		{"revoked by an administrator", "revoked", func(t *testing.T, _ *user, p *process) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+p.admin+"/admin/sessions?sub=dev-user-alice-7f3a", nil)
			if err != nil {
				t.Fatal(err)
			}
			answered(t, req, http.StatusOK)
		}},
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, open(t).address, time.Hour)
			handler := http.HandlerFunc(greeting)
			r.upstream.Store(&handler)
			for _, way := range ways {
				u := r.signIn()
				socket, events := u.socket(r.replicas[0]), u.events(r.replicas[0])
				way.end(t, u, r.replicas[1])
				ended := time.Now()
				for _, stream := range []struct {
					name, want string
					over       <-chan arrival
				}{
					{"the WebSocket", `status = StatusCode(4001) and reason = "` + way.reason + `"`, socket},
					{"the events", "event: ended\ndata: {\"reason\":\"" + way.reason + "\"}\n\n", events},
				} {
					select {
					case got := <-stream.over:
						t.Logf("%s: %s ended %v after the answer", way.name, stream.name, got.at.Sub(ended).Round(time.Millisecond))
						if got.text != stream.want {
							t.Errorf("%s: %s ended with %q, want %q", way.name, stream.name, got.text, stream.want)
						}
					case <-time.After(time.Until(ended.Add(atMost))):
						t.Errorf("%s: %s goes on", way.name, stream.name)
					}
				}
			}
		})
	}
}

func TestAStopTellsTheStreams(t *testing.T) {
	r := newRig(t, 1, "sqlite:"+filepath.Join(t.TempDir(), "sessions.db"), time.Hour)
	handler := http.HandlerFunc(greeting)
	r.upstream.Store(&handler)
	u, p := r.signIn(), r.replicas[0]
	socket, events := u.socket(p), u.events(p)
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := (<-socket).text; got != `status = StatusGoingAway and reason = "stopping"` {
		t.Errorf("the WebSocket ended with %q", got)
	}
	if got := (<-events).text; got != "" { // an EventSource comes back
		t.Errorf("the events ended with %q", got)
	}
	_, _ = p.cmd.Process.Wait()
	t.Logf("stopped after %v", time.Since(began).Round(time.Millisecond))
	if time.Since(began) > 5*time.Second {
		t.Errorf("stopped after %v", time.Since(began))
	}
}
