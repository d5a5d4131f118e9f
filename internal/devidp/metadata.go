package devidp

import (
	"maps"
	"net/http"
	"slices"
)

// asymmetricAlgs are good for what clients sign: assertions, request objects and proofs.
func asymmetricAlgs() []string {
	return []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA"}
}

func (p *Provider) discovery(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	metadata := map[string]any{
		"issuer":                                         p.Issuer(),
		"authorization_endpoint":                         p.endpoint("/authorize"),
		"token_endpoint":                                 p.endpoint("/token"),
		"userinfo_endpoint":                              p.endpoint("/userinfo"),
		"jwks_uri":                                       p.endpoint("/jwks"),
		"revocation_endpoint":                            p.endpoint("/revoke"),
		"end_session_endpoint":                           p.endpoint("/logout"),
		"scopes_supported":                               p.cfg.Scopes,
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query", "form_post"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token", grantClient, grantExchange},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          algorithms(),
		"code_challenge_methods_supported":               []string{"S256"},
		"prompt_values_supported":                        []string{"none", "login", "consent", "select_account"},
		"acr_values_supported":                           []string{acrPassword, acrMulti},
		"claims_supported":                               []string{"sub", "name", "preferred_username", "email", "email_verified", "groups", "auth_time", "acr", "amr", "sid"},
		"authorization_response_iss_parameter_supported": true,  // RFC 9207 3
		"request_uri_parameter_supported":                false, // true when left out (Discovery 3)
	}
	maps.Copy(metadata, p.oauthMetadata())
	maps.Copy(metadata, logoutMetadata())
	p.json(w, r, http.StatusOK, metadata)
}

// oauthMetadata is what the extensions of OAuth add to discovery.
func (p *Provider) oauthMetadata() map[string]any {
	metadata := map[string]any{
		"token_endpoint_auth_methods_supported":            p.cfg.AuthMethods,
		"token_endpoint_auth_signing_alg_values_supported": p.assertionAlgs(),
		"pushed_authorization_request_endpoint":            p.endpoint("/par"),
		"require_pushed_authorization_requests":            p.parRequired(),
		"request_parameter_supported":                      true,
		"request_object_signing_alg_values_supported":      asymmetricAlgs(),
		"dpop_signing_alg_values_supported":                asymmetricAlgs(),
		"claims_parameter_supported":                       true,
		"introspection_endpoint":                           p.endpoint("/introspect"),
	}
	p.mu.Lock()
	base := p.mtlsBase
	p.mu.Unlock()
	if base != "" {
		metadata["tls_client_certificate_bound_access_tokens"] = true
		metadata["mtls_endpoint_aliases"] = map[string]any{
			"token_endpoint":                        join(base, "/token"),
			"pushed_authorization_request_endpoint": join(base, "/par"),
			"revocation_endpoint":                   join(base, "/revoke"),
			"userinfo_endpoint":                     join(base, "/userinfo"),
			"introspection_endpoint":                join(base, "/introspect"),
		}
	}
	return metadata
}

func (p *Provider) assertionAlgs() []string {
	algs := asymmetricAlgs()
	if slices.Contains(p.cfg.AuthMethods, authSecretJWT) {
		algs = append([]string{"HS256"}, algs...)
	}
	return algs
}

// parRequired says so too when each client has to push, since metadata is all that a
// client can learn it from.
func (p *Provider) parRequired() bool {
	return p.cfg.RequirePAR || !slices.ContainsFunc(p.cfg.Clients, func(c Client) bool { return !c.RequirePAR })
}
