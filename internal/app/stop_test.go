package app_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"genkan/internal/devidp"
)

// provider answers token requests only when it is let go, once it is told to hold.
type provider struct {
	*devidp.Provider
	hold    atomic.Bool
	arrived chan struct{}
	release chan struct{}
	letGo   func()
	issuer  string
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || !p.hold.Load() {
		p.Provider.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	p.Provider.ServeHTTP(answer, r) // the token is rotated
	close(p.arrived)
	<-p.release
	w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

func newProvider(t *testing.T, public int) *provider {
	t.Helper()
	idp, err := devidp.New(devidp.Config{AutoSignIn: "alice", SkipConsent: true, Clients: []devidp.Client{{
		ID: "genkan", Secret: "secret", RedirectURIs: []string{fmt.Sprintf("http://localhost:%d/bff/callback", public)},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{Provider: idp, arrived: make(chan struct{}), release: make(chan struct{})}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.letGo = sync.OnceFunc(func() { p.hold.Store(false); close(p.release) })
	t.Cleanup(p.letGo)
	p.issuer = server.URL
	idp.SetIssuer(p.issuer)
	return p
}

// TestAStopLosesNoRotatedToken: the browser has hung up, the provider has rotated, and
// the program is told to stop before the answer is here (contract section 8).
func TestAStopLosesNoRotatedToken(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	idp := newProvider(t, port)
	c := settings(t, port, freePort(t), "GENKAN_OIDC_ISSUER="+idp.issuer, "GENKAN_OIDC_SCOPES=openid,offline_access")
	stop := run(t, c)
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar}
	t.Cleanup(browser.CloseIdleConnections)
	base := fmt.Sprintf("http://localhost:%d", port)
	call := func(ctx context.Context, method, target string, headers ...string) (int, error) {
		r, err := http.NewRequestWithContext(ctx, method, base+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		resp, err := browser.Do(r)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	refresh := func(ctx context.Context) (int, error) {
		return call(ctx, http.MethodPost, "/bff/refresh", "X-CSRF: 1", "Origin: "+base)
	}
	if _, err := call(t.Context(), http.MethodGet, "/bff/login", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"); err != nil {
		t.Fatal(err)
	}

	idp.hold.Store(true)
	ctx, hangUp := context.WithCancel(t.Context())
	hungUp := make(chan struct{})
	go func() { defer close(hungUp); _, _ = refresh(ctx) }()
	<-idp.arrived
	hangUp()
	<-hungUp
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	select {
	case err := <-ended:
		t.Fatalf("it stopped (%v) while a rotated token was on its way", err)
	case <-time.After(300 * time.Millisecond):
	}
	idp.letGo()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	stop = run(t, c)
	if status, err := refresh(t.Context()); status != 200 || err != nil {
		t.Errorf("after the restart: %d %v, want a session that can be renewed", status, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestOversizedRequestsAreRefusedByTheListener(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	stop := run(t, settings(t, port, freePort(t)))
	get := "GET /bff/session HTTP/1.1\r\nHost: localhost:" + fmt.Sprint(port) + "\r\nX-CSRF: 1\r\n"
	for _, tt := range []struct {
		name, request string
		status        int
	}{
		{"one huge header", get + "X-Junk: " + strings.Repeat("a", 100<<10) + "\r\n\r\n", 431},
		{"a huge Cookie header", get + "Cookie: " + strings.Repeat("a=b; ", 20<<10) + "\r\n\r\n", 431},
		{"many small headers", get + strings.Repeat("X-Junk: aaaaaaaaaa\r\n", 5<<10) + "\r\n", 431},
		{"a huge request line", "GET /bff/login?returnUrl=/" + strings.Repeat("a", 100<<10) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 431},
		{"a large header that is allowed", get + "Cookie: " + strings.Repeat("a=b; ", 10<<10) + "\r\n\r\n", 200},
		{"no Host", "GET /bff/session HTTP/1.1\r\n\r\n", 400},
		{"two Hosts", get + "Host: evil.example\r\n\r\n", 400},
		{"a header that is none", get + "no colon\r\n\r\n", 400},
		{"lengths that contradict", "POST /bff/logout HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
	} {
		conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		go func() { _, _ = conn.Write([]byte(tt.request)) }() // the server may stop reading half-way
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if resp.StatusCode != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, resp.StatusCode, tt.status)
		}
		_ = conn.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
