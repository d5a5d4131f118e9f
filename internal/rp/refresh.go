package rp

import (
	"context"
	"errors"
	"net/url"
	"slices"
)

// Refresh renews the tokens of prev (OpenID Connect Core 12). What the provider does not
// send anew is kept: the refresh token, the ID token, the scope, and every claim that
// a new ID token lacks, since it may have come from UserInfo. No scope is asked for,
// which means the scope of the original grant (RFC 6749 6).
//
// Callers make one call at a time for one grant, with a context of their own: after a
// rotation the answer is the only copy of the new refresh token. With a Fault, a Grant that
// holds a refresh token is to be kept all the same: it is prev with the token that the
// provider has rotated to, in an answer that could not be checked.
func (c *Client) Refresh(ctx context.Context, prev Grant) (Grant, error) {
	if prev.Tokens.Refresh.Empty() {
		return Grant{}, &Error{Op: "refresh", Kind: Misconfigured, Code: "refresh_token", Finding: "grant_refused", Err: errors.New("the provider gave no refresh token")}
	}
	md, err := c.discover(ctx)
	if err != nil {
		return Grant{}, err
	}
	// Asked for before the refresh token is spent: without keys its answer could not be
	// checked, and a rotated token would be lost.
	if _, err := c.keys.cache.get(ctx); err != nil {
		return Grant{}, err
	}
	key, err := proofKey(prev.Tokens.Key.Reveal())
	if err != nil {
		return Grant{}, &Error{Op: "refresh", Kind: Invalid, Code: "dpop", Finding: "grant_refused", Err: err}
	}
	asked := c.cfg.Now()
	body, err := c.request(ctx, formCall{op: "refresh", endpoint: md.Token, key: key, form: c.withResource(url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {prev.Tokens.Refresh.Reveal()},
	})})
	if err != nil {
		return Grant{}, err
	}
	tokens, err := parseTokens("refresh", body, asked, prev.Tokens.Key)
	if err != nil {
		return Grant{}, err
	}
	if tokens.Refresh.Empty() {
		tokens.Refresh = prev.Tokens.Refresh
	}
	if tokens.Scope == nil {
		tokens.Scope = slices.Clone(prev.Tokens.Scope)
	}
	if tokens.ID.Empty() {
		tokens.ID = prev.Tokens.ID
		return Grant{Tokens: tokens, Identity: prev.Identity}, nil
	}
	claims, err := c.verifyIDToken(ctx, tokens)
	if failure, ok := errors.AsType[*Error](err); ok && failure.Kind == Fault { // the keys were rolled, and cannot be had
		prev.Tokens.Refresh = tokens.Refresh
		return prev, err
	}
	if err != nil {
		return Grant{}, err
	}
	if err := claims.continues(prev.Identity); err != nil {
		return Grant{}, err
	}
	identity := claims.identity()
	c.mapRefreshed(ctx, &identity, tokens, prev.Tokens)
	return Grant{Tokens: tokens, Identity: identity.since(prev.Identity)}, nil
}
