package devidp

import "slices"

// asymmetricAlgs are good for what clients sign: assertions, request objects and proofs.
func asymmetricAlgs() []string {
	return []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA"}
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
