package devidp

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// The grants that no browser takes part in (RFC 6749 4.4.2, RFC 8693 2.1), and the types
// of tokens that are exchanged (RFC 8693 3).
const (
	grantClient   = "client_credentials"
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

	typeAccess = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT    = "urn:ietf:params:oauth:token-type:jwt"
)

// userScopes are known to every provider, and are about users.
func userScopes() []string { return []string{"openid", "profile", "email", "groups", "offline_access"} }

// exchange is RFC 8693 2: an access token of this provider for another one, of the same
// user, for other services and with no more scopes. There are no actor tokens here.
func (p *Provider) exchange(c caller, form url.Values, bound binding) (issue, *oauthError) {
	wanted := cmp.Or(form.Get("requested_token_type"), typeAccess)
	switch {
	case !c.TokenExchange || c.method == authNone:
		return issue{}, &oauthError{"unauthorized_client", "this client may not exchange tokens"}
	case form.Has("actor_token") || form.Has("actor_token_type"):
		return issue{}, &oauthError{"invalid_request", "actor tokens are not supported"}
	case wanted != typeAccess && wanted != typeJWT:
		return issue{}, &oauthError{"invalid_request", "requested_token_type must be that of an access token or a JWT"}
	}
	subject, failure := p.subject(c, form, bound)
	if failure != nil {
		return issue{}, failure
	}
	audience, failure := p.aim(form)
	if failure != nil {
		return issue{}, failure
	}
	scopes := subject.scopes
	if form.Has("scope") {
		scopes = strings.Fields(form.Get("scope"))
	}
	if !subset(scopes, subject.scopes) {
		return issue{}, &oauthError{"invalid_scope", "scope goes beyond that of the subject token"}
	}
	p.mu.Lock()
	g := *subject.grant
	p.mu.Unlock()
	g.client, g.root = c.ID, cmp.Or(g.root, subject.grant)
	return issue{grant: &g, scopes: scopes, bound: bound, audience: audience, by: grantExchange, kind: wanted}, nil
}

// subject finds what the subject token was issued for. Whatever is wrong with it is an
// invalid_request (RFC 8693 2.2.2).
func (p *Provider) subject(c caller, form url.Values, bound binding) (issue, *oauthError) {
	raw, kind := form.Get("subject_token"), form.Get("subject_token_type")
	p.mu.Lock()
	defer p.mu.Unlock()
	s, known := p.accesses.get(raw)
	text := ""
	switch {
	case kind != typeAccess && kind != typeJWT:
		text = "subject_token_type must be that of an access token or a JWT"
	case !known || s.grant.ended():
		text = "subject_token is not a living access token of this provider"
	case !c.concerns(s):
		text = "subject_token is of another client and for another one"
	case kind == typeJWT && strings.Count(raw, ".") != 2:
		text = "subject_token is not a JWT"
	case s.bound.JKT != "" && s.bound.JKT != bound.JKT:
		text = "subject_token is bound to a key, and the DPoP proof is not of that key"
	case s.bound.Certificate != "" && s.bound.Certificate != bound.Certificate:
		text = "subject_token is bound to a certificate, which the client did not show"
	default:
		return s, nil
	}
	return issue{}, &oauthError{"invalid_request", text}
}

// concerns tells whether an access token is the client's own, or meant for it.
func (c caller) concerns(out issue) bool {
	return out.grant.client == c.ID || slices.ContainsFunc(out.audience, func(target string) bool {
		return target == c.ID || slices.Contains(c.Audiences, target)
	})
}

// ended tells whether the grant, or the one it came from, is revoked. It needs the
// provider's lock.
func (g *grant) ended() bool { return g.revoked || g.root != nil && g.root.revoked }

// aim reads for whom a token is to be (RFC 8693 2.1, RFC 8707 2). For client credentials
// audience is no parameter of an RFC's, but products have it.
func (p *Provider) aim(form url.Values) ([]string, *oauthError) {
	if failure := checkResources(form["resource"]); failure != nil {
		return nil, failure
	}
	asked := slices.Concat(form["audience"], form["resource"])
	switch {
	case !subset(asked, append([]string{p.cfg.Audience}, p.cfg.Targets...)):
		return nil, &oauthError{"invalid_target", "audience or resource is not of a service that is known here"}
	case len(asked) == 0:
		return []string{p.cfg.Audience}, nil
	}
	slices.Sort(asked)
	return slices.Compact(asked), nil
}

// clientCredentials is RFC 6749 4.4. The token is about the client itself (RFC 9068 2.2).
func (p *Provider) clientCredentials(c caller, form url.Values, bound binding) (issue, *oauthError) {
	scopes := strings.Fields(form.Get("scope"))
	switch {
	case c.method == authNone:
		return issue{}, &oauthError{"unauthorized_client", "a public client has no credentials"}
	case !subset(scopes, p.cfg.Scopes[len(userScopes()):]):
		return issue{}, &oauthError{"invalid_scope", "scope must be of those that are not about a user"}
	}
	audience, failure := p.aim(form)
	if failure != nil {
		return issue{}, failure
	}
	g := &grant{client: c.ID, user: User{Subject: c.ID}, scopes: scopes}
	return issue{grant: g, scopes: scopes, bound: bound, audience: audience, by: grantClient}, nil
}
