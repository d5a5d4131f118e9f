package rp

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"genkan/internal/keys"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionLife = time.Minute
	minSecretJWT  = 32 // bytes of a secret that signs with HS256 (RFC 7518 3.2)
	// backdate is how far behind ours a provider's clock may be.
	backdate = 30 * time.Second
)

// clientAuth picks the one method to authenticate with. What the metadata lists decides;
// nothing listed means client_secret_basic (Discovery 3).
func (c *Client) clientAuth(md *metadata) (AuthMethod, error) {
	if c.cfg.ClientAuth != AuthAuto {
		return c.cfg.ClientAuth, nil
	}
	candidates := c.cfg.authMethods()
	if len(md.AuthMethods) == 0 && slices.Contains(candidates, AuthBasic) {
		return AuthBasic, nil
	}
	for _, method := range candidates {
		if len(md.AuthMethods) == 0 || slices.Contains(md.AuthMethods, string(method)) || method == AuthPublic {
			return method, nil
		}
	}
	words := make([]string, len(candidates))
	for i, method := range candidates {
		words[i] = string(method)
	}
	return "", errors.New("the provider lists none of " + strings.Join(words, ", ") + ", for which there are credentials")
}

// authMethods are the methods that the credentials allow, in the order of AuthAuto.
func (cfg Config) authMethods() (methods []AuthMethod) {
	if cfg.ClientCertificate != nil { // it never comes without its key, so the key alone says less
		methods = append(methods, AuthTLS, AuthSelfSignedTLS)
	}
	if len(cfg.Signers) > 0 {
		methods = append(methods, AuthPrivateKeyJWT)
	}
	if !cfg.ClientSecret.Empty() {
		methods = append(methods, AuthBasic, AuthPost, AuthSecretJWT)
	}
	if methods == nil {
		return []AuthMethod{AuthPublic}
	}
	return methods
}

// authenticate adds the client's credentials to one request, by the one method that was
// picked (RFC 6749 2.3).
func (c *Client) authenticate(md *metadata, endpoint string, form url.Values, header http.Header) error {
	id, secret := c.cfg.ClientID, c.cfg.ClientSecret.Reveal()
	if md.auth == AuthBasic {
		// RFC 6749 2.3.1: form-encoded first, or a colon or a percent sign is lost.
		req := http.Request{Header: header}
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		return nil
	}
	form.Set("client_id", id) // RFC 8705 2 wants it with mutual TLS
	switch md.auth {
	case AuthPost:
		form.Set("client_secret", secret)
	case AuthSecretJWT, AuthPrivateKeyJWT:
		assertion, err := c.assertion(md, endpoint)
		if err != nil {
			return err
		}
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
	}
	return nil
}

// assertion is a client assertion of RFC 7523 3 for one request. Its aud is one string
// (rfc7523bis 4), and it is good once, for a minute.
func (c *Client) assertion(md *metadata, endpoint string) (string, error) {
	now := c.cfg.Now()
	audience := c.cfg.Issuer
	if c.cfg.AssertionAudience == AudienceEndpoint {
		audience = endpoint
	}
	claims := map[string]any{
		"iss": c.cfg.ClientID, "sub": c.cfg.ClientID, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Add(-backdate).Unix(), "exp": now.Add(assertionLife).Unix(),
	}
	if md.auth == AuthSecretJWT {
		return keys.SignMAC(c.cfg.ClientSecret, claims)
	}
	signer := c.cfg.Signers[0]
	return signer.Sign(signer.Alg(md.AuthAlgs), "JWT", claims)
}

// PublicKeys are the signing keys whose public halves are to be published.
func (c *Client) PublicKeys() []*keys.Signer { return slices.Clone(c.cfg.Signers) }
