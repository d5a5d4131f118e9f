package server_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/server"
)

func privateKeys(t *testing.T) map[string]any {
	t.Helper()
	made := map[string]any{}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		made[name] = key
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	made["RSA"] = key
	if _, made["Ed25519"], err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	return made
}

func signersOf(t *testing.T, made ...any) []*keys.Signer {
	t.Helper()
	var file []byte
	for _, key := range made {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		file = append(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	}
	signers, err := keys.ParseSigners(file)
	if err != nil {
		t.Fatal(err)
	}
	return signers
}

func b64(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

const jwksURL = "http://localhost:8000/.well-known/jwks.json"

func keyProvider(id string, signers []*keys.Signer) rp.Config {
	return rp.Config{ID: id, Issuer: deadIssuer, ClientID: "genkan", ClientAuth: rp.AuthPrivateKeyJWT, Signers: signers}
}

func TestThePublicKeysOfAllProvidersArePublishedAndNothingPrivate(t *testing.T) {
	t.Parallel()
	made := privateKeys(t)
	f := newFixture(t, options{
		public: []string{"http://localhost:8000", "https://app.example.com"}, files: appFiles, upstreams: everything{}, proxies: []string{"192.0.2.0/24"},
		providers: []rp.Config{
			keyProvider("one", signersOf(t, made["P-256"], made["RSA"], made["P-384"])),
			{ID: "secret", Issuer: deadIssuer, ClientID: "genkan", ClientSecret: keys.NewSecret("s3cret-canary")},
			keyProvider("two", signersOf(t, made["RSA"], made["Ed25519"], made["P-521"])),
		},
	})
	r := f.do(http.MethodGet, jwksURL)
	body := bodyOf(t, r)
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Cache-Control") != "public, max-age=120" || len(r.Header["Set-Cookie"]) > 0 {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(body), &set); err != nil {
		t.Fatal(err)
	}
	// RFC 7518 6, RFC 8037 2: what is public of each kind. Anything else would be private.
	public := map[string][]string{
		"EC":  {"alg", "crv", "kid", "kty", "use", "x", "y"},
		"RSA": {"e", "kid", "kty", "n", "use"},
		"OKP": {"alg", "crv", "kid", "kty", "use", "x"},
	}
	var kinds []string
	for _, key := range set.Keys {
		kind := fmt.Sprint(key["kty"])
		kinds = append(kinds, fmt.Sprint(kind, " ", key["crv"]))
		if diff := cmp.Diff(public[kind], slices.Sorted(maps.Keys(key))); diff != "" || key["use"] != "sig" {
			t.Errorf("%s: %s", kind, diff)
		}
	}
	if diff := cmp.Diff([]string{"EC P-256", "RSA <nil>", "EC P-384", "OKP Ed25519", "EC P-521"}, kinds); diff != "" {
		t.Error(diff)
	}
	proxied := f.do(http.MethodGet, "https://app.example.com/.well-known/jwks.json", "X-Forwarded-Proto: https", "X-Forwarded-Host: app.example.com")
	if got := bodyOf(t, proxied); proxied.StatusCode != 200 || got != body {
		t.Errorf("at the other public URL: %d %.200s", proxied.StatusCode, got)
	}
	if r := f.do(http.MethodGet, "http://elsewhere.example/.well-known/jwks.json"); r.StatusCode != 421 {
		t.Errorf("at no public URL: %d", r.StatusCode)
	}
	wantProblem(t, f.do(http.MethodGet, "http://localhost:8000/bff/.well-known/jwks.json", fetchSame...), 404, "not_found")
	if r := f.do(http.MethodPost, jwksURL); r.StatusCode != 405 {
		t.Errorf("POST: %d", r.StatusCode)
	}
}

func TestWithoutKeysTheSetIsEmpty(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	if r := f.do(http.MethodGet, jwksURL, fetchSame...); r.StatusCode != 200 || strings.TrimSpace(bodyOf(t, r)) != `{"keys":[]}` {
		t.Errorf("%d", r.StatusCode)
	}
}

func TestTwoKeysOfOneIdAreRefusedAtStart(t *testing.T) {
	t.Parallel()
	made := privateKeys(t)
	named := func(key any) []*keys.Signer {
		raw := signersOf(t, key)[0]
		private, err := key.(*ecdsa.PrivateKey).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		public := key.(*ecdsa.PrivateKey).PublicKey
		point, err := public.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		jwk, _ := json.Marshal(map[string]any{"kty": "EC", "crv": "P-256", "kid": "1", "x": b64(point[1:33]), "y": b64(point[33:]), "d": b64(private)})
		signers, err := keys.ParseSigners(jwk)
		if err != nil || signers[0].Thumbprint() != raw.Thumbprint() {
			t.Fatal("the test's JWK is not its key", err)
		}
		return signers
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var assertions func() []*keys.Signer
	start := func(first, second any) error {
		policy, _ := origin.New(origin.Config{PublicURLs: origins(t, []string{"http://localhost:8000"})})
		var clients []*rp.Client
		for id, key := range map[string]any{"one": first, "two": second} {
			client, err := rp.New(keyProvider(id, named(key)))
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, client)
		}
		_, err := server.New(server.Config{Policy: policy, Providers: clients, AssertionKeys: assertions})
		return err
	}
	if err := start(made["P-256"], other); err == nil || !strings.Contains(err.Error(), `kid "1"`) {
		t.Errorf("two keys of one id: %v", err)
	}
	if err := start(other, other); err != nil {
		t.Errorf("one key for two providers: %v", err)
	}
	assertions = func() []*keys.Signer { return named(made["P-256"]) }
	if err := start(other, other); err == nil || !strings.Contains(err.Error(), "assertions.private_key_file: another key has the kid \"1\"") {
		t.Errorf("a key of assertions with the id of a provider's: %v", err)
	}
}

func ringOf(t *testing.T, all ...string) *keys.Ring {
	t.Helper()
	var secrets []keys.Secret
	for _, key := range all {
		secrets = append(secrets, keys.NewSecret(key))
	}
	ring, err := keys.Parse(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// published is the ids of a server's set, and for how many seconds it may be kept.
func published(t *testing.T, f *fixture) (ids []string, maxAge int) {
	t.Helper()
	r := f.do(http.MethodGet, jwksURL)
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal([]byte(bodyOf(t, r)), &set); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(r.Header.Get("Cache-Control"), "public, max-age=%d", &maxAge); err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Keys {
		ids = append(ids, key.Kid)
	}
	return ids, maxAge
}

func TestKeysOfAssertionsArePublishedBesideThoseOfProviders(t *testing.T) {
	t.Parallel()
	made := signersOf(t, privateKeys(t)["P-256"])
	f, ring := newFixture(t, options{providers: []rp.Config{keyProvider("one", made)}}), ringOf(t, keys.Generate())
	f.AssertionKeys = func() []*keys.Signer { return append(ring.Signers("EdDSA"), made...) }
	got, _ := published(t, f)
	if diff := cmp.Diff([]string{made[0].KeyID(), ring.Signers("EdDSA")[0].KeyID()}, got); diff != "" {
		t.Error(diff)
	}
}

// Two replicas learn of a new session key at different times. Whoever has the set of either
// of them, for as long as it may be kept, has the key of whatever either of them signs.
func TestAKeptSetHasEveryKeyThatSigns(t *testing.T) {
	t.Parallel()
	replicas := []*fixture{newFixture(t, options{}), newFixture(t, options{})}
	before, after := keys.Generate(), keys.Generate()
	synctest.Test(t, func(t *testing.T) {
		const step, sealAfter, lag = 5, 5 * time.Minute, 2 * time.Minute
		rings := []*keys.Ring{ringOf(t, before), ringOf(t, before)}
		type moment struct {
			sets    [2][]string
			signers [2]string
		}
		var seen []moment
		age := 0
		for second := 0; second < 1200; second += step {
			for i, at := range []time.Duration{5 * time.Minute, 5*time.Minute + lag} {
				if time.Duration(second)*time.Second == at {
					rings[i].Replace(ringOf(t, after, before), sealAfter)
				}
			}
			var now moment
			for i, f := range replicas {
				f.AssertionKeys = func() []*keys.Signer { return rings[i].Signers("ES256") }
				now.sets[i], age = published(t, f)
				now.signers[i] = rings[i].Signers("ES256")[0].KeyID()
			}
			seen = append(seen, now)
			time.Sleep(step * time.Second)
		}
		if last := seen[len(seen)-1].signers; last[0] == seen[0].signers[0] || last[0] != last[1] || age == 0 {
			t.Fatal("the new key never signs")
		}
		for fetched, then := range seen {
			for used := fetched; used < len(seen) && (used-fetched)*step <= age; used++ {
				for _, set := range then.sets {
					for _, signer := range seen[used].signers {
						if !slices.Contains(set, signer) {
							t.Fatalf("a set of second %d lacks the key that signs in second %d", fetched*step, used*step)
						}
					}
				}
			}
		}
	})
}

func TestNothingHereSaysThatItIsAnAuthorizationServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{files: appFiles, upstreams: everything{}})
	for _, target := range []string{
		"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration",
		"/.well-known/oauth-authorization-server/bff", "/.well-known/openid-configuration/", "/x/../.well-known/openid-configuration",
		"//.well-known/openid-configuration", "/.well-known/%6fpenid-configuration",
	} {
		wantPage(t, f.do(http.MethodGet, "http://localhost:8000"+target, navigate...), 404, "GK530")
		wantProblem(t, f.do(http.MethodGet, "http://localhost:8000"+target, fetchSame...), 404, "not_found")
		wantProblem(t, f.do(http.MethodGet, "http://localhost:8000"+target), 404, "not_found")
	}
	f = newFixture(t, options{files: appFiles})
	for _, target := range []string{"/.well-known/", "/.well-known/security.txt", "/.well-known/oauth-protected-resource", "/.well-known/webfinger", "/.well-known/jwks"} {
		wantPage(t, f.do(http.MethodGet, "http://localhost:8000"+target, navigate...), 404, "GK530")
		wantProblem(t, f.do(http.MethodGet, "http://localhost:8000"+target), 404, "not_found")
	}
}
