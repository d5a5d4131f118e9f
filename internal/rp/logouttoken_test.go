package rp

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const event = "http://schemas.openid.net/event/backchannel-logout"

// logoutClaims are those of a good logout token.
func logoutClaims() object {
	return object{
		"iss": issuer, "aud": clientID, "iat": at(0), "exp": at(2 * time.Minute), "jti": "jti-1", "sub": "alice", "sid": "sid-1",
		"events": object{event: object{}},
	}
}

var null = json.RawMessage("null")

// TestLogoutTokenClaims holds logout tokens to Back-Channel Logout 1.0, 2.4 and 2.6. Each
// row changes claims of a good one (nil removes one); refused is the rule that must say no.
func TestLogoutTokenClaims(t *testing.T) {
	t.Parallel()
	trusting := func(c *Config) { c.TrustedAudiences = []string{"other-api"} }
	noExp := func(c *Config) { c.LogoutTokenNoExp = true }
	rows := []struct {
		name    string // with the number of the requirement
		change  object
		config  func(*Config)
		refused string
	}{
		{name: "a good token"},
		{"255 claims that nobody knows", object{"ignored_claim": object{"x": 1}}, nil, ""},
		{"257 iss of another tenant", object{"iss": issuer + "1"}, nil, "verify"},
		{"257 iss with a slash", object{"iss": issuer + "/"}, nil, "verify"},
		{"257 iss missing", object{"iss": nil}, nil, "verify"},
		{"257 aud of another client", object{"aud": "other"}, nil, "aud"},
		{"257 aud missing", object{"aud": nil}, nil, "aud"},
		{"257 aud a list", object{"aud": []string{clientID}}, nil, ""},
		{"257 aud with a stranger", object{"aud": []string{clientID, "other-api"}}, nil, "aud"},
		{"257 aud with a trusted one", object{"aud": []string{clientID, "other-api"}}, trusting, ""},
		{"257 aud only a trusted one", object{"aud": "other-api"}, trusting, "aud"},
		{"257 iat missing", object{"iat": nil}, nil, "iat"},
		{"257 iat in a string", object{"iat": fmt.Sprint(at(0))}, nil, "iat"},
		{"257 iat 11 minutes ahead", object{"iat": at(11 * time.Minute), "exp": at(13 * time.Minute)}, nil, "iat"},
		{"257 iat 9 minutes ahead", object{"iat": at(9 * time.Minute), "exp": at(13 * time.Minute)}, nil, ""},
		{"257 iat two hours ago", object{"iat": at(-2 * time.Hour)}, nil, "iat"},
		{"257 exp missing", object{"exp": nil}, nil, "exp"},
		{"257 exp null", object{"exp": null}, nil, "verify"},
		{"257 exp in a string", object{"exp": fmt.Sprint(at(time.Minute))}, nil, "exp"},
		{"257 exp just past the leeway", object{"exp": at(-61 * time.Second)}, nil, "exp"},
		{"257 exp within the leeway", object{"exp": at(-59 * time.Second)}, nil, ""},
		{"257 nbf in an hour", object{"nbf": at(time.Hour)}, nil, "nbf"},
		{"no exp where that is allowed", object{"exp": nil}, noExp, ""},
		{"no exp, two minutes and the leeway ago", object{"exp": nil, "iat": at(-180 * time.Second)}, noExp, ""},
		{"no exp, longer ago", object{"exp": nil, "iat": at(-181 * time.Second)}, noExp, "exp"},
		{"no exp and no iat", object{"exp": nil, "iat": nil}, noExp, "exp"},
		{"an exp that is over, where none is needed", object{"exp": at(-61 * time.Second)}, noExp, "exp"},
		{"an exp that is null, where none is needed", object{"exp": null}, noExp, "verify"},
		{"258 sub alone", object{"sid": nil}, nil, ""},
		{"258 sid alone", object{"sub": nil}, nil, ""},
		{"258 neither", object{"sub": nil, "sid": nil}, nil, "sub"},
		{"258 sub only by another spelling", object{"sub": nil, "sid": nil, "Sub": "alice"}, nil, "sub"},
		{"258 sub empty", object{"sub": ""}, nil, "sub"},
		{"258 sub null", object{"sub": null}, nil, "sub"},
		{"258 sub a number", object{"sub": 7}, nil, "verify"},
		{"258 sub null, sid null", object{"sub": null, "sid": null}, nil, "sub"},
		{"258 sid empty", object{"sid": ""}, nil, "sid"},
		{"258 sid empty, no sub", object{"sub": nil, "sid": ""}, nil, "sid"},
		{"258 sid null", object{"sid": null}, nil, "sid"},
		{"258 sid a number", object{"sid": 42}, nil, "sid"},
		{"259 events missing", object{"events": nil}, nil, "events"},
		{"259 events null", object{"events": null}, nil, "events"},
		{"259 events a string", object{"events": event}, nil, "events"},
		{"259 events a list", object{"events": []string{event}}, nil, "events"},
		{"259 events empty", object{"events": object{}}, nil, "events"},
		{"259 another event", object{"events": object{"http://schemas.openid.net/event/foobar": object{}}}, nil, "events"},
		{"259 the event null", object{"events": object{event: nil}}, nil, "events"},
		{"259 the event a string", object{"events": object{event: "x"}}, nil, "events"},
		{"259 the event a list", object{"events": object{event: []int{}}}, nil, "events"},
		{"259 the event in another case", object{"events": object{strings.ToUpper(event): object{}}}, nil, "events"},
		{"259 the event with members, and another", object{"events": object{event: object{"a": 1}, "urn:other": 1}}, nil, ""},
		{"260 nonce", object{"nonce": "n"}, nil, "nonce"},
		{"260 nonce empty", object{"nonce": ""}, nil, "nonce"},
		{"260 nonce null", object{"nonce": null}, nil, "nonce"},
		{"260 nonce a number", object{"nonce": 1}, nil, "verify"},
		{"261 jti missing", object{"jti": nil}, nil, "jti"},
		{"261 jti empty", object{"jti": ""}, nil, "jti"},
		{"261 jti a number", object{"jti": 5}, nil, "jti"},
		{"66 an ID token", object{"events": nil, "nonce": "n", "jti": nil}, nil, "events"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			claims := with(logoutClaims(), row.change)
			c := p.client(func(cfg *Config) {
				if row.config != nil {
					row.config(cfg)
				}
			})
			_, err := c.VerifyLogout(t.Context(), sign(t, rsaKey(), "RS256", "k1", object{"typ": "logout+jwt"}, claims))
			if row.refused != "" {
				wantError(t, err, Invalid, "logout_token_invalid", row.refused)
			} else if err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// TestLogoutTokenForm has tokens that are wrong, or right, outside their claims.
func TestLogoutTokenForm(t *testing.T) {
	t.Parallel()
	signed := func(key crypto.PrivateKey, alg, kid string, header object) func(*testing.T) string {
		return func(t *testing.T) string { return sign(t, key, alg, kid, header, logoutClaims()) }
	}
	part := func(v any) string {
		raw, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	good := signed(rsaKey(), "RS256", "k1", nil)
	demanding := func(c *Config) { c.LogoutTokenType = true }
	typed := func(typ any) func(*testing.T) string { return signed(rsaKey(), "RS256", "k1", object{"typ": typ}) }
	rows := []struct {
		name    string
		token   func(*testing.T) string
		config  func(*Config)
		refused string
	}{
		{"262 no typ", good, nil, ""},
		{"262 no typ, demanded", good, demanding, "typ"},
		{"262 logout+jwt, demanded", typed("logout+jwt"), demanding, ""},
		{"262 in full and in capitals, demanded", typed("application/Logout+JWT"), demanding, ""},
		{"262 JWT", typed("JWT"), nil, ""},
		{"262 JWT, demanded", typed("JWT"), demanding, "typ"},
		{"262 an access token's", typed("at+jwt"), nil, "typ"},
		{"262 a security event's", typed("secevent+jwt"), nil, "typ"},
		{"262 a number", typed(7), nil, "typ"},
		{"256 another key", signed(otherRSA(), "RS256", "k1", nil), nil, "signature"},
		{"256 another algorithm of a published key", signed(ecKey(), "ES256", "k2", nil), nil, "verify"},
		{"256 that algorithm, allowed", signed(ecKey(), "ES256", "k2", nil), func(c *Config) { c.SigningAlgs = []string{"RS256", "ES256"} }, ""},
		{"256 that algorithm, for UserInfo alone", signed(ecKey(), "ES256", "k2", nil), func(c *Config) { c.UserInfoAlg = "ES256" }, "verify"},
		{"256 MAC with the client's secret", signed([]byte("secret-secret-secret-secret-secr"), "HS256", "k1", nil), nil, "verify"},
		{"256 none", func(*testing.T) string { return part(object{"alg": "none"}) + "." + part(logoutClaims()) + "." }, nil, "verify"},
		{"256 no signature", func(t *testing.T) string { return good(t)[:strings.LastIndexByte(good(t), '.')+1] }, nil, "signature"},
		{"256 another payload", func(t *testing.T) string {
			parts := strings.Split(good(t), ".")
			return parts[0] + "." + part(with(logoutClaims(), object{"sub": "bob"})) + "." + parts[2]
		}, nil, "signature"},
		{"crit", func(*testing.T) string {
			return part(object{"alg": "RS256", "crit": []string{"exp"}}) + "." + part(logoutClaims()) + ".AA"
		}, nil, "crit"},
		{"b64", func(*testing.T) string {
			return part(object{"alg": "RS256", "b64": false}) + "." + part(logoutClaims()) + ".AA"
		}, nil, "b64"},
		{"JSON serialization", func(*testing.T) string { return `{"payload":"","signatures":[]}` }, nil, "form"},
		{"five parts", func(*testing.T) string { return "a.b.c.d.e" }, nil, "form"},
		{"nothing", func(*testing.T) string { return "" }, nil, "form"},
		{"a list for a payload", func(t *testing.T) string { return signBytes(t, rsaKey(), "RS256", "k1", nil, []byte(`[]`)) }, nil, "verify"},
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
			_, err := c.VerifyLogout(t.Context(), row.token(t))
			if row.refused != "" {
				wantError(t, err, Invalid, "logout_token_invalid", row.refused)
			} else if err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

func TestLogoutTellsWhoseAndForHowLong(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	rows := []struct {
		name   string
		change object
		want   Logout
	}{
		{"both", nil, Logout{"alice", "sid-1", "jti-1", start.Add(3*time.Minute + time.Second)}},
		{"sub alone", object{"sid": nil}, Logout{"alice", "", "jti-1", start.Add(3*time.Minute + time.Second)}},
		{"sid alone", object{"sub": nil}, Logout{"", "sid-1", "jti-1", start.Add(3*time.Minute + time.Second)}},
		{"exp in ten years: iat ends it", object{"exp": at(10 * 365 * 24 * time.Hour)}, Logout{"alice", "sid-1", "jti-1", start.Add(time.Hour + time.Second)}},
		{"no exp", object{"exp": nil}, Logout{"alice", "sid-1", "jti-1", start.Add(3*time.Minute + time.Second)}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := p.client(func(c *Config) { c.LogoutTokenNoExp = true })
			got, err := c.VerifyLogout(t.Context(), sign(t, rsaKey(), "RS256", "k1", nil, with(logoutClaims(), row.change)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			p := newProvider(t)
			p.advance(got.Expires.Sub(start))
			if _, err := p.client(func(c *Config) { c.LogoutTokenNoExp = true }).VerifyLogout(t.Context(), sign(t, rsaKey(), "RS256", "k1", nil, with(logoutClaims(), row.change))); err == nil {
				t.Error("it is good after its jti is forgotten")
			}
		})
	}
}

// TestKeysThatCannotBeHad says nothing against a token.
func TestKeysThatCannotBeHad(t *testing.T) {
	t.Parallel()
	for _, path := range []string{wellKnown, "/keys"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.answers(path, text(http.StatusBadGateway, "text/html", "<html>"))
			_, err := p.client().VerifyLogout(t.Context(), sign(t, rsaKey(), "RS256", "k1", nil, logoutClaims()))
			wantError(t, err, Fault, "provider_unavailable", "status")
		})
	}
}

// TestForgedKidsCostFewRequests: 267.
func TestForgedKidsCostFewRequests(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	for i := range 200 {
		_, err := c.VerifyLogout(t.Context(), sign(t, ecKey(), "ES256", fmt.Sprint("forged-", i), nil, logoutClaims()))
		wantError(t, err, Invalid, "logout_token_invalid", "verify") // the algorithm is not pinned: nothing is fetched
	}
	if n := p.count("/keys"); n != 0 {
		t.Errorf("%d fetches of keys for an algorithm that is not allowed", n)
	}
	for i := range 200 {
		_, err := c.VerifyLogout(t.Context(), sign(t, otherRSA(), "RS256", fmt.Sprint("forged-", i), nil, logoutClaims()))
		if err == nil {
			t.Fatal("a forged token is taken")
		}
	}
	if n := p.count("/keys"); n < 2 || n > 4 {
		t.Errorf("%d fetches of keys, want the first and at most three more", n)
	}
	if _, err := c.VerifyLogout(t.Context(), sign(t, rsaKey(), "RS256", "k1", nil, logoutClaims())); err != nil {
		t.Errorf("a good token after a flood: %v", err)
	}
}

func TestLogoutClientsAreChosenByIssuerAndAudience(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	named := func(id, at, client string) *Client {
		return p.client(func(c *Config) { c.ID, c.Issuer, c.ClientID = id, at, client })
	}
	clients := []*Client{named("a", issuer, "one"), named("b", issuer, "two"), named("c", "https://other.example", "one"), named("d", issuer, "two")}
	rows := []struct {
		name string
		iss  any
		aud  any
		want string
	}{
		{"the first", issuer, "one", "a"},
		{"two of one client", issuer, "two", "bd"},
		{"another issuer", "https://other.example", "one", "c"},
		{"for several", issuer, []string{"one", "two"}, "abd"},
		{"nobody's audience: who says so", issuer, "nobody", "a"},
		{"nobody's issuer", issuer + "/", "one", ""},
		{"no issuer", nil, "one", ""},
		{"an issuer that is no string", 7, "one", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			for _, c := range LogoutClients(clients, sign(t, rsaKey(), "RS256", "k1", nil, with(logoutClaims(), object{"iss": row.iss, "aud": row.aud}))) {
				got += c.ID()
			}
			if got != row.want {
				t.Errorf("chosen are %q, want %q", got, row.want)
			}
		})
	}
}

// FuzzLogoutToken: nothing that the provider did not sign is taken, and nothing breaks.
func FuzzLogoutToken(f *testing.F) {
	p := newProvider(&testing.T{})
	payload, _ := json.Marshal(logoutClaims())
	f.Add("eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString(payload) + ".AA")
	f.Add("eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString(payload) + ".")
	f.Add("..")
	f.Add(`{"payload":"","protected":"","signature":""}`)
	f.Add("bnVsbA.bnVsbA.bnVsbA")
	c := p.client()
	f.Fuzz(func(t *testing.T, raw string) {
		LogoutClients([]*Client{c}, raw)
		if out, err := c.VerifyLogout(t.Context(), raw); err == nil || out != (Logout{}) {
			t.Fatalf("%q is taken: %+v", raw, out)
		} else if _, ok := errors.AsType[*Error](err); !ok {
			t.Fatalf("%T", err)
		}
	})
}

// FuzzLogoutClaims: whatever a provider signs, what is taken names somebody.
func FuzzLogoutClaims(f *testing.F) {
	for _, change := range []object{nil, {"sub": nil}, {"sid": nil}, {"exp": 1e300}, {"aud": []any{clientID, 7}}, {"events": object{event: 1}}, {"iat": -1}} {
		payload, _ := json.Marshal(with(logoutClaims(), maps.Clone(change)))
		f.Add(payload)
	}
	f.Add([]byte(`{"iss":"https://idp.example","iss":7}`))
	p := newProvider(&testing.T{})
	c := p.client(func(c *Config) { c.LogoutTokenNoExp = true })
	f.Fuzz(func(t *testing.T, payload []byte) {
		out, err := c.VerifyLogout(t.Context(), signBytes(t, rsaKey(), "RS256", "k1", nil, payload))
		if err == nil && (out.Subject == "" && out.SID == "" || out.ID == "" || !out.Expires.After(start)) {
			t.Fatalf("%s gives %+v", payload, out)
		}
	})
}
