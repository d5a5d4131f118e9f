package rp

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"
)

const (
	objectLife = time.Minute // how long a request object may be used
	// maxReference bounds a request_uri in bytes: it goes into the browser's address.
	maxReference = 2000
)

// pushes reports whether authorization requests go by PAR. A provider that requires it
// gets no plain request, whatever is configured (RFC 9126 5).
func (c *Client) pushes(md *metadata) (bool, error) {
	switch {
	case c.cfg.PAR == PAROff && md.RequiresPAR:
		return false, errors.New("the provider requires pushed authorization requests, and par is off")
	case c.cfg.PAR == PAROff || c.cfg.PAR == PARAuto && !md.RequiresPAR:
		return false, nil
	case md.PAR == "":
		return false, errors.New("pushed authorization requests are required, and the provider has no pushed_authorization_request_endpoint")
	}
	return true, nil
}

// address is where the browser is sent with params: as they are, signed, or pushed.
func (c *Client) address(ctx context.Context, md *metadata, params url.Values) (string, error) {
	if c.cfg.JAR {
		object, err := c.requestObject(md, params)
		if err != nil {
			return "", &Error{Op: "login", Kind: Misconfigured, Code: "request_object", Finding: "client_refused", Err: err}
		}
		// RFC 9101 5: only the object counts, and client_id stands outside too.
		params = url.Values{"client_id": {c.cfg.ClientID}, "request": {object}}
	}
	if !md.push {
		return withQuery(md.Authorize, params)
	}
	reference, err := c.push(ctx, md, params)
	if err != nil {
		return "", err
	}
	return withQuery(md.Authorize, url.Values{"client_id": {c.cfg.ClientID}, "request_uri": {reference}}) // RFC 9126 4
}

// push sends an authorization request to the provider itself and returns the request_uri
// that stands for it, once (RFC 9126 2).
func (c *Client) push(ctx context.Context, md *metadata, params url.Values) (string, error) {
	body, err := c.request(ctx, formCall{op: "par", endpoint: md.PAR, form: params, want: http.StatusCreated})
	if err != nil {
		return "", err
	}
	var response struct {
		URI     string  `json:"request_uri"`
		Expires float64 `json:"expires_in"`
	}
	if json.Unmarshal(body, &response) != nil || response.URI == "" || len(response.URI) > maxReference || !(response.Expires > 0) || !headerSafe(response.URI) {
		return "", &Error{Op: "par", Kind: Fault, Code: "par_response", Finding: "request_refused", Err: errors.New("request_uri or expires_in is missing, of another type or too long")}
	}
	return response.URI, nil
}

// requestObject signs params (RFC 9101 4, 10.8; FAPI 2.0 Message Signing 5.3): they are
// for this provider, for a minute. There is no sub, so that it is no client assertion.
func (c *Client) requestObject(md *metadata, params url.Values) (string, error) {
	now := c.cfg.Now()
	claims := map[string]any{
		"iss": c.cfg.ClientID, "aud": c.cfg.Issuer, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Add(-backdate).Unix(), "exp": now.Add(objectLife).Unix(),
	}
	for name, values := range params {
		switch {
		case name == "max_age": // a JSON number (RFC 9101 4)
			claims[name] = json.Number(values[0])
		case name == "claims": // a JSON object
			claims[name] = json.RawMessage(values[0])
		case len(values) > 1:
			claims[name] = values
		default:
			claims[name] = values[0]
		}
	}
	signer := c.cfg.Signers[0]
	return signer.Sign(signer.Alg(md.ObjectAlgs), "oauth-authz-req+jwt", claims)
}
