package devidp

import "fmt"

// logoutTokenFaults are of Back-Channel Logout 1.0, 2.4 and 2.6.
func logoutTokenFaults() []Fault {
	of := jwtFault(func(name string, change func(*JWT)) Fault { return Fault{Name: "logout-" + name, LogoutToken: change} })
	event := func(name string, events any) Fault { return of.set(name, "events", events) }
	return append(append(of.forgeries(), of.identityFaults()...),
		of.without("no-iat", "iat"), of.shift("future-iat", "iat", day), of.shift("old-iat", "iat", -day),
		of.claim("iat-string", "iat", func(v any) any { return fmt.Sprint(v) }),
		of.shift("expired", "exp", -day), of.without("no-exp", "exp"), of.set("exp-zero", "exp", 0),
		of.claim("exp-string", "exp", func(v any) any { return fmt.Sprint(v) }),
		of.set("future-nbf", "nbf", int64(1)<<33),
		of.without("no-jti", "jti"), of.set("empty-jti", "jti", ""), of.set("same-jti", "jti", "the-same-jti"),
		of.without("no-events", "events"), event("events-string", logoutEvent), event("events-null", nil),
		event("events-array", []any{logoutEvent}), event("event-null", map[string]any{logoutEvent: nil}),
		event("event-string", map[string]any{logoutEvent: "x"}),
		event("other-event", map[string]any{"http://schemas.example/event/other": map[string]any{}}),
		event("extra-event", map[string]any{logoutEvent: map[string]any{"a": 1}, "http://schemas.example/event/other": 1}),
		of.set("nonce", "nonce", "the-nonce"), of.set("nonce-null", "nonce", nil), of.set("nonce-empty", "nonce", ""),
		of.without("no-sub-no-sid", "sub", "sid"), of.without("sid-only", "sub"), of.without("sub-only", "sid"),
		of.set("wrong-sid", "sid", "another-session"), of.set("empty-sid", "sid", ""), of.set("sid-number", "sid", 42),
		of.header("typ-jwt", "typ", "JWT"), of.header("typ-access", "typ", "at+jwt"),
		of.header("typ-long", "typ", "application/logout+jwt"), // RFC 7515 4.1.9: the same as the short one
		of("no-typ", func(t *JWT) { delete(t.Header, "typ") }),
	)
}
