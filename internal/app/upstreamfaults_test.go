package app_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"genkan/internal/config"
	"genkan/internal/devidp"
)

// upstreamVerdicts are what the whole program answers a call when the provider has a fault,
// by the code of the answer.
var upstreamVerdicts = map[string]string{
	// Among them what nobody but the upstream can see, and claims that only a rule which
	// asks for them stumbles over.
	"accepted": `
		bearer-acr-number bearer-alg-rs256 bearer-array-aud bearer-auth-time-string bearer-azp bearer-extra-aud bearer-extra-aud-azp
		bearer-future-auth-time bearer-groups-number bearer-groups-string bearer-no-acr bearer-no-auth-time bearer-no-client-id
		bearer-no-groups bearer-no-jti bearer-no-kid bearer-no-scope bearer-old-auth-time bearer-scope-list bearer-scope-number
		bearer-typ-long bearer-typ-upper bearer-wrong-acr bearer-wrong-azp bearer-wrong-sub
		client-extra client-huge-expires-in client-id-token client-narrow-scope client-negative-expires-in client-no-expires-in
		client-no-scope client-odd-case-type client-refresh-token client-string-expires-in client-zero-expires-in
		exchange-extra exchange-huge-expires-in exchange-id-token exchange-jwt-issued-type exchange-narrow-scope
		exchange-negative-expires-in exchange-no-expires-in exchange-no-scope exchange-odd-case-type exchange-other-aud
		exchange-other-sub exchange-refresh-token exchange-string-expires-in exchange-unannounced exchange-zero-expires-in
		introspect-array-aud introspect-extra introspect-extra-aud introspect-groups-string
		introspect-no-client-id introspect-no-exp introspect-no-iss introspect-no-scope introspect-no-type introspect-other-sub
		introspect-scope-list introspect-scope-number introspect-text introspect-type-lower`,
	"invalid_token": `
		bearer-alg-eddsa bearer-alg-empty bearer-alg-hs256 bearer-alg-hs256-jwks bearer-alg-hs256-secret bearer-alg-none
		bearer-alg-none-mixed bearer-alg-none-title bearer-alg-ps256 bearer-alg-rs384 bearer-aud-number bearer-b64
		bearer-bad-signature bearer-changed-payload bearer-cnf-certificate bearer-cnf-jkt bearer-cnf-string bearer-cnf-unknown
		bearer-crit bearer-embedded-jwk bearer-empty-aud bearer-empty-sub bearer-enc-key bearer-exp-string bearer-exp-zero
		bearer-expired bearer-future-iat bearer-future-nbf bearer-id-token bearer-id-token-aud bearer-iss-slash bearer-iss-upper
		bearer-jku bearer-json bearer-no-aud bearer-no-exp bearer-no-iat bearer-no-iss bearer-no-signature bearer-no-sub
		bearer-no-typ bearer-other-alg bearer-other-tenant bearer-sub-300 bearer-sub-not-ascii bearer-sub-number
		bearer-two-signatures bearer-typ-jwt bearer-typ-logout bearer-typ-number bearer-unknown-kid bearer-unpublished-key
		bearer-weak-rsa bearer-wrong-aud bearer-wrong-iss bearer-x5c bearer-x5u
		introspect-active-list introspect-active-null introspect-active-number introspect-active-string introspect-active-upper
		introspect-aud-number introspect-cnf-certificate introspect-cnf-jkt introspect-cnf-unknown introspect-empty-aud
		introspect-empty-sub introspect-exp-string introspect-exp-zero introspect-expired introspect-future-iat
		introspect-future-nbf introspect-huge-exp introspect-inactive introspect-inactive-with-claims introspect-iss-number introspect-no-active
		introspect-no-aud introspect-no-sub introspect-only-active introspect-other-aud introspect-other-iss
		introspect-refresh-token introspect-sub-number introspect-type-dpop introspect-type-mac`,
	// The operator or the user has to mend it.
	"upstream_token_refused": `
		client-access-denied client-dpop-nonce-loop client-dpop-proof-invalid client-error-200 client-invalid-client
		client-invalid-grant client-invalid-request client-invalid-scope client-invalid-target client-unauthorized-client
		client-unsupported-grant-type
		exchange-access-denied exchange-dpop-nonce-loop exchange-dpop-proof-invalid exchange-empty-issued-type exchange-error-200
		exchange-invalid-client exchange-invalid-grant exchange-invalid-request exchange-invalid-scope exchange-invalid-target
		exchange-no-issued-type exchange-number-issued-type exchange-refresh-issued-type exchange-unauthorized-client
		exchange-unsupported-grant-type exchange-wrong-issued-type`,
	// Nothing is known of the token, or what came is none.
	"provider_unavailable": `
		client-429 client-500 client-503 client-array client-dpop-type-bearer client-empty client-empty-access-token client-html
		client-huge client-lost client-no-access-token client-no-type client-null client-number-access-token client-redirect
		client-slow client-truncated client-type-dpop client-unsafe-access-token client-wrong-type
		exchange-429 exchange-500 exchange-503 exchange-array exchange-dpop-type-bearer exchange-empty exchange-empty-access-token
		exchange-html exchange-huge exchange-lost exchange-no-access-token exchange-no-type exchange-null
		exchange-number-access-token exchange-redirect exchange-slow exchange-truncated exchange-type-dpop exchange-type-n-a
		exchange-unsafe-access-token exchange-wrong-type
		introspect-401 introspect-403 introspect-429 introspect-500 introspect-503 introspect-array introspect-empty
		introspect-error-200 introspect-html introspect-http-endpoint introspect-huge introspect-jwt introspect-lost
		introspect-no-content introspect-no-endpoint introspect-null introspect-redirect introspect-slow introspect-true
		introspect-truncated introspect-two-objects`,
}

var verdictAnswers = map[string]string{
	"accepted": "200", "invalid_token": "401 invalid_token", "upstream_token_refused": "502 upstream_token_refused", "provider_unavailable": "503 provider_unavailable",
}

const faultyUpstreams = `upstreams:
  - {path: /own/, url: $OWN, auth: required, token: relay}
  - {path: /exchange/, url: $UPSTREAM, auth: required, token: exchange, exchange: {audience: orders}}
  - {path: /client/, url: $UPSTREAM, auth: none, token: client, client: {audience: orders}}
  - {path: /bearer/, url: $UPSTREAM, auth: required, token: none, accept: [bearer], audiences: ['http://127.0.0.1:9100']}
  - {path: /introspect/, url: $UPSTREAM, auth: required, token: none, accept: [bearer], audiences: ['http://127.0.0.1:9100'], introspection: idp}
`

func TestNoFaultOfTheProviderLetsACallThroughThatShouldNotBe(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	for verdict, names := range upstreamVerdicts {
		for _, name := range strings.Fields(names) {
			if _, twice := want[name]; twice {
				t.Errorf("%s stands in the table twice", name)
			}
			want[name] = verdictAnswers[verdict]
		}
	}
	for _, name := range devidp.FaultNames() {
		kind, _, _ := strings.Cut(name, "-")
		if _, ok := want[name]; !ok && slices.Contains([]string{"exchange", "client", "bearer", "introspect"}, kind) {
			t.Errorf("%s is not in the table", name)
		}
	}
	for name, answer := range want {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			callUnder(t, name, answer)
		})
	}
}

// callUnder makes the one call that a fault is about.
func callUnder(t *testing.T, name, want string) {
	t.Helper()
	fault, err := devidp.FaultNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	kind, _, _ := strings.Cut(name, "-")
	plan := upstreamPlan{
		settings: faultyUpstreams, services: map[string]func(*upstreamRig) http.Handler{"OWN": nil, "UPSTREAM": nil},
		idp: func(c *devidp.Config) { c.AutoSignIn = "alice" },
	}
	if strings.Contains(name, "-dpop-") && kind != "introspect" {
		plan.provider = "dpop: on"
	}
	if strings.HasSuffix(name, "-slow") {
		plan.config = func(c *config.Config) { c.Providers[0].Timeout = 2 * time.Second }
	}
	r := newUpstreamRig(t, plan)
	r.idp.Inject(fault) // which no sign-in stumbles over
	alice, program := r.browser(), r.program()
	var p page
	switch path := "/" + kind + "/x"; kind {
	case "client":
		p = alice.call(http.MethodPost, path)
	case "introspect":
		p = program.call(http.MethodPost, path, "Authorization: Bearer "+r.obtain("obscure", url.Values{"audience": {ownAudience}}))
	case "exchange":
		alice = r.signIn("alice")
		p = alice.call(http.MethodPost, path)
		if alice.call(http.MethodGet, "/bff/user").status != http.StatusOK {
			t.Error("the session is over")
		}
	case "bearer":
		if own := r.signIn("alice").call(http.MethodGet, "/own/x"); own.status != http.StatusOK {
			t.Fatalf("%s", own)
		}
		p = program.call(http.MethodPost, path, "Authorization: "+r.services["OWN"].last())
	}
	if p.said() != want {
		t.Errorf("%s, want %s", p, want)
	}
	got := r.services["UPSTREAM"].credentials()
	switch {
	case want != "200" && len(got) != 0:
		t.Errorf("the upstream was called %d times", len(got))
	case want == "200" && len(got) != 1:
		t.Errorf("the upstream was called %d times, want once", len(got))
	case want == "200" && (kind == "exchange" || kind == "client") && got[0] == "":
		t.Error("the upstream got no token")
	}
}
