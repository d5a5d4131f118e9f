package devidp_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

// bound is a provider with the public client "p".
func bound(t *testing.T, c devidp.Config) (*world, ecKey) {
	return register(t, c, devidp.Client{ID: "p"}), newECKey(t, "")
}

// codeFor is a code of client "p".
func (w *world) codeFor(changes ...string) url.Values {
	w.t.Helper()
	return exchange(w.code(append([]string{"client_id", "p"}, changes...)...), "client_id", "p")
}

// prove sends a token request with a good proof of k.
func (w *world) prove(k ecKey, form url.Values, changes map[string]any) (answer, map[string]any) {
	w.t.Helper()
	return w.send("/token", form, w.proofFor(k, "POST", w.issuer+"/token", changes))
}

func TestBoundTokens(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{})
	a, body := w.prove(key, w.codeFor(), nil)
	if a.StatusCode != http.StatusOK || body["token_type"] != "DPoP" || a.Header.Get("DPoP-Nonce") != "" {
		t.Fatalf("HTTP %d: %v", a.StatusCode, body)
	}
	_, claims := decode(t, body["access_token"])
	if !cmp.Equal(claims["cnf"], map[string]any{"jkt": key.thumbprint()}) {
		t.Errorf("cnf %v", claims["cnf"])
	}
	seen := w.last().Proof
	if seen == nil || seen.Thumbprint != key.thumbprint() || seen.Claims["htm"] != "POST" || seen.Claims["htu"] != w.issuer+"/token" || seen.Header["typ"] != "dpop+jwt" || seen.NonceAge != -1 {
		t.Errorf("seen %+v", seen)
	}
	other := newECKey(t, "")
	for _, row := range []struct {
		name string
		ask  func(url.Values) (answer, map[string]any)
		want any
	}{
		{"no proof", func(v url.Values) (answer, map[string]any) { return w.send("/token", v, "") }, "invalid_grant"},
		{"another key", func(v url.Values) (answer, map[string]any) { return w.prove(other, v, nil) }, "invalid_grant"},
		{"the same key", func(v url.Values) (answer, map[string]any) { return w.prove(key, v, nil) }, nil},
	} {
		_, got := row.ask(refresh(body["refresh_token"], "client_id", "p"))
		if got["error"] != row.want {
			t.Errorf("refresh with %s: %v", row.name, got)
		}
		if row.want == nil && got["token_type"] != "DPoP" {
			t.Errorf("refreshed %v", got)
		}
	}
}

func TestDPoPIsDemanded(t *testing.T) {
	t.Parallel()
	key := newECKey(t, "k1")
	w := register(t, devidp.Config{}, devidp.FAPIClient("c", jwks(key), callback))
	code := func() string {
		_, body := w.push(key)
		_, got := w.get("/authorize", visit(body)).location(t)
		return got.Get("code")
	}
	first := code()
	if _, body := w.send("/token", w.asserted(key, "c", exchange(first)), ""); body["error"] != "invalid_dpop_proof" {
		t.Errorf("without a proof: %v", body)
	}
	// The code is not spent by that.
	if _, body := w.prove(key, w.asserted(key, "c", exchange(first)), nil); body["token_type"] != "DPoP" {
		t.Errorf("with a proof: %v", body)
	}
}

func TestProofs(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{})
	const now = 1795251600 // the clock of start
	private := altered(key.jwk(), map[string]any{"d": encoded(make([]byte, 32))})
	for _, row := range []struct {
		name           string
		header, claims map[string]any
		good           bool
	}{
		{"as it should be", nil, nil, true},
		{"typ in capitals", map[string]any{"typ": "DPoP+JWT"}, nil, true},
		{"no typ", map[string]any{"typ": nil}, nil, false},
		{"typ JWT", map[string]any{"typ": "JWT"}, nil, false},
		{"alg none", map[string]any{"alg": "none"}, nil, false},
		{"alg HS256", map[string]any{"alg": "HS256"}, nil, false},
		{"no jwk", map[string]any{"jwk": nil}, nil, false},
		{"private jwk", map[string]any{"jwk": private}, nil, false},
		{"symmetric jwk", map[string]any{"jwk": map[string]any{"kty": "oct", "k": "AAAA"}}, nil, false},
		{"another jwk", map[string]any{"jwk": newECKey(t, "").jwk()}, nil, false},
		{"another htm", nil, map[string]any{"htm": "GET"}, false},
		{"htm in small letters", nil, map[string]any{"htm": "post"}, false},
		{"no htm", nil, map[string]any{"htm": nil}, false},
		{"another htu", nil, map[string]any{"htu": w.issuer + "/par"}, false},
		{"htu with a query", nil, map[string]any{"htu": w.issuer + "/token?x=y"}, false},
		{"htu with a fragment", nil, map[string]any{"htu": w.issuer + "/token#x"}, false},
		{"no htu", nil, map[string]any{"htu": nil}, false},
		{"a minute old", nil, map[string]any{"iat": now - 60}, true},
		{"older", nil, map[string]any{"iat": now - 61}, false},
		{"a minute ahead", nil, map[string]any{"iat": now + 60}, true},
		{"further ahead", nil, map[string]any{"iat": now + 61}, false},
		{"no iat", nil, map[string]any{"iat": nil}, false},
		{"iat is text", nil, map[string]any{"iat": "1795251600"}, false},
		{"no jti", nil, map[string]any{"jti": nil}, false},
		{"jti is a number", nil, map[string]any{"jti": 1}, false},
		{"a nonce that nobody asked for", nil, map[string]any{"nonce": "x"}, true},
	} {
		header := altered(map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk()}, row.header)
		claims := altered(w.proofClaims("POST", w.issuer+"/token"), row.claims)
		a, body := w.send("/token", refresh("x", "client_id", "p"), key.sign(header, claims))
		if want := map[bool]string{true: "invalid_grant", false: "invalid_dpop_proof"}[row.good]; body["error"] != want || a.StatusCode != 400 {
			t.Errorf("%s: HTTP %d: %v", row.name, a.StatusCode, body)
		}
	}
}

func TestProofsOfRSAKeys(t *testing.T) {
	t.Parallel()
	w, _ := bound(t, devidp.Config{})
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for want, key := range map[string]*rsa.PrivateKey{"invalid_dpop_proof": weak, "invalid_grant": rsaKeys()[0]} {
		jwk := map[string]any{"kty": "RSA", "n": encoded(key.N.Bytes()), "e": "AQAB"}
		input := jwtInput(map[string]any{"typ": "dpop+jwt", "alg": "RS256", "jwk": jwk}, w.proofClaims("POST", w.issuer+"/token"))
		sum := sha256.Sum256([]byte(input))
		signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		if _, body := w.send("/token", refresh("x", "client_id", "p"), input+"."+encoded(signature)); body["error"] != want {
			t.Errorf("%d bits: %v", key.N.BitLen(), body)
		}
	}
}

func TestProofHeader(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{})
	proof := w.proofFor(key, "POST", w.issuer+"/token", nil)
	form := refresh("x", "client_id", "p")
	if _, body := w.send("/token", form, proof); body["error"] != "invalid_grant" {
		t.Errorf("first use: %v", body)
	}
	if _, body := w.send("/token", form, proof); body["error"] != "invalid_dpop_proof" {
		t.Errorf("second use: %v", body)
	}
	if _, body := w.send("/token", form, "x"); body["error"] != "invalid_dpop_proof" {
		t.Errorf("no JWT: %v", body)
	}
	r := w.request(http.MethodPost, "/token", form)
	for range 2 {
		r.Header.Add("DPoP", w.proofFor(key, "POST", w.issuer+"/token", nil))
	}
	if body := object(t, w.do(r).body); body["error"] != "invalid_dpop_proof" {
		t.Errorf("two headers: %v", body)
	}
}

// RFC 9449 10: the code is bound by dpop_jkt, or by a proof at /par.
func TestBoundCode(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{})
	other := newECKey(t, "")
	push := func(jkt string) (url.Values, any) {
		form := params("client_id", "p", "dpop_jkt", jkt)
		_, body := w.send("/par", form, w.proofFor(key, "POST", w.issuer+"/par", nil))
		if body["error"] != nil {
			return nil, body["error"]
		}
		_, got := w.get("/authorize", visit(body, "client_id", "p")).location(t)
		return exchange(got.Get("code"), "client_id", "p"), nil
	}
	byProof, _ := push("")
	byBoth, _ := push(key.thumbprint())
	for _, row := range []struct {
		name string
		code func() url.Values
	}{
		{"dpop_jkt", func() url.Values { return w.codeFor("dpop_jkt", key.thumbprint()) }},
		{"proof at /par", func() url.Values { return byProof }},
		{"both", func() url.Values { return byBoth }},
	} {
		if _, body := w.prove(key, row.code(), nil); body["token_type"] != "DPoP" {
			t.Errorf("%s: %v", row.name, body)
		}
	}
	if _, failure := push(other.thumbprint()); failure != "invalid_dpop_proof" {
		t.Errorf("contradiction: %v", failure)
	}
	if _, body := w.prove(other, w.codeFor("dpop_jkt", key.thumbprint()), nil); body["error"] != "invalid_grant" {
		t.Errorf("another key: %v", body)
	}
	if _, body := w.send("/token", w.codeFor("dpop_jkt", key.thumbprint()), ""); body["error"] != "invalid_grant" {
		t.Errorf("no proof: %v", body)
	}
	if _, got := w.get("/authorize", params("dpop_jkt", "x")).location(t); got.Get("error") != "invalid_request" {
		t.Errorf("broken dpop_jkt: %v", got)
	}
}

// call is a request to a resource, with a proof unless claims are nil.
func (w *world) call(k ecKey, address, scheme, token string, claims map[string]any) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", scheme+" "+token)
	if claims != nil {
		plain, _, _ := strings.Cut(address, "?")
		r.Header.Set("DPoP", w.proofFor(k, http.MethodGet, plain, claims))
	}
	return w.do(r)
}

// Both resources, UserInfo and the demo API, hold a call against the token's binding.
func TestCallsWithBoundTokens(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{})
	other := newECKey(t, "")
	_, body := w.prove(key, w.codeFor(), nil)
	token, _ := body["access_token"].(string)
	_, plainBody := w.send("/token", w.codeFor(), "")
	plain, _ := plainBody["access_token"].(string)
	api := httptest.NewServer(devidp.NewDemoAPI(devidp.DemoAPIConfig{Issuer: w.issuer, Now: w.clock.Now}))
	t.Cleanup(api.Close)
	ath := map[string]any{"ath": hash(token)}
	for _, row := range []struct {
		name, scheme, token string
		key                 ecKey
		claims              map[string]any
		want                string // empty: 200
	}{
		{"as it should be", "DPoP", token, key, ath, ""},
		{"scheme in small letters", "dpop", token, key, ath, ""},
		{"not bound", "Bearer", plain, key, nil, ""},
		{"as a bearer token", "Bearer", token, key, nil, `Bearer .*error="invalid_token"`},
		{"as a bearer token with a proof", "Bearer", token, key, ath, `Bearer .*error="invalid_token"`},
		{"no proof", "DPoP", token, key, nil, `DPoP .*error="invalid_token"`},
		{"another key", "DPoP", token, other, ath, `DPoP .*error="invalid_token"`},
		{"a token that is not bound", "DPoP", plain, key, map[string]any{"ath": hash(plain)}, `DPoP .*error="invalid_token"`},
		{"no ath", "DPoP", token, key, map[string]any{}, `DPoP .*error="invalid_dpop_proof"`},
		{"ath of another token", "DPoP", token, key, map[string]any{"ath": hash(plain)}, `DPoP .*error="invalid_dpop_proof"`},
		{"another address", "DPoP", token, key, altered(ath, map[string]any{"htu": "http://evil.example/"}), `DPoP .*error="invalid_dpop_proof"`},
		{"another method", "DPoP", token, key, altered(ath, map[string]any{"htm": "POST"}), `DPoP .*error="invalid_dpop_proof"`},
		{"an unknown token", "DPoP", "x", key, map[string]any{"ath": hash("x")}, `DPoP .*error="invalid_token"`},
	} {
		for _, address := range []string{w.issuer + "/userinfo", api.URL + "/hello?x=y"} {
			got := w.call(row.key, address, row.scheme, row.token, row.claims)
			scheme, failure, _ := strings.Cut(row.want, " .*")
			header := got.Header.Get("WWW-Authenticate")
			if good := got.StatusCode == http.StatusOK; good != (row.want == "") || !strings.HasPrefix(header, scheme) || !strings.Contains(header, failure) {
				t.Errorf("%s at %s: HTTP %d, %s", row.name, address, got.StatusCode, header)
			}
		}
	}
}

func TestAProofIsGoodForOneCall(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{})
	_, body := w.prove(key, w.codeFor(), nil)
	token, _ := body["access_token"].(string)
	demo := devidp.NewDemoAPI(devidp.DemoAPIConfig{Issuer: w.issuer, Now: w.clock.Now})
	api := httptest.NewServer(demo)
	t.Cleanup(api.Close)
	same := map[string]any{"ath": hash(token), "jti": "the-same"}
	for _, address := range []string{w.issuer + "/userinfo", api.URL + "/items"} {
		first, second := w.call(key, address, "DPoP", token, same), w.call(key, address, "DPoP", token, same)
		if first.StatusCode != http.StatusOK || second.StatusCode != http.StatusUnauthorized || !strings.Contains(second.Header.Get("WWW-Authenticate"), "jti") {
			t.Errorf("%s: HTTP %d, then %d", address, first.StatusCode, second.StatusCode)
		}
	}
	seen := demo.Seen()
	if len(seen) != 2 || seen[0].Proof.Claims["jti"] != "the-same" || seen[0].Proof.Thumbprint != key.thumbprint() || !slices.Contains(seen[0].Headers, "Dpop") {
		t.Errorf("the API has seen %+v", seen)
	}
}

func TestNonces(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{DPoPNonce: true})
	demo := httptest.NewServer(devidp.NewDemoAPI(devidp.DemoAPIConfig{Issuer: w.issuer, Now: w.clock.Now, DPoPNonce: true}))
	t.Cleanup(demo.Close)

	form := w.codeFor()
	a, body := w.prove(key, form, nil)
	first := a.Header.Get("DPoP-Nonce")
	if a.StatusCode != http.StatusBadRequest || body["error"] != "use_dpop_nonce" || len(first) < 20 {
		t.Fatalf("HTTP %d, nonce %q: %v", a.StatusCode, first, body)
	}
	a, body = w.prove(key, form, map[string]any{"nonce": first}) // the code is not spent
	second := a.Header.Get("DPoP-Nonce")
	if a.StatusCode != http.StatusOK || second == first || second == "" || w.last().Proof.NonceAge != 0 {
		t.Fatalf("HTTP %d, nonce %q, %+v: %v", a.StatusCode, second, w.last().Proof, body)
	}
	if w.prove(key, refresh("x", "client_id", "p"), map[string]any{"nonce": first}); w.last().Proof.NonceAge != 1 {
		t.Errorf("an old nonce: %+v", w.last().Proof)
	}
	// /par is of the same server as /token.
	if a, body := w.send("/par", params("client_id", "p"), w.proofFor(key, "POST", w.issuer+"/par", map[string]any{"nonce": second})); a.StatusCode != http.StatusCreated {
		t.Errorf("/par: %v", body)
	}

	token, _ := body["access_token"].(string)
	nonces := map[string]string{"/token": second}
	for _, address := range []string{w.issuer + "/userinfo", demo.URL + "/hello"} {
		for from, nonce := range nonces {
			got := w.call(key, address, "DPoP", token, map[string]any{"ath": hash(token), "nonce": nonce})
			if got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.Header.Get("WWW-Authenticate"), `DPoP `) || !strings.Contains(got.Header.Get("WWW-Authenticate"), `error="use_dpop_nonce"`) {
				t.Errorf("%s with the nonce of %s: HTTP %d", address, from, got.StatusCode)
			}
		}
		nonce := w.call(key, address, "DPoP", token, map[string]any{"ath": hash(token)}).Header.Get("DPoP-Nonce")
		got := w.call(key, address, "DPoP", token, map[string]any{"ath": hash(token), "nonce": nonce})
		if got.StatusCode != http.StatusOK || got.Header.Get("DPoP-Nonce") == nonce {
			t.Errorf("%s: HTTP %d", address, got.StatusCode)
		}
		nonces[address] = got.Header.Get("DPoP-Nonce")
	}
	for from, nonce := range nonces {
		_, body := w.prove(key, refresh("x", "client_id", "p"), map[string]any{"nonce": nonce})
		if want := map[bool]string{true: "invalid_grant", false: "use_dpop_nonce"}[from == "/token"]; body["error"] != want {
			t.Errorf("/token with the nonce of %s: %v", from, body)
		}
	}
}

// A nonce runs out when 32 newer ones were given, and a proof with a refused nonce is
// spent.
func TestNoncesRunOut(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{DPoPNonce: true})
	form := refresh("x", "client_id", "p")
	a, _ := w.send("/token", form, "")
	old := a.Header.Get("DPoP-Nonce")
	for range 31 {
		w.send("/token", form, "")
	}
	if _, body := w.prove(key, form, map[string]any{"nonce": old}); body["error"] != "use_dpop_nonce" {
		t.Errorf("an old nonce: %v", body)
	}
	proof := w.proofFor(key, "POST", w.issuer+"/token", nil)
	w.send("/token", form, proof)
	if _, body := w.send("/token", form, proof); body["error"] != "invalid_dpop_proof" {
		t.Errorf("the same proof again: %v", body)
	}
}

func TestNoncesInParallel(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{DPoPNonce: true})
	form := refresh("x", "client_id", "p")
	var wait sync.WaitGroup
	for range 10 {
		wait.Go(func() {
			a, _ := w.send("/token", form, "")
			if _, body := w.prove(key, form, map[string]any{"nonce": a.Header.Get("DPoP-Nonce")}); body["error"] != "invalid_grant" {
				t.Errorf("got %v", body)
			}
		})
	}
	wait.Wait()
}
