package rp

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"genkan/internal/keys"
)

// TestEmptyErrorIsNone: some providers always send the member.
func TestEmptyErrorIsNone(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.requirePAR()
	p.token["error"], p.token["error_description"] = "", ""
	p.answers("/par", created(`{"request_uri":"urn:x","expires_in":60,"error":""}`))
	c := p.client()
	grant := p.mustSignIn(c)
	if _, err := c.Refresh(t.Context(), grant); err != nil {
		t.Error(err)
	}
	for _, member := range []any{"invalid_grant", false, object{}} {
		p.token["error"] = member
		if _, err := c.Refresh(t.Context(), grant); err == nil {
			t.Errorf("an error of %v is a success", member)
		}
	}
}

// TestSecretsInTheErrorCode: it may be any text, also one that quotes what was sent.
func TestSecretsInTheErrorCode(t *testing.T) {
	t.Parallel()
	const clientSecret = "CANARY-secret"
	long := "refresh-1" + strings.Repeat("x", 300)
	use := func(c *Client, _ *provider) error {
		_, err := c.Refresh(context.Background(), Grant{Tokens: Tokens{Refresh: keys.NewSecret("refresh-1")}})
		return err
	}
	rows := []struct {
		name, path, quoted string
		do                 func(*Client, *provider) error
	}{
		{"the code", "/token", "code-1", func(c *Client, p *provider) error { _, err := p.signIn(c); return err }},
		{"the refresh token", "/token", "refresh-1", use},
		{"the client secret", "/token", clientSecret, use},
		{"a long refresh token", "/token", long, func(c *Client, _ *provider) error {
			_, err := c.Refresh(context.Background(), Grant{Tokens: Tokens{Refresh: keys.NewSecret(long)}})
			return err
		}},
		{"a token to revoke", "/revoke", "refresh-1", func(c *Client, _ *provider) error {
			return c.Revoke(context.Background(), keys.NewSecret("refresh-1"), "refresh_token")
		}},
		{"an access token to revoke", "/revoke", "access-1", func(c *Client, _ *provider) error {
			return c.Revoke(context.Background(), keys.NewSecret("access-1"), "access_token")
		}},
		{"some JWT", "/revoke", "eyJhbGciOiJub25lIn0.e30.", func(c *Client, _ *provider) error {
			return c.Revoke(context.Background(), keys.NewSecret("refresh-1"), "refresh_token")
		}},
	}
	bodies := map[string]func(quoted string) object{
		"error":     func(quoted string) object { return object{"error": "unknown token " + quoted} },
		"errorCode": func(quoted string) object { return object{"errorCode": quoted, "errorSummary": ""} },
		"error_description": func(quoted string) object {
			return object{"error": "odd", "error_description": "unknown token " + quoted}
		},
	}
	for _, row := range rows {
		for member, body := range bodies {
			t.Run(row.name+" in "+member, func(t *testing.T) {
				t.Parallel()
				p := newProvider(t)
				p.answers(row.path, func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusBadRequest, body(row.quoted)) })
				err := row.do(p.client(func(c *Config) { c.ClientSecret = keys.NewSecret(clientSecret) }), p)
				if err == nil || strings.Contains(err.Error(), row.quoted[:min(9, len(row.quoted))]) || !strings.Contains(err.Error(), "withheld") {
					t.Errorf("error is %v", err)
				}
			})
		}
	}
}

// TestLengthOfRequestURI: it goes into the browser's address.
func TestLengthOfRequestURI(t *testing.T) {
	t.Parallel()
	for length, ok := range map[int]bool{1999: true, 2000: true, 2001: false, 60_000: false} {
		p := newProvider(t)
		p.requirePAR()
		uri := "urn:" + strings.Repeat("x", length-4)
		p.answers("/par", created(`{"request_uri":"`+uri+`","expires_in":60}`))
		address, _, err := p.client().Begin(t.Context(), AuthRequest{RedirectURI: redirect, State: state})
		if !ok {
			wantError(t, err, Fault, "request_refused", "par_response")
			continue
		}
		if u, parsed := url.Parse(address); err != nil || parsed != nil || u.Query().Get("request_uri") != uri {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}

// TestPARThatRefusesTheClient: 401 is about its authentication, whatever else is said (RFC
// 6749 5.2).
func TestPARThatRefusesTheClient(t *testing.T) {
	t.Parallel()
	for body, code := range map[string]string{
		"": "http_401", "<html>CANARY": "http_401", `{}`: "http_401", `{"error":""}`: "http_401",
		`{"error":"invalid_request"}`: "invalid_request", `{"error":"invalid_client"}`: "invalid_client",
	} {
		p := newProvider(t)
		p.requirePAR()
		p.answers("/par", text(http.StatusUnauthorized, "application/json", body))
		_, _, err := p.client().Begin(t.Context(), AuthRequest{RedirectURI: redirect, State: state})
		wantError(t, err, Misconfigured, "client_refused", code)
	}
}

// TestPAREndpointMustBeHTTPS: 88: credentials go there.
func TestPAREndpointMustBeHTTPS(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"http://idp.example/par", "http://127.0.0.1:8001/par", "/par", "javascript:alert(1)", issuer + "/par#x"} {
		p := newProvider(t)
		p.metadata["pushed_authorization_request_endpoint"] = address
		err := p.client().Warm(t.Context())
		wantError(t, err, Misconfigured, "provider_metadata", "metadata")
		if !strings.Contains(err.Error(), "pushed_authorization_request_endpoint") {
			t.Error(err)
		}
	}
}

// TestSecretTooShortToSign: RFC 7518 3.2, where the provider takes nothing else. Nobody is
// sent to a sign-in that cannot end.
func TestSecretTooShortToSign(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.metadata["token_endpoint_auth_methods_supported"] = []string{"client_secret_jwt"}
	short := p.client(func(c *Config) { c.ClientSecret = keys.NewSecret(longSecret[:31]) })
	err := short.Warm(t.Context())
	wantError(t, err, Misconfigured, "provider_metadata", "metadata")
	if err == nil || !strings.Contains(err.Error(), "32 bytes") {
		t.Errorf("error is %v", err)
	}
	if err := p.client(func(c *Config) { c.ClientSecret = keys.NewSecret(longSecret[:32]) }).Warm(t.Context()); err != nil {
		t.Errorf("32 bytes: %v", err)
	}
}
