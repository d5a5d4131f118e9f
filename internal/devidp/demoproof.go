package devidp

import (
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Seen returns the last 1,000 requests to the API, the oldest first, with their DPoP
// proofs.
func (a *DemoAPI) Seen() []Seen {
	a.mu.Lock()
	defer a.mu.Unlock()
	return seenCopies(a.seen)
}

// look takes r down, and puts the next nonce on its answer.
func (a *DemoAPI) look(w http.ResponseWriter, r *http.Request) *Seen {
	note := newSeen(r)
	note.Certificate = thumbprint(r)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, note)
	a.seen = slices.Clone(a.seen[max(0, len(a.seen)-maxSeen):])
	if a.cfg.DPoPNonce {
		w.Header().Set("DPoP-Nonce", a.nonces.next())
	}
	return note
}

// proof is Provider.proof for the API, whose address is where it is called.
func (a *DemoAPI) proof(r *http.Request, token string, note *Seen) (string, *oauthError) {
	proof, failure := readProof(r)
	if failure != nil || proof == nil {
		return "", failure
	}
	address := "http://" + r.Host + r.URL.EscapedPath()
	if r.TLS != nil {
		address = "https://" + r.Host + r.URL.EscapedPath()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	age := -1
	if a.cfg.DPoPNonce {
		age = a.nonces.age(proof.Claims["nonce"]) - 1
	}
	note.Proof = &SeenProof{SeenJWT{proof.Header, proof.Claims}, proof.jkt, age}
	if failure := proof.fits(r, address, token, a.cfg.Now()); failure != nil {
		return "", failure
	}
	if !spend(a.spent, proof.jkt, proof.text("jti"), 3*proofWindow) {
		return "", invalidProof("jti was used before")
	}
	if a.cfg.DPoPNonce && age < 0 {
		return "", &oauthError{"use_dpop_nonce", "the proof needs the newest nonce of this server"}
	}
	return proof.jkt, nil
}

// accessAlgs are those that a provider of this package signs with.
func accessAlgs() []jose.SignatureAlgorithm {
	var algs []jose.SignatureAlgorithm
	for _, alg := range algorithms() {
		algs = append(algs, jose.SignatureAlgorithm(alg))
	}
	return algs
}
