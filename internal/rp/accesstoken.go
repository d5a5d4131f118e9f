package rp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

const maxToken = 16 << 10 // bytes of a token that a program sends

// Access is what a verified access token says.
type Access struct {
	Identity Identity
	Scope    []string
	ClientID string    // of the program that the token was given to; empty: not told
	Expires  time.Time // may be a minute ago: that much the clocks may differ; zero when introspection does not tell
}

// VerifyAccess holds the JWT access token of a program to RFC 9068 4: it must be for one of
// audiences. A token that is bound to a key is refused, since only its bearer is known here
// (RFC 9449 7.2, RFC 8705 3). The error is an *Error: Invalid names the claim or rule that
// does not hold, any other kind says that the token could not be judged.
//
// With Config.AccessTokenAnyType the type says nothing, and tokens that may be ID tokens are
// refused by what else they hold: those that have an ID token's claims, those that have
// Config.ClientID in aud unless it is one of audiences, and those that do not say, by scope
// or by whom they were given to, that they are access tokens.
func (c *Client) VerifyAccess(ctx context.Context, raw string, audiences []string) (Access, error) {
	access, err := c.verifyAccess(ctx, raw, audiences)
	return access, ofToken(err, "access_token", "invalid_token")
}

func (c *Client) verifyAccess(ctx context.Context, raw string, audiences []string) (Access, error) {
	if len(audiences) == 0 {
		return Access{}, noAudiences("access_token")
	}
	if len(raw) > maxToken {
		return Access{}, broken("length", "it is longer than 16 KiB")
	}
	typed, err := c.cfg.checkAccessType(raw)
	if err != nil {
		return Access{}, err
	}
	claims, err := c.open(ctx, raw, c.cfg.AccessTokenAlgs)
	if err != nil {
		return Access{}, err
	}
	for _, name := range []string{"iss", "exp", "iat"} { // 2.2; aud and sub are looked at in any case
		if _, ok, _ := member[any](claims, name); !ok {
			return Access{}, broken(name, "it is missing")
		}
	}
	if !typed {
		if err := claims.checkNoIDToken(c.cfg.ClientID, audiences); err != nil {
			return Access{}, err
		}
	}
	return c.access(claims, audiences)
}

// checkAccessType is RFC 9068 2.1 and 4. typed says that the header leaves no doubt.
func (cfg Config) checkAccessType(raw string) (typed bool, err error) {
	kind, err := tokenType(raw)
	switch {
	case err != nil:
		return false, err
	case kind == "at+jwt":
		return true, nil
	case !cfg.AccessTokenAnyType:
		return false, broken("typ", "it is '"+clean(kind)+"', expected is at+jwt; see providers[].access_token_type")
	case !oneOf(kind, "", "jwt"):
		return false, broken("typ", "it is '"+clean(kind)+"', which is not an access token")
	}
	return false, nil
}

// access holds claims to the rules that do not depend on how they were had, and turns them
// into what they say.
func (c *Client) access(claims claimSet, audiences []string) (Access, error) {
	if err := cmp.Or(
		claims.checkIssuer(c.cfg.Issuer),
		claims.checkAudience(audiences),
		claims.checkLife(c.cfg.Now()),
		claims.checkSubject(),
		claims.checkUse(),
		claims.checkBearer(),
	); err != nil {
		return Access{}, err
	}
	access := Access{Identity: claims.identity(), Scope: claims.scope(), ClientID: claims.party()}
	access.Identity.Issuer = c.cfg.Issuer
	access.Expires, _, _ = claims.date("exp")
	c.mapClaims(&access.Identity)
	return access, nil
}

// checkIssuer lets a missing iss pass: that of a JWT is asked for before, and an answer of
// the provider's own needs none.
func (s claimSet) checkIssuer(want string) error {
	if issuer, ok, err := member[string](s, "iss"); err != nil || ok && issuer != want {
		return broken("iss", "it is '"+clean(issuer)+"', expected is '"+want+"'")
	}
	return nil
}

// checkAudience is RFC 9068 4: one of ours must be in aud, whoever else is.
func (s claimSet) checkAudience(ours []string) error {
	if !slices.ContainsFunc(s.audience(), func(one string) bool { return slices.Contains(ours, one) }) {
		return broken("aud", "it is missing, or holds none of the audiences of this path")
	}
	return nil
}

// checkLife holds exp, nbf and iat, as far as they are there, to RFC 7519 4.1. An access
// token may be used long after it was made, other than an ID token.
func (s claimSet) checkLife(now time.Time) error {
	exp, ok, err := s.date("exp")
	if err != nil || ok && now.After(exp.Add(leeway)) {
		return offTime("exp", exp, now)
	}
	nbf, _, err := s.date("nbf")
	if err != nil || nbf.After(now.Add(leeway)) {
		return offTime("nbf", nbf, now)
	}
	iat, _, err := s.date("iat")
	if err != nil || iat.After(now.Add(maxAhead)) {
		return offTime("iat", iat, now)
	}
	return nil
}

// checkUse refuses what providers themselves call another kind of token: Keycloak in a claim
// typ (ID, Refresh), Cognito and Hydra in token_use.
func (s claimSet) checkUse() error {
	for name, ours := range map[string][]string{"typ": {"bearer", "at+jwt", "jwt"}, "token_use": {"access", "access_token"}} {
		use, ok, err := member[string](s, name)
		if err != nil || ok && !slices.Contains(ours, strings.ToLower(use)) {
			return broken(name, "the provider does not call it an access token")
		}
	}
	return nil
}

// checkBearer refuses a token that only the holder of a key may use: nobody has proved here
// to be that.
func (s claimSet) checkBearer() error {
	if _, ok := s["cnf"]; ok {
		return broken("cnf", "it is bound to a key, and only bearer tokens are taken here")
	}
	if kind, ok, err := member[string](s, "token_type"); err != nil || ok && !strings.EqualFold(kind, "Bearer") {
		return broken("token_type", "it is '"+clean(kind)+"', and only bearer tokens are taken here")
	}
	return nil
}

// checkNoIDToken refuses what may be an ID token or a logout token, where no type tells
// (RFC 9068 5, RFC 8725 3.12).
func (s claimSet) checkNoIDToken(clientID string, audiences []string) error {
	for _, name := range []string{"nonce", "at_hash", "c_hash", "s_hash", "events"} {
		if _, ok := s[name]; ok {
			return broken(name, "an access token has none, so this may be an ID token or a logout token")
		}
	}
	ours := slices.Contains(s.audience(), clientID)
	if ours && !slices.Contains(audiences, clientID) {
		return broken("aud", "it holds the client id of Genkan, so this may be an ID token")
	}
	for _, name := range []string{"scope", "scp", "client_id", "cid", "token_type"} {
		if _, ok := s[name]; ok {
			return nil
		}
	}
	// The azp of an ID token is in its aud, but for Google's between clients of one project;
	// all that Entra's and Auth0's tokens for programs have is an azp that is not.
	if party, ok, err := member[string](s, "azp"); err == nil && ok && !ours && !slices.Contains(s.audience(), party) {
		return nil
	}
	return broken("scope", "neither scope nor client_id or azp says that this is an access token")
}

// scope reads scope (RFC 9068 2.2.3), or scp where there is none, as Okta and Entra have it:
// words with blanks between them, or a list. What is no scope-token is left out.
func (s claimSet) scope() []string {
	raw, ok := s["scope"]
	if !ok {
		raw = s["scp"]
	}
	listed := words(raw)
	var one string
	if json.Unmarshal(raw, &one) == nil {
		listed = strings.Fields(one)
	}
	listed = slices.DeleteFunc(listed, func(word string) bool { return len(word) > maxEntry || !scopeForm.MatchString(word) })
	return listed[:min(len(listed), maxListed)]
}

// party is who the token was given to: client_id (RFC 9068 2.2), azp of Entra, Keycloak and
// Auth0, cid of Okta.
func (s claimSet) party() string {
	for _, name := range []string{"client_id", "azp", "cid"} {
		if id, ok, err := member[string](s, name); err == nil && ok && len(id) <= maxEntry && headerSafe(id) {
			return id
		}
	}
	return ""
}

func noAudiences(op string) *Error {
	return &Error{Op: op, Kind: Misconfigured, Code: "audiences", Finding: "upstream_invalid", Err: errors.New("nothing says whom access tokens must be for")}
}
