package telemetry_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"genkan/internal/telemetry"
)

// collect is what a Prometheus server reads.
func collect(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d %q", w.Code, w.Header().Get("Content-Type"))
	}
	return w.Body.String()
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}

func TestAnswersAreCountedByRouteAndClass(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	orders, other := m.Calls("upstream /api/orders/"), m.Calls("other")
	var step time.Duration
	clock := time.Unix(1_700_000_000, 0)
	now := func() time.Time { clock = clock.Add(step); return clock }
	answer := func(took time.Duration, h http.HandlerFunc) {
		step = took
		defer func() { _ = recover() }()
		logger := slog.New(slog.DiscardHandler)
		telemetry.AccessLog(logger, now)(telemetry.Recover(logger, nil)(h)).
			ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/api/orders/canary-path", nil))
	}
	answer(20*time.Millisecond, func(w http.ResponseWriter, _ *http.Request) {
		telemetry.CountAs(w, other)
		telemetry.CountAs(w, orders) // the last word
		_, _ = io.WriteString(w, "ok")
	})
	answer(3*time.Second, func(w http.ResponseWriter, _ *http.Request) { telemetry.CountAs(w, orders); w.WriteHeader(503) })
	answer(time.Hour, func(w http.ResponseWriter, _ *http.Request) { telemetry.CountAs(w, orders); w.WriteHeader(101) })
	answer(time.Hour, func(w http.ResponseWriter, _ *http.Request) {
		telemetry.CountAs(w, orders)
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		w.WriteHeader(200)
	})
	answer(time.Millisecond, func(w http.ResponseWriter, _ *http.Request) {
		telemetry.CountAs(w, orders)
		panic(http.ErrAbortHandler)
	})
	answer(time.Millisecond, func(w http.ResponseWriter, _ *http.Request) { telemetry.CountAs(w, orders); w.WriteHeader(999) })
	answer(time.Millisecond, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }) // of no route
	text := collect(t, m)
	wantLines(t, text,
		`genkan_http_requests_total{route="upstream /api/orders/",status="2xx"} 2`,
		`genkan_http_requests_total{route="upstream /api/orders/",status="1xx"} 1`,
		`genkan_http_requests_total{route="upstream /api/orders/",status="5xx"} 2`,
		`genkan_http_requests_total{route="upstream /api/orders/",status="none"} 1`,
		`genkan_http_requests_total{route="other",status="2xx"} 0`,
		`genkan_http_request_duration_seconds_bucket{route="upstream /api/orders/",le="0.025"} 3`,
		`genkan_http_request_duration_seconds_bucket{route="upstream /api/orders/",le="5"} 4`,
		`genkan_http_request_duration_seconds_count{route="upstream /api/orders/"} 4`,
	)
	if strings.Contains(text, "canary") {
		t.Error("a path is in the metrics")
	}
}

func TestStreamsSignInsAndRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	first, second := m.StreamOpened(telemetry.StreamWebSocket), m.StreamOpened(telemetry.StreamWebSocket)
	events := m.StreamOpened(telemetry.StreamEvents)
	first(telemetry.EndSession)
	events(telemetry.EndIdle)
	m.SignIn("okta", telemetry.SignedIn)
	m.SignIn("okta", "provider_unavailable")
	m.AccessDenied("insufficient_groups")
	wantLines(t, collect(t, m),
		`genkan_streams{kind="websocket"} 1`,
		`genkan_streams{kind="events"} 0`,
		`genkan_streams_total{ended="session",kind="websocket"} 1`,
		`genkan_streams_total{ended="idle",kind="events"} 1`,
		`genkan_sign_ins_total{outcome="signed_in",provider="okta"} 1`,
		`genkan_sign_ins_total{outcome="provider_unavailable",provider="okta"} 1`,
		`genkan_access_denied_total{rule="insufficient_groups"} 1`,
	)
	second(telemetry.EndClient)
	text := collect(t, m)
	wantLines(t, text, `genkan_streams{kind="websocket"} 0`)
	if !strings.Contains(text, "\ngo_goroutines ") {
		t.Error("Go says nothing")
	}
}

func TestTwoSetsOfMetricsShareNothing(t *testing.T) {
	t.Parallel()
	one, two := telemetry.NewMetrics(), telemetry.NewMetrics()
	one.AccessDenied("csrf")
	if strings.Contains(collect(t, two), "csrf") {
		t.Error("they share a registry")
	}
}

func TestNoMetricsCountNothing(t *testing.T) {
	t.Parallel()
	var m *telemetry.Metrics
	m.SignIn("okta", telemetry.SignedIn)
	m.AccessDenied("csrf")
	m.StreamOpened(telemetry.StreamEvents)(telemetry.EndClient)
	w := httptest.NewRecorder()
	telemetry.CountAs(w, m.Calls("other"))
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("%d", w.Code)
	}
}

func BenchmarkCount(b *testing.B) {
	calls := telemetry.NewMetrics().Calls("upstream /api/")
	h := telemetry.AccessLog(slog.New(slog.DiscardHandler), time.Now)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		telemetry.CountAs(w, calls)
	}))
	bare := telemetry.AccessLog(slog.New(slog.DiscardHandler), time.Now)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for name, h := range map[string]http.Handler{"counted": h, "not": bare} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/api/x", nil)
			w := httptest.NewRecorder()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
