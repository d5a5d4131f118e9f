package rp

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mappedOf signs in with claims in the ID token and returns what became of ours.
func mappedOf(t *testing.T, claims object, change func(*Config)) map[string]string {
	t.Helper()
	p := newProvider(t)
	maps.Copy(p.claims, claims)
	id := p.mustSignIn(p.client(change)).Identity
	out := map[string]string{}
	for _, name := range []string{"groups", "roles", "email_verified"} {
		if raw, ok := id.Claims[name]; ok {
			out[name] = string(raw)
		}
	}
	return out
}

func TestClaimsMapping(t *testing.T) {
	t.Parallel()
	type mapped = map[string]string
	places := func(pairs ...string) map[string]string {
		out := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = pairs[i+1]
		}
		return out
	}
	rows := []struct {
		name   string
		places map[string]string
		claims object
		want   mapped
	}{
		{"none", nil, nil, mapped{}},
		{"as they are", nil, object{"groups": []string{"a", "b"}, "roles": []string{"r"}}, mapped{"groups": `["a","b"]`, "roles": `["r"]`}},
		{"one string is a list", nil, object{"groups": "a"}, mapped{"groups": `["a"]`}},
		{"a string is not split", nil, object{"groups": "a,b c"}, mapped{"groups": `["a,b c"]`}},
		{"an empty list stays", nil, object{"groups": []string{}}, mapped{"groups": `[]`}},
		{"null is nobody's", nil, object{"groups": nil}, mapped{"groups": `[]`}},
		{"what is no string goes", nil, object{"groups": []any{1, "a", nil, []string{"b"}, object{"c": 1}, "", true}}, mapped{"groups": `["a"]`}},
		{"a number is nobody's", nil, object{"groups": 7}, mapped{"groups": `[]`}},
		{"an object is nobody's", nil, object{"groups": object{"a": true}}, mapped{"groups": `[]`}},
		{"cognito", places("groups", "cognito:groups"), object{"cognito:groups": []string{"a"}}, mapped{"groups": `["a"]`}},
		{"keycloak", places("roles", "realm_access.roles"), object{"realm_access": object{"roles": []string{"r"}}}, mapped{"roles": `["r"]`}},
		{"auth0, dots in the name", places("roles", "https://acme.example/roles"), object{"https://acme.example/roles": []string{"r"}}, mapped{"roles": `["r"]`}},
		{"exact before path", places("roles", "a.b"), object{"a.b": "exact", "a": object{"b": "path"}}, mapped{"roles": `["exact"]`}},
		{"a member with dots", places("roles", "resource_access.my.app.roles"), object{"resource_access": object{"my.app": object{"roles": []string{"r"}}}}, mapped{"roles": `["r"]`}},
		{"a path through no object", places("roles", "a.b"), object{"a": "x"}, mapped{}},
		{"a path that ends early", places("roles", "a.b"), object{"a": object{"c": 1}}, mapped{}},
		{"a claim of our name that is not ours", places("groups", "cognito:groups"), object{"groups": []string{"admin"}}, mapped{}},
		{"one at the place of the other", places("groups", "roles", "roles", "realm_access.roles"), object{"roles": []string{"g"}, "realm_access": object{"roles": []string{"r"}}}, mapped{"groups": `["g"]`, "roles": `["r"]`}},
		{"verified", nil, object{"email_verified": true}, mapped{"email_verified": "true"}},
		{"69 not verified", nil, object{"email_verified": false}, mapped{"email_verified": "false"}},
		{"verified in a string", nil, object{"email_verified": "true"}, mapped{"email_verified": "true"}},
		{"69 not verified in a string", nil, object{"email_verified": "false"}, mapped{"email_verified": "false"}},
		{"verified in a way nobody knows", nil, object{"email_verified": "yes"}, mapped{"email_verified": "false"}},
		{"entra's", places("email_verified", "xms_edov"), object{"xms_edov": "1", "email_verified": true}, mapped{"email_verified": "true"}},
		{"entra without", places("email_verified", "xms_edov"), object{"email_verified": true}, mapped{}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := mappedOf(t, row.claims, func(c *Config) { c.Claims = row.places })
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestListsAreBounded(t *testing.T) {
	t.Parallel()
	many := make([]string, 2500)
	for i := range many {
		many[i] = fmt.Sprint("g", i)
	}
	many[0] = strings.Repeat("x", 1025)
	var groups []string
	if err := json.Unmarshal([]byte(mappedOf(t, object{"groups": many}, func(*Config) {})["groups"]), &groups); err != nil {
		t.Fatal(err)
	}
	if len(groups) != 2000 || groups[0] != "g1" || groups[1999] != "g2000" {
		t.Errorf("%d groups from %s to %s", len(groups), groups[0], groups[len(groups)-1])
	}
}

// TestThinIDTokens: claims that a preset knows to be at UserInfo alone (Okta's org server,
// Keycloak's mappers) are asked for, and mapped.
func TestThinIDTokens(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name, preset     string
		claims, userinfo object
		scopes           []string
		calls            int
		groups, roles    string
	}{
		{"okta, thin", "okta", nil, object{"groups": []string{"staff"}}, nil, 1, `["staff"]`, ""},
		{"okta, in the token", "okta", object{"groups": []string{"a"}}, object{"groups": []string{"b"}}, nil, 0, `["a"]`, ""},
		{"okta, no groups in the token stays none", "okta", object{"groups": []string{}}, object{"groups": []string{"b"}}, nil, 0, `[]`, ""},
		{"keycloak, at userinfo", "keycloak", nil, object{"groups": []string{"/staff"}, "realm_access": object{"roles": []string{"r"}}}, nil, 1, `["/staff"]`, `["r"]`},
		{"keycloak, half of it", "keycloak", object{"realm_access": object{"roles": []string{"r"}}}, object{"groups": "/staff"}, nil, 1, `["/staff"]`, `["r"]`},
		{"generic, not promised", "generic", nil, object{"groups": []string{"staff"}}, nil, 0, "", ""},
		{"generic, promised by a scope", "generic", nil, object{"groups": []string{"staff"}}, []string{"groups"}, 1, `["staff"]`, ""},
		{"generic, roles promised by a scope", "generic", nil, object{"roles": "r"}, []string{"roles"}, 1, "", `["r"]`},
		{"cognito has them in the token or not at all", "cognito", nil, object{"cognito:groups": []string{"staff"}}, nil, 0, "", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			maps.Copy(p.claims, row.claims)
			maps.Copy(p.userinfo, row.userinfo)
			id := p.mustSignIn(p.client(func(c *Config) {
				known := preset(t, row.preset)
				c.UserInfo, c.Scopes, c.Quirks, c.Claims = UserInfoAuto, row.scopes, known.Quirks, known.Claims
			})).Identity
			if n := p.count("/userinfo"); n != row.calls {
				t.Errorf("asked %d times, want %d", n, row.calls)
			}
			if g, r := string(id.Claims["groups"]), string(id.Claims["roles"]); g != row.groups || r != row.roles {
				t.Errorf("groups %s, roles %s", g, r)
			}
		})
	}
}

// TestMappingAtRefresh: a new ID token counts. What it leaves out stays, and is none where
// the provider omits what is empty, unless it came from UserInfo.
func TestMappingAtRefresh(t *testing.T) {
	t.Parallel()
	const place = "cognito:groups"
	rows := []struct {
		name         string
		first, later object // of the ID tokens
		userinfo     object
		omits        bool
		want         string
	}{
		{"others", object{place: []string{"a"}}, object{place: []string{"b"}}, nil, false, `["b"]`},
		{"none any more", object{place: []string{"a"}}, object{place: []string{}}, nil, false, `[]`},
		{"left out", object{place: []string{"a"}}, nil, nil, false, `["a"]`},
		{"left out where that is none", object{place: []string{"a"}}, nil, nil, true, `[]`},
		{"now too many, and nobody knows where they are", object{place: []string{"a"}}, overflowing(), nil, true, `[]`},
		{"too many before, and now none", overflowing(), nil, nil, true, `[]`},
		{"for the first time", nil, object{place: []string{"b"}}, nil, true, `["b"]`},
		{"from userinfo", nil, nil, object{place: []string{"u"}}, true, `["u"]`},
		{"from userinfo, and now in the token", nil, object{place: "b"}, object{place: []string{"u"}}, false, `["b"]`},
		{"a claim of our name that is not ours", object{place: "a"}, object{place: "a", "groups": "admin"}, nil, false, `["a"]`},
		{"never", nil, nil, nil, true, ``},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			base := maps.Clone(p.claims)
			maps.Copy(p.claims, row.first)
			maps.Copy(p.userinfo, row.userinfo)
			c := p.client(func(c *Config) {
				c.UserInfo, c.Claims, c.Quirks.OmitsEmpty = UserInfoOn, map[string]string{"groups": place}, row.omits
			})
			grant := p.mustSignIn(c)
			base["nonce"] = p.claims["nonce"]
			p.claims = with(base, row.later)
			grant, err := c.Refresh(t.Context(), grant)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(grant.Identity.Claims["groups"]); got != row.want {
				t.Errorf("groups %s, want %s", got, row.want)
			}
		})
	}
}

func FuzzMapping(f *testing.F) {
	f.Add([]byte(`{"groups":["a",1,null],"a":{"b.c":{"d":"x"}}}`), "a.b.c.d")
	f.Add([]byte(`{"groups":null,"email_verified":1,"":{"":{"":[]}}}`), "..")
	f.Add([]byte(`{"_claim_names":{"groups":"s"},"hasgroups":true}`), "groups")
	f.Fuzz(func(t *testing.T, body []byte, place string) {
		var claims claimSet
		if json.Unmarshal(body, &claims) != nil || claims == nil || len(place) > 64 {
			return
		}
		c := &Client{cfg: Config{Claims: map[string]string{"groups": place, "roles": place}}}
		id := Identity{Claims: claims}
		c.mapClaims(&id)
		for _, name := range []string{"groups", "roles"} {
			raw, ok := id.Claims[name]
			var list []string
			if ok && (json.Unmarshal(raw, &list) != nil || list == nil || len(list) > 2000 || slices.Contains(list, "")) {
				t.Errorf("%s is %s", name, raw)
			}
		}
		if v, ok := id.Claims["email_verified"]; ok && string(v) != "true" && string(v) != "false" {
			t.Errorf("email_verified is %s", v)
		}
	})
}
