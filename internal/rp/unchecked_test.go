package rp

import (
	"crypto/rsa"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

// rotates makes each refresh token good once, counting from refresh-1; whoever comes with
// an old one gets no tokens any more (RFC 9700 4.14.2).
func (p *provider) rotates() {
	n, ended := 1, false
	p.answers("/token", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if form := p.calls[len(p.calls)-1].form; form.Get("grant_type") == "refresh_token" {
			if ended = ended || form.Get("refresh_token") != fmt.Sprintf("refresh-%d", n); ended {
				reply(w, http.StatusBadRequest, object{"error": "invalid_grant"})
				return
			}
			n++
		}
		p.token["refresh_token"] = fmt.Sprintf("refresh-%d", n)
		reply(w, http.StatusOK, p.tokens())
	})
}

// rolls signs with another key from now on, which is published.
func (p *provider) rolls(key *rsa.PrivateKey, kid string) {
	p.t.Helper()
	token := sign(p.t, key, "RS256", kid, nil, p.claims)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys, p.token["id_token"] = []any{jwk(kid, "RS256", &key.PublicKey)}, token
}

var bySecret = cmp.Options{cmp.AllowUnexported(Tokens{}), cmp.Comparer(func(a, b keys.Secret) bool { return a.Reveal() == b.Reveal() })}

// TestRotatedTokenOutlivesAnAnswerThatCannotBeChecked: the provider has forgotten the old
// refresh token by then.
func TestRotatedTokenOutlivesAnAnswerThatCannotBeChecked(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name  string
		spoil func(*provider, *Client)
		code  string
	}{
		{"the keys cannot be fetched", func(p *provider, _ *Client) { p.answers("/keys", text(503, "text/html", "CANARY")) }, "status"},
		{"there is no key among them", func(p *provider, _ *Client) { p.answers("/keys", text(200, "application/json", `{"keys":[]}`)) }, "key_set"},
		{"forged ID tokens have used up the fetches", func(p *provider, c *Client) {
			for n := range 3 {
				wantError(p.t, p.finishWith(c, smallRSA(), "RS256", fmt.Sprint("forged-", n)), Invalid, "id_token_invalid", "signature")
			}
		}, "rate_limited"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			c := p.client()
			grant := p.mustSignIn(c)
			p.rotates()
			row.spoil(p, c)
			p.rolls(otherRSA(), "k2")
			p.token["access_token"] = "access-2"
			want := grant
			want.Tokens.Refresh = keys.NewSecret("refresh-2")
			got, err := c.Refresh(t.Context(), grant)
			wantError(t, err, Fault, "provider_unavailable", row.code)
			if diff := cmp.Diff(want, got, bySecret); diff != "" {
				t.Errorf("to be kept (-want +got):\n%s", diff)
			}
			if grant.Tokens.Refresh.Reveal() != "refresh-1" {
				t.Error("the earlier grant was changed")
			}
			p.answers("/keys", nil)
			p.advance(31 * time.Second)
			if got, err = c.Refresh(t.Context(), got); err != nil {
				t.Fatal(err)
			}
			if got.Tokens.Refresh.Reveal() != "refresh-3" || got.Tokens.Access.Reveal() != "access-2" {
				t.Errorf("then %s and %s", got.Tokens.Refresh.Reveal(), got.Tokens.Access.Reveal())
			}
		})
	}
}

// TestRefusedAnswerIsNotKept: of an ID token that is wrong nothing is taken.
func TestRefusedAnswerIsNotKept(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	grant := p.mustSignIn(c)
	p.rotates()
	p.claims["sub"] = "bob"
	got, err := c.Refresh(t.Context(), grant)
	wantError(t, err, Invalid, "id_token_invalid", "sub")
	if diff := cmp.Diff(Grant{}, got, bySecret); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestForgedLogoutTokensHinderNoRefresh: anybody can send those; what they make us fetch is
// counted apart.
func TestForgedLogoutTokensHinderNoRefresh(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	grant := p.mustSignIn(c)
	for n := range 20 {
		if _, err := c.VerifyLogout(t.Context(), sign(t, smallRSA(), "RS256", fmt.Sprint("forged-", n), nil, logoutClaims())); err == nil {
			t.Fatal("a forged token is taken")
		}
	}
	p.rotates()
	p.rolls(otherRSA(), "k2")
	if got, err := c.Refresh(t.Context(), grant); err != nil || got.Tokens.Refresh.Reveal() != "refresh-2" {
		t.Errorf("refresh token %q, %v", got.Tokens.Refresh.Reveal(), err)
	}
}
