package rp

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// at is seconds after the start of the test, as a NumericDate.
func at(d time.Duration) int64 { return start.Add(d).Unix() }

// TestIDTokenClaims holds sign-in to OpenID Connect Core 2 and 3.1.3.7. Each row changes
// claims of a good token (nil removes one); refused is the rule that must say no.
func TestIDTokenClaims(t *testing.T) {
	t.Parallel()
	trusting := func(c *Config) { c.TrustedAudiences = []string{"other-api"} }
	rows := []struct {
		name    string // with the number of the requirement
		change  object
		config  func(*Config)
		refused string
	}{
		{name: "a good token"},
		{"44 iss of another tenant", object{"iss": issuer + "1"}, nil, "verify"},
		{"44 iss with a trailing slash", object{"iss": issuer + "/"}, nil, "verify"},
		{"44 iss in upper case", object{"iss": "https://IDP.example"}, nil, "verify"},
		{"44 iss missing", object{"iss": nil}, nil, "verify"},
		{"45 aud of another client", object{"aud": "other"}, nil, "verify"},
		{"45 aud missing", object{"aud": nil}, nil, "verify"},
		{"45 aud empty", object{"aud": []string{}}, nil, "verify"},
		{"45 aud a number", object{"aud": 7}, nil, "verify"},
		{"45 aud a list", object{"aud": []string{clientID}}, nil, ""},
		{"46 aud with a stranger", object{"aud": []string{clientID, "other-api"}}, nil, "aud"},
		{"46 aud with a trusted one", object{"aud": []string{clientID, "other-api"}}, trusting, ""},
		{"46 aud only a trusted one", object{"aud": "other-api"}, trusting, "verify"},
		{"47 azp of another client", object{"azp": "other"}, nil, "azp"},
		{"47 azp not a string", object{"azp": 1}, nil, "azp"},
		{"47 azp of this client", object{"azp": clientID}, nil, ""},
		{"47 azp of a trusted audience", object{"aud": []string{clientID, "other-api"}, "azp": "other-api"}, trusting, "azp"},
		{"47 azp of this client, two audiences", object{"aud": []string{clientID, "other-api"}, "azp": clientID}, trusting, ""},
		{"53 exp missing", object{"exp": nil}, nil, "exp"},
		{"53 exp zero", object{"exp": 0}, nil, "exp"},
		{"53 exp negative", object{"exp": -1}, nil, "exp"},
		{"53 exp in a string", object{"exp": "4102444800"}, nil, "exp"},
		{"53 exp out of range", object{"exp": 1e18}, nil, "exp"},
		{"53 exp an hour ago", object{"exp": at(-time.Hour)}, nil, "exp"},
		{"53 exp just past the leeway", object{"exp": at(-61 * time.Second)}, nil, "exp"},
		{"53 exp within the leeway", object{"exp": at(-59 * time.Second)}, nil, ""},
		{"53 exp in a second", object{"exp": at(time.Second)}, nil, ""},
		{"54 iat missing", object{"iat": nil}, nil, "iat"},
		{"54 iat null", object{"iat": json.RawMessage("null")}, nil, "verify"},
		{"54 iat in a string", object{"iat": "1795176000"}, nil, "iat"},
		{"55 iat a day ahead", object{"iat": at(24 * time.Hour), "exp": at(25 * time.Hour)}, nil, "iat"},
		{"55 iat 11 minutes ahead", object{"iat": at(11 * time.Minute)}, nil, "iat"},
		{"55 iat 9 minutes ahead", object{"iat": at(9 * time.Minute)}, nil, ""},
		{"55 iat a day ago", object{"iat": at(-24 * time.Hour)}, nil, "iat"},
		{"55 iat half an hour ago", object{"iat": at(-30 * time.Minute)}, nil, ""},
		{"55 iat with a fraction", object{"iat": float64(at(0)) + 0.25}, nil, ""},
		{"56 sub missing", object{"sub": nil}, nil, "sub"},
		{"56 sub empty", object{"sub": ""}, nil, "sub"},
		{"56 sub a number", object{"sub": 12}, nil, "verify"},
		{"56 sub null", object{"sub": json.RawMessage("null")}, nil, "sub"},
		{"56 sub of 300 characters", object{"sub": strings.Repeat("a", 300)}, nil, "sub"},
		{"56 sub of 255 characters", object{"sub": strings.Repeat("a", 255)}, nil, ""},
		{"56 sub not ASCII", object{"sub": "玄関"}, nil, "sub"},
		{"56 sub only by another spelling", object{"sub": nil, "Sub": "alice"}, nil, "sub"},
		{"57 nonce of another sign-in", object{"nonce": "another"}, nil, "nonce"},
		{"57 nonce missing", object{"nonce": nil}, nil, "nonce"},
		{"57 nonce empty", object{"nonce": ""}, nil, "nonce"},
		{"57 nonce not a string", object{"nonce": []string{"x"}}, nil, "verify"},
		{"61 nbf in an hour", object{"nbf": at(time.Hour)}, nil, "verify"},
		{"61 nbf past the leeway", object{"nbf": at(2 * time.Minute)}, nil, "nbf"},
		{"61 nbf within the leeway", object{"nbf": at(30 * time.Second)}, nil, ""},
		{"62 at_hash of this access token", object{"at_hash": "9MKET0Y7WpOlF96BtnoJyA"}, nil, ""},
		{"62 at_hash of another", object{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, nil, "at_hash"},
		{"62 at_hash empty", object{"at_hash": ""}, nil, "at_hash"},
		{"65 nulls and nested junk", object{"address": json.RawMessage("null"), "x": object{"y": []any{nil, object{}}}, "acr": 5, "amr": "pwd", "auth_time": "yesterday"}, nil, ""},
		{"66 events, as in a logout token", object{"events": object{"http://schemas.openid.net/event/backchannel-logout": object{}}}, nil, "events"},
		{"66 events null", object{"events": json.RawMessage("null")}, nil, "events"},
		{"76 distributed claims", object{"_claim_names": object{"groups": "s"}, "_claim_sources": object{"s": object{"endpoint": "http://169.254.169.254/"}}}, nil, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			maps.Copy(p.claims, row.change)
			maps.DeleteFunc(p.claims, func(name string, v any) bool { return v == nil && name != "nonce" })
			c := p.client(func(cfg *Config) {
				if row.config != nil {
					row.config(cfg)
				}
			})
			grant, err := p.signIn(c)
			if row.refused != "" {
				wantError(t, err, Invalid, "id_token_invalid", row.refused)
				return
			}
			if err != nil || grant.Identity.Subject == "" {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// TestIDTokenForm has tokens that are wrong outside their claims.
func TestIDTokenForm(t *testing.T) {
	t.Parallel()
	good := func(t *testing.T, p *provider, header object) string {
		return sign(t, rsaKey(), "RS256", "k1", header, p.claims)
	}
	part := func(v any) string {
		raw, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	unsigned := func(alg any) func(*testing.T, *provider) string {
		return func(_ *testing.T, p *provider) string {
			return part(object{"alg": alg, "kid": "k1"}) + "." + part(p.claims) + "."
		}
	}
	typed := func(typ string) func(*testing.T, *provider) string {
		return func(t *testing.T, p *provider) string { return good(t, p, object{"typ": typ}) }
	}
	hmacWith := func(secret []byte) func(*testing.T, *provider) string {
		return func(t *testing.T, p *provider) string { return sign(t, secret, "HS256", "k1", nil, p.claims) }
	}
	rows := []struct {
		name    string
		token   func(*testing.T, *provider) string
		refused string
	}{
		{"typ JWT", typed("JWT"), ""},
		{"48 a byte of the signature changed", func(t *testing.T, p *provider) string {
			raw := good(t, p, nil)
			i := strings.LastIndexByte(raw, '.') + 10
			other := map[bool]string{true: "B", false: "A"}[raw[i] == 'A']
			return raw[:i] + other + raw[i+1:]
		}, "signature"},
		{"48 a byte of the payload changed", func(t *testing.T, p *provider) string {
			parts := strings.Split(good(t, p, nil), ".")
			forged := maps.Clone(p.claims)
			forged["sub"] = "mallory"
			return parts[0] + "." + part(forged) + "." + parts[2]
		}, "signature"},
		{"48 a key that is not published", func(t *testing.T, p *provider) string {
			return sign(t, otherRSA(), "RS256", "k1", nil, p.claims)
		}, "signature"},
		{"48 signature stripped", func(t *testing.T, p *provider) string {
			raw := good(t, p, nil)
			return raw[:strings.LastIndexByte(raw, '.')+1]
		}, "signature"},
		{"49 alg none", unsigned("none"), "verify"},
		{"49 alg None", unsigned("None"), "verify"},
		{"49 alg nOnE", unsigned("nOnE"), "verify"},
		{"49 alg empty", unsigned(""), "verify"},
		{"49 alg null", unsigned(nil), "verify"},
		{"49 alg RS384 where RS256 is allowed", func(t *testing.T, p *provider) string {
			return sign(t, rsaKey(), "RS384", "k1", nil, p.claims)
		}, "verify"},
		{"51 HS256 with the client secret", hmacWith([]byte("secret-secret-secret-secret-secret")), "verify"},
		{"51 HS256 with the text of the key", func(t *testing.T, p *provider) string {
			raw, _ := json.Marshal(p.keys[0])
			return hmacWith(raw)(t, p)
		}, "verify"},
		{"52 a jwk of its own", func(t *testing.T, p *provider) string {
			return sign(t, otherRSA(), "RS256", "x", object{"jwk": jwk("x", "RS256", &otherRSA().PublicKey)}, p.claims)
		}, "signature"},
		{"52 a jku of its own", func(t *testing.T, p *provider) string {
			return sign(t, otherRSA(), "RS256", "x", object{"jku": "https://evil.example/keys", "x5u": "https://evil.example/x5u"}, p.claims)
		}, "signature"},
		{"66 typ at+jwt", typed("at+jwt"), "typ"},
		{"66 typ application/at+JWT", typed("application/at+JWT"), "typ"},
		{"66 typ logout+jwt", typed("logout+jwt"), "typ"},
		{"67 crit", func(t *testing.T, p *provider) string {
			return good(t, p, object{"crit": []string{"exp"}, "exp": 1})
		}, "crit"},
		{"67 b64 false", func(t *testing.T, p *provider) string {
			parts := strings.Split(good(t, p, nil), ".")
			return part(object{"alg": "RS256", "kid": "k1", "b64": false, "crit": []string{"b64"}}) + "." + parts[1] + "." + parts[2]
		}, "crit"},
		{"67 JSON serialization", func(t *testing.T, p *provider) string {
			jws, err := jose.ParseSignedCompact(good(t, p, nil), []jose.SignatureAlgorithm{jose.RS256})
			if err != nil {
				t.Fatal(err)
			}
			return jws.FullSerialize()
		}, "form"},
		{"64 encrypted", func(t *testing.T, p *provider) string { return good(t, p, nil) + ".eyJ.eyJ" }, "form"},
		{"no token at all", func(*testing.T, *provider) string { return "not a token" }, "form"},
		{"header not an object", func(*testing.T, *provider) string { return part(7) + "." + part(7) + "." + part(7) }, "form"},
		{"payload not an object", func(t *testing.T, p *provider) string {
			return signBytes(t, rsaKey(), "RS256", "k1", nil, []byte("[1]"))
		}, "verify"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			c := p.client()
			_, login := p.begin(c, AuthRequest{})
			p.token["id_token"] = row.token(t, p)
			_, err := c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
			if row.refused != "" {
				wantError(t, err, Invalid, "id_token_invalid", row.refused)
			} else if err != nil {
				t.Error(err)
			}
			if n := p.count("/keys") + p.count("/token") + p.count(wellKnown); n != len(p.calls) {
				t.Errorf("somebody else was asked: %v", p.calls)
			}
		})
	}
}

// TestIDTokenAnswers holds the token to what the sign-in asked for, by rules 12 and 13.
func TestIDTokenAnswers(t *testing.T) {
	t.Parallel()
	seconds := func(n int) *time.Duration { d := time.Duration(n) * time.Second; return &d }
	required := func(c *Config) { c.ACRValues = []string{"urn:mfa", "urn:phr"} }
	rows := []struct {
		name    string
		ask     AuthRequest
		change  object
		config  func(*Config)
		dwell   time.Duration // between Begin and Finish
		refused string
	}{
		{"59 acr as configured", AuthRequest{}, object{"acr": "urn:phr"}, required, 0, ""},
		{"59 another acr", AuthRequest{}, object{"acr": "urn:pwd"}, required, 0, "acr"},
		{"59 no acr", AuthRequest{}, nil, required, 0, "acr"},
		{"59 acr not a string", AuthRequest{}, object{"acr": 2}, required, 0, "acr"},
		{"59 the request's acr narrows the configured", AuthRequest{ACRValues: "urn:mfa"}, object{"acr": "urn:phr"}, required, 0, "acr"},
		{"59 acr as asked", AuthRequest{ACRValues: "urn:a urn:step"}, object{"acr": "urn:step"}, nil, 0, ""},
		{"14 auth_time missing", AuthRequest{MaxAge: seconds(60)}, nil, nil, 0, "auth_time"},
		{"14 auth_time a string", AuthRequest{MaxAge: seconds(60)}, object{"auth_time": "1795176000"}, nil, 0, "auth_time"},
		{"14 auth_time missing, configured", AuthRequest{}, nil, func(c *Config) { c.MaxAge = time.Minute }, 0, "auth_time"},
		{"60 an hour old", AuthRequest{MaxAge: seconds(60)}, object{"auth_time": at(-time.Hour)}, nil, 0, "auth_time"},
		{"60 older than max_age and leeway", AuthRequest{MaxAge: seconds(60)}, object{"auth_time": at(-121 * time.Second)}, nil, 0, "auth_time"},
		{"60 within the leeway", AuthRequest{MaxAge: seconds(60)}, object{"auth_time": at(-119 * time.Second)}, nil, 0, ""},
		{"60 max_age 0, signed in before", AuthRequest{MaxAge: seconds(0)}, object{"auth_time": at(-5 * time.Minute)}, nil, 0, "auth_time"},
		{"60 max_age 0, a slow consent page", AuthRequest{MaxAge: seconds(0)}, object{"auth_time": at(10 * time.Second)}, nil, 8 * time.Minute, ""},
		{"60 max_age 0 is stricter than the configured one", AuthRequest{MaxAge: seconds(0)}, object{"auth_time": at(-5 * time.Minute)}, func(c *Config) { c.MaxAge = time.Hour }, 0, "auth_time"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			maps.Copy(p.claims, row.change)
			c := p.client(func(cfg *Config) {
				if row.config != nil {
					row.config(cfg)
				}
			})
			_, login := p.begin(c, row.ask)
			p.advance(row.dwell)
			_, err := c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
			if row.refused != "" {
				wantError(t, err, Invalid, "id_token_invalid", row.refused)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTimesByExactName: go-oidc takes "Exp" for exp, this package does not.
func TestTimesByExactName(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	_, login := p.begin(c, AuthRequest{})
	payload, err := json.Marshal(with(p.claims, object{"exp": at(-time.Hour)}))
	if err != nil {
		t.Fatal(err)
	}
	twice := strings.TrimSuffix(string(payload), "}") + fmt.Sprintf(`,"Exp":%d}`, at(time.Hour))
	p.token["id_token"] = signBytes(t, rsaKey(), "RS256", "k1", nil, []byte(twice))
	_, err = c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
	wantError(t, err, Invalid, "id_token_invalid", "exp")
}

func TestIdentityHoldsUserClaimsOnly(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	maps.Copy(p.claims, object{
		"sid": "s1", "auth_time": at(-time.Minute), "acr": "urn:mfa", "amr": []string{"pwd", "otp"}, "azp": clientID,
		"at_hash": "9MKET0Y7WpOlF96BtnoJyA", "jti": "j", "nbf": at(0), "c_hash": "c", "s_hash": "s", "groups": []string{"staff"},
	})
	id := p.mustSignIn(p.client()).Identity
	if id.Issuer != issuer || id.Subject != "alice" || id.SID != "s1" || id.ACR != "urn:mfa" || len(id.AMR) != 2 ||
		!id.AuthTime.Equal(start.Add(-time.Minute)) || id.Nonce == "" || len(id.Audience) != 1 {
		t.Errorf("identity is %+v", id)
	}
	for _, name := range []string{"iss", "aud", "exp", "iat", "nbf", "nonce", "azp", "at_hash", "c_hash", "s_hash", "jti", "sid", "events"} {
		if _, ok := id.Claims[name]; ok {
			t.Errorf("claims hold %s", name)
		}
	}
	if got := string(id.Claims["groups"]); got != `["staff"]` {
		t.Errorf("groups are %s", got)
	}
}

func TestGooglesSecondIssuerIsRefused(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.issuer = "https://accounts.google.com"
	p.metadata["issuer"] = p.issuer
	p.claims["iss"] = "accounts.google.com"
	_, err := p.signIn(p.client())
	wantError(t, err, Invalid, "id_token_invalid", "iss")
}

func TestAllowedAlgorithms(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "PS256", "RS512"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.keys = []any{jwk("e", "", &ecKey().PublicKey), jwk("r", "", &rsaKey().PublicKey)}
			c := p.client(func(cfg *Config) { cfg.SigningAlgs = []string{alg} })
			_, login := p.begin(c, AuthRequest{})
			if alg == "ES256" {
				p.token["id_token"] = sign(t, ecKey(), alg, "e", nil, p.claims)
			} else {
				p.token["id_token"] = sign(t, rsaKey(), alg, "r", nil, p.claims)
			}
			if _, err := c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery); err != nil {
				t.Error(err)
			}
		})
	}
}
