package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// accessLine is what is logged of one request.
type accessLine struct {
	id, method, path, remote string
	status                   int // 0: it was aborted before an answer
	bytes                    int64
	took                     time.Duration
	aborted                  bool
}

// log writes the line. ctx is without the request's id, or the handler would copy the
// record to add it.
func (l *accessLine) log(ctx context.Context, logger *slog.Logger) {
	level := slog.LevelInfo
	if l.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	if !logger.Enabled(ctx, level) {
		return
	}
	if h, ok := logger.Handler().(handler); ok && h.plainJSON && level == slog.LevelInfo && l.plain() {
		_, _ = h.buffer.Write(l.appendJSON(make([]byte, 0, 1024), time.Now())) // Buffer has no error
		return
	}
	attrs := []slog.Attr{
		slog.String("method", l.method), slog.String("path", l.path), slog.Int("status", l.status), slog.Int64("bytes", l.bytes),
		slog.Int64("duration_ms", l.took.Milliseconds()), slog.String("remote", l.remote), slog.String("request_id", l.id),
	}
	if l.aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	logger.LogAttrs(ctx, level, "request", attrs...)
}

// plain reports whether all that came with the request can be logged as it is, neither
// redacted nor escaped.
func (l *accessLine) plain() bool {
	for _, text := range [...]string{l.method, l.path, l.remote} {
		if !word(text) && !address(text) || strings.ContainsAny(text, `"\\`) {
			return false
		}
	}
	return true
}

// address reports whether text can only be an IP address.
func address(text string) bool { return strings.Trim(text, "0123456789abcdef.:") == "" }

// appendJSON is the line as slog would write it, at a tenth of the cost: there is one for
// every call.
func (l *accessLine) appendJSON(b []byte, now time.Time) []byte {
	text := func(name, value string) {
		b = append(append(append(b, name...), value...), '"')
	}
	b = append(b, `{"time":"`...)
	b = now.UTC().Truncate(time.Microsecond).AppendFormat(b, time.RFC3339Nano)
	text(`","level":"INFO","msg":"request","method":"`, l.method)
	text(`,"path":"`, l.path)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(l.status), 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), l.bytes, 10)
	b = strconv.AppendInt(append(b, `,"duration_ms":`...), l.took.Milliseconds(), 10)
	text(`,"remote":"`, l.remote)
	text(`,"request_id":"`, l.id)
	if l.aborted {
		b = append(b, `,"aborted":true`...)
	}
	return append(b, '}', '\n')
}
