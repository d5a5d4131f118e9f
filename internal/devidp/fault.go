package devidp

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Fault is one way for the provider to misbehave: a name for it, and the hooks that do
// it. A hook may be called by several requests at once.
type Fault struct {
	Name string
	// Times is how often its hooks run; 0 is without end, until Heal.
	Times int

	// At is the endpoint of Answer, Body, Header and Request, like "/token". The others
	// are /.well-known/openid-configuration, /jwks, /authorize, /par, /userinfo,
	// /introspect, /revoke, /logout.
	At string
	// Grant limits the hooks to token requests of one grant_type. Empty is all.
	Grant string
	// Answer replaces the endpoint, which then does nothing.
	Answer http.HandlerFunc
	// Body changes a JSON answer after the endpoint has done its work. If it panics with
	// http.ErrAbortHandler, the answer is lost on the way.
	Body func(map[string]any)
	// Header changes the header of an answer that is JSON or a JWT.
	Header func(http.Header)
	// Request changes a copy of the parameters of /authorize or /token before they are
	// looked at, or refuses them with an OAuth error.
	Request func(form url.Values) (code, text string)
	// Refuse answers an error of /token or /revoke in its own way; false leaves it as it
	// is.
	Refuse func(w http.ResponseWriter, r *http.Request, code string) bool

	IDToken         func(*JWT)
	AccessToken     func(*JWT)
	LogoutToken     func(*JWT)
	RevocationToken func(*JWT)       // of global token revocation
	UserInfo        func(*JWT)       // UserInfo is a JWT then, whatever the client registered
	Redirect        func(url.Values) // parameters of the authorization response

	keepRefresh bool // a refresh token is not exchanged for another one
	giveRefresh bool // a refresh token also without offline_access
	// bind gives the hooks, for those that need the provider.
	bind func(*Provider) Fault
}

// Inject adds a fault to those in force.
func (p *Provider) Inject(f Fault) {
	if f.bind != nil {
		bound := f.bind(p)
		bound.Name, bound.Times = f.Name, f.Times
		f = bound
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, &f)
}

// Heal removes every fault.
func (p *Provider) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = nil
}

// take returns the faults that applies selects, and counts them as shown once.
func (p *Provider) take(applies func(*Fault) bool) []*Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken(applies)
}

// taken is take for those that hold the lock.
func (p *Provider) taken(applies func(*Fault) bool) []*Fault {
	var hit []*Fault
	for _, f := range slices.Clone(p.faults) {
		if !applies(f) {
			continue
		}
		hit = append(hit, f)
		if f.Times == 1 {
			p.faults = slices.DeleteFunc(p.faults, func(other *Fault) bool { return other == f })
		}
		f.Times = max(0, f.Times-1)
	}
	return hit
}

// at tells whether f is about the endpoint and grant of r.
func (f *Fault) at(r *http.Request) bool {
	return f.At == r.URL.Path && (f.Grant == "" || f.Grant == r.PostForm.Get("grant_type"))
}

// covers tells whether f is about tokens that this grant_type gets.
func (f *Fault) covers(grant string) bool { return f.Grant == "" || f.Grant == grant }

// spoilHeader runs the hooks of the answer's header.
func (p *Provider) spoilHeader(w http.ResponseWriter, r *http.Request) {
	for _, f := range p.take(func(f *Fault) bool { return f.Header != nil && f.at(r) }) {
		f.Header(w.Header())
	}
}

// spoilRequest runs the hooks of the request's parameters at the endpoint and returns
// the parameters as they are to be read.
func (p *Provider) spoilRequest(at string, form url.Values) (url.Values, *oauthError) {
	hits := p.take(func(f *Fault) bool {
		return f.Request != nil && f.At == at && (f.Grant == "" || f.Grant == form.Get("grant_type"))
	})
	if len(hits) == 0 {
		return form, nil
	}
	changed := maps.Clone(form) // the form as it came is in Stats
	for _, f := range hits {
		if code, text := f.Request(changed); code != "" {
			return changed, &oauthError{code, text}
		}
	}
	return changed, nil
}

// FaultNamed returns one of the faults that FaultNames lists.
func FaultNamed(name string) (Fault, error) {
	for _, f := range allFaults() {
		if f.Name == name {
			return f, nil
		}
	}
	return Fault{}, fmt.Errorf("devidp: no fault is called %q; there are %s", name, strings.Join(FaultNames(), ", "))
}

// FaultNames lists the faults that have a name, sorted. A name begins with what is
// faulty: id- is the ID token of a sign-in, bearer- any access token, refresh- a refresh,
// exchange- a token exchange, client- a grant of client credentials, introspect-
// introspection, logout- the logout token, quirk- what a product does that is named next;
// the others are endpoints.
func FaultNames() []string {
	var names []string
	for _, f := range allFaults() {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return names
}

func allFaults() []Fault {
	return slices.Concat(
		idTokenFaults(), tokenFaults(), refreshFaults(), redirectFaults(), metadataFaults(), keyFaults(), userInfoFaults(),
		logoutTokenFaults(), quirks(), oauthFaults(),
		bearerFaults(), exchangeFaults(), grantFaults("client", grantClient), introspectionFaults(),
	)
}
