package rp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const wellKnown = "/.well-known/openid-configuration"

// metadata is what this package uses of OpenID Connect Discovery 3 and RFC 8414 2.
// Signing algorithms are left out on purpose: they are pinned in the configuration.
type metadata struct {
	Issuer      string   `json:"issuer"`
	Authorize   string   `json:"authorization_endpoint"`
	Token       string   `json:"token_endpoint"`
	JWKS        string   `json:"jwks_uri"`
	UserInfo    string   `json:"userinfo_endpoint"`
	EndSession  string   `json:"end_session_endpoint"`
	Revocation  string   `json:"revocation_endpoint"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	SendsIssuer bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 3

	auth AuthMethod // the one method of this client
}

// discover returns the provider's metadata: cached for an hour, and for a day while
// it cannot be had anew.
func (c *Client) discover(ctx context.Context) (*metadata, error) {
	held, err := c.meta.get(ctx)
	if err != nil {
		return nil, err
	}
	return &held.value, nil
}

// fetchMetadata takes the place of oidc.NewProvider, which reads a body of any size,
// accepts endpoints on plain http and follows redirects anywhere.
func (c *Client) fetchMetadata(ctx context.Context) (metadata, error) {
	// OpenID Connect Discovery 4.1: one terminating slash goes.
	address := strings.TrimSuffix(c.cfg.Issuer, "/") + wellKnown
	body, err := c.document(ctx, "discovery", address)
	if err != nil {
		return metadata{}, err
	}
	md, err := parseMetadata(body, c.cfg.Issuer)
	if err != nil {
		return metadata{}, &Error{Op: "discovery", Kind: Misconfigured, Code: "metadata", Finding: "provider_metadata", Err: err}
	}
	if md.auth, err = c.clientAuth(md.AuthMethods); err != nil {
		return metadata{}, &Error{Op: "discovery", Kind: Misconfigured, Code: "client_auth", Finding: "client_refused", Err: err}
	}
	return md, nil
}

// document gets a JSON document that is open to everybody.
func (c *Client) document(ctx context.Context, op, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fault(op, "address", quiet(err))
	}
	req.Header.Set("Accept", "application/json")
	got, err := c.do(op, req)
	if err != nil {
		return nil, err
	}
	if got.status == http.StatusOK {
		return got.body, nil
	}
	failure := fault(op, "status", fmt.Errorf("HTTP %d", got.status))
	failure.Status = got.status
	if got.status >= 400 && got.status < 500 && got.status != http.StatusTooManyRequests {
		// Nothing is published there: the issuer is wrong rather than down.
		failure.Kind, failure.Finding = Misconfigured, "provider_metadata"
	}
	return nil, failure
}

// parseMetadata holds a discovery document to OpenID Connect Discovery 3 and 4.3.
func parseMetadata(body []byte, issuer string) (metadata, error) {
	var md metadata
	if json.Unmarshal(body, &md) != nil {
		return metadata{}, errors.New("the document is not JSON, or a member is of another type")
	}
	if md.Issuer != issuer {
		hint := ""
		if strings.TrimSuffix(md.Issuer, "/") == strings.TrimSuffix(issuer, "/") {
			hint = " (they differ by a trailing slash)"
		}
		return metadata{}, fmt.Errorf("the document is of issuer '%s', configured is '%s'%s", clean(md.Issuer), clean(issuer), hint)
	}
	endpoints := []struct {
		name, address string
		required      bool
	}{
		{"authorization_endpoint", md.Authorize, true},
		{"token_endpoint", md.Token, true},
		{"jwks_uri", md.JWKS, true},
		{"userinfo_endpoint", md.UserInfo, false},
		{"end_session_endpoint", md.EndSession, false},
		{"revocation_endpoint", md.Revocation, false},
	}
	var errs []error
	for _, e := range endpoints {
		if e.address == "" && !e.required {
			continue
		}
		if err := checkEndpoint(e.address, issuer); err != nil {
			errs = append(errs, fmt.Errorf("%s %w", e.name, err))
		}
	}
	return md, errors.Join(errs...)
}

// checkEndpoint allows https, and http on loopback for an issuer that is there itself:
// a public provider has no business in sending us to our own machine.
func checkEndpoint(address, issuer string) error {
	if address == "" {
		return errors.New("is missing")
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("is not an absolute URL")
	case u.User != nil || strings.Contains(address, "#"):
		return errors.New("holds a user name or a fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && loopback(u) && strings.HasPrefix(issuer, "http://"):
		return nil
	}
	return errors.New("is not https")
}

// clientAuth picks the one method to authenticate with. supported is what the
// metadata lists; nothing listed means client_secret_basic (Discovery 3).
func (c *Client) clientAuth(supported []string) (AuthMethod, error) {
	switch {
	case c.cfg.ClientAuth != AuthAuto:
		return c.cfg.ClientAuth, nil
	case c.cfg.ClientSecret.Empty():
		return AuthPublic, nil
	case len(supported) == 0 || slices.Contains(supported, string(AuthBasic)):
		return AuthBasic, nil
	case slices.Contains(supported, string(AuthPost)):
		return AuthPost, nil
	}
	return "", errors.New("the provider lists neither client_secret_basic nor client_secret_post")
}
