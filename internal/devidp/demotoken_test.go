package devidp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

func TestDemoAPIClaims(t *testing.T) {
	t.Parallel()
	w := quick(t)
	got := object(t, call(t, "GET", w.api(t).URL+"/claims", w.tokens("acr_values", "mfa")["access_token"], "").body)
	want := map[string]any{
		"kind": "access_token", "iss": w.issuer, "sub": "dev-user-alice-7f3a", "aud": "http://127.0.0.1:9100", "client_id": "genkan-dev",
		"scope": "openid profile email groups offline_access", "acr": "mfa", "groups": []any{"staff", "admins"},
		"auth_time": 1795251600.0, "exp": 1795251900.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// notary is who signs assertions, and an API that takes them.
type notary struct {
	w      *world
	key    ecKey
	issuer string
	api    *httptest.Server
}

func newNotary(t *testing.T) notary {
	t.Helper()
	n := notary{w: quick(t), key: newECKey(t, "k1")}
	published := n.key.jwk()
	published["use"], published["alg"] = "sig", "ES256"
	other := newECKey(t, "k2").jwk()
	other["use"], other["alg"] = "enc", "ES256"
	set, err := json.Marshal(map[string]any{"keys": []any{published, other}})
	if err != nil {
		t.Fatal(err)
	}
	genkan := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/keys" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(set)
	}))
	t.Cleanup(genkan.Close)
	n.issuer = genkan.URL
	n.api = httptest.NewServer(devidp.NewDemoAPI(devidp.DemoAPIConfig{
		Issuer: n.w.issuer, Audience: "/api/", AssertionIssuer: genkan.URL, AssertionJWKS: genkan.URL + "/keys", Now: n.w.clock.Now,
	}))
	t.Cleanup(n.api.Close)
	return n
}

// assertion is a good one, with changes.
func (n notary) assertion(header, claims map[string]any) string {
	now := n.w.clock.Now().Unix()
	return n.key.sign(altered(map[string]any{"typ": "JWT", "alg": "ES256", "kid": "k1"}, header), altered(map[string]any{
		"iss": n.issuer, "sub": "the-user", "aud": "/api/", "iat": now, "exp": now + 60, "email": "u@example.com", "groups": []string{"staff"}, "sid": "the-session",
	}, claims))
}

func TestDemoAPITakesAssertions(t *testing.T) {
	t.Parallel()
	n := newNotary(t)
	got := object(t, call(t, "GET", n.api.URL+"/claims", n.assertion(nil, nil), "").body)
	want := map[string]any{
		"kind": "assertion", "iss": n.issuer, "sub": "the-user", "aud": "/api/", "email": "u@example.com", "groups": []any{"staff"},
		"sid": "the-session", "exp": 1795251660.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDemoAPIRefusesAssertions(t *testing.T) {
	t.Parallel()
	n := newNotary(t)
	stranger := newECKey(t, "k1")
	good := strings.Split(n.assertion(nil, nil), ".")
	for _, row := range []struct{ name, token, want string }{
		{"expired", n.assertion(nil, map[string]any{"exp": 1795251600}), "expired"},
		{"no expiry", n.assertion(nil, map[string]any{"exp": nil}), "expired"},
		{"other audience", n.assertion(nil, map[string]any{"aud": "/api"}), "another audience"},
		{"no audience", n.assertion(nil, map[string]any{"aud": nil}), "another audience"},
		{"other issuer", n.assertion(nil, map[string]any{"iss": n.w.issuer}), "another issuer"},
		{"no subject", n.assertion(nil, map[string]any{"sub": nil}), "no subject"},
		{"groups that are no list", n.assertion(nil, map[string]any{"groups": "staff"}), "cannot be read"},
		{"no typ", n.assertion(map[string]any{"typ": nil}, nil), "not an assertion"},
		{"typ of an access token", n.assertion(map[string]any{"typ": "at+jwt"}, nil), "not an assertion"},
		{"typ of a logout token", n.assertion(map[string]any{"typ": "logout+jwt"}, nil), "not an assertion"},
		{"alg none", jwtInput(map[string]any{"typ": "JWT", "alg": "none", "kid": "k1"}, map[string]any{"sub": "x"}) + ".", "known algorithm"},
		{"alg RS256", n.assertion(map[string]any{"alg": "RS256"}, nil), "known algorithm"},
		{"alg HS256", signHS256("x", map[string]any{"typ": "JWT", "alg": "HS256", "kid": "k1"}, map[string]any{"sub": "x"}), "known algorithm"},
		{"another key", stranger.sign(map[string]any{"typ": "JWT", "alg": "ES256", "kid": "k1"}, map[string]any{"sub": "x"}), "signature is wrong"},
		{"a key for encryption", n.assertion(map[string]any{"kid": "k2"}, nil), "key is unknown"},
		{"no signature", good[0] + "." + good[1] + ".", "signature is wrong"},
	} {
		got := call(t, "GET", n.api.URL+"/hello", row.token, "")
		if got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.Header.Get("WWW-Authenticate"), row.want) {
			t.Errorf("%s: HTTP %d, %s", row.name, got.StatusCode, got.Header.Get("WWW-Authenticate"))
		}
	}
}

// Neither kind of token is good where the other one is.
func TestDemoAPITakesOneKind(t *testing.T) {
	t.Parallel()
	n := newNotary(t)
	body := n.w.tokens()
	refused(t, call(t, "GET", n.api.URL+"/hello", body["access_token"], ""), "known algorithm")
	refused(t, call(t, "GET", n.api.URL+"/hello", body["id_token"], ""), "known algorithm")
	refused(t, call(t, "GET", n.w.api(t).URL+"/hello", n.assertion(nil, nil), ""), "not an access token")
	es := devidp.DevClient()
	es.IDTokenAlg = "ES256"
	w := start(t, devidp.Config{AutoSignIn: "alice", SkipConsent: true, Clients: []devidp.Client{es}, Audience: "/api/"})
	api := httptest.NewServer(devidp.NewDemoAPI(devidp.DemoAPIConfig{
		Audience: "/api/", AssertionIssuer: n.issuer, AssertionJWKS: w.issuer + "/jwks", Now: w.clock.Now,
	}))
	t.Cleanup(api.Close)
	body = w.tokens()
	refused(t, call(t, "GET", api.URL+"/hello", body["access_token"], ""), "not an assertion")
	refused(t, call(t, "GET", api.URL+"/hello", body["id_token"], ""), "another issuer")
}
