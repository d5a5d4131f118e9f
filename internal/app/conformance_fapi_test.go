package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"genkan/internal/devidp"
)

// fapiPlan is fapi2-security-profile-final-client-test-plan in its variant
// private_key_jwt, dpop, plain_fapi, oidc.
func fapiPlan() plan {
	p := plan{
		settings: "client_auth: private_key_jwt\nprivate_key_file: client.jwk\npar: required\ndpop: on\n" +
			"userinfo: on\nid_token_signing_algs: [PS256]\n",
		more: "upstreams:\n  - {path: /api/, url: RESOURCE, auth: required, token: relay}\n",
		idp: func(c *devidp.Config, _ string) {
			redirects, ends := c.Clients[0].RedirectURIs, c.Clients[0].PostLogoutURIs
			c.Clients[0] = devidp.FAPIClient("genkan", json.RawMessage(clientKey().public), redirects...)
			c.Clients[0].PostLogoutURIs, c.Clients[0].IDTokenAlg = ends, "PS256"
			c.RequirePAR, c.DPoPNonce, c.AuthMethods = true, true, []string{"private_key_jwt"}
		},
		resource: resource("DPoP", "nonce-of-the-resource"),
		faults: []devidp.Fault{
			metadata(without("revocation_endpoint", "end_session_endpoint")),
		},
		keys:  decoyed,
		calls: []string{"/par", "/authorize", "/token", "/userinfo"},
		modules: slices.Concat(fapiAccepted(), fapiWrongIDTokens(), fapiWrongAnswers(), []module{{
			name: "discovery-issuer-mismatch", refused: "provider_metadata",
			faults: []devidp.Fault{metadata(func(b map[string]any) { b["issuer"] = b["issuer"].(string) + "INVALID" })},
		}}),
	}
	for i := range p.modules {
		m := &p.modules[i]
		m.name = "fapi2-security-profile-final-client-test-" + m.name
		if m.refused == "" {
			m.also = and(m.also, callsResource)
		} else {
			m.also = and(m.also, callsNothing)
		}
	}
	return p
}

func fapiAccepted() []module {
	return []module{
		{name: "happy-path", also: learnedNonces, before: func(x *trial) {
			// The suite gives no nonce along with an answer to a pushed request.
			x.suite.on("/par", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				answer := httptest.NewRecorder()
				next.ServeHTTP(answer, r)
				w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
				w.WriteHeader(answer.Code)
				_, _ = w.Write(answer.Body.Bytes())
			})
		}},
		{name: "happy-path-no-dpop-nonce", idp: func(c *devidp.Config, _ string) { c.DPoPNonce = false }, resource: resource("DPoP", "")},
		{name: "valid-aud-as-array", faults: []devidp.Fault{claim("aud", func(aud string) any { return []any{aud} })}},
		{name: "token-endpoint-response-without-expires_in", faults: []devidp.Fault{body("/token", without("expires_in"))}},
		{name: "token-type-case-insensitivity", faults: []devidp.Fault{body("/token", func(b map[string]any) {
			if b["token_type"] == "DPoP" {
				b["token_type"] = "dpOp"
			}
		})}},
		{name: "rs-dpop-auth-scheme-case-insensitivity", resource: resource("dPoP", "nonce-of-the-resource")},
	}
}

func fapiWrongIDTokens() []module {
	return []module{
		wrongIDToken("invalid-iss", claim("iss", other("1"))),
		wrongIDToken("invalid-aud", claim("aud", other("1"))),
		wrongIDToken("invalid-secondary-aud", claim("aud", func(aud string) any { return []any{aud, aud + "1"} })),
		wrongIDToken("invalid-null-alg", unsigned),
		wrongIDToken("invalid-alternate-alg", idToken(func(t *devidp.JWT) {
			kid := t.Header["kid"]
			t.SignAs("RS256")
			t.Header["kid"] = kid
		})),
		wrongIDToken("invalid-expired-exp", claim("exp", func(string) any { return time.Now().Add(-6 * time.Minute).Unix() })),
		wrongIDToken("invalid-missing-exp", withoutClaim("exp")),
		wrongIDToken("invalid-missing-aud", withoutClaim("aud")),
		wrongIDToken("invalid-missing-iss", withoutClaim("iss")),
		wrongIDToken("invalid-nonce", claim("nonce", other("1"))),
		wrongIDToken("invalid-missing-nonce", withoutClaim("nonce")),
	}
}

func fapiWrongAnswers() []module {
	wrong := func(name, code string, change func(url.Values)) module {
		return module{name: name, refused: code, last: "/authorize", faults: []devidp.Fault{redirect(change)}}
	}
	return []module{
		wrong("invalid-authorization-response-iss", "response_invalid", func(v url.Values) { v.Set("iss", v.Get("iss")+"1") }),
		wrong("remove-authorization-response-iss", "response_invalid", func(v url.Values) { v.Del("iss") }),
		wrong("ensure-authorization-response-with-invalid-state-fails", "state_invalid", func(v url.Values) { v.Set("state", v.Get("state")+"1") }),
		wrong("ensure-authorization-response-with-invalid-missing-state-fails", "state_invalid", func(v url.Values) { v.Del("state") }),
	}
}

// decoyed is the suite's key set for FAPI: two keys of other types have the kid of the
// one that signs.
func decoyed(real map[string]any) []any {
	real["alg"], real["kid"] = "PS256", real["kid"].(string)+"-ps256"
	same := func(int) string { return real["kid"].(string) }
	return slices.Concat(extra{okp: 1, alg: true, kid: same}.keys(), []any{real}, extra{ec: 1, alg: true, kid: same}.keys())
}

// callsResource is the end of the suite's modules: an API call with the token.
func callsResource(x *trial) {
	x.t.Helper()
	for range 2 { // the second one knows the nonce
		if status, body := x.browser.fetch(http.MethodGet, x.base+"/api/accounts?page=1"); status != http.StatusOK || body != "the accounts" {
			x.t.Errorf("the resource: %d %.500s", status, body)
		}
	}
	if got := len(x.suite.received("resource")); got > 3 {
		x.t.Errorf("the resource server was called %d times for two calls and a nonce", got)
	}
}

// callsNothing says that without a session nothing reaches the resource server.
func callsNothing(x *trial) {
	x.t.Helper()
	if status, _ := x.browser.fetch(http.MethodGet, x.base+"/api/accounts"); status != http.StatusUnauthorized {
		x.t.Errorf("the resource: %d", status)
	}
	if got := x.suite.received("resource"); len(got) != 0 {
		x.t.Errorf("the resource server was called %d times", len(got))
	}
}

// learnedNonces says that each server was asked again with the nonce it demanded.
func learnedNonces(x *trial) {
	x.t.Helper()
	for path, want := range map[string]int{"/token": 2, "/userinfo": 2} {
		calls := x.suite.received(path)
		if len(calls) != want || readJWT(calls[want-1].header.Get("DPoP")).claims["nonce"] == nil {
			x.t.Errorf("%s: %d calls, want %d, the last with a nonce", path, len(calls), want)
		}
	}
}

// accounts is the suite's resource server. It holds calls to RFC 9449 7 and 9.
type accounts struct {
	suite  *suite
	scheme string // of its challenge
	nonce  string // that it demands; "" is none

	mu   sync.Mutex
	used map[any]bool // jti
}

func resource(scheme, nonce string) func(*suite) http.Handler {
	return func(s *suite) http.Handler {
		return &accounts{suite: s, scheme: scheme, nonce: nonce, used: map[any]bool{}}
	}
}

func (a *accounts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.suite.note(call{path: "resource", header: r.Header.Clone()})
	if err := a.check(r); err != nil {
		w.Header().Set("WWW-Authenticate", a.scheme+` error="invalid_dpop_proof"`)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		a.suite.t.Error(err)
		return
	}
	if readJWT(r.Header.Get("DPoP")).claims["nonce"] != a.nonce && a.nonce != "" {
		w.Header().Set("DPoP-Nonce", a.nonce)
		w.Header().Set("WWW-Authenticate", a.scheme+` error="use_dpop_nonce", error_description="a nonce is needed"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = w.Write([]byte("the accounts"))
}

func (a *accounts) check(r *http.Request) error {
	token, bound := strings.CutPrefix(r.Header.Get("Authorization"), "DPoP ")
	proofs := r.Header.Values("DPoP")
	if !bound || len(proofs) != 1 {
		return fmt.Errorf("%d proofs, and the scheme is DPoP: %v", len(proofs), bound)
	}
	proof := readJWT(proofs[0])
	thumbprint, err := proof.verifyOwnKey()
	if err != nil {
		return err
	}
	confirmation, _ := readJWT(token).claims["cnf"].(map[string]any)
	hash := sha256.Sum256([]byte(token))
	for name, want := range map[string]any{"htm": r.Method, "htu": a.suite.resource + strings.TrimPrefix(r.URL.Path, "/"), "ath": b64(hash[:])} {
		if proof.claims[name] != want {
			return fmt.Errorf("%s is %v, want %v", name, proof.claims[name], want)
		}
	}
	iat, _ := proof.claims["iat"].(float64)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case confirmation["jkt"] != thumbprint:
		return fmt.Errorf("the token is bound to %v, the proof's key is %s", confirmation["jkt"], thumbprint)
	case time.Since(time.Unix(int64(iat), 0)).Abs() > time.Minute:
		return fmt.Errorf("iat is %v", proof.claims["iat"])
	case proof.claims["jti"] == nil || a.used[proof.claims["jti"]]:
		return fmt.Errorf("jti is %v", proof.claims["jti"])
	}
	a.used[proof.claims["jti"]] = true
	return nil
}

// jwt is one, read without checking anything.
type jwt struct {
	header, claims   map[string]any
	input, signature string
}

func readJWT(text string) (j jwt) {
	header, rest, _ := strings.Cut(text, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for part, into := range map[string]*map[string]any{header: &j.header, payload: &j.claims} {
		if plain, err := base64.RawURLEncoding.DecodeString(part); err == nil {
			_ = json.Unmarshal(plain, into)
		}
	}
	j.input, j.signature = header+"."+payload, signature
	return j
}

// verifyOwnKey checks a DPoP proof with the key it names (RFC 9449 4.2), and returns that
// key's thumbprint (RFC 7638).
func (j jwt) verifyOwnKey() (string, error) {
	key, _ := j.header["jwk"].(map[string]any)
	text := func(name string) string { s, _ := key[name].(string); return s }
	signature, err := base64.RawURLEncoding.DecodeString(j.signature)
	if err != nil || j.header["typ"] != "dpop+jwt" || j.header["alg"] != "ES256" || len(key) != 4 || len(signature) != 64 {
		return "", fmt.Errorf("the proof's header is %v", j.header)
	}
	x, errX := base64.RawURLEncoding.DecodeString(text("x"))
	y, errY := base64.RawURLEncoding.DecodeString(text("y"))
	if errX != nil || errY != nil {
		return "", fmt.Errorf("the proof's key is %v", key)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256([]byte(j.input))
	if !ecdsa.Verify(public, hash[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return "", fmt.Errorf("the proof's signature is not by its key")
	}
	sum := sha256.Sum256([]byte(fmt.Sprintf(`{"crv":%q,"kty":%q,"x":%q,"y":%q}`, text("crv"), text("kty"), text("x"), text("y"))))
	return b64(sum[:]), nil
}
