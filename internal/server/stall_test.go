package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAStalledBodyIsNotWaitedForForever: whoever announces a body and does not send it
// holds a connection, and a goroutine, no longer than ten seconds.
func TestAStalledBodyIsNotWaitedForForever(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"a form that stops":          "POST /bff/callback HTTP/1.1\nHost: localhost:8000\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 1000\n\nstate=",
		"a body nobody reads":        "POST /bff/refresh HTTP/1.1\nHost: localhost:8000\nContent-Length: 1000\n\n{",
		"chunks that stop":           "POST /bff/logout HTTP/1.1\nHost: localhost:8000\nTransfer-Encoding: chunked\n\n5\nhe",
		"no endpoint":                "POST /nothing HTTP/1.1\nHost: localhost:8000\nContent-Length: 1000\n\n",
		"a foreign host":             "POST / HTTP/1.1\nHost: evil.example\nContent-Length: 1000\n\n",
		"an upstream's foreign host": "POST /panic HTTP/1.1\nHost: evil.example\nContent-Length: 1000\n\n",
		"an upstream that fails":     "POST /panic HTTP/1.1\nHost: localhost:8000\nContent-Length: 1000\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, stop := connect(newFixture(t, options{upstreams: panicking{}}).handler)
				defer stop()
				go func() { _, _ = client.Write([]byte(strings.ReplaceAll(request, "\n", "\r\n"))) }()
				began := time.Now()
				_ = client.SetReadDeadline(began.Add(time.Hour))
				_, _ = io.Copy(io.Discard, client) // until the server closes
				if waited := time.Since(began); waited > 15*time.Second {
					t.Errorf("the connection was held for %s", waited)
				}
			})
		})
	}
}

// TestAnAnswerNobodyReadsIsGivenUp: the same from the other side.
func TestAnAnswerNobodyReadsIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, stop := connect(newFixture(t, options{files: appFiles}).handler)
		defer stop()
		if _, err := client.Write([]byte("GET / HTTP/1.1\r\nHost: localhost:8000\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour) // of the bubble's clock
		if answer, err := io.ReadAll(client); err != nil || len(answer) != 0 {
			t.Errorf("an hour later the connection is open: %q %v", answer, err)
		}
	})
}

// TestAStreamOfAnUpstreamIsNotGivenUp: neither limit is theirs.
func TestAStreamOfAnUpstreamIsNotGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, stop := connect(newFixture(t, options{upstreams: slow{}}).handler)
		defer stop()
		go func() {
			_, _ = client.Write([]byte("POST / HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: 5\r\n\r\n"))
			<-time.After(time.Hour)
			_, _ = client.Write([]byte("hello"))
		}()
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "hello" || err != nil {
			t.Errorf("%q %v", body, err)
		}
	})
}

// slow reads its request to the end and takes its time to answer.
type slow struct{}

func (slow) Match(*http.Request) bool { return true }

func (slow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	<-time.After(time.Hour)
	_, _ = w.Write(body)
}

// connect serves h on one connection in memory.
func connect(h http.Handler) (client net.Conn, stop func()) {
	pipes := &pipeListener{make(chan net.Conn), make(chan struct{})}
	served := &http.Server{Handler: h, ReadHeaderTimeout: time.Second, IdleTimeout: time.Minute}
	go func() { _ = served.Serve(pipes) }()
	client, conn := net.Pipe()
	pipes.conns <- conn
	return client, func() { _ = served.Close(); _ = client.Close() }
}

// pipeListener hands out connections that are made in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { close(l.closed); return nil }

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
