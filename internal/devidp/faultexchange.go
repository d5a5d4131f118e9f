package devidp

import "net/http"

// grantFaults are of token requests of one grant that no browser takes part in.
func grantFaults(prefix, grant string) []Fault {
	const at = "/token"
	of := func(name string, f Fault) Fault {
		f.Name, f.At = prefix+"-"+name, at
		return f
	}
	set := func(name, member string, value any) Fault { return of(name, bodySet("", at, member, value)) }
	without := func(name, member string) Fault { return of(name, bodyWithout("", at, member)) }
	text := func(name string, status int, contentType, body string) Fault {
		return of(name, Fault{Answer: answer(status, contentType, body)})
	}
	refusal := func(code, name string, status int) Fault { return of(name, Fault{Answer: refuse(status, code)}) }
	const bad = http.StatusBadRequest
	faults := append(outages(prefix, at),
		text("429", http.StatusTooManyRequests, "text/plain", "too many"),
		text("empty", http.StatusOK, "application/json", ""), text("null", http.StatusOK, "application/json", "null"),
		text("array", http.StatusOK, "application/json", "[]"),
		text("truncated", http.StatusOK, "application/json", `{"access_token":"x","token_ty`),
		refusal("invalid_target", "invalid-target", bad), refusal("invalid_scope", "invalid-scope", bad),
		refusal("invalid_request", "invalid-request", bad), refusal("invalid_grant", "invalid-grant", bad),
		refusal("unauthorized_client", "unauthorized-client", bad), refusal("access_denied", "access-denied", http.StatusForbidden),
		refusal("unsupported_grant_type", "unsupported-grant-type", bad),
		refusal("invalid_client", "invalid-client", http.StatusUnauthorized),
		refusal("invalid_grant", "error-200", http.StatusOK),
		refusal("invalid_dpop_proof", "dpop-proof-invalid", bad), of("dpop-nonce-loop", demandNonce("", at)),
		without("no-access-token", "access_token"), set("empty-access-token", "access_token", ""),
		set("number-access-token", "access_token", 42), set("unsafe-access-token", "access_token", "x\r\nX-Injected: y"),
		without("no-type", "token_type"), set("wrong-type", "token_type", "mac"), set("type-dpop", "token_type", "DPoP"),
		set("dpop-type-bearer", "token_type", "Bearer"), // which shows only in answers that are bound
		set("odd-case-type", "token_type", "bEaReR"),
		without("no-expires-in", "expires_in"), set("string-expires-in", "expires_in", "3600"),
		set("zero-expires-in", "expires_in", 0), set("negative-expires-in", "expires_in", -1),
		set("huge-expires-in", "expires_in", int64(1e12)),
		without("no-scope", "scope"), set("narrow-scope", "scope", "another"),
		set("refresh-token", "refresh_token", "a-refresh-token"), // RFC 6749 4.4.3: it should not
		set("id-token", "id_token", "not.a.token"), set("extra", "foo", map[string]any{"bar": []any{1, nil}}),
	)
	return ofGrant(grant, faults)
}

func ofGrant(grant string, faults []Fault) []Fault {
	for i := range faults {
		faults[i].Grant = grant
	}
	return faults
}

// exchangeFaults are of RFC 8693 2.2.
func exchangeFaults() []Fault {
	const at = "/token"
	access := jwtFault(func(name string, change func(*JWT)) Fault {
		return Fault{Name: "exchange-" + name, AccessToken: change}
	})
	own := ofGrant(grantExchange, []Fault{
		bodyWithout("exchange-no-issued-type", at, "issued_token_type"),
		bodySet("exchange-empty-issued-type", at, "issued_token_type", ""),
		bodySet("exchange-number-issued-type", at, "issued_token_type", 42),
		bodySet("exchange-wrong-issued-type", at, "issued_token_type", "urn:ietf:params:oauth:token-type:id_token"),
		bodySet("exchange-refresh-issued-type", at, "issued_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
		bodySet("exchange-jwt-issued-type", at, "issued_token_type", typeJWT),
		bodySet("exchange-type-n-a", at, "token_type", "N_A"), // RFC 8693 2.2.1: it is no access token then
		// A client cannot see these two: access tokens are not its to read (RFC 9068 6).
		access.set("other-sub", "sub", "another-user"), access.set("other-aud", "aud", "another-service"),
	})
	return append(append(grantFaults("exchange", grantExchange), own...),
		Fault{Name: "exchange-unannounced", At: wellKnown, Body: func(b map[string]any) {
			b["grant_types_supported"] = []string{"authorization_code", "refresh_token"}
		}})
}
