package rp

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"

	"genkan/internal/keys"
)

const (
	exchangeGrant   = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessTokenType = "urn:ietf:params:oauth:token-type:access_token"
	jwtTokenType    = "urn:ietf:params:oauth:token-type:jwt"
)

// ExchangeRequest is what a token is to be exchanged for (RFC 8693 2.1). What is empty is
// not sent: the provider then decides.
type ExchangeRequest struct {
	Audience string
	Scope    string // words with blanks between them
	// RequestedTokenType is a URN of RFC 8693 3 that can be an access token: that of
	// access_token or of jwt.
	RequestedTokenType string
	Resource           []string // RFC 8707: absolute URIs without fragment
}

// Check returns everything that is wrong with r; the keys are those of the settings:
// scope, resource, requested_token_type.
func (r ExchangeRequest) Check() []Problem {
	found := append(checkWords("scope", strings.Fields(r.Scope)), checkResources(r.Resource)...)
	if !oneOf(r.RequestedTokenType, "", accessTokenType, jwtTokenType) {
		found = append(found, Problem{"requested_token_type", "it is not the type of a token that an upstream can be called with", "Write " + accessTokenType + ", or remove it."})
	}
	return found
}

// Exchange trades the access token of subject for one that is good for what (RFC 8693).
// The key of subject binds that one too; a refresh token in the answer is not kept, as the
// session's own brings the next. The error is an *Error:
//
//   - Refused: the provider does not take this access token (invalid_grant, and
//     invalid_request by RFC 8693 2.2.2), or does not let this user have that one. Once, it
//     is worth to renew the session and to try again. It ends no session.
//   - Misconfigured: the provider refuses this client or this target (invalid_target, RFC
//     8707 2), or gave another type of token than asked for. The operator has to mend it.
//   - Fault: anything else; try later.
//
// Nothing is asked for a second time with fewer restrictions.
func (c *Client) Exchange(ctx context.Context, subject Tokens, what ExchangeRequest) (Tokens, error) {
	form := restricted(what.Audience, what.Scope, what.Resource)
	form.Set("grant_type", exchangeGrant)
	form.Set("subject_token", subject.Access.Reveal())
	form.Set("subject_token_type", accessTokenType)
	if what.RequestedTokenType != "" {
		form.Set("requested_token_type", what.RequestedTokenType)
	}
	tokens, body, err := c.obtain(ctx, "exchange", form, subject.Key)
	if err != nil {
		return Tokens{}, err
	}
	if err := checkIssued(body, what.RequestedTokenType); err != nil {
		return Tokens{}, err
	}
	return tokens, nil
}

// checkIssued holds issued_token_type to RFC 8693 2.2.1: it is required, and says whether
// the provider did what was asked.
func checkIssued(body []byte, asked string) error {
	var response struct {
		Issued string `json:"issued_token_type"`
	}
	good := []string{asked}
	if asked == "" {
		good = []string{accessTokenType, jwtTokenType}
	}
	if json.Unmarshal(body, &response) != nil || !slices.Contains(good, response.Issued) {
		return &Error{Op: "exchange", Kind: Misconfigured, Code: "issued_token_type", Finding: "token_response",
			Err: errors.New("it is '" + clean(response.Issued) + "', which is not what was asked for")}
	}
	return nil
}

// restricted begins a request for a token that is good for one purpose.
func restricted(audience, scope string, resource []string) url.Values {
	form := url.Values{}
	if audience != "" {
		form.Set("audience", audience)
	}
	if scope != "" {
		form.Set("scope", scope)
	}
	if len(resource) > 0 {
		form["resource"] = resource
	}
	return form
}

// obtain asks the token endpoint for an access token and nothing else, bound to private
// unless that is empty. It returns the answer too, for what is special to the grant.
func (c *Client) obtain(ctx context.Context, op string, form url.Values, private keys.Secret) (Tokens, []byte, error) {
	md, err := c.discover(ctx)
	if err != nil {
		return Tokens{}, nil, err
	}
	key, err := proofKey(private.Reveal())
	if err != nil { // the same at a refresh ends the session
		return Tokens{}, nil, &Error{Op: op, Kind: Refused, Code: "dpop", Finding: "upstream_token_refused", Err: err}
	}
	asked := c.cfg.Now()
	body, err := c.request(ctx, formCall{op: op, endpoint: md.Token, form: form, key: key})
	if err != nil {
		return Tokens{}, nil, err
	}
	tokens, err := parseTokens(op, body, asked, private)
	if err != nil {
		return Tokens{}, nil, err
	}
	tokens.Refresh, tokens.ID = keys.Secret{}, keys.Secret{} // nobody checked the latter
	if tokens.Scope == nil {
		tokens.Scope = strings.Fields(form.Get("scope")) // RFC 6749 5.1
	}
	return tokens, body, nil
}
