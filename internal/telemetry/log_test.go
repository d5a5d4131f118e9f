package telemetry_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"genkan/internal/keys"
	"genkan/internal/telemetry"
)

const (
	jwt = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl-LXBhcnQ_"
	jwe = "eyJhbGciOiJSU0EtT0FFUCJ9.OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZ.48V1_ALb6US04U3b.5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6ji.XFBoMYUZodetZdvTiFvSkQ"
)

// lines logs once in each format and returns both outputs.
func lines(log func(*slog.Logger)) map[string]string {
	out := map[string]string{}
	for _, format := range []string{"json", "text"} {
		var b bytes.Buffer
		log(telemetry.New(&b, telemetry.Options{Format: format}))
		out[format] = b.String()
	}
	return out
}

type nested struct {
	Name    string
	Headers http.Header
	Token   string
}

type broken struct{}

func (*broken) Error() string { panic("never printed: " + jwt) }

func TestSecretsAreCutOut(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		log    func(*slog.Logger)
		secret string // must not be in the line
		keep   string // must be
	}{
		{"JWT in the message", func(l *slog.Logger) { l.Info("got " + jwt + " back") }, "c2lnbmF0dXJl", "back"},
		{"JWE in a value", func(l *slog.Logger) { l.Info("m", "note", "x="+jwe) }, "XFBoMYUZ", "note"},
		{"JWT without its signature", func(l *slog.Logger) { l.Info("m", "note", jwt[:50]) }, "eyJ", "note"},
		{"JWT glued to a word", func(l *slog.Logger) { l.Info("m", "note", "tok"+jwt) }, "eyJ", "tok"},
		{"bearer in a message", func(l *slog.Logger) { l.Info("sent Bearer opaque-123 upstream") }, "opaque-123", "upstream"},
		{"bearer in capitals", func(l *slog.Logger) { l.Info("m", "h", "BEARER opaque-123") }, "opaque-123", `BEARER`},
		{"basic credentials", func(l *slog.Logger) { l.Info("m", "h", "Basic YWxpY2U6cGFzc3dvcmQ=") }, "YWxpY2U6", "Basic"},
		{"header dump", func(l *slog.Logger) { l.Info("m", "dump", "GET /\r\nCookie: bff-8000=sealed; a=b\r\nHost: h") }, "sealed", "Host"},
		{"error with a URL", func(l *slog.Logger) {
			l.Error("m", "error", &url.Error{Op: "Get", URL: "https://idp/cb?code=c0de-1&state=st4te-1", Err: errors.New("refused")})
		}, "c0de-1", "refused"},
		{"state in a URL", func(l *slog.Logger) { l.Error("m", "url", "https://idp/cb?a=b&state=st4te-1") }, "st4te-1", "idp"},
		{"wrapped error", func(l *slog.Logger) {
			l.Error("m", "error", fmt.Errorf("refresh: %w", errors.New("refresh_token=opaque-123")))
		}, "opaque-123", "refresh"},
		{"token response as text", func(l *slog.Logger) { l.Info("m", "body", `{"refresh_token": "opaque-123", "scope":"openid"}`) }, "opaque-123", "openid"},
		{"key access_token", func(l *slog.Logger) { l.Info("m", "access_token", "opaque-123") }, "opaque-123", "access_token"},
		{"key in capitals with a hyphen", func(l *slog.Logger) { l.Info("m", "Set-Cookie", "opaque-123") }, "opaque-123", "Set-Cookie"},
		{"key with a capital of another alphabet", func(l *slog.Logger) { l.Info("m", "coo\u212aie", "opaque-123") }, "opaque-123", "coo"},
		{"long key", func(l *slog.Logger) { l.Info("m", "_____________________________________token", "opaque-123") }, "opaque-123", "token"},
		{"key in camel case", func(l *slog.Logger) { l.Info("m", "clientSecret", "opaque-123") }, "opaque-123", "clientSecret"},
		{"number under a secret key", func(l *slog.Logger) { l.Info("m", "code", 987654) }, "987654", "code"},
		{"key within a group", func(l *slog.Logger) { l.Info("m", slog.Group("a", slog.Group("b", "id_token", "opaque-123"))) }, "opaque-123", "id_token"},
		{"group under a secret key", func(l *slog.Logger) { l.Info("m", slog.Group("tokens", "first", "opaque-123")) }, "opaque-123", "first"},
		{"open group under a secret key", func(l *slog.Logger) { l.WithGroup("cookie").Info("m", "value", "opaque-123") }, "opaque-123", "value"},
		{"attribute given before", func(l *slog.Logger) { l.With("password", "opaque-123").Info("m") }, "opaque-123", "password"},
		{"header map", func(l *slog.Logger) {
			l.Info("m", "headers", http.Header{"Authorization": {"opaque-123"}, "Accept": {"text/plain"}})
		}, "opaque-123", "text/plain"},
		{"deep in a struct", func(l *slog.Logger) {
			l.Info("m", "v", []nested{{Name: "n1", Headers: http.Header{"X": {"a " + jwt}}}})
		}, "eyJ", "n1"},
		{"field of a struct", func(l *slog.Logger) { l.Info("m", "v", nested{Name: "n1", Token: "opaque-123"}) }, "opaque-123", "n1"},
		{"bytes", func(l *slog.Logger) { l.Info("m", "v", []byte(jwt)) }, base64.StdEncoding.EncodeToString([]byte(jwt))[:20], "v"},
		{"stringer", func(l *slog.Logger) { l.Info("m", "u", &url.URL{Path: "/x", RawQuery: "token=opaque-123"}) }, "opaque-123", "/x"},
		{"keys.Secret", func(l *slog.Logger) { l.Info("m", "v", keys.NewSecret("opaque-123")) }, "opaque-123", "redacted"},
		{"error that panics", func(l *slog.Logger) { l.Info("m", "error", (*broken)(nil)) }, "eyJ", "broken"},
		{"what JSON cannot hold", func(l *slog.Logger) { l.Info("m", "v", map[string]any{"f": func() {}, "s": "opaque-123"}) }, "opaque-123", "map[string]interface"},
		{"attribute key", func(l *slog.Logger) { l.Info("m", jwt, "v1") }, "eyJ", "v1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for format, line := range lines(tt.log) {
				if strings.Contains(line, tt.secret) || !strings.Contains(line, tt.keep) {
					t.Errorf("%s: %s", format, line)
				}
			}
		})
	}
}

func TestOrdinaryTextStays(t *testing.T) {
	t.Parallel()
	const message = "discovery: issuer https://idp.example/oauth2 says client_secret_basic, invalid_token; retry in 5 s"
	for format, line := range lines(func(l *slog.Logger) {
		l.Info(message, "finding", "GK310", "session", "ABCDEF", "n", 12, "list", []string{"openid", "email"}, "level2", slog.LevelWarn)
	}) {
		for _, want := range []string{message, "GK310", "ABCDEF", "12", "openid", "WARN"} {
			if !strings.Contains(line, want) {
				t.Errorf("%s: %q is missing in %s", format, want, line)
			}
		}
		if strings.Contains(line, "redacted") {
			t.Errorf("%s: %s", format, line)
		}
	}
}

func TestNothingForgesALineOrDrivesATerminal(t *testing.T) {
	t.Parallel()
	const hostile = "a\r\nlevel=ERROR msg=forged\x1b[31m\u009b2J\u202e\x00\x7f\u2028end\xff"
	for format, line := range lines(func(l *slog.Logger) {
		l.Info(hostile, hostile, hostile, "error", errors.New(hostile), "list", []string{hostile})
	}) {
		if n := strings.Count(line, "\n"); n != 1 || !strings.HasSuffix(line, "\n") {
			t.Errorf("%s: %d line ends in %q", format, n, line)
		}
		for _, bad := range []string{"\r", "\x1b", "\u009b", "\u202e", "\x00", "\x7f", "\u2028", "\xff"} {
			if strings.Contains(line, bad) {
				t.Errorf("%s: %q survives in %q", format, bad, line)
			}
		}
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 18, 30, 5, 123456789, time.FixedZone("JST", 9*3600))
	tests := []struct {
		name    string
		options telemetry.Options
		want    string // a regular expression
	}{
		{"auto without a terminal is JSON in UTC", telemetry.Options{Format: "auto"}, `^\{"time":"2026-11-21T09:30:05.123456Z","level":"WARN","msg":"m","request_id":"r1"\}\n$`},
		{"auto on a terminal is text with a short time", telemetry.Options{Format: "auto", Terminal: true}, `^time=\d\d:\d\d:05\.123 level=WARN msg=m request_id=r1\n$`},
		{"nothing said is auto", telemetry.Options{Terminal: true}, `^time=\d\d:\d\d:05\.123 `},
		{"text in a file keeps the date", telemetry.Options{Format: "text"}, `^time=2026-11-21T09:30:05.123Z level=WARN`},
		{"json on a terminal", telemetry.Options{Format: "json", Terminal: true}, `^\{"time":"2026-11-21T09:30:05.123456Z"`},
		{"level above", telemetry.Options{Format: "json", Level: slog.LevelError}, `^$`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			ctx := telemetry.WithRequestID(context.Background(), "r1")
			h := telemetry.New(&b, tt.options).Handler()
			if h.Enabled(ctx, slog.LevelWarn) {
				if err := h.Handle(ctx, slog.NewRecord(at, slog.LevelWarn, "m", 0)); err != nil {
					t.Fatal(err)
				}
			}
			if !regexp.MustCompile(tt.want).MatchString(b.String()) {
				t.Errorf("%s does not match %s", b.String(), tt.want)
			}
		})
	}
}

func TestRequestIDGoesThroughDerivedLoggers(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	ctx := telemetry.WithRequestID(context.Background(), "r1")
	telemetry.New(&b, telemetry.Options{}).With("provider", "okta").InfoContext(ctx, "m")
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil || line["request_id"] != "r1" || line["provider"] != "okta" {
		t.Errorf("%v: %s", err, b.String())
	}
}

// FuzzNoJWTSurvives puts a JWT into hostile surroundings: neither it nor its
// signature may come out, and the output stays one line.
func FuzzNoJWTSurvives(f *testing.F) {
	f.Add("before ", " after", "note")
	f.Add("Bearer ", "", "Authorization")
	f.Add("\xff\x00", "\u202e\n", "a\nb")
	f.Add("e", "eyJ", "eyJ")
	f.Add("ey", ".", "")
	f.Add("cookie:", "=", "cookie")
	f.Fuzz(func(t *testing.T, before, after, key string) {
		text := before + jwt + after
		for format, line := range lines(func(l *slog.Logger) {
			l.Info(text, key, text, "error", errors.New(text), slog.Group("g", key, []string{text}))
		}) {
			if strings.Contains(line, "c2lnbmF0dXJl") || strings.Contains(line, "eyJzdWIiOiJhbGljZSJ9") {
				t.Errorf("%s: %s", format, line)
			}
			if strings.Count(line, "\n") != 1 || strings.ContainsAny(line, "\r\x1b\x00") {
				t.Errorf("%s: not one clean line: %q", format, line)
			}
		}
	})
}

func BenchmarkAccessLine(b *testing.B) {
	l := telemetry.New(io.Discard, telemetry.Options{Format: "json"})
	for b.Loop() {
		l.Info("request", "method", "GET", "path", "/api/orders/17/items", "status", 200, "bytes", 512, "remote", "192.0.2.7")
	}
}
