package keys_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"testing"
	"time"

	"genkan/internal/keys"
)

// certificateOf is a self-signed certificate of key, DER.
func certificateOf(key crypto.Signer) []byte {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	return must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
}

// RFC 7515 4.1.8. Entra ID finds the key by it.
func TestACertificateBesideItsKeyIsNamedInTheHeader(t *testing.T) {
	t.Parallel()
	own, other := newEC(elliptic.P256()), newEC(elliptic.P256())
	sum := sha256.Sum256(certificateOf(other)) // a placeholder of the right form
	der := certificateOf(own)
	right := sha256.Sum256(der)
	tests := map[string]struct {
		file string
		want any
	}{
		"after the key":         {pkcs8(own) + block("CERTIFICATE", der), base64.RawURLEncoding.EncodeToString(right[:])},
		"before the key":        {block("CERTIFICATE", der) + pkcs8(own), base64.RawURLEncoding.EncodeToString(right[:])},
		"of another key":        {pkcs8(own) + block("CERTIFICATE", certificateOf(other)), nil},
		"none":                  {pkcs8(own), nil},
		"no certificate at all": {pkcs8(own) + block("CERTIFICATE", []byte("x")), nil},
		"told by the JWK": {jwk(own, map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}),
			base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signer := must(keys.ParseSigners([]byte(tt.file)))[0]
			if got := header(t, must(signer.Sign("ES256", "JWT", map[string]any{})))["x5t#S256"]; got != tt.want {
				t.Errorf("x5t#S256 %v, want %v", got, tt.want)
			}
			if _, ok := header(t, must(signer.Prove("dpop+jwt", map[string]any{})))["x5t#S256"]; ok {
				t.Error("a proof names the certificate")
			}
		})
	}
}
