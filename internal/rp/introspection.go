package rp

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"

	"genkan/internal/keys"
)

// Introspect asks the provider about the opaque access token of a program (RFC 7662). The
// token counts when active is true, no member says anything else, and aud holds one of
// audiences: a provider that does not send aud says nothing about whom the token is for,
// and its tokens are refused. Without exp Expires is
// zero. What VerifyAccess says of bound tokens and of ID tokens holds here too.
//
// The error is an *Error: Invalid is about the token; any other kind says that it could not
// be judged. A public client and a provider without introspection_endpoint are
// Misconfigured.
func (c *Client) Introspect(ctx context.Context, token keys.Secret, audiences []string) (Access, error) {
	access, err := c.introspect(ctx, token.Reveal(), audiences)
	return access, ofToken(err, "introspection", "invalid_token")
}

func (c *Client) introspect(ctx context.Context, token string, audiences []string) (Access, error) {
	switch {
	case len(audiences) == 0:
		return Access{}, noAudiences("introspection")
	case c.cfg.Public():
		return Access{}, publicClient("introspection")
	case token == "" || len(token) > maxToken || !headerSafe(token):
		return Access{}, broken("form", "it is empty, longer than 16 KiB, or not of plain ASCII")
	}
	md, err := c.discover(ctx)
	if err != nil {
		return Access{}, err
	}
	if err := c.checkIntrospection(md); err != nil {
		return Access{}, &Error{Op: "introspection", Kind: Misconfigured, Code: "introspection_endpoint", Finding: "provider_metadata", Err: err}
	}
	body, err := c.request(ctx, formCall{op: "introspection", endpoint: md.Introspect, form: url.Values{
		"token": {token}, "token_type_hint": {"access_token"},
	}})
	if err != nil {
		return Access{}, err
	}
	return c.readIntrospection(body, audiences)
}

// checkIntrospection reports why md does not let this client introspect. A method that the
// operator has chosen is used, whatever is listed.
func (c *Client) checkIntrospection(md *metadata) error {
	switch listed := md.IntroAuth; {
	case md.Introspect == "":
		return errors.New("the provider has none")
	case c.cfg.ClientAuth == AuthAuto && len(listed) > 0 && !slices.Contains(listed, string(md.auth)):
		return errors.New("the provider does not list " + string(md.auth) + " for it, by which this client authenticates; write client_auth if it takes it all the same")
	}
	return nil
}

// readIntrospection holds an answer to RFC 7662 2.2.
func (c *Client) readIntrospection(body []byte, audiences []string) (Access, error) {
	var claims claimSet
	if json.Unmarshal(body, &claims) != nil || claims == nil {
		return Access{}, fault("introspection", "introspection_response", errors.New("the answer is not a JSON object"))
	}
	if active := claims["active"]; string(active) != "true" {
		return Access{}, broken("active", "the provider does not say that it is good")
	}
	if err := claims.checkNoIDToken(c.cfg.ClientID, audiences); err != nil {
		return Access{}, err
	}
	access, err := c.access(claims, audiences)
	if err != nil {
		return Access{}, err
	}
	for _, name := range []string{"active", "token_type"} {
		delete(access.Identity.Claims, name)
	}
	return access, nil
}
