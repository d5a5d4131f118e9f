package rp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"genkan/internal/keys"
)

const (
	defaultLife = 5 * time.Minute
	maxLife     = 30 * 24 * time.Hour
)

// request posts form to one of the provider's endpoints as this client and returns the
// body of a 200. It serves the code, refresh and revocation: the client authenticates
// once, by one method (RFC 6749 2.3), and nothing that reached the provider is ever sent
// a second time.
func (c *Client) request(ctx context.Context, op, endpoint string, form url.Values) ([]byte, error) {
	md, err := c.discover(ctx)
	if err != nil {
		return nil, err
	}
	id, secret := c.cfg.ClientID, c.cfg.ClientSecret.Reveal()
	if md.auth != AuthBasic {
		form.Set("client_id", id)
	}
	if md.auth == AuthPost {
		form.Set("client_secret", secret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fault(op, "address", quiet(err))
	}
	if md.auth == AuthBasic {
		// RFC 6749 2.3.1: form-encoded first, or a colon or a percent sign is lost.
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	got, err := c.do(op, req)
	if err != nil {
		return nil, err
	}
	if got.status == http.StatusOK {
		var body struct {
			Error any `json:"error"`
		}
		if json.Unmarshal(got.body, &body) != nil || body.Error == nil {
			return got.body, nil
		}
		got.status = http.StatusBadRequest // some providers put an error into a 200
	}
	return nil, refusedRequest(op, got, secret, form.Get("code"), form.Get("refresh_token"), form.Get("token"))
}

// refusedRequest reads an error response (RFC 6749 5.2) as providers really send it. A
// description that quotes one of the secrets sent, as UAA's does, is left out.
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
			description = "withheld, since it quotes a secret"
		}
	}
	e := &Error{Op: op, Kind: Fault, Code: clean(code), Description: clean(description), Status: got.status, Finding: "provider_unavailable"}
	switch kind := classify(got, e.Code); kind {
	case Refused:
		e.Kind, e.Finding = kind, "grant_refused"
	case Misconfigured:
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
// is nil when the provider told none. asked is when the request was sent.
func parseTokens(op string, body []byte, asked time.Time) (Tokens, error) {
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
	case !strings.EqualFold(response.Type, "Bearer"):
		return Tokens{}, badTokens(op, "token_type is not Bearer")
	case !headerSafe(response.Access):
		return Tokens{}, badTokens(op, "access_token holds characters that no header can carry")
	}
	tokens := Tokens{
		Access: keys.NewSecret(response.Access), Refresh: keys.NewSecret(response.Refresh), ID: keys.NewSecret(response.ID),
		Expiry: asked.Add(lifetime(response.Expires)),
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
