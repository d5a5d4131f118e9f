package rp

import (
	"crypto/tls"
	"strings"
	"testing"

	"genkan/internal/keys"
)

// TestAutoPicks: what the provider lists decides, then the order of AuthAuto; the log says
// what it was.
func TestAutoPicks(t *testing.T) {
	t.Parallel()
	const key, cert, secret = 1, 2, 4
	certificate := clientCertificate(t)
	rows := []struct {
		name   string
		has    int
		listed []string // nil: nothing
		want   AuthMethod
	}{
		{"a secret, nothing listed", secret, nil, AuthBasic},
		{"a key, nothing listed", key, nil, AuthPrivateKeyJWT},
		{"a certificate, nothing listed", cert, nil, AuthTLS},
		{"nothing, nothing listed", 0, nil, AuthPublic},
		{"nothing, secrets listed", 0, []string{"client_secret_basic"}, AuthPublic},
		{"a key and a certificate, everything listed", key | cert, []string{"none", "client_secret_basic", "private_key_jwt", "self_signed_tls_client_auth", "tls_client_auth"}, AuthTLS},
		{"a certificate with its key, both listed", key | cert, []string{"private_key_jwt", "tls_client_auth"}, AuthTLS}, // config knows no certificate alone
		{"a certificate with its key, the key's method listed", key | cert, []string{"private_key_jwt"}, AuthPrivateKeyJWT},
		{"a certificate with its key, nothing listed", key | cert, nil, AuthTLS},
		{"a certificate, its other method listed", cert, []string{"client_secret_basic", "self_signed_tls_client_auth"}, AuthSelfSignedTLS},
		{"a secret, all its methods listed", secret, []string{"client_secret_jwt", "client_secret_post", "client_secret_basic"}, AuthBasic},
		{"a secret, jwt alone listed", secret, []string{"client_secret_jwt"}, AuthSecretJWT},
		{"a secret, methods of keys listed", secret, []string{"private_key_jwt", "tls_client_auth"}, ""},
		{"a secret, none listed", secret, []string{"none"}, ""},
		{"a key, secrets listed", key, []string{"client_secret_basic", "none"}, ""},
		{"a secret, words in capitals listed", secret, []string{"CLIENT_SECRET_BASIC"}, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			if row.listed != nil {
				p.metadata["token_endpoint_auth_methods_supported"] = row.listed
			}
			var log logged
			c := p.client(log.to, func(cfg *Config) {
				cfg.ClientSecret = keys.Secret{}
				if row.has&secret != 0 {
					cfg.ClientSecret = keys.NewSecret(longSecret)
				}
				if row.has&key != 0 {
					cfg.Signers = signersOf(t, ecKey())
				}
				if row.has&cert != 0 {
					cfg.ClientCertificate = &certificate
				}
			})
			err := c.Warm(t.Context())
			if row.want == "" {
				wantError(t, err, Misconfigured, "client_refused", "client_auth")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(log.String(), `"client_auth":"`+string(row.want)+`"`) || strings.Contains(log.String(), "CANARY") {
				t.Errorf("want %s, logged %s", row.want, log.String())
			}
		})
	}
}

func TestNewChecksCredentials(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		change func(*Config)
		says   string
	}{
		{"private_key_jwt without a key", func(c *Config) { c.ClientAuth, c.ClientSecret = AuthPrivateKeyJWT, keys.NewSecret("CANARY") }, "private_key: "},
		{"client_secret_jwt without a secret", func(c *Config) { c.ClientAuth = AuthSecretJWT }, "client_secret: it is missing"},
		{"client_secret_jwt with 31 bytes", func(c *Config) { c.ClientAuth, c.ClientSecret = AuthSecretJWT, keys.NewSecret(longSecret[:31]) }, "client_secret: it has under 32"},
		{"tls_client_auth without a certificate", func(c *Config) { c.ClientAuth = AuthTLS }, "client_cert_file: "},
		{"self_signed_tls_client_auth without a certificate", func(c *Config) { c.ClientAuth = AuthSelfSignedTLS }, "client_cert_file: "},
		{"none with a certificate", func(c *Config) { c.ClientAuth, c.ClientCertificate = AuthPublic, &tls.Certificate{} }, "client_auth: "},
		{"auto with a secret and a key", func(c *Config) { c.ClientSecret, c.Signers = keys.NewSecret("CANARY"), signersOf(t, ecKey()) }, "client_auth: it is auto"},
		{"auto with a secret and a certificate", func(c *Config) { c.ClientSecret, c.ClientCertificate = keys.NewSecret("CANARY"), &tls.Certificate{} }, "client_auth: it is auto"},
		{"none with a key for jar", func(c *Config) { c.ClientAuth, c.Signers, c.JAR = AuthPublic, signersOf(t, ecKey()), true }, "client_auth: it is none"},
		{"an audience of nobody", func(c *Config) { c.AssertionAudience = "both" }, "client_assertion_audience: "},
		{"jar without a key", func(c *Config) { c.JAR = true }, "jar: "},
		{"par maybe", func(c *Config) { c.PAR = "maybe" }, "par: "},
		{"37 a secret as a parameter", func(c *Config) { c.AuthorizeParams = map[string]string{"client_secret": "CANARY"} }, `authorize_params: "client_secret"`},
		{"37 an assertion as a parameter", func(c *Config) { c.AuthorizeParams = map[string]string{"client_assertion": "CANARY"} }, `authorize_params: "client_assertion"`},
		{"dpop_jkt as a parameter", func(c *Config) { c.AuthorizeParams = map[string]string{"dpop_jkt": "x"} }, `authorize_params: "dpop_jkt"`},
		{"request_uri as a parameter", func(c *Config) { c.AuthorizeParams = map[string]string{"request_uri": "x"} }, `authorize_params: "request_uri"`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{ID: "a", Issuer: issuer, ClientID: "c"}
			row.change(&cfg)
			if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), row.says) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("error is %v, want %q", err, row.says)
			}
		})
	}
}
