package devidp

import "net/http"

// refreshFaults are of OpenID Connect Core 12.2 and of RFC 6749 6. Sign-ins go well.
func refreshFaults() []Fault {
	const at, grant = "/token", "refresh_token"
	id := jwtFault(func(name string, change func(*JWT)) Fault {
		return Fault{Name: "refresh-" + name, Grant: grant, IDToken: change}
	})
	faults := append(outages("refresh", at),
		Fault{Name: "refresh-429", At: at, Answer: answer(http.StatusTooManyRequests, "text/plain", "too many")},
		Fault{Name: "refresh-invalid-grant", At: at, Answer: refuse(http.StatusBadRequest, "invalid_grant")},
		Fault{Name: "refresh-invalid-client", At: at, Answer: refuse(http.StatusUnauthorized, "invalid_client")},
		Fault{Name: "refresh-error-200", At: at, Answer: refuse(http.StatusOK, "invalid_grant")},
		bodyWithout("refresh-no-id-token", at, "id_token"), bodyWithout("refresh-no-access-token", at, "access_token"),
		bodyWithout("refresh-no-expires-in", at, "expires_in"),
		bodySet("refresh-wrong-type", at, "token_type", "mac"), bodySet("refresh-narrow-scope", at, "scope", "openid"),
		// the old refresh token stays good, and is repeated or left out
		Fault{Name: "refresh-same-token", keepRefresh: true},
		Fault{Name: "refresh-no-rotation", keepRefresh: true, At: at, Body: func(b map[string]any) { delete(b, "refresh_token") }},
	)
	for i := range faults {
		faults[i].Grant = grant
	}
	return append(faults,
		id.claim("wrong-iss", "iss", func(v any) any { return v.(string) + "1" }), id.set("wrong-sub", "sub", "another-user"),
		id.set("wrong-aud", "aud", "another-client"), id.claim("extra-aud", "aud", func(v any) any { return []any{v, "another-client"} }),
		id.set("wrong-azp", "azp", "another-client"),
		id.shift("other-auth-time", "auth_time", 60), id.without("no-auth-time", "auth_time"),
		id.set("other-nonce", "nonce", "another-nonce"),
		id("same-nonce", func(t *JWT) { t.Claims["nonce"] = t.grant.nonce }), // which is allowed

		id.shift("expired", "exp", -day), id.without("no-exp", "exp"), id.without("no-iat", "iat"), id.shift("future-iat", "iat", day),
		id.set("wrong-at-hash", "at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), id.set("wrong-acr", "acr", "0"),
		id("alg-none", unsigned("none")), id("bad-signature", spoilSignature), id("unpublished-key", signRogue),
	)
}
