package telemetry_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/telemetry"
)

// serve runs one request through AccessLog and Recover, and returns the answer and
// the log lines. aborted reports http.ErrAbortHandler.
func serve(t *testing.T, r *http.Request, h http.HandlerFunc) (w *httptest.ResponseRecorder, logged []map[string]any, aborted bool) {
	t.Helper()
	var b bytes.Buffer
	logger := telemetry.New(&b, telemetry.Options{Format: "json"})
	ticks := 0
	now := func() time.Time {
		ticks++
		return time.Unix(1700000000, 0).Add(time.Duration(ticks) * 25 * time.Millisecond)
	}
	onPanic := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "sorry", http.StatusInternalServerError) }
	w = httptest.NewRecorder()
	func() {
		defer func() {
			if v := recover(); v != nil {
				if v != http.ErrAbortHandler {
					t.Errorf("panic: %v", v)
				}
				aborted = true
			}
		}()
		telemetry.AccessLog(logger, now)(telemetry.Recover(logger, onPanic)(h)).ServeHTTP(w, r)
	}()
	for line := range strings.Lines(b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		delete(m, "time")
		logged = append(logged, m)
	}
	return w, logged, aborted
}

func request(method, target, remote string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr = remote
	return r
}

func TestAccessLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		request *http.Request
		handler http.HandlerFunc
		want    map[string]any
	}{
		{"plain answer, no query", request("GET", "/a%20b?code=s3cret", "192.0.2.7:4711"),
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
			map[string]any{"level": "INFO", "method": "GET", "path": "/a%20b", "status": 200.0, "bytes": 5.0, "remote": "192.0.2.7"}},
		{"nothing written", request("DELETE", "/x", "[2001:db8::1]:1"),
			func(http.ResponseWriter, *http.Request) {},
			map[string]any{"level": "INFO", "method": "DELETE", "path": "/x", "status": 200.0, "bytes": 0.0, "remote": "2001:db8::1"}},
		{"client error is no error of ours", request("GET", "/x", "[::ffff:192.0.2.7]:1"),
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
			map[string]any{"level": "INFO", "method": "GET", "path": "/x", "status": 404.0, "bytes": 0.0, "remote": "192.0.2.7"}},
		{"server error", request("GET", "/x", "odd"),
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
			map[string]any{"level": "ERROR", "method": "GET", "path": "/x", "status": 503.0, "bytes": 0.0, "remote": "odd"}},
		{"early hints are not the status", request("GET", "/x", "192.0.2.7:1"),
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(204) },
			map[string]any{"level": "INFO", "method": "GET", "path": "/x", "status": 204.0, "bytes": 0.0, "remote": "192.0.2.7"}},
		{"long path is cut", request("GET", "/"+strings.Repeat("p", 500), "192.0.2.7:1"),
			func(http.ResponseWriter, *http.Request) {},
			map[string]any{"level": "INFO", "method": "GET", "path": "/" + strings.Repeat("p", 199), "status": 200.0, "bytes": 0.0, "remote": "192.0.2.7"}},
		{"token in the path", request("GET", "/x/"+jwt, "192.0.2.7:1"),
			func(http.ResponseWriter, *http.Request) {},
			map[string]any{"level": "INFO", "method": "GET", "path": "/x/[redacted]", "status": 200.0, "bytes": 0.0, "remote": "192.0.2.7"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.request.Header.Set("X-Request-Id", "chosen-by-the-client")
			w, logged, _ := serve(t, tt.request, tt.handler)
			id := w.Header().Get("X-Request-Id")
			if !regexp.MustCompile(`^[a-z2-7]{16}$`).MatchString(id) {
				t.Errorf("request id %q", id)
			}
			tt.want["msg"], tt.want["duration_ms"], tt.want["request_id"] = "request", 25.0, id
			if diff := cmp.Diff([]map[string]any{tt.want}, logged); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRequestIDsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		w, _, _ := serve(t, request("GET", "/", "192.0.2.7:1"), func(http.ResponseWriter, *http.Request) {})
		seen[w.Header().Get("X-Request-Id")] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d different ids of 100", len(seen))
	}
}

func TestPanicIsAnsweredAndLoggedWithoutSecrets(t *testing.T) {
	t.Parallel()
	w, logged, aborted := serve(t, request("GET", "/x", "192.0.2.7:1"), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Header().Set("Set-Cookie", "half=done")
		panic(errors.New("refused: opaque-refresh-123"))
	})
	if w.Code != 500 || w.Body.String() != "sorry\n" || aborted || w.Header().Get("Content-Length") != "" || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("%d %q aborted=%v %v", w.Code, w.Body, aborted, w.Header())
	}
	if len(logged) != 2 || logged[0]["msg"] != "panic" || logged[1]["status"] != 500.0 {
		t.Fatalf("%v", logged)
	}
	if logged[0]["type"] != "*errors.errorString" || logged[0]["value"] != "not shown" || logged[0]["request_id"] != logged[1]["request_id"] {
		t.Errorf("%v", logged[0])
	}
	frames, _ := logged[0]["stack"].([]any)
	text, _ := json.Marshal(frames)
	if len(frames) < 2 || !strings.Contains(string(text), "TestPanicIsAnswered") || strings.Contains(string(text), "0x") || strings.Contains(string(text), "/internal/telemetry/access_test.go") {
		t.Errorf("stack: %s", text)
	}
}

func TestPanicAfterTheFirstByteAbortsTheAnswer(t *testing.T) {
	t.Parallel()
	w, logged, aborted := serve(t, request("GET", "/x", "192.0.2.7:1"), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		var none []int
		_ = none[len(w.Header())+7]
	})
	if !aborted || w.Body.String() != "half" || len(logged) != 2 || !strings.Contains(fmt.Sprint(logged[0]["value"]), "index out of range") || logged[1]["aborted"] != true {
		t.Errorf("aborted=%v body=%q %v", aborted, w.Body, logged)
	}
}

func TestAbortPassesThroughUnlogged(t *testing.T) {
	t.Parallel()
	_, logged, aborted := serve(t, request("GET", "/x", "192.0.2.7:1"), func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	})
	if !aborted || len(logged) != 1 || logged[0]["msg"] != "request" || logged[0]["aborted"] != true || logged[0]["status"] != 0.0 {
		t.Errorf("aborted=%v %v", aborted, logged)
	}
}

// over serves h by a real server behind both middlewares; done gets the access line's
// status when the answer is over.
func over(t *testing.T, h http.HandlerFunc) (server *httptest.Server, done chan int64) {
	t.Helper()
	done = make(chan int64, 1)
	logger := slog.New(statusHandler{slog.DiscardHandler, done})
	server = httptest.NewServer(telemetry.AccessLog(logger, time.Now)(telemetry.Recover(logger, nil)(h)))
	t.Cleanup(server.Close)
	return server, done
}

func TestStreamsAreFlushed(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server, done := over(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		w.(http.Flusher).Flush() // as gin asks
		<-release
		_, _ = io.WriteString(w, "second\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})
	res, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body := bufio.NewReader(res.Body)
	if line, err := body.ReadString('\n'); line != "first\n" {
		t.Fatal(line, err)
	}
	close(release)
	if line, err := body.ReadString('\n'); line != "second\n" {
		t.Fatal(line, err)
	}
	if status := <-done; status != 200 {
		t.Errorf("status %d", status)
	}
}

func TestConnectionsCanBeHijacked(t *testing.T) {
	t.Parallel()
	server, done := over(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack() // as gin asks
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("raw\n")
		_ = rw.Flush()
	})
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "raw\n" {
		t.Fatal(line, err)
	}
	if status := <-done; status != 101 {
		t.Errorf("status %d", status)
	}
}

// statusHandler passes on the status of the access line.
type statusHandler struct {
	slog.Handler
	done chan int64
}

func (h statusHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h statusHandler) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "status" {
			h.done <- a.Value.Int64()
		}
		return true
	})
	return nil
}
