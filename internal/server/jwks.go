package server

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/keys"
)

// jwksPath is jwks_uri of Genkan as a client (OpenID Connect Dynamic Client
// Registration 1.0, section 2).
const jwksPath = "/.well-known/jwks.json"

// publicKeys is the JWK set by which providers verify what we sign as their client, and
// services our assertions (RFC 7517 5). Two keys of one id are an error: whoever verifies
// would take the wrong one.
func (s *Server) publicKeys() ([]byte, error) {
	var signers []*keys.Signer
	thumbprints := map[string]string{}
	add := func(setting string, more []*keys.Signer) error {
		for _, signer := range more {
			id, thumbprint := signer.KeyID(), signer.Thumbprint()
			if known, ok := thumbprints[id]; ok && known != thumbprint {
				return fmt.Errorf("server: %s: another key has the kid %q too; give each its own", setting, id)
			}
			thumbprints[id] = thumbprint
		}
		signers = append(signers, more...)
		return nil
	}
	for _, p := range s.Providers {
		if err := add("private_key_file of provider "+p.ID(), p.PublicKeys()); err != nil {
			return nil, err
		}
	}
	if s.AssertionKeys != nil {
		if err := add("assertions.private_key_file", s.AssertionKeys()); err != nil {
			return nil, err
		}
	}
	return keys.Published(signers)
}

// showKeys answers with the JWK set as it is now. It is the same for everybody. A set may
// be kept for two minutes: replicas learn of a new session key within another two, and its
// assertions come after five, so nobody has a set without the key that signed. The type is
// plain JSON, which every consumer takes; application/jwk-set+json (RFC 7517 8.5.2) some do
// not.
func (s *Server) showKeys(c *gin.Context) {
	set, err := s.publicKeys()
	if err != nil { // what New has checked does not change but for keys whose ids are their hashes
		s.fail(c, finding.Internal, "")
		return
	}
	c.Header("Cache-Control", "public, max-age=120")
	c.Data(http.StatusOK, "application/json", set)
}

// metadata reports whether a path is that of an authorization server's metadata (RFC
// 8414 3.1, OpenID Connect Discovery 4). Genkan is none, and nothing behind it may say
// at its origin that it is.
func metadata(clean string) bool {
	if !strings.HasPrefix(clean, "/.well-known/") {
		return false
	}
	return strings.HasPrefix(clean+"/", "/.well-known/oauth-authorization-server/") ||
		strings.HasPrefix(clean+"/", "/.well-known/openid-configuration/")
}
