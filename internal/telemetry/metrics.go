package telemetry

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the counts that a Prometheus server collects. Labels come from the
// configuration and from constants, never from a request: no path, user or header value
// can make a series. A nil *Metrics counts nothing.
type Metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec   // by route and class of status
	durations *prometheus.HistogramVec // by route
	streams   *prometheus.GaugeVec     // by kind
	ended     *prometheus.CounterVec   // by kind and cause
	signIns   *prometheus.CounterVec   // by provider and outcome
	denied    *prometheus.CounterVec   // by rule
}

// NewMetrics makes a set of its own, with what Go and the system say about the process.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("genkan_http_requests_total", "Answers of the public listener.", "route", "status"),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "genkan_http_request_duration_seconds", Help: "Time to the end of an answer; streams left out.",
			Buckets: []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "genkan_streams", Help: "Streams that are open."}, []string{"kind"}),
		ended:   counter("genkan_streams_total", "Streams that have ended.", "kind", "ended"),
		signIns: counter("genkan_sign_ins_total", "Sign-ins that came back from a provider or could not begin there.", "provider", "outcome"),
		denied:  counter("genkan_access_denied_total", "Calls of somebody signed in that a rule refused.", "rule"),
	}
	m.registry.MustRegister(m.requests, m.durations, m.streams, m.ended, m.signIns, m.denied,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers a collector, in the text format of Prometheus or in OpenMetrics.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Calls counts the requests of one route.
type Calls struct {
	classes  [len(classes)]prometheus.Counter
	duration prometheus.Observer
}

// classes are the labels of a status by its first digit; a request that was broken off
// before its answer began has the status 0.
var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Calls returns the counter of a route that the configuration or the code names, for
// CountAs. Call it once per route, at start.
func (m *Metrics) Calls(route string) *Calls {
	if m == nil {
		return nil
	}
	c := &Calls{duration: m.durations.WithLabelValues(route)}
	for i, class := range classes {
		c.classes[i] = m.requests.WithLabelValues(route, class)
	}
	return c
}

// CountAs has the request that w answers counted by c when the answer is over. It needs
// AccessLog around it; the last call wins, and without any the request is not counted.
func CountAs(w http.ResponseWriter, c *Calls) {
	for {
		if rec, ok := w.(*recorder); ok {
			rec.calls = c
		}
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = outer.Unwrap()
	}
}

// count takes down one answer. That of a stream says nothing by how long it took.
func (c *Calls) count(status int, header http.Header, took time.Duration) {
	if c == nil {
		return
	}
	c.classes[min(status/100, len(classes)-1)].Inc()
	if status != http.StatusSwitchingProtocols && !strings.HasPrefix(header.Get("Content-Type"), "text/event-stream") {
		c.duration.Observe(took.Seconds())
	}
}

// StreamKind is what a stream is.
type StreamKind string

// Kinds of streams.
const (
	StreamWebSocket StreamKind = "websocket" // of an upstream, or another protocol that it switched to
	StreamEvents    StreamKind = "events"    // server-sent events of an upstream
)

// StreamEnd is why a stream ended.
type StreamEnd string

// Causes for which a stream ends.
const (
	EndClient   StreamEnd = "client"   // the browser left or closed it
	EndUpstream StreamEnd = "upstream" // the service left or closed it
	EndSession  StreamEnd = "session"  // its session ended
	EndIdle     StreamEnd = "idle"     // nothing went over it for too long
	EndStop     StreamEnd = "stop"     // Genkan stops
)

// StreamOpened counts a stream as open until the function it returns is called, once,
// with the cause of the end.
func (m *Metrics) StreamOpened(kind StreamKind) (ended func(StreamEnd)) {
	if m == nil {
		return func(StreamEnd) {}
	}
	open := m.streams.WithLabelValues(string(kind))
	open.Inc()
	return func(cause StreamEnd) {
		open.Dec()
		m.ended.WithLabelValues(string(kind), string(cause)).Inc()
	}
}

// SignedIn is the outcome of a sign-in that began a session; any other is the name of a
// finding.
const SignedIn = "signed_in"

// SignIn counts a sign-in at a configured provider.
func (m *Metrics) SignIn(provider, outcome string) {
	if m != nil {
		m.signIns.WithLabelValues(provider, outcome).Inc()
	}
}

// AccessDenied counts a refusal; rule is the name of its finding.
func (m *Metrics) AccessDenied(rule string) {
	if m != nil {
		m.denied.WithLabelValues(rule).Inc()
	}
}
