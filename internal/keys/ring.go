package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// KeySize is the length of a session key in bytes (AES-256).
const KeySize = 32

// Errors of Parse and Open. A caller treats every Open error as "not ours".
var (
	ErrKey       = errors.New("not 32 bytes in base64")
	ErrWeakKey   = errors.New("the bytes are not random")
	ErrDuplicate = errors.New("this key stands in the list twice")
	ErrSealed    = errors.New("keys: sealed value cannot be opened")
)

const (
	version   = 1
	idSize    = 4
	nonceSize = 12 // cipher.NewGCMWithRandomNonce
	tagSize   = 16
	// Overhead is how many bytes longer a sealed value is than the plain one.
	Overhead = 1 + idSize + nonceSize + tagSize
)

// Ring is an ordered list of keys: the first seals, all open. It is immutable
// and safe for concurrent use.
type Ring struct{ keys []*ringKey }

type ringKey struct {
	id    [idSize]byte
	raw   Secret   // so that a Ring in a log line shows no key
	aeads sync.Map // purpose → cipher.AEAD; purposes are constants of the program
}

// Generate returns a new random key in base64, fit for session.keys.
func Generate() string {
	raw := make([]byte, KeySize)
	_, _ = rand.Read(raw) // never fails, crypto/rand since Go 1.24
	return base64.StdEncoding.EncodeToString(raw)
}

// KeyError says which of the listed keys is wrong, counted from 0, never its value.
type KeyError struct {
	Index int
	Err   error // ErrKey, ErrWeakKey or ErrDuplicate
}

func (e *KeyError) Error() string { return fmt.Sprintf("key %d: %v", e.Index+1, e.Err) }
func (e *KeyError) Unwrap() error { return e.Err }

// Parse builds a ring from base64 keys, newest first. An empty list is an error.
// Every wrong key is reported, joined, each as a *KeyError.
func Parse(encoded []Secret) (*Ring, error) {
	if len(encoded) == 0 {
		return nil, &KeyError{0, ErrKey}
	}
	ring := &Ring{}
	seen := map[[idSize]byte]bool{}
	var errs []error
	for i, text := range encoded {
		raw, err := decodeKey(text.Reveal())
		if err != nil {
			errs = append(errs, &KeyError{i, err})
			continue
		}
		key := &ringKey{raw: NewSecret(string(raw))}
		sum := sha256.Sum256(append([]byte("genkan key id\x00"), raw...))
		copy(key.id[:], sum[:])
		if seen[key.id] {
			errs = append(errs, &KeyError{i, ErrDuplicate})
			continue
		}
		seen[key.id] = true
		ring.keys = append(ring.keys, key)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return ring, nil
}

// decodeKey accepts standard and URL-safe base64, padded or not.
func decodeKey(text string) ([]byte, error) {
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		raw, err := enc.DecodeString(text)
		if err != nil || len(raw) != KeySize {
			continue
		}
		if weak(raw) {
			return nil, ErrWeakKey
		}
		return raw, nil
	}
	return nil, ErrKey
}

// weak finds keys that somebody typed or counted out: few different bytes, few
// different steps from byte to byte, or nothing but printable ASCII. Random bytes
// are refused with a probability below 10^-13.
func weak(raw []byte) bool {
	steps := make([]byte, 0, KeySize)
	for i := range raw[1:] {
		steps = append(steps, raw[i+1]-raw[i])
	}
	binary := func(b byte) bool { return b < ' ' || b > '~' }
	return distinct(raw) < 16 || distinct(steps) < 16 || !slices.ContainsFunc(raw, binary)
}

func distinct(raw []byte) int {
	var seen [256]bool
	n := 0
	for _, b := range raw {
		if !seen[b] {
			seen[b] = true
			n++
		}
	}
	return n
}

// Seal encrypts plain with the newest key. purpose separates uses ("session
// cookie"); bind names the place the value belongs to (a row, a cookie name): Open
// with another purpose or bind fails. A purpose is a constant of the program.
func (r *Ring) Seal(purpose, bind string, plain []byte) []byte {
	key := r.keys[0]
	out := make([]byte, 0, len(plain)+Overhead)
	out = append(out, version)
	out = append(out, key.id[:]...)
	return key.aead(purpose).Seal(out, nil, plain, associated(out, bind))
}

// Open decrypts what Seal made with any key of the ring, else ErrSealed. stale
// reports that an older key sealed it, so that the caller can seal it anew.
func (r *Ring) Open(purpose, bind string, sealed []byte) (plain []byte, stale bool, err error) {
	if len(sealed) < Overhead || sealed[0] != version {
		return nil, false, ErrSealed
	}
	header := sealed[:1+idSize]
	for i, key := range r.keys {
		if string(key.id[:]) != string(header[1:]) {
			continue
		}
		plain, err := key.aead(purpose).Open(nil, nil, sealed[len(header):], associated(header, bind))
		if err != nil {
			return nil, false, ErrSealed
		}
		return plain, i > 0, nil
	}
	return nil, false, ErrSealed
}

// SealText is Seal in unpadded base64url, for cookies and parameters.
func (r *Ring) SealText(purpose, bind string, plain []byte) string {
	return base64.RawURLEncoding.EncodeToString(r.Seal(purpose, bind, plain))
}

// OpenText opens what SealText made. Decoding is strict, so that no two texts
// open to the same value.
func (r *Ring) OpenText(purpose, bind, text string) (plain []byte, stale bool, err error) {
	if strings.ContainsAny(text, "\r\n") { // which encoding/base64 skips even when strict
		return nil, false, ErrSealed
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, false, ErrSealed
	}
	return r.Open(purpose, bind, sealed)
}

func associated(header []byte, bind string) []byte {
	return append(append([]byte(nil), header...), bind...)
}

// aead derives the key for purpose once: the derivation costs as much as sealing a
// whole session does.
func (k *ringKey) aead(purpose string) cipher.AEAD {
	if cached, ok := k.aeads.Load(purpose); ok {
		return cached.(cipher.AEAD)
	}
	derived, err := hkdf.Key(sha256.New, []byte(k.raw.Reveal()), nil, "genkan "+purpose, KeySize)
	if err != nil {
		panic(err) // only for a length over 255 hashes
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		panic(err) // only for a wrong key size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for a block that is not AES
	}
	k.aeads.Store(purpose, aead)
	return aead
}
