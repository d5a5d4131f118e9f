package devidp

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// The methods of client authentication (OpenID Connect Core 9, RFC 8705 2).
const (
	authBasic      = "client_secret_basic"
	authPost       = "client_secret_post"
	authSecretJWT  = "client_secret_jwt"
	authPrivateKey = "private_key_jwt"
	authTLS        = "tls_client_auth"
	authSelfSigned = "self_signed_tls_client_auth"
	authNone       = "none"
)

func authMethods() []string {
	return []string{authBasic, authPost, authSecretJWT, authPrivateKey, authTLS, authSelfSigned, authNone}
}

// assertionType is RFC 7523 2.2; assertionLife how far exp may be ahead.
const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionLife = 5 * time.Minute
)

// caller is a client that has authenticated.
type caller struct {
	Client
	certificate string // x5t#S256 of the one it authenticated with (RFC 8705 3.1)
	method      string
}

// FAPIClient is a client by the FAPI 2.0 Security Profile, with DPoP: private_key_jwt,
// pushed requests and bound tokens only.
func FAPIClient(id string, jwks json.RawMessage, redirectURIs ...string) Client {
	return Client{
		ID: id, JWKS: jwks, RedirectURIs: redirectURIs, AuthMethods: []string{authPrivateKey},
		RequirePAR: true, RequireDPoP: true,
	}
}

func (c Client) methods() []string {
	switch {
	case c.AuthMethods != nil:
		return c.AuthMethods
	case c.JWKS != nil:
		return []string{authPrivateKey}
	case c.Secret == "":
		return []string{authNone}
	}
	return []string{authBasic, authPost}
}

// check reports a method that lacks what it needs, so that it is not found out as a
// refusal of the client's.
func (c Client) check() error {
	var errs []error
	if c.JWKS != nil {
		if _, err := publicKeys(c.JWKS); err != nil {
			errs = append(errs, fmt.Errorf("client %q: %w", c.ID, err))
		}
	}
	for _, method := range c.methods() {
		lacks := ""
		switch {
		case !slices.Contains(authMethods(), method):
			lacks = "is not a method of client authentication"
		case (method == authBasic || method == authPost) && c.Secret == "":
			lacks = "needs a secret"
		case method == authSecretJWT && len(c.Secret) < 32: // RFC 7518 3.2
			lacks = "needs a secret of 32 bytes"
		case method == authPrivateKey && c.JWKS == nil:
			lacks = "needs JWKS"
		case method == authTLS && c.TLSSubject == "":
			lacks = "needs TLSSubject"
		case method == authSelfSigned && c.TLSThumbprint == "":
			lacks = "needs TLSThumbprint"
		}
		if lacks != "" {
			errs = append(errs, fmt.Errorf("client %q: %s %s", c.ID, method, lacks))
		}
	}
	if c.RequireRequestObject && c.JWKS == nil {
		errs = append(errs, fmt.Errorf("client %q: request objects need JWKS", c.ID))
	}
	return errors.Join(errs...)
}

// authenticate finds the client, by exactly one method (RFC 6749 2.3). What is in the
// URL never counts.
func (p *Provider) authenticate(r *http.Request) (caller, *oauthError) {
	for _, name := range []string{"client_secret", "client_assertion", "code", "refresh_token", "subject_token", "token"} {
		if r.URL.Query().Has(name) {
			return caller{}, &oauthError{"invalid_request", name + " must not be in the URL"}
		}
	}
	if twice := repeated(r.PostForm); twice != "" {
		return caller{}, &oauthError{"invalid_request", "a parameter is sent twice: " + twice}
	}
	c, method, failure := p.present(r)
	if failure != nil {
		return caller{}, failure
	}
	if !slices.Contains(c.methods(), method) {
		return caller{}, &oauthError{"invalid_client", method + " is not allowed for this client"}
	}
	c.method = method
	p.see(r, func(s *Seen) { s.Client, s.AuthMethod = c.ID, method })
	return c, nil
}

// repeated names a parameter that is sent twice and may not be (RFC 6749 3.1, RFC 8707 2,
// RFC 8693 2.1).
func repeated(form url.Values) string {
	for name, values := range form {
		several := name == "resource" || name == "audience" && form.Get("grant_type") == grantExchange
		if len(values) > 1 && !several {
			return name
		}
	}
	return ""
}

// present checks the one way in which the client authenticated, and names it.
func (p *Provider) present(r *http.Request) (caller, string, *oauthError) {
	form := r.PostForm
	header, secret := r.Header.Get("Authorization") != "", form.Has("client_secret")
	assertion := form.Has("client_assertion") || form.Has("client_assertion_type")
	id := form.Get("client_id")
	switch {
	case header && (secret || assertion), secret && assertion:
		return caller{}, "", &oauthError{"invalid_request", "the client authenticated in more than one way"}
	case header:
		basicID, secret, failure := basic(r)
		if failure != nil {
			return caller{}, "", failure
		}
		c, failure := p.bySecret(basicID, secret)
		return c, authBasic, failure
	case secret:
		c, failure := p.bySecret(id, form.Get("client_secret"))
		return c, authPost, failure
	case assertion:
		return p.byAssertion(r)
	}
	client, known := p.client(id)
	if !known {
		return caller{}, "", &oauthError{"invalid_client", "unknown client"}
	}
	if slices.Contains(client.methods(), authTLS) || slices.Contains(client.methods(), authSelfSigned) {
		return p.byCertificate(r, client)
	}
	return caller{Client: client}, authNone, nil
}

func (p *Provider) bySecret(id, secret string) (caller, *oauthError) {
	client, known := p.client(id)
	if !known || client.Secret == "" || subtle.ConstantTimeCompare([]byte(secret), []byte(client.Secret)) != 1 {
		return caller{}, &oauthError{"invalid_client", "unknown client, or another secret"}
	}
	return caller{Client: client}, nil
}

func basic(r *http.Request) (id, secret string, failure *oauthError) {
	rawID, rawSecret, ok := r.BasicAuth()
	id, errID := url.QueryUnescape(rawID) // RFC 6749 2.3.1: both are form-encoded
	secret, errSecret := url.QueryUnescape(rawSecret)
	if !ok || errID != nil || errSecret != nil {
		return "", "", &oauthError{"invalid_client", "the Authorization header cannot be read"}
	}
	if also := r.PostForm.Get("client_id"); also != "" && also != id {
		return "", "", &oauthError{"invalid_request", "client_id differs from the Authorization header"}
	}
	return id, secret, nil
}

// byAssertion is RFC 7523 3, and for aud OpenID Connect Core 9 as it is now: the issuer,
// as one string.
func (p *Provider) byAssertion(r *http.Request) (caller, string, *oauthError) {
	refused := func(text string) (caller, string, *oauthError) {
		return caller{}, "", &oauthError{"invalid_client", "client_assertion: " + text}
	}
	if r.PostForm.Get("client_assertion_type") != assertionType {
		return refused("client_assertion_type is not " + assertionType)
	}
	j, err := parseClientJWT(r.PostForm.Get("client_assertion"), append(asymmetricAlgs(), "HS256")...)
	if err != nil {
		return refused(err.Error())
	}
	p.see(r, func(s *Seen) { s.Assertion = &SeenJWT{j.Header, j.Claims} })
	client, known := p.client(j.text("sub"))
	switch id := r.PostForm.Get("client_id"); {
	case !known || j.text("iss") != client.ID:
		return refused("iss and sub are not one client's id")
	case id != "" && id != client.ID:
		return refused("client_id is not that of the assertion")
	}
	method := authPrivateKey
	if j.Header["alg"] == "HS256" {
		method = authSecretJWT
		if _, err = j.jws.Verify([]byte(client.Secret)); err != nil || len(client.Secret) < 32 {
			return refused("the secret does not verify it")
		}
	} else if err := j.verify(client.JWKS); err != nil {
		return refused(err.Error())
	}
	if err := p.checkAssertion(j, client); err != nil {
		return refused(err.Error())
	}
	return caller{Client: client}, method, nil
}

func (p *Provider) checkAssertion(j *clientJWT, client Client) error {
	if _, has := j.Header["typ"]; has && j.typ() != "jwt" && j.typ() != "client-authentication+jwt" {
		return errors.New("typ is neither JWT nor client-authentication+jwt")
	}
	if j.Claims["aud"] != p.Issuer() {
		return errors.New("aud is not the issuer as one string")
	}
	if err := j.current(p.cfg.Now(), assertionLife); err != nil {
		return err
	}
	if j.text("jti") == "" {
		return errors.New("jti is missing")
	}
	if !p.spend("assertion "+client.ID, j.text("jti"), assertionLife+2*skew) {
		return errors.New("jti was used before")
	}
	return nil
}
