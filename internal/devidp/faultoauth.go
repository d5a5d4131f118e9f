package devidp

import (
	"crypto/rand"
	"net/http"
)

// oauthFaults are of pushed requests, DPoP and client authentication.
func oauthFaults() []Fault {
	faults := append(parFaults(), dpopFaults()...)
	return append(faults, oauthMetadataFaults()...)
}

func parFaults() []Fault {
	const at = "/par"
	return append(outages("par", at),
		Fault{Name: "par-400", At: at, Answer: refuse(http.StatusBadRequest, "invalid_request")},
		Fault{Name: "par-401", At: at, Answer: refuse(http.StatusUnauthorized, "invalid_client")},
		Fault{Name: "par-413", At: at, Answer: answer(http.StatusRequestEntityTooLarge, "text/plain", "too large")},
		Fault{Name: "par-429", At: at, Answer: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "30")
			answer(http.StatusTooManyRequests, "text/plain", "too many")(w, r)
		}},
		Fault{Name: "par-200", At: at, Answer: answer(http.StatusOK, "application/json", `{"request_uri":"`+requestURN+`on-demand","expires_in":60}`)},
		Fault{Name: "par-truncated", At: at, Answer: answer(http.StatusCreated, "application/json", `{"request_uri":"urn:ie`)},
		bodyWithout("par-no-request-uri", at, "request_uri"), bodyWithout("par-no-expires-in", at, "expires_in"),
		bodySet("par-empty-request-uri", at, "request_uri", ""),
		bodySet("par-unknown-request-uri", at, "request_uri", requestURN+"unknown"),
		bodySet("par-string-expires-in", at, "expires_in", "60"),
		demandNonce("par-dpop-nonce-loop", at))
}

// demandNonce refuses the nonce of every proof and gives another one.
func demandNonce(name, at string) Fault {
	return Fault{Name: name, At: at, Answer: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("DPoP-Nonce", rand.Text())
		if at == "/userinfo" {
			sendChallenge(w, dpopChallenge(), oauthError{"use_dpop_nonce", "a fault on demand"})
			return
		}
		refuse(http.StatusBadRequest, "use_dpop_nonce")(w, r)
	}}
}

func dpopFaults() []Fault {
	const at = "/token"
	return []Fault{
		demandNonce("dpop-nonce-loop", at),
		demandNonce("userinfo-dpop-nonce-loop", "/userinfo"),
		bodySet("dpop-type-bearer", at, "token_type", "Bearer"),
		bodySet("dpop-odd-case-type", at, "token_type", "dPoP"),
		{Name: "dpop-proof-invalid", At: at, Answer: refuse(http.StatusBadRequest, "invalid_dpop_proof")},
		{Name: "token-invalid-target", At: at, Answer: refuse(http.StatusBadRequest, "invalid_target")},
		{Name: "token-no-dpop-nonce-header", At: at, Answer: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Del("DPoP-Nonce")
			refuse(http.StatusBadRequest, "use_dpop_nonce")(w, r)
		}},
	}
}

func oauthMetadataFaults() []Fault {
	const at, methods = wellKnown, "token_endpoint_auth_methods_supported"
	faults := []Fault{
		bodySet("discovery-par-required", at, "require_pushed_authorization_requests", true),
		bodyWithout("discovery-no-par", at, "pushed_authorization_request_endpoint"),
		bodySet("discovery-mtls-alias", at, "mtls_endpoint_aliases", map[string]any{
			"token_endpoint":                        "https://mtls.provider.example/token",
			"pushed_authorization_request_endpoint": "https://mtls.provider.example/par",
			"revocation_endpoint":                   "https://mtls.provider.example/revoke",
			"userinfo_endpoint":                     "https://mtls.provider.example/userinfo",
		}),
		bodyWithout("discovery-no-auth-methods", at, methods), // then it is client_secret_basic (Discovery 3)
		bodySet("discovery-no-known-auth-method", at, methods, []string{"https://provider.example/method"}),
		bodyWithout("discovery-no-dpop", at, "dpop_signing_alg_values_supported"),
		{Name: "discovery-only-es256", At: at, Body: func(b map[string]any) {
			for _, what := range []string{"token_endpoint_auth", "request_object", "dpop"} {
				b[what+"_signing_alg_values_supported"] = []string{"ES256"}
			}
		}},
	}
	for _, method := range authMethods() {
		faults = append(faults, bodySet("discovery-only-"+method, at, methods, []string{method}))
	}
	return faults
}
