package devidp

import (
	"maps"
	"net/http"
)

// introspect is RFC 7662 2. It knows of access tokens only, and of those that the client
// got or is meant by: about any other it says no more than that it is not active.
func (p *Provider) introspect(w http.ResponseWriter, r *http.Request) {
	c, failure := p.authenticate(r)
	token := r.PostForm.Get("token")
	switch {
	case failure != nil:
	case c.method == authNone: // or anybody could try tokens out
		failure = &oauthError{"invalid_client", "the client has to authenticate"}
	case token == "":
		failure = &oauthError{"invalid_request", "token is missing"}
	}
	if failure != nil {
		p.tokenError(w, r, *failure)
		return
	}
	p.json(w, r, http.StatusOK, p.introspection(c, token))
}

func (p *Provider) introspection(c caller, token string) map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, known := p.accesses.get(token)
	if !known || out.grant.ended() || !c.concerns(out) {
		return map[string]any{"active": false}
	}
	found := maps.Clone(out.claims)
	found["active"], found["token_type"] = true, out.bound.tokenType()
	if out.grant.user.Username != "" {
		found["username"] = out.grant.user.Username
	}
	return found
}
