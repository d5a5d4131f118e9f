package rp

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

const (
	jwtBearer  = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523 2.2
	longSecret = "CANARY-secret-of-more-than-32-bytes"
)

// signersOf reads keys as an operator's PEM file would hold them.
func signersOf(t *testing.T, private ...crypto.PrivateKey) []*keys.Signer {
	t.Helper()
	var file []byte
	for _, key := range private {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		file = append(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	}
	signers, err := keys.ParseSigners(file)
	if err != nil {
		t.Fatal(err)
	}
	return signers
}

// verifyJWT is a provider that knows the client's published keys: it finds the key by kid
// and returns header and claims.
func verifyJWT(t *testing.T, compact string, c *Client) (header, claims object) {
	t.Helper()
	raw, err := keys.Published(c.PublicKeys())
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA})
	if err != nil {
		t.Fatalf("%q: %v", compact, err)
	}
	found := set.Key(jws.Signatures[0].Header.KeyID)
	if len(found) != 1 {
		t.Fatalf("%d published keys of kid %q", len(found), jws.Signatures[0].Header.KeyID)
	}
	payload, err := jws.Verify(found[0])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		t.Fatalf("the signature does not fit the published key: %v", err)
	}
	return jwsHeader(t, compact), claims
}

func jwsHeader(t *testing.T, compact string) (header object) {
	t.Helper()
	first, _, _ := strings.Cut(compact, ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil || json.Unmarshal(raw, &header) != nil {
		t.Fatalf("no JWS: %q", compact)
	}
	return header
}

// logged collects what a client logs.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) to(cfg *Config) {
	cfg.Logger = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// everyCall makes the four kinds of requests at which a client authenticates: PAR, code,
// refresh and revocation.
func (p *provider) everyCall(c *Client) []call {
	p.t.Helper()
	grant := p.mustSignIn(c)
	if _, err := c.Refresh(p.t.Context(), grant); err != nil {
		p.t.Fatal(err)
	}
	if err := c.Revoke(p.t.Context(), grant.Tokens.Refresh, "refresh_token"); err != nil {
		p.t.Fatal(err)
	}
	calls := slices.Concat(p.seen("/par"), p.seen("/token"), p.seen("/revoke"))
	if len(calls) != 4 {
		p.t.Fatalf("%d calls, want PAR, code, refresh and revocation", len(calls))
	}
	return calls
}

func (p *provider) requirePAR() {
	p.metadata["pushed_authorization_request_endpoint"] = issuer + "/par"
	p.metadata["require_pushed_authorization_requests"] = true
}

// TestClientAuthenticationAtEveryEndpoint: 33, 162, 186, 192: one method, wherever the
// client authenticates, and nothing of another one beside it.
func TestClientAuthenticationAtEveryEndpoint(t *testing.T) {
	t.Parallel()
	certificate := clientCertificate(t)
	const odd = "a+b/c:%=é "
	rows := []struct {
		name   string
		change func(*Config)
		header string     // Authorization
		form   url.Values // credentials; client_assertion is checked apart
	}{
		{"client_secret_basic", func(c *Config) { c.ClientAuth, c.ClientSecret = AuthBasic, keys.NewSecret(odd) },
			"Basic " + base64.StdEncoding.EncodeToString([]byte("genkan-client:a%2Bb%2Fc%3A%25%3D%C3%A9+")), url.Values{}},
		{"client_secret_basic, an odd id too", func(c *Config) { c.ClientAuth, c.ClientSecret, c.ClientID = AuthBasic, keys.NewSecret("s"), odd },
			"Basic " + base64.StdEncoding.EncodeToString([]byte("a%2Bb%2Fc%3A%25%3D%C3%A9+:s")), url.Values{}},
		{"client_secret_post", func(c *Config) { c.ClientAuth, c.ClientSecret = AuthPost, keys.NewSecret(odd) },
			"", url.Values{"client_id": {clientID}, "client_secret": {odd}}},
		{"client_secret_jwt", func(c *Config) { c.ClientAuth, c.ClientSecret = AuthSecretJWT, keys.NewSecret(longSecret) },
			"", url.Values{"client_id": {clientID}, "client_assertion_type": {jwtBearer}}},
		{"private_key_jwt", func(c *Config) { c.ClientAuth, c.Signers = AuthPrivateKeyJWT, signersOf(t, ecKey()) },
			"", url.Values{"client_id": {clientID}, "client_assertion_type": {jwtBearer}}},
		{"tls_client_auth", func(c *Config) { c.ClientAuth, c.ClientCertificate = AuthTLS, &certificate },
			"", url.Values{"client_id": {clientID}}}, // 189
		{"self_signed_tls_client_auth", func(c *Config) { c.ClientAuth, c.ClientCertificate = AuthSelfSignedTLS, &certificate },
			"", url.Values{"client_id": {clientID}}},
		{"none", func(c *Config) { c.ClientAuth, c.ClientSecret = AuthPublic, keys.Secret{} },
			"", url.Values{"client_id": {clientID}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.requirePAR()
			c := p.client(row.change)
			p.claims["aud"] = c.cfg.ClientID
			for _, call := range p.everyCall(c) {
				got := url.Values{}
				for _, name := range []string{"client_id", "client_secret", "client_assertion_type"} {
					if call.form.Has(name) && !(call.path == "/par" && name == "client_id" && row.header != "") {
						got[name] = call.form[name] // in a pushed request it is also a parameter of its own
					}
				}
				if diff := cmp.Diff(row.form, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", call.path, diff)
				}
				if sent := call.header.Get("Authorization"); sent != row.header {
					t.Errorf("%s: Authorization %q, want %q", call.path, sent, row.header)
				}
				if call.form.Has("client_assertion") != row.form.Has("client_assertion_type") || len(call.form["client_assertion"]) > 1 {
					t.Errorf("%s: %d assertions", call.path, len(call.form["client_assertion"]))
				}
				if call.method != http.MethodPost || len(call.query) != 0 || call.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
					t.Errorf("%s by %s, query %v, as %s", call.path, call.method, call.query, call.header.Get("Content-Type"))
				}
			}
		})
	}
}

// TestAssertion: 182, 183, 185, 187.
func TestAssertion(t *testing.T) {
	t.Parallel()
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name     string
		keys     []crypto.PrivateKey
		listed   any // token_endpoint_auth_signing_alg_values_supported
		audience AssertionAudience
		alg, aud string
	}{
		{"EC", []crypto.PrivateKey{ecKey()}, nil, "", "ES256", issuer},
		{"Ed25519", []crypto.PrivateKey{ed}, []string{"EdDSA"}, AudienceIssuer, "EdDSA", issuer},
		{"RSA, nothing listed", []crypto.PrivateKey{rsaKey()}, nil, "", "RS256", issuer},
		{"RSA, FAPI's algorithms listed", []crypto.PrivateKey{rsaKey()}, []string{"PS256", "ES256"}, "", "PS256", issuer},
		{"several keys, the first signs", []crypto.PrivateKey{ecKey(), rsaKey(), ed}, []string{"RS256", "EdDSA", "ES256"}, "", "ES256", issuer},
		{"the endpoint called", []crypto.PrivateKey{ecKey()}, nil, AudienceEndpoint, "ES256", issuer},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.requirePAR()
			if row.listed != nil {
				p.metadata["token_endpoint_auth_signing_alg_values_supported"] = row.listed
			}
			c := p.client(func(cfg *Config) {
				cfg.ClientAuth, cfg.Signers, cfg.AssertionAudience = AuthPrivateKeyJWT, signersOf(t, row.keys...), row.audience
			})
			used := map[string]bool{}
			for _, call := range p.everyCall(c) {
				header, claims := verifyJWT(t, call.form.Get("client_assertion"), c)
				if diff := cmp.Diff(object{"alg": row.alg, "typ": "JWT", "kid": c.PublicKeys()[0].KeyID()}, header); diff != "" {
					t.Errorf("%s: header (-want +got):\n%s", call.path, diff)
				}
				jti, _ := claims["jti"].(string)
				if used[jti] || len(jti) < 22 {
					t.Errorf("%s: jti %q is used again or short", call.path, jti)
				}
				used[jti] = true
				aud := row.aud
				if row.audience == AudienceEndpoint {
					aud += call.path
				}
				checkAssertion(t, claims, aud)
			}
		})
	}
}

// checkAssertion holds claims to RFC 7523 3 as a provider does whose clock is ten seconds
// behind or ahead of the client's.
func checkAssertion(t *testing.T, claims object, aud string) {
	t.Helper()
	date := func(name string) time.Time {
		seconds, _ := claims[name].(float64)
		return time.Unix(int64(seconds), 0)
	}
	if claims["iss"] != clientID || claims["sub"] != clientID || claims["aud"] != aud {
		t.Errorf("iss %v, sub %v, aud %v (%T)", claims["iss"], claims["sub"], claims["aud"], claims["aud"])
	}
	for _, now := range []time.Time{start.Add(-10 * time.Second), start, start.Add(10 * time.Second)} {
		if !date("exp").After(now) {
			t.Errorf("exp is %v at %v", date("exp"), now)
		}
		if _, there := claims["nbf"]; there && date("nbf").After(now) {
			t.Errorf("nbf is %v at %v", date("nbf"), now)
		}
	}
	if !date("iat").Equal(start) || date("exp").Sub(date("iat")) > 5*time.Minute {
		t.Errorf("iat is %v, exp %v", date("iat"), date("exp"))
	}
	extra := maps.Clone(claims)
	for _, name := range []string{"iss", "sub", "aud", "jti", "iat", "nbf", "exp"} {
		delete(extra, name)
	}
	if len(extra) > 0 {
		t.Errorf("it also says %v", extra)
	}
}

func TestSecretJWT(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(func(cfg *Config) { cfg.ClientAuth, cfg.ClientSecret = AuthSecretJWT, keys.NewSecret(longSecret) })
	p.mustSignIn(c)
	compact := p.seen("/token")[0].form.Get("client_assertion")
	jws, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := jws.Verify([]byte(longSecret))
	var claims object
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(object{"alg": "HS256", "typ": "JWT"}, jwsHeader(t, compact)); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	checkAssertion(t, claims, issuer)
}

// TestRefusedClientIsNotTriedAgain: 33: what the provider refuses is never sent by another
// method.
func TestRefusedClientIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	certificate := clientCertificate(t)
	for _, method := range []AuthMethod{AuthAuto, AuthBasic, AuthPost, AuthSecretJWT, AuthPrivateKeyJWT, AuthTLS, AuthSelfSignedTLS} {
		t.Run(string(method), func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			var log logged
			c := p.client(log.to, func(cfg *Config) {
				cfg.ClientAuth, cfg.ClientSecret, cfg.Signers, cfg.ClientCertificate = method, keys.NewSecret(longSecret), signersOf(t, ecKey()), &certificate
				if method == AuthAuto { // which takes nothing beside a secret
					cfg.Signers, cfg.ClientCertificate = nil, nil
				}
			})
			grant := p.mustSignIn(c)
			refuse := func(w http.ResponseWriter, r *http.Request) {
				quoted := longSecret
				if sent := p.seen(r.URL.Path)[p.count(r.URL.Path)-1].form; sent.Has("client_assertion") {
					quoted = sent.Get("client_assertion")
				}
				w.Header().Set("WWW-Authenticate", "Basic")
				reply(w, 401, object{"error": "invalid_client", "error_description": "refused: " + quoted})
			}
			p.answers("/token", refuse)
			p.answers("/revoke", refuse)
			_, err := p.signIn(c)
			wantError(t, err, Misconfigured, "client_refused", "invalid_client")
			_, err = c.Refresh(t.Context(), grant)
			wantError(t, err, Misconfigured, "client_refused", "invalid_client")
			wantError(t, c.Revoke(t.Context(), grant.Tokens.Refresh, "refresh_token"), Misconfigured, "client_refused", "invalid_client")
			if p.count("/token") != 3 || p.count("/revoke") != 1 {
				t.Errorf("%d token requests and %d revocations, want 3 and 1", p.count("/token"), p.count("/revoke"))
			}
			for _, secret := range []string{"CANARY", "eyJ", "refresh-1", "access-1"} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("the log tells %q", secret)
				}
			}
		})
	}
}

// TestAlgorithmThatTheProviderDoesNotTake: found out at discovery, not by the first user.
func TestAlgorithmThatTheProviderDoesNotTake(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.metadata["token_endpoint_auth_signing_alg_values_supported"] = []string{"ES256"}
	c := p.client(func(cfg *Config) { cfg.ClientAuth, cfg.Signers = AuthPrivateKeyJWT, signersOf(t, rsaKey()) })
	wantError(t, c.Warm(t.Context()), Misconfigured, "provider_metadata", "metadata")
}
