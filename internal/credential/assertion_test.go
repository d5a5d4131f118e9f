package credential_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/access"
	"genkan/internal/credential"
	"genkan/internal/keys"
	"genkan/internal/rp"
)

// verified reads a JWT as a service does that has the published set: RFC 7515 5.2, with the
// standard library alone.
func verified(t *testing.T, jwt string, signers []*keys.Signer) (header, claims map[string]any) {
	t.Helper()
	set, err := keys.Published(signers)
	if err != nil {
		t.Fatal(err)
	}
	var published struct {
		Keys []struct{ Kid, Kty, Alg, X, Y string }
	}
	parts := strings.Split(jwt, ".")
	if json.Unmarshal(set, &published) != nil || len(parts) != 3 {
		t.Fatal("no set, or no JWT")
	}
	if json.Unmarshal(raw(t, parts[0]), &header) != nil || json.Unmarshal(raw(t, parts[1]), &claims) != nil {
		t.Fatal("no JSON")
	}
	signature, signed := raw(t, parts[2]), []byte(parts[0]+"."+parts[1])
	for _, key := range published.Keys {
		if key.Kid != header["kid"] || key.Alg != header["alg"] {
			continue
		}
		switch key.Kty {
		case "EC":
			public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, raw(t, key.X), raw(t, key.Y)))
			sum := sha256.Sum256(signed)
			if err != nil || len(signature) != 64 || !ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
				t.Error("the signature is wrong")
			}
		case "OKP":
			if !ed25519.Verify(raw(t, key.X), signed, signature) {
				t.Error("the signature is wrong")
			}
		}
		return header, claims
	}
	t.Fatalf("no key of the set has signed: %v", header)
	return nil, nil
}

func raw(t *testing.T, text string) []byte {
	t.Helper()
	out, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWhatAServiceIsTold(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			source := credential.New(credential.Config{Issuer: public, Now: b.clock, Signers: func() []*keys.Signer { return b.ring.Signers(alg) }})
			s := b.signIn(t, "alice")
			s.Grant.Identity.AuthTime, s.Grant.Identity.ACR = time.Unix(1795251000, 0), "mfa"
			jwt, err := source.Assertion(access.Of(s), "/api/orders/")
			if err != nil {
				t.Fatal(err)
			}
			signers := b.ring.Signers(alg)
			header, claims := verified(t, jwt, signers)
			if diff := cmp.Diff(map[string]any{"alg": alg, "kid": signers[0].KeyID(), "typ": "JWT"}, header); diff != "" {
				t.Error(diff)
			}
			if jti, _ := claims["jti"].(string); len(jti) < 22 {
				t.Errorf("jti %q", jti)
			}
			delete(claims, "jti")
			if diff := cmp.Diff(map[string]any{
				"iss": "https://app.example.com", "sub": "alice", "idp": "https://idp.example", "aud": "/api/orders/", "sid": s.ID,
				"iat": 1795251600.0, "exp": 1795251660.0, "auth_time": 1795251000.0, "acr": "mfa", // 2026-11-21T09:00:00Z
				"email": "alice@example.com", "email_verified": true, "groups": []any{"staff", "ops"},
			}, claims); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAProgramHasNoSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	jwt, err := b.Assertion(program("at", time.Time{}), "orders")
	if err != nil {
		t.Fatal(err)
	}
	_, claims := verified(t, jwt, b.ring.Signers("ES256"))
	delete(claims, "jti")
	if diff := cmp.Diff(map[string]any{
		"iss": "https://app.example.com", "sub": "batch", "idp": "https://idp.example", "aud": "orders", "client_id": "batch", "iat": 1795251600.0, "exp": 1795251660.0,
	}, claims); diff != "" {
		t.Error(diff)
	}
}

func TestClaimsThatAreOddAreLeftOut(t *testing.T) {
	t.Parallel()
	long := func(n int, of string) string { return `"` + strings.Repeat(of, n) + `"` }
	for _, tt := range []struct {
		name, claim, value string
		want               any
	}{
		{"groups", "groups", `["a","b"]`, []any{"a", "b"}},
		{"one group", "groups", `"a"`, []any{"a"}},
		{"no groups", "groups", `[]`, nil},
		{"groups that are no texts", "groups", `["a",1]`, nil},
		{"an empty one", "groups", `["","a",null]`, []any{"a"}},
		{"an object", "groups", `{"a":1}`, nil},
		{"null", "groups", `null`, nil},
		{"all that fit", "groups", `[` + long(4092, "g") + `]`, []any{strings.Repeat("g", 4092)}},
		{"a byte more", "groups", `[` + long(4093, "g") + `]`, nil},
		{"more when written out", "groups", `[` + long(2000, "<") + `]`, nil},
		{"an address", "email", `"a@b"`, "a@b"},
		{"a long one", "email", long(320, "a"), strings.Repeat("a", 320)},
		{"one too long", "email", long(321, "a"), nil},
		{"a list of addresses", "email", `["a@b"]`, nil},
		{"verified", "email_verified", `true`, true},
		{"not verified", "email_verified", `false`, false},
		{"a text", "email_verified", `"true"`, nil},
		{"a claim of another name", "iss", `"https://evil.example"`, "https://app.example.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			c := program("at", time.Time{})
			c.Identity.Claims = map[string]json.RawMessage{"email": json.RawMessage(`"a@b"`)}
			c.Identity.Claims[tt.claim] = json.RawMessage(tt.value)
			jwt, err := b.Assertion(c, "orders")
			if err != nil {
				t.Fatal(err)
			}
			_, claims := verified(t, jwt, b.ring.Signers("ES256"))
			if diff := cmp.Diff(tt.want, claims[tt.claim]); diff != "" {
				t.Error(diff)
			}
			if len(jwt) > 6<<10 {
				t.Errorf("%d bytes", len(jwt))
			}
		})
	}
}

func TestGroupsThatDoNotFitAreToldOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 3 {
		c := program(fmt.Sprint("at-", i), time.Time{})
		c.Identity.Claims = map[string]json.RawMessage{"groups": json.RawMessage(`["secret` + strings.Repeat("g", 4096) + `"]`)}
		if _, err := b.Assertion(c, "orders"); err != nil {
			t.Fatal(err)
		}
	}
	if log := b.log.String(); strings.Count(log, "groups are left out") != 1 || strings.Contains(log, "secret") {
		t.Error(log)
	}
}

func TestAnAssertionIsSentAgainForFortySeconds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	alice, bob := access.Of(b.signIn(t, "alice")), access.Of(b.signIn(t, "bob"))
	get := func(c *access.Caller, audience string) string {
		t.Helper()
		jwt, err := b.Assertion(c, audience)
		if err != nil {
			t.Fatal(err)
		}
		return jwt
	}
	first := get(alice, "a")
	for name, other := range map[string]string{
		"another audience": get(alice, "b"), "another user": get(bob, "a"), "a program": get(program("at-alice", time.Time{}), "a"),
		"another session": get(access.Of(b.signIn(t, "alice")), "a"),
	} {
		if other == first {
			t.Errorf("%s gets the same one", name)
		}
	}
	b.pass(40*time.Second - time.Nanosecond)
	b.Sweep()
	if get(alice, "a") != first {
		t.Error("it was not sent again")
	}
	b.pass(time.Nanosecond)
	if get(alice, "a") == first {
		t.Error("it is sent with less than 20 seconds left")
	}
}

func TestNewClaimsAreInTheNextAssertion(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.signIn(t, "alice")
	before, err := b.Assertion(access.Of(s), "a")
	if err != nil {
		t.Fatal(err)
	}
	renewed := b.renew(t, s)
	renewed.Grant.Identity.Claims = map[string]json.RawMessage{"groups": json.RawMessage(`["new"]`)}
	after, err := b.Assertion(access.Of(renewed), "a")
	if err != nil || after == before {
		t.Fatal("the old one", err)
	}
	if _, claims := verified(t, after, b.ring.Signers("ES256")); !cmp.Equal(claims["groups"], []any{"new"}) {
		t.Errorf("%v", claims["groups"])
	}
}

func TestAfterAnExchangeOfKeysTheNewOneSignsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := access.Of(b.signIn(t, "alice"))
	if _, err := b.Assertion(c, "a"); err != nil {
		t.Fatal(err)
	}
	next, err := keys.Parse([]keys.Secret{keys.NewSecret(keys.Generate())})
	if err != nil {
		t.Fatal(err)
	}
	b.ring.Replace(next, 5*time.Minute)
	jwt, err := b.Assertion(c, "a")
	if err != nil {
		t.Fatal(err)
	}
	verified(t, jwt, b.ring.Signers("ES256"))
}

func TestNoAssertionWithoutKeyOrSubject(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if jwt, err := b.Assertion(&access.Caller{Token: keys.NewSecret("at"), Identity: rp.Identity{Issuer: "https://idp.example"}}, "a"); err == nil {
		t.Error(jwt)
	}
	none := credential.New(credential.Config{Issuer: public, Signers: func() []*keys.Signer { return nil }})
	if jwt, err := none.Assertion(access.Of(b.signIn(t, "alice")), "a"); err == nil {
		t.Error(jwt)
	}
}

func TestUsersInParallelNeverGetEachOthersAssertions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var all sync.WaitGroup
	for _, user := range []string{"alice", "bob", "carol"} {
		c := access.Of(b.signIn(t, user))
		for range 20 {
			all.Go(func() {
				jwt, err := b.Assertion(c, "a")
				if err != nil {
					t.Error(err)
					return
				}
				var claims struct{ Sub string }
				payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(jwt, ".")[1])
				if err := json.Unmarshal(payload, &claims); err != nil || claims.Sub != user {
					t.Errorf("%s got one of %s: %v", user, claims.Sub, err)
				}
			})
		}
	}
	all.Wait()
}

// BenchmarkHit is what a call costs that needs nothing new, with a token of the usual size.
func BenchmarkHit(b *testing.B) {
	x := newBench(b)
	s := x.signIn(b, strings.Repeat("t", 1500))
	s.Grant.Identity.Subject = "alice"
	c := access.Of(s)
	x.provider.exchanges(x.traded(time.Hour))
	x.provider.gives(x.given(time.Hour))
	for name, call := range map[string]func() error{
		"assertion": func() error { _, err := x.Assertion(c, "/api/orders/"); return err },
		"exchanged": func() error { _, err := x.Exchanged(b.Context(), c, orders); return err },
		"client":    func() error { _, err := x.Client(b.Context(), "idp", read); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
