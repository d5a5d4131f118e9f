package rp

import (
	"crypto"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func withJAR(t *testing.T, private ...crypto.PrivateKey) func(*Config) {
	return func(c *Config) {
		c.JAR, c.Signers = true, signersOf(t, private...)
		if !c.ClientSecret.Empty() { // the key is for requests alone
			c.ClientAuth = AuthBasic
		}
	}
}

// TestRequestObject: 168 to 171: the object says everything, for this provider and for a
// short time, and is no client assertion.
func TestRequestObject(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(withJAR(t, ecKey(), rsaKey()), func(cfg *Config) {
		cfg.Resource = []string{"https://a.example", "https://b.example/x"}
		cfg.AuthorizeParams = map[string]string{"claims": ` {"id_token":{"acr":{"essential":true}}} `, "audience": "api"}
		cfg.MaxAge = time.Minute
	})
	u, login := p.begin(c, AuthRequest{LoginHint: `quo"te`})
	if diff := cmp.Diff([]string{"client_id", "request"}, sortedNames(u.Query())); diff != "" {
		t.Fatalf("outside stand (-want +got):\n%s", diff)
	}
	if got := u.Query().Get("client_id"); got != clientID {
		t.Errorf("client_id outside is %q", got)
	}
	header, claims := verifyJWT(t, u.Query().Get("request"), c)
	if diff := cmp.Diff(object{"alg": "ES256", "typ": "oauth-authz-req+jwt", "kid": c.PublicKeys()[0].KeyID()}, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	want := object{
		"iss": clientID, "aud": issuer, "client_id": clientID, "response_type": "code", "redirect_uri": redirect,
		"scope": "openid profile email", "state": state, "nonce": login.Nonce, "code_challenge_method": "S256",
		"code_challenge": claims["code_challenge"], "login_hint": `quo"te`, "audience": "api", "max_age": 60.0,
		"claims":   object{"id_token": object{"acr": object{"essential": true}}},
		"resource": []any{"https://a.example", "https://b.example/x"},
		"jti":      claims["jti"], "iat": claims["iat"], "nbf": claims["nbf"], "exp": claims["exp"],
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if jti, _ := claims["jti"].(string); len(jti) < 22 {
		t.Errorf("jti is %q", jti)
	}
	iat, exp, nbf := claims["iat"].(float64), claims["exp"].(float64), claims["nbf"].(float64)
	if int64(iat) != start.Unix() || exp-iat <= 0 || exp-nbf > 3600 || nbf > iat-10 || nbf < iat-3600 {
		t.Errorf("iat %v, nbf %v, exp %v", iat, nbf, exp)
	}
}

func TestRequestObjectIsNewEveryTime(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(withJAR(t, ecKey()))
	seen := map[any]bool{}
	for range 5 {
		u, _ := p.begin(c, AuthRequest{})
		_, claims := verifyJWT(t, u.Query().Get("request"), c)
		if seen[claims["jti"]] || seen[claims["nonce"]] {
			t.Errorf("jti %v or nonce %v is of another sign-in", claims["jti"], claims["nonce"])
		}
		seen[claims["jti"]], seen[claims["nonce"]] = true, true
	}
}

// TestRequestObjectIsPushed: with PAR it goes to the provider, and the browser does not
// carry it.
func TestRequestObjectIsPushed(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.requirePAR()
	c := p.client(withJAR(t, ecKey()), func(cfg *Config) { cfg.ClientAuth, cfg.DPoP = AuthPrivateKeyJWT, true })
	u, _ := p.begin(c, AuthRequest{})
	if diff := cmp.Diff(url.Values{"client_id": {clientID}, "request_uri": {pushedURI(1)}}, u.Query()); diff != "" {
		t.Errorf("authorize (-want +got):\n%s", diff)
	}
	form := p.seen("/par")[0].form
	if diff := cmp.Diff([]string{"client_assertion", "client_assertion_type", "client_id", "request"}, sortedNames(form)); diff != "" {
		t.Fatalf("pushed (-want +got):\n%s", diff)
	}
	_, claims := verifyJWT(t, form.Get("request"), c)
	if jkt, _ := claims["dpop_jkt"].(string); jkt == "" || claims["redirect_uri"] != redirect {
		t.Errorf("claims are %v", claims)
	}
	for _, name := range []string{"sub", "request", "request_uri"} {
		if _, there := claims[name]; there {
			t.Errorf("170: %s stands in the object", name)
		}
	}
}

// TestRequestObjectAlgorithm: 172.
func TestRequestObjectAlgorithm(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		key    crypto.PrivateKey
		listed any
		alg    string // empty: refused
	}{
		{"EC, nothing listed", ecKey(), nil, "ES256"},
		{"RSA, nothing listed", rsaKey(), nil, "RS256"},
		{"RSA, PS256 listed", rsaKey(), []string{"ES256", "PS256"}, "PS256"},
		{"none listed first", ecKey(), []string{"none", "ES256"}, "ES256"},
		{"none listed alone", ecKey(), []string{"none"}, ""},
		{"RSA, ES256 listed alone", rsaKey(), []string{"ES256"}, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			if row.listed != nil {
				p.metadata["request_object_signing_alg_values_supported"] = row.listed
			}
			c := p.client(withJAR(t, row.key))
			if row.alg == "" {
				wantError(t, c.Warm(t.Context()), Misconfigured, "provider_metadata", "metadata")
				return
			}
			u, _ := p.begin(c, AuthRequest{})
			if header, _ := verifyJWT(t, u.Query().Get("request"), c); header["alg"] != row.alg {
				t.Errorf("alg is %v, want %s", header["alg"], row.alg)
			}
		})
	}
}

func TestNoRequestObjectUnlessAskedFor(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.metadata["request_object_signing_alg_values_supported"] = []string{"ES256"}
	u, _ := p.begin(p.client(func(cfg *Config) { cfg.ClientAuth, cfg.Signers = AuthBasic, signersOf(t, ecKey()) }), AuthRequest{})
	if u.Query().Has("request") {
		t.Error("a request object was sent")
	}
}

// TestParametersThatAreClaimsOfTheObject would undo what it says of itself.
func TestParametersThatAreClaimsOfTheObject(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"} {
		cfg := Config{ID: "a", Issuer: issuer, ClientID: "c", AuthorizeParams: map[string]string{name: "1"}}
		if _, err := New(cfg); err != nil {
			t.Errorf("%s without JAR: %v", name, err)
		}
		withJAR(t, ecKey())(&cfg)
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), `authorize_params: "`+name+`"`) {
			t.Errorf("%s with JAR: %v", name, err)
		}
	}
}
