package keys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"strconv"

	"github.com/go-jose/go-jose/v4"
)

// Signers are the keys by which assertions are signed, one derived of each key of the
// ring by HKDF (RFC 5869), so that all who have the ring agree on them and none has to be
// kept. The first signs now: it is of the key that seals now. The others are published: the
// one that signs after a Replace is, before it does, and the ones before it are as long as
// their keys are in the ring. alg is ES256 or EdDSA; there is none for another.
func (r *Ring) Signers(alg string) []*Signer {
	if alg != "ES256" && alg != "EdDSA" {
		return nil
	}
	list := r.list.Load()
	first := list.sealing()
	signers := make([]*Signer, 1, len(list.keys))
	signers[0] = first.signer(alg)
	for _, key := range list.keys {
		if key != first {
			signers = append(signers, key.signer(alg))
		}
	}
	return signers
}

// signer derives the key for alg once.
func (k *ringKey) signer(alg string) *Signer {
	if cached, ok := k.signers.Load(alg); ok {
		return cached.(*Signer)
	}
	var made *Signer
	if alg == "EdDSA" {
		var err error
		// Any 32 bytes are a private key (RFC 8032 5.1.5).
		if made, err = newSigner(jose.JSONWebKey{Key: ed25519.NewKeyFromSeed(k.derive("genkan-assertion EdDSA"))}); err != nil {
			panic(err) // never: it is a key of a kind we know
		}
	} else {
		made = signerOf(candidate(func(n int) []byte { return k.derive("genkan-assertion ES256 " + strconv.Itoa(n)) }))
	}
	cached, _ := k.signers.LoadOrStore(alg, made)
	return cached.(*Signer)
}

// candidate is the first of 32 random bytes after the other that is a private key of
// P-256, a number from 1 to n-1. To take another one in place of reducing it modulo n gives
// every key the same chance (FIPS 186-5 A.2.2). That the first one is none happens once in
// 2^32 times.
func candidate(bytes func(n int) []byte) *ecdsa.PrivateKey {
	for n := 0; ; n++ {
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes(n)); err == nil {
			return key
		}
	}
}
