package devidp

import (
	"fmt"
	"maps"
	"net/http"
)

// introspectionFaults are of RFC 7662 2.2.
func introspectionFaults() []Fault {
	const at = "/introspect"
	text := func(name string, status int, contentType, body string) Fault {
		return Fault{Name: "introspect-" + name, At: at, Answer: answer(status, contentType, body)}
	}
	const ok, plain = http.StatusOK, "application/json"
	return append(append(outages("introspect", at), introspectionClaims()...),
		text("401", http.StatusUnauthorized, plain, `{"error":"invalid_client"}`),
		text("403", http.StatusForbidden, plain, `{"error":"access_denied"}`),
		text("429", http.StatusTooManyRequests, "text/plain", "too many"),
		text("empty", ok, plain, ""), text("array", ok, plain, "[]"), text("null", ok, plain, "null"),
		text("true", ok, plain, "true"), text("truncated", ok, plain, `{"active":true,"sub":"x`),
		text("two-objects", ok, plain, `{"active":false}{"active":true}`),
		text("jwt", ok, "application/token-introspection+jwt", "e30.e30."), // RFC 9701
		text("error-200", ok, plain, `{"error":"invalid_token","active":"yes"}`),
		text("no-content", http.StatusNoContent, plain, ""),
		Fault{Name: "introspect-text", At: at, Header: func(h http.Header) { h.Set("Content-Type", "text/plain") }},
		bodyWithout("introspect-no-endpoint", wellKnown, "introspection_endpoint"),
		bodySet("introspect-http-endpoint", wellKnown, "introspection_endpoint", "http://provider.example/introspect"),
	)
}

// introspectionClaims change what is said of an active token.
func introspectionClaims() []Fault {
	of := func(name string, change func(found map[string]any)) Fault {
		return Fault{Name: "introspect-" + name, At: "/introspect", Body: func(b map[string]any) {
			if b["active"] == true {
				change(b)
			}
		}}
	}
	set := func(name, member string, value any) Fault {
		return of(name, func(b map[string]any) { b[member] = value })
	}
	without := func(name, member string) Fault { return of(name, func(b map[string]any) { delete(b, member) }) }
	claim := func(name, member string, change func(any) any) Fault {
		return of(name, func(b map[string]any) { b[member] = change(b[member]) })
	}
	shift := func(name, member string, seconds int64) Fault {
		return claim(name, member, func(v any) any { return v.(int64) + seconds })
	}
	return []Fault{
		of("inactive", func(b map[string]any) { clear(b); b["active"] = false }),
		set("inactive-with-claims", "active", false),
		set("active-string", "active", "true"), set("active-number", "active", 1), set("active-null", "active", nil),
		set("active-list", "active", []bool{true}), without("no-active", "active"),
		of("active-upper", func(b map[string]any) { // encoding/json takes names in any case
			delete(b, "active")
			b["Active"] = true
		}),
		of("only-active", func(b map[string]any) {
			maps.DeleteFunc(b, func(member string, _ any) bool { return member != "active" })
		}),
		claim("other-iss", "iss", func(v any) any { return v.(string) + "1" }), set("iss-number", "iss", 42),
		without("no-iss", "iss"), // which is allowed, as are all members but active
		set("other-aud", "aud", "another-service"), without("no-aud", "aud"), set("empty-aud", "aud", []any{}), set("aud-number", "aud", 42),
		claim("array-aud", "aud", func(v any) any { return []any{v} }),
		claim("extra-aud", "aud", func(v any) any { return []any{"another-service", v} }),
		set("other-sub", "sub", "another-user"), // which a client cannot see
		without("no-sub", "sub"), set("empty-sub", "sub", ""), set("sub-number", "sub", 42),
		shift("expired", "exp", -day), without("no-exp", "exp"), set("exp-zero", "exp", 0),
		claim("exp-string", "exp", func(v any) any { return fmt.Sprint(v) }), set("huge-exp", "exp", int64(1)<<60),
		set("future-nbf", "nbf", int64(1)<<33), shift("future-iat", "iat", day),
		set("type-dpop", "token_type", "DPoP"), set("type-mac", "token_type", "mac"), without("no-type", "token_type"),
		set("type-lower", "token_type", "bearer"),
		set("cnf-jkt", "cnf", binding{JKT: strangeHash}), set("cnf-certificate", "cnf", binding{Certificate: strangeHash}),
		set("cnf-unknown", "cnf", map[string]any{"x-unknown": "x"}),
		without("no-scope", "scope"), set("scope-list", "scope", []string{"openid", "profile"}), set("scope-number", "scope", 42),
		without("no-client-id", "client_id"), set("groups-string", "groups", "staff"),
		set("refresh-token", "token_use", "refresh_token"), // as Hydra says what it is
		set("extra", "foo", map[string]any{"bar": []any{1, nil}}),
	}
}
