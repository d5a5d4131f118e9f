package rp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

// granted is a good answer, after RFC 6749 4.4.3.
func granted(change object) http.HandlerFunc {
	body := with(object{"access_token": "own-1", "token_type": "Bearer", "expires_in": 3600}, change)
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, body) }
}

// TestClientTokensRequest: RFC 6749 4.4.2.
func TestClientTokensRequest(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		what ClientCredentials
		want url.Values
	}{
		{"nothing", ClientCredentials{}, url.Values{"grant_type": {"client_credentials"}}},
		{"all", ClientCredentials{Audience: "https://orders.example", Scope: "a b", Resource: []string{"urn:b", "urn:a"}},
			url.Values{"grant_type": {"client_credentials"}, "audience": {"https://orders.example"}, "scope": {"a b"}, "resource": {"urn:b", "urn:a"}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.answers("/token", granted(object{"refresh_token": "refresh-2", "id_token": "id-2", "scope": "b"}))
			got, err := p.client(func(c *Config) { c.Resource = []string{"urn:sign-in"} }).ClientTokens(t.Context(), keys.Secret{}, row.what)
			want := Tokens{Access: keys.NewSecret("own-1"), Scope: []string{"b"}, Expiry: start.Add(time.Hour)}
			if diff := cmp.Diff(want, got, bySecret); err != nil || diff != "" {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
			calls := p.seen("/token")
			if len(calls) != 1 || calls[0].header.Get("Authorization") != "Basic Z2Vua2FuLWNsaWVudDpzZWNyZXQ=" {
				t.Fatalf("calls: %+v", calls)
			}
			if diff := cmp.Diff(row.want, calls[0].form); diff != "" {
				t.Errorf("form (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPublicClientsHaveNoTokens: RFC 6749 4.4, RFC 7662 2.1: nothing is sent.
func TestPublicClientsHaveNoTokens(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name   string
		change func(*Config)
		public bool
	}{
		{"none", func(c *Config) { c.ClientAuth = AuthPublic }, true},
		{"auto, no credentials", func(c *Config) { c.ClientAuth = AuthAuto }, true},
		{"unset, no credentials", func(*Config) {}, true},
		{"a secret", func(c *Config) { c.ClientSecret = keys.NewSecret("secret") }, false},
		{"a key", func(c *Config) { c.Signers = signersOf(t, key) }, false},
		{"a certificate", func(c *Config) { c.ClientCertificate = &tls.Certificate{} }, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.metadata["introspection_endpoint"] = issuer + "/introspect"
			cfg := Config{}
			c := p.client(func(c *Config) { c.ClientSecret = keys.Secret{}; row.change(c); cfg = *c })
			if cfg.Public() != row.public {
				t.Fatalf("public is %v", cfg.Public())
			}
			if !row.public {
				return
			}
			_, err := c.ClientTokens(t.Context(), keys.Secret{}, ClientCredentials{})
			wantError(t, err, Misconfigured, "client_refused", "client_auth")
			_, err = c.Introspect(t.Context(), keys.NewSecret("opaque-1"), []string{api})
			wantError(t, err, Misconfigured, "client_refused", "client_auth")
			if n := p.count("/token") + p.count("/introspect"); n != 0 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestClientTokensByDPoP: RFC 9449 5.
func TestClientTokensByDPoP(t *testing.T) {
	t.Parallel()
	p := dpopProvider(t)
	c := p.client(withDPoP)
	key := p.mustSignIn(c).Tokens.Key
	p.answers("/token", granted(object{"token_type": "DPoP"}))
	got, err := c.ClientTokens(t.Context(), key, ClientCredentials{})
	if err != nil || got.Key.Reveal() != key.Reveal() {
		t.Errorf("%v, bound %v", err, !got.Key.Empty())
	}
	calls := p.seen("/token")
	if checkProof(t, calls[0], issuer+"/token", "").jkt != checkProof(t, calls[1], issuer+"/token", "").jkt {
		t.Error("the proof is of another key")
	}
	_, err = c.ClientTokens(t.Context(), keys.Secret{}, ClientCredentials{}) // a bound one, unasked
	wantError(t, err, Fault, "token_response", "token_response")
	p.answers("/token", granted(nil))
	_, err = c.ClientTokens(t.Context(), key, ClientCredentials{}) // a bearer token in its place
	wantError(t, err, Fault, "token_response", "token_response")
}
