package devidp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

func (w *world) inject(name string) {
	w.t.Helper()
	f, err := devidp.FaultNamed(name)
	if err != nil {
		w.t.Fatal(err)
	}
	w.idp.Inject(f)
}

// observe fetches everything that a client sees, as text in which only what the
// provider draws by lot is left out.
func (w *world) observe() map[string]string {
	seen := map[string]string{}
	for _, path := range []string{"/.well-known/openid-configuration", "/jwks"} {
		seen[path] = w.peek(w.request(http.MethodGet, path, nil))
	}
	got := w.get("/authorize", params())
	_, redirect := got.location(w.t)
	code := redirect.Get("code")
	if code != "" {
		redirect.Set("code", "X")
	}
	seen["/authorize"] = redirect.Encode()

	r := w.request(http.MethodPost, "/token", exchange(code))
	r.SetBasicAuth("genkan-dev", "genkan-dev-secret")
	seen["/token"] = w.peek(r)
	var body map[string]any
	access := ""
	if json.Unmarshal([]byte(seen["/token"]), &body) == nil {
		access, _ = body["access_token"].(string)
		seen["/token"] = w.plain(body, seen["/jwks"])
	}
	r = w.request(http.MethodGet, "/userinfo", nil)
	r.Header.Set("Authorization", "Bearer "+access)
	seen["/userinfo"] = w.peek(r)
	return seen
}

// plain replaces tokens by their decoded content.
func (w *world) plain(body map[string]any, jwks string) string {
	if id, ok := body["id_token"]; ok {
		header, claims := decode(w.t, id)
		for _, random := range []string{"sid", "at_hash"} {
			if _, ok := claims[random]; ok && claims[random] != "AAAAAAAAAAAAAAAAAAAAAA" {
				claims[random] = "X"
			}
		}
		parts := strings.Split(id.(string), ".")
		body["id_token"] = fmt.Sprint(header, claims, verifiedBy(jwks, id), len(parts[2]) > 0)
	}
	for _, random := range []string{"access_token", "refresh_token"} {
		if _, ok := body[random]; ok {
			body[random] = "X"
		}
	}
	return fmt.Sprint(body)
}

// peek is the status and body of an answer, or that there was none.
func (w *world) peek(r *http.Request) string {
	ctx, cancel := context.WithTimeout(r.Context(), 500*time.Millisecond)
	defer cancel()
	response, err := w.browser.Do(r.WithContext(ctx))
	if err != nil {
		return "no answer"
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "no whole answer"
	}
	if response.StatusCode == http.StatusOK && len(body) < 1<<20 {
		return string(body)
	}
	return fmt.Sprint(response.StatusCode, len(body), response.Header["Location"])
}

// Every named fault shows in what a client sees, in the place that it is named after.
func TestEveryNamedFaultShows(t *testing.T) {
	t.Parallel()
	w := quick(t)
	healthy := w.observe()
	if diff := cmp.Diff(healthy, w.observe()); diff != "" {
		t.Fatalf("the observation is not stable: %s", diff)
	}
	if !strings.Contains(healthy["/userinfo"], "alice@example.com") || !strings.Contains(healthy["/token"], "true true") {
		t.Fatalf("the observation misses something: %v", healthy)
	}
	places := map[string]string{
		"id": "/token", "token": "/token", "authorize": "/authorize", "userinfo": "/userinfo",
		"keys": "/jwks", "discovery": "/.well-known/openid-configuration",
	}
	for _, name := range devidp.FaultNames() {
		kind, _, _ := strings.Cut(name, "-")
		w.inject(name)
		seen := w.observe()
		w.idp.Heal()
		if seen[places[kind]] == healthy[places[kind]] {
			t.Errorf("%s does not show", name)
		}
	}
	if diff := cmp.Diff(healthy, w.observe()); diff != "" {
		t.Errorf("not healed: %s", diff)
	}
}

func TestFaultsOfTheIDToken(t *testing.T) {
	t.Parallel()
	w := quick(t)
	for _, row := range []struct {
		name   string
		part   string // header or claims
		member string
		want   any
	}{
		{"id-wrong-iss", "claims", "iss", w.issuer + "1"},
		{"id-wrong-aud", "claims", "aud", "another-client"},
		{"id-extra-aud", "claims", "aud", []any{"genkan-dev", "another-client"}},
		{"id-wrong-azp", "claims", "azp", "another-client"},
		{"id-wrong-nonce", "claims", "nonce", "another-nonce"},
		{"id-no-iat", "claims", "iat", nil},
		{"id-no-sub", "claims", "sub", nil},
		{"id-expired", "claims", "exp", 1795165500.0},    // a day before 09:05
		{"id-future-iat", "claims", "iat", 1795338000.0}, // a day after 09:00
		{"id-unknown-kid", "header", "kid", "no-such-key"},
		{"id-typ-logout", "header", "typ", "logout+jwt"},
		{"id-typ-access", "header", "typ", "at+jwt"},
		{"id-alg-none", "header", "alg", "none"},
		{"id-alg-hs256", "header", "alg", "HS256"},
		{"id-events", "claims", "events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}},
	} {
		w.inject(row.name)
		token := w.tokens()["id_token"]
		w.idp.Heal()
		header, claims := decode(t, token)
		got := map[string]map[string]any{"header": header, "claims": claims}[row.part][row.member]
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s: %s", row.name, diff)
		}
		// Only the claim is wrong: the signature must not be what a client trips over.
		if row.part == "claims" && !w.verifies(token) {
			t.Errorf("%s: the signature is broken too", row.name)
		}
	}
	w.inject("id-bad-signature")
	if w.verifies(w.tokens()["id_token"]) {
		t.Error("id-bad-signature: the signature is good")
	}
}

func TestAFaultShowsAsOftenAsItSays(t *testing.T) {
	t.Parallel()
	w := quick(t)
	f, err := devidp.FaultNamed("userinfo-503")
	if err != nil {
		t.Fatal(err)
	}
	f.Times = 2
	w.idp.Inject(f)
	var statuses []int
	for range 4 {
		statuses = append(statuses, w.do(w.request(http.MethodGet, "/userinfo", nil)).StatusCode)
	}
	if !cmp.Equal(statuses, []int{503, 503, 401, 401}) {
		t.Errorf("got %v", statuses)
	}
}

// The rotation happens and its answer is lost: the old token is spent.
func TestALostAnswerHasDoneItsWork(t *testing.T) {
	t.Parallel()
	w := quick(t)
	body := w.tokens()
	w.inject("token-lost")
	r := w.request(http.MethodPost, "/token", refresh(body["refresh_token"]))
	r.SetBasicAuth("genkan-dev", "genkan-dev-secret")
	if got := w.peek(r); got != "no answer" {
		t.Errorf("got %s", got)
	}
	w.idp.Heal()
	if _, got := w.token(refresh(body["refresh_token"])); got["error"] != "invalid_grant" {
		t.Errorf("the spent token: %v", got)
	}
}

// An endpoint that waits must let go when its client does, or tests hang.
func TestASlowAnswerEndsWithItsClient(t *testing.T) {
	t.Parallel()
	w := quick(t)
	ended := make(chan struct{})
	slow, err := devidp.FaultNamed("token-slow")
	if err != nil {
		t.Fatal(err)
	}
	wait := slow.Answer
	slow.Answer = func(rw http.ResponseWriter, r *http.Request) { wait(rw, r); close(ended) }
	w.idp.Inject(slow)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.browser.Do(w.request(http.MethodPost, "/token", refresh("x")).WithContext(ctx)); err == nil {
		t.Error("it answered")
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("it still waits")
	}
}

func TestOwnFaults(t *testing.T) {
	t.Parallel()
	w := quick(t)
	w.idp.Inject(devidp.Fault{AccessToken: func(token *devidp.JWT) { token.Claims["aud"] = []string{"x", "y"} }})
	w.idp.Inject(devidp.Fault{Redirect: func(v url.Values) { v.Set("hello", "there") }})
	_, redirect := w.get("/authorize", params()).location(t)
	if redirect.Get("hello") != "there" {
		t.Errorf("redirect %v", redirect)
	}
	if _, claims := decode(t, w.tokens()["access_token"]); !cmp.Equal(claims["aud"], []any{"x", "y"}) {
		t.Errorf("aud %v", claims["aud"])
	}
}

func TestUnknownFault(t *testing.T) {
	t.Parallel()
	if _, err := devidp.FaultNamed("nonsense"); err == nil || !strings.Contains(err.Error(), "token-500") {
		t.Errorf("the error does not list the names: %v", err)
	}
}

// TestUnderLoad is for the race detector.
func TestUnderLoad(t *testing.T) {
	t.Parallel()
	w := quick(t)
	done := make(chan struct{})
	for i := range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 5 {
				f, _ := devidp.FaultNamed("userinfo-no-sub")
				w.idp.Inject(f)
				if i == 0 {
					_ = w.idp.RollKey()
				}
				status, body := w.token(exchange(w.code()))
				if status != http.StatusOK {
					t.Errorf("HTTP %d", status)
				}
				w.userInfo(body["access_token"])
				w.idp.Heal()
				w.idp.Stats()
				w.idp.Issued()
			}
		}()
	}
	for range 8 {
		<-done
	}
}
