package rp

import (
	"cmp"
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
	Introspect  string   `json:"introspection_endpoint"`
	IntroAuth   []string `json:"introspection_endpoint_auth_methods_supported"`
	PAR         string   `json:"pushed_authorization_request_endpoint"` // RFC 9126 5
	RequiresPAR bool     `json:"require_pushed_authorization_requests"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	AuthAlgs    []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	ObjectAlgs  []string `json:"request_object_signing_alg_values_supported"`
	ProofAlgs   []string `json:"dpop_signing_alg_values_supported"`              // RFC 9449 5.1
	SendsIssuer bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 3
	Aliases     struct { // RFC 8705 5
		Token      string `json:"token_endpoint"`
		UserInfo   string `json:"userinfo_endpoint"`
		Revocation string `json:"revocation_endpoint"`
		Introspect string `json:"introspection_endpoint"`
		PAR        string `json:"pushed_authorization_request_endpoint"`
	} `json:"mtls_endpoint_aliases"`

	auth AuthMethod // the one method of this client
	push bool       // authorization requests go by PAR
}

func (md *metadata) mutualTLS() bool { return md.auth == AuthTLS || md.auth == AuthSelfSignedTLS }

// useAliases puts the endpoints for mutual TLS in the place of the ordinary ones.
func (md *metadata) useAliases() {
	md.Token = cmp.Or(md.Aliases.Token, md.Token)
	md.UserInfo = cmp.Or(md.Aliases.UserInfo, md.UserInfo)
	md.Revocation = cmp.Or(md.Aliases.Revocation, md.Revocation)
	md.Introspect = cmp.Or(md.Aliases.Introspect, md.Introspect)
	md.PAR = cmp.Or(md.Aliases.PAR, md.PAR)
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
	if md.auth, err = c.clientAuth(&md); err != nil {
		return metadata{}, &Error{Op: "discovery", Kind: Misconfigured, Code: "client_auth", Finding: "client_refused", Err: err}
	}
	if err := c.settle(&md); err != nil {
		return metadata{}, &Error{Op: "discovery", Kind: Misconfigured, Code: "metadata", Finding: "provider_metadata", Err: err}
	}
	c.cfg.Logger.InfoContext(ctx, "provider read", "provider", c.cfg.ID, "client_auth", string(md.auth), "par", md.push, "jar", c.cfg.JAR, "dpop", c.cfg.DPoP)
	return md, nil
}

// settle decides what this client does at this provider.
func (c *Client) settle(md *metadata) (err error) {
	if md.mutualTLS() {
		md.useAliases()
	}
	if md.push, err = c.pushes(md); err != nil {
		return err
	}
	switch {
	case md.auth == AuthSecretJWT && len(c.cfg.ClientSecret.Reveal()) < minSecretJWT:
		return errors.New("the provider lists client_secret_jwt alone, and client_secret has under 32 bytes (RFC 7518 3.2)")
	case md.auth == AuthPrivateKeyJWT && c.cfg.Signers[0].Alg(md.AuthAlgs) == "":
		return errors.New("the provider does not accept the algorithm of private_key_file for client assertions")
	case c.cfg.JAR && c.cfg.Signers[0].Alg(md.ObjectAlgs) == "":
		return errors.New("the provider does not accept the algorithm of private_key_file for request objects")
	case c.cfg.DPoP && len(md.ProofAlgs) > 0 && !slices.Contains(md.ProofAlgs, "ES256"):
		return errors.New("the provider does not accept ES256 for DPoP")
	}
	return nil
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
		{"introspection_endpoint", md.Introspect, false},
		{"pushed_authorization_request_endpoint", md.PAR, false},
		{"mtls_endpoint_aliases.token_endpoint", md.Aliases.Token, false},
		{"mtls_endpoint_aliases.userinfo_endpoint", md.Aliases.UserInfo, false},
		{"mtls_endpoint_aliases.revocation_endpoint", md.Aliases.Revocation, false},
		{"mtls_endpoint_aliases.introspection_endpoint", md.Aliases.Introspect, false},
		{"mtls_endpoint_aliases.pushed_authorization_request_endpoint", md.Aliases.PAR, false},
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
