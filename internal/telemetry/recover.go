package telemetry

import (
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime"
)

// maxFrames bounds a logged stack.
const maxFrames = 64

// Recover keeps a panic from ending more than its request. It logs the value's type and
// the stack: function names and lines, never arguments. The value's text is logged only
// where Go itself wrote it; in any other an opaque token or a code could stand, which no
// redaction knows by its looks.
// onPanic answers when nothing has been written; a half-written answer is aborted,
// so that no client takes it for whole. http.ErrAbortHandler passes through.
func Recover(logger *slog.Logger, onPanic func(http.ResponseWriter, *http.Request)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec, ok := w.(*recorder) // AccessLog's, unless something is between
			if !ok {
				rec = &recorder{ResponseWriter: w}
			}
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				if v == http.ErrAbortHandler {
					panic(v)
				}
				value := "not shown"
				if e, ok := v.(runtime.Error); ok {
					value = e.Error()
				}
				logger.ErrorContext(r.Context(), "panic", "type", fmt.Sprintf("%T", v), "value", value, "stack", stack())
				if rec.status != 0 {
					panic(http.ErrAbortHandler)
				}
				for _, name := range []string{"Content-Length", "Content-Encoding", "Set-Cookie"} {
					w.Header().Del(name) // of the answer that did not come
				}
				onPanic(w, r)
			}()
			next.ServeHTTP(rec, r)
		})
	}
}

// stack lists the frames below the panic. debug.Stack would print argument words.
func stack() []string {
	callers := make([]uintptr, maxFrames)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	var lines []string
	for {
		f, more := frames.Next()
		lines = append(lines, fmt.Sprintf("%s %s:%d", f.Function, filepath.Base(f.File), f.Line))
		if !more {
			return lines
		}
	}
}
