package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"genkan/internal/rp"
)

// served fails when the relying party refuses what was found sound.
func served(t *testing.T, c *Config) {
	t.Helper()
	if c == nil {
		return
	}
	for _, p := range c.Providers {
		if _, err := rp.New(p); err != nil {
			t.Errorf("the settings were found sound, and serve refuses them: %v", err)
		}
	}
}

// privateKey is a key in PEM.
func privateKey(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// TestWhatTheClientRefusesIsReported: by `genkan config check`, and not first by serve.
func TestWhatTheClientRefusesIsReported(t *testing.T) {
	t.Parallel()
	const byKey = "private_key_file: key.pem, client_auth: private_key_jwt, "
	rows := []struct{ name, keys, key, says string }{
		{"sound, by secret", "client_secret: y", "", ""},
		{"sound, by key", byKey + "jar: on, authorize_params: {audience: x, prompt: login consent}", "", ""},
		{"sound, a secret with a key for jar", "client_secret: y, client_auth: client_secret_basic, private_key_file: key.pem, jar: on", "", ""},
		{"sound, names that are claims of request objects", "client_secret: y, authorize_params: {sub: x, iss: x}", "", ""},

		{"none with a key", "client_auth: none, private_key_file: key.pem", "client_auth", "it is none, but there is a private key"},
		{"none with a key for jar", "client_auth: none, jar: on, private_key_file: key.pem", "client_auth", "it is none, but there is a private key"},
		{"none with a secret", "client_auth: none, client_secret: canary", "client_auth", "it is none, but there is a client_secret"},
		{"a secret beside a key", "client_secret: canary, private_key_file: key.pem", "client_auth", "it is auto, and there is a client_secret beside"},
		{"jar without a key", "client_secret: y, jar: on", "jar", "no key to sign with"},
		{"a key that is missing", "client_auth: private_key_jwt", "private_key", "it is missing"},
		{"a certificate that is missing", byKey + "client_auth: tls_client_auth", "client_cert_file", "it is missing"},
		{"a secret too short to sign with", "client_auth: client_secret_jwt, client_secret: canary-of-31-bytes-............", "client_secret", "it has under 32 bytes"},

		{"the secret in the address", "client_secret: y, authorize_params: {client_secret: canary}", "authorize_params", `"client_secret" is set by Genkan itself`},
		{"an assertion in the address", "client_secret: y, authorize_params: {client_assertion: canary}", "authorize_params", `"client_assertion" is set by Genkan itself`},
		{"dpop_jkt", "client_secret: y, authorize_params: {dpop_jkt: canary}", "authorize_params", `"dpop_jkt" is set by Genkan itself`},
		{"sub of a request object", byKey + "jar: on, authorize_params: {sub: canary}", "authorize_params", `"sub" is set by Genkan itself`},
		{"iss of a request object", byKey + "jar: on, authorize_params: {iss: canary}", "authorize_params", `"iss" is set by Genkan itself`},
		{"claims that are no JSON", "client_secret: y, authorize_params: {claims: '{canary'}", "authorize_params", "claims is not a JSON object"},
		{"claims for a third", "client_secret: y, authorize_params: {claims: '{\"canary\":{}}'}", "authorize_params", "claims holds another member"},
		{"prompt that nobody knows", "client_secret: y, authorize_params: {prompt: canary}", "authorize_params", "prompt cannot be used"},

		{"resource with a fragment", "client_secret: y, resource: ['https://a.example/#b']", "resource", `"https://a.example/#b" is not an absolute URI without fragment`},
		{"resource that is a path", "client_secret: y, resource: [/a]", "resource", `"/a" is not an absolute URI`},
		{"resource of other letters", "client_secret: y, resource: ['https://a.example/é']", "resource", "is not an absolute URI"},
		{"an empty audience", "client_secret: y, trusted_audiences: ['']", "trusted_audiences", "it holds an empty value"},
		{"acr with a blank", "client_secret: y, acr_values: ['a b']", "acr_values", `"a b" is not one word`},
		{"issuer on a name below localhost", "client_secret: y, issuer: 'http://a.localhost'", "issuer", "is plain http"},
		{"issuer of revocations on http", "client_secret: y, revocation_issuer: 'http://a.example'", "revocation_issuer", "is plain http"},
		{"issuer of a port alone", "client_secret: y, issuer: 'https://:443'", "issuer", "is not an https URL"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(row.keys, " issuer:") {
				row.keys += ", issuer: 'https://idp.example'"
			}
			if strings.Count(row.keys, "client_auth:") > 1 {
				row.keys = strings.Replace(row.keys, "client_auth: private_key_jwt, ", "", 1)
			}
			src := Sources{Dir: folder(t, map[string]string{
				"key.pem": privateKey(t), "config/genkan.yaml": "providers:\n- {id: a, client_id: x, " + row.keys + "}\n",
			}), Environ: sound[:1]}
			if row.key == "" {
				served(t, mustLoad(t, src))
				return
			}
			c, found := Load(src)
			if c != nil || len(found) != 1 || found[0].Code != "GK201" || !strings.HasPrefix(found[0].Where, "providers[0]."+row.key) || !strings.Contains(found[0].Detail, row.says) {
				t.Fatalf("findings:\n%v\nwant one at %s with %q", found, row.key, row.says)
			}
			if strings.Contains(found[0].Error()+found[0].Fix, "canary") {
				t.Errorf("a secret is in %v", found[0])
			}
			values, _ := Effective(src)
			for _, v := range values {
				if strings.Contains(v.Text, "canary") {
					t.Errorf("%s is printed as %s", v.Key, v.Text)
				}
			}
		})
	}
}

// FuzzAuthorizeParams: a parameter that Load takes is one that the relying party takes.
func FuzzAuthorizeParams(f *testing.F) {
	for _, name := range []string{
		"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
		"max_age", "acr_values", "resource", "dpop_jkt", "request", "request_uri", "client_secret", "client_assertion", "client_assertion_type",
		"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "prompt", "claims", "audience", "idp", "",
	} {
		f.Add(name, "x", false)
		f.Add(name, "none", true)
	}
	f.Add("prompt", "consent login login", false)
	f.Add("claims", `{"id_token":{"acr":{"essential":true,"value":1}}}`, false)
	key := privateKey(f)
	f.Fuzz(func(t *testing.T, name, text string, jar bool) {
		params, err := json.Marshal(map[string]string{name: text})
		if err != nil {
			t.Fatal(err)
		}
		dir, signed := t.TempDir(), "off"
		if jar {
			signed = "on"
		}
		yaml := "providers:\n- {id: a, issuer: 'https://idp.example', client_id: x, client_auth: private_key_jwt, private_key_file: key.pem, jar: " + signed + ", authorize_params: " + string(params) + "}\n"
		for file, content := range map[string]string{"key.pem": key, "f": yaml} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, found := Load(Sources{Dir: dir, Files: []string{"f"}, Environ: sound[:1]})
		orderly(t, found)
		served(t, c)
	})
}

// TestLogoutTokensExpireUnlessSaidOtherwise: the setting is the opposite of its field.
func TestLogoutTokensExpireUnlessSaidOtherwise(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]bool{"": false, ", backchannel_require_exp: true": false, ", backchannel_require_exp: false": true} {
		p := mustLoad(t, byPreset(t, "generic", "name: x"+keys)).Providers[0]
		if p.LogoutTokenNoExp != want || p.LogoutTokenType {
			t.Errorf("%q: without exp %v, want %v; type %v, want false", keys, p.LogoutTokenNoExp, want, p.LogoutTokenType)
		}
	}
}

// TestAccessTokensOfPrograms: RFC 9068 holds unless said otherwise, and no setting allows what
// cannot be allowed.
func TestAccessTokensOfPrograms(t *testing.T) {
	t.Parallel()
	rows := []struct {
		keys string
		algs []string
		any  bool
	}{
		{"", nil, false},
		{", access_token_type: at+jwt", nil, false},
		{", access_token_type: any, access_token_signing_algs: [PS256, EdDSA]", []string{"PS256", "EdDSA"}, true},
	}
	for _, row := range rows {
		p := mustLoad(t, byPreset(t, "generic", "name: x"+row.keys)).Providers[0]
		if p.AccessTokenAnyType != row.any || !slices.Equal(p.AccessTokenAlgs, row.algs) {
			t.Errorf("%q: any type %v, algorithms %v", row.keys, p.AccessTokenAnyType, p.AccessTokenAlgs)
		}
	}
	for _, keys := range []string{"access_token_type: JWT", "access_token_signing_algs: [none]", "access_token_signing_algs: HS256"} {
		_, found := Load(byPreset(t, "generic", keys))
		key, _, _ := strings.Cut(keys, ":")
		if !found.Failed() || !strings.Contains(found.Error(), key) {
			t.Errorf("%s: findings are %v", keys, found)
		}
	}
}
