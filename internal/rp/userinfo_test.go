package rp

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"
)

func TestUserInfoRequest(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.userinfo = object{"sub": "alice", "name": "Other", "groups": []string{"staff"}, "iss": "https://evil.example", "sid": "x", "nonce": "y"}
	id := p.mustSignIn(p.client(func(c *Config) { c.UserInfo = UserInfoOn })).Identity
	calls := p.seen("/userinfo")
	if len(calls) != 1 || calls[0].method != http.MethodGet || calls[0].header.Get("Authorization") != "Bearer access-1" || len(calls[0].query) != 0 {
		t.Errorf("asked %+v", calls)
	}
	want := map[string]string{"name": `"Alice"`, "groups": `["staff"]`, "sub": `"alice"`, "iss": "", "sid": "", "nonce": ""}
	for name, value := range want {
		if got := string(id.Claims[name]); got != value {
			t.Errorf("%s is %s, want %s", name, got, value)
		}
	}
	if id.Issuer != issuer || id.SID != "" {
		t.Errorf("identity is %+v", id)
	}
}

func TestUserInfoIsCalledWhenNeeded(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		mode   UserInfoMode
		scopes []string
		claims object
		meta   object
		calls  int
	}{
		{"auto, all there", UserInfoAuto, nil, nil, nil, 0},
		{"auto, thin token", "", nil, object{"name": nil}, nil, 1},
		{"auto, no e-mail", UserInfoAuto, nil, object{"email": nil}, nil, 1},
		{"auto, e-mail was not asked for", UserInfoAuto, []string{"openid"}, object{"email": nil, "name": nil}, nil, 0},
		{"auto, groups asked for", UserInfoAuto, []string{"openid", "groups"}, nil, nil, 1},
		{"auto, no endpoint", UserInfoAuto, nil, object{"name": nil}, object{"userinfo_endpoint": nil}, 0},
		{"on", UserInfoOn, nil, nil, nil, 1},
		{"off", UserInfoOff, nil, object{"name": nil}, nil, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.claims, p.metadata = with(p.claims, row.claims), with(p.metadata, row.meta)
			p.mustSignIn(p.client(func(c *Config) { c.UserInfo, c.Scopes = row.mode, row.scopes }))
			if n := p.count("/userinfo"); n != row.calls {
				t.Errorf("called %d times, want %d", n, row.calls)
			}
		})
	}
}

// TestUserInfoFailures: 71 to 75. auto goes on without a UserInfo that is down, and never
// with one that is wrong.
func TestUserInfoFailures(t *testing.T) {
	t.Parallel()
	signed := func(key any, alg string, header, change object) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			claims := with(object{"iss": issuer, "aud": clientID, "sub": "alice", "groups": []string{"staff"}}, change)
			text(200, "application/jwt", sign(t, key, alg, "k1", header, claims))(w, r)
		}
	}
	plain := func(body any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, body) }
	}
	rows := []struct {
		name   string
		answer http.HandlerFunc
		code   string // empty: accepted
		down   bool   // auto goes on
	}{
		{"plain", plain(object{"sub": "alice", "groups": []string{"staff"}}), "", false},
		{"71 another sub", plain(object{"sub": "aliceinvalid", "groups": 1}), "sub", false},
		{"71 no sub", plain(object{"groups": 1}), "sub", false},
		{"71 sub a number", plain(object{"sub": 1}), "sub", false},
		{"72 signed", signed(rsaKey(), "RS256", nil, nil), "", false},
		{"72 signed, not yet over", signed(rsaKey(), "RS256", nil, object{"exp": at(time.Minute)}), "", false},
		{"72 signed, over", signed(rsaKey(), "RS256", nil, object{"exp": at(-time.Hour)}), "exp", false},
		{"72 signed by another key", signed(otherRSA(), "RS256", nil, nil), "signature", false},
		{"72 signed by MAC", signed([]byte("secret-secret-secret-secret-secret"), "HS256", nil, nil), "verify", false},
		{"72 unsigned", text(200, "application/jwt", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9."), "verify", false},
		{"72 aud of another", signed(rsaKey(), "RS256", nil, object{"aud": "other"}), "verify", false},
		{"72 no aud", signed(rsaKey(), "RS256", nil, object{"aud": nil}), "verify", false},
		{"72 iss of another", signed(rsaKey(), "RS256", nil, object{"iss": "https://evil.example"}), "verify", false},
		{"72 no iss", signed(rsaKey(), "RS256", nil, object{"iss": nil}), "verify", false},
		{"72 signed, another sub", signed(rsaKey(), "RS256", nil, object{"sub": "bob"}), "sub", false},
		{"66 an access token", signed(rsaKey(), "RS256", object{"typ": "at+jwt"}, nil), "form", false},
		{"73 JSON sent as JWT", text(200, "application/jwt", `{"sub":"alice"}`), "form", false},
		{"73 JWT sent as JSON", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9."))
		}, "payload", false},
		{"73 HTML", text(200, "text/html", "CANARY"), "content_type", false},
		{"73 no content type", text(200, "", `{"sub":"alice"}`), "content_type", false},
		{"a list", plain([]string{"CANARY"}), "payload", false},
		{"null", plain(nil), "sub", false},
		{"75 401", text(401, "application/json", `{"error":"CANARY"}`), "status", true},
		{"75 500", text(500, "text/html", "CANARY"), "status", true},
		{"75 too large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20+1)) }, "too_large", true},
	}
	for _, row := range rows {
		for _, mode := range []UserInfoMode{UserInfoOn, UserInfoAuto} {
			t.Run(row.name+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				p := newProvider(t)
				p.answers("/userinfo", row.answer)
				grant, err := p.signIn(p.client(func(c *Config) { c.UserInfo, c.Scopes = mode, []string{"groups"} }))
				_, merged := grant.Identity.Claims["groups"]
				switch {
				case row.code == "" || row.down && mode == UserInfoAuto:
					if err != nil || merged != (row.code == "") {
						t.Errorf("merged %t, error %v", merged, err)
					}
				case row.down:
					wantError(t, err, Fault, "provider_unavailable", row.code)
				default:
					wantError(t, err, Invalid, "userinfo_invalid", row.code)
				}
			})
		}
	}
}

// TestUserInfoAlg: it is the only form of UserInfo then, and of UserInfo only; it need not
// be among those of ID tokens.
func TestUserInfoAlg(t *testing.T) {
	t.Parallel()
	body := object{"iss": issuer, "aud": clientID, "sub": "alice", "groups": []string{"staff"}}
	rows := []struct {
		name   string
		alg    string
		answer http.HandlerFunc
		code   string // empty: accepted
	}{
		{"72 that one", "ES256", text(200, "application/jwt", sign(t, ecKey(), "ES256", "k2", nil, body)), ""},
		{"72 that one, any form", "", text(200, "application/jwt", sign(t, ecKey(), "ES256", "k2", nil, body)), "verify"},
		{"72 one of ID tokens", "ES256", text(200, "application/jwt", sign(t, rsaKey(), "RS256", "k1", nil, body)), "verify"},
		{"72 one of ID tokens, any form", "", text(200, "application/jwt", sign(t, rsaKey(), "RS256", "k1", nil, body)), ""},
		{"72 not signed", "ES256", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, body) }, "content_type"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.keys = append(p.keys, jwk("k2", "ES256", &ecKey().PublicKey))
			p.answers("/userinfo", row.answer)
			grant, err := p.signIn(p.client(func(c *Config) { c.UserInfo, c.UserInfoAlg = UserInfoOn, row.alg }))
			if row.code != "" {
				wantError(t, err, Invalid, "userinfo_invalid", row.code)
			} else if err != nil || string(grant.Identity.Claims["groups"]) != `["staff"]` {
				t.Errorf("groups %s, error %v", grant.Identity.Claims["groups"], err)
			}
		})
	}
	p := newProvider(t)
	p.keys = append(p.keys, jwk("k2", "ES256", &ecKey().PublicKey))
	c := p.client(func(c *Config) { c.UserInfoAlg = "ES256" })
	_, login := p.begin(c, AuthRequest{})
	p.token["id_token"] = sign(t, ecKey(), "ES256", "k2", nil, p.claims)
	_, err := c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
	wantError(t, err, Invalid, "id_token_invalid", "verify")
}

func TestUserInfoOnWithoutEndpoint(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	delete(p.metadata, "userinfo_endpoint")
	_, err := p.signIn(p.client(func(c *Config) { c.UserInfo = UserInfoOn }))
	wantError(t, err, Misconfigured, "userinfo_invalid", "userinfo_endpoint")
}

func TestClaimSourcesAreNotFetched(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	sources := object{"_claim_names": object{"groups": "s"}, "_claim_sources": object{"s": object{"endpoint": "http://169.254.169.254/groups"}}}
	maps.Copy(p.claims, sources)
	maps.Copy(p.userinfo, sources)
	p.mustSignIn(p.client(func(c *Config) { c.UserInfo = UserInfoOn }))
	if n := p.count("/groups"); n != 0 {
		t.Errorf("fetched %d times", n)
	}
}

func TestRefreshCallsNoUserInfo(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.userinfo["groups"] = []string{"staff"}
	c := p.client(func(c *Config) { c.UserInfo = UserInfoOn })
	grant := p.mustSignIn(c)
	next, err := c.Refresh(t.Context(), grant)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.count("/userinfo"); n != 1 || string(next.Identity.Claims["groups"]) != `["staff"]` {
		t.Errorf("called %d times, groups %s", n, next.Identity.Claims["groups"])
	}
}

func FuzzCheckHeader(f *testing.F) {
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("e30.e30.e30")
	f.Add(`{"payload":"","signatures":[]}`)
	f.Fuzz(func(t *testing.T, raw string) {
		if err := checkHeader(raw); err == nil && raw[0] == '{' {
			t.Error("JSON serialization was accepted")
		}
	})
}

func FuzzClaims(f *testing.F) {
	f.Add([]byte(`{"iss":"https://idp.example","sub":"a","aud":["genkan-client"],"exp":1795179600,"iat":1795176000,"nonce":"n"}`))
	f.Add([]byte(`{"iss":null,"sub":{},"aud":[[]],"exp":1e999,"iat":-0,"amr":{},"auth_time":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var claims claimSet
		if json.Unmarshal(body, &claims) != nil {
			return
		}
		cfg := Config{Issuer: issuer, ClientID: clientID}
		if claims.checkParties(cfg) != nil || claims.checkTimes(start) != nil || claims.answers(Login{Nonce: "n"}) != nil {
			return
		}
		id := claims.identity()
		if id.Issuer != issuer || id.Subject == "" || id.Nonce != "n" || id.Audience[0] != clientID {
			t.Errorf("accepted %+v", id)
		}
		if err := claims.continues(id); err != nil {
			t.Errorf("does not continue itself: %v", err)
		}
	})
}
