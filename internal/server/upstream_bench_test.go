package server_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/proxy"
	"genkan/internal/rp"
	"genkan/internal/server"
	"genkan/internal/session"
	"genkan/internal/telemetry"
)

// BenchmarkUpstreamCall is what a call costs beside the network: from the parsed request
// to the transport and back, without either's system calls. "ratio" is to the reverse
// proxy of the standard library in the same run.
func BenchmarkUpstreamCall(b *testing.B) {
	to, _ := url.Parse("http://127.0.0.1:9100/")
	plain := &httputil.ReverseProxy{Transport: instant{}, BufferPool: &lent{}, Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to)
		p.SetXForwarded()
		p.Out.Header.Set("Authorization", "Bearer "+strings.Repeat("x", 800))
		p.Out.Header.Del("Cookie")
	}}
	var base float64
	for _, row := range []struct {
		name  string
		front func(b *testing.B) (http.Handler, string)
	}{
		{"reverse proxy", func(*testing.B) (http.Handler, string) { return plain, "bff-8000=" + strings.Repeat("x", 86) }},
		{"genkan", func(b *testing.B) (http.Handler, string) { return upstreamCalls(b, slog.LevelInfo, nil) }},
		{"genkan, log.level warn", func(b *testing.B) (http.Handler, string) { return upstreamCalls(b, slog.LevelWarn, nil) }},
		{"genkan without its proxy", func(b *testing.B) (http.Handler, string) { return upstreamCalls(b, slog.LevelInfo, said{}) }},
	} {
		b.Run(row.name, func(b *testing.B) {
			h, cookie := row.front(b)
			q := appCall(cookie)
			w := &sink{header: http.Header{}}
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				clear(w.header)
				w.status = 0
				h.ServeHTTP(w, q.Clone(q.Context()))
				if w.status != http.StatusOK {
					b.Fatal(w.status)
				}
			}
			each := float64(cpuTime(b)-before) / float64(b.N)
			b.ReportMetric(each, "cpu-ns/op")
			if base == 0 {
				base = each
			}
			b.ReportMetric(each/base, "ratio")
		})
	}
}

func upstreamCalls(b *testing.B, level slog.Level, instead server.Upstreams) (http.Handler, string) {
	b.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = null.Close() })
	lines := telemetry.NewBuffer(null)
	b.Cleanup(lines.Close)
	log := telemetry.New(lines, telemetry.Options{Level: level, Format: "json"})
	policy, found := origin.New(origin.Config{PublicURLs: origins(b, []string{"http://localhost:8000"})})
	if policy == nil {
		b.Fatal(found)
	}
	ring, err := keys.Parse([]keys.Secret{keys.NewSecret(testKey)})
	if err != nil {
		b.Fatal(err)
	}
	sessions := session.New(session.Config{Store: session.NewMemory(time.Now), Ring: ring, Deployment: "http://localhost:8000", Logger: log})
	front, err := server.New(server.Config{Policy: policy, Ring: ring, Sessions: sessions, Logger: log})
	if err != nil {
		b.Fatal(err)
	}
	to, _ := url.Parse("http://127.0.0.1:9100/")
	upstreams, err := proxy.New(proxy.Config{
		Routes: []proxy.Route{{Path: "/api/", URL: to}}, Sessions: sessions, Transport: instant{}, Refuse: front.Refuse, Logger: log,
	})
	if err != nil {
		b.Fatal(err)
	}
	w := httptest.NewRecorder()
	_, err = sessions.Start(w, origin.WithSite(httptest.NewRequest("GET", "http://localhost:8000/", nil), policy.Canonical()), session.SignIn{
		Provider: "idp", Grant: rp.Grant{
			Tokens:   rp.Tokens{Access: keys.NewSecret(strings.Repeat("x", 800)), Expiry: time.Now().Add(time.Hour)},
			Identity: rp.Identity{Issuer: "https://idp.example", Subject: "alice"},
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	c := w.Result().Cookies()[0]
	if instead != nil {
		return front.Handler(instead), c.Name + "=" + c.Value
	}
	return front.Handler(upstreams), c.Name + "=" + c.Value
}

// cpuTime is what this process has used, garbage collection included.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// appCall is what an app's fetch sends.
func appCall(cookie string) *http.Request {
	q := httptest.NewRequest("GET", "http://localhost:8000/api/orders/17", nil)
	q.RequestURI, q.URL.Host, q.URL.Scheme, q.Body = "/api/orders/17", "", "", http.NoBody
	for name, value := range map[string]string{
		"Accept": "application/json", "Accept-Language": "en-GB,en;q=0.8", "Accept-Encoding": "gzip, deflate, br", "Cookie": cookie,
		"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
		"X-CSRF":     "1", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin",
	} {
		q.Header.Set(name, value)
	}
	return q
}

// instant is an upstream without a network.
type instant struct{}

const row = `{"id":17,"customer":"Kyoto Trading","total":"128.50"}`

func (instant) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: int64(len(row)),
		Header: http.Header{"Content-Type": {"application/json"}, "Content-Length": {"53"}, "Date": {"Sat, 21 Nov 2026 09:00:00 GMT"}},
		Body:   io.NopCloser(bytes.NewReader([]byte(row))),
	}, nil
}

// said answers in the proxy's place.
type said struct{}

func (said) Match(*http.Request) bool { return true }
func (said) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, row)
}

// sink is a browser's connection that costs nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header              { return s.header }
func (s *sink) WriteHeader(status int)           { s.status = status }
func (s *sink) Write(p []byte) (int, error)      { return len(p), nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) FlushError() error                { return nil }

// lent has one copy buffer: the benchmark makes one call at a time.
type lent struct{ buffer [32 << 10]byte }

func (l *lent) Get() []byte { return l.buffer[:] }
func (l *lent) Put([]byte)  {}
