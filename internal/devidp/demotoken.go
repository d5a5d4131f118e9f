package devidp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// accepted is the one kind of token that an API takes.
type accepted struct {
	name   string
	issuer string
	types  []string // in lower case
	algs   []jose.SignatureAlgorithm
	jwks   string // its address; empty: the issuer's metadata says it
}

// kind is access tokens of the provider, or identity assertions when their issuer is set:
// never both, as neither may be taken for the other.
func (c DemoAPIConfig) kind() accepted {
	if c.AssertionIssuer != "" {
		return accepted{"assertion", c.AssertionIssuer, []string{"jwt"}, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA}, c.AssertionJWKS}
	}
	return accepted{"access_token", c.Issuer, []string{"at+jwt", "application/at+jwt"}, accessAlgs(), ""}
}

// tokenClaims is what counts of RFC 9068 2.2 and of an assertion.
type tokenClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience any      `json:"aud"` // one string or a list (RFC 7519 4.1.3)
	Expires  int64    `json:"exp"`
	Scope    string   `json:"scope,omitempty"`
	Client   string   `json:"client_id,omitempty"`
	ACR      string   `json:"acr,omitempty"`
	AuthTime int64    `json:"auth_time,omitempty"`
	Email    string   `json:"email,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	SID      string   `json:"sid,omitempty"`
	Bound    binding  `json:"cnf,omitzero"`
}

// claims answers with those of the token, and what kind of token it is.
func (a *DemoAPI) claims(w http.ResponseWriter, r *http.Request) {
	claims, _ := r.Context().Value(claimsKey{}).(tokenClaims)
	apiJSON(w, http.StatusOK, struct {
		Kind string `json:"kind"`
		tokenClaims
	}{a.kind.name, claims})
}

// verify is RFC 9068 4, and the same for assertions.
func (a *DemoAPI) verify(ctx context.Context, token string) (tokenClaims, error) {
	var claims tokenClaims
	jws, err := jose.ParseSignedCompact(token, a.kind.algs)
	if err != nil {
		return claims, errors.New("the token is not a JWT of a known algorithm")
	}
	header := jws.Signatures[0].Protected
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if !slices.Contains(a.kind.types, strings.ToLower(typ)) {
		return claims, errors.New("the token is not an " + strings.ReplaceAll(a.kind.name, "_", " ") + " (typ)")
	}
	key, err := a.key(ctx, header.KeyID)
	if err != nil {
		return claims, err
	}
	payload, err := jws.Verify(key.Key)
	switch {
	case err != nil || key.Algorithm != header.Algorithm:
		return claims, errors.New("the signature is wrong")
	case json.Unmarshal(payload, &claims) != nil:
		return claims, errors.New("the claims cannot be read")
	case claims.Issuer != a.kind.issuer:
		return claims, errors.New("the token is of another issuer")
	case !slices.Contains(listed(claims.Audience), a.cfg.Audience):
		return claims, errors.New("the token is for another audience")
	case a.cfg.Now().Unix() >= claims.Expires:
		return claims, errors.New("the token has expired")
	case claims.Subject == "":
		return claims, errors.New("the token has no subject")
	}
	return claims, nil
}

// key returns the issuer's key, fetching the set when kid is not in it.
func (a *DemoAPI) key(ctx context.Context, kid string) (jose.JSONWebKey, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if key, ok := a.keys[kid]; ok {
		return key, nil
	}
	now := a.cfg.Now()
	a.fetches = slices.DeleteFunc(a.fetches, func(t time.Time) bool { return now.Sub(t) > time.Minute })
	if len(a.fetches) >= maxFetches {
		return jose.JSONWebKey{}, errors.New("the key is unknown, and the keys were fetched too often")
	}
	a.fetches = append(a.fetches, now)
	keys, err := a.fetchKeys(ctx)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	a.keys = keys
	key, ok := keys[kid]
	if !ok {
		return jose.JSONWebKey{}, errors.New("the key is unknown")
	}
	return key, nil
}

func (a *DemoAPI) fetchKeys(ctx context.Context) (map[string]jose.JSONWebKey, error) {
	address := a.kind.jwks
	if address == "" {
		var metadata struct {
			JWKS string `json:"jwks_uri"`
		}
		if err := a.getJSON(ctx, strings.TrimSuffix(a.kind.issuer, "/")+wellKnown, &metadata); err != nil {
			return nil, err
		}
		address = metadata.JWKS
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := a.getJSON(ctx, address, &set); err != nil {
		return nil, err
	}
	keys := map[string]jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.Use == "sig" && key.IsPublic() {
			keys[key.KeyID] = key
		}
	}
	return keys, nil
}

func (a *DemoAPI) getJSON(ctx context.Context, address string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("the issuer's address is not a URL")
	}
	response, err := a.cfg.Client.Do(request)
	if err != nil {
		return errors.New("the issuer cannot be reached")
	}
	defer response.Body.Close()
	if json.NewDecoder(io.LimitReader(response.Body, maxBody)).Decode(into) != nil {
		return errors.New("the issuer's answer is not JSON")
	}
	return nil
}
