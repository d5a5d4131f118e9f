package devidp

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash
	_ "crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// algorithms are what the provider signs with, the default first (RFC 7518 3.1,
// RFC 8037 3.1). For each it has a key and publishes it.
func algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"}
}

// JWT is a token about to be signed; a Fault may change any of it.
type JWT struct {
	Header, Claims map[string]any
	Key            crypto.Signer
	// Sign makes the signature over input, by default as the header's alg said when the
	// token was made.
	Sign func(key crypto.Signer, input []byte) ([]byte, error)
	// Serialize makes the token of its three parts, which are in base64url. By default it
	// joins them with dots (RFC 7515 7.1).
	Serialize func(header, payload, signature string) string

	provider *Provider
	grant    *grant // nil when nobody signed in for it
}

// newJWT is signed with the newest key of alg; empty is RS256.
func (p *Provider) newJWT(typ, alg string, claims map[string]any) *JWT {
	t := &JWT{Header: map[string]any{"typ": typ}, Claims: claims, provider: p}
	t.SignAs(cmp.Or(alg, algorithms()[0]))
	return t
}

// SignAs has the provider's newest key of alg sign t, and sets alg and kid. It panics
// when the provider has no such key.
func (t *JWT) SignAs(alg string) {
	for _, k := range t.provider.publishedKeys() {
		if k.alg == alg {
			t.Header["alg"], t.Header["kid"] = alg, k.id
			t.Key, t.Sign = k.key, signature(alg)
			return
		}
	}
	panic("devidp: there is no key of " + alg)
}

// token serialises t. It is done by hand, as no library makes the broken tokens that
// faults are about.
func (t *JWT) token() (string, error) {
	header, err := json.Marshal(t.Header)
	if err != nil {
		return "", fmt.Errorf("devidp: token header: %w", err)
	}
	claims, err := json.Marshal(t.Claims)
	if err != nil {
		return "", fmt.Errorf("devidp: token claims: %w", err)
	}
	parts := []string{base64url(header), base64url(claims)}
	signed, err := t.Sign(t.Key, []byte(strings.Join(parts, ".")))
	if err != nil {
		return "", fmt.Errorf("devidp: sign: %w", err)
	}
	parts = append(parts, base64url(signed))
	if t.Serialize != nil {
		return t.Serialize(parts[0], parts[1], parts[2]), nil
	}
	return strings.Join(parts, "."), nil
}

// signature is the function that signs by alg.
func signature(alg string) func(crypto.Signer, []byte) ([]byte, error) {
	return func(key crypto.Signer, input []byte) ([]byte, error) {
		if alg == "EdDSA" {
			return key.Sign(rand.Reader, input, crypto.Hash(0))
		}
		sum := digest(alg, input)
		switch {
		case strings.HasPrefix(alg, "ES"):
			return signECDSA(key, sum)
		case strings.HasPrefix(alg, "PS"): // RFC 7518 3.5: the salt is as long as the hash
			return key.Sign(rand.Reader, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hashOf(alg)})
		}
		return key.Sign(rand.Reader, sum, hashOf(alg))
	}
}

// signECDSA gives the two numbers at full length (RFC 7518 3.4), not ASN.1.
func signECDSA(key crypto.Signer, sum []byte) ([]byte, error) {
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not of ECDSA")
	}
	r, s, err := ecdsa.Sign(rand.Reader, private, sum)
	if err != nil {
		return nil, err
	}
	size := (private.Params().BitSize + 7) / 8
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), nil
}

// hashOf is the hash of alg. Ed25519 has SHA-512 inside.
func hashOf(alg string) crypto.Hash {
	switch {
	case strings.HasSuffix(alg, "384"):
		return crypto.SHA384
	case strings.HasSuffix(alg, "512"), alg == "EdDSA":
		return crypto.SHA512
	}
	return crypto.SHA256
}

func digest(alg string, input []byte) []byte {
	h := hashOf(alg).New()
	_, _ = h.Write(input)
	return h.Sum(nil)
}

// halfHash is at_hash (OpenID Connect Core 3.1.3.6): the left half of alg's hash.
func halfHash(alg, token string) string {
	sum := digest(alg, []byte(token))
	return base64url(sum[:len(sum)/2])
}

// newKeys makes one key for each algorithm, all under names that begin with id. The RSA
// ones are one and the same, as making more takes long.
func newKeys(id string, rsaKey *rsa.PrivateKey) ([]signingKey, error) {
	var keys []signingKey
	for i, alg := range algorithms() {
		key, err := newKey(alg, rsaKey)
		if err != nil {
			return nil, err
		}
		name := id
		if i > 0 {
			name += "-" + strings.ToLower(alg)
		}
		keys = append(keys, signingKey{name, alg, key})
	}
	return keys, nil
}

func newKey(alg string, rsaKey *rsa.PrivateKey) (crypto.Signer, error) {
	switch alg {
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return rsaKey, nil
}

// jwk is key as RFC 7518 6 and RFC 8037 2 write it. It is done by hand so that weak keys
// can be written too.
func jwk(key crypto.PublicKey, alg, kid string) map[string]any {
	out := map[string]any{"use": "sig", "alg": alg, "kid": kid}
	switch key := key.(type) {
	case *rsa.PublicKey:
		out["kty"], out["n"], out["e"] = "RSA", base64url(key.N.Bytes()), base64url(big.NewInt(int64(key.E)).Bytes())
	case *ecdsa.PublicKey:
		if point, err := key.Bytes(); err == nil { // 4, x, y
			half := len(point) / 2
			out["kty"], out["crv"] = "EC", key.Params().Name
			out["x"], out["y"] = base64url(point[1:1+half]), base64url(point[1+half:])
		}
	case ed25519.PublicKey:
		out["kty"], out["crv"], out["x"] = "OKP", "Ed25519", base64url(key)
	}
	return out
}
