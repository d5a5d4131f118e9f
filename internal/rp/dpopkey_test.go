package rp

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/keys"
)

// TestAuthorize: RFC 9449 7.1, with its example of an access token and its hash.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	key := keys.NewSigner()
	private, err := key.Private()
	if err != nil {
		t.Fatal(err)
	}
	request := func() *http.Request {
		req, err := http.NewRequest(http.MethodPut, "https://Resource.example.org:8443/a%2Fb/%C3%BC?x=1&y#z", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Dpop"] = []string{"of the browser", "another"}
		req.Header["Authorization"] = []string{"Bearer of-the-browser", "Basic another"}
		return req
	}
	bound := Tokens{Access: keys.NewSecret(rfcToken), Key: private}
	req := request()
	if err := bound.Authorize(req, "n", start); err != nil {
		t.Fatal(err)
	}
	proof := checkProof(t, call{method: http.MethodPut, header: req.Header}, "https://Resource.example.org:8443/a%2Fb/%C3%BC", rfcToken)
	if proof.jkt != key.Thumbprint() || proof.nonce != "n" {
		t.Errorf("the key is %q, the nonce %q", proof.jkt, proof.nonce)
	}
	if got := req.Header.Values("Authorization"); len(got) != 1 || got[0] != "DPoP "+rfcToken {
		t.Errorf("Authorization is %q", got)
	}
	req = request()
	if err := (Tokens{Access: keys.NewSecret("t")}).Authorize(req, "n", start); err != nil {
		t.Fatal(err)
	}
	if got := req.Header.Values("Authorization"); len(got) != 1 || got[0] != "Bearer t" || len(req.Header.Values("DPoP")) != 0 {
		t.Errorf("Authorization is %q, DPoP %q", got, req.Header.Values("DPoP"))
	}
}

// TestAuthorizeWithoutAKeyThatOpens sends no token: a bound token is not sent as a bearer.
func TestAuthorizeWithoutAKeyThatOpens(t *testing.T) {
	t.Parallel()
	req, err := http.NewRequest(http.MethodGet, "https://a.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	err = Tokens{Access: keys.NewSecret(rfcToken), Key: keys.NewSecret("CANARY")}.Authorize(req, "", start)
	if err == nil || strings.Contains(err.Error(), "CANARY") || req.Header.Get("Authorization") != "" {
		t.Errorf("%v, Authorization %q", err, req.Header.Get("Authorization"))
	}
}

// TestProofIsNotRedirected: it is for one address and one use; RFC 9449 4.2.
func TestProofIsNotRedirected(t *testing.T) {
	t.Parallel()
	p := dpopProvider(t)
	p.answers("/userinfo", redirectTo(301, issuer+"/userinfo/"))
	p.answers("/userinfo/", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, p.userinfo) })
	_, err := p.signIn(p.client(withDPoP, func(cfg *Config) { cfg.UserInfo = UserInfoOn }))
	wantError(t, err, Fault, "provider_unavailable", "status")
	if p.count("/userinfo/") != 0 {
		t.Error("the proof went to another address")
	}
}

func TestProviderThatDoesNotTakeES256(t *testing.T) {
	t.Parallel()
	for name, listed := range map[string][]string{"RS256 alone": {"RS256"}, "ES256 too": {"RS256", "ES256"}, "an empty list": {}} {
		p := dpopProvider(t)
		p.metadata["dpop_signing_alg_values_supported"] = listed
		err := p.client(withDPoP).Warm(t.Context())
		if name == "RS256 alone" {
			wantError(t, err, Misconfigured, "provider_metadata", "metadata")
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.client().Warm(t.Context()); err != nil {
			t.Errorf("%s, with dpop off: %v", name, err)
		}
	}
}

// TestKeyOfASessionThatDoesNotOpen: nothing is sent without the proof it needs.
func TestKeyOfASessionThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	p := dpopProvider(t)
	c := p.client(withDPoP)
	grant := p.mustSignIn(c)
	grant.Tokens.Key = keys.NewSecret("CANARY")
	_, err := c.Refresh(t.Context(), grant)
	wantError(t, err, Invalid, "grant_refused", "dpop")
	_, login := p.begin(c, AuthRequest{})
	login.Key = "CANARY"
	_, err = c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
	wantError(t, err, Invalid, "response_invalid", "dpop")
	if n := p.count("/token"); n != 1 {
		t.Errorf("%d token requests, want that of the first sign-in", n)
	}
}

// TestSessionKeepsItsKindOfToken: a change of the setting ends no session.
func TestSessionKeepsItsKindOfToken(t *testing.T) {
	t.Parallel()
	p := dpopProvider(t)
	bound := p.mustSignIn(p.client(withDPoP))
	if _, err := p.client().Refresh(t.Context(), bound); err != nil {
		t.Errorf("bound, dpop now off: %v", err)
	}
	if got := p.seen("/token")[1].header.Get("DPoP"); got == "" {
		t.Error("a bound session was refreshed without a proof")
	}
	p = newProvider(t)
	bearer := p.mustSignIn(p.client())
	if _, err := p.client(withDPoP).Refresh(t.Context(), bearer); err != nil {
		t.Errorf("bearer, dpop now on: %v", err)
	}
}

// TestKeyIsToldNobody: 180: not in errors, logs, addresses, forms or what a grant prints.
func TestKeyIsToldNobody(t *testing.T) {
	t.Parallel()
	p := dpopProvider(t)
	p.requirePAR()
	var log logged
	c := p.client(withDPoP, log.to, func(cfg *Config) { cfg.UserInfo = UserInfoAuto })
	u, login := p.begin(c, AuthRequest{})
	said := []string{u.String()}
	grant, err := c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
	if err != nil {
		t.Fatal(err)
	}
	said = append(said, fmt.Sprintf("%v %+v %#v", grant, grant, grant))
	p.answers("/token", func(w http.ResponseWriter, r *http.Request) {
		proof := p.seen("/token")[p.count("/token")-1].header.Get("DPoP")
		reply(w, 400, object{"error": "invalid_dpop_proof", "error_description": proof})
	})
	_, err = c.Refresh(t.Context(), grant)
	wantError(t, err, Misconfigured, "client_refused", "invalid_dpop_proof")
	said = append(said, err.Error(), log.String())
	for _, call := range p.seen("/par") {
		said = append(said, call.form.Encode())
	}
	for _, call := range p.seen("/token") {
		said = append(said, call.form.Encode(), fmt.Sprint(call.header))
	}
	for _, text := range said {
		if strings.Contains(text, login.Key) {
			t.Errorf("the key stands in %.80s…", text)
		}
	}
}

func TestDemandsNonce(t *testing.T) {
	t.Parallel()
	rows := []struct {
		status     int
		challenges []string
		want       bool
	}{
		{401, []string{`DPoP error="use_dpop_nonce"`}, true},
		{401, []string{`dpop error="use_dpop_nonce", error_description="x"`}, true},
		{401, []string{`DPoP realm="a", algs="ES256", error="use_dpop_nonce"`}, true},
		{401, []string{`DPoP error=use_dpop_nonce`}, true},
		{401, []string{`Bearer`, `DPoP error="use_dpop_nonce"`}, true},
		{401, []string{`Bearer error="invalid_token", DPoP error="use_dpop_nonce"`}, true},
		{401, []string{`Bearer,DPoP error="use_dpop_nonce"`}, true},
		{400, []string{`DPoP error="use_dpop_nonce"`}, false},
		{200, []string{`DPoP error="use_dpop_nonce"`}, false},
		{401, nil, false},
		{401, []string{``}, false},
		{401, []string{`DPoP`}, false},
		{401, []string{`DPoP error="invalid_token"`}, false},
		{401, []string{`Bearer error="use_dpop_nonce"`}, false},
		{401, []string{`XDPoP error="use_dpop_nonce"`}, false},
		{401, []string{`Bearer error="use_dpop_nonce", DPoP error="invalid_token"`}, false},
	}
	for _, row := range rows {
		if got := DemandsNonce(row.status, http.Header{"Www-Authenticate": row.challenges}); got != row.want {
			t.Errorf("%d %q: %v", row.status, row.challenges, got)
		}
	}
}

// TestNothingIsLeftRunning: a bubble does not end while a goroutine of it waits.
func TestNothingIsLeftRunning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := dpopProvider(t)
		p.requirePAR()
		c := p.client(withDPoP, func(cfg *Config) { cfg.UserInfo = UserInfoOn })
		for n := range 20 {
			delete(p.claims, "nonce")
			p.demands("/token", 1, func(w http.ResponseWriter, _ int) { demandAtToken(w, n) })
			p.demands("/userinfo", 1, func(w http.ResponseWriter, _ int) { demandAtUserInfo(w, n) })
			if n%5 == 4 {
				p.answers("/token", hang)
			}
			grant, err := p.signIn(c)
			if n%5 == 4 {
				wantError(t, err, Fault, "provider_unavailable", "unreachable")
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Refresh(t.Context(), grant); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // of the bubble
		}
		if len(c.nonces.held) != 1 || len(c.shown.held) != 1 {
			t.Errorf("%d and %d nonces of one server", len(c.nonces.held), len(c.shown.held))
		}
	})
}

// TestRefusedNonceIsNotSentAgain: a provider that demands the nonce it has just been sent
// would refuse it once more.
func TestRefusedNonceIsNotSentAgain(t *testing.T) {
	t.Parallel()
	p := dpopProvider(t)
	c := p.client(withDPoP)
	same := func(w http.ResponseWriter, _ int) { demandAtToken(w, 7) }
	p.demands("/token", 1, same)
	grant := p.mustSignIn(c)
	p.demands("/token", 99, same)
	_, err := c.Refresh(t.Context(), grant)
	wantError(t, err, Misconfigured, "client_refused", "use_dpop_nonce")
	if n := p.count("/token"); n != 3 {
		t.Errorf("%d token requests, want two for the code and one to refresh", n)
	}
}

// TestNoncesAreBounded: a table that servers fill has an end, and the newest stay.
func TestNoncesAreBounded(t *testing.T) {
	t.Parallel()
	var nonces Nonces
	server := func(n int) *url.URL { return &url.URL{Scheme: "https", Host: fmt.Sprintf("s%d.example", n)} }
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for n := worker; n < 1000; n += 4 {
				nonces.Keep(server(n), http.Header{"Dpop-Nonce": {nonceOf(n)}}, "")
				nonces.Of(server(n))
			}
		})
	}
	group.Wait()
	for n := 1000; n < 1010; n++ {
		for range 100 { // of one server they take one place
			nonces.Keep(server(n), http.Header{"Dpop-Nonce": {nonceOf(n)}}, "")
		}
	}
	if len(nonces.held) > 64 || len(nonces.order) > 64 {
		t.Errorf("%d nonces in %d places", len(nonces.held), len(nonces.order))
	}
	for n := 1000; n < 1010; n++ {
		if nonces.Of(server(n)) != nonceOf(n) {
			t.Errorf("the nonce of server %d is gone", n)
		}
	}
}

// TestTokenTypeMustFit: 39, 176: neither kind takes the place of the other.
func TestTokenTypeMustFit(t *testing.T) {
	t.Parallel()
	rows := []struct {
		dpop bool
		kind any
		ok   bool
	}{
		{true, "DPoP", true}, {true, "dpop", true}, {true, "DPOP", true},
		{true, "Bearer", false}, {true, "bearer", false}, {true, nil, false}, {true, "", false}, {true, "DPoP ", false},
		{false, "DPoP", false}, {false, "dpop", false}, {false, "Bearer", true},
	}
	for _, row := range rows {
		t.Run(fmt.Sprintf("dpop %v, token_type %v", row.dpop, row.kind), func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			c := p.client(func(cfg *Config) { cfg.DPoP = row.dpop })
			if row.dpop {
				p.token["token_type"] = "DPoP"
			}
			grant := p.mustSignIn(c)
			delete(p.claims, "nonce")
			p.token["token_type"] = row.kind
			_, refresh := c.Refresh(t.Context(), grant)
			_, signIn := p.signIn(c)
			for _, err := range []error{refresh, signIn} {
				if row.ok && err != nil {
					t.Error(err)
				}
				if !row.ok {
					wantError(t, err, Fault, "token_response", "token_response")
				}
			}
		})
	}
}

func FuzzNonces(f *testing.F) {
	f.Add("abc", `DPoP error="use_dpop_nonce"`)
	f.Add("a\r\nb", `Bearer, dpop error="use_dpop_nonce`)
	f.Fuzz(func(t *testing.T, nonce, challenge string) {
		var nonces Nonces
		u := &url.URL{Scheme: "https", Host: "a.example"}
		fresh := nonces.Keep(u, http.Header{"Dpop-Nonce": {nonce}}, "")
		held := nonces.Of(u)
		if fresh != held || held != "" && held != nonce || len(held) > 1024 || strings.ContainsAny(held, "\r\n\x00") {
			t.Errorf("%q is held as %q", nonce, held)
		}
		if DemandsNonce(401, http.Header{"Www-Authenticate": {challenge}}) && !strings.Contains(challenge, "use_dpop_nonce") {
			t.Errorf("%q demands nothing", challenge)
		}
	})
}
