package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"genkan/internal/origin"
	"genkan/internal/proxy"
	"genkan/internal/rp"
)

// What only raw bytes or HTTP/2 can say, and no browser does.
func TestOddRequestsAreMadePlain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, head, gone, body string
	}{
		{"an upgrade with a body", "GET /api/x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1", "Upgrade", "x"},
		{"an upgrade with a body in chunks", "GET /api/x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked", "Upgrade", "0"},
		{"an upgrade of another method", "POST /api/x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket", "Upgrade", ""},
		{"framing in another spelling", "GET /api/x HTTP/1.1\r\nTransfer_Encoding: chunked", "Transfer_encoding", ""},
		{"a length in another spelling", "GET /api/x HTTP/1.1\r\nContent_Length: 5", "Content_length", ""},
		{"no user agent", "GET /api/x HTTP/1.1", "User-Agent", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
			front := b.front(t, up.route("/api/", func(r *proxy.Route) { r.Timeout = time.Second }))
			head := tt.head + "\r\nHost: localhost:8000\r\nX-CSRF: 1\r\nOrigin: http://localhost:5173\r\nCookie: " + b.cookie.String()
			if tt.body != "" {
				head += "\r\n\r\n" + tt.body
			}
			raw(t, front, head)
			if got := up.only(t).header; len(got[tt.gone]) > 0 {
				t.Errorf("%v", got)
			}
		})
	}
}

// HTTP/2 has no request line that a blank would end.
func TestAQueryThatWouldEndTheRequestLineIsRefused(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newUpstream(t, nil)
	h := b.handler(t, nil, up.route("/api/"))
	for _, query := range []string{"a=b HTTP/1.0 ", "a=b#c"} {
		r := b.call(t, "GET", "/api/x", nil)
		r.RequestURI, r.URL.RawQuery = "/api/x?"+query, query
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, origin.WithSite(r, b.site)); w.Code != http.StatusBadRequest || len(up.seen()) > 0 {
			t.Errorf("%q: %d, %d calls arrived", query, w.Code, len(up.seen()))
		}
	}
}

func TestAStatusThatIsNoneIsNoAnswer(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"000", "099"} {
		b := newBench(t)
		up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 "+status+" Odd\r\nCache-Control: public\r\nContent-Length: 2\r\n\r\nok")
		})
		res := send(t, b.call(t, "GET", b.front(t, up.route("/api/")).URL+"/api/x", nil))
		if res.StatusCode != http.StatusBadGateway || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %q", status, res.StatusCode, res.Header)
		}
	}
}

// The time-out is for upstreams. A provider has one of its own.
func TestASlowRenewalIsNoSlowUpstream(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	b := newBench(t)
	b.pass(time.Minute)
	b.provider.renewing(func(rp.Grant) (rp.Grant, error) {
		<-time.After(2 * limit)
		return grant(b.clock().Add(time.Hour), "at-2", "rt-2"), nil
	})
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer at-1" {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	})
	front := b.front(t, up.route("/api/", func(r *proxy.Route) { r.Timeout = limit }))
	if res := send(t, b.call(t, "GET", front.URL+"/api/x", nil)); res.StatusCode != http.StatusOK || res.text != "Bearer at-2" {
		t.Errorf("%d %q", res.StatusCode, res.text)
	}
}
