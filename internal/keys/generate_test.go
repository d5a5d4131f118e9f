package keys_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"genkan/internal/keys"
)

func TestASigningKeyIsOfTheKindItsAlgorithmNeeds(t *testing.T) {
	t.Parallel()
	for alg, fits := range map[string]func(key any) bool{
		"ES256": func(key any) bool {
			k, ok := key.(*ecdsa.PrivateKey)
			return ok && k.Params().Name == "P-256"
		},
		"EdDSA": func(key any) bool {
			_, ok := key.(ed25519.PrivateKey)
			return ok
		},
	} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			text, err := keys.GenerateSigning(alg)
			if err != nil {
				t.Fatal(err)
			}
			block, rest := pem.Decode([]byte(text.Reveal()))
			if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
				t.Fatalf("it is no single PEM block of PKCS #8")
			}
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil || !fits(key) {
				t.Errorf("a key of type %T: %v", key, err)
			}
			signers, err := keys.ParseSigners([]byte(text.Reveal()))
			if err != nil || len(signers) != 1 || signers[0].Alg([]string{alg}) != alg {
				t.Errorf("private_key_file cannot hold it: %v", err)
			}
			if again, _ := keys.GenerateSigning(alg); again.Reveal() == text.Reveal() {
				t.Error("twice the same key")
			}
		})
	}
	text, err := keys.GenerateSigning("PS256")
	if err != nil {
		t.Fatal(err)
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON([]byte(text.Reveal())); err != nil {
		t.Fatal(err)
	}
	if key, ok := jwk.Key.(*rsa.PrivateKey); !ok || key.N.BitLen() != 3072 {
		t.Errorf("a key of type %T", jwk.Key)
	}
	signers, err := keys.ParseSigners([]byte(text.Reveal()))
	// FAPI 2.0 5.4.1: never RS256, whatever the provider lists.
	if err != nil || signers[0].Alg(nil) != "PS256" || signers[0].Alg([]string{"RS256", "PS256"}) != "PS256" || signers[0].Alg([]string{"RS256"}) != "" {
		t.Errorf("the key signs by %s: %v", signers[0].Alg(nil), err)
	}
	for _, alg := range []string{"", "RS256", "HS256", "none", "es256"} {
		if key, err := keys.GenerateSigning(alg); err == nil || !key.Empty() {
			t.Errorf("a key for %q", alg)
		}
	}
}
