package app_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"genkan/internal/devidp"
)

// The plans of OpenID Connect Core with the code flow: Basic RP, Form Post RP,
// Config RP, third-party-initiated login RP, and what the plans that certify nothing add.

// basicPlan is oidcc-client-basic-certification-test-plan.
func basicPlan() plan {
	return plan{
		settings: "client_secret: suite-secret-canary-0123456789\nclient_auth: client_secret_basic\nuserinfo: on\n",
		idp:      func(c *devidp.Config, _ string) { c.Clients[0].Secret = "suite-secret-canary-0123456789" },
		faults: []devidp.Fault{
			metadata(without("revocation_endpoint", "end_session_endpoint", "authorization_response_iss_parameter_supported")),
			redirect(func(v url.Values) { v.Del("iss") }),
			body("/token", without("expires_in", "scope", "refresh_token")),
			idToken(func(t *devidp.JWT) {
				for _, name := range []string{"sid", "acr", "amr", "auth_time"} {
					delete(t.Claims, name)
				}
			}),
		},
		keys:  coreKeys,
		calls: []string{"/authorize", "/token", "/userinfo"},
		modules: []module{
			{name: "oidcc-client-test", also: hasName},
			wrongIDToken("oidcc-client-test-invalid-iss", claim("iss", other("1"))),
			wrongIDToken("oidcc-client-test-missing-sub", withoutClaim("sub")),
			wrongIDToken("oidcc-client-test-invalid-aud", claim("aud", other("1"))),
			wrongIDToken("oidcc-client-test-missing-iat", withoutClaim("iat")),
			{name: "oidcc-client-test-kid-absent-single-jwks", faults: []devidp.Fault{withoutKid}, keys: func(real map[string]any) []any {
				delete(real, "kid")
				return append(extra{ec: 1, koblitz: 1, okp: 1}.keys(), real)
			}},
			{name: "oidcc-client-test-kid-absent-multiple-jwks", faults: []devidp.Fault{withoutKid}, keys: func(real map[string]any) []any {
				delete(real, "kid")
				return append(extra{rsa: 2, ec: 3, koblitz: 3, okp: 3}.keys(), real)
			}},
			{name: "oidcc-client-test-idtoken-sig-rs256"},
			wrongIDToken("oidcc-client-test-idtoken-sig-none", unsigned),
			wrongIDToken("oidcc-client-test-invalid-sig-rs256", badSignature),
			{name: "oidcc-client-test-userinfo-invalid-sub", refused: "userinfo_invalid", last: "/userinfo",
				faults: []devidp.Fault{body("/userinfo", func(b map[string]any) { b["sub"] = b["sub"].(string) + "invalid" })}},
			wrongIDToken("oidcc-client-test-nonce-invalid", claim("nonce", other("1"))),
			{name: "oidcc-client-test-scope-userinfo-claims", also: func(x *trial) {
				scopes := strings.Fields(x.suite.received("/authorize")[0].query.Get("scope"))
				if !slices.Contains(scopes, "profile") || !slices.Contains(scopes, "email") {
					x.t.Errorf("scopes %v", scopes)
				}
				hasName(x)
			}},
			{name: "oidcc-client-test-client-secret-basic", also: usedBasic},
		},
	}
}

func formPostPlan() plan {
	p := basicPlan()
	p.settings += "response_mode: form_post\n"
	for i := range p.modules {
		p.modules[i].also = and(p.modules[i].also, cameByFormPost)
	}
	return p
}

func thirdPartyPlan() plan {
	p := basicPlan()
	// The default provider is another one, so that only iss can lead to the suite.
	p.others = "  - {id: other, issuer: \"https://127.0.0.1:1\", client_id: x, client_secret: y}\n"
	p.modules = []module{{name: "oidcc-client-test-3rd-party-init-login", enter: "/bff/login?iss=ISSUER"}}
	return p
}

// configPlan is oidcc-client-config-certification-test-plan.
func configPlan() plan {
	p := basicPlan()
	p.modules = []module{
		{name: "oidcc-client-test-discovery-openid-config", also: func(x *trial) {
			if got := x.suite.record()[0].path; got != "/.well-known/openid-configuration" {
				x.t.Errorf("the first request was for %s", got)
			}
		}},
		{
			name:   "oidcc-client-test-discovery-jwks-uri-keys",
			faults: []devidp.Fault{metadata(func(b map[string]any) { b["jwks_uri"] = b["jwks_uri"].(string) + "xKwTqPzrLb" })},
			also: func(x *trial) {
				if len(x.suite.received("/jwksxKwTqPzrLb")) != 1 || len(x.suite.received("/jwks")) != 0 {
					x.t.Error("the keys were not taken from jwks_uri alone")
				}
			},
		},
		{
			name: "oidcc-client-test-discovery-issuer-mismatch", refused: "provider_metadata",
			faults: []devidp.Fault{metadata(func(b map[string]any) { b["issuer"] = b["issuer"].(string) + "INVALID" })},
		},
		wrongIDToken("oidcc-client-test-idtoken-sig-none", unsigned),
		// Without a sign-in before, there would be no old keys to hold on to.
		{name: "oidcc-client-test-signing-key-rotation-just-before-signing", before: signedInBefore, also: fetchedKeysTwice},
		{
			name: "oidcc-client-test-signing-key-rotation", also: fetchedKeysTwice,
			before: func(x *trial) {
				signedInBefore(x)
				x.suite.on("/token", nil)
				if err := x.suite.idp.RollKey(); err != nil {
					x.t.Fatal(err)
				}
			},
		},
	}
	return p
}

// signedInBefore signs somebody else in, so that the keys are known, and has them
// changed at the next token request.
func signedInBefore(x *trial) {
	x.signIn(newBrowser(x.t))
	x.suite.forget()
	x.suite.on("/token", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := x.suite.idp.RollKey(); err != nil {
			x.t.Error(err)
		}
		next.ServeHTTP(w, r)
	})
}

// fetchedKeysTwice counts from where the record was cut: the first time was before.
func fetchedKeysTwice(x *trial) {
	if got := len(x.suite.received("/jwks")); got != 1 {
		x.t.Errorf("the changed keys were fetched %d times", got)
	}
}

// furtherPlan is oidcc-client-test-plan, without what other plans have too.
func furtherPlan() plan {
	p := basicPlan()
	p.keys = nil // devidp's own: a key of each kind signs
	p.modules = []module{
		wrongIDToken("oidcc-client-test-missing-aud", withoutClaim("aud")),
		{name: "oidcc-client-test-nonce-unless-code-flow"},
		{name: "oidcc-client-test-userinfo-bearer-header", also: func(x *trial) {
			if got := x.suite.received("/userinfo")[0].header.Get("Authorization"); !strings.HasPrefix(got, "Bearer ") {
				x.t.Error("the access token is not in the Authorization header")
			}
		}},
		{name: "oidcc-client-test-userinfo-signed", settings: "userinfo_signing_alg: RS256\n", also: hasName,
			idp: func(c *devidp.Config, _ string) { c.Clients[0].UserInfoAlg = "RS256" }},
		{name: "oidcc-client-test-invalid-sig-es256", settings: "id_token_signing_algs: [ES256]\n", refused: "id_token_invalid", last: "/token",
			idp: func(c *devidp.Config, _ string) { c.Clients[0].IDTokenAlg = "ES256" }, faults: []devidp.Fault{badSignature}},
		wrongIDToken("oidcc-client-test-invalid-sig-hs256", named("id-alg-hs256")),
		{
			// A sign-in that is to be silent goes back in silence; one whose configuration has no way out shows a page.
			name: "oidcc-client-test-form-post-error", settings: "response_mode: form_post\nauthorize_params: {prompt: none}\n",
			enter: "/bff/login?max_age=0", refused: "login_required", last: "/authorize",
			faults: []devidp.Fault{redirect(func(v url.Values) { v.Del("code"); v.Set("error", "login_required") })},
			before: func(x *trial) { x.suite.silent = true },
		},
		{name: "oidcc-client-test-aggregated-claims", also: hasName, faults: []devidp.Fault{body("/userinfo", func(b map[string]any) {
			b["_claim_names"] = map[string]any{"address": "src1", "phone_number": "src1"}
			b["_claim_sources"] = map[string]any{"src1": map[string]any{"JWT": "eyJhbGciOiJub25lIn0.eyJhZGRyZXNzIjp7fX0."}}
		})}},
	}
	return p
}

// refreshPlan is oidcc-client-refreshtoken-test-plan. The suite's ID tokens have the
// nonce of the sign-in after a refresh as well.
func refreshPlan() plan {
	p := basicPlan()
	p.settings += "scopes: [openid, profile, email, offline_access]\n"
	p.more = "upstreams:\n  - {path: /api/, url: RESOURCE, auth: required, token: relay}\n"
	p.resource = func(s *suite) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.note(call{path: "resource", header: r.Header.Clone()})
		})
	}
	p.faults = p.faults[:0:0] // one of them takes the refresh token away
	p.faults = append(p.faults, metadata(without("revocation_endpoint", "end_session_endpoint")))
	p.modules = []module{
		{name: "oidcc-client-test-refresh-token", also: refreshed},
		{name: "oidcc-client-test-refresh-token-invalid-issuer", verdict: "refused", also: refusedRefresh(claim("iss", other("1")))},
		{name: "oidcc-client-test-refresh-token-invalid-sub", verdict: "refused", also: refusedRefresh(claim("sub", other("1")))},
	}
	for i := range p.modules {
		nonce := any(nil)
		p.modules[i].faults = []devidp.Fault{idToken(func(t *devidp.JWT) {
			if t.Claims["nonce"] == nil {
				t.Claims["nonce"] = nonce
			}
			nonce = t.Claims["nonce"]
		})}
	}
	return p
}

// refreshed refreshes, and calls something with the new access token.
func refreshed(x *trial) {
	first := accessTokens(x)
	if status, body := x.browser.fetch(http.MethodPost, x.base+"/bff/refresh"); status != http.StatusOK {
		x.t.Fatalf("refresh: %d %.500s", status, body)
	}
	x.browser.fetch(http.MethodGet, x.base+"/api/me")
	tokens, calls := accessTokens(x), x.suite.received("resource")
	if len(tokens) != len(first)+1 || len(calls) != 1 || calls[0].header.Get("Authorization") != "Bearer "+tokens[len(tokens)-1] {
		x.t.Errorf("%d access tokens, %d calls; or the call is not with the newest token", len(tokens), len(calls))
	}
}

func accessTokens(x *trial) (tokens []string) {
	for _, token := range x.suite.idp.Issued() {
		if readJWT(token).header["typ"] == "at+jwt" {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// refusedRefresh has the ID token of a refresh be wrong: nothing of that answer is used.
func refusedRefresh(wrong devidp.Fault) func(*trial) {
	return func(x *trial) {
		x.suite.idp.Inject(wrong)
		x.suite.forget()
		status, _ := x.browser.fetch(http.MethodPost, x.base+"/bff/refresh")
		after, _ := x.browser.fetch(http.MethodGet, x.base+"/api/me")
		if status != http.StatusUnauthorized || after != http.StatusUnauthorized || x.session().Authenticated {
			x.t.Errorf("refresh %d, the call after it %d, signed in %v", status, after, x.session().Authenticated)
		}
		if got := x.suite.called(); !slices.Equal(got, []string{"/token"}) {
			x.t.Errorf("the provider and the resource were asked for %v", got)
		}
	}
}

// wrongIDToken must end the sign-in before UserInfo is called.
func wrongIDToken(name string, wrong devidp.Fault) module {
	return module{name: name, faults: []devidp.Fault{wrong}, refused: "id_token_invalid", last: "/token"}
}

var (
	withoutKid   = idToken(func(t *devidp.JWT) { delete(t.Header, "kid") })
	badSignature = named("id-bad-signature")
	unsigned     = named("id-alg-none")
)

func named(name string) devidp.Fault { return must(devidp.FaultNamed(name)) }

// coreKeys is the suite's ordinary key set: no key says its algorithm, and only one
// of them signs.
func coreKeys(real map[string]any) []any {
	delete(real, "alg")
	keys := append(extra{rsa: 1, ec: 2, koblitz: 1, okp: 1, kid: numbered}.keys(), real)
	for _, encryption := range (extra{rsa: 1, ec: 1, kid: func(n int) string { return "enc-" + numbered(n) }}).keys() {
		key := encryption.(map[string]any)
		key["use"] = "enc"
		keys = append(keys, key)
	}
	return keys
}

func and(these ...func(*trial)) func(*trial) {
	return func(x *trial) {
		for _, f := range these {
			if f != nil {
				f(x)
			}
		}
	}
}

func hasName(x *trial) {
	if got := x.session().User["name"]; got != "Alice Arai" {
		x.t.Errorf("the name that only UserInfo tells is %v", got)
	}
}

func cameByFormPost(x *trial) {
	for _, c := range x.suite.received("/authorize") {
		if c.query.Get("response_mode") != "form_post" {
			x.t.Errorf("response_mode=%s", c.query.Get("response_mode"))
		}
	}
}

func usedBasic(x *trial) {
	c := x.suite.received("/token")[0]
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("genkan:suite-secret-canary-0123456789"))
	if got := c.header.Get("Authorization"); got != want {
		x.t.Errorf("Authorization: %s", got)
	}
	for _, name := range []string{"client_secret", "client_assertion"} {
		if c.form.Has(name) {
			x.t.Errorf("%s is sent too", name)
		}
	}
}
