package rp

import (
	"context"
	"errors"
	"slices"
	"strings"

	"genkan/internal/keys"
)

// ClientCredentials is what a token of the client's own is for (RFC 6749 4.4.2). What is
// empty is not sent: the provider then decides.
type ClientCredentials struct {
	Audience string   // no standard, but what Auth0 and others ask for
	Scope    string   // words with blanks between them
	Resource []string // RFC 8707: absolute URIs without fragment
}

// Check returns everything that is wrong with cc; the keys are those of the settings:
// scope, resource.
func (cc ClientCredentials) Check() []Problem {
	return append(checkWords("scope", strings.Fields(cc.Scope)), checkResources(cc.Resource)...)
}

// ClientTokens gets an access token that stands for the client and no user (RFC 6749 4.4),
// bound to key unless that is empty; Config.DPoP says whether there should be one. A refresh
// token in the answer is not kept (4.4.3). The error is an *Error: Refused and Misconfigured
// are both the operator's to mend, as no user is in it; with a Fault, try later. A public
// client has no such tokens, and the provider is not asked for one.
func (c *Client) ClientTokens(ctx context.Context, key keys.Secret, what ClientCredentials) (Tokens, error) {
	if c.cfg.Public() {
		return Tokens{}, publicClient("client_credentials")
	}
	form := restricted(what.Audience, what.Scope, what.Resource)
	form.Set("grant_type", "client_credentials")
	tokens, _, err := c.obtain(ctx, "client_credentials", form, key)
	return tokens, err
}

// Public reports whether the client has nothing to authenticate with: then it can neither
// have tokens of its own (RFC 6749 4.4) nor introspect others' (RFC 7662 2.1).
func (cfg Config) Public() bool {
	return cfg.ClientAuth == AuthPublic || oneOf(cfg.ClientAuth, "", AuthAuto) && slices.Contains(cfg.authMethods(), AuthPublic)
}

func publicClient(op string) *Error {
	return &Error{Op: op, Kind: Misconfigured, Code: "client_auth", Finding: "client_refused", Err: errors.New("this needs a client that authenticates, and this one is public")}
}
