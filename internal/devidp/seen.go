package devidp

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Seen is a request that arrived, with what was found out about its sender.
type Seen struct {
	Method, Path string
	Query, Form  url.Values // nil when larger than 64 KiB
	Headers      []string   // their names, sorted
	// Status of the answer, when that is JSON and no Fault.Answer made it; Error is its
	// OAuth error code.
	Status int
	Error  string
	// Client and AuthMethod are set when the client has authenticated.
	Client, AuthMethod string
	// Assertion, RequestObject and Proof are set when they could be read, good or not.
	Assertion, RequestObject *SeenJWT
	Proof                    *SeenProof
	Certificate              string // x5t#S256 of the client's
}

// SeenJWT is a JWT that a client sent. A header jwk is left out.
type SeenJWT struct{ Header, Claims map[string]any }

// SeenProof is a DPoP proof.
type SeenProof struct {
	SeenJWT
	Thumbprint string // of its key (RFC 7638)
	// NonceAge is how many nonces the server had given since this proof's, 0 for the
	// newest. It is -1 when the nonce is not good, or none is demanded.
	NonceAge int
}

const (
	maxSeen     = 1000
	maxSeenForm = 64 << 10
)

type seenKey struct{}

// Seen returns the last 1,000 requests, the oldest first, without those of pages.
func (p *Provider) Seen() []Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	return seenCopies(p.seen)
}

// seenCopies may share what see's callers never change after they have set it.
func seenCopies(all []*Seen) []Seen {
	var out []Seen
	for _, s := range all {
		out = append(out, *s)
	}
	return out
}

// newSeen takes down r, whose form is parsed.
func newSeen(r *http.Request) *Seen {
	s := &Seen{Method: r.Method, Path: r.URL.Path, Headers: slices.Sorted(maps.Keys(r.Header))}
	size := len(r.URL.RawQuery)
	for name, values := range r.PostForm {
		size += len(name) + len(strings.Join(values, ""))
	}
	if size <= maxSeenForm {
		s.Query, s.Form = r.URL.Query(), r.PostForm
	}
	return s
}

// look takes r down and makes it carry the note along for see.
func (p *Provider) look(r *http.Request) *http.Request {
	if r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/assets/") {
		return r
	}
	s := newSeen(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, s)
	p.seen = slices.Clone(p.seen[max(0, len(p.seen)-maxSeen):])
	return r.WithContext(context.WithValue(r.Context(), seenKey{}, s))
}

// see adds to the note about r.
func (p *Provider) see(r *http.Request, add func(*Seen)) {
	if s, ok := r.Context().Value(seenKey{}).(*Seen); ok {
		p.mu.Lock()
		defer p.mu.Unlock()
		add(s)
	}
}
