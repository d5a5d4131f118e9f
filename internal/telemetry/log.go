// Package telemetry is what Genkan tells its operator: structured logs and the
// middlewares that write an access line and survive a panic.
//
// It owns what a log line may hold. Every line goes to files and log systems that
// more people read than may hold a session, so tokens, cookies and secrets are cut
// out here once more, whoever let them slip (ASVS 5.0 16.2.5), and control
// characters cannot forge a second line or drive a terminal (16.4.1). It decides
// nothing about requests.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// Options choose what New writes.
type Options struct {
	Level    slog.Level // the least level written; default info
	Format   string     // auto (or empty), text, json
	Terminal bool       // w is a terminal: auto means text, and times are short and local
}

// New returns a logger to w. JSON lines have UTC times in RFC 3339. A request id in
// the context (WithRequestID) becomes the attribute request_id. Where w is a Buffer,
// warnings and errors do not wait in it.
func New(w io.Writer, o Options) *slog.Logger {
	text := o.Format == "text" || o.Format != "json" && o.Terminal
	options := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() != slog.KindTime {
			return redact(groups, a)
		}
		if text && o.Terminal {
			return slog.String(a.Key, a.Value.Time().Local().Format("15:04:05.000"))
		}
		return slog.Time(a.Key, a.Value.Time().UTC().Truncate(time.Microsecond))
	}}
	buffer, _ := w.(*Buffer)
	if text {
		return slog.New(handler{Handler: slog.NewTextHandler(w, options), buffer: buffer})
	}
	return slog.New(handler{Handler: slog.NewJSONHandler(w, options), buffer: buffer, plainJSON: buffer != nil})
}

type requestIDKey struct{}

// WithRequestID returns ctx with the id that lines logged with it carry.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, &id)
}

// handler adds the request id of the context; in a logger made by WithGroup the id
// is in that group.
type handler struct {
	slog.Handler
	buffer    *Buffer // nil: every line is written at once
	plainJSON bool    // nothing is added to what a line has itself, and buffer is there
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if id, ok := ctx.Value(requestIDKey{}).(*string); ok {
		r = r.Clone()
		r.AddAttrs(slog.String("request_id", *id))
	}
	err := h.Handler.Handle(ctx, r)
	if h.buffer != nil && r.Level >= slog.LevelWarn {
		h.buffer.Flush()
	}
	return err
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{Handler: h.Handler.WithAttrs(attrs), buffer: h.buffer}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{Handler: h.Handler.WithGroup(name), buffer: h.buffer}
}
