package devidp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"testing"

	"genkan/internal/devidp"
)

// ecKey is a client's key, for ES256.
type ecKey struct {
	t       testing.TB
	kid     string
	private *ecdsa.PrivateKey
}

func newECKey(t testing.TB, kid string) ecKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ecKey{t, kid, private}
}

func encoded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk is the public key.
func (k ecKey) jwk() map[string]any {
	k.t.Helper()
	point, err := k.private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		k.t.Fatal(err)
	}
	jwk := map[string]any{"kty": "EC", "crv": "P-256", "x": encoded(point[1:33]), "y": encoded(point[33:])}
	if k.kid != "" {
		jwk["kid"] = k.kid
	}
	return jwk
}

// thumbprint is RFC 7638 3.
func (k ecKey) thumbprint() string {
	jwk := k.jwk()
	sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + jwk["x"].(string) + `","y":"` + jwk["y"].(string) + `"}`))
	return encoded(sum[:])
}

func jwks(keys ...ecKey) json.RawMessage {
	var set []any
	for _, k := range keys {
		set = append(set, k.jwk())
	}
	text, _ := json.Marshal(map[string]any{"keys": set})
	return text
}

func jwtInput(header, claims map[string]any) string {
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	return encoded(h) + "." + encoded(c)
}

// sign makes a JWT, whatever header says of its algorithm.
func (k ecKey) sign(header, claims map[string]any) string {
	k.t.Helper()
	input := jwtInput(header, claims)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum[:])
	if err != nil {
		k.t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + encoded(signature)
}

func signHS256(secret string, header, claims map[string]any) string {
	input := jwtInput(header, claims)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(input))
	return input + "." + encoded(mac.Sum(nil))
}

// altered is m with changes; nil takes a member out.
func altered(m, changes map[string]any) map[string]any {
	m = maps.Clone(m)
	for name, value := range changes {
		if m[name] = value; value == nil {
			delete(m, name)
		}
	}
	return m
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertion are the claims of a good one.
func (w *world) assertion(client string) map[string]any {
	now := w.clock.Now().Unix()
	return map[string]any{"iss": client, "sub": client, "aud": w.issuer, "jti": rand.Text(), "iat": now, "exp": now + 60}
}

// asserted is form with k's assertion for client.
func (w *world) asserted(k ecKey, client string, form url.Values) url.Values {
	w.t.Helper()
	form = maps.Clone(form)
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", k.sign(map[string]any{"alg": "ES256", "kid": k.kid}, w.assertion(client)))
	return form
}

// proofClaims are those of a good DPoP proof.
func (w *world) proofClaims(method, address string) map[string]any {
	return map[string]any{"jti": rand.Text(), "htm": method, "htu": address, "iat": w.clock.Now().Unix()}
}

// proofFor is a good DPoP proof, with changes to its claims.
func (w *world) proofFor(k ecKey, method, address string, changes map[string]any) string {
	w.t.Helper()
	header := map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": ecKey{k.t, "", k.private}.jwk()}
	return k.sign(header, altered(w.proofClaims(method, address), changes))
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return encoded(sum[:])
}

// send posts form, with a DPoP proof unless that is empty.
func (w *world) send(path string, form url.Values, proof string) (answer, map[string]any) {
	w.t.Helper()
	r := w.request(http.MethodPost, path, form)
	if proof != "" {
		r.Header.Set("DPoP", proof)
	}
	a := w.do(r)
	return a, object(w.t, a.body)
}

// register is a provider that asks the person nothing and knows client besides genkan-dev.
func register(t *testing.T, c devidp.Config, client devidp.Client) *world {
	t.Helper()
	if client.RedirectURIs == nil {
		client.RedirectURIs = []string{callback}
	}
	c.AutoSignIn, c.SkipConsent = "alice", true
	c.Clients = []devidp.Client{devidp.DevClient(), client}
	return start(t, c)
}

// last is the last request that the provider saw.
func (w *world) last() devidp.Seen {
	w.t.Helper()
	seen := w.idp.Seen()
	if len(seen) == 0 {
		w.t.Fatal("nothing was seen")
	}
	return seen[len(seen)-1]
}
