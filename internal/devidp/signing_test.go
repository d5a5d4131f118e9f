package devidp_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

// with is a quick provider whose client genkan-dev is changed.
func with(t *testing.T, change func(*devidp.Client)) *world {
	t.Helper()
	client := devidp.DevClient()
	change(&client)
	return start(t, devidp.Config{AutoSignIn: "alice", SkipConsent: true, Clients: []devidp.Client{client}})
}

func TestTokensAreSignedAsTheClientRegistered(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		alg, want string
		half      func(string) []byte // of the hash, for at_hash (OpenID Connect Core 3.1.3.6)
	}{
		{"", "RS256", half256}, {"RS256", "RS256", half256}, {"RS384", "RS384", half384}, {"RS512", "RS512", half512},
		{"PS256", "PS256", half256}, {"ES256", "ES256", half256}, {"ES384", "ES384", half384}, {"EdDSA", "EdDSA", half512},
	} {
		t.Run(row.alg, func(t *testing.T) {
			t.Parallel()
			w := with(t, func(c *devidp.Client) { c.IDTokenAlg = row.alg })
			body := w.tokens()
			logout, err := w.idp.LogoutToken("genkan-dev", "the-user", "")
			if err != nil {
				t.Fatal(err)
			}
			for name, token := range map[string]any{"ID": body["id_token"], "access": body["access_token"], "logout": logout} {
				if header, _ := decode(t, token); header["alg"] != row.want || !w.verifies(token) {
					t.Errorf("%s token: alg %v, good %v", name, header["alg"], w.verifies(token))
				}
			}
			_, claims := decode(t, body["id_token"])
			if want := base64.RawURLEncoding.EncodeToString(row.half(body["access_token"].(string))); claims["at_hash"] != want {
				t.Errorf("at_hash %v, want %s", claims["at_hash"], want)
			}
			wantKind(t, "as a hint", "signed out", w.get("/logout", url.Values{"id_token_hint": {body["id_token"].(string)}}))
		})
	}
}

// RFC 7518 3.5: the salt of PS256 is 32 bytes, which Go's verification does not insist on.
func TestTheSaltOfPS256(t *testing.T) {
	t.Parallel()
	w := with(t, func(c *devidp.Client) { c.IDTokenAlg = "PS256" })
	token := w.tokens()["id_token"].(string)
	dot := strings.LastIndex(token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(token[:dot]))
	good := slices.ContainsFunc(rsaKeys(), func(key *rsa.PrivateKey) bool {
		return rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: 32}) == nil
	})
	if !good {
		t.Error("the salt has another length")
	}
}

func half256(s string) []byte { sum := sha256.Sum256([]byte(s)); return sum[:16] }
func half384(s string) []byte { sum := sha512.Sum384([]byte(s)); return sum[:24] }
func half512(s string) []byte { sum := sha512.Sum512([]byte(s)); return sum[:32] }

func TestMetadataListsTheAlgorithms(t *testing.T) {
	t.Parallel()
	w := quick(t)
	body := object(t, w.get("/.well-known/openid-configuration", nil).body)
	want := []any{"RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"}
	for _, member := range []string{"id_token_signing_alg_values_supported", "userinfo_signing_alg_values_supported"} {
		if diff := cmp.Diff(want, body[member]); diff != "" {
			t.Errorf("%s: %s", member, diff)
		}
	}
	kids := map[any]bool{}
	keys := object(t, w.get("/jwks", nil).body)["keys"].([]any)
	for i, key := range keys {
		key := key.(map[string]any)
		kids[key["kid"]] = true
		if key["alg"] != want[i] || key["use"] != "sig" || key["d"] != nil {
			t.Errorf("key %d: %v", i, key)
		}
	}
	if len(kids) != 7 {
		t.Errorf("%d kids", len(kids))
	}
}

func TestAnUnknownAlgorithmIsRefused(t *testing.T) {
	t.Parallel()
	for _, client := range []devidp.Client{{ID: "a", IDTokenAlg: "none"}, {ID: "a", UserInfoAlg: "HS256"}} {
		if _, err := devidp.New(devidp.Config{Clients: []devidp.Client{client}}); err == nil || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("%v: %v", client, err)
		}
	}
}

// A pinned algorithm is not what the provider signs with.
func TestRS256InsteadOfThePinnedAlgorithm(t *testing.T) {
	t.Parallel()
	w := with(t, func(c *devidp.Client) { c.IDTokenAlg, c.UserInfoAlg = "PS256", "PS256" })
	for _, fault := range []string{"id-alg-rs256", "logout-alg-rs256", "userinfo-jwt-alg-rs256"} {
		w.inject(fault)
	}
	body := w.tokens()
	logout, _ := w.idp.LogoutToken("genkan-dev", "the-user", "")
	r := w.request(http.MethodGet, "/userinfo", nil)
	r.Header.Set("Authorization", "Bearer "+body["access_token"].(string))
	for _, token := range []any{body["id_token"], logout, w.do(r).body} {
		if header, _ := decode(t, token); header["alg"] != "RS256" || !w.verifies(token) {
			t.Errorf("alg %v", header["alg"])
		}
	}
}

// A key in the header must be the one that signed, or the test of a client is idle.
func TestEmbeddedKeysVerify(t *testing.T) {
	t.Parallel()
	w := quick(t)
	w.inject("id-embedded-jwk")
	token := w.tokens()["id_token"]
	header, _ := decode(t, token)
	if jwks := `{"keys":[` + asText(t, header["jwk"]) + `]}`; !verifiedBy(jwks, token) || w.verifies(token) {
		t.Error("jwk is not the key that signed, or is published")
	}
	w.idp.Heal()
	w.inject("id-jku")
	token = w.tokens()["id_token"]
	if before := w.idp.Stats().Recorded["jku"]; before != 0 || !verifiedBy(w.get("/recorded/jku", nil).body, token) {
		t.Errorf("jku was called %d times, or does not have the key", before)
	}
	if got := w.idp.Stats().Recorded["jku"]; got != 1 {
		t.Errorf("jku was recorded %d times", got)
	}
}

func TestWeakAndEncryptionKeysArePublishedAndSign(t *testing.T) {
	t.Parallel()
	w := quick(t)
	for fault, kid := range map[string]string{"id-weak-rsa": "weak", "id-enc-key": "enc"} {
		w.inject(fault)
		token := w.tokens()["id_token"]
		header, _ := decode(t, token)
		if header["kid"] != kid || !w.verifies(token) { // go-jose looks at neither
			t.Errorf("%s: kid %v", fault, header["kid"])
		}
		w.idp.Heal()
	}
}
