package rp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
)

// promised is the claim that tells whether an ID token already holds what a scope stands
// for (OpenID Connect Core 5.4; groups and roles by custom).
var promised = map[string]string{
	"profile": "name", "email": "email", "phone": "phone_number", "address": "address", "groups": "groups", "roles": "roles",
}

// addUserInfo calls UserInfo when the configuration says so and adds the claims that the
// ID token lacks. Where both have a claim, the signed one of the ID token stays. Endpoints
// named in _claim_sources are never called (Core 5.6.2).
func (c *Client) addUserInfo(ctx context.Context, md *metadata, tokens Tokens, id *Identity) error {
	if !c.wantsUserInfo(md, tokens, *id) {
		return nil
	}
	claims, err := c.userInfo(ctx, md, tokens)
	if err == nil {
		// Core 5.3.2: the values of another user must not be used.
		if subject, _, wrong := member[string](claims, "sub"); wrong != nil || subject != id.Subject {
			err = badUserInfo("sub", "it is not the one of the ID token")
		}
	}
	if err != nil {
		if failure, ok := errors.AsType[*Error](err); ok && failure.Kind != Invalid && c.cfg.UserInfo == UserInfoAuto {
			c.cfg.Logger.Warn("userinfo is left out", "provider", c.cfg.ID, "error", err)
			return nil
		}
		return err
	}
	for name, value := range claims {
		if _, held := id.Claims[name]; !held && !slices.Contains(protocolClaims, name) {
			id.Claims[name] = value
		}
	}
	return nil
}

func (c *Client) wantsUserInfo(md *metadata, tokens Tokens, id Identity) bool {
	switch {
	case c.cfg.UserInfo == UserInfoOff:
		return false
	case c.cfg.UserInfo == UserInfoOn:
		return true
	case md.UserInfo == "":
		return false
	}
	asked := slices.ContainsFunc(tokens.Scope, func(scope string) bool {
		name, known := promised[scope]
		return known && !c.holds(id, name)
	})
	return asked || slices.ContainsFunc(c.cfg.Quirks.UserInfo, func(name string) bool { return !c.holds(id, name) })
}

// userInfo asks as Core 5.3.1 recommends: GET, the token in the header.
func (c *Client) userInfo(ctx context.Context, md *metadata, tokens Tokens) (claimSet, error) {
	if md.UserInfo == "" {
		return nil, &Error{Op: "userinfo", Kind: Misconfigured, Code: "userinfo_endpoint", Finding: "userinfo_invalid", Err: errors.New("the provider has none")}
	}
	got, nonce, err := c.getUserInfo(ctx, md, tokens, "")
	if err == nil && nonce != "" {
		got, _, err = c.getUserInfo(ctx, md, tokens, nonce)
	}
	if err != nil {
		return nil, err
	}
	if got.status != http.StatusOK {
		failure := fault("userinfo", "status", fmt.Errorf("HTTP %d", got.status))
		failure.Status = got.status
		return nil, failure
	}
	// Core 5.3.2: the content type says which of the two forms it is, not the looks.
	switch {
	case got.mediaType == "application/jwt":
		return c.openUserInfo(ctx, string(got.body))
	case got.mediaType == "application/json" && c.cfg.UserInfoAlg != "":
		return nil, badUserInfo("content_type", "it is not signed, and userinfo_signing_alg is set")
	case got.mediaType == "application/json":
		var claims claimSet
		if json.Unmarshal(got.body, &claims) != nil {
			return nil, badUserInfo("payload", "it is not a JSON object")
		}
		return claims, nil
	}
	return nil, badUserInfo("content_type", "it is neither application/json nor application/jwt")
}

// getUserInfo asks once, with nonce if there is one, else with the newest of that server.
// fresh is the DPoP nonce with which it is worth a second time (RFC 9449 9), "" when it is
// not.
func (c *Client) getUserInfo(ctx context.Context, md *metadata, tokens Tokens, nonce string) (got answer, fresh string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, md.UserInfo, nil)
	if err != nil {
		return answer{}, "", fault("userinfo", "address", quiet(err))
	}
	nonce = cmp.Or(nonce, c.shown.Of(req.URL))
	if err := tokens.Authorize(req, nonce, c.cfg.Now()); err != nil {
		return answer{}, "", fault("userinfo", "dpop", err)
	}
	req.Header.Set("Accept", "application/json, application/jwt")
	if got, err = c.doAs(md, "userinfo", req); err != nil {
		return answer{}, "", err
	}
	fresh = c.shown.Keep(req.URL, got.header, nonce)
	if tokens.Key.Empty() || !DemandsNonce(got.status, got.header) {
		return got, "", nil
	}
	return got, fresh, nil
}

// openUserInfo checks a signed response: signature, iss and aud, which Core 5.3.2 wants
// in it, and exp only when it is there, which go-oidc cannot do.
func (c *Client) openUserInfo(ctx context.Context, raw string) (claimSet, error) {
	if checkHeader(raw) != nil {
		return nil, badUserInfo("form", "it is not a plain signed JWT")
	}
	source, algs := &watchedKeys{keys: c.keys, allow: c.keys.ours.pay}, c.cfg.SigningAlgs
	if c.cfg.UserInfoAlg != "" {
		algs = []string{c.cfg.UserInfoAlg}
	}
	token, err := oidc.NewVerifier(c.cfg.Issuer, source, &oidc.Config{
		ClientID: c.cfg.ClientID, SupportedSigningAlgs: algs, SkipExpiryCheck: true,
	}).Verify(ctx, raw)
	if err != nil {
		failure := source.explain(err)
		if failure.Kind == Invalid {
			failure = badUserInfo(failure.Code, failure.Err.Error())
		}
		return nil, failure
	}
	var claims claimSet
	if token.Claims(&claims) != nil {
		return nil, badUserInfo("payload", "it is not a JSON object")
	}
	if exp, ok, err := claims.date("exp"); err != nil || ok && c.cfg.Now().After(exp.Add(leeway)) {
		return nil, badUserInfo("exp", "it is over")
	}
	return claims, nil
}

func badUserInfo(code, text string) *Error {
	return &Error{Op: "userinfo", Kind: Invalid, Code: code, Finding: "userinfo_invalid", Err: errors.New(text)}
}
