package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"genkan/internal/proxy"
	"genkan/internal/rp"
)

// protected is an API that takes only the given tokens.
func protected(good ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(good, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
			_, _ = io.WriteString(w, "ok")
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="api", error="invalid_token", error_description="expired"`)
		w.Header().Set("Set-Cookie", "a=b")
		http.Error(w, "the api says no", http.StatusUnauthorized)
	}
}

func plain401(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	w.WriteHeader(401)
}

func scope403(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="orders"`)
	http.Error(w, "not yours", 403)
}

func renew(access string) func(rp.Grant) (rp.Grant, error) {
	return func(rp.Grant) (rp.Grant, error) {
		return grant(time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC), access, "rt-2"), nil
	}
}

func TestARefusedTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	small, large := strings.Repeat("s", 64<<10), strings.Repeat("l", 64<<10+1)
	tests := []struct {
		name    string
		api     http.HandlerFunc
		renewal func(rp.Grant) (rp.Grant, error)
		method  string
		body    string
		chunked bool
		status  int
		text    string
		sent    []string // tokens the API saw
		renewed int
	}{
		{"GET is sent again", protected("at-2"), renew("at-2"), "GET", "", false, 200, "ok", []string{"at-1", "at-2"}, 1},
		{"a small POST is sent again", protected("at-2"), renew("at-2"), "POST", small, false, 200, "ok", []string{"at-1", "at-2"}, 1},
		{"a large POST is not", protected("at-2"), renew("at-2"), "POST", large, false, 401, "the api says no\n", []string{"at-1"}, 0},
		{"nor one of unknown length", protected("at-2"), renew("at-2"), "POST", "x", true, 401, "the api says no\n", []string{"at-1"}, 0},
		{"only once", protected("at-9"), renew("at-2"), "GET", "", false, 401, "the api says no\n", []string{"at-1", "at-2"}, 1},
		{"the same token is not sent twice", protected("at-9"), renew("at-1"), "GET", "", false, 401, "the api says no\n", []string{"at-1"}, 1},
		{"provider down: the answer stands", protected("at-2"), failing(errFault), "GET", "", false, 401, "the api says no\n", []string{"at-1"}, 1},
		{"provider refuses: the session is over", protected("at-2"), failing(errRefused), "GET", "", false, 401, "session_expired", []string{"at-1"}, 1},
		{"401 for another reason", plain401, renew("at-2"), "GET", "", false, 401, "", []string{"at-1"}, 0},
		{"403 insufficient_scope", scope403, renew("at-2"), "GET", "", false, 403, "not yours\n", []string{"at-1"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, tt.api)
			b.provider.renewing(tt.renewal)
			var body io.Reader = strings.NewReader(tt.body)
			if tt.chunked {
				body = io.MultiReader(body)
			}
			res := send(t, b.call(t, tt.method, b.front(t, up.route("/api/")).URL+"/api/x", body))
			code, _ := res.problem()
			if res.StatusCode != tt.status || res.text != tt.text && code != tt.text {
				t.Errorf("%d %q", res.StatusCode, res.text)
			}
			var sent []string
			for _, s := range up.seen() {
				sent = append(sent, strings.TrimPrefix(s.header.Get("Authorization"), "Bearer "))
				if s.body != tt.body || s.method != tt.method {
					t.Errorf("%s with %d bytes arrived", s.method, len(s.body))
				}
			}
			if !slices.Equal(sent, tt.sent) || b.provider.count() != tt.renewed {
				t.Errorf("sent %q after %d renewals, want %q after %d", sent, b.provider.count(), tt.sent, tt.renewed)
			}
			for _, c := range res.Cookies() {
				if c.Name == "a" {
					t.Error("a cookie of the upstream passed")
				}
			}
		})
	}
}

func TestAnUpstreamThatRefusesEveryTokenCostsFewTokenRequests(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newUpstream(t, protected())
	b.provider.renewing(renew("at-2"))
	front := b.front(t, up.route("/api/"))
	b.pass(time.Minute) // since sign-in
	for range 5 {
		if res := send(t, b.call(t, "GET", front.URL+"/api/x", nil)); res.StatusCode != 401 {
			t.Fatalf("%d %q", res.StatusCode, res.text)
		}
	}
	if got := b.provider.count(); got != 1 {
		t.Errorf("%d renewals for 5 calls, want 1", got)
	}
	b.pass(11 * time.Second)
	_ = send(t, b.call(t, "GET", front.URL+"/api/x", nil))
	if got := b.provider.count(); got != 2 {
		t.Errorf("%d renewals after 11 seconds more, want 2", got)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		limit, size int
		chunked     bool
		status      int
	}{
		{"declared, at the limit", 100_000, 100_000, false, 200},
		{"declared, above", 20_000, 20_001, false, 413}, // no more than a socket takes at once
		{"declared, above a small limit", 10, 11, false, 413},
		{"streamed, at the limit", 100_000, 100_000, true, 200},
		{"streamed, above", 100_000, 100_001, true, 413},
		{"streamed, far above", 100_000, 5_000_000, true, 413},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, nil)
			front := b.front(t, up.route("/api/", func(r *proxy.Route) { r.MaxBody = int64(tt.limit) }))
			var body io.Reader = strings.NewReader(strings.Repeat("x", tt.size))
			if tt.chunked {
				body = io.MultiReader(body)
			}
			res := send(t, b.call(t, "PUT", front.URL+"/api/x", body))
			if code, _ := res.problem(); res.StatusCode != tt.status || (code == "body_too_large") != (tt.status == 413) {
				t.Errorf("%d %s", res.StatusCode, res.text)
			}
			for _, s := range up.seen() {
				if len(s.body) > tt.limit || tt.status == 200 && len(s.body) != tt.size {
					t.Errorf("%d bytes arrived", len(s.body))
				}
			}
		})
	}
}

func TestUpstreamFaults(t *testing.T) {
	t.Parallel()
	wait := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	hangUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	hugeHeader := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 100<<10)) }
	forcedUpgrade := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "h2c")
		w.WriteHeader(http.StatusSwitchingProtocols)
	}
	tests := []struct {
		name   string
		up     func(testing.TB) *httptest.Server
		status int
		code   string
	}{
		{"nothing listens", func(t testing.TB) *httptest.Server { s := newUpstream(t, nil).Server; s.Close(); return s }, 502, "upstream_unavailable"},
		{"hangs up", func(t testing.TB) *httptest.Server { return newUpstream(t, hangUp).Server }, 502, "upstream_unavailable"},
		{"too large a header", func(t testing.TB) *httptest.Server { return newUpstream(t, hugeHeader).Server }, 502, "upstream_unavailable"},
		{"another protocol unasked", func(t testing.TB) *httptest.Server { return newUpstream(t, forcedUpgrade).Server }, 502, "upstream_unavailable"},
		{"no answer in time", func(t testing.TB) *httptest.Server { return newUpstream(t, wait).Server }, 504, "upstream_timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, s := newBench(t), tt.up(t)
			target, _ := url.Parse(s.URL)
			front := b.front(t, proxy.Route{Path: "/api/", URL: target, Timeout: 150 * time.Millisecond})
			res := send(t, b.call(t, "GET", front.URL+"/api/x", nil))
			if code, _ := res.problem(); res.StatusCode != tt.status || code != tt.code {
				t.Errorf("%d %s", res.StatusCode, res.text)
			}
			if strings.Contains(res.text, "127.0.0.1") || strings.Contains(res.text, target.Port()) {
				t.Errorf("the answer tells an address: %s", res.text)
			}
			if strings.Contains(b.log.String(), "at-1") {
				t.Errorf("the log tells the token: %s", b.log)
			}
		})
	}
}

func TestAWrongCertificateGetsNoToken(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), &upstream{}
	up.Server = httptest.NewUnstartedServer(up.recording(nil))
	up.Config.ErrorLog = nil
	up.StartTLS()
	t.Cleanup(up.Close)
	res := send(t, b.call(t, "GET", b.front(t, up.route("/api/")).URL+"/api/x", nil))
	if code, _ := res.problem(); res.StatusCode != 502 || code != "upstream_unavailable" || len(up.seen()) != 0 {
		t.Errorf("%d %s, %d calls", res.StatusCode, res.text, len(up.seen()))
	}
	if !strings.Contains(b.log.String(), "certificate") {
		t.Errorf("the log does not tell the cause: %s", b.log)
	}
}

// A browser that stops in the middle of an upload, and a service that answers before
// it has read everything: nobody waits for the rest.
func TestNobodyWaitsForAnUploadThatStandsStill(t *testing.T) {
	t.Parallel()
	readsAll := func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	answersAtOnce := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // else net/http waits for the body itself
		http.Error(w, "no need", http.StatusConflict)
		_ = http.NewResponseController(w).Flush() // of unknown length: Genkan flushes too
	}
	for _, tt := range []struct {
		name, length string
		api          http.HandlerFunc
		status       int
	}{
		{"length declared", "Content-Length: 100000", readsAll, 504},
		{"in chunks", "Transfer-Encoding: chunked", readsAll, 504},
		{"answered early", "Content-Length: 100000", answersAtOnce, 409},
		{"answered early, in chunks", "Transfer-Encoding: chunked", answersAtOnce, 409},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), httptest.NewServer(tt.api)
			t.Cleanup(up.Close)
			target, _ := url.Parse(up.URL)
			front := b.front(t, proxy.Route{Path: "/api/", URL: target, Timeout: 150 * time.Millisecond})
			status := raw(t, front, "POST /api/x HTTP/1.1\r\nHost: localhost:8000\r\nX-CSRF: 1\r\nOrigin: http://localhost:5173\r\nCookie: "+
				b.cookie.String()+"\r\n"+tt.length)
			if status != tt.status {
				t.Errorf("status %d", status)
			}
		})
	}
}

func TestTheTimeOutEndsWithTheHeader(t *testing.T) {
	t.Parallel()
	const limit = 100 * time.Millisecond
	b := newBench(t)
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		select { // three time-outs later
		case <-time.After(3 * limit):
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "second\n")
	})
	front := b.front(t, up.route("/api/", func(r *proxy.Route) { r.Timeout = limit }))
	if res := send(t, b.call(t, "GET", front.URL+"/api/x", nil)); res.text != "first\nsecond\n" {
		t.Errorf("%q", res.text)
	}
}

func TestEventsArriveAtOnce(t *testing.T) {
	t.Parallel()
	b, next := newBench(t), make(chan struct{})
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			_, _ = io.WriteString(w, "data: x\n\n")
			_ = http.NewResponseController(w).Flush()
			<-next // the next event is written when this one has been read
		}
	})
	r := b.call(t, "GET", b.front(t, up.route("/api/")).URL+"/api/x", nil)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body := bufio.NewReader(res.Body)
	for range 3 {
		line, err := body.ReadString('\n')
		if blank, _ := body.ReadString('\n'); line != "data: x\n" || blank != "\n" {
			t.Fatal(line, err)
		}
		next <- struct{}{}
	}
}

func TestABrowserThatHangsUpCancelsTheCall(t *testing.T) {
	t.Parallel()
	b, arrived, cancelled := newBench(t), make(chan struct{}), make(chan struct{})
	up := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(cancelled)
	})
	ctx, cancel := context.WithCancel(t.Context())
	r := b.call(t, "GET", b.front(t, up.route("/api/")).URL+"/api/x", nil).WithContext(ctx)
	go func() { <-arrived; cancel() }()
	if _, err := http.DefaultTransport.RoundTrip(r); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	select {
	case <-cancelled:
	case <-time.After(10 * time.Second):
		t.Fatal("the upstream still works for nobody")
	}
}

func TestAnAnswerThatBreaksOffIsNotWhole(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	res, err := http.DefaultTransport.RoundTrip(b.call(t, "GET", b.front(t, up.route("/api/")).URL+"/api/x", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("%q looks whole", text)
	}
}

func TestBytesPassAsTheyAre(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "not really gzip")
	})
	res := send(t, b.call(t, "GET", b.front(t, up.route("/api/")).URL+"/api/x", nil))
	if res.text != "not really gzip" || res.Header.Get("Content-Encoding") != "gzip" || up.only(t).header.Get("Accept-Encoding") != "" {
		t.Errorf("%q %v", res.text, res.Header)
	}
}

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	b, dialled := newBench(t), make(chan struct{}, 100)
	up := &upstream{}
	up.Server = httptest.NewUnstartedServer(up.recording(nil))
	up.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			dialled <- struct{}{}
		}
	}
	up.Start()
	t.Cleanup(up.Close)
	front := b.front(t, up.route("/api/"))
	for range 10 {
		send(t, b.call(t, "GET", front.URL+"/api/x", nil))
	}
	if n := len(dialled); n != 1 {
		t.Errorf("%d connections for 10 calls", n)
	}
}

func TestNoTokenIsAnsweredOrLogged(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newUpstream(t, protected("at-1"))
	front := b.front(t, up.route("/api/"), up.route("/public/", auth(proxy.AuthNone)))
	b.provider.renewing(failing(errFault))
	var answers strings.Builder
	for _, path := range []string{"/api/x", "/api/x?access_token=theirs", "/public/x", "/api/..%2f", "/none"} {
		res := send(t, b.call(t, "GET", front.URL+path, nil))
		_ = res.Header.Write(&answers)
		answers.WriteString(res.text)
	}
	for _, text := range []string{answers.String(), b.log.String()} {
		for _, secret := range []string{"at-1", "rt-1", b.cookie.Value, "theirs"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in %s", secret, text)
			}
		}
	}
}
