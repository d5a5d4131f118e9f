package devidp

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// Stats counts requests since the start, answered well or not.
type Stats struct {
	Discovery      int            `json:"discovery"`
	Keys           int            `json:"keys"`
	Authorize      int            `json:"authorize"`
	PAR            int            `json:"par"`
	Token          map[string]int `json:"token"` // by grant_type
	UserInfo       int            `json:"userinfo"`
	Revocations    int            `json:"revocations"`
	Introspections int            `json:"introspections"`
	Logouts        int            `json:"logouts"`
	// Recorded counts the calls of addresses that faults name and nobody may call, by the
	// last part of the address, like jku.
	Recorded map[string]int `json:"recorded"`
	// LastAuthorize and LastLogout are the parameters of the last such request.
	LastAuthorize url.Values `json:"last_authorize"`
	LastLogout    url.Values `json:"last_logout"`
}

// maxIssued bounds what Issued returns, and maxGrantTypes the kinds Stats counts.
const (
	maxIssued     = 10_000
	maxGrantTypes = 20
)

// Stats returns what has been counted so far.
func (p *Provider) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Token = maps.Clone(s.Token)
	s.Recorded = maps.Clone(s.Recorded)
	return s // the url.Values are never changed after they were stored
}

// Issued returns every access, refresh and ID token that was issued, the oldest first,
// up to the last 10,000. A test searches for them where no token may be.
func (p *Provider) Issued() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.issued)
}

// note needs the lock.
func (p *Provider) note(tokens ...string) {
	for _, token := range tokens {
		if token != "" {
			p.issued = append(p.issued, token)
		}
	}
	p.issued = p.issued[max(0, len(p.issued)-maxIssued):]
}

func (p *Provider) record(r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.stats
	switch r.URL.Path {
	case wellKnown:
		s.Discovery++
	case "/jwks":
		s.Keys++
	case "/authorize":
		if r.Method != http.MethodPost { // which becomes a GET
			s.Authorize++
			s.LastAuthorize = r.Form
		}
	case "/par":
		s.PAR++
	case "/token":
		if s.Token == nil {
			s.Token = map[string]int{}
		}
		if kind := r.PostForm.Get("grant_type"); len(s.Token) < maxGrantTypes || s.Token[kind] > 0 {
			s.Token[kind]++
		}
	case "/userinfo":
		s.UserInfo++
	case "/introspect":
		s.Introspections++
	case "/revoke":
		s.Revocations++
	case "/logout":
		s.Logouts++
		s.LastLogout = r.Form
	}
}
