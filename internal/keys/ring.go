package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
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

// Ring is an ordered list of keys: the first seals, all open. Replace swaps the list
// under those who use it. It is safe for concurrent use.
type Ring struct{ list atomic.Pointer[keyList] }

// keyList is what a Ring holds from one Replace to the next; nothing changes it.
type keyList struct {
	keys []*ringKey
	// until then, previous seals: other replicas may not have read the first key yet.
	previous *ringKey
	until    time.Time
}

// sealing is the key that seals now.
func (l *keyList) sealing() *ringKey {
	if l.previous != nil && time.Now().Before(l.until) {
		return l.previous
	}
	return l.keys[0]
}

type ringKey struct {
	id      [idSize]byte
	raw     Secret   // so that a Ring in a log line shows no key
	aeads   sync.Map // purpose → cipher.AEAD; purposes are constants of the program
	tags    sync.Map // purpose → key of the HMAC
	signers sync.Map // algorithm → *Signer
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
	list := &keyList{}
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
		list.keys = append(list.keys, key)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	ring := &Ring{}
	ring.list.Store(list)
	return ring, nil
}

// Replace takes the keys of next in place of its own: all of them open from now on. The
// key that seals goes on sealing for sealAfter if next has it too, so that replicas that
// read the same list a little later can open what this one seals; then, or at once if
// next lacks it, the first key of next seals.
func (r *Ring) Replace(next *Ring, sealAfter time.Duration) {
	sealing := r.list.Load().sealing()
	list := &keyList{keys: next.list.Load().keys}
	for _, key := range list.keys {
		if key.id == sealing.id {
			list.previous, list.until = key, time.Now().Add(sealAfter)
		}
	}
	r.list.Store(list)
}

// IDs names the keys in their order: hexadecimal, made from a hash of the key, and no
// secret, since every sealed value shows the one that sealed it.
func (r *Ring) IDs() []string {
	var ids []string
	for _, key := range r.list.Load().keys {
		ids = append(ids, hex.EncodeToString(key.id[:]))
	}
	return ids
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
	key := r.list.Load().sealing()
	out := make([]byte, 0, len(plain)+Overhead)
	out = append(out, version)
	out = append(out, key.id[:]...)
	return key.aead(purpose).Seal(out, nil, plain, associated(out, bind))
}

// Open decrypts what Seal made with any key of the ring, else ErrSealed.
func (r *Ring) Open(purpose, bind string, sealed []byte) (plain []byte, err error) {
	if len(sealed) < Overhead || sealed[0] != version {
		return nil, ErrSealed
	}
	header := sealed[:1+idSize]
	for _, key := range r.list.Load().keys {
		if string(key.id[:]) != string(header[1:]) {
			continue
		}
		plain, err := key.aead(purpose).Open(nil, nil, sealed[len(header):], associated(header, bind))
		if err != nil {
			return nil, ErrSealed
		}
		return plain, nil
	}
	return nil, ErrSealed
}

// Tag is a keyed hash of value (HMAC-SHA-256) under the key that seals now. It finds an
// entry by a value that the place it is kept in must not know. purpose is a constant of
// the program.
func (r *Ring) Tag(purpose, value string) [sha256.Size]byte {
	return r.list.Load().sealing().tag(purpose, value)
}

// Tags are the Tag of value under every key of the ring: an entry has the one of the key
// that sealed when it was written.
func (r *Ring) Tags(purpose, value string) [][sha256.Size]byte {
	var tags [][sha256.Size]byte
	for _, key := range r.list.Load().keys {
		tags = append(tags, key.tag(purpose, value))
	}
	return tags
}

// SealText is Seal in unpadded base64url, for cookies and parameters.
func (r *Ring) SealText(purpose, bind string, plain []byte) string {
	return base64.RawURLEncoding.EncodeToString(r.Seal(purpose, bind, plain))
}

// strict is made once: it is a copy of tables.
var strict = base64.RawURLEncoding.Strict()

// OpenText opens what SealText made. Decoding is strict, so that no two texts
// open to the same value.
func (r *Ring) OpenText(purpose, bind, text string) (plain []byte, err error) {
	if strings.ContainsAny(text, "\r\n") { // which encoding/base64 skips even when strict
		return nil, ErrSealed
	}
	sealed, err := strict.DecodeString(text)
	if err != nil {
		return nil, ErrSealed
	}
	return r.Open(purpose, bind, sealed)
}

func associated(header []byte, bind string) []byte {
	return append(append(make([]byte, 0, len(header)+len(bind)), header...), bind...)
}

// aead derives the key for purpose once: the derivation costs as much as sealing a
// whole session does.
func (k *ringKey) aead(purpose string) cipher.AEAD {
	if cached, ok := k.aeads.Load(purpose); ok {
		return cached.(cipher.AEAD)
	}
	block, err := aes.NewCipher(k.derive("genkan " + purpose))
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

func (k *ringKey) tag(purpose, value string) (sum [sha256.Size]byte) {
	key, ok := k.tags.Load(purpose)
	if !ok {
		key, _ = k.tags.LoadOrStore(purpose, k.derive("genkan-tag "+purpose))
	}
	mac := hmac.New(sha256.New, key.([]byte))
	mac.Write([]byte(value))
	mac.Sum(sum[:0])
	return sum
}

func (k *ringKey) derive(info string) []byte {
	derived, err := hkdf.Key(sha256.New, []byte(k.raw.Reveal()), nil, info, KeySize)
	if err != nil {
		panic(err) // only for a length over 255 hashes
	}
	return derived
}
