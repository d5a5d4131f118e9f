package server_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"genkan/internal/devidp"
	"genkan/internal/rp"
)

// endpoints are those that a sign-in calls, PAR and UserInfo included.
var endpoints = []string{"/.well-known/openid-configuration", "/jwks", "/par", "/token", "/userinfo"}

// misbehave signs in at a provider whose endpoint answers so, and wants no session and a
// page that says so, in bounded time.
func misbehave(t *testing.T, at string, answer http.HandlerFunc) {
	t.Helper()
	s, b := newSystem(t, func(_ *options, pc *rp.Config) { pc.UserInfo, pc.PAR = rp.UserInfoOn, rp.PARRequired }), newBrowser(t)
	s.idp.Inject(devidp.Fault{At: at, Answer: answer})
	began := time.Now()
	p := b.goOn(s.login(b, "/"))
	if p.status < 500 || !strings.Contains(p.body, "GK2") {
		t.Errorf("%s: %d %.300s", at, p.status, p.body)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("%s: it took %v", at, took)
	}
	s.wantSignedIn(t, b, false)
}

func TestALargeAnswerIsNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	const all, most = 50 << 20, 12 << 20 // what is under way in buffers counts too
	for _, at := range endpoints {
		var sent atomic.Int64
		misbehave(t, at, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"padding":"`)
			chunk := []byte(strings.Repeat("x", 64<<10))
			for sent.Load() < all {
				n, err := w.Write(chunk)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
		if got := sent.Load(); got > most {
			t.Errorf("%s: %d bytes were taken", at, got)
		}
	}
}

func TestACompressedAnswerIsBoundedByWhatComesOutOfIt(t *testing.T) {
	t.Parallel()
	for _, at := range endpoints {
		misbehave(t, at, func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				t.Error("gzip is not asked for: this test tests nothing")
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			zip := gzip.NewWriter(w)
			for range 64 { // a GiB, a megabyte on the wire
				if _, err := zip.Write(make([]byte, 16<<20)); err != nil {
					return
				}
			}
		})
	}
}

func TestARedirectElsewhereIsNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(elsewhere.Close)
	for _, target := range []string{elsewhere.URL + "/", "http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "file:///etc/passwd", "//" + elsewhere.Listener.Addr().String() + "/"} {
		for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
			for _, at := range endpoints {
				misbehave(t, at, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Location", target)
					w.WriteHeader(status)
				})
			}
		}
	}
	if got := reached.Load(); got != 0 {
		t.Errorf("the other server was called %d times", got)
	}
}
