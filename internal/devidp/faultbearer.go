package devidp

import "fmt"

// bearerFaults are of access tokens as whoever gets them for a call finds them (RFC 9068 4,
// RFC 8725). The sign-in in which one is issued goes well.
func bearerFaults() []Fault {
	of := jwtFault(func(name string, change func(*JWT)) Fault {
		return Fault{Name: "bearer-" + name, AccessToken: change}
	})
	faults := append(of.forgeries(), of.identityFaults()...)
	return append(append(faults, of.accessFaults()...),
		of.shift("expired", "exp", -day), of.without("no-exp", "exp"), of.set("exp-zero", "exp", 0),
		of.claim("exp-string", "exp", func(v any) any { return fmt.Sprint(v) }),
		of.without("no-iat", "iat"), of.shift("future-iat", "iat", day), of.set("future-nbf", "nbf", int64(1)<<33),
		of.without("no-jti", "jti"), of.without("no-client-id", "client_id"),
		of.header("typ-jwt", "typ", "JWT"), of.header("typ-logout", "typ", "logout+jwt"), of.header("typ-number", "typ", 42),
		of.header("typ-long", "typ", "application/at+jwt"), of.header("typ-upper", "typ", "AT+JWT"), // which are allowed
		of("no-typ", func(t *JWT) { delete(t.Header, "typ") }),
		of.set("cnf-jkt", "cnf", binding{JKT: strangeHash}), of.set("cnf-certificate", "cnf", binding{Certificate: strangeHash}),
		of.set("cnf-unknown", "cnf", map[string]any{"x-unknown": "x"}), of.set("cnf-string", "cnf", "x"),
		of("id-token", func(t *JWT) { asIDToken(t); t.Claims["aud"] = t.grant.client }),
		of("id-token-aud", asIDToken),
	)
}

// strangeHash is the SHA-256 of nobody's key.
const strangeHash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// asIDToken makes an access token look as the ID token of its sign-in would, if that had
// the access token's audience.
func asIDToken(t *JWT) {
	t.Header["typ"] = "JWT"
	for _, claim := range []string{"client_id", "scope", "jti", "cnf"} {
		delete(t.Claims, claim)
	}
	t.Claims["nonce"], t.Claims["at_hash"], t.Claims["sid"] = t.grant.nonce, "AAAAAAAAAAAAAAAAAAAAAA", t.grant.sid
}

// accessFaults are in what an access token says about what its bearer may do.
func (of jwtFault) accessFaults() []Fault {
	return []Fault{
		of.without("no-scope", "scope"), of.set("scope-number", "scope", 42),
		of.set("scope-list", "scope", []string{"openid", "profile"}), // as some products write it
		of.without("no-groups", "groups"), of.set("groups-string", "groups", "staff"), of.set("groups-number", "groups", 42),
		of.without("no-acr", "acr"), of.set("wrong-acr", "acr", "0"), of.set("acr-number", "acr", 42),
		of.without("no-auth-time", "auth_time"), of.shift("old-auth-time", "auth_time", -day),
		of.shift("future-auth-time", "auth_time", day),
		of.claim("auth-time-string", "auth_time", func(v any) any { return fmt.Sprint(v) }),
	}
}
