package devidp_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

const longSecret = "a-secret-of-more-than-thirty-two-bytes"

func TestClientsAuthenticate(t *testing.T) {
	t.Parallel()
	key, other := newECKey(t, "k1"), newECKey(t, "k1")
	for _, row := range []struct {
		name   string
		client devidp.Client
		form   func(*world) url.Values
		basic  []string
		method string // empty: refused
		want   string
	}{
		{"basic", devidp.Client{ID: "c", Secret: "s"}, nil, []string{"c", "s"}, "client_secret_basic", ""},
		{"basic, form-encoded", devidp.Client{ID: "c d", Secret: "s:é"}, nil, []string{"c+d", "s%3A%C3%A9"}, "client_secret_basic", ""},
		{"basic, wrong secret", devidp.Client{ID: "c", Secret: "s"}, nil, []string{"c", "x"}, "", "invalid_client"},
		{"basic, not allowed", devidp.Client{ID: "c", Secret: "s", AuthMethods: []string{"client_secret_post"}}, nil, []string{"c", "s"}, "", "invalid_client"},
		{"basic without a secret to compare", devidp.Client{ID: "c", JWKS: jwks(key)}, nil, []string{"c", ""}, "", "invalid_client"},
		{"post", devidp.Client{ID: "c", Secret: "s"}, formOf("client_id", "c", "client_secret", "s"), nil, "client_secret_post", ""},
		{"post, not allowed", devidp.Client{ID: "c", Secret: "s", AuthMethods: []string{"client_secret_basic"}}, formOf("client_id", "c", "client_secret", "s"), nil, "", "invalid_client"},
		{"none", devidp.Client{ID: "c"}, formOf("client_id", "c"), nil, "none", ""},
		{"none, but it has a secret", devidp.Client{ID: "c", Secret: "s"}, formOf("client_id", "c"), nil, "", "invalid_client"},
		{"none, but it has keys", devidp.Client{ID: "c", JWKS: jwks(key)}, formOf("client_id", "c"), nil, "", "invalid_client"},
		{"nobody", devidp.Client{ID: "c"}, formOf("client_id", "d"), nil, "", "invalid_client"},
		{"private_key_jwt", devidp.Client{ID: "c", JWKS: jwks(key)}, assertedBy(key, nil, nil), nil, "private_key_jwt", ""},
		{"private_key_jwt, another key", devidp.Client{ID: "c", JWKS: jwks(key)}, assertedBy(other, nil, nil), nil, "", "invalid_client"},
		{"private_key_jwt, not allowed", devidp.Client{ID: "c", Secret: "s", JWKS: jwks(key), AuthMethods: []string{"client_secret_basic"}}, assertedBy(key, nil, nil), nil, "", "invalid_client"},
		{"private_key_jwt and basic", devidp.Client{ID: "c", Secret: "s", JWKS: jwks(key), AuthMethods: []string{"client_secret_basic", "private_key_jwt"}}, assertedBy(key, nil, nil), []string{"c", "s"}, "", "invalid_request"},
		{"private_key_jwt and post", devidp.Client{ID: "c", Secret: "s", JWKS: jwks(key), AuthMethods: []string{"client_secret_post", "private_key_jwt"}}, func(w *world) url.Values {
			return change(assertedBy(key, nil, nil)(w), []string{"client_id", "c", "client_secret", "s"})
		}, nil, "", "invalid_request"},
		{"assertion type alone beside basic", devidp.Client{ID: "c", Secret: "s"}, formOf("client_assertion_type", assertionType), []string{"c", "s"}, "", "invalid_request"},
		{"client_secret_jwt", devidp.Client{ID: "c", Secret: longSecret, AuthMethods: []string{"client_secret_jwt"}}, secretJWT(longSecret), nil, "client_secret_jwt", ""},
		{"client_secret_jwt, another secret", devidp.Client{ID: "c", Secret: longSecret, AuthMethods: []string{"client_secret_jwt"}}, secretJWT(longSecret + "x"), nil, "", "invalid_client"},
		{"client_secret_jwt, not allowed", devidp.Client{ID: "c", Secret: longSecret}, secretJWT(longSecret), nil, "", "invalid_client"},
		// The public key as an HMAC secret (RFC 8725 2.1).
		{"the public key as a secret", devidp.Client{ID: "c", JWKS: jwks(key)}, secretJWT(string(jwks(key))), nil, "", "invalid_client"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := register(t, devidp.Config{}, row.client)
			form := refresh("x")
			if row.form != nil {
				maps.Copy(form, row.form(w))
			}
			r := w.request(http.MethodPost, "/token", form)
			if row.basic != nil {
				r.SetBasicAuth(row.basic[0], row.basic[1])
			}
			body := object(t, w.do(r).body)
			if want := map[bool]string{true: "invalid_grant", false: row.want}[row.method != ""]; body["error"] != want {
				t.Errorf("got %v, want %s", body, want)
			}
			if got := w.last(); got.AuthMethod != row.method || got.Error != body["error"] {
				t.Errorf("seen %q and %q", got.AuthMethod, got.Error)
			}
		})
	}
}

func formOf(pairs ...string) func(*world) url.Values {
	return func(*world) url.Values { return change(url.Values{}, pairs) }
}

// assertedBy is an assertion of client c with changes to header and claims.
func assertedBy(key ecKey, header, claims map[string]any) func(*world) url.Values {
	return func(w *world) url.Values {
		h := altered(map[string]any{"alg": "ES256", "kid": key.kid}, header)
		return url.Values{"client_assertion_type": {assertionType}, "client_assertion": {key.sign(h, altered(w.assertion("c"), claims))}}
	}
}

func secretJWT(secret string) func(*world) url.Values {
	return func(w *world) url.Values {
		token := signHS256(secret, map[string]any{"alg": "HS256"}, w.assertion("c"))
		return url.Values{"client_assertion_type": {assertionType}, "client_assertion": {token}}
	}
}

func TestAssertions(t *testing.T) {
	t.Parallel()
	key := newECKey(t, "k1")
	const now = 1795251600 // the clock of start
	w := register(t, devidp.Config{}, devidp.Client{ID: "c", JWKS: jwks(key)})
	for _, row := range []struct {
		name           string
		header, claims map[string]any
		good           bool
	}{
		{"as it should be", nil, nil, true},
		{"typ JWT", map[string]any{"typ": "JWT"}, nil, true},
		{"typ client-authentication+jwt", map[string]any{"typ": "client-authentication+jwt"}, nil, true},
		{"typ of a request object", map[string]any{"typ": "oauth-authz-req+jwt"}, nil, false},
		{"typ of a proof", map[string]any{"typ": "dpop+jwt"}, nil, false},
		{"no kid, of one key", map[string]any{"kid": nil}, nil, true},
		{"another kid", map[string]any{"kid": "k2"}, nil, false},
		{"alg none", map[string]any{"alg": "none"}, nil, false},
		{"another alg", map[string]any{"alg": "ES384"}, nil, false},
		{"unknown crit", map[string]any{"crit": []string{"x"}, "x": 1}, nil, false},
		{"aud is the token endpoint", nil, map[string]any{"aud": w.issuer + "/token"}, false},
		{"aud is a list", nil, map[string]any{"aud": []string{w.issuer}}, false},
		{"aud with a slash", nil, map[string]any{"aud": w.issuer + "/"}, false},
		{"no aud", nil, map[string]any{"aud": nil}, false},
		{"another iss", nil, map[string]any{"iss": "d"}, false},
		{"no iss", nil, map[string]any{"iss": nil}, false},
		{"another sub", nil, map[string]any{"sub": "genkan-dev"}, false},
		{"no sub", nil, map[string]any{"sub": nil}, false},
		{"no exp", nil, map[string]any{"exp": nil}, false},
		{"exp is text", nil, map[string]any{"exp": "1795251660"}, false},
		{"expired", nil, map[string]any{"exp": now}, false},
		{"five minutes", nil, map[string]any{"exp": now + 300}, true},
		{"more than five minutes", nil, map[string]any{"exp": now + 301}, false},
		{"more than five minutes without iat", nil, map[string]any{"iat": nil, "exp": now + 311}, false},
		{"no iat", nil, map[string]any{"iat": nil}, true},
		{"iat ten seconds ahead", nil, map[string]any{"iat": now + 10}, true},
		{"iat eleven seconds ahead", nil, map[string]any{"iat": now + 11}, false},
		{"nbf ahead", nil, map[string]any{"nbf": now + 11}, false},
		{"nbf now", nil, map[string]any{"nbf": now}, true},
		{"no jti", nil, map[string]any{"jti": nil}, false},
		{"empty jti", nil, map[string]any{"jti": ""}, false},
	} {
		form := refresh("x")
		maps.Copy(form, assertedBy(key, row.header, row.claims)(w))
		a, body := w.send("/token", form, "")
		want, status := "invalid_client", 401
		if row.good {
			want, status = "invalid_grant", 400
		}
		if body["error"] != want || a.StatusCode != status {
			t.Errorf("%s: HTTP %d: %v", row.name, a.StatusCode, body)
		}
	}
}

func TestAnAssertionIsGoodOnce(t *testing.T) {
	t.Parallel()
	key := newECKey(t, "k1")
	w := register(t, devidp.Config{}, devidp.Client{ID: "c", JWKS: jwks(key)})
	form := w.asserted(key, "c", refresh("x"))
	if _, body := w.send("/token", form, ""); body["error"] != "invalid_grant" {
		t.Errorf("first use: %v", body)
	}
	for _, path := range []string{"/token", "/par", "/revoke"} {
		form.Set("token", "x")
		if _, body := w.send(path, form, ""); body["error"] != "invalid_client" {
			t.Errorf("second use at %s: %v", path, body)
		}
	}
}

func TestAssertionFormIsStrict(t *testing.T) {
	t.Parallel()
	key := newECKey(t, "k1")
	w := register(t, devidp.Config{}, devidp.Client{ID: "c", JWKS: jwks(key)})
	for _, row := range []struct {
		name    string
		changes []string
		want    string
	}{
		{"with its client_id", []string{"client_id", "c"}, "invalid_grant"},
		{"another client_id", []string{"client_id", "genkan-dev"}, "invalid_client"},
		{"another type", []string{"client_assertion_type", "urn:x"}, "invalid_client"},
		{"no type", []string{"client_assertion_type", ""}, "invalid_client"},
		{"no assertion", []string{"client_assertion", ""}, "invalid_client"},
		{"no JWT", []string{"client_assertion", "x.y.z"}, "invalid_client"},
	} {
		form := change(w.asserted(key, "c", refresh("x")), row.changes)
		if _, body := w.send("/token", form, ""); body["error"] != row.want {
			t.Errorf("%s: %v", row.name, body)
		}
	}
	inURL := "/token?" + url.Values{"client_assertion": {"x"}}.Encode()
	if _, body := w.send(inURL, w.asserted(key, "c", refresh("x")), ""); body["error"] != "invalid_request" {
		t.Errorf("in the URL: %v", body)
	}
}

func TestOfSeveralKeysKidNamesOne(t *testing.T) {
	t.Parallel()
	first, second := newECKey(t, "k1"), newECKey(t, "k2")
	w := register(t, devidp.Config{}, devidp.Client{ID: "c", JWKS: jwks(first, second)})
	for _, row := range []struct {
		name string
		key  ecKey
		kid  any
		want string
	}{
		{"the first", first, "k1", "invalid_grant"},
		{"the second", second, "k2", "invalid_grant"},
		{"the other's kid", second, "k1", "invalid_client"},
		{"no kid", second, nil, "invalid_client"},
	} {
		form := refresh("x")
		maps.Copy(form, assertedBy(row.key, map[string]any{"kid": row.kid}, nil)(w))
		if _, body := w.send("/token", form, ""); body["error"] != row.want {
			t.Errorf("%s: %v", row.name, body)
		}
	}
}

func TestSeenHasTheAssertion(t *testing.T) {
	t.Parallel()
	key := newECKey(t, "k1")
	w := register(t, devidp.Config{}, devidp.Client{ID: "c", JWKS: jwks(key)})
	w.send("/token", w.asserted(key, "c", refresh("x")), "")
	got := w.last()
	if got.Client != "c" || got.AuthMethod != "private_key_jwt" || got.Path != "/token" || got.Method != "POST" || got.Status != 400 {
		t.Errorf("seen %+v", got)
	}
	if !cmp.Equal(got.Assertion.Header, map[string]any{"alg": "ES256", "kid": "k1"}) || got.Assertion.Claims["aud"] != w.issuer {
		t.Errorf("assertion %v", got.Assertion)
	}
	if got.Form.Get("grant_type") != "refresh_token" || !slices.Contains(got.Headers, "Content-Type") || slices.Contains(got.Headers, "Dpop") {
		t.Errorf("form %v, headers %v", got.Form, got.Headers)
	}
}

func TestSeenIsBounded(t *testing.T) {
	t.Parallel()
	w := quick(t)
	w.post("/token", url.Values{"grant_type": {strings.Repeat("x", 70<<10)}})
	if got := w.last(); got.Form != nil || got.Path != "/token" {
		t.Error("a large form is kept")
	}
	for range 1005 {
		w.get("/jwks", nil)
	}
	if got := w.idp.Seen(); len(got) != 1000 || got[0].Path != "/jwks" {
		t.Errorf("%d are kept", len(got))
	}
}

func TestRegistrationsThatCannotWork(t *testing.T) {
	t.Parallel()
	key := newECKey(t, "k1")
	private, _ := json.Marshal(map[string]any{"keys": []any{altered(key.jwk(), map[string]any{"d": encoded(make([]byte, 32))})}})
	for _, row := range []struct {
		name string
		c    devidp.Config
		want string
	}{
		{"unknown method", devidp.Config{Clients: []devidp.Client{{ID: "c", AuthMethods: []string{"x"}}}}, "not a method"},
		{"basic without a secret", devidp.Config{Clients: []devidp.Client{{ID: "c", AuthMethods: []string{"client_secret_basic"}}}}, "needs a secret"},
		{"client_secret_jwt with a short secret", devidp.Config{Clients: []devidp.Client{{ID: "c", Secret: "short", AuthMethods: []string{"client_secret_jwt"}}}}, "32 bytes"},
		{"private_key_jwt without keys", devidp.Config{Clients: []devidp.Client{{ID: "c", AuthMethods: []string{"private_key_jwt"}}}}, "needs JWKS"},
		{"tls_client_auth without a subject", devidp.Config{Clients: []devidp.Client{{ID: "c", AuthMethods: []string{"tls_client_auth"}}}}, "TLSSubject"},
		{"self_signed_tls_client_auth without a thumbprint", devidp.Config{Clients: []devidp.Client{{ID: "c", AuthMethods: []string{"self_signed_tls_client_auth"}}}}, "TLSThumbprint"},
		{"request objects without keys", devidp.Config{Clients: []devidp.Client{{ID: "c", RequireRequestObject: true}}}, "JWKS"},
		{"no JSON", devidp.Config{Clients: []devidp.Client{{ID: "c", JWKS: json.RawMessage("x")}}}, "JWKS"},
		{"no keys", devidp.Config{Clients: []devidp.Client{{ID: "c", JWKS: json.RawMessage(`{"keys":[]}`)}}}, "JWKS"},
		{"private keys", devidp.Config{Clients: []devidp.Client{{ID: "c", JWKS: private}}}, "not public"},
		{"metadata of an unknown method", devidp.Config{AuthMethods: []string{"x"}}, "unknown method"},
		{"mTLS on no URL", devidp.Config{MTLSBase: "x"}, "URL"},
	} {
		if _, err := devidp.New(row.c); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestMetadataOfClients(t *testing.T) {
	t.Parallel()
	key := newECKey(t, "k1")
	for _, row := range []struct {
		name   string
		c      devidp.Config
		member string
		want   any
	}{
		{"methods", devidp.Config{}, "token_endpoint_auth_methods_supported", []any{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}},
		{"own methods", devidp.Config{AuthMethods: []string{"tls_client_auth"}}, "token_endpoint_auth_methods_supported", []any{"tls_client_auth"}},
		{"no PAR demanded", devidp.Config{}, "require_pushed_authorization_requests", false},
		{"PAR of every client", devidp.Config{RequirePAR: true}, "require_pushed_authorization_requests", true},
		{"PAR of each client", devidp.Config{Clients: []devidp.Client{devidp.FAPIClient("c", jwks(key), callback)}}, "require_pushed_authorization_requests", true},
		{"PAR of one client", devidp.Config{Clients: []devidp.Client{devidp.DevClient(), devidp.FAPIClient("c", jwks(key), callback)}}, "require_pushed_authorization_requests", false},
		{"request objects", devidp.Config{}, "request_parameter_supported", true},
		{"no mTLS", devidp.Config{}, "mtls_endpoint_aliases", nil},
		{"mTLS", devidp.Config{MTLSBase: "https://mtls.example/"}, "mtls_endpoint_aliases", map[string]any{
			"token_endpoint": "https://mtls.example/token", "pushed_authorization_request_endpoint": "https://mtls.example/par",
			"revocation_endpoint": "https://mtls.example/revoke", "userinfo_endpoint": "https://mtls.example/userinfo",
			"introspection_endpoint": "https://mtls.example/introspect",
		}},
	} {
		w := start(t, row.c)
		body := object(t, w.get("/.well-known/openid-configuration", nil).body)
		if diff := cmp.Diff(row.want, body[row.member]); diff != "" {
			t.Errorf("%s: %s", row.name, diff)
		}
		for _, member := range []string{"dpop_signing_alg_values_supported", "token_endpoint_auth_signing_alg_values_supported", "request_object_signing_alg_values_supported"} {
			if algs, _ := body[member].([]any); !slices.Contains(algs, any("ES256")) || slices.Contains(algs, any("none")) {
				t.Errorf("%s: %s: %v", row.name, member, algs)
			}
		}
		if body["pushed_authorization_request_endpoint"] != w.issuer+"/par" {
			t.Errorf("%s: %v", row.name, body["pushed_authorization_request_endpoint"])
		}
	}
}
