package rp

import (
	"context"
	"errors"
	"net/url"

	"genkan/internal/keys"
)

// LogoutURL returns where to send the browser to sign out at the provider
// (RP-Initiated Logout 2), or "" when the provider has no such endpoint. client_id is
// sent too, for providers that no longer know the hint. A failure must not keep the
// caller from ending its own session.
func (c *Client) LogoutURL(ctx context.Context, req LogoutRequest) (string, error) {
	md, err := c.discover(ctx)
	if err != nil || md.EndSession == "" {
		return "", err
	}
	params := map[string]string{"client_id": c.cfg.ClientID}
	set := func(name, value string) {
		if value != "" {
			params[name] = value
		}
	}
	set("id_token_hint", req.IDToken.Reveal())
	set("post_logout_redirect_uri", req.PostLogoutRedirectURI)
	set("ui_locales", req.UILocales)
	if req.PostLogoutRedirectURI != "" {
		set("state", req.State) // it means nothing without a way back
	}
	return withQuery(md.EndSession, params)
}

// Revoke ends a token at the provider (RFC 7009). hint is refresh_token or
// access_token. There is nothing to do, and nil, when the provider has no such
// endpoint, does not revoke this type, or never knew the token.
func (c *Client) Revoke(ctx context.Context, token keys.Secret, hint string) error {
	md, err := c.discover(ctx)
	if err != nil || md.Revocation == "" || token.Empty() {
		return err
	}
	_, err = c.request(ctx, "revocation", md.Revocation, url.Values{
		"token": {token.Reveal()}, "token_type_hint": {hint},
	})
	if refused, ok := errors.AsType[*Error](err); ok && oneOf(refused.Code, "unsupported_token_type", "invalid_token") {
		return nil
	}
	return err
}
