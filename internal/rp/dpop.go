package rp

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"genkan/internal/keys"
)

const (
	// maxServers bounds how many servers' nonces are kept, and maxNonce one of them.
	maxServers = 64
	maxNonce   = 1024
)

// Nonces are the newest DPoP nonces of servers, by origin (RFC 9449 8.2). Those of
// authorization servers and those of resource servers are kept apart (section 9), in two
// of them. The zero value is ready; it is safe for concurrent use.
type Nonces struct {
	mu    sync.Mutex
	held  map[string]string
	order []string // of arrival, for the bound
}

// Of is the nonce to send to the server of u, "" before it has given one.
func (n *Nonces) Of(u *url.URL) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held[origin(u)]
}

// Keep takes the nonce of an answer of the server of u, if there is one in its header, and
// returns it when it is another one than sent: with that the request may go once more.
func (n *Nonces) Keep(u *url.URL, header http.Header, sent string) (fresh string) {
	nonce := header.Get("DPoP-Nonce")
	if nonce == "" || len(nonce) > maxNonce || !headerSafe(nonce) {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	server := origin(u)
	if _, known := n.held[server]; !known {
		if len(n.order) == maxServers {
			delete(n.held, n.order[0])
			n.order = n.order[1:]
		}
		n.order = append(n.order, server)
	}
	if n.held == nil {
		n.held = map[string]string{}
	}
	n.held[server] = nonce
	if nonce == sent {
		return ""
	}
	return nonce
}

func origin(u *url.URL) string { return strings.ToLower(u.Scheme + "://" + u.Host) }

var dpopScheme = regexp.MustCompile(`(?i)(^|[,\s])dpop\s`)

// DemandsNonce reports whether an answer of a resource server is the challenge of RFC 9449
// 9: a new nonce has to be sent.
func DemandsNonce(status int, header http.Header) bool {
	if status != http.StatusUnauthorized {
		return false
	}
	return slices.ContainsFunc(header.Values("WWW-Authenticate"), func(challenges string) bool {
		scheme := dpopScheme.FindStringIndex(challenges) // one header may hold several challenges (RFC 9110 11.6.1)
		return scheme != nil && strings.Contains(challenges[scheme[1]:], `use_dpop_nonce`)
	})
}

const bearer = "Bearer "

// WithBearer is t with the Authorization of a bearer token made for all requests to come.
// It takes no memory: the token becomes a part of it.
func (t Tokens) WithBearer() Tokens {
	if t.Access.Empty() || !t.Key.Empty() {
		return t
	}
	whole := bearer + t.Access.Reveal()
	t.bearer, t.Access = keys.NewSecret(whole), keys.NewSecret(whole[len(bearer):])
	return t
}

// authorization is made for Access and no other token: to compare the two takes no time
// while they are one string.
func (t Tokens) authorization() string {
	whole, token := t.bearer.Reveal(), t.Access.Reveal()
	if whole == "" || whole[len(bearer):] != token {
		return bearer + token
	}
	return whole
}

// Authorize sets the headers by which req carries the access token: Bearer (RFC 6750 2.1),
// or DPoP with a proof of its own for this very request (RFC 9449 7.1). nonce may be
// empty. Whatever headers of that name were there go.
func (t Tokens) Authorize(req *http.Request, nonce string, now time.Time) error {
	delete(req.Header, "Dpop") // as net/http spells it
	if t.Key.Empty() {
		req.Header["Authorization"] = []string{t.authorization()}
		return nil
	}
	key, err := keys.OpenSigner(t.Key)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(t.Access.Reveal()))
	err = prove(req, key, proofOf{nonce: nonce, token: base64.RawURLEncoding.EncodeToString(sum[:])}, now)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "DPoP "+t.Access.Reveal())
	return nil
}

// proofOf is what a proof says beside the request.
type proofOf struct {
	nonce string
	token string // ath: the hash of the access token, "" at an authorization server
}

// prove sets the DPoP header: a proof with a new jti for every request (RFC 9449 4.2).
func prove(req *http.Request, key *keys.Signer, of proofOf, now time.Time) error {
	target := url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: req.URL.Path, RawPath: req.URL.RawPath}
	claims := map[string]any{"jti": rand.Text(), "htm": req.Method, "htu": target.String(), "iat": now.Unix()}
	if of.nonce != "" {
		claims["nonce"] = of.nonce
	}
	if of.token != "" {
		claims["ath"] = of.token
	}
	proof, err := key.Prove("dpop+jwt", claims)
	if err != nil {
		return err
	}
	req.Header.Set("DPoP", proof)
	return nil
}

// proofKey opens the key of a sign-in or a session; nil when tokens are not bound.
func proofKey(private string) (*keys.Signer, error) {
	if private == "" {
		return nil, nil
	}
	key, err := keys.OpenSigner(keys.NewSecret(private))
	if err != nil {
		return nil, errors.New("the DPoP key cannot be opened")
	}
	return key, nil
}
