package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestABrokenTransactionCookieOrStateSignsNobodyInAndLosesNothing(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	callback := b.parse(s.answered(t, b, "returnUrl=%2Fprofile"))
	var name, good string
	for n, c := range b.cookies("localhost") {
		name, good = n, c.Value
	}
	for i := range len(good) {
		changed := []byte(good)
		changed[i] ^= 1
		wantPage(t, s.do(http.MethodGet, callback.String(), append(navigate, "Cookie: "+name+"="+string(changed))...), 200, `id="continue"`)
	}
	query := callback.Query()
	state := query.Get("state")
	for i := range len(state) {
		changed := []byte(state)
		changed[i] ^= 1
		query.Set("state", string(changed))
		r := s.do(http.MethodGet, s.url+"/bff/callback?"+query.Encode(), append(navigate, "Cookie: "+name+"="+good)...)
		if wantPage(t, r, 400, "GK521"); len(r.Cookies()) != 0 {
			t.Errorf("byte %d: the answer sets %v", i, r.Cookies())
		}
	}
	if got := s.idp.Stats().Token["authorization_code"]; got != 0 {
		t.Errorf("%d token requests", got)
	}
	if p := b.open(callback.String(), s.issuer+"/"); p.url.String() != s.url+"/profile" {
		t.Errorf("the whole ones afterwards: landed at %s with %d", p.url, p.status)
	}
}

func TestACallbackIsForPageLoads(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	callback := s.answered(t, b, "")
	for _, headers := range [][]string{fetchSame, {"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, {"Accept: */*"}} {
		r := httptest.NewRequest(http.MethodGet, callback, nil)
		b.attach(r, false, false)
		wantProblem(t, s.send(r, headers...), 400, "not_a_navigation")
	}
	if p := b.open(callback, s.issuer+"/"); p.status != 200 {
		t.Errorf("opened afterwards: %d", p.status)
	}
	s.wantSignedIn(t, b, true)
}

// counted says how much of a body was read.
type counted struct {
	io.Reader
	read int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}

func TestOversizedBodiesAreNotRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{files: appFiles})
	for _, tt := range []struct {
		method, target string
		status, most   int
	}{
		{"POST", "/bff/callback", 400, 64<<10 + 4096}, // and the buffer that asks for one byte more
		{"POST", "/bff/refresh", 401, 0}, {"POST", "/bff/logout", 200, 0}, {"GET", "/bff/session", 200, 0},
		{"GET", "/bff/login", 503, 0}, {"POST", "/bff/nothing", 404, 0}, {"PUT", "/", 404, 0},
	} {
		body := &counted{Reader: strings.NewReader(strings.Repeat("a=b&", 4<<20))}
		r := httptest.NewRequest(tt.method, "http://localhost:8000"+tt.target, body)
		headers := []string{"Content-Type: application/x-www-form-urlencoded", "X-CSRF: 1", "Origin: http://localhost:8000"}
		if tt.target == "/bff/callback" || tt.target == "/bff/login" {
			headers = append([]string{"Content-Type: application/x-www-form-urlencoded"}, navigate...)
		}
		if got := f.send(r, headers...); got.StatusCode != tt.status || body.read > tt.most {
			t.Errorf("%s %s: %d, want %d; %d bytes read, want at most %d", tt.method, tt.target, got.StatusCode, tt.status, body.read, tt.most)
		}
	}
}

func TestEveryCookieIsWellMade(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	s.answered(t, b, "")
	b.fetch(http.MethodPost, s.url+"/bff/refresh", s.app)
	b.fetch(http.MethodPost, s.url+"/bff/logout", s.app)
	secure := newFixture(t, options{public: []string{"https://app.example.com"}, proxies: []string{"10.0.0.0/8"}, providers: s.config.providers})
	overTLS := secure.do(http.MethodGet, "https://app.example.com/bff/login", navigate...).Cookies()
	if len(overTLS) != 1 || !strings.HasPrefix(overTLS[0].Name, "__Host-Http-bff-tx-") || !overTLS[0].Secure || overTLS[0].MaxAge != 600 {
		t.Errorf("over https: %v", overTLS)
	}
	if len(b.received) < 4 {
		t.Fatalf("only %d cookies seen", len(b.received))
	}
	for _, c := range append(b.received, overTLS...) {
		want := http.SameSiteStrictMode
		if strings.Contains(c.Name, "-tx-") {
			want = http.SameSiteLaxMode
		}
		if !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != want || c.MaxAge == 0 || c.MaxAge > int((12*time.Hour).Seconds()) {
			t.Errorf("%s", c)
		}
	}
}

// deadlined is a writer that remembers the deadline for the body.
type deadlined struct {
	*httptest.ResponseRecorder
	body time.Time
}

func (d *deadlined) SetReadDeadline(t time.Time) error { d.body = t; return nil }

// TestTheWaitForABodyEndsWithTheBody: else a slow provider's token response would come
// after the browser was given up.
func TestTheWaitForABodyEndsWithTheBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	for kind, ends := range map[string]bool{"application/x-www-form-urlencoded": true, "text/plain": false} {
		r := httptest.NewRequest(http.MethodPost, "http://localhost:8000/bff/callback", strings.NewReader("state=x&code=y"))
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		w := &deadlined{httptest.NewRecorder(), time.Time{}}
		f.handler.ServeHTTP(w, r)
		if w.Code != 400 || w.body.IsZero() != ends {
			t.Errorf("%s: %d, deadline %v", kind, w.Code, w.body)
		}
	}
}
