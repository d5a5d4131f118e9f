package rp

import (
	"context"
	"errors"
	"net/url"

	"genkan/internal/keys"
)

// maxLogoutURL is how long an address may be that the browser is redirected to, in bytes:
// servers take 8,000 and more. A form is the last resort, since a POST of another site comes
// without the provider's Lax cookies: it may ask again, or refuse (as Django's CSRF check does).
const maxLogoutURL = 4000

// LogoutStep is how the browser signs out at the provider.
type LogoutStep struct {
	URL  string     // empty: the provider has no way to
	Form url.Values // nil: navigate to URL; else post this form to it
}

// Logout returns how to sign out at the provider (RP-Initiated Logout 2): by GET, or by
// POST when the hint makes the address long. client_id is sent too, for providers that no
// longer know the hint. A failure must not keep the caller from ending its own session.
func (c *Client) Logout(ctx context.Context, req LogoutRequest) (LogoutStep, error) {
	md, err := c.discover(ctx)
	if err != nil {
		return LogoutStep{}, err
	}
	endpoint, params := c.logoutRequest(md, req)
	if endpoint == "" {
		return LogoutStep{}, nil
	}
	location, err := withQuery(endpoint, params)
	if err != nil || len(location) <= maxLogoutURL {
		return LogoutStep{URL: location}, err
	}
	action, err := withoutQuery(endpoint, params)
	return LogoutStep{URL: action, Form: params}, err
}

// FrontchannelClients returns the clients that a front-channel logout is for: those that
// its iss names, or without one, those whose provider is known to send none.
func FrontchannelClients(clients []*Client, issuer string) (list []*Client) {
	for _, c := range clients {
		if issuer != "" && c.Names(issuer) || issuer == "" && c.cfg.Quirks.FrontchannelWithoutIssuer {
			list = append(list, c)
		}
	}
	return list
}

// logoutRequest is where to sign out and with what: the one place that knows what a
// provider calls it. The endpoint is empty when there is none.
func (c *Client) logoutRequest(md *metadata, req LogoutRequest) (endpoint string, params url.Values) {
	if endpoint, params = c.cfg.Quirks.logout(md, c.cfg.ClientID, req.PostLogoutRedirectURI); endpoint != "" {
		return endpoint, params
	}
	params = url.Values{"client_id": {c.cfg.ClientID}}
	set := func(name, value string) {
		if value != "" {
			params.Set(name, value)
		}
	}
	set("id_token_hint", req.IDToken.Reveal())
	set("post_logout_redirect_uri", req.PostLogoutRedirectURI)
	if req.PostLogoutRedirectURI != "" {
		set("state", req.State) // it means nothing without a way back
	}
	return md.EndSession, params
}

// withoutQuery takes from an endpoint's own query what a form says.
func withoutQuery(endpoint string, form url.Values) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", fault("logout", "address", errors.New("the endpoint is not a URL"))
	}
	query := u.Query()
	for name := range form {
		query.Del(name)
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// Revoke ends a token at the provider (RFC 7009). hint is refresh_token or
// access_token. There is nothing to do, and nil, when the provider has no such
// endpoint, does not revoke this type, or never knew the token.
func (c *Client) Revoke(ctx context.Context, token keys.Secret, hint string) error {
	md, err := c.discover(ctx)
	if err != nil || md.Revocation == "" || token.Empty() {
		return err
	}
	_, err = c.request(ctx, formCall{op: "revocation", endpoint: md.Revocation, form: url.Values{
		"token": {token.Reveal()}, "token_type_hint": {hint},
	}})
	if refused, ok := errors.AsType[*Error](err); ok && oneOf(refused.Code, "unsupported_token_type", "invalid_token") {
		return nil
	}
	return err
}
