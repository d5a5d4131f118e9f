package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

const (
	minRSABits = 2048 // RFC 7518 3.3
	maxSigners = 20
	// minMAC is the length of a secret for HS256 in bytes (RFC 7518 3.2).
	minMAC = 32
)

// Signer is a private key that signs JWTs. No formatting verb shows the key. It is safe
// for concurrent use.
type Signer struct {
	id    string
	algs  []string
	thumb string                 // RFC 7638, SHA-256
	cert  string                 // SHA-256 of the key's certificate, "" without one
	key   func() jose.JSONWebKey // a function, since fmt prints what fields hold
}

// NewSigner makes a key for ES256, whose id is its thumbprint.
func NewSigner() *Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // never: crypto/rand does not fail since Go 1.24
	}
	return signerOf(key)
}

func signerOf(key *ecdsa.PrivateKey) *Signer {
	s, err := newSigner(jose.JSONWebKey{Key: key})
	if err != nil {
		panic(err) // never: it is a key of a curve we know
	}
	return s
}

// Private is the key that NewSigner made, for OpenSigner: 32 bytes in base64url.
func (s *Signer) Private() (Secret, error) {
	key, ok := s.key().Key.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return Secret{}, errors.New("keys: only keys of NewSigner are kept this way")
	}
	raw, err := key.Bytes()
	if err != nil {
		return Secret{}, fmt.Errorf("keys: %w", err)
	}
	return NewSecret(base64.RawURLEncoding.EncodeToString(raw)), nil
}

// OpenSigner is the Signer that Private was called on.
func OpenSigner(private Secret) (*Signer, error) {
	raw, err := base64.RawURLEncoding.DecodeString(private.Reveal())
	if err != nil {
		return nil, errors.New("keys: not a private key in base64url")
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return nil, errors.New("keys: not a private key of P-256")
	}
	return signerOf(key), nil
}

// ParseSigners reads what an operator's file of private keys holds: PEM blocks (PKCS #8,
// PKCS #1, SEC 1), a JWK, or a JWK set (RFC 7517). A certificate beside its key in PEM, or
// x5t#S256 in a JWK, is named in the header of what the key signs, as Entra ID wants it. Keys are RSA of 2048 bits or more, EC on P-256, P-384 or P-521, or Ed25519. The
// first one is to sign, the others are to be published too. Errors show nothing of a key.
func ParseSigners(data []byte) ([]*Signer, error) {
	read := parsePEM
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' {
		read = parseJWKs
	}
	found, err := read(data)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 || len(found) > maxSigners {
		return nil, fmt.Errorf("it must hold 1 to %d private keys, as PEM or JWK", maxSigners)
	}
	var signers []*Signer
	for i, jwk := range found {
		s, err := newSigner(jwk)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if slices.ContainsFunc(signers, func(other *Signer) bool { return other.id == s.id }) {
			return nil, fmt.Errorf("key %d: its kid is that of another key", i+1)
		}
		signers = append(signers, s)
	}
	return signers, nil
}

func parsePEM(data []byte) (found []jose.JSONWebKey, err error) {
	var certificates []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return withThumbprints(found, certificates), nil
		}
		if block.Headers["DEK-Info"] != "" {
			block.Type = "ENCRYPTED PRIVATE KEY" // OpenSSL's own form, RFC 1421
		}
		var key any
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("a key is encrypted with a passphrase: decrypt it with openssl pkey")
		case "CERTIFICATE":
			if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
				certificates = append(certificates, certificate)
			}
			continue
		case "EC PARAMETERS":
			continue
		default:
			return nil, errors.New("a PEM block is no private key")
		}
		if err != nil {
			return nil, errors.New("a PEM block cannot be read as a private key")
		}
		found = append(found, jose.JSONWebKey{Key: key})
	}
}

// withThumbprints notes of each key the thumbprint of its certificate (RFC 7515 4.1.8).
func withThumbprints(found []jose.JSONWebKey, certificates []*x509.Certificate) []jose.JSONWebKey {
	for i, jwk := range found {
		key, ok := jwk.Key.(crypto.Signer)
		for _, certificate := range certificates {
			public, comparable := certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
			if ok && comparable && public.Equal(key.Public()) {
				sum := sha256.Sum256(certificate.Raw)
				found[i].CertificateThumbprintSHA256 = sum[:]
			}
		}
	}
	return found
}

func parseJWKs(data []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(data, &set) != nil {
		return nil, errors.New("it is not JSON")
	}
	if set.Keys == nil {
		set.Keys = []json.RawMessage{data}
	}
	var found []jose.JSONWebKey
	for i, raw := range set.Keys[:min(len(set.Keys), maxSigners+1)] {
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON(raw) != nil || jwk.IsPublic() {
			return nil, fmt.Errorf("key %d: it is no private key in JWK", i+1)
		}
		found = append(found, jwk)
	}
	return found, nil
}

func newSigner(jwk jose.JSONWebKey) (*Signer, error) {
	s := &Signer{id: jwk.KeyID, cert: base64.RawURLEncoding.EncodeToString(jwk.CertificateThumbprintSHA256)}
	switch key := jwk.Key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < minRSABits {
			return nil, fmt.Errorf("an RSA key must have %d bits or more", minRSABits)
		}
		s.algs = []string{"RS256", "PS256", "RS384", "PS384", "RS512", "PS512"}
	case *ecdsa.PrivateKey:
		alg := map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[key.Params().Name]
		if alg == "" {
			return nil, errors.New("its curve is not P-256, P-384 or P-521")
		}
		if !coherent(key) {
			return nil, errors.New("its public half is of another key")
		}
		s.algs = []string{alg}
	case ed25519.PrivateKey:
		s.algs = []string{"EdDSA"}
	default:
		return nil, errors.New("it is not RSA, EC or Ed25519")
	}
	switch {
	case jwk.Use != "" && jwk.Use != "sig":
		return nil, errors.New("its use is not sig")
	case jwk.Algorithm != "" && !slices.Contains(s.algs, jwk.Algorithm):
		return nil, errors.New("its alg does not fit the key")
	case jwk.Algorithm != "":
		s.algs = []string{jwk.Algorithm}
	}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, errors.New("its thumbprint cannot be computed")
	}
	s.thumb = base64.RawURLEncoding.EncodeToString(sum)
	if s.id == "" {
		s.id = s.thumb
	}
	s.key = func() jose.JSONWebKey { return jose.JSONWebKey{Key: jwk.Key} }
	return s, nil
}

// coherent reports whether x and y are those of d. A JWK tells all three, and go-jose does
// not compare them.
func coherent(key *ecdsa.PrivateKey) bool {
	raw, err := key.Bytes()
	if err != nil {
		return false
	}
	own, err := ecdsa.ParseRawPrivateKey(key.Curve, raw)
	return err == nil && own.PublicKey.Equal(&key.PublicKey)
}

// KeyID is the kid of the JWK, or the thumbprint of a key that has none.
func (s *Signer) KeyID() string { return s.id }

// Thumbprint is the key's SHA-256 thumbprint in base64url (RFC 7638), jkt in RFC 9449.
func (s *Signer) Thumbprint() string { return s.thumb }

// Alg is the algorithm to sign with for one who takes supported: the key's first that is
// in the list, its first of all where the list is empty, "" where none fits.
func (s *Signer) Alg(supported []string) string {
	for _, alg := range s.algs {
		if len(supported) == 0 || slices.Contains(supported, alg) {
			return alg
		}
	}
	return ""
}

// Sign makes a compact JWS over claims with the header members alg, kid and typ, and
// x5t#S256 where the key has a certificate.
func (s *Signer) Sign(alg, typ string, claims any) (string, error) {
	key := s.key()
	key.KeyID = s.id
	options := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	if s.cert != "" {
		options = options.WithHeader("x5t#S256", s.cert)
	}
	return sign(alg, key, options, claims)
}

// Prove is Sign with the public key itself in the header in place of a kid, as
// RFC 9449 4.2 has it.
func (s *Signer) Prove(typ string, claims any) (string, error) {
	return sign(s.algs[0], s.key(), (&jose.SignerOptions{EmbedJWK: true}).WithType(jose.ContentType(typ)), claims)
}

// SignMAC makes a compact JWS over claims with HS256 and a shared secret of 32 bytes or
// more (RFC 7518 3.2).
func SignMAC(secret Secret, claims any) (string, error) {
	if len(secret.Reveal()) < minMAC {
		return "", fmt.Errorf("keys: a secret of under %d bytes cannot sign with HS256", minMAC)
	}
	return sign("HS256", []byte(secret.Reveal()), (&jose.SignerOptions{}).WithType("JWT"), claims)
}

func sign(alg string, key any, options *jose.SignerOptions, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("keys: claims: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, options)
	if err != nil {
		return "", errors.New("keys: the key does not sign with " + alg)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", errors.New("keys: signing failed")
	}
	return jws.CompactSerialize()
}

// Published is the JWK set of the public keys of signers (RFC 7517 5), JSON. A key that
// stands there twice is listed once.
func Published(signers []*Signer) ([]byte, error) {
	set, listed := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}, map[string]bool{}
	for _, s := range signers {
		entry := s.id + " " + s.thumb // two keys may have one kid (RFC 7517 4.5)
		if listed[entry] {
			continue
		}
		listed[entry] = true
		key := s.key()
		public := key.Public()
		public.KeyID, public.Use = s.id, "sig"
		if len(s.algs) == 1 {
			public.Algorithm = s.algs[0]
		}
		set.Keys = append(set.Keys, public)
	}
	return json.Marshal(set)
}
