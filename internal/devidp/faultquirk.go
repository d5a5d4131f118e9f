package devidp

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// quirks are what products do that a client has to live with. The name says whose it is.
func quirks() []Fault {
	return slices.Concat(errorQuirks(), scopeQuirks(), []Fault{
		{
			Name: "quirk-unannounced-iss", At: wellKnown,
			Body:     func(b map[string]any) { delete(b, "authorization_response_iss_parameter_supported") },
			Redirect: func(v url.Values) { v.Set("session_state", "x.y") },
		},
		{Name: "quirk-okta-access-sub", AccessToken: func(t *JWT) { t.Claims["sub"] = t.grant.user.Email }},
		{Name: "quirk-hydra-logout-token", LogoutToken: func(t *JWT) {
			if delete(t.Claims, "exp"); t.Claims["sid"] != nil {
				delete(t.Claims, "sub")
			}
		}},
		{Name: "quirk-glewlwyd-logout-token", LogoutToken: func(t *JWT) { delete(t.Claims, "exp") }},
		{Name: "quirk-dot-discovery", bind: func(p *Provider) Fault {
			return Fault{At: wellKnown, Answer: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, p.endpoint(wellKnown+"/"), http.StatusMovedPermanently)
			}}
		}},
		{Name: "quirk-opaque-access", AccessToken: func(t *JWT) {
			t.Serialize = func(string, string, string) string { return "opaque-" + rand.Text() }
		}},
		zitadelShape(),
	})
}

// errorQuirks are errors of the token endpoint.
func errorQuirks() []Fault {
	of := func(name string, matches func(grant, code string) bool, send http.HandlerFunc) Fault {
		return Fault{Name: name, At: "/token", Refuse: func(w http.ResponseWriter, r *http.Request, code string) bool {
			hit := matches(r.PostForm.Get("grant_type"), code)
			if hit {
				send(w, r)
			}
			return hit
		}}
	}
	return []Fault{
		of("quirk-glewlwyd-token-error", func(string, string) bool { return true },
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }),
		of("quirk-glewlwyd-code", func(grant, code string) bool { return grant == "authorization_code" && code == "invalid_grant" },
			answer(http.StatusForbidden, "application/json", `{"error":"invalid_code"}`)),
		of("quirk-okta-unknown-client", func(_, code string) bool { return code == "invalid_client" },
			answer(http.StatusUnauthorized, "application/json",
				`{"errorCode":"invalid_client","errorSummary":"A fault on demand.","errorLink":"invalid_client","errorId":"x","errorCauses":[]}`)),
		dexOneRefresh(of("", func(grant, code string) bool { return grant == "refresh_token" && code == "invalid_grant" },
			refuse(http.StatusBadRequest, "invalid_request"))),
	}
}

// dexOneRefresh keeps one refresh token for each user and client: the newest sign-in's.
func dexOneRefresh(refusal Fault) Fault {
	return Fault{Name: "quirk-dex-one-refresh", bind: func(p *Provider) Fault {
		return Fault{At: "/token", Refuse: refusal.Refuse, Request: func(form url.Values) (code, text string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if g, known := p.codes.get(form.Get("code")); known {
				p.families.dropIf(func(old *grant) bool {
					return old.client == g.client && old.user.Subject == g.user.Subject
				})
			}
			return "", ""
		}}
	}}
}

// scopeQuirks are what becomes of an authorization request.
func scopeQuirks() []Fault {
	of := func(name string, request func(url.Values) (code, text string)) Fault {
		return Fault{Name: name, At: "/authorize", Request: request}
	}
	unknown := func(scope string) func(url.Values) (code, text string) {
		return func(v url.Values) (code, text string) {
			if slices.Contains(strings.Fields(v.Get("scope")), scope) {
				return "invalid_scope", "the scope " + scope + " is unknown"
			}
			return "", ""
		}
	}
	always := of("quirk-dot-offline", unknown("offline_access"))
	always.giveRefresh = true
	return []Fault{
		always,
		of("quirk-okta-groups-scope", unknown("groups")),
		of("quirk-offline-needs-consent", func(v url.Values) (code, text string) { // OpenID Connect Core 11
			if !slices.Contains(strings.Fields(v.Get("prompt")), "consent") {
				scopes := slices.DeleteFunc(strings.Fields(v.Get("scope")), func(s string) bool { return s == "offline_access" })
				v.Set("scope", strings.Join(scopes, " "))
			}
			return "", ""
		}),
		of("quirk-hydra-state", func(v url.Values) (code, text string) {
			if len(v.Get("state")) < 8 {
				return "invalid_state", "state is too short"
			}
			return "", ""
		}),
	}
}

// zitadelShape has long codes and access tokens, and lists for aud.
func zitadelShape() Fault {
	list := func(t *JWT) { t.Claims["aud"] = []any{t.Claims["aud"]} }
	padding := "_" + strings.Repeat("x", 273) // rand.Text knows neither
	return Fault{
		Name: "quirk-zitadel-shape", IDToken: list, LogoutToken: list,
		AccessToken: func(t *JWT) {
			t.Serialize = func(string, string, string) string { return rand.Text() + padding }
		},
		Redirect: func(v url.Values) {
			if v.Has("code") {
				v.Set("code", v.Get("code")+padding)
			}
		},
		At: "/token",
		Request: func(v url.Values) (code, text string) {
			if v.Has("code") {
				v.Set("code", strings.TrimSuffix(v.Get("code"), padding))
			}
			return "", ""
		},
	}
}
