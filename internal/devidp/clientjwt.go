package devidp

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// skew is how far a client's clock may be ahead (FAPI 2.0 Security Profile 5.3.2.1).
const skew = 10 * time.Second

// clientJWT is a JWT that a client made.
type clientJWT struct {
	Header, Claims map[string]any
	jws            *jose.JSONWebSignature
}

// parseClientJWT reads raw without checking its signature. An alg other than those given
// is refused here, so none always is.
func parseClientJWT(raw string, algs ...string) (*clientJWT, error) {
	var known []jose.SignatureAlgorithm
	for _, alg := range algs {
		known = append(known, jose.SignatureAlgorithm(alg))
	}
	jws, err := jose.ParseSignedCompact(raw, known)
	if err != nil {
		return nil, errors.New("it is not a JWT that is signed with one of: " + strings.Join(algs, " "))
	}
	j := &clientJWT{jws: jws, Header: map[string]any{}}
	header := jws.Signatures[0].Protected
	for name, value := range header.ExtraHeaders {
		j.Header[string(name)] = value
	}
	j.Header["alg"] = header.Algorithm
	if header.KeyID != "" {
		j.Header["kid"] = header.KeyID
	}
	if json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &j.Claims) != nil || j.Claims == nil {
		return nil, errors.New("its claims are not a JSON object")
	}
	return j, nil
}

// verify checks the signature against set. With several keys, kid has to name one.
func (j *clientJWT) verify(set json.RawMessage) error {
	keys, err := publicKeys(set)
	if err != nil {
		return err
	}
	kid, named := j.Header["kid"]
	if !named && len(keys) != 1 {
		return errors.New("kid is missing, and the client has not exactly one key")
	}
	for _, key := range keys {
		if named && key.KeyID != kid || key.Algorithm != "" && key.Algorithm != j.Header["alg"] {
			continue
		}
		if _, err := j.jws.Verify(key.Key); err == nil {
			return nil
		}
	}
	return errors.New("no key of the client's verifies it")
}

// publicKeys reads a JWKS, in which every key has to be public and good.
func publicKeys(set json.RawMessage) ([]jose.JSONWebKey, error) {
	var keys jose.JSONWebKeySet
	if len(set) == 0 {
		return nil, errors.New("the client has no keys")
	}
	if err := json.Unmarshal(set, &keys); err != nil || len(keys.Keys) == 0 {
		return nil, errors.New("the client's JWKS cannot be read, or is empty")
	}
	if slices.ContainsFunc(keys.Keys, func(k jose.JSONWebKey) bool { return !k.Valid() || !k.IsPublic() }) {
		return nil, errors.New("the client's JWKS holds a key that is not public")
	}
	return keys.Keys, nil
}

// text is a claim that is a string, else empty.
func (j *clientJWT) text(name string) string {
	s, _ := j.Claims[name].(string)
	return s
}

// typ is in lower case, as it is compared regardless of case (RFC 7515 4.1.9).
func (j *clientJWT) typ() string {
	s, _ := j.Header["typ"].(string)
	return strings.ToLower(s)
}

// moment reads a NumericDate. Absent, it is no time and good; known says which.
func (j *clientJWT) moment(name string) (at time.Time, known bool, err error) {
	value, known := j.Claims[name]
	if !known {
		return time.Time{}, false, nil
	}
	seconds, ok := value.(float64)
	if !ok || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, true, errors.New(name + " is not a number of seconds")
	}
	return time.Unix(int64(seconds), 0), true, nil
}

// current checks exp, which has to be there and within life, and iat and nbf, which may
// not lie ahead, nor further back than life.
func (j *clientJWT) current(now time.Time, life time.Duration) error {
	expires, known, err := j.moment("exp")
	switch {
	case err != nil:
		return err
	case !known:
		return errors.New("exp is missing")
	case !now.Before(expires):
		return errors.New("it has expired")
	case expires.Sub(now) > life+skew:
		return errors.New("exp is more than " + life.String() + " ahead")
	}
	for _, name := range []string{"iat", "nbf"} {
		at, known, err := j.moment(name)
		switch {
		case err != nil:
			return err
		case known && at.Sub(now) > skew:
			return errors.New(name + " lies ahead")
		case known && expires.Sub(at) > life:
			return errors.New("from " + name + " to exp it is more than " + life.String())
		}
	}
	return nil
}

// spend reports whether this is the first use of jti by owner. It is remembered for life.
func (p *Provider) spend(owner, jti string, life time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return spend(p.spent, owner, jti, life)
}

func spend(spent *shelf[bool], owner, jti string, life time.Duration) bool {
	key := owner + " " + jti
	if used, _ := spent.get(key); used {
		return false
	}
	spent.put(key, true, life)
	return true
}
