package devidp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The methods of client authentication (OpenID Connect Core 9).
const (
	authBasic = "client_secret_basic"
	authPost  = "client_secret_post"
	authNone  = "none"
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
	codeExpires time.Time
	family      string

	// Guarded by the provider's lock.
	redeemed, revoked bool
	refresh           string // the only refresh token of the family that is good
}

var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`) // RFC 7636 4.1

// token is the token endpoint (RFC 6749 3.2).
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	client, failure := p.authenticate(r)
	var out issue
	if failure == nil {
		switch r.PostForm.Get("grant_type") {
		case "authorization_code":
			out, failure = p.redeem(client, r.PostForm)
		case "refresh_token":
			out, failure = p.rotate(client, r.PostForm)
		default:
			failure = &oauthError{"unsupported_grant_type", "grant_type must be authorization_code or refresh_token"}
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
	p.json(w, r, status, map[string]any{"error": e.code, "error_description": e.text})
}

// authenticate finds the client, by exactly one method (RFC 6749 2.3). What is in the
// URL never counts.
func (p *Provider) authenticate(r *http.Request) (Client, *oauthError) {
	for _, name := range []string{"client_secret", "code", "refresh_token", "token"} {
		if r.URL.Query().Has(name) {
			return Client{}, &oauthError{"invalid_request", name + " must not be in the URL"}
		}
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return Client{}, &oauthError{"invalid_request", "a parameter is sent twice: " + name}
		}
	}
	id, secret, method, failure := credentials(r)
	if failure != nil {
		return Client{}, failure
	}
	client, known := p.client(id)
	if !known || subtle.ConstantTimeCompare([]byte(secret), []byte(client.Secret)) != 1 {
		return Client{}, &oauthError{"invalid_client", "unknown client, or another secret"}
	}
	if !slices.Contains(client.methods(), method) {
		return Client{}, &oauthError{"invalid_client", method + " is not allowed for this client"}
	}
	return client, nil
}

func (c Client) methods() []string {
	switch {
	case c.AuthMethods != nil:
		return c.AuthMethods
	case c.Secret == "":
		return []string{authNone}
	}
	return []string{authBasic, authPost}
}

func credentials(r *http.Request) (id, secret, method string, failure *oauthError) {
	id, secret, method = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret"), authNone
	if r.PostForm.Has("client_secret") {
		method = authPost
	}
	if r.Header.Get("Authorization") == "" {
		return id, secret, method, nil
	}
	if method == authPost {
		return "", "", "", &oauthError{"invalid_request", "the client authenticated in two ways"}
	}
	rawID, rawSecret, ok := r.BasicAuth()
	basicID, errID := url.QueryUnescape(rawID) // RFC 6749 2.3.1: both are form-encoded
	basicSecret, errSecret := url.QueryUnescape(rawSecret)
	if !ok || errID != nil || errSecret != nil {
		return "", "", "", &oauthError{"invalid_client", "the Authorization header cannot be read"}
	}
	if id != "" && id != basicID {
		return "", "", "", &oauthError{"invalid_request", "client_id differs from the Authorization header"}
	}
	return basicID, basicSecret, authBasic, nil
}

// issue is what one token request is to get.
type issue struct {
	grant   *grant
	scopes  []string
	nonce   string
	refresh string // may be empty
}

// redeem exchanges a code, once. A second use revokes what the first one got
// (RFC 6749 4.1.2).
func (p *Provider) redeem(client Client, form url.Values) (issue, *oauthError) {
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
	}
	out := issue{grant: g, scopes: g.scopes, nonce: g.nonce}
	if slices.Contains(g.scopes, "offline_access") {
		out.refresh = p.nextRefresh(g)
	}
	return out, nil
}

// rotate exchanges a refresh token for the next one. An old one shows that two parties
// hold the family, and ends it (RFC 9700 4.14.2).
func (p *Provider) rotate(client Client, form url.Values) (issue, *oauthError) {
	family, _, _ := strings.Cut(form.Get("refresh_token"), ".")
	p.mu.Lock()
	defer p.mu.Unlock()
	g, known := p.families.get(family)
	switch {
	case !known || g.client != client.ID:
		return issue{}, invalidGrant("the refresh token is unknown, expired or of another client")
	case g.revoked:
		return issue{}, invalidGrant("the refresh token is revoked")
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
	return issue{grant: g, scopes: scopes, refresh: p.nextRefresh(g)}, nil
}

// nextRefresh needs the lock.
func (p *Provider) nextRefresh(g *grant) string {
	g.refresh = g.family + "." + rand.Text()
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
		failure = p.revokeToken(client, token)
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
		g, _ = p.accesses.get(token)
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
	token, found := bearer(r)
	p.mu.Lock()
	g, known := p.accesses.get(token)
	good := known && !g.revoked
	p.mu.Unlock()
	if !found || !good {
		challenge(w, found, "the access token is unknown, expired or revoked")
		return
	}
	claims := userClaims(g.user, g.scopes)
	claims["sub"] = g.user.Subject
	p.json(w, r, http.StatusOK, claims)
}

// bearer reads the one form that RFC 6750 recommends, the header.
func bearer(r *http.Request) (string, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// challenge is RFC 6750 3: no error code when there was no token at all.
func challenge(w http.ResponseWriter, found bool, text string) {
	value := `Bearer realm="devidp"`
	if found {
		value += fmt.Sprintf(`, error="invalid_token", error_description="%s"`, text)
	}
	w.Header().Set("WWW-Authenticate", value)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = fmt.Fprintf(w, "{\"error\":\"invalid_token\",\"error_description\":%q}\n", text)
}
