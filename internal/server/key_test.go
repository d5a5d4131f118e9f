package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const (
	nextKey  = "0YXaQ1h2cN0cVwq0c5l9mV3jW8m1u2RrXo7ZkT4bE6s="
	thirdKey = "kTz0m3b9VQd7x1LrYc5uWn8sHf2jPa6gEo4iXtBqDyM="
)

// replica is Genkan on the same store and provider with other keys.
func (s *system) replica(t *testing.T, keys ...string) *fixture {
	t.Helper()
	o := s.config
	o.store, o.keys = s.store, keys
	return newFixture(t, o)
}

// as sends a request with the cookies of b.
func (f *fixture) as(b *browser, method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	b.attach(r, false, false)
	return f.send(r, headers...)
}

func TestAWrongOrExpiredKeyIsSignedOutAndLosesNothing(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	callback := s.answered(t, b, "")
	for name, keys := range map[string][]string{"another key": {nextKey}, "the old key is gone": {nextKey, thirdKey}} {
		f := s.replica(t, keys...)
		if r := f.as(b, http.MethodGet, s.url+"/bff/session", fetchSame...); r.StatusCode != 200 || !strings.Contains(bodyOf(t, r), `"authenticated":false`) {
			t.Errorf("%s: session %d", name, r.StatusCode)
		}
		wantProblem(t, f.as(b, http.MethodGet, s.url+"/bff/user", fetchSame...), 401, "unauthenticated")
		wantProblem(t, f.as(b, http.MethodPost, s.url+"/bff/refresh", append(fetchSame, "Origin: "+s.app)...), 401, "unauthenticated")
		r := f.as(b, http.MethodGet, callback, navigate...)
		if wantPage(t, r, 400, "GK521"); len(r.Cookies()) != 0 {
			t.Errorf("%s: the callback set %v", name, r.Cookies())
		}
	}
	if got := s.idp.Stats().Token["authorization_code"]; got != 1 {
		t.Errorf("%d token requests", got)
	}
	s.wantSignedIn(t, b, true) // where the key still is
	rotated := s.replica(t, nextKey, testKey)
	if r := rotated.as(b, http.MethodGet, s.url+"/bff/session", fetchSame...); !strings.Contains(bodyOf(t, r), `"authenticated":true`) {
		t.Error("a rotation that keeps the old key signed the user out")
	}
	if r := rotated.as(b, http.MethodGet, callback, navigate...); r.StatusCode != 303 {
		t.Errorf("a sign-in that began before the rotation ends with %d", r.StatusCode)
	}
}

func TestTheCookieOfAnotherDeploymentIsNoSession(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	o := s.config
	o.public, o.store = []string{"http://localhost:8000"}, s.store
	neighbour := newFixture(t, o) // same key, same store
	value := b.cookies("localhost")["bff-"+s.port].Value
	for _, name := range []string{"bff-" + s.port, "bff-8000", "__Host-Http-bff"} {
		r := neighbour.do(http.MethodGet, "http://localhost:8000/bff/session", append(fetchSame, "Cookie: "+name+"="+value)...)
		if body := bodyOf(t, r); !strings.Contains(body, `"authenticated":false`) {
			t.Errorf("%s: %s", name, body)
		}
	}
}

// TestSealedValuesCannotChangePlaces: a transaction is no session, a state no
// transaction (RFC 10017 6.1.3.2).
func TestSealedValuesCannotChangePlaces(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	callback := s.answered(t, b, "")
	state := b.parse(callback).Query().Get("state")
	_, sealed, _ := strings.Cut(state, ".")
	values := []string{sealed}
	var transaction string
	for name, c := range b.cookies("localhost") {
		values = append(values, c.Value)
		if strings.Contains(name, "-tx-") {
			transaction = name
		}
	}
	session := b.cookies("localhost")["bff-"+s.port].Value
	for _, value := range values {
		if value != session {
			r := s.do(http.MethodGet, s.url+"/bff/session", append(fetchSame, "Cookie: bff-"+s.port+"="+value)...)
			if body := bodyOf(t, r); !strings.Contains(body, `"authenticated":false`) {
				t.Errorf("a session made of %.20s…: %s", value, body)
			}
		}
		if value != b.cookies("localhost")[transaction].Value {
			r := s.do(http.MethodGet, callback, append(navigate, "Cookie: "+transaction+"="+value)...)
			wantPage(t, r, 200, `id="continue"`)
		}
		wantPage(t, s.do(http.MethodGet, s.url+"/bff/callback?code=x&state=a."+value, navigate...), 400, "GK521")
		if r := s.do(http.MethodGet, s.url+"/bff/logout/callback?state="+value, navigate...); r.Header.Get("Location") != s.app+"/" {
			t.Errorf("a sign-out state made of %.20s…: %s", value, r.Header.Get("Location"))
		}
	}
}
