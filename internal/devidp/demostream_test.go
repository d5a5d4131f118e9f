package devidp_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

// dial opens a WebSocket of the API, from a page of another origin.
func dial(t *testing.T, address string, token any) (*websocket.Conn, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	header := http.Header{"Authorization": {fmt.Sprint("Bearer ", token)}, "Origin": {"https://app.example"}}
	conn, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn, ctx
}

func TestDemoAPIWebSocket(t *testing.T) {
	t.Parallel()
	w := quick(t)
	api, token := w.api(t), w.tokens()["access_token"]
	conn, ctx := dial(t, api.URL+"/ws", token)
	conn.SetReadLimit(2 << 20)
	kind, hello, err := conn.Read(ctx)
	if err != nil || kind != websocket.MessageText || !cmp.Equal(object(t, string(hello)), map[string]any{"message": "hello", "sub": "dev-user-alice-7f3a"}) {
		t.Errorf("hello: %v, %q, %v", kind, hello, err)
	}
	long := bytes.Repeat([]byte("x"), 1<<20)
	for kind, message := range map[websocket.MessageType][]byte{websocket.MessageText: []byte("hällo"), websocket.MessageBinary: long} {
		if err := conn.Write(ctx, kind, message); err != nil {
			t.Fatal(err)
		}
		gotKind, got, err := conn.Read(ctx)
		if err != nil || gotKind != kind || !bytes.Equal(got, message) {
			t.Errorf("%v: %v, %d bytes, %v", kind, gotKind, len(got), err)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err) // the API takes part in the closing handshake
	}
	if got := call(t, "GET", api.URL+"/ws", nil, ""); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: HTTP %d", got.StatusCode)
	}
	if got := call(t, "GET", api.URL+"/ws", token, ""); got.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("no WebSocket: HTTP %d", got.StatusCode)
	}
}

func TestDemoAPISilentWebSocket(t *testing.T) {
	t.Parallel()
	w := quick(t)
	conn, ctx := dial(t, w.api(t).URL+"/ws?silent=1", w.tokens()["access_token"])
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	// The answer to a ping comes after that to the message would have.
	arrived := make(chan string, 1)
	go func() {
		_, message, err := conn.Read(ctx)
		arrived <- fmt.Sprintf("%q, %v", message, err)
	}()
	if err := conn.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-arrived:
		t.Errorf("it sent %s", got)
	default:
	}
}

func TestDemoAPIEndlessAnswers(t *testing.T) {
	t.Parallel()
	w := quick(t)
	token := w.tokens()["access_token"]
	for path, row := range map[string]struct{ kind, line string }{
		"/stream": {"text/event-stream", `data: {"n":%d}`}, "/ndjson": {"application/x-ndjson", `{"n":%d}`},
	} {
		ended := make(chan struct{})
		api := devidp.NewDemoAPI(devidp.DemoAPIConfig{Issuer: w.issuer, Now: w.clock.Now, Pause: time.Millisecond})
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			api.ServeHTTP(rw, r)
			close(ended)
		}))
		t.Cleanup(server.Close)
		ctx, leave := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path+"?endless=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", fmt.Sprint("Bearer ", token))
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		lines, next := bufio.NewScanner(response.Body), 1
		for next <= 20 && lines.Scan() {
			if lines.Text() == fmt.Sprintf(row.line, next) {
				next++
			}
		}
		if next != 21 || response.Header.Get("Content-Type") != row.kind {
			t.Errorf("%s: ended before %d, %s", path, next, response.Header.Get("Content-Type"))
		}
		leave()
		_ = response.Body.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: it goes on for nobody", path)
		}
	}
	if got := call(t, "GET", w.api(t).URL+"/ndjson", token, ""); got.body != "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n" {
		t.Errorf("three lines: %q", got.body)
	}
}

func TestDemoAPIDownload(t *testing.T) {
	t.Parallel()
	w := quick(t)
	api, token := w.api(t), w.tokens()["access_token"]
	const size = 1_000_003
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(i % 251)
	}
	got := call(t, "GET", fmt.Sprint(api.URL, "/download?bytes=", size), token, "")
	if got.StatusCode != http.StatusOK || got.ContentLength != size || got.body != string(want) {
		t.Errorf("HTTP %d, length %d, %d bytes", got.StatusCode, got.ContentLength, len(got.body))
	}
	for _, row := range []struct {
		name, method, bytes string
		status              int
		length              int64
	}{
		{"nothing", "GET", "0", 200, 0},
		{"as much as there is, not read", "HEAD", "2147483648", 200, 2147483648},
		{"more", "GET", "2147483649", 400, -1},
		{"negative", "GET", "-1", 400, -1},
		{"no number", "GET", "1e3", 400, -1},
		{"not said", "GET", "", 400, -1},
	} {
		got := call(t, row.method, api.URL+"/download?bytes="+row.bytes, token, "")
		if got.StatusCode != row.status || row.length >= 0 && got.ContentLength != row.length {
			t.Errorf("%s: HTTP %d, length %d", row.name, got.StatusCode, got.ContentLength)
		}
	}
}

// zeros are bytes that nobody has to hold in memory.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestDemoAPIUpload(t *testing.T) {
	t.Parallel()
	w := quick(t)
	api, token := w.api(t), w.tokens()["access_token"]
	sum := sha256.Sum256([]byte("hello"))
	got := object(t, call(t, "POST", api.URL+"/upload", token, "hello").body)
	if diff := cmp.Diff(map[string]any{"bytes": 5.0, "sha256": hex.EncodeToString(sum[:])}, got); diff != "" {
		t.Error(diff)
	}
	const size = 3 << 20 // more than other paths take
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.URL+"/upload", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", fmt.Sprint("Bearer ", token))
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), `"bytes":3145728`) {
		t.Errorf("HTTP %d: %s, %v", response.StatusCode, body, err)
	}
}

// unread is a body that may not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) { u.t.Error("the body was read"); return 0, io.EOF }

func TestDemoAPIRefusesALongUpload(t *testing.T) {
	t.Parallel()
	w := quick(t)
	api := devidp.NewDemoAPI(devidp.DemoAPIConfig{Issuer: w.issuer, Now: w.clock.Now})
	r := httptest.NewRequest(http.MethodPost, "/upload", unread{t})
	r.ContentLength = 2147483649
	r.Header.Set("Authorization", fmt.Sprint("Bearer ", w.tokens()["access_token"]))
	answer := httptest.NewRecorder()
	api.ServeHTTP(answer, r)
	if answer.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("HTTP %d: %s", answer.Code, answer.Body)
	}
}
