package rp

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	leeway = time.Minute // between our clock and the provider's, for exp, nbf and auth_time
	// An ID token is read seconds after it was made: iat much further off means that a
	// clock is wrong or the token is old (OpenID Connect Core 3.1.3.7 rule 10).
	maxAhead  = 10 * time.Minute
	maxBehind = time.Hour
)

// claimSet is the payload of a verified token, by exact name: decoding into a struct
// would let a user attribute called "Sub" pass for sub.
type claimSet map[string]json.RawMessage

// verifyIDToken applies the rules of OpenID Connect Core 2 and 3.1.3.7 that need nothing
// but the token. go-oidc checks the signature, that alg is allowed, iss, that aud holds
// the client, and exp; the rest is here, and so are iss and exp once more, because
// go-oidc lets a second spelling of Google's issuer and a quoted exp pass.
func (c *Client) verifyIDToken(ctx context.Context, tokens Tokens) (claimSet, error) {
	raw := tokens.ID.Reveal()
	if err := checkHeader(raw); err != nil {
		return nil, err
	}
	source := &watchedKeys{keys: c.keys, allow: c.keys.ours.pay}
	token, err := oidc.NewVerifier(c.cfg.Issuer, source, &oidc.Config{
		ClientID: c.cfg.ClientID, SupportedSigningAlgs: c.cfg.SigningAlgs,
		Now: func() time.Time { return c.cfg.Now().Add(-leeway) },
	}).Verify(ctx, raw)
	if err != nil {
		return nil, source.explain(err)
	}
	var claims claimSet
	if token.Claims(&claims) != nil {
		return nil, broken("payload", "it is not an object")
	}
	if err := claims.checkParties(c.cfg); err != nil {
		return nil, err
	}
	if err := claims.checkTimes(c.cfg.Now()); err != nil {
		return nil, err
	}
	if _, ok := claims["events"]; ok {
		return nil, broken("events", "this is a logout or security event token") // Back-Channel Logout 4.1
	}
	// OpenID Connect Core 3.1.3.8: optional with a code, checked when it is there.
	if hash, ok, err := member[string](claims, "at_hash"); err != nil || ok &&
		(hash != token.AccessTokenHash || token.VerifyAccessToken(tokens.Access.Reveal()) != nil) {
		return nil, broken("at_hash", "it is not of this access token")
	}
	return claims, nil
}

// watchedKeys remembers the error of a key set, which go-oidc reduces to a text: keys
// that cannot be fetched say nothing against a token.
type watchedKeys struct {
	keys  *keySet
	allow func(now time.Time) error // of a fetch for a key that is not known
	err   error
}

// VerifySignature implements oidc.KeySet.
func (w *watchedKeys) VerifySignature(ctx context.Context, raw string) (payload []byte, err error) {
	payload, w.err = w.keys.verify(ctx, raw, w.allow)
	return payload, w.err
}

func (w *watchedKeys) explain(err error) *Error {
	if outage, ok := errors.AsType[*Error](w.err); ok {
		return outage
	}
	if w.err != nil {
		return broken("signature", clean(w.err.Error()))
	}
	if _, ok := errors.AsType[*oidc.TokenExpiredError](err); ok {
		return broken("exp", clean(err.Error()))
	}
	return broken("verify", clean(err.Error()))
}

// checkHeader refuses tokens typed as something else (RFC 8725 3.11: at+jwt,
// logout+jwt, …).
func checkHeader(raw string) error {
	kind, err := tokenType(raw)
	if err == nil && strings.HasSuffix(kind, "+jwt") {
		err = broken("typ", "it is '"+clean(kind)+"', which is not an ID token")
	}
	return err
}

// tokenType is the typ of a JWT as it is compared: in lower case, without application/
// (RFC 7515 4.1.9); "" when there is none. It refuses what go-oidc and go-jose would
// take: JSON serialization, which may hold several signatures, and critical extensions
// (RFC 7515 4.1.11, RFC 7797).
func tokenType(raw string) (string, error) {
	first, _, _ := strings.Cut(raw, ".")
	text, err := base64.RawURLEncoding.Strict().DecodeString(first)
	var header claimSet
	if err != nil || strings.Count(raw, ".") != 2 || json.Unmarshal(text, &header) != nil {
		return "", broken("form", "it is not a signed JWT in compact form")
	}
	for _, name := range []string{"crit", "b64"} {
		if _, ok := header[name]; ok {
			return "", broken(name, "extensions are not understood")
		}
	}
	kind, _, err := member[string](header, "typ")
	if err != nil {
		return "", broken("typ", "it is not a string")
	}
	return strings.TrimPrefix(strings.ToLower(kind), "application/"), nil
}

// checkParties holds iss, aud, azp and sub to rules 2 to 5 and to Core 2.
func (s claimSet) checkParties(cfg Config) error {
	if err := s.checkAddress(cfg); err != nil {
		return err
	}
	if party, ok, err := member[string](s, "azp"); err != nil || ok && party != cfg.ClientID {
		return broken("azp", "it is '"+clean(party)+"', expected is '"+clean(cfg.ClientID)+"'")
	}
	return s.checkSubject()
}

// checkAddress holds iss and aud to rules 2 and 3.
func (s claimSet) checkAddress(cfg Config) error {
	if issuer, _, err := member[string](s, "iss"); err != nil || issuer != cfg.Issuer {
		return broken("iss", "it is '"+clean(issuer)+"', expected is '"+cfg.Issuer+"'")
	}
	for _, audience := range s.audience() {
		if audience != cfg.ClientID && !slices.Contains(cfg.TrustedAudiences, audience) {
			return broken("aud", "'"+clean(audience)+"' is not trusted")
		}
	}
	if !slices.Contains(s.audience(), cfg.ClientID) {
		return broken("aud", "this client is not in it")
	}
	return nil
}

// checkSubject holds sub to Core 2.
func (s claimSet) checkSubject() error {
	subject, _, err := member[string](s, "sub")
	if err != nil || subject == "" || len(subject) > 255 || !headerSafe(subject) {
		return broken("sub", "it must be 1 to 255 characters of ASCII")
	}
	return nil
}

// checkTimes holds exp, iat and nbf to rules 9 and 10 and to RFC 7519 4.1.5.
func (s claimSet) checkTimes(now time.Time) error {
	exp, ok, err := s.date("exp")
	if err != nil || !ok || now.After(exp.Add(leeway)) {
		return offTime("exp", exp, now)
	}
	iat, ok, err := s.date("iat")
	if err != nil || !ok || iat.After(now.Add(maxAhead)) || iat.Before(now.Add(-maxBehind)) {
		return offTime("iat", iat, now)
	}
	nbf, _, err := s.date("nbf")
	if err != nil || nbf.After(now.Add(leeway)) {
		return offTime("nbf", nbf, now)
	}
	return nil
}

// answers holds the token to what this sign-in asked for: rules 11 to 13.
func (s claimSet) answers(login Login) error {
	nonce, _, err := member[string](s, "nonce")
	if err != nil || login.Nonce == "" || subtle.ConstantTimeCompare([]byte(nonce), []byte(login.Nonce)) != 1 {
		return broken("nonce", "it is not the one of this sign-in")
	}
	acr, _, err := member[string](s, "acr")
	for _, asked := range [][]string{login.ACRValues, login.Essential} { // the latter by Core 5.5.1.1
		if len(asked) > 0 && (err != nil || !slices.Contains(asked, acr)) {
			return broken("acr", "it is '"+clean(acr)+"', asked for was '"+clean(strings.Join(asked, " "))+"'")
		}
	}
	at, ok, err := s.date("auth_time")
	if login.NeedsTime && (err != nil || !ok) {
		return offTime("auth_time", at, time.Unix(login.Begun, 0))
	}
	if login.MaxAge == 0 {
		return nil
	}
	// Measured from the beginning: how long the user then read the consent page is not
	// the provider's to answer for.
	begun := time.Unix(login.Begun, 0)
	oldest := begun.Add(-time.Duration(max(login.MaxAge, 0)) * time.Second)
	if err != nil || !ok || at.Before(oldest.Add(-leeway)) {
		return offTime("auth_time", at, begun)
	}
	return nil
}

// continues holds the ID token of a refresh response to OpenID Connect Core 12.2; iss
// is the configured one in both.
func (s claimSet) continues(prev Identity) error {
	now := s.identity()
	nonce, sent, err := member[string](s, "nonce")
	switch {
	case now.Issuer != prev.Issuer:
		return broken("iss", "it is not the one of the sign-in")
	case now.Subject != prev.Subject:
		return broken("sub", "it is not the one of the sign-in")
	case !slices.Equal(slices.Sorted(slices.Values(now.Audience)), slices.Sorted(slices.Values(prev.Audience))):
		return broken("aud", "it is not the one of the sign-in")
	case !now.AuthTime.IsZero() && !prev.AuthTime.IsZero() && !now.AuthTime.Equal(prev.AuthTime):
		return broken("auth_time", "it is not the time of the sign-in")
	case err != nil || sent && subtle.ConstantTimeCompare([]byte(nonce), []byte(prev.Nonce)) != 1:
		return broken("nonce", "it is not the one of the sign-in")
	}
	return nil
}

// protocolClaims are about the token and not about the user.
var protocolClaims = []string{
	"iss", "aud", "exp", "iat", "nbf", "nonce", "azp", "at_hash", "c_hash", "s_hash", "jti", "sid", "events",
}

// identity reads who signed in. Optional claims of another type count as absent.
func (s claimSet) identity() Identity {
	id := Identity{Audience: s.audience(), Claims: maps.Clone(map[string]json.RawMessage(s))}
	id.Issuer, _, _ = member[string](s, "iss")
	id.Subject, _, _ = member[string](s, "sub")
	id.SID, _, _ = member[string](s, "sid")
	id.ACR, _, _ = member[string](s, "acr")
	id.AMR, _, _ = member[[]string](s, "amr")
	id.Nonce, _, _ = member[string](s, "nonce")
	id.AuthTime, _, _ = s.date("auth_time")
	for _, name := range protocolClaims {
		delete(id.Claims, name)
	}
	return id
}

// since fills in from prev what a refreshed identity does not say again.
func (id Identity) since(prev Identity) Identity {
	claims := maps.Clone(prev.Claims)
	if claims == nil {
		claims = map[string]json.RawMessage{}
	}
	for _, name := range []string{"email", "phone_number"} {
		if now, told := id.Claims[name]; told && string(now) != string(claims[name]) {
			delete(claims, name+"_verified") // it was said of another one
		}
	}
	maps.Copy(claims, id.Claims)
	id.Claims = claims
	id.Nonce = prev.Nonce
	if id.SID == "" {
		id.SID = prev.SID
	}
	if id.ACR == "" {
		id.ACR = prev.ACR
	}
	if id.AMR == nil {
		id.AMR = prev.AMR
	}
	if id.AuthTime.IsZero() {
		id.AuthTime = prev.AuthTime
	}
	return id
}

// audience reads aud, one string or several (RFC 7519 4.1.3); nil when it is neither.
func (s claimSet) audience() []string {
	if one, ok, err := member[string](s, "aud"); err == nil && ok {
		return []string{one}
	}
	several, _, _ := member[[]string](s, "aud")
	return several
}

// date reads a NumericDate (RFC 7519 2) of this millennium and the next few.
func (s claimSet) date(name string) (time.Time, bool, error) {
	seconds, ok, err := member[float64](s, name)
	if err != nil || !ok {
		return time.Time{}, ok, err
	}
	if seconds < 1 || seconds > 253402300799 {
		return time.Time{}, true, errors.New("out of range")
	}
	return time.Unix(int64(seconds), 0), true, nil
}

// member reads one claim; null counts as absent.
func member[T any](s claimSet, name string) (value T, ok bool, err error) {
	raw, ok := s[name]
	if !ok || string(raw) == "null" {
		return value, false, nil
	}
	return value, true, json.Unmarshal(raw, &value)
}

func broken(rule, text string) *Error {
	return &Error{Op: "id_token", Kind: Invalid, Code: rule, Finding: "id_token_invalid", Err: errors.New(text)}
}

func offTime(claim string, got, now time.Time) *Error {
	if got.IsZero() {
		return broken(claim, "it is missing or not a time")
	}
	return broken(claim, fmt.Sprintf("it is %s, and it is %s here", got.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)))
}
