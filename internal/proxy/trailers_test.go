package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/origin"
	"genkan/internal/proxy"
)

// kept are trailers that pass, whoever sends them. spoken speak for Genkan to a service;
// orders are for a browser; forbidden have no place after a body (RFC 9110 6.5.1), and Go's
// own HTTP/2 refuses them.
var (
	kept      = http.Header{"X-Checksum": {"1", "2"}, "Content-Digest": {"sha-256=:x:"}, "Grpc-Status": {"0"}}
	spoken    = []string{"Cookie", "X-User", "X-Team", "X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Dpop", "X-Csrf", "X-Original-Url", "X-Request-Id", "X_user"}
	orders    = []string{"Set-Cookie", "X-Request-Id", "Access-Control-Allow-Origin", "Content-Security-Policy", "X-Frame-Options", "Location", "Strict-Transport-Security"}
	forbidden = []string{
		"Authorization", "Www-Authenticate", "Content-Type", "Content-Encoding", "Content-Range", "Host", "Connection", "Te", "Expect", "Cache-Control", "If-Match", "Proxy-Authorization",
	}
)

func offered(names ...[]string) http.Header {
	h := maps.Clone(kept)
	for _, name := range slices.Concat(names...) {
		h[name] = []string{"mallory"}
	}
	return h
}

// sides are the protocols that trailers pass through: of the browser, and of the service.
var sides = []struct {
	name           string
	browser, heard bool // HTTP/2
}{{"HTTP/1.1", false, false}, {"HTTP/2 to Genkan", true, false}, {"HTTP/2 to the service", false, true}, {"HTTP/2", true, true}}

// between serves routes to a service, each side in HTTP/1.1 or HTTP/2, and returns how a
// browser calls.
func (b *bench) between(t testing.TB, browser, service bool, api http.HandlerFunc, change ...func(*proxy.Route)) (front *httptest.Server, client *http.Transport) {
	t.Helper()
	up := httptest.NewUnstartedServer(api)
	up.EnableHTTP2 = service
	up.StartTLS()
	t.Cleanup(up.Close)
	target, _ := url.Parse(up.URL)
	route := proxy.Route{Path: "/api/", URL: target, Headers: map[string]string{"X-User": "sub"}}
	for _, f := range change {
		f(&route)
	}
	transport := up.Client().Transport.(*http.Transport)
	transport.DisableCompression = true
	h := b.handler(t, transport, route, proxy.Route{Path: "/team/", URL: target, Headers: map[string]string{"X-Team": "team"}})
	front = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, origin.WithSite(r, b.site)) }))
	front.EnableHTTP2 = browser
	front.StartTLS()
	t.Cleanup(front.Close)
	client = front.Client().Transport.(*http.Transport)
	client.DisableCompression = true
	return front, client
}

func TestTrailersPassByTheRulesForHeaders(t *testing.T) {
	t.Parallel()
	for _, side := range sides {
		t.Run(side.name, func(t *testing.T) {
			t.Parallel()
			b, got := newBench(t), make(chan http.Header, 1)
			front, client := b.between(t, side.browser, side.heard, func(w http.ResponseWriter, r *http.Request) {
				if (r.ProtoMajor == 2) != side.heard {
					t.Errorf("the service heard %s", r.Proto)
				}
				_, _ = io.Copy(io.Discard, r.Body)
				got <- r.Trailer
				trailers := offered(orders)
				if !side.heard {
					trailers = offered(orders, forbidden)
				}
				for name, values := range trailers {
					w.Header()[http.TrailerPrefix+name] = values
				}
				w.Header().Set("Trailer", "X-Checksum, Set-Cookie, X-Never, Content-Security-Policy")
				_, _ = io.WriteString(w, "ok")
				w.Header()["X-Checksum"] = []string{"1", "2"}
				delete(w.Header(), http.TrailerPrefix+"X-Checksum")
				w.Header().Set("Set-Cookie", "a=b")
			})
			r := b.call(t, "POST", front.URL+"/api/x", io.MultiReader(strings.NewReader("x")))
			if r.Trailer = offered(spoken); !side.browser {
				r.Trailer = offered(spoken, forbidden)
			}
			res, err := client.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if text, err := io.ReadAll(res.Body); string(text) != "ok" || err != nil || (res.ProtoMajor == 2) != side.browser {
				t.Errorf("%s %q %v", res.Proto, text, err)
			}
			arrived := <-got
			if diff := cmp.Diff(kept, arrived); diff != "" {
				t.Errorf("the service got (-want +got):\n%s", diff)
			}
			back := res.Trailer
			maps.DeleteFunc(back, func(_ string, values []string) bool { return len(values) == 0 }) // named, not sent
			if diff := cmp.Diff(kept, back); diff != "" {
				t.Errorf("the browser got (-want +got):\n%s", diff)
			}
			if len(res.Cookies()) != 0 || res.Header.Get("X-Checksum") != "" {
				t.Errorf("headers %v", res.Header)
			}
		})
	}
}

// As bytes, since Go's own client would not send these: some servers read trailers into
// their headers.
func TestTrailersThatNobodyAnnouncedDoNotArrive(t *testing.T) {
	t.Parallel()
	b, got := newBench(t), make(chan http.Header, 1)
	up := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Trailer })
	front := b.front(t, up.route("/api/"))
	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /api/x HTTP/1.1\r\nHost: localhost:8000\r\nX-CSRF: 1\r\nOrigin: http://localhost:5173\r\nCookie: "+b.cookie.String()+
		"\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum, X-Never\r\n\r\n1\r\nx\r\n0\r\nX-Checksum: 1\r\nX-User: mallory\r\nAuthorization: Bearer theirs\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	if diff := cmp.Diff(http.Header{"X-Checksum": {"1"}, "X-Never": nil}, <-got); diff != "" {
		t.Error(diff)
	}
}

// A client that sends Expect: 100-continue holds the body back until it may send it.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, header string
		first        int // status, before the body is sent
		last         int // after it, if it was asked for
	}{
		{"accepted", "Cookie: %s\r\nX-CSRF: 1\r\nOrigin: http://localhost:5173\r\nContent-Length: 5", 100, 201},
		{"signed out", "X-CSRF: 1\r\nOrigin: http://localhost:5173\r\nContent-Length: 5", 401, 0},
		{"of another origin", "Cookie: %s\r\nX-CSRF: 1\r\nOrigin: http://evil.example\r\nContent-Length: 5", 403, 0},
		{"too large", "Cookie: %s\r\nX-CSRF: 1\r\nOrigin: http://localhost:5173\r\nContent-Length: 50000000", 413, 0},
		{"of unknown length", "Cookie: %s\r\nX-CSRF: 1\r\nOrigin: http://localhost:5173\r\nTransfer-Encoding: chunked", 100, 201},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusEarlyHints) // of the service: not forwarded
				w.WriteHeader(http.StatusCreated)
			})
			conn, err := net.Dial("tcp", b.front(t, up.route("/api/")).Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, "PUT /api/x HTTP/1.1\r\nHost: localhost:8000\r\nExpect: 100-continue\r\n"+strings.ReplaceAll(tt.header, "%s", b.cookie.String())+"\r\n\r\n")
			in := bufio.NewReader(conn)
			status := func() int {
				line, err := in.ReadString('\n')
				for err == nil && line == "\r\n" {
					line, err = in.ReadString('\n')
				}
				var code int
				if _, scan := fmt.Sscanf(line, "HTTP/1.1 %d", &code); scan != nil {
					t.Fatal(line, err)
				}
				return code
			}
			if got := status(); got != tt.first {
				t.Fatalf("first %d, want %d", got, tt.first)
			}
			if tt.last == 0 {
				if len(up.seen()) != 0 {
					t.Error("it arrived")
				}
				return
			}
			body := "hello"
			if strings.Contains(tt.header, "chunked") {
				body = "5\r\nhello\r\n0\r\n\r\n"
			}
			_, _ = io.WriteString(conn, body)
			if got := status(); got != tt.last {
				t.Errorf("then %d, want %d", got, tt.last)
			}
			if got := up.only(t); got.body != "hello" || got.header.Get("Expect") != "" {
				t.Errorf("%q %v", got.body, got.header)
			}
		})
	}
}

// gRPC-Web over HTTP/2, both ways at once: what one side sends, the other has before it
// sends anything more.
func TestMessagesPassBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	for _, side := range sides {
		if !side.browser { // Go's HTTP/1.1 server reads no body beside its answer, unless asked
			continue
		}
		t.Run(side.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			front, client := b.between(t, side.browser, side.heard, func(w http.ResponseWriter, r *http.Request) {
				control := http.NewResponseController(w)
				_ = control.EnableFullDuplex()
				w.Header().Set("Content-Type", "application/grpc-web+proto")
				_ = control.Flush()
				for in, err := bufio.NewReader(r.Body), error(nil); err == nil; {
					var text string
					if text, err = in.ReadString('\n'); err == nil {
						_, _ = io.WriteString(w, "got "+text)
						err = control.Flush()
					}
				}
			})
			body, send := io.Pipe()
			r := b.call(t, "POST", front.URL+"/api/x", body)
			r.Header.Set("Content-Type", "application/grpc-web+proto")
			res, err := client.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			in := bufio.NewReader(res.Body)
			for _, text := range []string{"one\n", "two\n", "three\n"} {
				_, _ = io.WriteString(send, text)
				if got, err := in.ReadString('\n'); got != "got "+text {
					t.Fatal(got, err)
				}
			}
			_ = send.Close()
			if rest, err := io.ReadAll(in); len(rest) != 0 || err != nil {
				t.Errorf("%q %v", rest, err)
			}
		})
	}
}

func TestABrowserThatHangsUpInHTTP2CancelsTheCall(t *testing.T) {
	t.Parallel()
	for _, side := range sides {
		t.Run(side.name, func(t *testing.T) {
			t.Parallel()
			b, arrived, left := newBench(t), make(chan struct{}), make(chan struct{})
			front, client := b.between(t, side.browser, side.heard, func(w http.ResponseWriter, r *http.Request) {
				close(arrived)
				<-r.Context().Done()
				close(left)
			})
			ctx, hangUp := context.WithCancel(t.Context())
			go func() { <-arrived; hangUp() }()
			if _, err := client.RoundTrip(b.call(t, "GET", front.URL+"/api/x", nil).WithContext(ctx)); err == nil {
				t.Fatal("an answer")
			}
			select {
			case <-left:
			case <-time.After(atMost):
				t.Error("the service still works for nobody")
			}
		})
	}
}

func TestAnAnswerThatBreaksOffIsNotWholeInHTTP2(t *testing.T) {
	t.Parallel()
	for _, side := range sides {
		for _, length := range []string{"", "100000"} {
			t.Run(side.name+" "+length, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				front, client := b.between(t, side.browser, side.heard, func(w http.ResponseWriter, _ *http.Request) {
					if length != "" {
						w.Header().Set("Content-Length", length)
					}
					_, _ = io.WriteString(w, strings.Repeat("half", 10_000))
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				})
				res, err := client.RoundTrip(b.call(t, "GET", front.URL+"/api/x", nil))
				if err != nil {
					return
				}
				defer res.Body.Close()
				if text, err := io.ReadAll(res.Body); err == nil {
					t.Errorf("%d bytes look whole", len(text))
				}
			})
		}
	}
}
