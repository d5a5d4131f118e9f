package devidp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// proofWindow is how far the iat of a proof may be off, either way.
const proofWindow = time.Minute

// keptNonces is how many nonces of a server's are good at once, so that clients who call
// in parallel do not take them from each other.
const keptNonces = 32

// nonces are those a server gave last (RFC 9449 8), guarded by its lock.
type nonces struct{ given []string }

func (n *nonces) next() string {
	n.given = append(n.given, rand.Text())
	n.given = n.given[max(0, len(n.given)-keptNonces):]
	return n.given[len(n.given)-1]
}

// age is how many were given after value, and -1 when it is not good.
func (n *nonces) age(value any) int {
	for i, given := range slices.Backward(n.given) {
		if given == value {
			return len(n.given) - 1 - i
		}
	}
	return -1
}

// binding is what an access token is bound to: its cnf claim (RFC 9449 6.1, RFC 8705 3.1).
type binding struct {
	JKT         string `json:"jkt,omitempty"`
	Certificate string `json:"x5t#S256,omitempty"`
}

// dpopChallenge is RFC 9449 7.1, without an error.
func dpopChallenge() string { return `DPoP algs="` + strings.Join(asymmetricAlgs(), " ") + `"` }

// tokenType is RFC 9449 5; a certificate changes nothing about it.
func (b binding) tokenType() string {
	if b.JKT != "" {
		return "DPoP"
	}
	return "Bearer"
}

// refuses holds a call with an access token against the token's binding. jkt is of the
// call's proof.
func (b binding) refuses(r *http.Request, scheme, jkt string) *oauthError {
	text := ""
	switch {
	case b.JKT != "" && scheme != "dpop":
		text = "the token is bound to a key and needs the scheme DPoP"
	case b.JKT == "" && scheme == "dpop":
		text = "the token is not bound to a key"
	case b.JKT != "" && b.JKT != jkt:
		text = "the token is bound to another key than the proof's"
	case b.Certificate != "" && b.Certificate != thumbprint(r):
		text = "the token is bound to a certificate, which the client has to show"
	default:
		return nil
	}
	return &oauthError{"invalid_token", text}
}

// proof is a DPoP proof whose signature is good.
type proof struct {
	*clientJWT
	jkt string
}

func invalidProof(text string) *oauthError { return &oauthError{"invalid_dpop_proof", text} }

// readProof is RFC 9449 4.3, checks 1 to 7. Without a DPoP header there is no proof.
func readProof(r *http.Request) (*proof, *oauthError) {
	headers := r.Header.Values("DPoP")
	if len(headers) == 0 {
		return nil, nil
	}
	if len(headers) > 1 {
		return nil, invalidProof("there is more than one DPoP header")
	}
	j, err := parseClientJWT(headers[0], asymmetricAlgs()...) // jose refuses a jwk that is not public
	if err != nil {
		return nil, invalidProof(err.Error())
	}
	key := j.jws.Signatures[0].Protected.JSONWebKey
	if key == nil {
		return nil, invalidProof("jwk is missing")
	}
	if k, ok := key.Key.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		return nil, invalidProof("jwk is an RSA key of less than 2048 bits")
	}
	if _, err := j.jws.Verify(key.Key); err != nil {
		return nil, invalidProof("jwk does not verify it")
	}
	if j.typ() != "dpop+jwt" {
		return nil, invalidProof("typ is not dpop+jwt")
	}
	jkt, err := jwkThumbprint(key)
	if err != nil {
		return nil, invalidProof("jwk has no thumbprint")
	}
	return &proof{j, jkt}, nil
}

// jwkThumbprint is RFC 7638 with SHA-256.
func jwkThumbprint(key *jose.JSONWebKey) (string, error) {
	sum, err := key.Thumbprint(crypto.SHA256)
	return base64url(sum), err
}

// fits is checks 8 to 12, for a request to address, with token if the call has one.
func (p *proof) fits(r *http.Request, address, token string, now time.Time) *oauthError {
	at, known, err := p.moment("iat")
	switch {
	case p.text("htm") != r.Method:
		return invalidProof("htm is not " + r.Method)
	case p.text("htu") != address:
		return invalidProof("htu is not " + address)
	case err != nil || !known:
		return invalidProof("iat is missing or not a number of seconds")
	case now.Sub(at).Abs() > proofWindow:
		return invalidProof("iat is more than a minute off")
	case p.text("jti") == "":
		return invalidProof("jti is missing")
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		if p.text("ath") != base64url(sum[:]) {
			return invalidProof("ath is not the hash of the access token")
		}
	}
	return nil
}

// offerNonce puts the next nonce on the answer, whatever that will be (RFC 9449 8.2).
func (p *Provider) offerNonce(w http.ResponseWriter, r *http.Request) {
	if set := p.nonceSet(r); set != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		w.Header().Set("DPoP-Nonce", set.next())
	}
}

// nonceSet is what a proof's nonce has to be of, nil when none is demanded.
func (p *Provider) nonceSet(r *http.Request) *nonces {
	switch {
	case !p.cfg.DPoPNonce:
		return nil
	case r.URL.Path == "/userinfo":
		return &p.rsNonces
	case r.URL.Path == "/token" || r.URL.Path == "/par":
		return &p.asNonces
	}
	return nil
}

// proof checks the DPoP proof of r and returns its key's thumbprint, empty when there is
// no proof. A proof is spent also when its nonce is refused.
func (p *Provider) proof(r *http.Request, token string) (string, *oauthError) {
	proof, failure := readProof(r)
	if failure != nil || proof == nil {
		return "", failure
	}
	set, age := p.nonceSet(r), -1
	if set != nil {
		p.mu.Lock()
		age = set.age(proof.Claims["nonce"]) - 1 // this answer's own is given already
		p.mu.Unlock()
	}
	p.see(r, func(s *Seen) { s.Proof = &SeenProof{SeenJWT{proof.Header, proof.Claims}, proof.jkt, age} })
	if failure := proof.fits(r, p.address(r), token, p.cfg.Now()); failure != nil {
		return "", failure
	}
	if !p.spend("proof "+proof.jkt, proof.text("jti"), 3*proofWindow) {
		return "", invalidProof("jti was used before")
	}
	if set != nil && age < 0 {
		return "", &oauthError{"use_dpop_nonce", "the proof needs the newest nonce of this server"}
	}
	return proof.jkt, nil
}

// address is the URL of r as its client knows it, without its query.
func (p *Provider) address(r *http.Request) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mtlsBase != "" && r.TLS != nil && strings.HasPrefix(p.mtlsBase+"/", "https://"+r.Host+"/") {
		return join(p.mtlsBase, r.URL.Path)
	}
	return join(p.issuer, r.URL.Path)
}

// bind is what a token request binds its tokens to.
func (p *Provider) bind(r *http.Request, c caller) (binding, *oauthError) {
	jkt, failure := p.proof(r, "")
	if failure == nil && jkt == "" && c.RequireDPoP {
		failure = invalidProof("this client has to send a DPoP proof") // RFC 9449 5.2
	}
	return binding{jkt, c.certificate}, failure
}

// presented reads the access token from the one place that RFC 6750 recommends, the
// header. The scheme comes in lower case.
func presented(r *http.Request) (scheme, token string) {
	scheme, token, _ = strings.Cut(r.Header.Get("Authorization"), " ")
	scheme = strings.ToLower(scheme)
	if scheme != "bearer" && scheme != "dpop" || len(r.Header.Values("Authorization")) > 1 {
		return "", ""
	}
	return scheme, token
}
