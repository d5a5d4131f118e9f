package telemetry_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"genkan/internal/telemetry"
)

// volatile is what differs between two runs of the same request.
var volatile = regexp.MustCompile(`"time":"[^"]+"|"request_id":"[^"]+"`)

// accessLines are the line of a request as slog writes it, and as it is written for a
// Buffer.
func accessLines(r *http.Request, h http.Handler) (slow, fast string) {
	clock := func() time.Time { return time.Unix(1700000000, 0) }
	serve := func(w io.Writer) {
		defer func() { _ = recover() }()
		telemetry.AccessLog(telemetry.New(w, telemetry.Options{Format: "json"}), clock)(h).ServeHTTP(httptest.NewRecorder(), r)
	}
	var direct, buffered bytes.Buffer
	serve(&direct)
	b := telemetry.NewBuffer(&buffered)
	serve(b)
	b.Close()
	return direct.String(), buffered.String()
}

func TestTheQuickAccessLineIsTheSame(t *testing.T) {
	t.Parallel()
	answers := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "text")
		}
	}
	for _, row := range []struct {
		name    string
		request *http.Request
		handler http.HandlerFunc
	}{
		{"plain", request("GET", "/api/orders/17", "192.0.2.7:4711"), answers(200)},
		{"IPv6", request("GET", "/api/orders/17", "[2001:db8::1]:1"), answers(404)},
		{"no address", request("GET", "/x", "odd one"), answers(200)},
		{"server error", request("GET", "/x", "192.0.2.7:1"), answers(502)},
		{"escapes", request("GET", "/a%20%22b%5C", "192.0.2.7:1"), answers(200)},
		{"token in the path", request("GET", "/x/"+jwt, "192.0.2.7:1"), answers(200)},
		{"what looks like a password", request("GET", "/password=hunter2", "192.0.2.7:1"), answers(200)},
		{"aborted", request("GET", "/x", "192.0.2.7:1"), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		slow, fast := accessLines(row.request, row.handler)
		if a, b := volatile.ReplaceAllString(slow, ""), volatile.ReplaceAllString(fast, ""); a != b || !strings.HasSuffix(a, "}\n") {
			t.Errorf("%s:\n%s%s", row.name, slow, fast)
		}
		if !regexp.MustCompile(`^\{"time":"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z","level"`).MatchString(fast) {
			t.Errorf("%s: %s", row.name, fast)
		}
	}
}

func TestTheAccessLineKeepsToItsLogger(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		level  slog.Level
		with   []any
		status int
		want   string // in the line; "" for no line
	}{
		{"info", slog.LevelInfo, nil, 200, `"status":200`},
		{"warnings alone", slog.LevelWarn, nil, 200, ""},
		{"warnings alone, and a fault", slog.LevelWarn, nil, 502, `"status":502`},
		{"attributes", slog.LevelInfo, []any{"replica", "a"}, 200, `"replica":"a"`},
	} {
		var out bytes.Buffer
		b := telemetry.NewBuffer(&out)
		l := telemetry.New(b, telemetry.Options{Format: "json", Level: row.level}).With(row.with...)
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(row.status) })
		telemetry.AccessLog(l, time.Now)(h).ServeHTTP(httptest.NewRecorder(), request("GET", "/x", "192.0.2.7:1"))
		b.Close()
		if got := out.String(); (got == "") != (row.want == "") || !strings.Contains(got, row.want) {
			t.Errorf("%s: %q", row.name, got)
		}
	}
}

// FuzzAccessLine: whatever a browser sends, the quick line is what slog would have written.
func FuzzAccessLine(f *testing.F) {
	f.Add("GET", "/api/orders/17", "192.0.2.7:4711")
	f.Add("G\"T", "/a\"b\\c", "::1")
	f.Add("GET", "/eyJhbGciOiJ9.e30.c2ln", "a:b=c")
	f.Add("GET", "/\u202e\x7f\xff&<>", "token=x")
	f.Add("GET", "/a:b", "cookie:abc")
	f.Fuzz(func(t *testing.T, method, path, remote string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL.Path, r.URL.RawPath, r.RemoteAddr = method, path, path, remote
		slow, fast := accessLines(r, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		if a, b := volatile.ReplaceAllString(slow, ""), volatile.ReplaceAllString(fast, ""); a != b {
			t.Errorf("\n%s%s", slow, fast)
		}
	})
}
