package app_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

type object = map[string]any

// forger issues assertions as Genkan does, by keys of its own that it publishes, and ones
// with which exactly one thing is wrong.
type forger struct {
	t        *testing.T
	url      string // of the published keys
	audience string

	ec, rolled *ecdsa.PrivateKey
	ed         ed25519.PrivateKey
	rsa        *rsa.PrivateKey
	foreign    *ecdsa.PrivateKey // never published

	down      atomic.Bool
	published atomic.Pointer[[]byte]
	fetches   atomic.Int64
}

func newForger(t *testing.T, audience string) *forger {
	t.Helper()
	f := &forger{t: t, audience: audience, ec: newEC(t), rolled: newEC(t), foreign: newEC(t)}
	var err, errRSA error
	_, f.ed, err = ed25519.GenerateKey(rand.Reader)
	f.rsa, errRSA = rsa.GenerateKey(rand.Reader, 2048)
	if err != nil || errRSA != nil {
		t.Fatal(err, errRSA)
	}
	f.publish(map[string]any{"ec": f.ec, "ed": f.ed, "rsa": f.rsa})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		f.fetches.Add(1)
		if f.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write(*f.published.Load())
	}))
	t.Cleanup(server.Close)
	f.url = server.URL + "/keys"
	return f
}

func newEC(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var algOf = map[string]string{"ec": "ES256", "rolled": "ES256", "ed": "EdDSA", "rsa": "RS256"}

// publish replaces the JWKS by the public halves of these keys, by their kid.
func (f *forger) publish(private map[string]any) {
	f.t.Helper()
	var set jose.JSONWebKeySet
	for kid, key := range private {
		signer, ok := key.(crypto.Signer)
		if !ok {
			f.t.Fatalf("%s is no private key", kid)
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: signer.Public(), KeyID: kid, Algorithm: algOf[kid], Use: "sig"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		f.t.Fatal(err)
	}
	f.published.Store(&text)
}

// token is an assertion as Genkan issues it, with changes; a value of nil removes.
func (f *forger) token(key any, header, claims object) string {
	f.t.Helper()
	now := time.Now().Unix()
	wholeHeader := object{"alg": "ES256", "typ": "JWT", "kid": "ec"}
	wholeClaims := object{
		"iss": "http://localhost:8000", "aud": f.audience, "sub": exampleAlice.Sub, "iat": now, "exp": now + 60,
		"jti": rand.Text(), "sid": rand.Text(), "email": exampleAlice.Email, "email_verified": true, "groups": exampleAlice.Groups,
		"idp": "default", "auth_time": now - 100, "acr": "pwd",
	}
	for whole, changes := range map[*object]object{&wholeHeader: header, &wholeClaims: claims} {
		maps.Copy(*whole, changes)
		maps.DeleteFunc(*whole, func(_ string, value any) bool { return value == nil })
	}
	input := encode(f.t, wholeHeader) + "." + encode(f.t, wholeClaims)
	return input + "." + base64.RawURLEncoding.EncodeToString(f.signature(key, []byte(input)))
}

func encode(t *testing.T, o object) string {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// signature is that of the key's own algorithm (RFC 7518 3); a []byte is a secret.
func (f *forger) signature(key any, input []byte) []byte {
	f.t.Helper()
	sum := sha256.Sum256(input)
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			f.t.Fatal(err)
		}
		both := make([]byte, 64)
		r.FillBytes(both[:32])
		s.FillBytes(both[32:])
		return both
	case ed25519.PrivateKey:
		return ed25519.Sign(key, input)
	case *rsa.PrivateKey:
		signed, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			f.t.Fatal(err)
		}
		return signed
	case []byte:
		mac := hmac.New(sha256.New, key)
		mac.Write(input)
		return mac.Sum(nil)
	}
	return nil
}

// publicForms are the bytes of the public key that somebody could take for a secret.
func (f *forger) publicForms() map[string][]byte {
	f.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(f.ec.Public())
	jwk, errJWK := jose.JSONWebKey{Key: f.ec.Public(), KeyID: "ec", Algorithm: "ES256", Use: "sig"}.MarshalJSON()
	if err != nil || errJWK != nil {
		f.t.Fatal(err, errJWK)
	}
	return map[string][]byte{"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "DER": der, "JWK": jwk}
}

// bad is every Authorization that must be refused, by what is wrong with it.
func (f *forger) bad() map[string]string {
	f.t.Helper()
	now := time.Now().Unix()
	own := jose.JSONWebKey{Key: f.foreign.Public(), KeyID: "own", Algorithm: "ES256", Use: "sig"}
	tokens := map[string]string{
		"expired":                     f.token(f.ec, nil, object{"iat": now - 90, "exp": now - 30}),
		"an exp that is no number":    f.token(f.ec, nil, object{"exp": "tomorrow"}),
		"no exp":                      f.token(f.ec, nil, object{"exp": nil}),
		"another audience":            f.token(f.ec, nil, object{"aud": "/api/other/"}),
		"a longer audience":           f.token(f.ec, nil, object{"aud": f.audience + "x"}),
		"other audiences":             f.token(f.ec, nil, object{"aud": []string{"/api/other/", "/api/third/"}}),
		"no audience":                 f.token(f.ec, nil, object{"aud": nil}),
		"another issuer":              f.token(f.ec, nil, object{"iss": "http://localhost:8000/"}),
		"no issuer":                   f.token(f.ec, nil, object{"iss": nil}),
		"no subject":                  f.token(f.ec, nil, object{"sub": nil}),
		"another key":                 f.token(f.foreign, object{"kid": "foreign"}, nil),
		"another key of the same kid": f.token(f.foreign, nil, nil),
		"a key of another algorithm":  f.token(f.ec, object{"kid": "ed"}, nil),
		"no kid":                      f.token(f.foreign, object{"kid": nil}, nil),
		"a kid that is no text":       f.token(f.ec, object{"kid": 1}, nil),
		"a kid that is a list":        f.token(f.ec, object{"kid": []string{"ec"}}, nil),
		"a key in its own header":     f.token(f.foreign, object{"kid": "own", "jwk": own}, nil),
		"a key at its own address":    f.token(f.foreign, object{"kid": "own", "jku": "http://127.0.0.1:1/keys"}, nil),
		"alg none":                    f.token(nil, object{"alg": "none"}, nil),
		"alg none without a kid":      f.token(nil, object{"alg": "none", "kid": nil}, nil),
		"alg None":                    f.token(nil, object{"alg": "None"}, nil),
		"no alg":                      f.token(f.ec, object{"alg": nil}, nil),
		"EdDSA with an EC key":        f.token(f.ec, object{"alg": "EdDSA"}, nil),
		"RS256, by a published key":   f.token(f.rsa, object{"alg": "RS256", "kid": "rsa"}, nil),
		"an unknown critical header":  f.token(f.ec, object{"crit": []string{"x"}, "x": 1}, nil),
		"a crit that is no list":      f.token(f.ec, object{"crit": 1}, nil),
		"an access token's typ":       f.token(f.ec, object{"typ": "at+jwt"}, nil),
		"a logout token's typ":        f.token(f.ec, object{"typ": "logout+jwt"}, nil),
		"no typ":                      f.token(f.ec, object{"typ": nil}, nil),
		"an ID token, signed here":    f.token(f.ec, nil, object{"iss": "http://127.0.0.1:9000", "aud": "genkan-dev", "nonce": "n"}),
		"no JWT":                      "x",
		"three dots":                  "...",
		"bytes that are no text":      "\xff.\xfe.\xfd",
	}
	for form, secret := range f.publicForms() {
		tokens["HS256 by the public key's "+form] = f.token(secret, object{"alg": "HS256"}, nil)
	}
	parts := strings.Split(f.token(f.ec, nil, nil), ".")
	parts[1] = encode(f.t, object{"iss": "http://localhost:8000", "aud": f.audience, "sub": exampleAlice.Sub, "exp": now + 60, "groups": []string{"admins"}})
	tokens["claims changed after signing"] = strings.Join(parts, ".")
	bad := map[string]string{"nothing": "", "Basic": "Basic YWxpY2U6cGFzc3dvcmQ=", "no token": "Bearer", "no scheme": f.token(f.ec, nil, nil)}
	for name, token := range tokens {
		bad[name] = "Bearer " + token
	}
	return bad
}

// TestExamplesRefuseForgedAssertions runs every service with keys that the test holds, and
// otherwise with its own defaults.
func TestExamplesRefuseForgedAssertions(t *testing.T) {
	t.Parallel()
	for _, s := range append(exampleServices(), examplePage()) {
		t.Run(s.folder, func(t *testing.T) {
			t.Parallel()
			f := newForger(t, s.audience)
			environ := []string{"GENKAN_JWKS_URL=" + f.url}
			if s.folder == "flask-page" {
				behind := startExample(t, exampleBehindPage(), environ...)
				behind.awaitReady(t)
				environ = append(environ, "API_URL=http://"+behind.address)
			}
			e := startExample(t, s, environ...)
			e.awaitReady(t)

			f.down.Store(true)
			good := f.token(f.ec, nil, nil)
			if got := e.ask(t, s.me, "Bearer "+good); got.status != http.StatusServiceUnavailable {
				t.Errorf("without keys: HTTP %d %.300s", got.status, got.body)
			}
			f.down.Store(false)
			f.checkAccepted(t, e, good)
			f.checkAccepted(t, e, f.token(f.ed, object{"alg": "EdDSA", "kid": "ed"}, nil))
			bad := f.bad()
			for _, name := range slices.Sorted(maps.Keys(bad)) {
				t.Run(name, func(t *testing.T) { checkRefused(t, name, e.ask(t, s.me, bad[name])) })
			}
			f.checkAccepted(t, e, f.token(f.ec, nil, nil))
			if s.folder == "flask-page" {
				f.checkEscaped(t, e)
			} else {
				f.checkGroups(t, e)
			}
			f.checkRolled(t, e)
		})
	}
}

func (f *forger) checkAccepted(t *testing.T, e *runningExample, token string) {
	t.Helper()
	if got := e.ask(t, e.me, "Bearer "+token); got.status != http.StatusOK || !strings.Contains(got.body, exampleAlice.Sub) {
		t.Fatalf("a good assertion: HTTP %d, WWW-Authenticate %q, %.500s", got.status, got.challenge, got.body)
	}
}

func (f *forger) checkGroups(t *testing.T, e *runningExample) {
	t.Helper()
	for _, row := range []struct {
		name   string
		groups any
		status int
	}{
		{"in the group", []string{"staff", "admins"}, http.StatusOK},
		{"in another one", []string{"staff"}, http.StatusForbidden},
		{"in one of a similar name", []string{"admins2", "admin"}, http.StatusForbidden},
		{"in none", []string{}, http.StatusForbidden},
		{"nothing is known of groups", nil, http.StatusForbidden},
	} {
		got := e.ask(t, "/admin", "Bearer "+f.token(f.ec, nil, object{"groups": row.groups}))
		if got.status != row.status {
			t.Errorf("%s: HTTP %d %.300s, want %d", row.name, got.status, got.body, row.status)
		}
	}
	checkRefused(t, "the group's route without a token", e.ask(t, "/admin"))
}

// checkEscaped has a user with a name that is no text but markup.
func (f *forger) checkEscaped(t *testing.T, e *runningExample) {
	t.Helper()
	got := e.ask(t, e.me, "Bearer "+f.token(f.ec, nil, object{"email": "<script>alert(1)</script>"}))
	if got.status != http.StatusOK || !strings.Contains(got.body, "Hello, &lt;script&gt;") || strings.Contains(got.body, "<script>") {
		t.Errorf("HTTP %d %.500s", got.status, got.body)
	}
}

// checkRolled has the keys replaced: the new one is found, the old one is good no more, and
// unknown ones do not make the service ask again and again.
func (f *forger) checkRolled(t *testing.T, e *runningExample) {
	t.Helper()
	f.publish(map[string]any{"rolled": f.rolled})
	token := f.token(f.rolled, object{"kid": "rolled"}, nil)
	eventually(t, 30*time.Second, e.folder+" takes the new key", func() bool {
		return e.ask(t, e.me, "Bearer "+token).status == http.StatusOK
	})
	checkRefused(t, "the key that is gone", e.ask(t, e.me, "Bearer "+f.token(f.ec, nil, nil)))
	before := f.fetches.Load()
	for i := range 50 {
		checkRefused(t, "an unknown key", e.ask(t, e.me, "Bearer "+f.token(f.foreign, object{"kid": fmt.Sprint(i)}, nil)))
	}
	if fetched := f.fetches.Load() - before; fetched > 5 {
		t.Errorf("50 unknown keys made it fetch the keys %d times", fetched)
	}
}
