package devidp

import (
	"io"
	"net/http"
)

// sendUserInfo answers with claims: plain, or as a JWT with iss and aud for a client that
// registered so (OpenID Connect Core 5.3.2).
func (p *Provider) sendUserInfo(w http.ResponseWriter, r *http.Request, g *grant, claims map[string]any) {
	client, _ := p.client(g.client)
	hits := p.take(func(f *Fault) bool { return f.UserInfo != nil })
	if client.UserInfoAlg == "" && len(hits) == 0 {
		p.json(w, r, http.StatusOK, claims)
		return
	}
	for _, f := range p.take(func(f *Fault) bool { return f.Body != nil && f.at(r) }) {
		f.Body(claims)
	}
	claims["iss"], claims["aud"] = p.Issuer(), g.client
	t := p.newJWT("JWT", client.UserInfoAlg, claims)
	t.grant = g
	for _, f := range hits {
		f.UserInfo(t)
	}
	token, err := t.token()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/jwt")
	w.Header().Set("Cache-Control", "no-store")
	p.spoilHeader(w, r)
	p.see(r, func(s *Seen) { s.Status = http.StatusOK })
	_, _ = io.WriteString(w, token)
}

func userInfoFaults() []Fault {
	const at = "/userinfo"
	signed := jwtFault(func(name string, change func(*JWT)) Fault {
		return Fault{Name: "userinfo-jwt-" + name, UserInfo: change}
	})
	mislabelled := func(name, contentType string, change func(*JWT)) Fault {
		return Fault{Name: name, At: at, UserInfo: change, Header: func(h http.Header) { h.Set("Content-Type", contentType) }}
	}
	return append(append(outages("userinfo", at), signed.forgeries()...),
		bodySet("userinfo-wrong-sub", at, "sub", "another-user"), bodySet("userinfo-empty-sub", at, "sub", ""),
		bodySet("userinfo-sub-number", at, "sub", 42), bodyWithout("userinfo-no-sub", at, "sub"),
		Fault{Name: "userinfo-sub-suffix", At: at, Body: func(b map[string]any) { b["sub"] = b["sub"].(string) + "invalid" }},
		Fault{Name: "userinfo-401", At: at, Answer: func(w http.ResponseWriter, _ *http.Request) { challenge(w, true, "a fault on demand") }},
		Fault{Name: "userinfo-403", At: at, Answer: refuse(http.StatusForbidden, "insufficient_scope")},
		Fault{Name: "userinfo-empty", At: at, Answer: answer(http.StatusOK, "application/json", "")},
		Fault{Name: "userinfo-array", At: at, Answer: answer(http.StatusOK, "application/json", "[]")},
		signed("good", func(*JWT) {}), // which is allowed
		signed.set("other-iss", "iss", "https://another-provider.example"), signed.without("no-iss", "iss"),
		signed.set("other-aud", "aud", "another-client"), signed.without("no-aud", "aud"),
		signed.set("other-sub", "sub", "another-user"),
		mislabelled("userinfo-jwt-as-json", "application/json", func(*JWT) {}),
		mislabelled("userinfo-json-as-jwt", "application/jwt", nil),
		mislabelled("userinfo-text", "text/plain", nil),
		elsewhere("userinfo-distributed", "groups", map[string]any{"access_token": "for-the-other-provider"}),
		Fault{Name: "userinfo-aggregated", At: at, Body: func(b map[string]any) {
			b["_claim_names"] = map[string]any{"groups": "src1"}
			b["_claim_sources"] = map[string]any{"src1": map[string]any{"JWT": "e30.eyJncm91cHMiOlsiZnJvbS1hZmFyIl19."}}
			delete(b, "groups")
		}},
	)
}

// elsewhere has UserInfo say that another address knows a claim (OpenID Connect Core
// 5.6.2). Its calls count as Stats.Recorded["claims"].
func elsewhere(name, claim string, source map[string]any) Fault {
	return Fault{Name: name, bind: func(p *Provider) Fault {
		return Fault{At: "/userinfo", Body: func(b map[string]any) {
			whole := map[string]any{"endpoint": p.endpoint("/recorded/claims")}
			for member, value := range source {
				whole[member] = value
			}
			b["_claim_names"] = map[string]any{claim: "src1"}
			b["_claim_sources"] = map[string]any{"src1": whole}
			delete(b, claim)
		}}
	}}
}
