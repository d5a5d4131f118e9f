package devidp

import (
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// keptRolls is how many rolls of the keys stay published, so that tokens survive some.
const keptRolls = 5

type signingKey struct {
	id, alg string
	key     crypto.Signer
}

// RollKey makes new signing keys, one for each algorithm. The ones before them stay
// published, up to five rolls.
func (p *Provider) RollKey() error {
	rsaKey, err := p.cfg.NewKey()
	if err != nil {
		return fmt.Errorf("devidp: new key: %w", err)
	}
	fresh, err := newKeys("key-"+rand.Text()[:8], rsaKey)
	if err != nil {
		return fmt.Errorf("devidp: new key: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(fresh, p.keys...)
	p.keys = p.keys[:min(len(p.keys), keptRolls*len(fresh))]
	return nil
}

func (p *Provider) publishedKeys() []signingKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]signingKey(nil), p.keys...)
}

func (p *Provider) jwks(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	p.json(w, r, http.StatusOK, map[string]any{"keys": p.keySet()})
}

func (p *Provider) keySet() []any {
	var keys []any
	for _, k := range p.publishedKeys() {
		keys = append(keys, jwk(k.key.Public(), k.alg, k.id))
	}
	return keys
}

// hint is what is needed of an ID token that a client gave back as id_token_hint.
type hint struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	SID      string   `json:"sid"`
}

// audience is a string or a list with one (OpenID Connect Core 2).
type audience string

// UnmarshalJSON refuses a list of several, which no ID token of ours is good with.
func (a *audience) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*a = audience(one)
		return nil
	}
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil || len(list) != 1 {
		return errors.New("aud is neither a string nor a list of one")
	}
	*a = audience(list[0])
	return nil
}

// openHint accepts an ID token of ours, expired or not (RP-Initiated Logout 2).
func (p *Provider) openHint(raw string) (hint, error) {
	var algs []jose.SignatureAlgorithm
	for _, alg := range algorithms() {
		algs = append(algs, jose.SignatureAlgorithm(alg))
	}
	jws, err := jose.ParseSignedCompact(raw, algs)
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
		payload, err := jws.Verify(k.key.Public())
		if err == nil && json.Unmarshal(payload, &h) == nil && h.Issuer == p.Issuer() {
			return h, nil
		}
	}
	return hint{}, errors.New("this provider did not sign it")
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
