package rp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	logoutType  = "logout+jwt"
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	// logoutLife is how long a logout token without exp counts, from its iat: the two
	// minutes that Back-Channel Logout 4 recommends at most.
	logoutLife = 2 * time.Minute
)

// Logout is what a verified logout token says: whose sessions are over. Subject or SID
// is there, or both.
type Logout struct {
	Subject string
	SID     string
	ID      string    // jti, to know a repeated token by
	Expires time.Time // from here on the token is refused in any case
}

// VerifyLogout holds a logout token to Back-Channel Logout 1.0, 2.4 and 2.6, but for the
// replay of its jti. The error is an *Error: Invalid names the claim or rule that does not
// hold, any other kind says that the keys could not be had.
func (c *Client) VerifyLogout(ctx context.Context, raw string) (Logout, error) {
	out, err := c.verifyLogout(ctx, raw)
	return out, ofToken(err, "logout_token", "logout_token_invalid")
}

func (c *Client) verifyLogout(ctx context.Context, raw string) (Logout, error) {
	if err := c.cfg.checkLogoutType(raw); err != nil {
		return Logout{}, err
	}
	claims, err := c.open(ctx, raw, c.cfg.SigningAlgs) // steps 2 and 3
	if err != nil {
		return Logout{}, err
	}
	if err := claims.checkAddress(c.cfg); err != nil { // step 4
		return Logout{}, err
	}
	if _, ok := claims["exp"]; !ok && c.cfg.LogoutTokenNoExp {
		iat, _, _ := claims.date("iat") // checked just below
		claims["exp"], _ = json.Marshal(iat.Add(logoutLife).Unix())
	}
	if err := claims.checkTimes(c.cfg.Now()); err != nil { // step 4
		return Logout{}, err
	}
	if err := claims.checkLogout(); err != nil { // steps 5 to 7
		return Logout{}, err
	}
	out := Logout{Expires: claims.over()}
	out.Subject, _, _ = member[string](claims, "sub")
	out.SID, _, _ = member[string](claims, "sid")
	out.ID, _, err = member[string](claims, "jti")
	if err != nil || out.ID == "" { // 2.4: required, so that step 8 is possible
		return Logout{}, broken("jti", "it is missing or not a string")
	}
	return out, nil
}

// checkLogoutType is 2.4 and RFC 8725 3.11: typ is only recommended, but a token of
// another type is none of these.
func (cfg Config) checkLogoutType(raw string) error {
	kind, err := tokenType(raw)
	switch {
	case err != nil:
		return err
	case kind == logoutType:
		return nil
	case cfg.LogoutTokenType:
		return broken("typ", "it is '"+clean(kind)+"', and backchannel_require_typ demands logout+jwt")
	case strings.HasSuffix(kind, "+jwt"):
		return broken("typ", "it is '"+clean(kind)+"', which is not a logout token")
	}
	return nil
}

// checkLogout holds sub, sid, events and nonce to 2.6, steps 5 to 7.
func (s claimSet) checkLogout() error {
	_, bySubject := s["sub"]
	if bySubject {
		if err := s.checkSubject(); err != nil {
			return err
		}
	}
	sid, ok, err := member[string](s, "sid")
	switch _, there := s["sid"]; {
	case there && (err != nil || !ok || sid == ""):
		return broken("sid", "it is empty or not a string")
	case !there && !bySubject:
		return broken("sub", "neither sub nor sid is there")
	}
	var event claimSet
	events, _, err := member[claimSet](s, "events")
	if err != nil || json.Unmarshal(events[logoutEvent], &event) != nil || event == nil {
		return broken("events", "it has no object named "+logoutEvent)
	}
	if _, ok := s["nonce"]; ok { // whatever it holds: this could be an ID token
		return broken("nonce", "a logout token has none")
	}
	return nil
}

// open verifies the signature of a token that anybody may have sent by one of algs, and its
// iss. Nothing else is checked.
func (c *Client) open(ctx context.Context, raw string, algs []string) (claimSet, error) {
	source := &watchedKeys{keys: c.keys, allow: c.keys.others.pay}
	token, err := oidc.NewVerifier(c.cfg.Issuer, source, &oidc.Config{
		SupportedSigningAlgs: algs, SkipClientIDCheck: true, SkipExpiryCheck: true,
	}).Verify(ctx, raw)
	if err != nil {
		return nil, source.explain(err)
	}
	var claims claimSet
	if token.Claims(&claims) != nil {
		return nil, broken("payload", "it is not an object")
	}
	return claims, nil
}

// over is when a token whose times have been checked no longer passes that check.
func (s claimSet) over() time.Time {
	exp, _, _ := s.date("exp")
	iat, _, _ := s.date("iat")
	exp, iat = exp.Add(leeway), iat.Add(maxBehind)
	if iat.Before(exp) {
		exp = iat
	}
	return exp.Add(time.Second) // both checks let that instant itself pass
}

// ofToken makes a rule that does not hold one of another token than an ID token.
func ofToken(err error, op, finding string) error {
	failure, ok := errors.AsType[*Error](err)
	if !ok || failure.Kind != Invalid {
		return err
	}
	named := *failure
	named.Op, named.Finding = op, finding
	return &named
}

// LogoutClients returns the clients that a logout token is for, going by what the token
// says of itself: good for choosing who verifies it and for nothing else. Several clients
// may share an issuer: then aud decides, and more than one is left only when they are
// clients of one id or the token is for several. None has the issuer: nil.
func LogoutClients(clients []*Client, raw string) []*Client {
	claims := unverified(raw)
	issuer, _, _ := member[string](claims, "iss")
	return choose(clients,
		func(c *Client) bool { return c.cfg.Issuer == issuer },
		func(c *Client) bool { return slices.Contains(claims.audience(), c.cfg.ClientID) })
}

// choose returns the clients that fit, else the first that might.
func choose(clients []*Client, might, fits func(*Client) bool) (chosen []*Client) {
	var first []*Client
	for _, c := range clients {
		switch {
		case !might(c):
		case fits(c):
			chosen = append(chosen, c)
		case first == nil:
			first = []*Client{c}
		}
	}
	if chosen == nil {
		return first
	}
	return chosen
}

// unverified reads the payload of a JWT that nobody has verified; nil when there is none.
func unverified(raw string) (claims claimSet) {
	_, rest, _ := strings.Cut(raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return nil
	}
	return claims
}
