package rp

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"genkan/internal/keys"
)

// minState is 128 bits in base64url without padding (RFC 6749 10.10).
const minState = 22

// Begin returns the address to send the browser to and what Finish needs when it comes
// back. A parameter that cannot be used has the finding parameter_invalid.
func (c *Client) Begin(ctx context.Context, req AuthRequest) (string, Login, error) {
	prompt, err := c.prompt(req.Prompt)
	if err != nil {
		return "", Login{}, unusable("prompt", err)
	}
	maxAge := c.cfg.MaxAge
	if req.MaxAge != nil && (maxAge == 0 || *req.MaxAge < maxAge) {
		maxAge = *req.MaxAge
	}
	acr := strings.Fields(req.ACRValues)
	switch {
	case maxAge < 0:
		return "", Login{}, unusable("max_age", errors.New("it is negative"))
	case !allMatch(acr):
		return "", Login{}, unusable("acr_values", errors.New("it is not printable ASCII"))
	case len(c.cfg.ACRValues) > 0 && !subset(acr, c.cfg.ACRValues):
		return "", Login{}, unusable("acr_values", errors.New("a value is not among the configured ones"))
	case len(req.State) < minState || req.RedirectURI == "":
		return "", Login{}, &Error{Op: "login", Kind: Invalid, Code: "state", Finding: "internal", Err: errors.New("a caller gave no redirect URI or a state of under 128 bits")}
	}
	md, err := c.discover(ctx)
	if err != nil {
		return "", Login{}, err
	}
	login := Login{
		Provider: c.cfg.ID, State: req.State, RedirectURI: req.RedirectURI,
		Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Begun: c.cfg.Now().Unix(),
		ACRValues: acr,
	}
	essential, _ := readClaims(c.cfg.AuthorizeParams["claims"]) // New has checked it
	login.Essential, login.NeedsTime = essential.acr, essential.authTime
	if len(acr) == 0 {
		login.ACRValues = slices.Clone(c.cfg.ACRValues)
	}
	if maxAge > 0 || req.MaxAge != nil {
		login.MaxAge = cmp.Or(int64(maxAge/time.Second), -1)
	}
	params := c.authorization(req, login, prompt)
	if c.cfg.DPoP {
		key := keys.NewSigner()
		private, err := key.Private()
		if err != nil {
			return "", Login{}, fault("login", "dpop", err)
		}
		login.Key = private.Reveal()
		params.Set("dpop_jkt", key.Thumbprint()) // RFC 9449 10: the code is good with this key alone
	}
	if md.push && !req.IDToken.Empty() {
		params.Set("id_token_hint", req.IDToken.Reveal())
	}
	address, err := c.address(ctx, md, params)
	return address, login, err
}

// authorization is the request of OpenID Connect Core 3.1.2.1 with the challenge of
// RFC 7636 4.3. The challenge is always S256, whatever the provider advertises.
func (c *Client) authorization(req AuthRequest, login Login, prompt string) url.Values {
	params := c.withResource(url.Values{})
	set := func(name, value string) {
		if value != "" {
			params.Set(name, value)
		}
	}
	for name, value := range c.cfg.AuthorizeParams {
		set(name, value)
	}
	set("response_type", "code")
	set("client_id", c.cfg.ClientID)
	set("redirect_uri", login.RedirectURI)
	set("scope", strings.Join(c.cfg.Scopes, " "))
	set("state", login.State)
	set("nonce", login.Nonce)
	set("code_challenge", oauth2.S256ChallengeFromVerifier(login.Verifier))
	set("code_challenge_method", "S256")
	if c.cfg.ResponseMode != ModeQuery {
		set("response_mode", string(c.cfg.ResponseMode)) // the default is not sent
	}
	set("prompt", prompt)
	set("login_hint", req.LoginHint)
	set("ui_locales", req.UILocales)
	set("acr_values", strings.Join(login.ACRValues, " "))
	if login.MaxAge != 0 {
		set("max_age", strconv.FormatInt(max(login.MaxAge, 0), 10))
	}
	return params
}

// withResource adds the resources that the access token is to be for (RFC 8707 2).
func (c *Client) withResource(params url.Values) url.Values {
	if len(c.cfg.Resource) > 0 {
		params["resource"] = slices.Clone(c.cfg.Resource)
	}
	return params
}

// prompt adds the configured values to those of one sign-in: a provider that gives
// refresh tokens only after consent must go on doing so. none stands alone.
func (c *Client) prompt(asked string) (string, error) {
	values, err := promptValues(asked)
	if err != nil || slices.Contains(values, "none") {
		return strings.Join(values, " "), err
	}
	fixed, err := promptValues(c.cfg.AuthorizeParams["prompt"])
	if err != nil || slices.Contains(fixed, "none") && len(values) > 0 {
		fixed = nil
	}
	for _, value := range fixed {
		if !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return strings.Join(values, " "), nil
}

func promptValues(text string) ([]string, error) {
	values := strings.Fields(text)
	for i, value := range values {
		switch {
		case !oneOf(value, "none", "login", "consent", "select_account"):
			return nil, errors.New("a value is not known")
		case value == "none" && len(values) > 1:
			return nil, errors.New("none stands alone")
		case slices.Contains(values[:i], value):
			return nil, errors.New("a value is repeated")
		}
	}
	return values, nil
}

// withQuery adds params to an endpoint. Its own query is kept, and no name but
// resource occurs twice (RFC 6749 3.1, RFC 8707 2).
func withQuery(endpoint string, params url.Values) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", fault("login", "address", errors.New("the endpoint is not a URL"))
	}
	query := url.Values{}
	for name := range u.Query() {
		query.Set(name, u.Query().Get(name))
	}
	maps.Copy(query, params)
	u.RawQuery = query.Encode()
	return u.String(), nil
}

func subset(words, of []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(of, w) })
}

func unusable(name string, err error) *Error {
	return &Error{Op: "login", Kind: Invalid, Code: name, Finding: "parameter_invalid", Err: err}
}

// Finish takes the provider's answer to the sign-in that login is of, and exchanges its
// code once. mode is how the answer came. The caller has made sure that login belongs
// to this browser and is used once.
func (c *Client) Finish(ctx context.Context, login Login, response url.Values, mode ResponseMode) (Grant, error) {
	if login.Provider != c.cfg.ID {
		return Grant{}, malformed("provider", "the sign-in was begun at another provider")
	}
	md, err := c.discover(ctx)
	if err != nil {
		return Grant{}, err
	}
	code, err := c.readResponse(md, login, response, mode)
	if err != nil {
		return Grant{}, err
	}
	key, err := proofKey(login.Key)
	if err != nil {
		return Grant{}, malformed("dpop", err.Error())
	}
	// RFC 7636 4.5; redirect_uri as it was sent, RFC 6749 4.1.3.
	asked := c.cfg.Now()
	body, err := c.request(ctx, formCall{op: "token", endpoint: md.Token, key: key, form: c.withResource(url.Values{
		"grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {login.RedirectURI}, "code_verifier": {login.Verifier},
	})})
	if err != nil {
		return Grant{}, err
	}
	tokens, err := parseTokens("token", body, asked, keys.NewSecret(login.Key))
	if err != nil {
		return Grant{}, err
	}
	if tokens.ID.Empty() {
		return Grant{}, badTokens("token", "id_token is missing")
	}
	if tokens.Scope == nil {
		tokens.Scope = slices.Clone(c.cfg.Scopes)
	}
	claims, err := c.verifyIDToken(ctx, tokens)
	if err != nil {
		return Grant{}, err
	}
	if err := claims.answers(login); err != nil {
		return Grant{}, err
	}
	identity := claims.identity()
	if err := c.complete(ctx, md, tokens, &identity); err != nil {
		return Grant{}, err
	}
	return Grant{Tokens: tokens, Identity: identity}, nil
}

// readResponse returns the code of an authorization response. State and issuer come
// first, so that nobody else's answer, good or bad, says anything about this sign-in.
func (c *Client) readResponse(md *metadata, login Login, response url.Values, mode ResponseMode) (string, error) {
	if mode != c.cfg.ResponseMode {
		return "", malformed("response_mode", fmt.Sprintf("it came by %s, asked for was %s", clean(string(mode)), c.cfg.ResponseMode))
	}
	for _, name := range []string{"code", "state", "iss", "error", "error_description", "error_uri"} {
		if len(response[name]) > 1 {
			return "", malformed(name, "the parameter is repeated") // RFC 6749 3.1
		}
	}
	if login.State == "" || subtle.ConstantTimeCompare([]byte(response.Get("state")), []byte(login.State)) != 1 {
		return "", &Error{Op: "callback", Kind: Invalid, Code: "state", Finding: "state_invalid"}
	}
	// RFC 9207 2.4: simple string comparison, also when it was not announced.
	switch {
	case response.Has("iss") && response.Get("iss") != c.cfg.Issuer:
		return "", malformed("iss", "it is '"+clean(response.Get("iss"))+"', asked was '"+c.cfg.Issuer+"'")
	case !response.Has("iss") && md.SendsIssuer:
		return "", malformed("iss", "it is missing, and the provider says that it always sends it")
	case response.Has("code") && response.Has("error"):
		return "", malformed("code", "there are both a code and an error")
	case response.Get("error") != "":
		return "", refusal(response.Get("error"), response.Get("error_description"))
	case response.Get("code") == "":
		return "", malformed("code", "there is neither a code nor an error")
	}
	return response.Get("code"), nil
}

func malformed(code, text string) *Error {
	return &Error{Op: "callback", Kind: Invalid, Code: code, Finding: "response_invalid", Err: errors.New(text)}
}

// refusal turns an authorization error response into an error (RFC 6749 4.1.2.1,
// OpenID Connect Core 3.1.2.6).
func refusal(code, description string) *Error {
	e := &Error{Op: "callback", Kind: Refused, Code: clean(code), Description: clean(description), Finding: "provider_refused"}
	switch code {
	case "access_denied":
		e.Finding = "access_denied"
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		e.Finding = "login_required"
	case "server_error", "temporarily_unavailable":
		e.Kind, e.Finding = Fault, "provider_unavailable"
	case "unauthorized_client", "invalid_client":
		e.Kind, e.Finding = Misconfigured, "client_refused"
	case "invalid_request", "invalid_scope", "invalid_target", "unsupported_response_type", "request_not_supported":
		e.Kind = Misconfigured
	}
	return e
}
