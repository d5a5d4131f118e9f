package rp

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	revokeAt = "https://app.example/bff/global-token-revocation"
	org      = "https://org.example"
)

// revocationClaims are those of a good credential, as Okta makes it.
func revocationClaims() object {
	return object{
		"iss": issuer, "sub": clientID, "aud": revokeAt, "jti": "jti-1", "iat": at(0), "nbf": at(-5 * time.Minute), "exp": at(5 * time.Minute),
	}
}

// TestRevocationToken: draft-parecki-oauth-global-token-revocation-06, 3.5.
func TestRevocationToken(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name    string
		change  object
		header  object
		refused string
	}{
		{name: "a good one"},
		{"the type in full", nil, object{"typ": "application/global-token-revocation+jwt"}, ""},
		{"no type", nil, object{"typ": ""}, "typ"},
		{"JWT", nil, object{"typ": "JWT"}, "typ"},
		{"a logout token's type", nil, object{"typ": "logout+jwt"}, "typ"},
		{"another issuer", object{"iss": issuer + "1"}, nil, "verify"},
		{"no issuer", object{"iss": nil}, nil, "verify"},
		{"aud of another endpoint", object{"aud": "https://app.example/bff/backchannel"}, nil, "aud"},
		{"aud with a query", object{"aud": revokeAt + "?x=y"}, nil, "aud"},
		{"aud with a slash", object{"aud": revokeAt + "/"}, nil, "aud"},
		{"aud the client, as in an ID token", object{"aud": clientID}, nil, "aud"},
		{"aud missing", object{"aud": nil}, nil, "aud"},
		{"aud a list of one", object{"aud": []string{revokeAt}}, nil, ""},
		{"aud with another", object{"aud": []string{revokeAt, "https://other.example"}}, nil, "aud"},
		{"over", object{"exp": at(-61 * time.Second)}, nil, "exp"},
		{"without end", object{"exp": nil}, nil, "exp"},
		{"exp in a string", object{"exp": fmt.Sprint(at(time.Minute))}, nil, "exp"},
		{"no iat", object{"iat": nil}, nil, "iat"},
		{"iat a day ago", object{"iat": at(-24 * time.Hour)}, nil, "iat"},
		{"iat a day ahead", object{"iat": at(24 * time.Hour), "exp": at(25 * time.Hour)}, nil, "iat"},
		{"nbf in an hour", object{"nbf": at(time.Hour)}, nil, "nbf"},
		{"no nbf", object{"nbf": nil}, nil, ""},
		{"no jti", object{"jti": nil}, nil, "jti"},
		{"jti empty", object{"jti": ""}, nil, "jti"},
		{"jti a number", object{"jti": 7}, nil, "jti"},
		{"for another client", object{"sub": "other"}, nil, "sub"},
		{"for no client", object{"sub": nil}, nil, "sub"},
		{"for another client, and over", object{"sub": "other", "exp": at(-time.Hour)}, nil, "exp"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			header := with(object{"typ": "global-token-revocation+jwt"}, row.header)
			token := sign(t, rsaKey(), "RS256", "k1", header, with(revocationClaims(), row.change))
			got, err := newProvider(t).client().VerifyRevocation(t.Context(), token, revokeAt)
			switch {
			case row.refused != "":
				wantError(t, err, Invalid, "revocation_unauthorized", row.refused)
			case err != nil:
				t.Errorf("refused: %v", err)
			case got.ID != "jti-1" || !got.Expires.Equal(start.Add(6*time.Minute+time.Second)):
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestRevocationIssuer: Okta signs with the org, whatever server signs users in.
func TestRevocationIssuer(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	byHost := func(path string, answer func(host string) any) {
		p.answers(path, func(w http.ResponseWriter, r *http.Request) { reply(w, http.StatusOK, answer(r.URL.Host)) })
	}
	byHost(wellKnown, func(host string) any {
		base := "https://" + host
		return object{"issuer": base, "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token", "jwks_uri": base + "/keys"}
	})
	byHost("/keys", func(host string) any {
		if host == "org.example" {
			return object{"keys": []any{jwk("org", "RS256", &otherRSA().PublicKey)}}
		}
		return object{"keys": []any{jwk("k1", "RS256", &rsaKey().PublicKey)}}
	})
	c := p.client(func(c *Config) { c.RevocationIssuer = org })
	token := func(key, kid, iss string) string {
		private := rsaKey()
		if key == "org" {
			private = otherRSA()
		}
		return sign(t, private, "RS256", kid, object{"typ": "global-token-revocation+jwt"}, with(revocationClaims(), object{"iss": iss}))
	}
	if _, err := c.VerifyRevocation(t.Context(), token("org", "org", org), revokeAt); err != nil {
		t.Errorf("the org's: %v", err)
	}
	for name, raw := range map[string]string{
		"the server's, by its key": token("own", "k1", issuer), "the org's, by the server's key": token("own", "k1", org), "the server's, by the org's key": token("org", "org", issuer),
	} {
		if _, err := c.VerifyRevocation(t.Context(), raw, revokeAt); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := c.VerifyLogout(t.Context(), sign(t, otherRSA(), "RS256", "org", nil, logoutClaims())); err == nil {
		t.Error("a logout token by the org's key is taken")
	}
	for issuer, want := range map[string]bool{issuer: true, org: true, "https://third.example": false, "": false} {
		if c.Names(issuer) != want {
			t.Errorf("%q names this provider: %v", issuer, !want)
		}
	}
	for raw, want := range map[string]int{token("org", "org", org): 1, token("own", "k1", issuer): 0, "": 0} {
		if got := RevocationClients([]*Client{c}, raw); len(got) != want {
			t.Errorf("%d clients", len(got))
		}
	}
	if _, err := New(Config{ID: "x", Issuer: issuer, ClientID: "x", RevocationIssuer: "http://org.example"}); err == nil || !strings.Contains(err.Error(), `revocation_issuer: "http://org.example" is plain http`) {
		t.Errorf("plain http: %v", err)
	}
}

func TestRevocationWhileKeysCannotBeHad(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.answers("/keys", text(http.StatusServiceUnavailable, "", ""))
	_, err := p.client().VerifyRevocation(t.Context(), sign(t, rsaKey(), "RS256", "k1", object{"typ": "global-token-revocation+jwt"}, revocationClaims()), revokeAt)
	wantError(t, err, Fault, "provider_unavailable", "status")
}

// FuzzRevocationToken: nothing that the provider did not sign is taken, and nothing breaks.
func FuzzRevocationToken(f *testing.F) {
	c := newProvider(&testing.T{}).client()
	f.Add("eyJhbGciOiJSUzI1NiIsInR5cCI6Imdsb2JhbC10b2tlbi1yZXZvY2F0aW9uK2p3dCJ9.e30.AA")
	f.Add("eyJhbGciOiJub25lIiwidHlwIjoiZ2xvYmFsLXRva2VuLXJldm9jYXRpb24rand0In0.e30.")
	f.Add("")
	f.Fuzz(func(t *testing.T, raw string) {
		RevocationClients([]*Client{c}, raw)
		if _, err := c.VerifyRevocation(t.Context(), raw, revokeAt); err == nil {
			t.Fatalf("%q is taken", raw)
		} else if _, ok := errors.AsType[*Error](err); !ok {
			t.Fatalf("%T", err)
		}
	})
}
