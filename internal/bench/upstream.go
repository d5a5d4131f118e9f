package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// answer is what the upstream says to a call: about what a small row of an API is.
const answer = `{"id":17,"customer":"Kyoto Trading","items":[{"sku":"A-100","quantity":3},{"sku":"B-220","quantity":1}],"total":"128.50","currency":"EUR","paid":true}`

// upstream is the service behind the proxies. A call without a bearer token is refused,
// so that a proxy that forgets it cannot look fast.
func upstream(*url.URL) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header.Get("Authorization")) < 100 || r.Header.Get("Cookie") != "" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Header()["Content-Type"] = jsonType
		_, _ = io.WriteString(w, answer)
	})
	mux.HandleFunc("/download", download)
	mux.HandleFunc("/upload", upload)
	drips := &drips{}
	mux.HandleFunc("/drip", drips.body)
	mux.HandleFunc("/dripheader", drips.header)
	mux.HandleFunc("/stuck", drips.count)
	mux.HandleFunc("/ws", socket)
	return mux
}

var jsonType = []string{"application/json"}

// download sends as many bytes as ?bytes= says.
func download(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil || size < 0 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	for block := make([]byte, 64<<10); size > 0; {
		n, err := w.Write(block[:min(size, int64(len(block)))])
		if size -= int64(n); err != nil {
			return
		}
	}
}

// upload tells how many bytes came.
func upload(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header()["Content-Type"] = jsonType
	_, _ = io.WriteString(w, strconv.FormatInt(n, 10))
}

// drips are the calls that get a byte a second until the caller has enough.
type drips struct{ stuck atomic.Int64 }

// count tells how many there are now.
func (d *drips) count(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, strconv.FormatInt(d.stuck.Load(), 10))
}

// body is slow once the header is sent.
func (d *drips) body(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	control := http.NewResponseController(w)
	d.drip(r.Context(), func() error {
		_, err := io.WriteString(w, ".")
		return errors.Join(err, control.Flush())
	})
}

// header never comes to the end of it.
func (d *drips) header(w http.ResponseWriter, r *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Slow: "); err != nil {
		return
	}
	d.drip(context.WithoutCancel(r.Context()), func() error { _, err := io.WriteString(conn, "."); return err })
}

func (d *drips) drip(ctx context.Context, one func() error) {
	d.stuck.Add(1)
	defer d.stuck.Add(-1)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for one() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// socket sends back what it gets.
func socket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the proxy has checked the Origin
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}
