package server_test

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"genkan/internal/rp"
)

// from sends a navigation of a client at address.
func (f *fixture) from(address, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr = address
	return f.send(r, slices.Concat(navigate, headers)...)
}

func TestAFloodOfSignInsFromOneAddressIsTurnedAway(t *testing.T) {
	t.Parallel()
	var now clock
	frozen := time.Now()
	s := newSystem(t, func(o *options, _ *rp.Config) {
		o.now = func() time.Time { now.mu.Lock(); defer now.mu.Unlock(); return frozen.Add(now.off) }
	})
	const flooder, other = "192.0.2.7:1", "192.0.2.8:1"
	target := s.url + "/bff/login"
	// What a page of another site can have its visitors send costs them nothing.
	for _, dest := range []string{"image", "iframe", "empty"} {
		mode := map[string]string{"iframe": "navigate"}[dest]
		for range 400 {
			r := httptest.NewRequest(http.MethodGet, target, nil)
			r.RemoteAddr = flooder
			if got := s.send(r, "Sec-Fetch-Dest: "+dest, "Sec-Fetch-Mode: "+cmp.Or(mode, "no-cors"), "Sec-Fetch-Site: cross-site").StatusCode; got != 400 {
				t.Fatalf("%s: %d", dest, got)
			}
		}
	}
	var state string
	for i := range 300 {
		r := s.from(flooder, target)
		location, err := r.Location()
		if r.StatusCode != 302 || err != nil {
			t.Fatalf("sign-in %d: %d", i+1, r.StatusCode)
		}
		state = location.Query().Get("state")
	}
	asked := s.idp.Stats().Discovery
	r := s.from(flooder, target)
	wantPage(t, r, 429, "GK515", "Try again")
	if after, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || after < 1 || len(r.Header["Set-Cookie"]) > 0 {
		t.Errorf("Retry-After %q, cookies %v", r.Header.Get("Retry-After"), r.Header["Set-Cookie"])
	}
	posted := httptest.NewRequest(http.MethodPost, target, strings.NewReader(url.Values{"iss": {s.issuer}}.Encode()))
	posted.RemoteAddr = flooder
	if r := s.send(posted, append(navigate[:4:4], "Content-Type: application/x-www-form-urlencoded")...); r.StatusCode != 429 {
		t.Errorf("by POST: %d", r.StatusCode)
	}
	if r := s.from(flooder, s.url+"/bff/callback?resume="+url.QueryEscape(state)); r.StatusCode != 429 {
		t.Errorf("a restart: %d", r.StatusCode)
	}
	if s.idp.Stats().Discovery != asked {
		t.Error("the provider was asked")
	}
	if r := s.from(other, target); r.StatusCode != 302 {
		t.Errorf("another address: %d", r.StatusCode)
	}
	if r := s.from(flooder, s.url+"/bff/callback?state=x"); r.StatusCode != 400 {
		t.Errorf("a callback of those under way: %d, want 400", r.StatusCode)
	}
	if r := s.from(flooder, s.url+"/bff/session"); r.StatusCode != 200 {
		t.Errorf("what is no sign-in: %d", r.StatusCode)
	}
	now.pass(time.Second)
	for i := range 51 {
		if r := s.from(flooder, target); (r.StatusCode == 302) != (i < 50) {
			t.Errorf("a second later, sign-in %d: %d", i+1, r.StatusCode)
		}
	}
}

func TestAFloodOfCallbacksIsTurnedAway(t *testing.T) {
	t.Parallel()
	var now clock
	frozen := time.Now()
	s := newSystem(t, func(o *options, _ *rp.Config) {
		o.now = func() time.Time { now.mu.Lock(); defer now.mu.Unlock(); return frozen.Add(now.off) }
	})
	b := newBrowser(t)
	flood, late := s.answered(t, b, ""), s.answered(t, b, "")
	var cookies []string
	for name, c := range b.cookies("localhost") {
		cookies = append(cookies, name+"="+c.Value)
	}
	const flooder = "192.0.2.7:1"
	cookie := "Cookie: " + strings.Join(cookies, "; ")
	for range 400 { // without a transaction nobody is asked anything
		if r := s.from(flooder, flood); r.StatusCode != 200 {
			t.Fatalf("without the cookie: %d", r.StatusCode)
		}
	}
	for i := range 300 {
		if r := s.from(flooder, flood, cookie); r.StatusCode != 303 && r.StatusCode != 200 {
			t.Fatalf("callback %d: %d", i+1, r.StatusCode)
		}
	}
	wantPage(t, s.from(flooder, late, cookie), 429, "GK515")
	if got := s.idp.Stats().Token["authorization_code"]; got != 1 {
		t.Errorf("%d codes were redeemed, want 1", got)
	}
	now.pass(time.Second)
	if r := s.from(flooder, late, cookie); r.StatusCode != 303 {
		t.Errorf("a second later the sign-in goes on with %d, want 303", r.StatusCode)
	}
}

func TestBehindATrustedProxyEachClientHasItsOwnShare(t *testing.T) {
	t.Parallel()
	frozen := time.Now()
	f := newFixture(t, options{proxies: []string{"10.0.0.0/8"}, now: func() time.Time { return frozen }})
	target := "http://localhost:8000/bff/login?prompt=nonsense"
	for range 310 {
		f.from("10.0.0.1:1", target, "X-Forwarded-For: 192.0.2.7")
	}
	if r := f.from("10.0.0.1:1", target, "X-Forwarded-For: 192.0.2.7"); r.StatusCode != 429 {
		t.Errorf("the client that flooded: %d", r.StatusCode)
	}
	if r := f.from("10.0.0.1:1", target, "X-Forwarded-For: 192.0.2.8"); r.StatusCode != 400 {
		t.Errorf("another client: %d", r.StatusCode)
	}
	if r := f.from("192.0.2.7:1", target, "X-Forwarded-For: 192.0.2.9"); r.StatusCode != 429 {
		t.Errorf("the flooder, who claims to be another: %d", r.StatusCode)
	}
}
