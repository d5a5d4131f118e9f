package server

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"genkan/internal/keys"
	"genkan/internal/rp"
)

// jwksPath is jwks_uri of Genkan as a client (OpenID Connect Dynamic Client
// Registration 1.0, section 2).
const jwksPath = "/.well-known/jwks.json"

// publicKeys is the JWK set by which providers verify what we sign (RFC 7517 5). Two keys
// of one id are an error: a provider would take the wrong one.
func publicKeys(providers []*rp.Client) ([]byte, error) {
	var signers []*keys.Signer
	thumbprints := map[string]string{}
	for _, p := range providers {
		for _, signer := range p.PublicKeys() {
			id, thumbprint := signer.KeyID(), signer.Thumbprint()
			if known, ok := thumbprints[id]; ok && known != thumbprint {
				return nil, fmt.Errorf("server: private_key_file of provider %s: another key has the kid %q too; give each its own", p.ID(), id)
			}
			thumbprints[id] = thumbprint
			signers = append(signers, signer)
		}
	}
	return keys.Published(signers)
}

// showKeys answers with the JWK set. It is the same for everybody, and a provider that
// meets a new key id will ask again. The type is plain JSON, which every consumer takes;
// application/jwk-set+json (RFC 7517 8.5.2) some do not.
func (s *Server) showKeys(c *gin.Context) {
	c.Header("Cache-Control", "public, max-age=300")
	c.Data(http.StatusOK, "application/json", s.jwks)
}

// metadata reports whether a path is that of an authorization server's metadata (RFC
// 8414 3.1, OpenID Connect Discovery 4). Genkan is none, and nothing behind it may say
// at its origin that it is.
func metadata(clean string) bool {
	return strings.HasPrefix(clean+"/", "/.well-known/oauth-authorization-server/") ||
		strings.HasPrefix(clean+"/", "/.well-known/openid-configuration/")
}
