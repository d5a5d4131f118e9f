package rp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"genkan/internal/keys"
)

const (
	jwtBegin    = "eyJ" // of every JWT: assertions, proofs and request objects are ours to keep
	defaultLife = 5 * time.Minute
	maxLife     = 30 * 24 * time.Hour
)

// formCall is one authenticated request to the provider.
type formCall struct {
	op, endpoint string
	form         url.Values
	key          *keys.Signer // proof of possession goes along; nil: none
	want         int          // the status of success; 0: 200
}

// request posts a form to one of the provider's endpoints as this client and returns the
// body of its success. It serves every grant, PAR, revocation and introspection: the client
// authenticates once, by one method, and what the provider has looked at is never sent a
// second time. It has not when it only asks for a DPoP nonce (RFC 9449 8): then the request
// goes once more.
func (c *Client) request(ctx context.Context, call formCall) ([]byte, error) {
	md, err := c.discover(ctx)
	if err != nil {
		return nil, err
	}
	got, nonce, err := c.post(ctx, md, call, "")
	if err == nil && nonce != "" {
		got, _, err = c.post(ctx, md, call, nonce)
	}
	if err != nil {
		return nil, err
	}
	if got.status == cmp.Or(call.want, http.StatusOK) {
		if code := errorCode(got.body); code == nil || code == "" {
			return got.body, nil
		}
		got.status = http.StatusBadRequest // some providers put an error into a 200
	}
	form := call.form
	return nil, refusedRequest(call.op, got, jwtBegin, c.cfg.ClientSecret.Reveal(), form.Get("code"), form.Get("code_verifier"), form.Get("refresh_token"), form.Get("token"), form.Get("subject_token"))
}

// post sends call once, with nonce if there is one, else with the newest of that server.
// fresh is the nonce with which it is worth a second time, "" when it is not.
func (c *Client) post(ctx context.Context, md *metadata, call formCall, nonce string) (got answer, fresh string, err error) {
	form, header := maps.Clone(call.form), http.Header{}
	if err := c.authenticate(md, call.endpoint, form, header); err != nil {
		return answer{}, "", &Error{Op: call.op, Kind: Misconfigured, Code: "client_auth", Finding: "client_refused", Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, call.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, "", fault(call.op, "address", quiet(err))
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if call.key != nil {
		nonce = cmp.Or(nonce, c.nonces.Of(req.URL))
		if err := prove(req, call.key, proofOf{nonce: nonce}, c.cfg.Now()); err != nil {
			return answer{}, "", fault(call.op, "dpop", err)
		}
	}
	if got, err = c.doAs(md, call.op, req); err != nil {
		return answer{}, "", err
	}
	fresh = c.nonces.Keep(req.URL, got.header, nonce)
	demanded := got.status == http.StatusBadRequest || got.status == http.StatusUnauthorized
	if call.key == nil || !demanded || errorCode(got.body) != "use_dpop_nonce" {
		return got, "", nil
	}
	return got, fresh, nil
}

// errorCode is the error member of a body, nil when there is none.
func errorCode(body []byte) any {
	var response struct {
		Error any `json:"error"`
	}
	// A member of another type leaves its field empty.
	_ = json.Unmarshal(body, &response)
	return response.Error
}

const withheld = "withheld, since it quotes a secret"

// refusedRequest reads an error response (RFC 6749 5.2) as providers really send it. A
// text that quotes one of the secrets sent, as UAA's description does, is left out.
func refusedRequest(op string, got answer, secrets ...string) *Error {
	var body struct {
		Error       any    `json:"error"`
		Description string `json:"error_description"`
		OktaCode    string `json:"errorCode"` // Okta has no error member for an unknown client
		OktaSummary string `json:"errorSummary"`
	}
	// A member of another type leaves its field empty; the rest still counts.
	_ = json.Unmarshal(got.body, &body)
	code, _ := body.Error.(string)
	description := body.Description
	if code == "" && body.OktaCode != "" {
		code, description = body.OktaCode, body.OktaSummary
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(description, secret) {
			description = withheld
		}
		if secret != "" && strings.Contains(code, secret) {
			code = withheld
		}
	}
	e := &Error{Op: op, Kind: Fault, Code: clean(code), Description: clean(description), Status: got.status, Finding: "provider_unavailable"}
	switch kind := classify(got, e.Code); {
	case op == "par" && got.status != http.StatusUnauthorized && !oneOf(e.Code, "invalid_client", "unauthorized_client") && (kind != Fault || got.status == http.StatusRequestEntityTooLarge):
		// No grant is at stake: the request as we make it is refused.
		e.Kind, e.Finding = Misconfigured, "request_refused"
	case op == "introspection" && kind == Refused: // which is about the request: of a bad token it says that it is not active (RFC 7662 2.2)
		e.Kind, e.Finding = Misconfigured, "client_refused"
	case oneOf(op, "exchange", "client_credentials") && kind != Fault:
		e.Kind, e.Finding = kind, "upstream_token_refused"
	case kind == Refused:
		e.Kind, e.Finding = kind, "grant_refused"
	case kind == Misconfigured:
		e.Kind, e.Finding = kind, "client_refused"
	}
	if e.Code == "" {
		e.Code = "http_" + strconv.Itoa(got.status)
	}
	return e
}

// classify decides what an error response says. When in doubt it is a fault, which
// ends no session.
func classify(got answer, code string) Kind {
	s := got.status
	switch {
	case s >= 500, s == http.StatusTooManyRequests, s == http.StatusRequestTimeout, s < 400:
		return Fault // an overloaded provider's reasons are not about this grant
	case oneOf(code, "temporarily_unavailable", "server_error", "slow_down"):
		return Fault
	case oneOf(code, "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
		"invalid_target", "invalid_dpop_proof", "use_dpop_nonce"):
		return Misconfigured
	case oneOf(code, "invalid_grant", "access_denied", "invalid_code", "interaction_required", "login_required", "consent_required"):
		return Refused
	case s == http.StatusUnauthorized:
		return Misconfigured
	case s == http.StatusBadRequest && !oneOf(code, "", http.StatusText(s)): // the latter is a gateway's
		return Refused // dex says invalid_request of a refresh token it has dropped
	case s == http.StatusBadRequest && len(bytes.TrimSpace(got.body)) == 0:
		return Refused // glewlwyd
	}
	return Fault
}

// parseTokens holds a token response to RFC 6749 5.1. Unknown members are ignored. Scope
// is nil when the provider told none. asked is when the request was sent, and key, when
// not empty, what the tokens must be bound to: a bearer token in their place is refused
// (RFC 9449 5).
func parseTokens(op string, body []byte, asked time.Time, key keys.Secret) (Tokens, error) {
	kind := "Bearer"
	if !key.Empty() {
		kind = "DPoP"
	}
	var response struct {
		Access  string          `json:"access_token"`
		Type    string          `json:"token_type"`
		Refresh string          `json:"refresh_token"`
		ID      string          `json:"id_token"`
		Scope   string          `json:"scope"`
		Expires json.RawMessage `json:"expires_in"`
	}
	switch {
	case json.Unmarshal(body, &response) != nil:
		return Tokens{}, badTokens(op, "the answer is not JSON, or a member is of another type")
	case response.Access == "":
		return Tokens{}, badTokens(op, "access_token is missing")
	case !strings.EqualFold(response.Type, kind):
		return Tokens{}, badTokens(op, "token_type is not "+kind)
	case !headerSafe(response.Access):
		return Tokens{}, badTokens(op, "access_token holds characters that no header can carry")
	}
	tokens := Tokens{
		Access: keys.NewSecret(response.Access), Refresh: keys.NewSecret(response.Refresh), ID: keys.NewSecret(response.ID),
		Key: key, Expiry: asked.Add(lifetime(response.Expires)),
	}
	if scope := strings.Fields(response.Scope); len(scope) > 0 {
		tokens.Scope = scope
	}
	return tokens, nil
}

// headerSafe reports whether token is of VSCHAR only (RFC 6749 A.12), so that the proxy
// can send it on as it is.
func headerSafe(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' })
}

// lifetime reads expires_in as Tokens.Expiry documents it.
func lifetime(raw json.RawMessage) time.Duration {
	text := strings.Trim(string(raw), `"`)
	seconds, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange), !(seconds > 0): // NaN too
		return defaultLife
	case seconds > maxLife.Seconds():
		return maxLife
	}
	return time.Duration(seconds * float64(time.Second))
}

func badTokens(op, text string) *Error {
	return &Error{Op: op, Kind: Fault, Code: "token_response", Finding: "token_response", Err: errors.New(text)}
}
