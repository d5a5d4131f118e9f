package devidp_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
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

// observe returns what a client sees in one place, as text in which only what the
// provider draws by lot is left out.
func (w *world) observe(place string) string {
	jwks := func() string { return w.peek(w.request(http.MethodGet, "/jwks", nil)) }
	switch place {
	case "/.well-known/openid-configuration":
		return w.peek(w.request(http.MethodGet, place, nil))
	case "/jwks":
		return jwks()
	case "logout":
		token, err := w.idp.LogoutToken("genkan-dev", "the-user", "the-session")
		if err != nil {
			w.t.Error(err)
		}
		return plainJWT(token, jwks())
	}
	_, redirect := w.get("/authorize", params()).location(w.t)
	code := redirect.Get("code")
	if place == "/authorize" {
		for i, value := range redirect["code"] {
			if len(value) > 25 {
				redirect["code"][i] = "X"
			}
		}
		return redirect.Encode()
	}
	answer, body := w.grant(exchange(code))
	switch place {
	case "/token":
		return plain(answer, jwks())
	case "bearer":
		return plainJWT(fmt.Sprint(body["access_token"]), jwks())
	case "client", "exchange", "introspect":
		return w.observe("/.well-known/openid-configuration") + w.observeProgram(place, body["access_token"], jwks())
	case "refresh":
		answer, renewed := w.grant(refresh(body["refresh_token"]))
		return fmt.Sprint(plain(answer, jwks()), renewed["refresh_token"] != body["refresh_token"])
	}
	r := w.request(http.MethodGet, "/userinfo", nil)
	r.Header.Set("Authorization", fmt.Sprint("Bearer ", body["access_token"]))
	return plainJWT(w.peek(r), jwks())
}

// observeProgram is observe for what no browser takes part in.
func (w *world) observeProgram(place string, access any, jwks string) string {
	if place == "introspect" {
		r := w.request(http.MethodPost, "/introspect", url.Values{"token": {fmt.Sprint(access)}})
		r.SetBasicAuth("genkan-dev", "genkan-dev-secret")
		return randomID.ReplaceAllString(w.peek(r), "X")
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if place == "exchange" {
		form = trade(access)
	}
	answer, body := w.grant(form)
	return plain(answer, jwks) + plainJWT(fmt.Sprint(body["access_token"]), jwks)
}

var randomID = regexp.MustCompile(`[A-Z2-7]{26}`) // of rand.Text

// grant asks the token endpoint and reads the answer, if it can be read.
func (w *world) grant(form url.Values) (answer string, body map[string]any) {
	r := w.request(http.MethodPost, "/token", form)
	r.SetBasicAuth("genkan-dev", "genkan-dev-secret")
	answer = w.peek(r)
	_ = json.Unmarshal([]byte(answer), &body)
	return answer, body
}

// plain replaces tokens by their decoded content.
func plain(answer, jwks string) string {
	var body map[string]any
	if json.Unmarshal([]byte(answer), &body) != nil {
		return answer
	}
	if id, ok := body["id_token"].(string); ok {
		body["id_token"] = plainJWT(id, jwks)
	}
	for _, random := range []string{"access_token", "refresh_token"} {
		if text, ok := body[random].(string); ok {
			body[random] = strings.Count(text, ".")
		}
	}
	return fmt.Sprint(body)
}

// plainJWT leaves out what is random. A text that is no JWT stays as it is.
func plainJWT(text, jwks string) string {
	parts := strings.Split(text, ".")
	if strings.HasPrefix(text, "{") || len(parts) != 3 {
		return text
	}
	var read []map[string]any
	for _, part := range parts[:2] {
		var object map[string]any
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || json.Unmarshal(raw, &object) != nil {
			return text
		}
		read = append(read, object)
	}
	for _, random := range []string{"sid", "at_hash", "jti"} {
		if value, ok := read[1][random].(string); ok && len(value) > 21 && value != "AAAAAAAAAAAAAAAAAAAAAA" {
			read[1][random] = "X"
		}
	}
	return fmt.Sprint(read, verifiedBy(jwks, text), len(parts[2]) > 0)
}

// peek is the status, type and body of an answer, or that there was none.
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
		if kind := response.Header.Get("Content-Type"); kind != "application/json" && kind != "application/jwt" || kind == "application/jwt" && body[0] == '{' {
			return kind + string(body)
		}
		return string(body)
	}
	return fmt.Sprint(response.StatusCode, len(body), response.Header["Location"])
}

// elsewhere have tests of their own: they need another client or a second sign-in.
var elsewhere = map[string]bool{
	"id-alg-rs256": true, "logout-alg-rs256": true, "userinfo-jwt-alg-rs256": true, "bearer-alg-rs256": true, "token-replay": true,
	"exchange-dpop-type-bearer": true, "client-dpop-type-bearer": true,
}

// Every named fault shows in what a client sees, in the place that it is named after.
func TestEveryNamedFaultShows(t *testing.T) {
	t.Parallel()
	w := quick(t)
	places := map[string]string{
		"id": "/token", "token": "/token", "authorize": "/authorize", "userinfo": "/userinfo",
		"keys": "/jwks", "discovery": "/.well-known/openid-configuration", "refresh": "refresh", "logout": "logout",
		"bearer": "bearer", "client": "client", "exchange": "exchange", "introspect": "introspect",
	}
	healthy := map[string]string{}
	for _, place := range places {
		healthy[place] = w.observe(place)
	}
	unchanged := func(when string) {
		for place, want := range healthy {
			if diff := cmp.Diff(want, w.observe(place)); diff != "" {
				t.Errorf("%s, %s: %s", when, place, diff)
			}
		}
	}
	unchanged("the observation is not stable")
	for place, part := range map[string]string{"/userinfo": "alice@example.com", "/token": "true true", "refresh": "true true", "logout": "true true",
		"bearer": "true true", "client": "genkan-dev", "exchange": "issued_token_type", "introspect": `"active":true`} {
		if !strings.Contains(healthy[place], part) {
			t.Fatalf("the observation of %s misses something: %s", place, healthy[place])
		}
	}
	for _, name := range devidp.FaultNames() {
		kind, _, _ := strings.Cut(name, "-")
		place, known := places[kind]
		if !known || elsewhere[name] {
			continue
		}
		w.inject(name)
		if w.observe(place) == healthy[place] {
			t.Errorf("%s does not show", name)
		}
		w.idp.Heal()
	}
	unchanged("not healed")
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
		{"id-alg-none-mixed", "header", "alg", "nOnE"},
		{"id-other-alg", "header", "alg", "ES256"},
		{"id-crit", "header", "crit", []any{"x-unknown"}},
		{"id-b64", "header", "b64", false},
		{"id-empty-aud", "claims", "aud", []any{}},
		{"id-aud-number", "claims", "aud", 42.0},
		{"id-array-aud", "claims", "aud", []any{"genkan-dev"}},
		{"id-sub-300", "claims", "sub", strings.Repeat("s", 300)},
		{"id-exp-zero", "claims", "exp", 0.0},
		{"id-exp-string", "claims", "exp", "1795251900"}, // 09:05
		{"id-iss-slash", "claims", "iss", w.issuer + "/"},
		{"id-hasgroups", "claims", "hasgroups", true},
		{"id-groups-overage", "claims", "_claim_names", map[string]any{"groups": "src1"}},
		{"id-groups-overage", "claims", "_claim_sources", map[string]any{"src1": map[string]any{"endpoint": w.issuer + "/recorded/groups"}}},
		{"id-groups-overage", "claims", "groups", nil},
		{"id-jku", "header", "jku", w.issuer + "/recorded/jku"},
		{"id-x5u", "header", "x5u", w.issuer + "/recorded/x5u"},
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

func TestFaultsHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	names := devidp.FaultNames()
	for i, name := range names {
		if name == "" || i > 0 && name == names[i-1] {
			t.Errorf("%q stands in the list twice", name)
		}
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
