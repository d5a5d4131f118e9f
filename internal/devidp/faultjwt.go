package devidp

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"sync"
)

// jwtFault makes a fault of one kind of JWT. The name lacks the kind.
type jwtFault func(name string, change func(*JWT)) Fault

// claim changes one claim. The function gets the right value.
func (of jwtFault) claim(name, claim string, change func(any) any) Fault {
	return of(name, func(t *JWT) { t.Claims[claim] = change(t.Claims[claim]) })
}

func (of jwtFault) set(name, claim string, value any) Fault {
	return of(name, func(t *JWT) { t.Claims[claim] = value })
}

// shift moves a time by seconds, if there is one: tokens of clients have no auth_time.
func (of jwtFault) shift(name, claim string, seconds int64) Fault {
	return of(name, func(t *JWT) {
		if at, ok := t.Claims[claim].(int64); ok {
			t.Claims[claim] = at + seconds
		}
	})
}

func (of jwtFault) without(name string, claims ...string) Fault {
	return of(name, func(t *JWT) {
		for _, claim := range claims {
			delete(t.Claims, claim)
		}
	})
}

func (of jwtFault) header(name, member string, value any) Fault {
	return of(name, func(t *JWT) { t.Header[member] = value })
}

// forgeries are wrong in how they are signed or serialised, whatever the JWT is for.
func (of jwtFault) forgeries() []Fault {
	return append(of.misnamed(),
		of("bad-signature", spoilSignature),
		of("changed-payload", func(t *JWT) {
			t.Serialize = func(header, payload, signed string) string { return header + "." + another(payload) + "." + signed }
		}),
		of("no-signature", func(t *JWT) {
			t.Serialize = func(header, payload, _ string) string { return header + "." + payload + "." }
		}),
		of("unpublished-key", signRogue),
		of("json", func(t *JWT) {
			t.Serialize = func(header, payload, signed string) string { // RFC 7515 7.2.2
				return `{"payload":"` + payload + `","protected":"` + header + `","signature":"` + signed + `"}`
			}
		}),
		of("two-signatures", func(t *JWT) {
			t.Serialize = func(header, payload, signed string) string { // RFC 7515 7.2.1
				one := `{"protected":"` + header + `","signature":"` + signed + `"}`
				return `{"payload":"` + payload + `","signatures":[` + one + `,` + one + `]}`
			}
		}),
		of("crit", func(t *JWT) { t.Header["crit"], t.Header["x-unknown"] = []string{"x-unknown"}, true }),
		of("b64", signUnencoded), of.weakKey(), of.encryptionKey(),
	)
}

// misnamed have a header that points at another key or algorithm.
func (of jwtFault) misnamed() []Fault {
	as := func(alg string) func(*JWT) {
		return func(t *JWT) {
			delete(t.Claims, "at_hash") // which would be of another hash
			t.SignAs(alg)
		}
	}
	return append(of.embedded(),
		of("alg-none", unsigned("none")), of("alg-none-title", unsigned("None")),
		of("alg-none-mixed", unsigned("nOnE")), of("alg-empty", unsigned("")),
		of("alg-hs256", func(t *JWT) { signMAC(t, publicPEM(t)) }),
		of("alg-hs256-jwks", func(t *JWT) { signMAC(t, t.provider.keySetText()) }),
		of("alg-hs256-secret", func(t *JWT) {
			id, access := t.Claims["client_id"].(string)
			if !access {
				id, _ = t.Claims["aud"].(string)
			}
			client, _ := t.provider.client(id)
			signMAC(t, []byte(client.Secret))
		}),
		of("other-alg", func(t *JWT) {
			if t.Header["alg"] == "ES256" {
				as("RS256")(t)
			} else {
				as("ES256")(t)
			}
		}),
		of("alg-rs256", as("RS256")), of("alg-rs384", as("RS384")), of("alg-ps256", as("PS256")), of("alg-eddsa", as("EdDSA")),
		of("no-kid", func(t *JWT) { delete(t.Header, "kid") }), of.header("unknown-kid", "kid", "no-such-key"),
	)
}

// embedded carry their key, or the address of one, in the header (RFC 8725 3.10). The
// addresses count their calls in Stats.Recorded.
func (of jwtFault) embedded() []Fault {
	rogue := func(name, member string, value func(*Provider) any) Fault {
		return of(name, func(t *JWT) {
			signRogue(t)
			t.Header["kid"], t.Header[member] = rogueID, value(t.provider)
		})
	}
	return []Fault{
		rogue("embedded-jwk", "jwk", func(p *Provider) any { return jwk(p.rogueKey().Public(), "RS256", rogueID) }),
		rogue("jku", "jku", func(p *Provider) any { return p.endpoint("/recorded/jku") }),
		rogue("x5u", "x5u", func(p *Provider) any { return p.endpoint("/recorded/x5u") }),
		rogue("x5c", "x5c", func(p *Provider) any {
			return []string{base64.StdEncoding.EncodeToString(p.rogueCertificate())}
		}),
	}
}

// weakKey signs with a key of 1024 bits, which is published.
func (of jwtFault) weakKey() Fault {
	key := sync.OnceValue(func() *rsa.PrivateKey { return mustRSA(1024) })
	f := of("weak-rsa", func(t *JWT) {
		t.Header["alg"], t.Header["kid"] = "RS256", "weak"
		t.Key, t.Sign = key(), signature("RS256")
	})
	return withKeys(f, func() []any { return []any{jwk(key().Public(), "RS256", "weak")} })
}

// encryptionKey signs with a key that is published for encryption only.
func (of jwtFault) encryptionKey() Fault {
	key := sync.OnceValue(func() *rsa.PrivateKey { return mustRSA(2048) })
	f := of("enc-key", func(t *JWT) {
		t.Header["alg"], t.Header["kid"] = "RS256", "enc"
		t.Key, t.Sign = key(), signature("RS256")
	})
	return withKeys(f, func() []any {
		public := jwk(key().Public(), "RS256", "enc")
		public["use"] = "enc"
		return []any{public}
	})
}

// withKeys publishes keys before the real ones.
func withKeys(f Fault, keys func() []any) Fault {
	f.At, f.Body = "/jwks", func(b map[string]any) { b["keys"] = append(keys(), b["keys"].([]any)...) }
	return f
}

// mustRSA panics when the machine has no random numbers, which Go itself does too.
func mustRSA(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic("devidp: " + err.Error())
	}
	return key
}

// unsigned has no signature and says so in alg (RFC 7518 3.6).
func unsigned(alg string) func(*JWT) {
	return func(t *JWT) {
		t.Header["alg"] = alg
		t.Sign = func(crypto.Signer, []byte) ([]byte, error) { return nil, nil }
	}
}

func spoilSignature(t *JWT) {
	sign := t.Sign
	t.Sign = func(key crypto.Signer, input []byte) ([]byte, error) {
		signed, err := sign(key, input)
		if err == nil {
			signed[7] ^= 1
		}
		return signed, err
	}
}

// signRogue has a key sign that is published nowhere, under the name of the right one.
func signRogue(t *JWT) {
	t.Header["alg"] = "RS256"
	t.Key, t.Sign = t.provider.rogueKey(), signature("RS256")
}

// signMAC is the confusion of RFC 8725 2.1: something public as an HMAC secret.
func signMAC(t *JWT, secret []byte) {
	t.Header["alg"] = "HS256"
	t.Sign = func(_ crypto.Signer, input []byte) ([]byte, error) {
		mac := hmac.New(sha256.New, secret)
		_, _ = mac.Write(input)
		return mac.Sum(nil), nil
	}
}

func publicPEM(t *JWT) []byte {
	der, _ := x509.MarshalPKIXPublicKey(t.Key.Public()) // no error for the keys we make
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// signUnencoded signs the claims as they are (RFC 7797 3) and then sends them encoded,
// which some libraries accept.
func signUnencoded(t *JWT) {
	t.Header["b64"], t.Header["crit"] = false, []string{"b64"}
	sign := t.Sign
	t.Sign = func(key crypto.Signer, input []byte) ([]byte, error) {
		header, payload, _ := strings.Cut(string(input), ".")
		claims, err := base64.RawURLEncoding.DecodeString(payload)
		if err != nil {
			return nil, err
		}
		return sign(key, []byte(header+"."+string(claims)))
	}
}

// another is the payload with another sub.
func another(payload string) string {
	var claims map[string]any
	raw, _ := base64.RawURLEncoding.DecodeString(payload)
	_ = json.Unmarshal(raw, &claims) // it is a JSON object, as token just made it
	claims["sub"] = "another-user"
	raw, _ = json.Marshal(claims)
	return base64url(raw)
}
