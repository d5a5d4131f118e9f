package keys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// newRSABits is the size of RSA keys made here: good beyond 2030 (NIST SP 800-57).
const newRSABits = 3072

// GenerateSigning makes a private key for ES256, PS256 or EdDSA, which are what FAPI 2.0
// 5.4.1 allows, as ParseSigners reads it: a PEM block of PKCS #8, but a JWK for PS256,
// since PEM cannot say that an RSA key is not for RS256. The error says that alg is none of
// the three.
func GenerateSigning(alg string) (Secret, error) {
	var key any
	var err error
	switch alg {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "PS256":
		key, err = rsa.GenerateKey(rand.Reader, newRSABits)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		return Secret{}, errors.New("it is none of ES256, PS256 and EdDSA")
	}
	if err != nil {
		return Secret{}, fmt.Errorf("keys: %w", err)
	}
	if alg == "PS256" {
		text, err := json.Marshal(jose.JSONWebKey{Key: key, Algorithm: alg, Use: "sig"})
		if err != nil {
			return Secret{}, fmt.Errorf("keys: %w", err)
		}
		return NewSecret(string(text) + "\n"), nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Secret{}, fmt.Errorf("keys: %w", err)
	}
	return NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))), nil
}
