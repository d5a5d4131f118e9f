package devidp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// keptKeys is how many keys stay published, so that tokens survive some rolls.
const keptKeys = 5

type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

// RollKey makes a new signing key. The ones before it stay published, up to five.
func (p *Provider) RollKey() error {
	key, err := p.cfg.NewKey()
	if err != nil {
		return fmt.Errorf("devidp: new key: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append([]signingKey{{"key-" + rand.Text()[:8], key}}, p.keys...)
	p.keys = p.keys[:min(len(p.keys), keptKeys)]
	return nil
}

func (p *Provider) publishedKeys() []signingKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]signingKey(nil), p.keys...)
}

func (p *Provider) jwks(w http.ResponseWriter, r *http.Request) {
	var keys []any
	for _, k := range p.publishedKeys() {
		keys = append(keys, map[string]any{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.id,
			"n": base64url(k.key.N.Bytes()), "e": base64url(big.NewInt(int64(k.key.E)).Bytes()),
		})
	}
	w.Header().Set("Cache-Control", "no-cache")
	p.json(w, r, http.StatusOK, map[string]any{"keys": keys})
}

// JWT is a token about to be signed; a Fault may change any of it.
type JWT struct {
	Header, Claims map[string]any
	Key            *rsa.PrivateKey
	// Sign makes the signature over input, RS256 by default.
	Sign func(key *rsa.PrivateKey, input []byte) ([]byte, error)
}

func (p *Provider) newJWT(typ string, claims map[string]any) *JWT {
	key := p.publishedKeys()[0]
	header := map[string]any{"alg": "RS256", "kid": key.id, "typ": typ}
	return &JWT{Header: header, Claims: claims, Key: key.key, Sign: signRS256}
}

func signRS256(key *rsa.PrivateKey, input []byte) ([]byte, error) {
	sum := sha256.Sum256(input)
	return rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
}

// compact serialises t (RFC 7515 7.1). It is done by hand, as no library makes the
// broken tokens that faults are about.
func (t *JWT) compact() (string, error) {
	header, err := json.Marshal(t.Header)
	if err != nil {
		return "", fmt.Errorf("devidp: token header: %w", err)
	}
	claims, err := json.Marshal(t.Claims)
	if err != nil {
		return "", fmt.Errorf("devidp: token claims: %w", err)
	}
	input := base64url(header) + "." + base64url(claims)
	signature, err := t.Sign(t.Key, []byte(input))
	if err != nil {
		return "", fmt.Errorf("devidp: sign: %w", err)
	}
	return input + "." + base64url(signature), nil
}

// hint is what is needed of an ID token that a client gave back as id_token_hint.
type hint struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	SID      string `json:"sid"`
}

// openHint accepts an ID token of ours, expired or not (RP-Initiated Logout 2).
func (p *Provider) openHint(raw string) (hint, error) {
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return hint{}, errors.New("it is not a signed JWT")
	}
	header := jws.Signatures[0].Protected
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(typ, "JWT") {
		return hint{}, errors.New("it is not an ID token")
	}
	for _, k := range p.publishedKeys() {
		if header.KeyID != "" && k.id != header.KeyID { // there is a fault that leaves it out
			continue
		}
		var h hint
		payload, err := jws.Verify(&k.key.PublicKey)
		if err == nil && json.Unmarshal(payload, &h) == nil && h.Issuer == p.Issuer() {
			return h, nil
		}
	}
	return hint{}, errors.New("this provider did not sign it")
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
