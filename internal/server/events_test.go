package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/session"
)

// listen opens a stream of events as an EventSource of the app does, and reads its
// first line.
func (f *fixture) listen(t *testing.T, ctx context.Context, front string, m member) (*http.Response, *bufio.Reader) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, front+"/bff/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "localhost:8000"
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	name, value, _ := strings.Cut(m.cookie, ": ")
	r.Header.Set(name, value)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res, bufio.NewReader(res.Body)
}

// paragraph reads up to the next empty line.
func paragraph(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	var all strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, all.String())
		}
		if line == "\n" {
			return all.String()
		}
		all.WriteString(line)
	}
}

var retry = regexp.MustCompile(`^retry: [2-7][0-9]{3}\n$`)

func TestAStreamIsNoPage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	alice := f.signIn(t, session.SignIn{}, "alice")
	address := f.Policy.Canonical().Origin().String() + "/bff/events"
	if res := f.do(http.MethodGet, address, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", alice.cookie); res.StatusCode != 403 {
		t.Errorf("%d: windows that a foreign page opens would use up the session's streams", res.StatusCode)
	}
}

func TestAStreamTellsTheEndOfItsSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	front := httptest.NewServer(f.handler)
	t.Cleanup(front.Close)
	alice, phone := f.signIn(t, session.SignIn{}, "alice"), f.signIn(t, session.SignIn{}, "alice")
	for _, tt := range []struct {
		name   string
		m      member
		end    func() *http.Response
		reason string
	}{
		{"from elsewhere", phone, func() *http.Response { return f.by(alice, http.MethodDelete, "/bff/sessions/"+phone.id) }, "revoked"},
		{"by signing out", alice, func() *http.Response { return f.by(alice, http.MethodPost, "/bff/logout") }, "signed_out"},
	} {
		res, in := f.listen(t, t.Context(), front.URL, tt.m)
		h := res.Header
		if res.StatusCode != 200 || h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" || h.Get("X-Accel-Buffering") != "no" {
			t.Fatalf("%s: %d %v", tt.name, res.StatusCode, h)
		}
		if first := paragraph(t, in); !retry.MatchString(first) {
			t.Errorf("%s: %q", tt.name, first)
		}
		began := time.Now()
		if ended := tt.end(); ended.StatusCode >= 300 {
			t.Fatal(tt.name, ended.Status)
		}
		if got := paragraph(t, in); got != "event: ended\ndata: {\"reason\":\""+tt.reason+"\"}\n" {
			t.Errorf("%s: %q", tt.name, got)
		}
		if rest, err := io.ReadAll(in); err != nil || len(rest) != 0 || time.Since(began) > time.Second {
			t.Errorf("%s: after %s %q %v", tt.name, time.Since(began), rest, err)
		}
		if tt.reason == "revoked" {
			again, _ := f.listen(t, t.Context(), front.URL, tt.m)
			if again.StatusCode != 204 {
				t.Errorf("signed out: %d, and an EventSource would come back for ever", again.StatusCode)
			}
		}
	}
}

func TestAStreamTellsNewTokensAndTheComingEnd(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	c := b.cookies("localhost")["bff-"+s.port]
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/bff/events", nil)
	r.Header.Set("Origin", s.app) // an EventSource of another origin, withCredentials
	r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	res, err := b.client.Transport.RoundTrip(r)
	if err != nil || res.StatusCode != 200 || res.Header.Get("Access-Control-Allow-Origin") != s.app {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	paragraph(t, in)
	if p := b.fetch(http.MethodPost, s.url+"/bff/refresh", s.app); p.status != 200 {
		t.Fatal(p.status, p.body)
	}
	name, data, _ := strings.Cut(paragraph(t, in), "\ndata: ")
	var info map[string]any
	if err := json.Unmarshal([]byte(data), &info); err != nil || name != "event: refreshed" || info["id"] == "" || info["idle_expires_in"] == nil || info["absolute_expires_in"] == nil || info["provider"] != "idp" {
		t.Errorf("%q %q %v", name, data, err)
	}
	refreshed := data
	for _, token := range s.idp.Issued() {
		if strings.Contains(data, token) {
			t.Errorf("the stream holds %.12s…", token)
		}
	}
	s.clock.pass(59 * time.Minute) // of an idle limit of one hour
	name, data, _ = strings.Cut(paragraph(t, in), "\ndata: ")
	var left map[string]int
	if err := json.Unmarshal([]byte(data), &left); err != nil || name != "event: expiring" || len(left) != 2 || left["idle_expires_in"] < 1 || left["idle_expires_in"] > 60 || left["absolute_expires_in"] < 11*3600-120 {
		t.Errorf("%q %q %v", name, data, err)
	}
	s.clock.pass(2 * time.Minute) // a stream is no activity
	if got := paragraph(t, in); got != "event: ended\ndata: {\"reason\":\"expired\"}\n" {
		t.Errorf("%q", got)
	}
	wantShape(t, "events.json", `{"refreshed":`+refreshed+`,"expiring":`+data+`,"ended":{"reason":"expired"}}`)
}

func TestAStreamIsForTheAppOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{spa: []string{"http://localhost:5173"}})
	alice := f.signIn(t, session.SignIn{}, "alice")
	for _, headers := range [][]string{
		{"Origin: http://evil.example"}, {"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"}, {"Accept: text/event-stream"},
		{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"},
	} {
		res := f.do(http.MethodGet, "http://localhost:8000/bff/events", append(slices.Clone(headers), alice.cookie)...)
		if res.StatusCode != 403 {
			t.Errorf("%v: %d", headers, res.StatusCode)
		}
	}
	f.store.fail(errors.New("down"))
	res := f.by(alice, http.MethodGet, "/bff/events")
	if wantProblem(t, res, 503, "store_unavailable"); res.Header.Get("Retry-After") == "" {
		t.Error(res.Header)
	}
}

func TestStreamsOfOneSessionAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	front := httptest.NewServer(f.handler)
	t.Cleanup(front.Close)
	alice, bob := f.signIn(t, session.SignIn{}, "alice"), f.signIn(t, session.SignIn{}, "bob")
	ctx, leave := context.WithCancel(t.Context())
	for i := range 16 {
		if res, _ := f.listen(t, ctx, front.URL, alice); res.StatusCode != 200 {
			t.Fatalf("stream %d: %d", i+1, res.StatusCode)
		}
	}
	wantProblem(t, f.by(alice, http.MethodGet, "/bff/events"), 429, "too_many_streams")
	if res, _ := f.listen(t, t.Context(), front.URL, bob); res.StatusCode != 200 {
		t.Errorf("bob: %d", res.StatusCode)
	}
	leave()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if res, _ := f.listen(t, t.Context(), front.URL, alice); res.StatusCode == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the places of streams whose browser has left are not free again")
		}
	}
}

// TestAStopEndsStreams: http.Server.Shutdown waits for every answer under way.
func TestAStopEndsStreams(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	front := httptest.NewServer(f.handler)
	t.Cleanup(front.Close)
	_, in := f.listen(t, t.Context(), front.URL, f.signIn(t, session.SignIn{}, "alice"))
	paragraph(t, in)
	f.Close()
	f.Close() // twice does no harm
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := front.Config.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) != 0 {
		t.Errorf("%q %v", rest, err)
	}
}

func TestStreamsLeaveNothingBehind(t *testing.T) { // alone: it counts goroutines
	f := newFixture(t, options{})
	front := httptest.NewServer(f.handler)
	t.Cleanup(front.Close)
	alice := f.signIn(t, session.SignIn{}, "alice")
	before := runtime.NumGoroutine()
	ctx, leave := context.WithCancel(t.Context())
	for range 16 {
		_, in := f.listen(t, ctx, front.URL, alice)
		paragraph(t, in)
	}
	if got := runtime.NumGoroutine(); got < before+32 {
		t.Fatalf("the count could not fail: %d goroutines, %d before", got, before)
	}
	leave()
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// patient is a writer that remembers the deadlines of its answer.
type patient struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
}

func (p *patient) SetWriteDeadline(t time.Time) error {
	p.deadlines = append(p.deadlines, t)
	return nil
}

// TestOnlyTheSendingOfAnEventHasADeadline: HTTP/2 ends a stream whose deadline has
// passed although nothing is sent.
func TestOnlyTheSendingOfAnEventHasADeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, options{})
		alice := f.signIn(t, session.SignIn{}, "alice")
		ctx, leave := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost:8000/bff/events", nil)
		r.Header.Set("X-CSRF", "1")
		r.Header.Set("Cookie", strings.TrimPrefix(alice.cookie, "Cookie: "))
		w := &patient{ResponseRecorder: httptest.NewRecorder()}
		served := make(chan struct{})
		go func() { defer close(served); f.handler.ServeHTTP(w, r) }()
		began := time.Now()
		<-time.After(30 * time.Second) // the beginning and a heartbeat
		synctest.Wait()
		sent := w.deadlines[len(w.deadlines)-4:]
		want := []time.Time{began.Add(10 * time.Second), {}, began.Add(35 * time.Second), {}}
		if !slices.EqualFunc(sent, want, time.Time.Equal) {
			t.Errorf("%v, want %v", sent, want)
		}
		leave()
		<-served
	})
}

func TestASilentStreamIsKeptAliveAndAStalledOneIsNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, options{})
		alice := f.signIn(t, session.SignIn{}, "alice")
		client, stop := connect(f.handler)
		defer stop()
		go func() {
			_, _ = io.WriteString(client, "GET /bff/events HTTP/1.1\r\nHost: localhost:8000\r\nX-CSRF: 1\r\n"+alice.cookie+"\r\n\r\n")
		}()
		res, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(res.Body)
		began := time.Now()
		paragraph(t, in)
		for i := range 20 { // longer than any other answer may take
			if got := paragraph(t, in); got != ":\n" {
				t.Fatalf("%d: %q", i, got)
			}
		}
		if took := time.Since(began); took != 20*25*time.Second {
			t.Errorf("20 heartbeats in %s", took)
		}
		began = time.Now()
		<-time.After(26 * time.Second) // nobody reads the next one
		<-time.After(11 * time.Second)
		if rest, _ := io.ReadAll(client); time.Since(began) != 37*time.Second || len(rest) != 0 {
			t.Errorf("after %s: %q", time.Since(began), rest)
		}
	})
}
