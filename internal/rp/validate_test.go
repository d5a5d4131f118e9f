package rp

import (
	"strings"
	"testing"
	"time"

	"genkan/internal/keys"
)

func TestNewChecksItsConfiguration(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		change func(*Config)
		says   string // beginning of the error; empty: accepted
	}{
		{"the least there can be", func(*Config) {}, ""},
		{"no id", func(c *Config) { c.ID = "" }, "id: "},
		{"id for no URL", func(c *Config) { c.ID = "a/b" }, "id: "},
		{"no issuer", func(c *Config) { c.Issuer = "" }, "issuer: it is missing"},
		{"issuer without a scheme", func(c *Config) { c.Issuer = "idp.example" }, "issuer: "},
		{"88 issuer on http", func(c *Config) { c.Issuer = "http://idp.example" }, `issuer: "http://idp.example" is plain http`},
		{"88 issuer on http by a name like localhost", func(c *Config) { c.Issuer = "http://localhost.evil.example" }, `issuer: "http://localhost.evil.example" is plain http`},
		{"88 issuer on http by a private address", func(c *Config) { c.Issuer = "http://192.168.0.1" }, `issuer: "http://192.168.0.1" is plain http`},
		{"88 issuer on http loopback", func(c *Config) { c.Issuer = "http://127.0.0.1:9000" }, ""},
		{"88 issuer on http IPv6 loopback", func(c *Config) { c.Issuer = "http://[::1]:9000" }, ""},
		{"88 issuer with a query", func(c *Config) { c.Issuer = issuer + "?a=b" }, `issuer: "https://idp.example?a=b" has a query`},
		{"88 issuer with an empty query", func(c *Config) { c.Issuer = issuer + "?" }, `issuer: "https://idp.example?" has a query`},
		{"88 issuer with a fragment", func(c *Config) { c.Issuer = issuer + "#a" }, `issuer: "https://idp.example#a" has a query or a fragment`},
		{"issuer with a user name", func(c *Config) { c.Issuer = "https://a:CANARY@idp.example" }, "issuer: it is not a plain URL"},
		{"issuer by another scheme", func(c *Config) { c.Issuer = "ftp://idp.example" }, `issuer: "ftp://idp.example" is not an https URL`},
		{"the address of the metadata", func(c *Config) { c.Issuer = issuer + "/.well-known/openid-configuration" }, `issuer: "https://idp.example/.well-known/openid-configuration" is an address below`},
		{"issuer of a port alone", func(c *Config) { c.Issuer = "https://:443" }, `issuer: "https://:443" is not`},
		{"id of 65 letters", func(c *Config) { c.ID = strings.Repeat("a", 65) }, "id: "},
		{"no client_id", func(c *Config) { c.ClientID = "" }, "client_id: "},
		{"unknown client_auth", func(c *Config) { c.ClientAuth = "tls" }, "client_auth: it is not a known"},
		{"basic without a secret", func(c *Config) { c.ClientAuth = AuthBasic }, "client_secret: it is missing"},
		{"post without a secret", func(c *Config) { c.ClientAuth = AuthPost }, "client_secret: it is missing"},
		{"none with a secret", func(c *Config) { c.ClientAuth, c.ClientSecret = AuthPublic, keys.NewSecret("CANARY") }, "client_auth: it is none"},
		{"104 response_mode fragment", func(c *Config) { c.ResponseMode = "fragment" }, "response_mode: "},
		{"unknown userinfo", func(c *Config) { c.UserInfo = "maybe" }, "userinfo: "},
		{"a scope of two words", func(c *Config) { c.Scopes = []string{"openid profile"} }, "scopes: "},
		{"an empty acr value", func(c *Config) { c.ACRValues = []string{""} }, "acr_values: "},
		{"negative max_age", func(c *Config) { c.MaxAge = -time.Second }, "max_age: "},
		{"negative timeout", func(c *Config) { c.Timeout = -time.Second }, "timeout: "},
		{"an empty audience", func(c *Config) { c.TrustedAudiences = []string{""} }, "trusted_audiences: "},
		{"49 alg none", func(c *Config) { c.SigningAlgs = []string{"RS256", "none"} }, `id_token_signing_algs: "none"`},
		{"51 alg HS256", func(c *Config) { c.SigningAlgs = []string{"HS256"} }, `id_token_signing_algs: "HS256"`},
		{"alg unknown", func(c *Config) { c.SigningAlgs = []string{"rs256"} }, `id_token_signing_algs: "rs256"`},
		{"202 alg none for access tokens", func(c *Config) { c.AccessTokenAlgs = []string{"none"} }, `access_token_signing_algs: "none"`},
		{"202 alg HS256 for access tokens", func(c *Config) { c.AccessTokenAlgs = []string{"RS256", "HS256"} }, `access_token_signing_algs: "HS256"`},
		{"an extra parameter", func(c *Config) { c.AuthorizeParams = map[string]string{"audience": "x", "prompt": "consent"} }, ""},
		{"12 redirect_uri by an extra parameter", func(c *Config) { c.AuthorizeParams = map[string]string{"redirect_uri": "x"} }, `authorize_params: "redirect_uri"`},
		{"2 response_type by an extra parameter", func(c *Config) { c.AuthorizeParams = map[string]string{"response_type": "token"} }, `authorize_params: "response_type"`},
		{"111 plain by an extra parameter", func(c *Config) { c.AuthorizeParams = map[string]string{"code_challenge_method": "plain"} }, `authorize_params: "code_challenge_method"`},
		{"a parameter without a name", func(c *Config) { c.AuthorizeParams = map[string]string{"": "x"} }, "authorize_params: "},
		{"claims that are no JSON", func(c *Config) { c.AuthorizeParams = map[string]string{"claims": "{not json"} }, "authorize_params: claims is not"},
		{"13 prompt none login", func(c *Config) { c.AuthorizeParams = map[string]string{"prompt": "none login"} }, "authorize_params: prompt"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{ID: "okta-1", Issuer: issuer, ClientID: "c"}
			row.change(&cfg)
			c, err := New(cfg)
			switch {
			case row.says == "":
				if err != nil {
					t.Error(err)
				}
			case err == nil || c != nil || !strings.HasPrefix(err.Error(), row.says) || strings.Contains(err.Error(), "CANARY"):
				t.Errorf("error is %v, want %q", err, row.says)
			}
		})
	}
}

func TestNewReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Scopes: []string{""}, SigningAlgs: []string{"none"}})
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("error is %v, want five lines", err)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	scopes := []string{"profile", "email"}
	c, err := New(Config{ID: "okta", Issuer: issuer, ClientID: "c", Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	if c.ID() != "okta" || c.Name() != "okta" || c.Issuer() != issuer || c.ResponseMode() != "query" {
		t.Errorf("id %q, name %q, issuer %q, response mode %q", c.ID(), c.Name(), c.Issuer(), c.ResponseMode())
	}
	if strings.Join(scopes, " ") != "profile email" {
		t.Error("the caller's scopes were changed")
	}
}
