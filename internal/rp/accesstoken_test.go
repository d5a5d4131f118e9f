package rp

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const api = "api://orders"

// accessClaims are those of a good access token (RFC 9068 2.2).
func accessClaims() object {
	return object{
		"iss": issuer, "aud": api, "sub": "alice", "client_id": "batch-job", "iat": at(0), "exp": at(time.Hour), "jti": "jti-1", "scope": "orders.read",
	}
}

func anyType(c *Config) { c.AccessTokenAnyType = true }

// accessToken signs claims as the provider does.
func accessToken(t *testing.T, typ any, claims object) string {
	t.Helper()
	header := object{"typ": typ}
	if typ == nil {
		header = nil
	}
	return sign(t, rsaKey(), "RS256", "k1", header, claims)
}

// TestAccessTokenClaims: 202: RFC 9068 4 and 2.2. Each row changes claims of a good token
// (nil removes one); refused is the rule that must say no.
func TestAccessTokenClaims(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name    string
		change  object
		refused string
	}{
		{"a good one", nil, ""},
		{"iss of another tenant", object{"iss": issuer + "1"}, "verify"},
		{"iss with a slash", object{"iss": issuer + "/"}, "verify"},
		{"iss missing", object{"iss": nil}, "verify"},
		{"iss a list", object{"iss": []string{issuer}}, "verify"},
		{"aud of another API", object{"aud": "api://other"}, "aud"},
		{"aud in capitals", object{"aud": "API://orders"}, "aud"},
		{"aud with a slash", object{"aud": api + "/"}, "aud"},
		{"aud missing", object{"aud": nil}, "aud"},
		{"aud null", object{"aud": null}, "aud"},
		{"aud empty", object{"aud": []string{}}, "aud"},
		{"aud a list", object{"aud": []string{"api://other", api}}, ""},
		{"aud the second of ours", object{"aud": "api://orders-v2"}, ""},
		{"aud a list with a number", object{"aud": []any{api, 7}}, "verify"},
		{"aud the client of Genkan", object{"aud": clientID}, "aud"},
		{"exp just past the leeway", object{"exp": at(-61 * time.Second)}, "exp"},
		{"exp within the leeway", object{"exp": at(-59 * time.Second)}, ""},
		{"exp missing", object{"exp": nil}, "exp"},
		{"exp null", object{"exp": null}, "verify"},
		{"exp in a string", object{"exp": fmt.Sprint(at(time.Hour))}, "exp"},
		{"exp 0", object{"exp": 0}, "exp"},
		{"exp of no calendar", object{"exp": 1e300}, "exp"},
		{"nbf in an hour", object{"nbf": at(time.Hour)}, "nbf"},
		{"nbf within the leeway", object{"nbf": at(59 * time.Second)}, ""},
		{"nbf in a string", object{"nbf": fmt.Sprint(at(0))}, "nbf"},
		{"iat missing", object{"iat": nil}, "iat"},
		{"iat a day ago", object{"iat": at(-24 * time.Hour)}, ""},
		{"iat 11 minutes ahead", object{"iat": at(11 * time.Minute)}, "iat"},
		{"sub missing", object{"sub": nil}, "sub"},
		{"sub empty", object{"sub": ""}, "sub"},
		{"sub null", object{"sub": null}, "sub"},
		{"sub a number", object{"sub": 7}, "verify"},
		{"sub only by another spelling", object{"sub": nil, "Sub": "alice"}, "sub"},
		{"sub with a line break", object{"sub": "alice\nX-Admin: 1"}, "sub"},
		{"sub of 256 characters", object{"sub": strings.Repeat("x", 256)}, "sub"},
		{"no scope", object{"scope": nil}, ""},
		{"no client_id", object{"client_id": nil}, ""},
		{"RFC 9449 6: bound to a key", object{"cnf": object{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}, "cnf"},
		{"RFC 8705 3.1: bound to a certificate", object{"cnf": object{"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}, "cnf"},
		{"cnf empty", object{"cnf": object{}}, "cnf"},
		{"cnf null", object{"cnf": null}, "cnf"},
		{"Keycloak's access token", object{"typ": "Bearer"}, ""},
		{"Keycloak's ID token", object{"typ": "ID"}, "typ"},
		{"Keycloak's refresh token", object{"typ": "Refresh"}, "typ"},
		{"Cognito's access token", object{"token_use": "access"}, ""},
		{"Cognito's ID token", object{"token_use": "id"}, "token_use"},
		{"Hydra's refresh token", object{"token_use": "refresh_token"}, "token_use"},
		{"typ of another type", object{"typ": 7}, "typ"},
		{"token_type Bearer", object{"token_type": "Bearer"}, ""},
		{"token_type DPoP", object{"token_type": "DPoP"}, "token_type"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for _, kind := range []string{"at+jwt", "JWT"} {
				c := newProvider(t).client(func(c *Config) { c.AccessTokenAnyType = kind == "JWT" })
				got, err := c.VerifyAccess(t.Context(), accessToken(t, kind, with(accessClaims(), row.change)), []string{api, "api://orders-v2"})
				if row.refused != "" {
					wantError(t, err, Invalid, "invalid_token", row.refused)
					if got.Identity.Subject != "" {
						t.Error("a refused token says who it is")
					}
				} else if err != nil {
					t.Errorf("%s: refused: %v", kind, err)
				}
			}
		})
	}
}

// TestAccessTokenTypes: RFC 9068 2.1 and 4.
func TestAccessTokenTypes(t *testing.T) {
	t.Parallel()
	rows := []struct {
		typ            any // of the header; nil: none
		strict, anyway bool
	}{
		{"at+jwt", true, true}, {"application/at+jwt", true, true}, {"AT+JWT", true, true}, {"Application/At+Jwt", true, true},
		{nil, false, true}, {"", false, true}, {"JWT", false, true}, {"jwt", false, true}, {"application/jwt", false, true},
		{"logout+jwt", false, false}, {"dpop+jwt", false, false}, {"secevent+jwt", false, false}, {"token-introspection+jwt", false, false},
		{"application/okta-internal-at+jwt", false, false}, {"at+jwt ", false, false}, {"application/application/at+jwt", false, false},
		{"Bearer", false, false}, {"JOSE", false, false}, {7, false, false}, {[]string{"at+jwt"}, false, false},
	}
	for _, row := range rows {
		for mode, good := range map[bool]bool{false: row.strict, true: row.anyway} {
			t.Run(fmt.Sprintf("%v, any %v", row.typ, mode), func(t *testing.T) {
				t.Parallel()
				c := newProvider(t).client(func(c *Config) { c.AccessTokenAnyType = mode })
				_, err := c.VerifyAccess(t.Context(), accessToken(t, row.typ, accessClaims()), []string{api})
				switch {
				case !good:
					wantError(t, err, Invalid, "invalid_token", "typ")
				case err != nil:
					t.Errorf("refused: %v", err)
				}
			})
		}
	}
}

// TestIDTokensAreNoAccessTokens: 202, RFC 9068 5, where the type does not tell.
func TestIDTokensAreNoAccessTokens(t *testing.T) {
	t.Parallel()
	both := []string{api, clientID}
	idToken := func(change object) object {
		out := object{"client_id": nil, "scope": nil, "jti": nil, "aud": clientID}
		maps.Copy(out, change)
		return out
	}
	rows := []struct {
		name      string
		change    object
		audiences []string
		refused   string
	}{
		{"an access token", nil, nil, ""},
		{"an ID token", idToken(nil), nil, "aud"},
		{"an ID token, the client id an audience", idToken(nil), both, "scope"},
		{"an ID token with azp, the client id an audience", idToken(object{"azp": "other"}), both, "scope"},
		{"an ID token for two", idToken(object{"aud": []string{clientID, api}}), nil, "aud"},
		{"an ID token for two, the client id an audience", idToken(object{"aud": []string{api, clientID}}), both, "scope"},
		{"an ID token of another client, that an audience", idToken(object{"aud": "other"}), []string{"other"}, "scope"},
		{"the same with azp", idToken(object{"aud": "other", "azp": "other"}), []string{"other"}, "scope"},
		{"a program's token by Entra", idToken(object{"aud": api, "azp": "72f988bf"}), nil, ""},
		{"the same with an azp that is none", idToken(object{"aud": api, "azp": 7}), nil, "scope"},
		{"an access token for the client id", object{"aud": clientID}, both, ""},
		{"the same by Entra", idToken(object{"scp": "orders.read"}), both, ""},
		{"the same by Okta", idToken(object{"cid": "batch-job"}), both, ""},
		{"nonce", object{"nonce": "n"}, both, "nonce"},
		{"nonce null", object{"nonce": null}, both, "nonce"},
		{"at_hash", object{"at_hash": "MTIzNDU2Nzg5MDEyMzQ1Ng"}, both, "at_hash"},
		{"c_hash", object{"c_hash": "x"}, both, "c_hash"},
		{"s_hash", object{"s_hash": "x"}, both, "s_hash"},
		{"a logout token", object{"events": object{event: object{}}}, both, "events"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if row.audiences == nil {
				row.audiences = []string{api}
			}
			claims := with(accessClaims(), row.change)
			for _, kind := range []any{nil, "JWT"} {
				_, err := newProvider(t).client(anyType).VerifyAccess(t.Context(), accessToken(t, kind, claims), row.audiences)
				if row.refused != "" {
					wantError(t, err, Invalid, "invalid_token", row.refused)
				} else if err != nil {
					t.Errorf("refused: %v", err)
				}
			}
			for _, c := range []*Client{newProvider(t).client(), newProvider(t).client(anyType)} {
				_, err := c.VerifyAccess(t.Context(), accessToken(t, "at+jwt", with(claims, object{"aud": row.audiences[0]})), row.audiences)
				if err != nil {
					t.Errorf("with a type that says it is one: %v", err)
				}
			}
		})
	}
}

// TestTheProvidersOwnIDToken is what a browser's extension or a wrong program would send.
func TestTheProvidersOwnIDToken(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*Config){anyType, func(*Config) {}} {
		p := newProvider(t)
		c := p.client(change)
		idToken := p.mustSignIn(c).Tokens.ID.Reveal()
		for _, audiences := range [][]string{{api}, {clientID}, {api, clientID}} {
			if _, err := c.VerifyAccess(t.Context(), idToken, audiences); err == nil {
				t.Errorf("taken for %v", audiences)
			}
		}
	}
}

// TestAccessTokenSignature: RFC 9068 4, RFC 8725 3.1, RFC 7515.
func TestAccessTokenSignature(t *testing.T) {
	t.Parallel()
	typed := object{"typ": "at+jwt"}
	part := func(v any) string {
		raw, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	good := accessToken(t, "at+jwt", accessClaims())
	byEC := sign(t, ecKey(), "ES256", "k2", typed, accessClaims())
	both := func(c *Config) { c.AccessTokenAlgs = []string{"RS256", "ES256"} }
	rows := []struct {
		name    string
		raw     string
		config  func(*Config)
		refused string
	}{
		{"good", good, nil, ""},
		{"another key", sign(t, otherRSA(), "RS256", "k1", typed, accessClaims()), nil, "signature"},
		{"another algorithm of a published key", byEC, nil, "verify"},
		{"that algorithm, allowed", byEC, both, ""},
		{"that algorithm, for ID tokens alone", byEC, func(c *Config) { c.SigningAlgs, c.AccessTokenAlgs = []string{"ES256"}, []string{"RS256"} }, "verify"},
		{"that algorithm, for ID tokens, and nothing else said", byEC, func(c *Config) { c.SigningAlgs = []string{"ES256"} }, ""},
		{"that algorithm, for UserInfo alone", byEC, func(c *Config) { c.UserInfoAlg = "ES256" }, "verify"},
		{"MAC with the client's secret", sign(t, []byte("secret-secret-secret-secret-secr"), "HS256", "k1", typed, accessClaims()), nil, "verify"},
		{"none", part(object{"alg": "none", "typ": "at+jwt"}) + "." + part(accessClaims()) + ".", nil, "verify"},
		{"no signature", good[:strings.LastIndexByte(good, '.')+1], nil, "signature"},
		{"another payload", strings.Split(good, ".")[0] + "." + part(with(accessClaims(), object{"sub": "bob"})) + "." + strings.Split(good, ".")[2], nil, "signature"},
		{"crit", part(object{"alg": "RS256", "typ": "at+jwt", "crit": []string{"exp"}}) + "." + part(accessClaims()) + ".AA", nil, "crit"},
		{"b64", part(object{"alg": "RS256", "typ": "at+jwt", "b64": false}) + "." + part(accessClaims()) + ".AA", nil, "b64"},
		{"encrypted", "eyJ.a.b.c.d", nil, "form"},
		{"opaque", "opaque-token", nil, "form"},
		{"nothing", "", nil, "form"},
		{"a blank behind", good + " ", nil, "signature"},
		{"a list for a payload", signBytes(t, rsaKey(), "RS256", "k1", typed, []byte(`[]`)), nil, "verify"},
		{"null for a payload", signBytes(t, rsaKey(), "RS256", "k1", typed, []byte(`null`)), nil, "verify"},
		{"16 KiB", good + strings.Repeat("A", 16384-len(good)), nil, "signature"},
		{"longer", good + strings.Repeat("A", 16385-len(good)), nil, "length"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.keys = append(p.keys, jwk("k2", "ES256", &ecKey().PublicKey))
			c := p.client(func(cfg *Config) {
				if row.config != nil {
					row.config(cfg)
				}
			})
			_, err := c.VerifyAccess(t.Context(), row.raw, []string{api})
			if row.refused != "" {
				wantError(t, err, Invalid, "invalid_token", row.refused)
			} else if err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

func TestWhatAnAccessTokenSays(t *testing.T) {
	t.Parallel()
	words := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("s%d", i))
		}
		return out
	}
	type said struct {
		Scope    []string
		ClientID string
	}
	rows := []struct {
		name   string
		change object
		want   said
	}{
		{"RFC 9068", nil, said{[]string{"orders.read"}, "batch-job"}},
		{"several scopes", object{"scope": "a  b c"}, said{[]string{"a", "b", "c"}, "batch-job"}},
		{"Okta", object{"scope": nil, "scp": []string{"a", "b"}, "client_id": nil, "cid": "0oa1"}, said{[]string{"a", "b"}, "0oa1"}},
		{"Entra", object{"scope": nil, "scp": "a b", "client_id": nil, "azp": "72f988bf"}, said{[]string{"a", "b"}, "72f988bf"}},
		{"scope counts before scp", object{"scope": "a", "scp": "b"}, said{[]string{"a"}, "batch-job"}},
		{"scope empty counts before scp", object{"scope": "", "scp": "b"}, said{[]string{}, "batch-job"}},
		{"scope null counts before scp", object{"scope": null, "scp": "b"}, said{[]string{}, "batch-job"}},
		{"none", object{"scope": nil}, said{[]string{}, "batch-job"}},
		{"a number", object{"scope": 7}, said{[]string{}, "batch-job"}},
		{"a list with a number", object{"scope": []any{"a", 7, "b"}}, said{[]string{"a", "b"}, "batch-job"}},
		{"a list with several words in one", object{"scope": []any{"a b", "c"}}, said{[]string{"c"}, "batch-job"}},
		{"words that are none", object{"scope": `a "b" é c`}, said{[]string{"a", "c"}, "batch-job"}},
		{"2000 and more", object{"scope": strings.Join(words(2100), " ")}, said{words(2000), "batch-job"}},
		{"client_id counts first", object{"azp": "x", "cid": "y"}, said{[]string{"orders.read"}, "batch-job"}},
		{"client_id a number", object{"client_id": 7, "azp": "x"}, said{[]string{"orders.read"}, "x"}},
		{"client_id with a line break", object{"client_id": "a\nb"}, said{[]string{"orders.read"}, ""}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := newProvider(t).client().VerifyAccess(t.Context(), accessToken(t, "at+jwt", with(accessClaims(), row.change)), []string{api})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, said{got.Scope, got.ClientID}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !got.Expires.Equal(start.Add(time.Hour)) {
				t.Errorf("expires %v", got.Expires)
			}
		})
	}
}

// TestWhoAnAccessTokenIs: RFC 9068 2.2.1 to 2.2.3, with groups where the provider has them.
func TestWhoAnAccessTokenIs(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(func(c *Config) {
		c.Claims = map[string]string{"roles": "realm_access.roles", "groups": "cognito:groups"}
	})
	got, err := c.VerifyAccess(t.Context(), accessToken(t, "at+jwt", with(accessClaims(), object{
		"acr": "urn:mfa", "amr": []string{"otp"}, "auth_time": at(-time.Minute), "sid": "sid-1", "email": "alice@example.com",
		"realm_access": object{"roles": []any{"clerk", 7}}, "cognito:groups": "staff", "groups": []string{"admin"}, "department": "sales",
	})), []string{api})
	if err != nil {
		t.Fatal(err)
	}
	id := got.Identity
	if id.Issuer != issuer || id.Subject != "alice" || id.SID != "sid-1" || id.ACR != "urn:mfa" || !id.AuthTime.Equal(start.Add(-time.Minute)) {
		t.Errorf("identity is %+v", id)
	}
	want := map[string]string{"roles": `["clerk"]`, "groups": `["staff"]`, "email": `"alice@example.com"`, "department": `"sales"`}
	shown := map[string]string{}
	for name := range want {
		shown[name] = string(id.Claims[name])
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"otp"}, id.AMR); diff != "" {
		t.Error(diff)
	}
}
