package rp

import (
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestNonceDemandedOfABearerSession: without a key there is no proof to put it in, and what
// was sent would be sent again as it was.
func TestNonceDemandedOfABearerSession(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(func(cfg *Config) { cfg.UserInfo = UserInfoOn })
	grant := p.mustSignIn(c)
	p.demands("/userinfo", 99, demandAtUserInfo)
	delete(p.claims, "nonce")
	_, err := p.signIn(c)
	wantError(t, err, Fault, "provider_unavailable", "status")
	if n := p.count("/userinfo"); n != 2 {
		t.Errorf("%d UserInfo requests of two sign-ins", n)
	}
	p.demands("/token", 99, demandAtToken)
	_, err = p.signIn(c)
	wantError(t, err, Misconfigured, "client_refused", "use_dpop_nonce")
	_, err = c.Refresh(t.Context(), grant)
	wantError(t, err, Misconfigured, "client_refused", "use_dpop_nonce")
	if n := p.count("/token"); n != 4 {
		t.Errorf("%d token requests of three sign-ins and a refresh", n)
	}
	p.demands("/revoke", 99, demandAtToken)
	if err := c.Revoke(t.Context(), grant.Tokens.Refresh, "refresh_token"); err == nil || p.count("/revoke") != 1 {
		t.Errorf("%v after %d revocations", err, p.count("/revoke"))
	}
	for _, call := range append(p.seen("/token"), p.seen("/userinfo")...) {
		if call.header.Get("DPoP") != "" {
			t.Errorf("%s got a proof", call.path)
		}
	}
}

// TestRetrySendsTheNonceOfTheAnswerItself: RFC 9449 8: a provider may take each nonce once,
// and another sign-in may have learnt one meanwhile.
func TestRetrySendsTheNonceOfTheAnswerItself(t *testing.T) {
	t.Parallel()
	p := dpopProvider(t)
	p.demands("/token", 1, demandAtToken)
	var c *Client
	var demanded atomic.Bool
	c = p.client(withDPoP, func(cfg *Config) {
		cfg.ClientAuth, cfg.Signers = AuthPrivateKeyJWT, signersOf(t, ecKey())
		cfg.Now = func() time.Time { // asked between the two requests, for the second assertion
			if p.count("/token") == 1 && !demanded.Swap(true) {
				c.nonces.Keep(&url.URL{Scheme: "https", Host: "idp.example"}, http.Header{"Dpop-Nonce": {"of-another"}}, "")
			}
			return p.clock()
		}
	})
	p.mustSignIn(c)
	var nonces []string
	for _, call := range p.seen("/token") {
		nonces = append(nonces, checkProof(t, call, issuer+"/token", "").nonce)
	}
	if diff := cmp.Diff([]string{"", "nonce-1"}, nonces); diff != "" || !demanded.Load() {
		t.Errorf("nonces (-want +got):\n%s", diff)
	}
}
