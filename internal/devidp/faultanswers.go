package devidp

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
)

const wellKnown = "/.well-known/openid-configuration"

func unsigned(t *JWT) {
	t.Header["alg"] = "none"
	t.Sign = func(*rsa.PrivateKey, []byte) ([]byte, error) { return nil, nil }
}

// signWithPublicKey is the confusion of RFC 8725 2.1: the public key as an HMAC secret.
func signWithPublicKey(t *JWT) {
	t.Header["alg"] = "HS256"
	t.Sign = func(key *rsa.PrivateKey, input []byte) ([]byte, error) {
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		mac.Write(input)
		return mac.Sum(nil), err
	}
}

// answer sends text as it is.
func answer(status int, contentType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// refuse sends an OAuth error.
func refuse(status int, code string) http.HandlerFunc {
	return answer(status, "application/json", `{"error":"`+code+`","error_description":"a fault on demand"}`)
}

// slow keeps the client waiting until it hangs up.
func slow(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func huge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"padding":"`)
	chunk := strings.Repeat("x", 64<<10)
	for range 256 { // 16 MiB
		if _, err := io.WriteString(w, chunk); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, `"}`)
}

// outages are what can happen to every endpoint that answers with JSON.
func outages(prefix, path string) []Fault {
	return []Fault{
		{Name: prefix + "-500", At: path, Answer: answer(http.StatusInternalServerError, "text/plain", "broken on demand")},
		{Name: prefix + "-503", At: path, Answer: answer(http.StatusServiceUnavailable, "text/plain", "broken on demand")},
		{Name: prefix + "-html", At: path, Answer: answer(http.StatusOK, "text/html", "<!doctype html><title>Portal</title><p>Sign in to the network")},
		{Name: prefix + "-huge", At: path, Answer: huge},
		{Name: prefix + "-slow", At: path, Answer: slow},
		{Name: prefix + "-redirect", At: path, Answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		}},
		{Name: prefix + "-lost", At: path, Body: func(map[string]any) { panic(http.ErrAbortHandler) }},
	}
}

func bodySet(name, at, member string, value any) Fault {
	return Fault{Name: name, At: at, Body: func(b map[string]any) { b[member] = value }}
}

func bodyWithout(name, at, member string) Fault {
	return Fault{Name: name, At: at, Body: func(b map[string]any) { delete(b, member) }}
}

func tokenFaults() []Fault {
	const at = "/token"
	return append(outages("token", at),
		Fault{Name: "token-429", At: at, Answer: answer(http.StatusTooManyRequests, "text/plain", "too many")},
		Fault{Name: "token-invalid-grant", At: at, Answer: refuse(http.StatusBadRequest, "invalid_grant")},
		Fault{Name: "token-invalid-client", At: at, Answer: refuse(http.StatusUnauthorized, "invalid_client")},
		Fault{Name: "token-error-200", At: at, Answer: refuse(http.StatusOK, "invalid_grant")},
		Fault{Name: "token-truncated", At: at, Answer: answer(http.StatusOK, "application/json", `{"access_token":"x","token_ty`)},
		bodyWithout("token-no-id-token", at, "id_token"),
		bodyWithout("token-no-access-token", at, "access_token"),
		bodyWithout("token-no-refresh-token", at, "refresh_token"),
		bodyWithout("token-no-expires-in", at, "expires_in"),
		bodySet("token-string-expires-in", at, "expires_in", "3600"),
		bodySet("token-negative-expires-in", at, "expires_in", -1),
		bodySet("token-wrong-type", at, "token_type", "mac"),
		bodySet("token-odd-case-type", at, "token_type", "bEaReR"),
		bodySet("token-narrow-scope", at, "scope", "openid"),
		bodySet("token-extra", at, "foo", map[string]any{"bar": []any{1, nil}}))
}

func metadataFaults() []Fault {
	const at = wellKnown
	return append(outages("discovery", at),
		bodySet("discovery-wrong-issuer", at, "issuer", "https://another-provider.example"),
		bodySet("discovery-http-endpoint", at, "token_endpoint", "http://provider.example/token"),
		bodySet("discovery-plain-pkce", at, "code_challenge_methods_supported", []string{"plain"}),
		bodyWithout("discovery-no-authorize", at, "authorization_endpoint"),
		bodyWithout("discovery-no-token", at, "token_endpoint"),
		bodyWithout("discovery-no-jwks", at, "jwks_uri"),
		bodyWithout("discovery-no-userinfo", at, "userinfo_endpoint"),
		bodyWithout("discovery-no-logout", at, "end_session_endpoint"),
		bodyWithout("discovery-no-revocation", at, "revocation_endpoint"))
}

func userInfoFaults() []Fault {
	const at = "/userinfo"
	return append(outages("userinfo", at),
		bodySet("userinfo-wrong-sub", at, "sub", "another-user"),
		bodyWithout("userinfo-no-sub", at, "sub"),
		Fault{Name: "userinfo-401", At: at, Answer: func(w http.ResponseWriter, _ *http.Request) { challenge(w, true, "a fault on demand") }})
}

func keyFaults() []Fault {
	const at = "/jwks"
	each := func(name, member string, value any) Fault {
		return Fault{Name: name, At: at, Body: func(b map[string]any) {
			for _, key := range b["keys"].([]any) {
				key.(map[string]any)[member] = value
			}
		}}
	}
	return append(outages("keys", at),
		Fault{Name: "keys-junk", At: at, Body: func(b map[string]any) { b["keys"] = append(junkKeys(), b["keys"].([]any)...) }},
		Fault{Name: "keys-decoys", At: at, Body: func(b map[string]any) {
			keys := b["keys"].([]any)
			b["keys"] = append(decoys(keys[0].(map[string]any)["kid"]), keys...)
		}},
		each("keys-for-encryption", "use", "enc"), each("keys-other-alg", "alg", "PS256"),
		bodySet("keys-empty", at, "keys", []any{}))
}

// junkKeys are keys that a client need not understand and must not stumble over
// (RFC 7517 5).
func junkKeys() []any {
	zeros := func(n int) string { return base64url(make([]byte, n)) }
	return []any{
		map[string]any{"kty": "EC", "crv": "secp256k1", "kid": "junk-1", "x": zeros(32), "y": zeros(32)}, // without alg
		map[string]any{"kty": "OKP", "crv": "Ed448", "kid": "junk-2", "x": zeros(57)},
		map[string]any{"kty": "oct", "kid": "junk-3", "k": zeros(32)},
		map[string]any{"kty": "RSA", "kid": "junk-4", "n": "!", "e": 7},
		map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "kid": "junk-5", "pub": zeros(1312)},
		map[string]any{"kty": []any{}, "kid": nil},
		"not a key",
	}
}

// decoys are good keys of other types under the kid of the real one (RFC 7517 4.5).
func decoys(kid any) []any {
	var keys []any
	if key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
		if point, err := key.PublicKey.Bytes(); err == nil { // 4, x, y
			keys = append(keys, map[string]any{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": kid, "x": base64url(point[1:33]), "y": base64url(point[33:])})
		}
	}
	if public, _, err := ed25519.GenerateKey(rand.Reader); err == nil {
		keys = append(keys, map[string]any{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": kid, "x": base64url(public)})
	}
	return keys
}
