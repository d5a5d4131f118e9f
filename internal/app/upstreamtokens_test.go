package app_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/devidp"
)

const readyLimit = 20 * time.Second

const exchanges = `upstreams:
  - {path: /orders/, url: $ORDERS, auth: required, token: exchange, exchange: {audience: orders}}
  - {path: /stock/, url: $STOCK, auth: required, token: exchange, exchange: {audience: stock}}
  - {path: /own/, url: $OWN, auth: required, token: relay}
`

func exchangeServices() map[string]func(*upstreamRig) http.Handler {
	return map[string]func(*upstreamRig) http.Handler{"ORDERS": api("orders"), "STOCK": api("stock"), "OWN": api(ownAudience)}
}

func TestAnExchangedTokenIsForOneServiceAndOneSession(t *testing.T) {
	t.Parallel()
	r := newUpstreamRig(t, upstreamPlan{settings: exchanges, services: exchangeServices()})
	users := map[string]*caller{aliceSubject: r.signIn("alice"), bobSubject: r.signIn("bob")}
	audiences := map[string]string{"/orders/": "orders", "/stock/": "stock", "/own/": ownAudience}
	var all sync.WaitGroup
	for range 12 {
		for subject, user := range users {
			for path, audience := range audiences {
				all.Go(func() {
					p := user.call(http.MethodGet, path+"claims")
					if p.status != http.StatusOK || p.read("sub") != subject || p.read("aud") != audience {
						t.Errorf("%s of %s: %s", path, subject, p)
					}
				})
			}
		}
	}
	all.Wait()
	if n := r.got(exchangeGrant); n != 4 {
		t.Errorf("%d exchanges for two users at two services, want 4", n)
	}
	// A token that arrives at two services, or two tokens where one user calls, would show.
	tokens := slices.Concat(r.services["ORDERS"].distinct(), r.services["STOCK"].distinct(), r.services["OWN"].distinct())
	if slices.Sort(tokens); len(tokens) != 6 || len(slices.Compact(tokens)) != 6 {
		t.Errorf("%d tokens of two users at three services, want 6 that differ", len(tokens))
	}
	if r.got("refresh_token") != 0 {
		t.Error("a session was refreshed for an exchange")
	}
}

func TestAnExchangedTokenEndsWithTheTokensItCameFrom(t *testing.T) {
	t.Parallel()
	r := newUpstreamRig(t, upstreamPlan{settings: exchanges, services: exchangeServices()})
	alice, bob, orders := r.signIn("alice"), r.signIn("bob"), r.services["ORDERS"]
	want := func(when string, user *caller, status, exchanged, called int) {
		t.Helper()
		if p := user.call(http.MethodGet, "/orders/claims"); p.status != status {
			t.Errorf("%s: %s, want %d", when, p, status)
		}
		if got, calls := r.got(exchangeGrant), len(orders.credentials()); got != exchanged || calls != called {
			t.Errorf("%s: %d exchanges and %d calls, want %d and %d", when, got, calls, exchanged, called)
		}
	}
	want("first", alice, 200, 1, 1)
	want("bob's", bob, 200, 2, 2)
	if p := alice.call(http.MethodPost, "/bff/refresh"); p.status != http.StatusOK {
		t.Fatalf("refresh: %s", p)
	}
	want("after a refresh", alice, 200, 3, 3)
	want("after somebody else's refresh", bob, 200, 3, 4)
	if tokens := orders.credentials(); tokens[0] == tokens[2] || tokens[1] != tokens[3] {
		t.Error("the refresh brought no new token to alice, or one to bob")
	}

	thief := r.browser()
	thief.client.Jar = copyJar(t, alice.client.Jar, r.url)
	want("with a copy of the cookie", thief, 200, 3, 5)
	if p := alice.call(http.MethodPost, "/bff/logout"); p.status != http.StatusOK {
		t.Fatalf("sign-out: %s", p)
	}
	want("with the copy after the sign-out", thief, 401, 3, 5)
	want("after the sign-out", alice, 401, 3, 5)
	want("after somebody else's sign-out", bob, 200, 3, 6)
	alice.client.Jar, _ = cookiejar.New(nil)
	alice.navigate(r.url+"/bff/login?returnUrl=/bff/session", "alice")
	want("signed in anew", alice, 200, 4, 7)
	if slices.Contains(orders.credentials()[:6], orders.last()) {
		t.Error("a token of the session that ended is used again")
	}
}

// The program's own token is what is exchanged: it is for Genkan, and not for the service.
func TestATokenOfAProgramIsExchangedToo(t *testing.T) {
	t.Parallel()
	r := newUpstreamRig(t, upstreamPlan{
		settings: "upstreams:\n  - {path: /orders/, url: $ORDERS, auth: required, token: exchange, exchange: {audience: orders}, accept: [bearer], audiences: [reports]}\n",
		services: map[string]func(*upstreamRig) http.Handler{"ORDERS": api("orders")},
	})
	for _, client := range []string{"robot", "android"} {
		token := r.obtain(client, url.Values{"audience": {"reports"}})
		for range 3 {
			p := r.program().call(http.MethodGet, "/orders/claims", "Authorization: Bearer "+token)
			if p.status != http.StatusOK || p.read("sub") != client || p.read("aud") != "orders" {
				t.Errorf("%s: %s", client, p)
			}
		}
	}
	if n, tokens := r.got(exchangeGrant), r.services["ORDERS"].distinct(); n != 2 || len(tokens) != 2 {
		t.Errorf("%d exchanges and %d tokens of two programs, want two", n, len(tokens))
	}
}

// The provider and the services each demand nonces of their own, too.
func TestTokensForUpstreamsAreBoundToKeys(t *testing.T) {
	t.Parallel()
	demanding := func(audience string) func(*upstreamRig) http.Handler {
		return func(r *upstreamRig) http.Handler {
			return devidp.NewDemoAPI(devidp.DemoAPIConfig{Issuer: r.issuer, Audience: audience, DPoPNonce: true})
		}
	}
	r := newUpstreamRig(t, upstreamPlan{
		provider: "dpop: on",
		settings: exchanges + "  - {path: /reports/, url: $REPORTS, auth: required, token: client, client: {audience: reports}}\n" +
			"  - {path: /bearers/, url: $OWN, auth: required, token: relay, accept: [bearer], audiences: ['http://127.0.0.1:9100']}\n",
		services: map[string]func(*upstreamRig) http.Handler{"ORDERS": demanding("orders"), "STOCK": demanding("stock"), "OWN": demanding(ownAudience), "REPORTS": demanding("reports")},
		idp:      func(c *devidp.Config) { c.DPoPNonce, c.Clients[0].RequireDPoP = true, true },
	})
	keyOf := func(user *caller, path string) string {
		t.Helper()
		p := user.call(http.MethodGet, path)
		if p.status != http.StatusOK {
			t.Fatalf("%s: %s", path, p)
		}
		cnf, _ := p.read("cnf").(map[string]any)
		jkt, _ := cnf["jkt"].(string)
		if len(jkt) != 43 { // SHA-256 in base64url
			t.Errorf("%s: the token is bound to %q", path, jkt)
		}
		return jkt
	}
	alice, bob := r.signIn("alice"), r.signIn("bob")
	hers, his, ours := keyOf(alice, "/own/claims"), keyOf(bob, "/own/claims"), keyOf(alice, "/reports/claims")
	if keyOf(alice, "/orders/claims") != hers || keyOf(alice, "/stock/claims") != hers || keyOf(bob, "/orders/claims") != his {
		t.Error("an exchanged token is not bound to the key of its session")
	}
	if hers == his || ours == hers || ours == his || keyOf(bob, "/reports/claims") != ours {
		t.Error("the two sessions and Genkan itself do not have a key each")
	}
	bound := r.services["OWN"].last()
	for _, presented := range []string{bound, strings.Replace(bound, "DPoP", "Bearer", 1)} {
		if p := r.program().call(http.MethodGet, "/bearers/claims", "Authorization: "+presented); p.said() != "401 invalid_token" {
			t.Errorf("a bound token of somebody who does not have the key: %s", p)
		}
	}
	for name, s := range r.services {
		for _, credential := range s.distinct() {
			if !strings.HasPrefix(credential, "DPoP ") {
				t.Errorf("%s got a credential of another scheme than DPoP", name)
			}
		}
	}
}

func TestATargetThatTheProviderRefusesIsTheOperatorsToMend(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, token, grant string }{
		{"exchange", "token: exchange, exchange: {audience: nowhere, scope: openid, resource: ['https://nowhere.example']}", exchangeGrant},
		{"client", "token: client, client: {audience: nowhere, resource: ['https://nowhere.example']}", clientGrant},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newUpstreamRig(t, upstreamPlan{
				settings: "upstreams:\n  - {path: /nowhere/, url: $NOWHERE, auth: required, " + row.token + "}\n",
				services: map[string]func(*upstreamRig) http.Handler{"NOWHERE": nil},
			})
			alice := r.signIn("alice")
			for range 3 {
				if p := alice.call(http.MethodGet, "/nowhere/x"); p.said() != "502 upstream_token_refused" {
					t.Errorf("%s", p)
				}
			}
			if n := r.got(row.grant); n != 1 {
				t.Errorf("%d token requests for three calls at once, want one", n)
			}
			for _, seen := range r.idp.Seen() {
				if f := seen.Form; f.Get("grant_type") == row.grant && (f.Get("audience") != "nowhere" || f.Get("resource") != "https://nowhere.example") {
					t.Error("the token was asked for again without the restriction (RFC 8707 2)")
				}
			}
			if got := r.services["NOWHERE"].credentials(); len(got) != 0 {
				t.Errorf("the upstream was called %d times", len(got))
			}
			log := r.log.String()
			for _, reason := range []string{"invalid_target", "audience or resource is not of a service that is known here", `"provider":"idp"`, `"GK`} {
				if !strings.Contains(log, reason) {
					t.Errorf("the log does not hold %s", reason)
				}
			}
			if alice.call(http.MethodGet, "/bff/user").status != http.StatusOK {
				t.Error("the session is over")
			}
		})
	}
}

const ownTokens = `upstreams:
  - {path: /reports/, url: $REPORTS, auth: required, token: client, client: {audience: reports, scope: reports.read}}
  - {path: /public/, url: $PUBLIC, auth: none, token: client, client: {audience: reports, scope: reports.read}}
  - {path: /stock/, url: $STOCK, auth: required, token: client, client: {audience: stock}}
`

func TestATokenOfGenkansOwnIsSharedByAllCalls(t *testing.T) {
	t.Parallel()
	r := newUpstreamRig(t, upstreamPlan{settings: ownTokens, services: map[string]func(*upstreamRig) http.Handler{
		"REPORTS": api("reports"), "PUBLIC": api("reports"), "STOCK": api("stock"),
	}})
	if !strings.Contains(r.warned, "whoever reaches Genkan calls this service with Genkan's own token") {
		t.Errorf("nobody was warned of the route that is open: %s", r.warned)
	}
	alice, bob, nobody := r.signIn("alice"), r.signIn("bob"), r.browser()
	var all sync.WaitGroup
	for range 10 {
		for user, path := range map[*caller]string{alice: "/reports/claims", bob: "/reports/claims", nobody: "/public/claims"} {
			all.Go(func() {
				if p := user.call(http.MethodGet, path); p.status != http.StatusOK || p.read("sub") != "genkan" || p.read("aud") != "reports" || p.read("scope") != "reports.read" {
					t.Errorf("%s: %s", path, p)
				}
			})
		}
	}
	all.Wait()
	if n, tokens := r.got(clientGrant), r.services["REPORTS"].distinct(); n != 1 || len(tokens) != 1 || !slices.Equal(tokens, r.services["PUBLIC"].distinct()) {
		t.Errorf("%d token requests and %d tokens for 30 calls, want one", n, len(tokens))
	}
	if p := nobody.call(http.MethodGet, "/reports/claims"); p.said() != "401 unauthenticated" {
		t.Errorf("nobody at a route that asks who is calling: %s", p)
	}
	if p := alice.call(http.MethodGet, "/stock/claims"); p.read("aud") != "stock" || r.got(clientGrant) != 2 {
		t.Errorf("another service: %s", p)
	}
}

func TestATokenOfGenkansOwnIsRenewedBeforeItExpires(t *testing.T) {
	t.Parallel()
	r := newUpstreamRig(t, upstreamPlan{settings: ownTokens, services: map[string]func(*upstreamRig) http.Handler{"REPORTS": nil, "PUBLIC": nil, "STOCK": nil}})
	const life, slack = 3 * time.Second, 2 * time.Second // the latter for a slow machine, and exp is in whole seconds
	r.idp.SetAccessLifetime(life)
	nobody, s, calls := r.browser(), r.services["PUBLIC"], 0
	eventually(t, 20*time.Second, "a third token", func() bool {
		calls++
		if p := nobody.call(http.MethodGet, "/public/x"); p.status != http.StatusOK {
			t.Fatalf("%s", p)
		}
		if exp, _ := claimsOf(s.last())["exp"].(float64); time.Now().Add(-slack).Unix() >= int64(exp) {
			t.Fatal("the token had expired")
		}
		return len(s.distinct()) == 3
	})
	if n := r.got(clientGrant); n != 3 || calls < 10 {
		t.Errorf("%d token requests for 3 tokens and %d calls", n, calls)
	}
}
