package devidp

import (
	"fmt"
	"net/url"
	"strings"
)

const day = 24 * 60 * 60 // seconds

func idTokenFaults() []Fault {
	id := jwtFault(func(name string, change func(*JWT)) Fault { return Fault{Name: "id-" + name, IDToken: change} })
	return append(append(id.forgeries(), id.identityFaults()...),
		id.set("wrong-nonce", "nonce", "another-nonce"), id.set("empty-nonce", "nonce", ""), id.set("nonce-number", "nonce", 7),
		id.without("no-nonce", "nonce"),
		id.set("wrong-acr", "acr", "0"), id.without("no-acr", "acr"),
		id.set("wrong-at-hash", "at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), id.without("no-at-hash", "at_hash"),
		id.shift("expired", "exp", -day), id.shift("expired-hour", "exp", -60*60-5*60), id.without("no-exp", "exp"),
		id.set("exp-zero", "exp", 0), id.claim("exp-string", "exp", func(v any) any { return fmt.Sprint(v) }),
		id.shift("future-iat", "iat", day), id.shift("old-iat", "iat", -day), id.without("no-iat", "iat"),
		id.set("future-nbf", "nbf", int64(1)<<33), // the year 2242
		id.shift("old-auth-time", "auth_time", -day), id.without("no-auth-time", "auth_time"),
		id.set("events", "events", map[string]any{logoutEvent: map[string]any{}}),
		id.header("typ-logout", "typ", "logout+jwt"), id.header("typ-access", "typ", "at+jwt"),
		id("no-typ", func(t *JWT) { delete(t.Header, "typ") }),
		id("many-claims", func(t *JWT) {
			for i := range 200 {
				t.Claims[fmt.Sprintf("x%d", i)] = map[string]any{"deep": []any{nil, map[string]any{"er": i}}}
			}
			t.Claims["phone_number"], t.Claims["address"] = nil, nil
		}),
		id.set("email-unverified", "email_verified", false), id.set("email-verified-string", "email_verified", "false"),
		id.without("no-email-verified", "email_verified"),
		id("groups-overage", func(t *JWT) { // as Entra sends it
			delete(t.Claims, "groups")
			t.Claims["_claim_names"] = map[string]any{"groups": "src1"}
			t.Claims["_claim_sources"] = map[string]any{"src1": map[string]any{"endpoint": t.provider.endpoint("/recorded/groups")}}
		}),
		id("hasgroups", func(t *JWT) { // as Entra sends it in small tokens
			delete(t.Claims, "groups")
			t.Claims["hasgroups"] = true
		}),
	)
}

// identityFaults are in iss, sub, aud and azp.
func (of jwtFault) identityFaults() []Fault {
	return []Fault{
		of.claim("wrong-iss", "iss", func(v any) any { return v.(string) + "1" }),
		of.claim("iss-slash", "iss", func(v any) any { return v.(string) + "/" }),
		of.claim("iss-upper", "iss", func(v any) any { return strings.ToUpper(v.(string)) }),
		of.claim("other-tenant", "iss", func(v any) any { return v.(string) + "/other" }),
		of.without("no-iss", "iss"),
		of.set("wrong-aud", "aud", "another-client"), of.without("no-aud", "aud"), of.set("empty-aud", "aud", []any{}),
		of.set("aud-number", "aud", 42), of.claim("array-aud", "aud", func(v any) any { return []any{v} }),
		of.claim("extra-aud", "aud", func(v any) any { return []any{v, "another-client"} }),
		of("extra-aud-azp", func(t *JWT) {
			t.Claims["azp"] = t.Claims["aud"]
			t.Claims["aud"] = []any{t.Claims["aud"], "another-client"}
		}),
		of.set("wrong-azp", "azp", "another-client"), of("azp", func(t *JWT) { t.Claims["azp"] = t.Claims["aud"] }),
		of.set("wrong-sub", "sub", "another-user"), of.without("no-sub", "sub"), of.set("empty-sub", "sub", ""),
		of.set("sub-number", "sub", 42), of.set("sub-300", "sub", strings.Repeat("s", 300)),
		of.set("sub-not-ascii", "sub", "zoë"),
	}
}

func redirectFaults() []Fault {
	var faults []Fault
	for _, code := range []string{
		"access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required",
		"invalid_request", "invalid_scope", "unauthorized_client", "server_error", "temporarily_unavailable", "unheard_of",
	} {
		faults = append(faults, Fault{Name: "authorize-" + code, Redirect: func(v url.Values) { fail(v, code) }})
	}
	of := func(name string, change func(url.Values)) Fault {
		return Fault{Name: "authorize-" + name, Redirect: change}
	}
	set := func(name, member, value string) Fault {
		return of(name, func(v url.Values) { v.Set(member, value) })
	}
	without := func(name, member string) Fault { return of(name, func(v url.Values) { v.Del(member) }) }
	twice := func(name, member, value string) Fault {
		return of(name, func(v url.Values) { v.Add(member, value) })
	}
	return append(faults,
		set("wrong-iss", "iss", "https://another-provider.example"), without("no-iss", "iss"),
		of("iss-slash", func(v url.Values) { v.Set("iss", v.Get("iss")+"/") }),
		of("iss-upper", func(v url.Values) { v.Set("iss", strings.ToUpper(v.Get("iss"))) }),
		of("iss-percent", func(v url.Values) { v.Set("iss", url.QueryEscape(v.Get("iss"))) }),
		twice("iss-twice", "iss", "https://another-provider.example"),
		set("wrong-state", "state", "another-state"), without("no-state", "state"), set("empty-state", "state", ""),
		twice("state-twice", "state", "another-state"),
		of("error-wrong-state", func(v url.Values) { fail(v, "access_denied"); v.Set("state", "another-state") }),
		of("error-wrong-iss", func(v url.Values) { fail(v, "access_denied"); v.Set("iss", "https://another-provider.example") }),
		without("no-code", "code"), set("empty-code", "code", ""), twice("code-twice", "code", "another-code"),
		set("code-and-error", "error", "access_denied"),
		of("extra", func(v url.Values) { v.Set("session_state", "x"); v.Set("foo", "bar") }),
	)
}

// fail turns the answer into an error whose text is an attack.
func fail(v url.Values, code string) {
	v.Del("code")
	v.Set("error", code)
	v.Set("error_description", "a fault on demand <script>alert(1)</script>")
}
