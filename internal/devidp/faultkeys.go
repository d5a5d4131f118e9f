package devidp

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
	"net/http"
	"strings"
)

func keyFaults() []Fault {
	const at = "/jwks"
	of := func(name string, change func(keys []any) []any) Fault {
		return Fault{Name: "keys-" + name, At: at, Body: func(b map[string]any) { b["keys"] = change(b["keys"].([]any)) }}
	}
	before := func(name string, more func(real []any) []any) Fault {
		return of(name, func(keys []any) []any { return append(more(keys), keys...) })
	}
	each := func(name string, change func(key map[string]any)) Fault {
		return of(name, func(keys []any) []any {
			for _, key := range keys {
				change(key.(map[string]any))
			}
			return keys
		})
	}
	faults := append(outages("keys", at),
		Fault{Name: "keys-truncated", At: at, Answer: answer(http.StatusOK, "application/json", `{"keys":[{"kty":"RSA","n`)},
		before("junk", func([]any) []any { return junkKeys() }),
		before("decoys", func(real []any) []any { return decoys(real[0].(map[string]any)["kid"]) }),
		of("many", func(keys []any) []any {
			for i := range 5000 {
				keys = append(keys, stranger("RS256", fmt.Sprint("many-", i)))
			}
			return keys
		}),
		of("without-signer", func(keys []any) []any { // of no algorithm
			newest, _ := keys[0].(map[string]any)["kid"].(string)
			var rest []any
			for _, key := range keys {
				if kid, _ := key.(map[string]any)["kid"].(string); !strings.HasPrefix(kid, newest) {
					rest = append(rest, key)
				}
			}
			return append(rest, stranger("RS256", "stranger"))
		}),
		each("for-encryption", func(key map[string]any) { key["use"] = "enc" }),
		each("for-wrapping", func(key map[string]any) { delete(key, "use"); key["key_ops"] = []string{"wrapKey", "encrypt"} }),
		each("other-alg", func(key map[string]any) { key["alg"] = "PS256" }),
		each("no-alg", func(key map[string]any) { delete(key, "alg") }), each("no-use", func(key map[string]any) { delete(key, "use") }),
		of("empty", func([]any) []any { return []any{} }),
		bodySet("keys-not-a-list", at, "keys", "x"), bodyWithout("keys-no-list", at, "keys"),
	)
	for i, name := range []string{"secp256k1", "ed448", "oct", "bad-rsa", "ml-dsa", "bad-types", "not-an-object"} {
		faults = append(faults, before(name, func([]any) []any { return junkKeys()[i : i+1] }))
	}
	return append(faults, kidlessFaults()...)
}

// kidlessFaults sign ID and logout tokens with the newest RS256 key and leave kid out
// (OpenID Connect Core 10.1).
func kidlessFaults() []Fault {
	of := func(name string, keys func(signer map[string]any) []any) Fault {
		unnamed := func(t *JWT) {
			t.SignAs("RS256")
			delete(t.Header, "kid")
		}
		return Fault{Name: name, IDToken: unnamed, LogoutToken: unnamed, At: "/jwks", Body: func(b map[string]any) {
			b["keys"] = keys(b["keys"].([]any)[0].(map[string]any))
		}}
	}
	without := func(keys ...map[string]any) []any {
		var list []any
		for _, key := range keys {
			delete(key, "kid")
			list = append(list, key)
		}
		return list
	}
	return []Fault{
		of("id-no-kid-single", func(signer map[string]any) []any { return []any{signer} }),
		of("id-no-kid-several", func(signer map[string]any) []any {
			return []any{stranger("RS256", "one"), signer, stranger("RS256", "two")}
		}),
		of("keys-no-kid-single", func(signer map[string]any) []any { return without(signer) }),
		of("keys-no-kid-three", func(signer map[string]any) []any {
			return without(stranger("RS256", ""), stranger("RS256", ""), signer)
		}),
	}
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

// decoys are good keys of other types and algorithms under the kid of the real one
// (RFC 7517 4.5).
func decoys(kid any) []any {
	name, _ := kid.(string)
	keys := []any{stranger("PS256", name)}
	if key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
		keys = append(keys, jwk(key.Public(), "ES256", name))
	}
	if public, _, err := ed25519.GenerateKey(rand.Reader); err == nil {
		keys = append(keys, jwk(public, "EdDSA", name))
	}
	return keys
}

// stranger looks like an RSA key of 2048 bits. Nobody holds the private one.
func stranger(alg, kid string) map[string]any {
	n := make([]byte, 256)
	_, _ = rand.Read(n) // never fails
	n[0], n[255] = n[0]|0x80, n[255]|1
	return jwk(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}, alg, kid)
}
