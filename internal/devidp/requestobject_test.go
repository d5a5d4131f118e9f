package devidp_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

var objectHeader = map[string]any{"alg": "ES256", "kid": "k1", "typ": "oauth-authz-req+jwt"}

// object are the claims of a good request object of client "c".
func (w *world) objectClaims() map[string]any {
	now := w.clock.Now().Unix()
	claims := map[string]any{"iss": "c", "aud": w.issuer, "iat": now, "nbf": now, "exp": now + 60, "jti": "x"}
	for name, values := range params("client_id", "c") {
		claims[name] = values[0]
	}
	return claims
}

func withObject(object string) url.Values { return url.Values{"client_id": {"c"}, "request": {object}} }

func TestRequestObject(t *testing.T) {
	t.Parallel()
	key := newECKey(t, "k1")
	w := register(t, devidp.Config{}, devidp.Client{ID: "c", JWKS: jwks(key), RequireRequestObject: true})
	signed := key.sign(objectHeader, altered(w.objectClaims(), map[string]any{"max_age": 60, "claims": map[string]any{"id_token": map[string]any{"acr": nil}}}))

	// What stands beside the object does not count (RFC 9101 6.3).
	form := change(withObject(signed), []string{"state", "another", "scope", "profile", "redirect_uri", "https://evil.example/", "response_type", "code"})
	where, got := w.get("/authorize", form).location(t)
	if where != callback || got.Get("state") != "the-state" || !got.Has("code") {
		t.Errorf("redirected to %s with %v", where, got)
	}
	if seen := w.last(); seen.RequestObject == nil || seen.RequestObject.Header["typ"] != "oauth-authz-req+jwt" || seen.RequestObject.Claims["iss"] != "c" {
		t.Errorf("seen %+v", seen)
	}
	_, pushed := w.send("/par", w.asserted(key, "c", withObject(key.sign(objectHeader, w.objectClaims()))), "")
	if _, got := w.get("/authorize", visit(pushed)).location(t); !got.Has("code") {
		t.Errorf("pushed: %v of %v", got, pushed)
	}
}

func TestRequestObjectIsRefused(t *testing.T) {
	t.Parallel()
	const now = 1795251600 // the clock of start
	key, other := newECKey(t, "k1"), newECKey(t, "k1")
	w := register(t, devidp.Config{}, devidp.Client{ID: "c", JWKS: jwks(key)})
	for _, row := range []struct {
		name           string
		key            ecKey
		header, claims map[string]any
		good           bool
	}{
		{"as it should be", key, nil, nil, true},
		{"aud a list", key, nil, map[string]any{"aud": []string{"x", w.issuer}}, true},
		{"typ in capitals", key, map[string]any{"typ": "OAuth-Authz-Req+JWT"}, nil, true},
		{"an hour", key, nil, map[string]any{"exp": now + 3600}, true},
		{"no iat, nbf and jti", key, nil, map[string]any{"iat": nil, "nbf": nil, "jti": nil}, true},
		{"another key", other, nil, nil, false},
		{"no typ", key, map[string]any{"typ": nil}, nil, false},
		{"typ JWT", key, map[string]any{"typ": "JWT"}, nil, false},
		{"alg none", key, map[string]any{"alg": "none"}, nil, false},
		{"another iss", key, nil, map[string]any{"iss": "genkan-dev"}, false},
		{"no iss", key, nil, map[string]any{"iss": nil}, false},
		{"another aud", key, nil, map[string]any{"aud": w.issuer + "/authorize"}, false},
		{"no aud", key, nil, map[string]any{"aud": nil}, false},
		{"no exp", key, nil, map[string]any{"exp": nil}, false},
		{"expired", key, nil, map[string]any{"exp": now}, false},
		{"more than an hour", key, nil, map[string]any{"exp": now + 3601}, false},
		{"iat ahead", key, nil, map[string]any{"iat": now + 11}, false},
		{"nbf ahead", key, nil, map[string]any{"nbf": now + 11}, false},
		{"nbf long ago", key, nil, map[string]any{"nbf": now - 3600}, false},
		{"a sub", key, nil, map[string]any{"sub": "c"}, false},
		{"a request in it", key, nil, map[string]any{"request": "x"}, false},
		{"a request_uri in it", key, nil, map[string]any{"request_uri": "urn:x"}, false},
		{"another client_id", key, nil, map[string]any{"client_id": "genkan-dev"}, false},
		{"no client_id", key, nil, map[string]any{"client_id": nil}, false},
		{"a list as scope", key, nil, map[string]any{"scope": []string{"openid"}}, false},
		{"true as state", key, nil, map[string]any{"state": true}, false},
	} {
		form := withObject(row.key.sign(altered(objectHeader, row.header), altered(w.objectClaims(), row.claims)))
		got := w.get("/authorize", form)
		if !row.good && (got.StatusCode != http.StatusBadRequest || !strings.Contains(got.body, "Request object refused")) || row.good && !strings.Contains(got.Header.Get("Location"), "code=") {
			t.Errorf("%s: HTTP %d to %s", row.name, got.StatusCode, got.Header.Get("Location"))
		}
		_, body := w.send("/par", w.asserted(key, "c", form), "")
		if want := map[bool]any{true: nil, false: "invalid_request_object"}[row.good]; body["error"] != want {
			t.Errorf("%s, pushed: %v", row.name, body)
		}
	}
}

func TestWhatStandsBesideAnObject(t *testing.T) {
	t.Parallel()
	key := newECKey(t, "k1")
	w := register(t, devidp.Config{}, devidp.Client{ID: "c", JWKS: jwks(key), RequireRequestObject: true})
	signed := key.sign(objectHeader, w.objectClaims())

	if _, body := w.send("/par", w.asserted(key, "c", change(withObject(signed), []string{"scope", "openid"})), ""); body["error"] != "invalid_request" {
		t.Errorf("scope beside it, pushed: %v", body)
	}
	if _, body := w.send("/par", w.asserted(key, "c", url.Values{"request": {signed}}), ""); body["error"] != "invalid_request" {
		t.Errorf("no client_id outside, pushed: %v", body)
	}
	if got := w.get("/authorize", change(withObject(signed), []string{"client_id", "genkan-dev"})); strings.Contains(got.Header.Get("Location"), "code=") {
		t.Error("another client_id outside is taken")
	}
	for name, form := range map[string]url.Values{
		"no object":            params("client_id", "c"),
		"object and reference": change(params("client_id", "c"), []string{"request", signed, "request_uri", "https://x.example/"}),
	} {
		if _, got := w.get("/authorize", form).location(t); got.Get("error") != "invalid_request" {
			t.Errorf("%s: %v", name, got)
		}
	}
	if _, body := w.send("/par", w.asserted(key, "c", params("client_id", "c")), ""); body["error"] != "invalid_request" {
		t.Errorf("no object, pushed: %v", body)
	}
}

// An object may expire while somebody signs in, and the pages do not carry it.
func TestPagesOfARequestObject(t *testing.T) {
	t.Parallel()
	key := newECKey(t, "k1")
	w := start(t, devidp.Config{SkipConsent: true, Clients: []devidp.Client{{ID: "c", JWKS: jwks(key), RedirectURIs: []string{callback}, RequireRequestObject: true}}})
	page := w.get("/authorize", withObject(key.sign(objectHeader, w.objectClaims())))
	w.clock.advance(5 * time.Minute)
	if _, got := w.signIn(page, "alice", "password").location(t); !got.Has("code") {
		t.Errorf("got %v", got)
	}
	got := w.post("/sign-in", url.Values{"request": {params("client_id", "c").Encode()}, "username": {"alice"}, "password": {"password"}})
	if strings.Contains(got.Header.Get("Location"), "code=") {
		t.Error("a plain request gets in by the back door")
	}
}

func TestResource(t *testing.T) {
	t.Parallel()
	w := quick(t)
	const one, two = "https://api.example/one", "urn:example:two"
	for _, row := range []struct {
		name         string
		asked, token []string
		want         any // aud, or the error
	}{
		{"none", nil, nil, "http://127.0.0.1:9100"},
		{"one", []string{one}, nil, one},
		{"two", []string{one, two}, nil, []any{one, two}},
		{"one of two", []string{one, two}, []string{two}, two},
		{"the default one", nil, []string{"http://127.0.0.1:9100"}, "http://127.0.0.1:9100"},
		{"more than authorized", []string{one}, []string{one, two}, "invalid_target"},
		{"other than the default", nil, []string{one}, "invalid_target"},
		{"relative", []string{one}, []string{"/one"}, "invalid_target"},
		{"with a fragment", []string{one}, []string{one + "#x"}, "invalid_target"},
	} {
		request := params()
		request["resource"] = row.asked
		_, got := w.get("/authorize", request).location(t)
		form := exchange(got.Get("code"))
		form["resource"] = row.token
		_, body := w.token(form)
		have := body["error"]
		if body["access_token"] != nil {
			_, claims := decode(t, body["access_token"])
			have = claims["aud"]
		}
		if diff := cmp.Diff(row.want, have); diff != "" {
			t.Errorf("%s: %s", row.name, diff)
		}
	}
	for _, resource := range []string{"", "api", "/api", "//api.example", "https://api.example/#", "https://api.example/#x", "https://%zz/"} {
		request := params()
		request["resource"] = []string{resource}
		if _, got := w.get("/authorize", request).location(t); got.Get("error") != "invalid_target" {
			t.Errorf("%q: %v", resource, got)
		}
	}
}

// A refresh may narrow the audience, and the next one may widen it again.
func TestResourceOfARefresh(t *testing.T) {
	t.Parallel()
	w := quick(t)
	const one, two = "https://api.example/one", "https://api.example/two"
	request := params()
	request["resource"] = []string{one, two}
	_, got := w.get("/authorize", request).location(t)
	_, body := w.token(exchange(got.Get("code")))
	for _, row := range []struct {
		asked []string
		want  any
	}{{[]string{one}, one}, {[]string{two}, two}, {nil, []any{one, two}}} {
		form := refresh(body["refresh_token"])
		form["resource"] = row.asked
		_, body = w.token(form)
		if _, claims := decode(t, body["access_token"]); !cmp.Equal(claims["aud"], row.want) {
			t.Errorf("%v: %v", row.asked, claims["aud"])
		}
	}
	// A refusal spends nothing.
	if _, refused := w.token(refresh(body["refresh_token"], "resource", "https://api.example/three")); refused["error"] != "invalid_target" {
		t.Errorf("got %v", refused)
	}
	if status, _ := w.token(refresh(body["refresh_token"])); status != http.StatusOK {
		t.Errorf("HTTP %d", status)
	}
}

func TestClaimsParameter(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{AutoSignIn: "alice", SkipConsent: true, ThinIDToken: true})
	for _, row := range []struct {
		name, claims string
		id, info     map[string]any // of the two claims that nobody has asked for by scope
	}{
		{"nothing", "", map[string]any{}, map[string]any{}},
		{"in the ID token", `{"id_token":{"email":null}}`, map[string]any{"email": "alice@example.com"}, map[string]any{}},
		{"in UserInfo", `{"userinfo":{"name":{"essential":true}},"x":1}`, map[string]any{}, map[string]any{"name": "Alice Arai"}},
		{"unknown", `{"userinfo":{"x":null},"id_token":null}`, map[string]any{}, map[string]any{}},
	} {
		tokens := w.tokens("scope", "openid", "claims", row.claims)
		_, id := decode(t, tokens["id_token"])
		_, info := w.userInfo(tokens["access_token"])
		pick := func(m map[string]any) map[string]any {
			m = maps.Clone(m)
			maps.DeleteFunc(m, func(name string, _ any) bool { return name != "email" && name != "name" && name != "x" })
			return m
		}
		if diff := cmp.Diff([]map[string]any{row.id, row.info}, []map[string]any{pick(id), pick(info)}); diff != "" {
			t.Errorf("%s: %s", row.name, diff)
		}
	}
}

func TestClaimsThatDecide(t *testing.T) {
	t.Parallel()
	w := quick(t)
	for _, row := range []struct {
		name, claims, acr string
		want              string // acr or the error
	}{
		{"essential acr", `{"id_token":{"acr":{"essential":true,"values":["x","mfa"]}}}`, "", "mfa"},
		{"essential acr before acr_values", `{"id_token":{"acr":{"essential":true,"value":"mfa"}}}`, "pwd", "mfa"},
		{"acr after acr_values", `{"id_token":{"acr":{"value":"mfa"}}}`, "pwd", "pwd"},
		{"unknown acr that is not essential", `{"id_token":{"acr":{"value":"x"}}}`, "", "pwd"},
		{"unknown essential acr", `{"id_token":{"acr":{"essential":true,"values":["x"]}}}`, "", "unmet_authentication_requirements"},
		{"any essential acr", `{"id_token":{"acr":{"essential":true}}}`, "", "pwd"},
		{"this user", `{"id_token":{"sub":{"value":"dev-user-alice-7f3a"}}}`, "", "pwd"},
		{"another user", `{"id_token":{"sub":{"value":"dev-user-bob-19c4"}}}`, "", "login_required"},
		{"a sub of no text", `{"id_token":{"sub":{"value":1}}}`, "", "invalid_request"},
		{"no JSON", `{`, "", "invalid_request"},
		{"a list", `[]`, "", "invalid_request"},
		{"text for a claim", `{"userinfo":{"name":"x"}}`, "", "invalid_request"},
	} {
		_, got := w.get("/authorize", params("claims", row.claims, "acr_values", row.acr)).location(t)
		have := got.Get("error")
		if got.Has("code") {
			_, body := w.token(exchange(got.Get("code")))
			_, claims := decode(t, body["id_token"])
			have, _ = claims["acr"].(string)
		}
		if have != row.want {
			t.Errorf("%s: %q, want %q", row.name, have, row.want)
		}
	}
}
