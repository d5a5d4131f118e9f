package rp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestNoAudiencesIsNobodysToken(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	for _, audiences := range [][]string{nil, {}} {
		_, err := p.client().VerifyAccess(t.Context(), accessToken(t, "at+jwt", accessClaims()), audiences)
		wantError(t, err, Misconfigured, "upstream_invalid", "audiences")
	}
	_, err := p.client().VerifyAccess(t.Context(), accessToken(t, "at+jwt", with(accessClaims(), object{"aud": nil})), []string{""})
	wantError(t, err, Invalid, "invalid_token", "aud")
}

// TestKeysOfAccessTokensThatCannotBeHad says nothing against a token.
func TestKeysOfAccessTokensThatCannotBeHad(t *testing.T) {
	t.Parallel()
	for _, path := range []string{wellKnown, "/keys"} {
		p := newProvider(t)
		p.answers(path, text(http.StatusBadGateway, "text/html", "<html>"))
		_, err := p.client().VerifyAccess(t.Context(), accessToken(t, "at+jwt", accessClaims()), []string{api})
		wantError(t, err, Fault, "provider_unavailable", "status")
	}
	p := newProvider(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.client().VerifyAccess(ctx, accessToken(t, "at+jwt", accessClaims()), []string{api})
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Fault || !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// TestForgedAccessTokensCostFewRequests: anybody can send them. Those that can be refused by
// themselves cost none, and a sign-in has its own budget.
func TestForgedAccessTokensCostFewRequests(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(anyType)
	send := func(raw string) error {
		_, err := c.VerifyAccess(t.Context(), raw, []string{api})
		return err
	}
	for i := range 100 {
		for _, raw := range []string{
			sign(t, ecKey(), "ES256", fmt.Sprint("forged-", i), object{"typ": "at+jwt"}, accessClaims()),
			sign(t, ecKey(), "ES256", fmt.Sprint("forged-", i), object{"typ": "logout+jwt"}, accessClaims()),
			sign(t, ecKey(), "ES256", fmt.Sprint("forged-", i), nil, with(accessClaims(), object{"iss": "https://other.example"})),
		} {
			if send(raw) == nil {
				t.Fatal("a forged token is taken")
			}
		}
	}
	if n := p.count("/keys") + p.count(wellKnown); n != 0 {
		t.Errorf("%d requests for tokens that need no key", n)
	}
	for i := range 200 {
		err := send(sign(t, otherRSA(), "RS256", fmt.Sprint("forged-", i), object{"typ": "at+jwt"}, accessClaims()))
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Invalid && e.Code != "rate_limited" {
			t.Fatalf("error is %v", err)
		}
	}
	if n := p.count("/keys"); n < 2 || n > 4 {
		t.Errorf("%d fetches of keys, want the first and at most three more", n)
	}
	if err := send(accessToken(t, "at+jwt", accessClaims())); err != nil {
		t.Errorf("a good token after a flood: %v", err)
	}
	// The provider rolls its key: a sign-in is not held up by what strangers have used up.
	p.mu.Lock()
	p.keys = []any{jwk("k9", "RS256", &otherRSA().PublicKey)}
	p.mu.Unlock()
	if err := p.finishWith(c, otherRSA(), "RS256", "k9"); err != nil {
		t.Errorf("a sign-in pays for the flood: %v", err)
	}
}

// FuzzAccessToken: nothing that the provider did not sign is taken, and nothing breaks.
func FuzzAccessToken(f *testing.F) {
	payload, _ := json.Marshal(accessClaims())
	f.Add("eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9." + base64.RawURLEncoding.EncodeToString(payload) + ".AA")
	f.Add("eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString(payload) + ".")
	f.Add("..")
	f.Add(`{"payload":"","protected":"","signature":""}`)
	p := newProvider(&testing.T{})
	c := p.client(anyType)
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := c.VerifyAccess(t.Context(), raw, []string{api}); err == nil {
			t.Fatalf("%q is taken", raw)
		} else if _, ok := errors.AsType[*Error](err); !ok {
			t.Fatalf("%T", err)
		}
	})
}

// FuzzAccessClaims: whatever a provider signs, what is taken is for us, in time, and names
// somebody.
func FuzzAccessClaims(f *testing.F) {
	for _, change := range []object{nil, {"sub": nil}, {"exp": 1e300}, {"aud": []any{api, 7}}, {"aud": []any{clientID, api}}, {"cnf": null}, {"scp": 1}, {"iat": -1}, {"nonce": 1}} {
		payload, _ := json.Marshal(with(accessClaims(), maps.Clone(change)))
		f.Add(payload)
	}
	f.Add([]byte(`{"iss":"https://idp.example","iss":7}`))
	p := newProvider(&testing.T{})
	c := p.client(anyType)
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := c.VerifyAccess(t.Context(), signBytes(t, rsaKey(), "RS256", "k1", nil, payload), []string{api})
		if err == nil {
			wantSoundAccess(t, payload, got)
		}
		if err == nil && got.Expires.IsZero() { // RFC 9068 2.2
			t.Fatalf("%s has no end, and is taken", payload)
		}
	})
}

// wantSoundAccess is what must be true of everything that is taken.
func wantSoundAccess(t *testing.T, payload []byte, got Access) {
	t.Helper()
	var claims map[string]json.RawMessage
	if json.Unmarshal(payload, &claims) != nil {
		t.Fatalf("%s is no object", payload)
	}
	for _, name := range []string{"cnf", "nonce", "at_hash", "c_hash", "s_hash", "events"} {
		if _, ok := claims[name]; ok {
			t.Fatalf("%s is taken, with %s", payload, name)
		}
	}
	told := claims["exp"] != nil && string(claims["exp"]) != "null"
	if told && got.Expires.Before(start.Add(-time.Minute)) || !told && !got.Expires.IsZero() {
		t.Fatalf("%s is good until %v", payload, got.Expires)
	}
	if got.Identity.Subject == "" || got.Identity.Issuer != issuer || len(got.Scope) > 2000 || !strings.Contains(string(claims["aud"]), `orders`) {
		t.Fatalf("%s gives %+v", payload, got)
	}
}
