package rp

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

func TestRefreshRequest(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	grant := p.mustSignIn(c)
	if _, err := c.Refresh(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	want := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"refresh-1"}} // 85: no scope
	if diff := cmp.Diff(want, p.seen("/token")[1].form); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
}

// TestRefreshIDToken holds the ID token of a refresh response to OpenID Connect Core 12.2.
func TestRefreshIDToken(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name    string
		change  object
		refused string
	}{
		{"the same again", nil, ""},
		{"79 without nonce", object{"nonce": nil}, ""},
		{"79 another nonce", object{"nonce": "another"}, "nonce"},
		{"79 nonce empty", object{"nonce": ""}, "nonce"},
		{"78 another sub", object{"sub": "bob"}, "sub"},
		{"78 another iss", object{"iss": issuer + "2"}, "verify"},
		{"79 another aud", object{"aud": "other"}, "verify"},
		{"79 one more aud", object{"aud": []string{clientID, "trusted"}}, "aud"},
		{"79 aud as a list", object{"aud": []string{clientID}}, ""},
		{"79 another auth_time", object{"auth_time": at(-time.Minute)}, "auth_time"},
		{"79 no auth_time", object{"auth_time": nil}, ""},
		{"80 expired", object{"exp": at(-time.Hour)}, "exp"},
		{"80 iat of the sign-in", object{"iat": at(0)}, "iat"},
		{"46 azp of another", object{"azp": "other"}, "azp"},
		{"66 a logout token", object{"events": object{}}, "events"},
		{"62 at_hash of the old access token", object{"at_hash": "9MKET0Y7WpOlF96BtnoJyA"}, "at_hash"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.claims["auth_time"] = at(-time.Hour)
			c := p.client(func(cfg *Config) { cfg.TrustedAudiences = []string{"trusted"} })
			grant := p.mustSignIn(c)
			p.advance(2 * time.Hour)
			p.claims["iat"], p.claims["exp"] = at(2*time.Hour), at(3*time.Hour)
			p.claims = with(p.claims, row.change)
			p.token["access_token"] = "access-2"
			got, err := c.Refresh(t.Context(), grant)
			if row.refused != "" {
				wantError(t, err, Invalid, "id_token_invalid", row.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Identity.Nonce != grant.Identity.Nonce || !got.Identity.AuthTime.Equal(start.Add(-time.Hour)) || got.Tokens.ID.Reveal() == grant.Tokens.ID.Reveal() {
				t.Errorf("identity is %+v", got.Identity)
			}
		})
	}
}

func TestRefreshWithUnsignedIDToken(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	grant := p.mustSignIn(c)
	for name, token := range map[string]string{
		"verify":    "eyJhbGciOiJub25lIn0.e30.",
		"signature": sign(t, otherRSA(), "RS256", "k1", nil, p.claims),
		"form":      "x",
	} {
		p.token["id_token"] = token
		_, err := c.Refresh(t.Context(), grant)
		wantError(t, err, Invalid, "id_token_invalid", name)
	}
}

func TestRefreshKeepsWhatIsNotSentAnew(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	maps.Copy(p.claims, object{"sid": "s1", "groups": []string{"staff"}})
	p.token["scope"] = "openid email"
	c := p.client()
	grant := p.mustSignIn(c)
	p.advance(time.Minute)
	p.token = object{"access_token": "access-2", "token_type": "Bearer", "expires_in": 60, "id_token": nil}
	got, err := c.Refresh(t.Context(), grant)
	if err != nil {
		t.Fatal(err)
	}
	want := grant
	want.Tokens.Access, want.Tokens.Expiry = keys.NewSecret("access-2"), start.Add(2*time.Minute)
	if diff := cmp.Diff(want, got, bySecret); diff != "" {
		t.Errorf("81: without an ID token (-want +got):\n%s", diff)
	}
	p.claims = with(p.claims, object{"email": "new@example.com", "groups": nil, "sid": nil})
	delete(p.token, "id_token")
	got, err = c.Refresh(t.Context(), grant)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Identity.Claims["email"]) != `"new@example.com"` || string(got.Identity.Claims["groups"]) != `["staff"]` || got.Identity.SID != "s1" {
		t.Errorf("identity is %+v", got.Identity)
	}
	if string(grant.Identity.Claims["email"]) != `"alice@example.com"` {
		t.Error("the earlier grant was changed")
	}
}

// TestAnotherAddressIsNotVerifiedByTheLastOne: Core 5.1 says email_verified of the address
// beside it.
func TestAnotherAddressIsNotVerifiedByTheLastOne(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	maps.Copy(p.claims, object{"email": "alice@example.com", "email_verified": true})
	c := p.client()
	grant := p.mustSignIn(c)
	for _, tt := range []struct {
		claims object
		want   string
	}{
		{object{"email": "alice@example.com", "email_verified": nil}, "true"},
		{object{"email": "chief@example.com", "email_verified": nil}, ""},
		{object{"email": "chief@example.com", "email_verified": true}, "true"},
		{object{"email": nil, "email_verified": nil}, "true"},
	} {
		p.claims = with(p.claims, tt.claims)
		got, err := c.Refresh(t.Context(), grant)
		if err != nil {
			t.Fatal(err)
		}
		if verified := string(got.Identity.Claims["email_verified"]); verified != tt.want {
			t.Errorf("%v: email_verified is %q, want %q", tt.claims, verified, tt.want)
		}
	}
}

// TestRotation: 82, five refreshes at a provider with reuse detection.
func TestRotation(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	grant := p.mustSignIn(c)
	for i := 1; i <= 5; i++ {
		p.token["refresh_token"] = fmt.Sprintf("refresh-%d", i+1)
		next, err := c.Refresh(t.Context(), grant)
		if err != nil {
			t.Fatal(err)
		}
		calls := p.seen("/token")
		if got, want := calls[len(calls)-1].form.Get("refresh_token"), fmt.Sprintf("refresh-%d", i); got != want {
			t.Errorf("refresh %d used %q, want %q", i, got, want)
		}
		grant = next
	}
}

func TestRefreshSpendsNoTokenItCannotUse(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	grant := p.mustSignIn(p.client())
	for _, down := range []string{"/keys", wellKnown} {
		q := newProvider(t)
		q.answers(down, text(http.StatusBadGateway, "", ""))
		_, err := q.client().Refresh(t.Context(), grant) // a process that has just started
		wantError(t, err, Fault, "provider_unavailable", "status")
		if q.count("/token") != 0 {
			t.Errorf("%s is down, and the refresh token was sent", down)
		}
	}
}

func TestRefreshWithoutRefreshToken(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	_, err := p.client().Refresh(t.Context(), Grant{})
	wantError(t, err, Misconfigured, "grant_refused", "refresh_token")
	if len(p.calls) != 0 {
		t.Error("the provider was asked")
	}
}
