package devidp

import (
	"cmp"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"time"
)

// userClaims is what the scopes give of u (OpenID Connect Core 5.4, and groups).
func userClaims(u User, scopes []string) map[string]any {
	claims := map[string]any{}
	for _, scope := range scopes {
		switch scope {
		case "profile":
			maps.Copy(claims, u.Claims)
			claims["name"], claims["preferred_username"] = u.Name, u.Username
		case "email":
			claims["email"], claims["email_verified"] = u.Email, u.EmailVerified
		case "groups":
			claims["groups"] = u.Groups
		}
	}
	return claims
}

// issueTokens makes the token response (OpenID Connect Core 3.1.3.3 and 12.2).
func (p *Provider) issueTokens(out issue) (map[string]any, error) {
	g := out.grant
	lifetime := p.accessLifetime(g)
	access, err := p.accessToken(&out, lifetime)
	if err != nil {
		return nil, err
	}
	body := map[string]any{
		"access_token": access, "token_type": out.bound.tokenType(), "expires_in": int(lifetime / time.Second),
		"scope": strings.Join(out.scopes, " "),
	}
	if out.refresh != "" {
		body["refresh_token"] = out.refresh
	}
	if out.by == grantExchange {
		body["issued_token_type"] = out.kind
	}
	id := ""
	if out.signedIn() && slices.Contains(out.scopes, "openid") {
		if id, err = p.idToken(out, access); err != nil {
			return nil, err
		}
		body["id_token"] = id
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accesses.put(access, out, lifetime)
	p.note(access, out.refresh, id)
	if out.signedIn() {
		p.participate(g)
	}
	return body, nil
}

func (p *Provider) accessLifetime(g *grant) time.Duration {
	if g.access > 0 {
		return g.access
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.access
}

// accessToken is a JWT by RFC 9068 2, or a random text. Either way its claims, as the
// faults leave them, are kept in out.
func (p *Provider) accessToken(out *issue, lifetime time.Duration) (string, error) {
	now := p.cfg.Now()
	token := p.newJWT("at+jwt", p.idTokenAlg(out.grant.client), map[string]any{
		"iss": p.Issuer(), "sub": out.grant.user.Subject, "aud": oneOrList(out.audience), "client_id": out.grant.client,
		"scope": strings.Join(out.scopes, " "), "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(lifetime).Unix(),
	})
	if out.bound != (binding{}) {
		token.Claims["cnf"] = out.bound
	}
	maps.Copy(token.Claims, out.grant.authorization())
	token.grant = out.grant
	for _, f := range p.take(func(f *Fault) bool { return f.AccessToken != nil && f.covers(out.by) }) {
		f.AccessToken(token)
	}
	out.claims = token.Claims
	if client, _ := p.client(out.grant.client); client.OpaqueAccessTokens && out.kind != typeJWT {
		return "opaque-" + rand.Text(), nil
	}
	return token.token()
}

// authorization is what an access token says of the sign-in and the user (RFC 9068 2.2.1,
// 2.2.3.1), as far as there is something to say.
func (g *grant) authorization() map[string]any {
	claims := map[string]any{}
	if slices.Contains(g.scopes, "profile") {
		maps.Copy(claims, g.user.Claims)
	}
	if !g.authTime.IsZero() {
		claims["auth_time"], claims["acr"] = g.authTime.Unix(), g.acr
	}
	if slices.Contains(g.scopes, "groups") {
		claims["groups"] = g.user.Groups
		if g.user.Roles != nil {
			claims["roles"] = g.user.Roles
		}
	}
	return claims
}

// idToken is OpenID Connect Core 2 and 3.1.3.6. A refresh gives no nonce (12.2).
func (p *Provider) idToken(out issue, access string) (string, error) {
	g, now, alg := out.grant, p.cfg.Now(), p.idTokenAlg(out.grant.client)
	claims := map[string]any{
		"iss": p.Issuer(), "sub": g.user.Subject, "aud": g.client, "sid": g.sid, "acr": g.acr, "amr": g.amr,
		"iat": now.Unix(), "exp": now.Add(p.cfg.IDLifetime).Unix(), "auth_time": g.authTime.Unix(),
		"at_hash": halfHash(alg, access),
	}
	if out.nonce != "" {
		claims["nonce"] = out.nonce
	}
	if !p.cfg.ThinIDToken {
		maps.Copy(claims, userClaims(g.user, out.scopes))
	}
	maps.Copy(claims, wishedClaims(g.user, g.idClaims))
	token := p.newJWT("JWT", alg, claims)
	token.grant = g
	for _, f := range p.take(func(f *Fault) bool { return f.IDToken != nil && f.covers(out.by) }) {
		f.IDToken(token)
	}
	return token.token()
}

// idTokenAlg is what the client's ID, access and logout tokens are signed with.
func (p *Provider) idTokenAlg(id string) string {
	client, _ := p.client(id)
	return cmp.Or(client.IDTokenAlg, algorithms()[0])
}
