package telemetry

import (
	"bufio"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"genkan/internal/finding"
)

// maxPath is how many bytes of a path or method are logged.
const maxPath = 200

// AccessLog gives every request an id of its own, whatever the browser sent: on the
// answer as X-Request-Id, in the context for all lines logged on its behalf. When the
// answer is over it logs one line: info, or error from status 500 on. Queries,
// headers and user agents are not logged.
func AccessLog(logger *slog.Logger, now func() time.Time) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id := strings.ToLower(rand.Text()[:16])
			w.Header().Set(finding.RequestIDHeader, id)
			r = r.WithContext(WithRequestID(r.Context(), id))
			rec := &recorder{ResponseWriter: w}
			start, path, done := now(), r.URL.EscapedPath(), false
			defer func() { // deferred, since an aborted answer leaves by a panic
				attrs := []slog.Attr{
					slog.String("method", cut(r.Method)), slog.String("path", cut(path)),
					slog.Int("status", rec.result(done)), slog.Int64("bytes", rec.bytes),
					slog.Int64("duration_ms", now().Sub(start).Milliseconds()), slog.String("remote", peer(r.RemoteAddr)),
				}
				if !done {
					attrs = append(attrs, slog.Bool("aborted", true))
				}
				level := slog.LevelInfo
				if rec.status >= http.StatusInternalServerError {
					level = slog.LevelError
				}
				logger.LogAttrs(r.Context(), level, "request", attrs...)
			}()
			next.ServeHTTP(rec, r)
			done = true
		})
	}
}

func cut(s string) string { return s[:min(len(s), maxPath)] }

// peer is the address without the port.
func peer(remote string) string {
	if addr, err := netip.ParseAddrPort(remote); err == nil {
		return addr.Addr().Unmap().String()
	}
	return cut(remote)
}

// recorder remembers what was answered. It has the methods that gin asks for by
// type assertion; everything else is found through Unwrap.
type recorder struct {
	http.ResponseWriter
	status int // 0: nothing yet
	bytes  int64
}

// result is the status to log: a handler that ended without a word answered 200.
func (r *recorder) result(done bool) int {
	if r.status == 0 && done {
		return http.StatusOK
	}
	return r.status
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

func (r *recorder) Flush() {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	_ = http.NewResponseController(r.ResponseWriter).Flush() // http.Flusher has no error to give
}

// Hijack counts as a switch of protocols: nothing else takes the connection over.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil && r.status == 0 {
		r.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
