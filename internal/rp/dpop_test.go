package rp

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

// The access token and its hash are those of RFC 9449 7.1.
const (
	rfcToken = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	rfcHash  = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
)

// hashOf holds the access tokens of these tests by RFC 9449 4.2: base64url of SHA-256.
var hashOf = map[string]string{rfcToken: rfcHash}

// checkedProof is what a server keeps of a proof it has checked.
type checkedProof struct{ jkt, jti, nonce string }

// checkProof is a server's check of RFC 9449 4.3 of one request to address; token is the
// access token that went along, "" at an authorization server.
func checkProof(t *testing.T, got call, address, token string) checkedProof {
	t.Helper()
	proofs := got.header.Values("DPoP")
	if len(proofs) != 1 {
		t.Fatalf("%s: %d DPoP headers, want 1", got.path, len(proofs))
	}
	header := jwsHeader(t, proofs[0])
	shown, _ := header["jwk"].(map[string]any)
	if diff := cmp.Diff(object{"typ": "dpop+jwt", "alg": "ES256", "jwk": header["jwk"]}, header); diff != "" {
		t.Errorf("%s: header (-want +got):\n%s", got.path, diff)
	}
	if diff := cmp.Diff([]string{"crv", "kty", "x", "y"}, slices.Sorted(maps.Keys(shown))); diff != "" {
		t.Errorf("%s: 173: jwk (-want +got):\n%s", got.path, diff)
	}
	jws, err := jose.ParseSignedCompact(proofs[0], []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	key := jws.Signatures[0].Header.JSONWebKey
	payload, err := jws.Verify(key)
	var claims object
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		t.Fatalf("%s: the signature is not of the key shown: %v", got.path, err)
	}
	want := object{"htm": got.method, "htu": address, "iat": float64(start.Unix()), "jti": claims["jti"]}
	if token != "" {
		want["ath"] = hashOf[token]
	}
	proof := checkedProof{}
	proof.jti, _ = claims["jti"].(string)
	if proof.nonce, _ = claims["nonce"].(string); proof.nonce != "" {
		want["nonce"] = proof.nonce
	}
	if diff := cmp.Diff(want, claims); diff != "" || len(proof.jti) < 16 {
		t.Errorf("%s: claims (-want +got):\n%s", got.path, diff)
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	proof.jkt = base64.RawURLEncoding.EncodeToString(sum)
	return proof
}

// dpopProvider binds every token it gives.
func dpopProvider(t *testing.T) *provider {
	p := newProvider(t)
	maps.Copy(p.token, object{"token_type": "DPoP", "access_token": rfcToken})
	return p
}

func withDPoP(c *Config) { c.DPoP = true }

// demands answers the first times requests with an order to send the nth nonce, and then
// as usual.
func (p *provider) demands(path string, times int, demand func(w http.ResponseWriter, n int)) {
	n := 0
	p.answers(path, func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		n++
		now := n
		p.mu.Unlock()
		if now <= times {
			demand(w, now)
			return
		}
		p.usual(nil)(w, r)
	})
}

func nonceOf(n int) string { return fmt.Sprintf("nonce-%d", n) }

// demandAtToken is RFC 9449 8.
func demandAtToken(w http.ResponseWriter, n int) {
	w.Header().Set("DPoP-Nonce", nonceOf(n))
	reply(w, http.StatusBadRequest, object{"error": "use_dpop_nonce"})
}

// demandAtUserInfo is RFC 9449 9.
func demandAtUserInfo(w http.ResponseWriter, n int) {
	w.Header().Set("DPoP-Nonce", nonceOf(n))
	w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce", error_description="nonce needed"`)
	w.WriteHeader(http.StatusUnauthorized)
}

// TestProofs: 173 to 175, 179, 181: over a whole life, with one key per sign-in.
func TestProofs(t *testing.T) {
	t.Parallel()
	for _, push := range []bool{false, true} {
		t.Run(fmt.Sprintf("PAR %v", push), func(t *testing.T) {
			t.Parallel()
			p := dpopProvider(t)
			if push {
				p.requirePAR()
			}
			c := p.client(withDPoP, func(cfg *Config) { cfg.UserInfo = UserInfoOn })
			u, login := p.begin(c, AuthRequest{})
			grant, err := c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if grant, err = c.Refresh(t.Context(), grant); err != nil {
					t.Fatal(err)
				}
			}
			asked := u.Query()
			if push {
				if asked.Has("dpop_jkt") {
					t.Error("dpop_jkt stands beside request_uri")
				}
				asked = p.seen("/par")[0].form
			}
			used := map[string]bool{}
			for _, call := range append(p.seen("/token"), p.seen("/userinfo")...) {
				token := ""
				if call.path == "/userinfo" {
					if token = rfcToken; call.header.Get("Authorization") != "DPoP "+rfcToken {
						t.Errorf("175: Authorization is %q", call.header.Get("Authorization"))
					}
				}
				proof := checkProof(t, call, issuer+call.path, token)
				if proof.jkt != asked.Get("dpop_jkt") {
					t.Errorf("%s: the key is %q, dpop_jkt was %q", call.path, proof.jkt, asked.Get("dpop_jkt"))
				}
				if used[proof.jti] {
					t.Errorf("174: %s: jti %q is used again", call.path, proof.jti)
				}
				used[proof.jti] = true
			}
			if len(used) != 4 {
				t.Errorf("%d proofs, want code, UserInfo and two refreshes", len(used))
			}
			for _, path := range []string{wellKnown, "/keys"} {
				if call := p.seen(path)[0]; call.header.Get("DPoP") != "" || call.header.Get("Authorization") != "" {
					t.Errorf("%s got a proof", path)
				}
			}
		})
	}
}

func TestEverySignInHasItsOwnKey(t *testing.T) {
	t.Parallel()
	p := dpopProvider(t)
	c := p.client(withDPoP)
	seen := map[string]bool{}
	for range 3 {
		u, login := p.begin(c, AuthRequest{})
		for _, value := range []string{u.Query().Get("dpop_jkt"), login.Key} {
			if value == "" || seen[value] {
				t.Errorf("key %q is of another sign-in", value)
			}
			seen[value] = true
		}
		if strings.Contains(u.String(), login.Key) {
			t.Error("180: the address holds the private key")
		}
	}
	if u, login := p.begin(p.client(), AuthRequest{}); u.Query().Has("dpop_jkt") || login.Key != "" {
		t.Error("there is a key although dpop is off")
	}
}

// TestNonceAtTheTokenEndpoint: 177, RFC 9449 8: one more try, with another nonce than the
// one that was refused, and only when that is what the provider asks for.
func TestNonceAtTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	says := func(status int, code, nonce string) func(http.ResponseWriter, int) {
		return func(w http.ResponseWriter, _ int) {
			w.Header().Set("DPoP-Nonce", nonce)
			reply(w, status, object{"error": code})
		}
	}
	rows := []struct {
		name   string
		times  int
		demand func(http.ResponseWriter, int)
		nonces []string // of the requests
		kind   Kind
		code   string // empty: signed in
	}{
		{"never", 0, nil, []string{""}, 0, ""},
		{"once", 1, demandAtToken, []string{"", "nonce-1"}, 0, ""},
		{"once, by 401", 1, says(401, "use_dpop_nonce", "n"), []string{"", "n"}, 0, ""},
		{"for ever, a new one each time", 99, demandAtToken, []string{"", "nonce-1"}, Misconfigured, "use_dpop_nonce"},
		{"for ever, the same one", 99, says(400, "use_dpop_nonce", "n"), []string{"", "n"}, Misconfigured, "use_dpop_nonce"},
		{"without a nonce", 99, says(400, "use_dpop_nonce", ""), []string{""}, Misconfigured, "use_dpop_nonce"},
		{"a nonce of control characters", 99, says(400, "use_dpop_nonce", "a\x01b"), []string{""}, Misconfigured, "use_dpop_nonce"},
		{"a nonce of 2 kB", 99, says(400, "use_dpop_nonce", strings.Repeat("n", 2000)), []string{""}, Misconfigured, "use_dpop_nonce"},
		{"another error with a nonce", 99, says(400, "invalid_grant", "n"), []string{""}, Refused, "invalid_grant"},
		{"a bad proof with a nonce", 99, says(400, "invalid_dpop_proof", "n"), []string{""}, Misconfigured, "invalid_dpop_proof"},
		{"by 500", 99, says(500, "use_dpop_nonce", "n"), []string{""}, Fault, "use_dpop_nonce"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := dpopProvider(t)
			p.demands("/token", row.times, row.demand)
			c := p.client(withDPoP, func(cfg *Config) { cfg.ClientAuth, cfg.Signers = AuthPrivateKeyJWT, signersOf(t, ecKey()) })
			_, err := p.signIn(c)
			if row.code == "" && err != nil {
				t.Fatal(err)
			}
			if row.code != "" {
				findings := map[Kind]string{Refused: "grant_refused", Misconfigured: "client_refused", Fault: "provider_unavailable"}
				wantError(t, err, row.kind, findings[row.kind], row.code)
			}
			var nonces []string
			used := map[string]bool{}
			for _, call := range p.seen("/token") {
				proof := checkProof(t, call, issuer+"/token", "")
				_, assertion := verifyJWT(t, call.form.Get("client_assertion"), c)
				for _, jti := range []string{proof.jti, assertion["jti"].(string)} {
					if used[jti] {
						t.Errorf("174, 182: jti %q is used again", jti)
					}
					used[jti] = true
				}
				nonces = append(nonces, proof.nonce)
			}
			if diff := cmp.Diff(row.nonces, nonces); diff != "" {
				t.Errorf("nonces (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNewestNonceIsSent: RFC 9449 8.2: also one that came with a success or with a refusal.
func TestNewestNonceIsSent(t *testing.T) {
	t.Parallel()
	p := dpopProvider(t)
	c := p.client(withDPoP)
	var nonce string
	status := http.StatusOK
	p.answers("/token", func(w http.ResponseWriter, r *http.Request) {
		if nonce != "" {
			w.Header().Set("DPoP-Nonce", nonce)
		}
		if status != http.StatusOK {
			reply(w, status, object{"error": "invalid_grant"})
			return
		}
		p.usual(nil)(w, r)
	})
	nonce = "n1"
	grant := p.mustSignIn(c)
	nonce = "n2"
	if _, err := c.Refresh(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	nonce, status = "n3", 400
	_, err := c.Refresh(t.Context(), grant)
	wantError(t, err, Refused, "grant_refused", "invalid_grant")
	nonce, status = "", 200
	for range 2 {
		if _, err := c.Refresh(t.Context(), grant); err != nil {
			t.Fatal(err)
		}
	}
	var nonces []string
	for _, call := range p.seen("/token") {
		nonces = append(nonces, checkProof(t, call, issuer+"/token", "").nonce)
	}
	if diff := cmp.Diff([]string{"", "n1", "n2", "n3", "n3"}, nonces); diff != "" {
		t.Errorf("nonces (-want +got):\n%s", diff)
	}
}

// TestNonceAtUserInfo: 177, RFC 9449 9.
func TestNonceAtUserInfo(t *testing.T) {
	t.Parallel()
	challenge := func(status int, nonce string, challenges ...string) func(http.ResponseWriter, int) {
		return func(w http.ResponseWriter, _ int) {
			w.Header().Set("DPoP-Nonce", nonce)
			w.Header()["Www-Authenticate"] = challenges
			w.WriteHeader(status)
		}
	}
	rows := []struct {
		name   string
		times  int
		demand func(http.ResponseWriter, int)
		nonces []string
		ok     bool
	}{
		{"never", 0, nil, []string{""}, true},
		{"once", 1, demandAtUserInfo, []string{"", "nonce-1"}, true},
		{"scheme in capitals", 1, challenge(401, "n", `DPOP error="use_dpop_nonce"`), []string{"", "n"}, true},
		{"a second challenge", 1, challenge(401, "n", `Bearer realm="x"`, `DPoP algs="ES256", error="use_dpop_nonce"`), []string{"", "n"}, true},
		{"two challenges in one header", 1, challenge(401, "n", `Bearer realm="x", DPoP error="use_dpop_nonce"`), []string{"", "n"}, true},
		{"for ever", 99, demandAtUserInfo, []string{"", "nonce-1"}, false},
		{"without a nonce", 99, challenge(401, "", `DPoP error="use_dpop_nonce"`), []string{""}, false},
		{"another error", 99, challenge(401, "n", `DPoP error="invalid_token"`), []string{""}, false},
		{"for bearer tokens", 99, challenge(401, "n", `Bearer error="use_dpop_nonce"`), []string{""}, false},
		{"by 400", 99, challenge(400, "n", `DPoP error="use_dpop_nonce"`), []string{""}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := dpopProvider(t)
			p.demands("/userinfo", row.times, row.demand)
			_, err := p.signIn(p.client(withDPoP, func(cfg *Config) { cfg.UserInfo = UserInfoOn }))
			if row.ok != (err == nil) {
				t.Errorf("error is %v", err)
			}
			if !row.ok {
				wantError(t, err, Fault, "provider_unavailable", "status")
			}
			var nonces []string
			used := map[string]bool{}
			for _, call := range p.seen("/userinfo") {
				proof := checkProof(t, call, issuer+"/userinfo", rfcToken)
				nonces = append(nonces, proof.nonce)
				used[proof.jti] = true
			}
			if diff := cmp.Diff(row.nonces, nonces); diff != "" || len(used) != len(nonces) {
				t.Errorf("%d jtis, nonces (-want +got):\n%s", len(used), diff)
			}
		})
	}
}

// TestNoncesAreNotMixed: 178: of the authorization server and of UserInfo, on one host, and
// of two hosts.
func TestNoncesAreNotMixed(t *testing.T) {
	t.Parallel()
	p := dpopProvider(t)
	p.answers("/token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("DPoP-Nonce", "as")
		p.usual(nil)(w, r)
	})
	p.answers("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("DPoP-Nonce", "rs")
		p.usual(nil)(w, r)
	})
	c := p.client(withDPoP, func(cfg *Config) { cfg.UserInfo = UserInfoOn })
	for range 2 {
		delete(p.claims, "nonce")
		p.mustSignIn(c)
	}
	for path, want := range map[string]string{"/token": "as", "/userinfo": "rs"} {
		token := map[string]string{"/userinfo": rfcToken}[path]
		calls := p.seen(path)
		first, second := checkProof(t, calls[0], issuer+path, token), checkProof(t, calls[1], issuer+path, token)
		if first.nonce != "" || second.nonce != want {
			t.Errorf("%s got %q and %q, want none and %q", path, first.nonce, second.nonce, want)
		}
	}
	var nonces Nonces
	a, b := mustURL(t, "https://a.example/x"), mustURL(t, "https://a.example:8443/x")
	nonces.Keep(a, http.Header{"Dpop-Nonce": {"of a"}}, "")
	if nonces.Of(b) != "" || nonces.Of(mustURL(t, "http://a.example/x")) != "" || nonces.Of(mustURL(t, "https://A.example/y")) != "of a" {
		t.Error("a nonce is of an origin, in whatever case")
	}
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestAPreparedBearerTokenIsAlwaysTheAccessToken(t *testing.T) {
	t.Parallel()
	prepared := Tokens{Access: keys.NewSecret("at-1")}.WithBearer()
	other := prepared
	other.Access = keys.NewSecret("at-2")
	for _, tt := range []struct {
		name   string
		tokens Tokens
		want   string
	}{
		{"as prepared", prepared, "Bearer at-1"},
		{"changed since", other, "Bearer at-2"},
		{"not prepared", Tokens{Access: keys.NewSecret("at-3")}, "Bearer at-3"},
		{"the first one, used again", prepared, "Bearer at-1"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if err := tt.tokens.Authorize(r, "", time.Now()); err != nil || r.Header.Get("Authorization") != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.name, r.Header.Get("Authorization"), err, tt.want)
		}
	}
	if got := prepared.Access.Reveal(); got != "at-1" {
		t.Errorf("the access token is %q", got)
	}
}

func TestAPreparedBearerTokenDoesNotPrint(t *testing.T) {
	t.Parallel()
	tokens := Tokens{Access: keys.NewSecret("access-canary")}.WithBearer()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, tokens); strings.Contains(text, "canary") {
			t.Errorf("%s: %s", verb, text)
		}
	}
}
