package keys_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

func allSigners(t *testing.T) []*keys.Signer {
	t.Helper()
	signers, err := keys.ParseSigners([]byte(pkcs8(rsaKey()) + pkcs8(p256()) + pkcs8(p384()) + pkcs8(p521()) + pkcs8(edKey())))
	if err != nil {
		t.Fatal(err)
	}
	return signers
}

// TestPublished: 187, RFC 7517 4 and RFC 7518 6: no member of a private key.
func TestPublished(t *testing.T) {
	t.Parallel()
	members := map[string][]string{
		"RS256": {"e", "kid", "kty", "n", "use"}, // good for several algorithms, so none is named
		"ES256": {"alg", "crv", "kid", "kty", "use", "x", "y"},
		"ES384": {"alg", "crv", "kid", "kty", "use", "x", "y"},
		"ES512": {"alg", "crv", "kid", "kty", "use", "x", "y"},
		"EdDSA": {"alg", "crv", "kid", "kty", "use", "x"},
	}
	signers := allSigners(t)
	signers = append(signers, signers[0]) // of a second provider
	raw, err := keys.Published(signers)
	if err != nil {
		t.Fatal(err)
	}
	tellsNothing(t, string(raw))
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(raw, &set); err != nil || len(set.Keys) != 5 {
		t.Fatalf("%v; %d keys, want 5: %s", err, len(set.Keys), raw)
	}
	for i, key := range set.Keys {
		alg := signers[i].Alg(nil)
		if diff := cmp.Diff(members[alg], slices.Sorted(maps.Keys(key))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", alg, diff)
		}
		if key["kid"] != signers[i].KeyID() || key["use"] != "sig" {
			t.Errorf("%s: kid %v, use %v", alg, key["kid"], key["use"])
		}
	}
}

func TestPublishedOfNothing(t *testing.T) {
	t.Parallel()
	if raw, err := keys.Published(nil); err != nil || string(raw) != `{"keys":[]}` {
		t.Errorf("%s, %v", raw, err)
	}
}

// TestPublishedTwoKeysOfOneKid: of two providers, whose files know nothing of each other.
func TestPublishedTwoKeysOfOneKid(t *testing.T) {
	t.Parallel()
	kid := map[string]any{"kid": "1"}
	signers := append(must(keys.ParseSigners([]byte(jwk(p256(), kid)))), must(keys.ParseSigners([]byte(jwk(rsaKey(), kid))))...)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(must(keys.Published(signers)), &set); err != nil {
		t.Fatal(err)
	}
	if n := len(set.Key("1")); n != 2 {
		t.Errorf("%d keys are published, want both", n)
	}
}

func TestSignaturesFitWhatIsPublished(t *testing.T) {
	t.Parallel()
	signers := allSigners(t)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(must(keys.Published(signers)), &set); err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		key  int
		algs []string
	}{
		{0, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}},
		{1, []string{"ES256"}}, {2, []string{"ES384"}}, {3, []string{"ES512"}}, {4, []string{"EdDSA"}},
	}
	for _, row := range rows {
		for _, alg := range row.algs {
			t.Run(alg, func(t *testing.T) {
				t.Parallel()
				s := signers[row.key]
				if got := s.Alg([]string{"none", "HS256", alg}); got != alg {
					t.Fatalf("it would sign with %q", got)
				}
				compact, err := s.Sign(alg, "a+jwt", map[string]any{"iss": "me"})
				if err != nil {
					t.Fatal(err)
				}
				jws, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
				if err != nil {
					t.Fatal(err)
				}
				found := set.Key(jws.Signatures[0].Header.KeyID)
				if len(found) != 1 {
					t.Fatalf("%d published keys of kid %q", len(found), jws.Signatures[0].Header.KeyID)
				}
				payload, err := jws.Verify(found[0])
				if err != nil || string(payload) != `{"iss":"me"}` {
					t.Errorf("payload %s, %v", payload, err)
				}
				want := map[string]any{"alg": alg, "kid": s.KeyID(), "typ": "a+jwt"}
				if diff := cmp.Diff(want, header(t, compact)); diff != "" {
					t.Errorf("header (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func header(t *testing.T, compact string) (members map[string]any) {
	t.Helper()
	first, _, _ := strings.Cut(compact, ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil || json.Unmarshal(raw, &members) != nil {
		t.Fatalf("no JWS: %q", compact)
	}
	return members
}

func TestAlgThatNobodyTakes(t *testing.T) {
	t.Parallel()
	s := must(keys.ParseSigners([]byte(pkcs8(rsaKey()))))[0]
	if got := s.Alg([]string{"ES256", "none"}); got != "" {
		t.Errorf("an RSA key would sign with %q", got)
	}
	pinned := must(keys.ParseSigners([]byte(jwk(rsaKey(), map[string]any{"alg": "PS256"}))))[0]
	if got := pinned.Alg([]string{"RS256"}); got != "" {
		t.Errorf("a key for PS256 would sign with %q", got)
	}
	for _, alg := range []string{"", "none", "HS256", "ES256", "RSA-OAEP"} {
		if _, err := s.Sign(alg, "JWT", map[string]any{}); err == nil {
			t.Errorf("an RSA key signed with %q", alg)
		}
	}
}

// TestProve: RFC 9449 4.2: the public key stands in the header, and nothing private.
func TestProve(t *testing.T) {
	t.Parallel()
	s := keys.NewSigner()
	compact, err := s.Prove("dpop+jwt", map[string]any{"jti": "1"})
	if err != nil {
		t.Fatal(err)
	}
	members := header(t, compact)
	if diff := cmp.Diff([]string{"alg", "jwk", "typ"}, slices.Sorted(maps.Keys(members))); diff != "" {
		t.Fatalf("header (-want +got):\n%s", diff)
	}
	if members["alg"] != "ES256" || members["typ"] != "dpop+jwt" {
		t.Errorf("header is %v", members)
	}
	shown, _ := members["jwk"].(map[string]any)
	if diff := cmp.Diff([]string{"crv", "kty", "x", "y"}, slices.Sorted(maps.Keys(shown))); diff != "" {
		t.Errorf("jwk (-want +got):\n%s", diff)
	}
	jws, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	public := jws.Signatures[0].Header.JSONWebKey
	if _, err := jws.Verify(public); err != nil {
		t.Error(err)
	}
	sum := must(public.Thumbprint(crypto.SHA256))
	if got := base64.RawURLEncoding.EncodeToString(sum); got != s.Thumbprint() {
		t.Errorf("the thumbprint is %q, the key's %q", s.Thumbprint(), got)
	}
}

func TestPrivateAndBack(t *testing.T) {
	t.Parallel()
	s := keys.NewSigner()
	private, err := s.Private()
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(private.Reveal()); err != nil || len(raw) != 32 {
		t.Errorf("it is %d bytes, %v", len(raw), err)
	}
	back, err := keys.OpenSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	if back.Thumbprint() != s.Thumbprint() || back.KeyID() != s.KeyID() || back.Alg(nil) != "ES256" {
		t.Errorf("back is %q for %s, want %q", back.Thumbprint(), back.Alg(nil), s.Thumbprint())
	}
	if keys.NewSigner().Thumbprint() == s.Thumbprint() {
		t.Error("two new keys are one")
	}
}

func TestOpenSignerRefuses(t *testing.T) {
	t.Parallel()
	order := must(hex.DecodeString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")) // n of P-256
	for name, private := range map[string]string{
		"nothing":      "",
		"zero":         strings.Repeat("A", 43),
		"not base64":   "CANARY CANARY",
		"31 bytes":     strings.Repeat("A", 41) + "E",
		"33 bytes":     strings.Repeat("A", 43) + "E",
		"the order":    base64.RawURLEncoding.EncodeToString(order),
		"with padding": base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)),
	} {
		_, err := keys.OpenSigner(keys.NewSecret(private))
		if err == nil {
			t.Errorf("%s was opened", name)
			continue
		}
		tellsNothing(t, err.Error())
	}
}

func TestPrivateOfAnotherKind(t *testing.T) {
	t.Parallel()
	for _, key := range []any{rsaKey(), edKey(), p384()} {
		if _, err := must(keys.ParseSigners([]byte(pkcs8(key))))[0].Private(); err == nil {
			t.Errorf("%T was given out in a form that OpenSigner does not read", key)
		}
	}
}

func TestSignerPrintsNothing(t *testing.T) {
	t.Parallel()
	for _, s := range allSigners(t) {
		shapes := map[string]any{
			"pointer": s, "slice": []*keys.Signer{s}, "value": *s, "struct": struct{ s *keys.Signer }{s}, "inside": struct{ S keys.Signer }{*s},
		}
		for name, shape := range shapes {
			var text strings.Builder
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T"} {
				fmt.Fprintf(&text, verb+"\n", shape)
			}
			slog.New(slog.NewTextHandler(&text, nil)).Info(name, "key", shape)
			slog.New(slog.NewJSONHandler(&text, nil)).Info(name, "key", shape)
			if raw, err := json.Marshal(shape); err == nil {
				text.Write(raw)
			}
			tellsNothing(t, text.String())
		}
	}
}

// TestSignMAC: RFC 7518 3.2, a key of the size of the hash at least.
func TestSignMAC(t *testing.T) {
	t.Parallel()
	long := "CANARY-" + strings.Repeat("é", 12) + "x" // 32 bytes, fewer characters
	if len(long) != 32 {
		t.Fatal(len(long))
	}
	compact, err := keys.SignMAC(keys.NewSecret(long), map[string]any{"iss": "me"})
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		t.Fatal(err)
	}
	if payload, err := jws.Verify([]byte(long)); err != nil || string(payload) != `{"iss":"me"}` {
		t.Errorf("payload %s, %v", payload, err)
	}
	if diff := cmp.Diff(map[string]any{"alg": "HS256", "typ": "JWT"}, header(t, compact)); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	for _, short := range []string{"", "CANARY", long[:31]} {
		_, err := keys.SignMAC(keys.NewSecret(short), map[string]any{})
		if err == nil {
			t.Errorf("a secret of %d bytes signed", len(short))
			continue
		}
		tellsNothing(t, err.Error())
	}
}

func TestSignerIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	for _, s := range allSigners(t) {
		for range 4 {
			group.Go(func() {
				if _, err := s.Sign(s.Alg(nil), "JWT", map[string]any{}); err != nil {
					t.Error(err)
				}
				if _, err := keys.Published([]*keys.Signer{s}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
}
