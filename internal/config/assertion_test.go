package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"genkan/internal/finding"
	"genkan/internal/keys"
)

// p384Key is a key of a curve that few libraries verify with.
func p384Key(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func signingKey(t *testing.T, alg string) string {
	t.Helper()
	made, err := keys.GenerateSigning(alg)
	if err != nil {
		t.Fatal(err)
	}
	return made.Reveal()
}

func TestKeysOfAssertions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, yaml, file string
		keys             int
		alg, refused     string
	}{
		{"none: they are derived", "", "", 0, "ES256", ""},
		{"for another algorithm", "assertions: {alg: EdDSA}", "", 0, "EdDSA", ""},
		{"a file", "assertions: {private_key_file: key.pem}", signingKey(t, "EdDSA") + signingKey(t, "ES256"), 2, "ES256", ""},
		{"an algorithm that no service expects", "assertions: {alg: RS256}", "", 0, "", `"RS256" is not a value of this setting`},
		{"RSA", "assertions: {private_key_file: key.pem}", signingKey(t, "PS256"), 0, "", "key 1 signs with neither ES256 nor EdDSA"},
		{"P-384 as the second", "assertions: {private_key_file: key.pem}", signingKey(t, "ES256") + p384Key(t), 0, "", "key 2 signs with neither ES256 nor EdDSA"},
		{"no key", "assertions: {private_key_file: key.pem}", "canary", 0, "", "it must hold 1 to 20 private keys"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, map[string]string{"a.yaml": tt.yaml, "key.pem": tt.file})
			c, found := Load(Sources{Files: []string{"a.yaml"}, Environ: sound, Dir: dir})
			if tt.refused != "" {
				if len(found) != 1 || found[0].Code != finding.SettingInvalid.Code || !strings.Contains(found[0].Detail, tt.refused) || found[0].Fix == "" || strings.Contains(found.Error(), "canary") {
					t.Error(found)
				}
				return
			}
			if len(found) > 0 || len(c.Assertions.Keys) != tt.keys || c.Assertions.Alg != tt.alg {
				t.Errorf("%+v %v", c, found)
			}
		})
	}
}
