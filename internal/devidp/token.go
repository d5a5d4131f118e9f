package devidp

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// grant is one authorization and everything issued for it: the code, and the family of
// refresh tokens.
type grant struct {
	client, sid string
	user        User
	scopes      []string
	nonce, acr  string
	amr         []string
	authTime    time.Time
	redirectURI string
	challenge   string
	access      time.Duration // 0: the provider's
	resources   []string      // RFC 8707
	root        *grant        // the one this was exchanged from; nil for a sign-in's
	// Claims that were asked for by name (OpenID Connect Core 5.5).
	userInfoClaims, idClaims []string
	codeExpires              time.Time
	family                   string

	// Guarded by the provider's lock.
	redeemed, revoked bool
	refresh           string // the only refresh token of the family that is good
	jkt               string // of the DPoP key, from the request or the first tokens on
}

var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`) // RFC 7636 4.1

// token is the token endpoint (RFC 6749 3.2).
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	client, failure := p.authenticate(r)
	if failure == nil {
		r.PostForm, failure = p.spoilRequest(r.URL.Path, r.PostForm)
	}
	var bound binding
	if failure == nil {
		// Before the code is spent, since a refused nonce is no use of it.
		bound, failure = p.bind(r, client)
	}
	var out issue
	if failure == nil {
		switch r.PostForm.Get("grant_type") {
		case "authorization_code":
			out, failure = p.redeem(client.Client, r.PostForm, bound)
		case "refresh_token":
			out, failure = p.rotate(client.Client, r.PostForm, bound)
		case grantExchange:
			out, failure = p.exchange(client, r.PostForm, bound)
		case grantClient:
			out, failure = p.clientCredentials(client, r.PostForm, bound)
		default:
			failure = &oauthError{"unsupported_grant_type", "grant_type must be authorization_code, refresh_token, client_credentials or that of RFC 8693"}
		}
	}
	if failure != nil {
		p.tokenError(w, r, *failure)
		return
	}
	body, err := p.issueTokens(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	p.json(w, r, http.StatusOK, body)
}

// tokenError is RFC 6749 5.2.
func (p *Provider) tokenError(w http.ResponseWriter, r *http.Request, e oauthError) {
	status := http.StatusBadRequest
	if e.code == "invalid_client" {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Basic realm="devidp"`)
	}
	p.see(r, func(s *Seen) { s.Error = e.code })
	for _, f := range p.take(func(f *Fault) bool { return f.Refuse != nil && f.at(r) }) {
		if f.Refuse(w, r, e.code) {
			return
		}
	}
	p.json(w, r, status, map[string]any{"error": e.code, "error_description": e.text})
}

// issue is what one token request is to get.
type issue struct {
	grant    *grant
	scopes   []string
	nonce    string
	refresh  string // may be empty
	bound    binding
	audience []string
	by       string         // grant_type
	kind     string         // issued_token_type of an exchange
	claims   map[string]any // of the access token, once it is made
}

// signedIn tells whether a user at a browser stands behind it.
func (out issue) signedIn() bool { return out.by != grantExchange && out.by != grantClient }

// redeem exchanges a code, once. A second use revokes what the first one got
// (RFC 6749 4.1.2).
func (p *Provider) redeem(client Client, form url.Values, bound binding) (issue, *oauthError) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g, known := p.codes.get(form.Get("code"))
	switch {
	case !known || g.client != client.ID:
		return issue{}, invalidGrant("the code is unknown or was given to another client")
	case g.redeemed:
		g.revoked = true
		return issue{}, invalidGrant("the code was used before; what it got is revoked")
	case p.cfg.Now().After(g.codeExpires):
		return issue{}, invalidGrant("the code has expired")
	}
	g.redeemed = true // also when the rest fails: no guessing of verifiers
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	switch {
	case form.Get("redirect_uri") != g.redirectURI:
		return issue{}, invalidGrant("redirect_uri is not that of the authentication request")
	case !verifierForm.MatchString(form.Get("code_verifier")):
		return issue{}, invalidGrant("code_verifier is missing or malformed")
	case base64url(sum[:]) != g.challenge:
		return issue{}, invalidGrant("code_verifier does not fit code_challenge")
	case g.jkt != "" && g.jkt != bound.JKT: // RFC 9449 10
		return issue{}, invalidGrant("the code is bound to another DPoP key")
	}
	targets, failure := p.targets(g, form["resource"])
	if failure != nil {
		return issue{}, failure
	}
	g.jkt = bound.JKT
	out := issue{grant: g, scopes: g.scopes, nonce: g.nonce, bound: bound, audience: targets, by: form.Get("grant_type")}
	if slices.Contains(g.scopes, "offline_access") || len(p.taken(func(f *Fault) bool { return f.giveRefresh })) > 0 {
		out.refresh = p.nextRefresh(g)
	}
	return out, nil
}

// rotate exchanges a refresh token for the next one. An old one shows that two parties
// hold the family, and ends it (RFC 9700 4.14.2).
func (p *Provider) rotate(client Client, form url.Values, bound binding) (issue, *oauthError) {
	family, _, _ := strings.Cut(form.Get("refresh_token"), ".")
	p.mu.Lock()
	defer p.mu.Unlock()
	g, known := p.families.get(family)
	switch {
	case !known || g.client != client.ID:
		return issue{}, invalidGrant("the refresh token is unknown, expired or of another client")
	case g.revoked:
		return issue{}, invalidGrant("the refresh token is revoked")
	case g.jkt != "" && g.jkt != bound.JKT: // RFC 9449 5 asks it of public clients only
		return issue{}, invalidGrant("the refresh token is bound to another DPoP key")
	case g.refresh != form.Get("refresh_token"):
		g.revoked = true
		return issue{}, invalidGrant("the refresh token was used before; its whole family is revoked")
	}
	scopes := g.scopes
	if form.Has("scope") {
		scopes = strings.Fields(form.Get("scope"))
	}
	if !subset(scopes, g.scopes) {
		return issue{}, &oauthError{"invalid_scope", "scope goes beyond what was granted"}
	}
	targets, failure := p.targets(g, form["resource"])
	if failure != nil {
		return issue{}, failure
	}
	g.jkt = bound.JKT
	return issue{grant: g, scopes: scopes, refresh: p.nextRefresh(g), bound: bound, audience: targets, by: form.Get("grant_type")}, nil
}

// nextRefresh needs the lock.
func (p *Provider) nextRefresh(g *grant) string {
	if g.refresh == "" || len(p.taken(func(f *Fault) bool { return f.keepRefresh })) == 0 {
		g.refresh = g.family + "." + rand.Text()
	}
	p.families.put(g.family, g, p.cfg.RefreshLifetime)
	return g.refresh
}

func invalidGrant(text string) *oauthError { return &oauthError{"invalid_grant", text} }

// revoke is RFC 7009: a refresh token takes its family along, and so its access tokens.
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request) {
	client, failure := p.authenticate(r)
	token := r.PostForm.Get("token")
	if failure == nil && token == "" {
		failure = &oauthError{"invalid_request", "token is missing"}
	}
	if failure == nil {
		failure = p.revokeToken(client.Client, token)
	}
	if failure != nil {
		p.tokenError(w, r, *failure)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (p *Provider) revokeToken(client Client, token string) *oauthError {
	family, _, _ := strings.Cut(token, ".")
	p.mu.Lock()
	defer p.mu.Unlock()
	g, refresh := p.families.get(family)
	if !refresh {
		out, _ := p.accesses.get(token)
		g = out.grant
	}
	switch {
	case g == nil: // RFC 7009 2.2: an unknown token is as good as revoked
	case g.client != client.ID:
		return &oauthError{"unauthorized_client", "the token was issued to another client"}
	case refresh:
		g.revoked = true
	default:
		p.accesses.drop(token)
	}
	return nil
}

// userInfo is OpenID Connect Core 5.3. A JWT that is still good for an API may be refused
// here, since this endpoint knows of revocations.
func (p *Provider) userInfo(w http.ResponseWriter, r *http.Request) {
	out, failure := p.accessed(r)
	if failure != nil {
		p.see(r, func(s *Seen) { s.Status, s.Error = http.StatusUnauthorized, failure.code })
		challengeFor(w, r, *failure)
		return
	}
	g := out.grant
	claims := userClaims(g.user, out.scopes)
	maps.Copy(claims, wishedClaims(g.user, g.userInfoClaims))
	claims["sub"] = g.user.Subject
	p.sendUserInfo(w, r, g, claims)
}

// accessed is what the access token that r came with was issued for. The error has no
// code when there was no token at all (RFC 6750 3.1).
func (p *Provider) accessed(r *http.Request) (issue, *oauthError) {
	scheme, token := presented(r)
	if token == "" {
		return issue{}, &oauthError{"", "there is no access token"}
	}
	p.mu.Lock()
	out, known := p.accesses.get(token)
	good := known && !out.grant.ended() && out.by != grantClient // which is about no user
	p.mu.Unlock()
	if !good {
		return issue{}, &oauthError{"invalid_token", "the access token is unknown, expired or revoked"}
	}
	jkt, failure := p.proof(r, token)
	if failure == nil {
		failure = out.bound.refuses(r, scheme, jkt)
	}
	return out, failure
}

// challenge is RFC 6750 3: no error code when there was no token at all.
func challenge(w http.ResponseWriter, found bool, text string) {
	code := ""
	if found {
		code = "invalid_token"
	}
	sendChallenge(w, `Bearer realm="devidp"`, oauthError{code, text})
}

// challengeFor answers in the scheme that r used (RFC 9449 7.1).
func challengeFor(w http.ResponseWriter, r *http.Request, e oauthError) {
	if scheme, _ := presented(r); scheme != "dpop" {
		sendChallenge(w, `Bearer realm="devidp"`, e)
		return
	}
	sendChallenge(w, dpopChallenge(), e)
}

func sendChallenge(w http.ResponseWriter, value string, e oauthError) {
	if e.code != "" {
		value += fmt.Sprintf(`, error="%s", error_description="%s"`, e.code, e.text)
	}
	w.Header().Set("WWW-Authenticate", value)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = fmt.Fprintf(w, "{\"error\":%q,\"error_description\":%q}\n", cmp.Or(e.code, "invalid_token"), e.text)
}
