package server_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"genkan/internal/devidp"
	"genkan/internal/rp"
)

// Every fault of the development provider, through the real HTTP server. A fault that has
// no verdict here fails the tests.

// signInFaults are the faults of a sign-in, by the code on the page that it ends with.
// Under "" stands what a relying party has to live with.
var signInFaults = verdicts{
	"": `
		authorize-extra discovery-authorize-query discovery-extra discovery-minimal discovery-mtls-alias discovery-no-auth-methods
		discovery-no-dpop discovery-no-iss discovery-no-logout discovery-no-pkce discovery-no-revocation
		discovery-only-client_secret_basic discovery-only-client_secret_post discovery-only-es256 discovery-par-required
		discovery-plain-pkce discovery-weak-algs dpop-odd-case-type id-alg-rs256 id-array-aud id-azp id-email-unverified
		id-email-verified-string id-many-claims id-no-acr id-no-at-hash id-no-auth-time id-no-email-verified id-no-kid id-no-kid-several
		id-no-kid-single id-no-typ id-old-auth-time id-wrong-acr keys-bad-rsa keys-bad-types keys-decoys keys-ed448 keys-junk
		keys-ml-dsa keys-no-alg keys-no-kid-single keys-no-kid-three keys-no-use keys-not-an-object keys-oct keys-secp256k1 token-extra
		token-huge-expires-in token-narrow-scope token-negative-expires-in token-no-expires-in token-no-refresh-token
		token-odd-case-type token-string-expires-in token-text token-zero-expires-in userinfo-aggregated userinfo-jwt-alg-rs256
		userinfo-jwt-good userinfo-jwt-no-kid`,
	"GK210": `
		authorize-server_error authorize-temporarily_unavailable discovery-500 discovery-503 discovery-huge discovery-lost
		discovery-redirect discovery-slow keys-500 keys-503 keys-empty keys-for-encryption keys-for-wrapping keys-html keys-huge
		keys-lost keys-many keys-no-list keys-not-a-list keys-redirect keys-slow keys-truncated par-200 par-429 par-500 par-503
		par-html par-huge par-lost par-redirect par-slow token-429 token-500 token-503 token-huge token-lost token-redirect token-slow
		userinfo-401 userinfo-403 userinfo-500 userinfo-503 userinfo-dpop-nonce-loop userinfo-huge userinfo-lost userinfo-redirect
		userinfo-slow`,
	"GK211": `
		discovery-array discovery-html discovery-http-authorize discovery-http-endpoint discovery-http-jwks discovery-http-userinfo
		discovery-issuer-slash discovery-issuer-suffix discovery-no-authorize discovery-no-issuer discovery-no-jwks discovery-no-par
		discovery-no-token discovery-number-endpoint discovery-only-client_secret_jwt discovery-truncated discovery-wrong-issuer`,
	"GK220": `
		authorize-invalid_request authorize-invalid_scope authorize-unheard_of`,
	"GK221": `
		authorize-access_denied`,
	"GK222": `
		authorize-account_selection_required authorize-consent_required authorize-interaction_required authorize-login_required`,
	"GK223": `
		authorize-unauthorized_client discovery-no-known-auth-method discovery-only-none
		discovery-only-private_key_jwt discovery-only-self_signed_tls_client_auth discovery-only-tls_client_auth dpop-nonce-loop
		dpop-proof-invalid par-401 token-invalid-client token-invalid-target token-no-dpop-nonce-header token-unauthorized-client`,
	"GK224": `
		token-error-200 token-invalid-grant`,
	"GK225": `
		dpop-type-bearer token-array token-dpop-type token-empty token-empty-id-token token-html token-no-access-token token-no-id-token
		token-no-type token-null token-number-access-token token-number-id-token token-truncated token-wrong-type`,
	"GK226": `
		par-400 par-413 par-dpop-nonce-loop par-empty-request-uri par-no-expires-in par-no-request-uri par-string-expires-in par-truncated`,
	"GK230": `
		id-alg-eddsa id-alg-empty id-alg-hs256 id-alg-hs256-jwks id-alg-hs256-secret id-alg-none id-alg-none-mixed id-alg-none-title
		id-alg-ps256 id-alg-rs384 id-aud-number id-b64 id-bad-signature id-changed-payload id-crit id-embedded-jwk id-empty-aud
		id-empty-nonce id-empty-sub id-enc-key id-events id-exp-string id-exp-zero id-expired id-expired-hour id-extra-aud
		id-extra-aud-azp id-future-iat id-future-nbf id-iss-slash id-iss-upper id-jku id-json id-no-aud id-no-exp id-no-iat id-no-iss
		id-no-nonce id-no-signature id-no-sub id-nonce-number id-old-iat id-other-alg id-other-tenant id-sub-300 id-sub-not-ascii
		id-sub-number id-two-signatures id-typ-access id-typ-logout id-unknown-kid id-unpublished-key id-weak-rsa id-wrong-at-hash
		id-wrong-aud id-wrong-azp id-wrong-iss id-wrong-nonce id-x5c id-x5u keys-other-alg keys-without-signer`,
	"GK231": `
		discovery-no-userinfo id-wrong-sub userinfo-array userinfo-empty userinfo-empty-sub userinfo-html userinfo-json-as-jwt
		userinfo-jwt-alg-eddsa userinfo-jwt-alg-empty userinfo-jwt-alg-hs256 userinfo-jwt-alg-hs256-jwks userinfo-jwt-alg-hs256-secret
		userinfo-jwt-alg-none userinfo-jwt-alg-none-mixed userinfo-jwt-alg-none-title userinfo-jwt-alg-ps256 userinfo-jwt-alg-rs384
		userinfo-jwt-as-json userinfo-jwt-b64 userinfo-jwt-bad-signature userinfo-jwt-changed-payload userinfo-jwt-crit
		userinfo-jwt-embedded-jwk userinfo-jwt-enc-key userinfo-jwt-jku userinfo-jwt-json userinfo-jwt-no-aud userinfo-jwt-no-iss
		userinfo-jwt-no-signature userinfo-jwt-other-alg userinfo-jwt-other-aud userinfo-jwt-other-iss userinfo-jwt-other-sub
		userinfo-jwt-two-signatures userinfo-jwt-unknown-kid userinfo-jwt-unpublished-key userinfo-jwt-weak-rsa userinfo-jwt-x5c
		userinfo-jwt-x5u userinfo-no-sub userinfo-sub-number userinfo-sub-suffix userinfo-text userinfo-wrong-sub`,
	"GK521": `
		authorize-empty-state authorize-error-wrong-state authorize-no-state authorize-state-twice authorize-wrong-state`,
	"GK522": `
		authorize-code-and-error authorize-code-twice authorize-empty-code authorize-error-wrong-iss authorize-iss-percent
		authorize-iss-slash authorize-iss-twice authorize-iss-upper authorize-no-code authorize-no-iss authorize-wrong-iss`,
	"Unknown": `
		par-unknown-request-uri`,
}

// verdicts are names of faults, separated by blanks, by their outcome.
type verdicts map[string]string

func (v verdicts) byFault(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for outcome, names := range v {
		for name := range strings.FieldsSeq(names) {
			if _, twice := all[name]; twice {
				t.Errorf("%s has two verdicts", name)
			}
			all[name] = outcome
		}
	}
	return all
}

// ofUpstreams names the faults of tokens got for upstreams, or brought by programs. No
// sign-in meets them: package app has their verdicts, and fails for one that is missing.
func ofUpstreams(name string) bool {
	kind, _, _ := strings.Cut(name, "-")
	return slices.Contains([]string{"exchange", "client", "bearer", "introspect"}, kind)
}

func TestEveryFaultHasAVerdict(t *testing.T) {
	t.Parallel()
	judged := signInFaults.byFault(t)
	for _, others := range []verdicts{renewalFaults, logoutFaults, ownTests} {
		maps.Copy(judged, others.byFault(t))
	}
	known := slices.DeleteFunc(devidp.FaultNames(), ofUpstreams)
	if !slices.Equal(slices.Sorted(maps.Keys(judged)), known) {
		for _, name := range known {
			if _, ok := judged[name]; !ok {
				t.Errorf("%s has no verdict", name)
			}
			delete(judged, name)
		}
		t.Errorf("no such fault: %v", slices.Sorted(maps.Keys(judged)))
	}
}

func TestFaultsOfASignIn(t *testing.T) {
	t.Parallel()
	for name, code := range signInFaults.byFault(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b := newSystem(t, func(_ *options, pc *rp.Config) {
				pc.UserInfo = rp.UserInfoOn
				if strings.HasSuffix(name, "-slow") {
					pc.Timeout = 2 * time.Second
				}
				pc.DPoP = strings.Contains(name, "dpop") && name != "token-dpop-type" // which answers so unasked
				if strings.HasPrefix(name, "par-") || name == "discovery-no-par" {
					pc.PAR = rp.PARRequired
				}
			}), newBrowser(t)
			s.inject(t, name)
			began := time.Now()
			p := b.goOn(s.login(b, "/profile"))
			if signedIn := s.session(t, b)["authenticated"] == true; signedIn != (code == "") {
				t.Errorf("signed in: %v, page %d %.300s", signedIn, p.status, p.body)
			}
			if code != "" && (p.status < 400 || !strings.Contains(p.body, code)) {
				t.Errorf("the page is no %s: %d %.600s", code, p.status, p.body)
			}
			if code == "" && p.url.Path != "/profile" {
				t.Errorf("landed at %s", p.url)
			}
			if took := time.Since(began); took > 30*time.Second { // time-outs are 2 s
				t.Errorf("it took %v", took)
			}
		})
	}
}

func (s *system) inject(t *testing.T, name string) {
	t.Helper()
	fault, err := devidp.FaultNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	s.idp.Inject(fault)
}

// renewalFaults are the faults of a refresh, by the answer to POST /bff/refresh and, after
// a blank, whether the session lives on. 503 ends no session.
var renewalFaults = verdicts{
	"OK, lives on": `
		refresh-narrow-scope refresh-no-auth-time refresh-no-expires-in refresh-no-id-token refresh-no-rotation refresh-same-nonce
		refresh-same-token refresh-wrong-acr`,
	"Service Unavailable, lives on": `
		refresh-429 refresh-500 refresh-503 refresh-html refresh-huge refresh-invalid-client refresh-lost refresh-no-access-token
		refresh-redirect refresh-slow refresh-wrong-type`,
	"Unauthorized": `
		refresh-alg-none refresh-bad-signature refresh-error-200 refresh-expired refresh-extra-aud refresh-future-iat
		refresh-invalid-grant refresh-no-exp refresh-no-iat refresh-other-auth-time refresh-other-nonce refresh-unpublished-key
		refresh-wrong-at-hash refresh-wrong-aud refresh-wrong-azp refresh-wrong-iss refresh-wrong-sub`,
}

// logoutFaults are those of logout tokens, by the answer and what it ends.
var logoutFaults = verdicts{
	"200": `
		logout-wrong-sid`,
	"200, ended": `
		logout-alg-rs256 logout-array-aud logout-azp logout-extra-event logout-no-kid logout-no-sub logout-no-typ logout-same-jti
		logout-sid-only logout-sub-only logout-typ-jwt logout-typ-long logout-wrong-azp`,
	"400": `
		logout-alg-eddsa logout-alg-empty logout-alg-hs256 logout-alg-hs256-jwks logout-alg-hs256-secret logout-alg-none
		logout-alg-none-mixed logout-alg-none-title logout-alg-ps256 logout-alg-rs384 logout-aud-number logout-b64 logout-bad-signature
		logout-changed-payload logout-crit logout-embedded-jwk logout-empty-aud logout-empty-jti logout-empty-sid logout-empty-sub
		logout-enc-key logout-event-null logout-event-string logout-events-array logout-events-null logout-events-string
		logout-exp-string logout-exp-zero logout-expired logout-extra-aud logout-extra-aud-azp logout-future-iat logout-future-nbf
		logout-iat-string logout-iss-slash logout-iss-upper logout-jku logout-json logout-no-aud logout-no-events logout-no-exp
		logout-no-iat logout-no-iss logout-no-jti logout-no-signature logout-no-sub-no-sid logout-nonce logout-nonce-empty
		logout-nonce-null logout-old-iat logout-other-alg logout-other-event logout-other-tenant logout-sid-number logout-sub-300
		logout-sub-not-ascii logout-sub-number logout-two-signatures logout-typ-access logout-unknown-kid logout-unpublished-key
		logout-weak-rsa logout-wrong-aud logout-wrong-iss logout-wrong-sub logout-x5c logout-x5u`,
}

// ownTests are faults that a test of their own is about.
var ownTests = verdicts{
	"own": `
		id-groups-overage id-hasgroups quirk-dex-one-refresh quirk-dot-discovery quirk-dot-offline quirk-glewlwyd-code
		quirk-glewlwyd-logout-token quirk-glewlwyd-token-error quirk-hydra-logout-token quirk-hydra-state quirk-offline-needs-consent
		quirk-okta-access-sub quirk-okta-groups-scope quirk-okta-unknown-client quirk-opaque-access quirk-unannounced-iss
		quirk-zitadel-shape token-replay userinfo-distributed`,
}

func TestFaultsOfARenewal(t *testing.T) {
	t.Parallel()
	for name, want := range renewalFaults.byFault(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b := newSystem(t, func(_ *options, pc *rp.Config) {
				if strings.HasSuffix(name, "-slow") {
					pc.Timeout = 2 * time.Second
				}
			}), newBrowser(t)
			s.login(b, "/")
			s.wantSignedIn(t, b, true)
			s.inject(t, name)
			p := b.fetch(http.MethodPost, s.url+"/bff/refresh", s.app)
			got := http.StatusText(p.status)
			if s.session(t, b)["authenticated"] == true {
				got += ", lives on"
			}
			if got != want {
				t.Errorf("%q, want %q: %.300s", got, want, p.body)
			}
		})
	}
}

// backchannel sends a logout token of alice's newest session.
func (s *system) backchannel(t *testing.T) (status int) {
	t.Helper()
	const alice = "dev-user-alice-7f3a"
	list, err := s.Sessions.OfUser(t.Context(), "idp", alice)
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	token, err := s.idp.LogoutToken("genkan", alice, list[0].Grant.Identity.SID)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.PostForm(s.url+"/bff/backchannel", url.Values{"logout_token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestFaultsOfALogoutToken(t *testing.T) {
	t.Parallel()
	for name, want := range logoutFaults.byFault(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b := newSystem(t, nil), newBrowser(t)
			s.login(b, "/")
			s.wantSignedIn(t, b, true)
			s.inject(t, name)
			got := strconv.Itoa(s.backchannel(t))
			if s.session(t, b)["authenticated"] != true {
				got += ", ended"
			}
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// A nonce is good once, so a token response is (OpenID Connect Core 3.1.3.7 rule 11).
func TestATokenResponseIsGoodForOneSignIn(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	s.inject(t, "token-replay")
	first, second := newBrowser(t), newBrowser(t)
	s.login(first, "/")
	s.wantSignedIn(t, first, true)
	if p := s.login(second, "/"); !strings.Contains(p.body, "GK230") || !strings.Contains(s.log.String(), "nonce") {
		t.Errorf("%d %.500s", p.status, p.body)
	}
	s.wantSignedIn(t, second, false)
}

// What a token or an answer names as an address is never called: key references in a
// header (RFC 8725 3.10), sources of distributed claims (OpenID Connect Core 5.6.2).
func TestAddressesInTokensAreNotCalled(t *testing.T) {
	t.Parallel()
	for name, signedIn := range map[string]bool{
		"id-jku": false, "id-x5u": false, "id-embedded-jwk": false, "id-x5c": false, "userinfo-jwt-jku": false, "userinfo-jwt-x5u": false,
		"userinfo-distributed": true, "id-groups-overage": true, "id-hasgroups": true,
	} {
		s, b := newSystem(t, func(_ *options, pc *rp.Config) { pc.UserInfo = rp.UserInfoOn }), newBrowser(t)
		s.inject(t, name)
		s.login(b, "/")
		s.wantSignedIn(t, b, signedIn)
		if got := s.idp.Stats().Recorded; len(got) != 0 {
			t.Errorf("%s: called %v", name, got)
		}
	}
}
