package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/proxy"
)

func demandNonce(w http.ResponseWriter, nonce string) {
	w.Header().Set("DPoP-Nonce", nonce)
	w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
	w.WriteHeader(401)
}

// The token of a session without a key has no proof that a nonce could go into.
func TestANonceDemandedOfABearerTokenIsAnAnswerLikeOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { demandNonce(w, "n") })
	front := b.front(t, up.route("/api/"))
	for _, body := range []string{"", strings.Repeat("l", 64<<10+1)} {
		if res := send(t, b.call(t, "POST", front.URL+"/api/x", strings.NewReader(body))); res.StatusCode != 401 {
			t.Errorf("a body of %d: %d %s", len(body), res.StatusCode, res.text)
		}
	}
	list := up.seen()
	if len(list) != 2 || b.provider.count() != 0 {
		t.Fatalf("%d calls and %d token requests, want 2 and 0", len(list), b.provider.count())
	}
	for _, s := range list {
		if s.header.Get("Authorization") != "Bearer at-1" || s.header.Get("DPoP") != "" {
			t.Errorf("headers %v", s.header)
		}
	}
}

// during is a body with which something happens when it is read.
type during struct {
	io.Reader
	once sync.Once
	do   func()
}

func (d *during) Read(p []byte) (int, error) { d.once.Do(d.do); return d.Reader.Read(p) }
func (d *during) Close() error               { return nil }

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// RFC 9449 8: a server may take each nonce once, so that one learnt by another call
// meanwhile is as good as none.
func TestARetrySendsTheNonceOfTheAnswerItself(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	g, _ := bound(t, b, "at-bound")
	b.cookie = b.signIn(t, g)
	var front *httptest.Server
	other := func() { send(t, b.call(t, "GET", front.URL+"/api/other", nil)) }
	var mu sync.Mutex
	var nonces []string
	h := b.handler(t, transport(func(r *http.Request) (*http.Response, error) {
		w, nonce := httptest.NewRecorder(), readProof(t, r.Header).Nonce
		if r.URL.Path == "/other" {
			w.Header().Set("DPoP-Nonce", "of-the-other")
			return w.Result(), nil
		}
		mu.Lock()
		defer mu.Unlock()
		if nonces = append(nonces, nonce); len(nonces) > 1 {
			return w.Result(), nil
		}
		demandNonce(w, "its-own")
		res := w.Result()
		res.Body = &during{Reader: strings.NewReader("no"), do: other}
		return res, nil
	}), proxy.Route{Path: "/api/", URL: &url.URL{Scheme: "https", Host: "api.example", Path: "/"}})
	front = b.serve(t, h)
	if res := send(t, b.call(t, "GET", front.URL+"/api/x", nil)); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, res.text)
	}
	if diff := cmp.Diff([]string{"", "its-own"}, nonces); diff != "" {
		t.Errorf("nonces (-want +got):\n%s", diff)
	}
}

// The service refuses by the header alone, and the transport stops reading: the browser
// broke nothing off, and gets an answer.
func TestAnUploadThatIsRefusedWhileItIsSentIsAnswered(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var mu sync.Mutex
	calls := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		calls++
		mu.Unlock()
		if readProof(t, r.Header).Nonce == "" {
			demandNonce(w, "n")
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		if n != 4<<20 {
			t.Errorf("%d bytes arrived", n)
		}
	}))
	t.Cleanup(api.Close)
	target, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	g, _ := bound(t, b, "at-bound")
	b.cookie = b.signIn(t, g)
	front := b.front(t, proxy.Route{Path: "/api/", URL: target})
	for _, want := range []int{503, 200} {
		// A client that keeps its connection, as browsers do: net/http resets others at once.
		res, err := front.Client().Do(b.call(t, "PUT", front.URL+"/api/x", strings.NewReader(strings.Repeat("u", 4<<20))))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d, want %d", res.StatusCode, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if calls != 2 {
		t.Errorf("%d calls at the service, want 2", calls)
	}
	if text := b.log.String(); !strings.Contains(text, `"finding":"GK416"`) || strings.Contains(text, "at-bound") {
		t.Errorf("logged %s", text)
	}
}
