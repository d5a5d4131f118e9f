package rp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// asymmetric is every algorithm that an operator may allow (RFC 7518 3.1, RFC 8037).
var asymmetric = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

const (
	maxKeys    = 100
	minRSABits = 2048 // RFC 7518 3.3
	maxRSABits = 8192 // checking a signature of a larger key is work for an attacker's benefit

	refetchEvery = 10 * time.Second // for keys we do not know, in the long run
	refetchBurst = 3                // at once, so that a provider may roll its keys twice in a minute
)

// keySet verifies signatures with the keys the issuer publishes, and only those:
// jwk, jku, x5u and x5c of a token's header are never looked at (RFC 8725 3.10).
//
// It takes the place of go-oidc's RemoteKeySet, which gives up on the whole set for one
// key it does not understand, fetches for every unknown kid, and reads without limit.
type keySet struct {
	cache *cache[[]verificationKey]
	algs  []jose.SignatureAlgorithm
	// Anybody can send a logout token. What that makes us fetch must not use up what a
	// token of the provider's own answer may need: a refresh that cannot be checked is lost.
	ours, others budget
}

// budget bounds what tokens with unknown keys can make us ask of the provider.
type budget struct {
	mu   sync.Mutex
	next time.Time // refetches are paid for until then
}

type verificationKey struct {
	kid, alg string // alg may be empty
	public   crypto.PublicKey
}

var errNoKey = errors.New("no published key verifies the signature")

// verify returns the payload, errNoKey or an error of parsing when the token is bad, and
// an *Error when that cannot be told. allow may veto a fetch for a key that is not known.
func (k *keySet) verify(ctx context.Context, raw string, allow func(now time.Time) error) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(raw, k.algs)
	if err != nil {
		return nil, err
	}
	held, err := k.cache.get(ctx)
	if err != nil {
		return nil, err
	}
	if payload, ok := verifyWith(held.value, jws); ok {
		return payload, nil
	}
	// OpenID Connect Core 10.1.1: the keys may have been rolled since. Also for a kid
	// that is known, as some providers give a new key the old name.
	fresh, err := k.cache.renew(ctx, held, func() error { return allow(k.cache.now()) })
	if err != nil {
		return nil, err
	}
	if payload, ok := verifyWith(fresh.value, jws); ok {
		return payload, nil
	}
	return nil, errNoKey
}

func (b *budget) pay(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next.Before(now) {
		b.next = now
	}
	if b.next.Sub(now) > (refetchBurst-1)*refetchEvery {
		return fault("keys", "rate_limited", errors.New("the key is not known, and the keys were just fetched"))
	}
	b.next = b.next.Add(refetchEvery)
	return nil
}

// verifyWith tries every key that fits: without a kid all of the right type, and of
// several with one kid each (OpenID Connect Core 10.1, RFC 7517 4.5).
func verifyWith(keys []verificationKey, jws *jose.JSONWebSignature) ([]byte, bool) {
	header := jws.Signatures[0].Protected
	for _, key := range keys {
		if header.KeyID != "" && header.KeyID != key.kid || !key.fits(header.Algorithm) {
			continue
		}
		if payload, err := jws.Verify(key.public); err == nil {
			return payload, true
		}
	}
	return nil, false
}

func (k verificationKey) fits(alg string) bool {
	if k.alg != "" && k.alg != alg {
		return false
	}
	switch key := k.public.(type) {
	case *rsa.PublicKey:
		return oneOf(alg[:2], "RS", "PS")
	case *ecdsa.PublicKey:
		return map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[alg] == key.Params().Name
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

func (c *Client) fetchKeys(ctx context.Context) ([]verificationKey, error) {
	md, err := c.discover(ctx)
	if err != nil {
		return nil, err
	}
	body, err := c.document(ctx, "keys", md.JWKS)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(body)
	if err == nil && len(keys) == 0 {
		err = errors.New("the key set holds no key that can be used") // no verdict on a token
	}
	if err != nil {
		return nil, fault("keys", "key_set", err)
	}
	return keys, nil
}

// parseKeys reads a JWK set. A key that is not understood, is not for signatures or is
// weak is left out, and never spoils the others (RFC 7517 5).
func parseKeys(body []byte) ([]verificationKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil || set.Keys == nil {
		return nil, errors.New("the answer is not a JWK set")
	}
	var keys []verificationKey
	for _, raw := range set.Keys[:min(len(set.Keys), maxKeys)] {
		if key, ok := parseKey(raw); ok {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func parseKey(raw json.RawMessage) (verificationKey, bool) {
	var jwk struct {
		Kid, Alg, Use string
		KeyOps        []string `json:"key_ops"`
	}
	var material struct {
		Kty string `json:"kty"`
		Crv string `json:"crv,omitempty"`
		N   string `json:"n,omitempty"`
		E   string `json:"e,omitempty"`
		X   string `json:"x,omitempty"`
		Y   string `json:"y,omitempty"`
	}
	if json.Unmarshal(raw, &jwk) != nil || json.Unmarshal(raw, &material) != nil ||
		!oneOf(jwk.Use, "", "sig") || jwk.KeyOps != nil && !slices.Contains(jwk.KeyOps, "verify") {
		return verificationKey{}, false
	}
	// Only the public members go on: x5c may hold certificates that Go refuses to read,
	// and they add nothing to a key from jwks_uri.
	public, err := json.Marshal(material)
	if err != nil {
		return verificationKey{}, false
	}
	var parsed jose.JSONWebKey
	if parsed.UnmarshalJSON(public) != nil {
		return verificationKey{}, false
	}
	if key, ok := parsed.Key.(*rsa.PublicKey); ok && (key.N.BitLen() < minRSABits || key.N.BitLen() > maxRSABits) {
		return verificationKey{}, false
	}
	return verificationKey{jwk.Kid, jwk.Alg, parsed.Key}, true
}

func signatureAlgorithms(names []string) []jose.SignatureAlgorithm {
	algs := make([]jose.SignatureAlgorithm, len(names))
	for i, name := range names {
		algs[i] = jose.SignatureAlgorithm(name)
	}
	return algs
}
