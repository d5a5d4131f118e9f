package telemetry

import (
	"bufio"
	"context"
	"log/slog"
	"math/rand/v2"
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
// headers and user agents are not logged. It also counts the answer, as CountAs said.
func AccessLog(logger *slog.Logger, now func() time.Time) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start, line := now(), accessLine{id: newRequestID(), method: cut(r.Method), path: cut(r.URL.EscapedPath()), remote: peer(r.RemoteAddr)}
			rec, outer, done := &recorder{ResponseWriter: w, id: [1]string{line.id}}, r.Context(), false
			w.Header()[finding.RequestIDHeader] = rec.id[:]
			defer func() { // deferred, since an aborted answer leaves by a panic
				took := now().Sub(start)
				rec.calls.count(rec.result(done), w.Header(), took)
				line.status, line.bytes, line.took, line.aborted = rec.result(done), rec.bytes, took, !done
				line.log(outer, logger)
			}()
			next.ServeHTTP(rec, r.WithContext(context.WithValue(outer, requestIDKey{}, &rec.id[0])))
			done = true
		})
	}
}

// newRequestID is 80 random bits in base32: enough to find the lines of one request. It
// is no secret.
func newRequestID() string {
	const digits = "abcdefghijklmnopqrstuvwxyz234567"
	var text [16]byte
	for i, high, low := 0, rand.Uint64(), rand.Uint64(); i < len(text); i += 2 {
		text[i], text[i+1] = digits[high%32], digits[low%32]
		high, low = high/32, low/32
	}
	return string(text[:])
}

func cut(s string) string { return s[:min(len(s), maxPath)] }

// peer is the address without the port.
func peer(remote string) string {
	addr, err := netip.ParseAddrPort(remote)
	switch {
	case err != nil:
	case addr.Addr().Is4(): // there is one spelling
		return remote[:strings.LastIndexByte(remote, ':')]
	default:
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
	calls  *Calls // nil: not counted
	id     [1]string
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
