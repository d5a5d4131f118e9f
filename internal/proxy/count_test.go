package proxy_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"genkan/internal/origin"
	"genkan/internal/proxy"
	"genkan/internal/telemetry"
)

func TestCallsAreCountedByRouteAndNeverByPath(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	t.Cleanup(upstream.Close)
	address, _ := url.Parse(upstream.URL + "/")
	m := telemetry.NewMetrics()
	h, err := proxy.New(proxy.Config{Metrics: m, Routes: []proxy.Route{{Path: "/api/orders/", URL: address, Auth: proxy.AuthNone, Token: proxy.TokenNone}}})
	if err != nil {
		t.Fatal(err)
	}
	public, _ := origin.Parse("http://localhost:8000")
	policy, _ := origin.New(origin.Config{PublicURLs: []origin.Origin{public}})
	logged := telemetry.AccessLog(slog.New(slog.DiscardHandler), time.Now)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, origin.WithSite(r, policy.Canonical()))
	}))
	for _, path := range []string{"/api/orders/path-canary", "/api/orders/2"} {
		logged.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if text := w.Body.String(); !strings.Contains(text, `genkan_http_requests_total{route="upstream /api/orders/",status="4xx"} 2`) || strings.Contains(text, "canary") {
		t.Errorf("%.2000s", text)
	}
}
