package app_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"genkan/internal/app"
)

const assertions = `upstreams:
  - {path: /one/, url: $ONE, auth: required, token: assertion, accept: [session, bearer], audiences: [reports]}
  - {path: /two/, url: $TWO, auth: required, token: assertion, audience: api-two}
`

func assertionServices() map[string]func(*upstreamRig) http.Handler {
	return map[string]func(*upstreamRig) http.Handler{"ONE": nil, "TWO": nil}
}

// publishedKeys fetches the published keys, as any service does.
func (r *upstreamRig) publishedKeys() (set jose.JSONWebKeySet) {
	r.t.Helper()
	p := r.program().call(http.MethodGet, "/.well-known/jwks.json")
	if err := json.Unmarshal([]byte(p.body), &set); err != nil || p.header.Get("Cache-Control") != "public, max-age=120" {
		r.t.Fatalf("the keys: %s, %q, %v", p, p.header.Get("Cache-Control"), err)
	}
	for _, key := range set.Keys {
		if !key.IsPublic() || key.Use != "sig" {
			r.t.Errorf("the key %s is not a public one that signs", key.KeyID)
		}
	}
	return set
}

func (r *upstreamRig) publishedIDs() (ids []string) {
	for _, key := range r.publishedKeys().Keys {
		ids = append(ids, key.KeyID)
	}
	return ids
}

// openAssertion verifies what came in Authorization by the one key of its kid.
func openAssertion(authorization, alg string, set jose.JSONWebKeySet) (kid string, claims map[string]any, err error) {
	token := strings.TrimPrefix(authorization, "Bearer ")
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		return "", nil, err
	}
	header := jws.Signatures[0].Protected
	keys := set.Key(header.KeyID)
	if len(keys) != 1 || header.ExtraHeaders[jose.HeaderType] != "JWT" || keys[0].Algorithm != alg {
		return header.KeyID, nil, errors.New("there is not one key of this kid, or typ or alg is wrong")
	}
	payload, err := jws.Verify(keys[0].Key)
	if err != nil {
		return header.KeyID, nil, err
	}
	return header.KeyID, claims, json.Unmarshal(payload, &claims)
}

func TestAnAssertionSaysWhoCalls(t *testing.T) {
	t.Parallel()
	r := newUpstreamRig(t, upstreamPlan{settings: assertions, services: assertionServices()})
	alice := r.signIn("alice")
	shown, _ := alice.call(http.MethodGet, "/bff/session").read("session").(map[string]any)
	robot := r.obtain("robot", url.Values{"audience": {"reports"}})
	person := map[string]any{
		"iss": r.url, "sub": aliceSubject, "idp": r.issuer, "sid": shown["id"], "acr": "pwd",
		"email": "alice@example.com", "email_verified": true, "groups": []any{"staff", "admins"},
	}
	for _, row := range []struct {
		name, path, service, audience string
		user                          *caller
		header                        string
		want                          map[string]any
		signedIn                      bool
	}{
		{"the path by default", "/one/x", "ONE", "/one/", alice, "Accept: text/plain", person, true},
		{"the setting", "/two/x", "TWO", "api-two", alice, "Accept: text/plain", person, true},
		{"of a program", "/one/x", "ONE", "/one/", r.program(), "Authorization: Bearer " + robot,
			map[string]any{"iss": r.url, "sub": "robot", "idp": r.issuer, "client_id": "robot"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			for range 3 {
				if p := row.user.call(http.MethodGet, row.path, row.header); p.status != http.StatusOK {
					t.Fatalf("%s", p)
				}
			}
			got := r.services[row.service].last()
			if got == "Bearer "+robot {
				t.Fatal("the program's own token went to the service")
			}
			_, claims, err := openAssertion(got, "ES256", r.publishedKeys())
			if err != nil {
				t.Fatal(err)
			}
			judgeTimes(t, claims, row.signedIn)
			want := map[string]any{"aud": row.audience}
			for name, value := range row.want {
				want[name] = value
			}
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Error(diff)
			}
		})
	}
	if n := len(r.services["TWO"].distinct()); n != 1 {
		t.Errorf("%d assertions for three calls at once, want one", n)
	}
}

// judgeTimes looks at the claims that differ from one assertion to the next, and takes them
// out.
func judgeTimes(t *testing.T, claims map[string]any, signedIn bool) {
	t.Helper()
	issued, _ := claims["iat"].(float64)
	expires, _ := claims["exp"].(float64)
	if age := time.Now().Unix() - int64(issued); expires-issued != 60 || age < 0 || age > 40 {
		t.Errorf("it was issued %d seconds ago and lives for %v", age, expires-issued)
	}
	if jti, _ := claims["jti"].(string); len(jti) < 22 { // 128 bits in base64url
		t.Errorf("jti is %q", jti)
	}
	if at, ok := claims["auth_time"].(float64); ok != signedIn || ok && at > issued {
		t.Errorf("auth_time is %v", claims["auth_time"])
	}
	for _, name := range []string{"iat", "exp", "jti", "auth_time"} {
		delete(claims, name)
	}
}

// A service that keeps the key set for as long as Genkan allows never meets an assertion
// that it cannot verify. A second of real time is a hundredth here: a new key signs after
// 3 s in place of 5 min, and a set is kept for 1.2 s in place of 2 min.
func TestAServiceFollowsARotationOfTheSessionKeys(t *testing.T) {
	t.Parallel()
	const signsAfter, keptFor = 3 * time.Second, 1200 * time.Millisecond
	r := newUpstreamRig(t, upstreamPlan{
		settings: assertions, services: assertionServices(), app: func(a *app.App) { a.SetKeyWatch(10*time.Millisecond, signsAfter) },
	})
	alice := r.signIn("alice")
	var set jose.JSONWebKeySet
	var fetched time.Time
	verify := func() (kid string) {
		t.Helper()
		if p := alice.call(http.MethodGet, "/one/x"); p.status != http.StatusOK {
			t.Fatalf("%s", p)
		}
		if time.Since(fetched) >= keptFor {
			set, fetched = r.publishedKeys(), time.Now()
		}
		kid, claims, err := openAssertion(r.services["ONE"].last(), "ES256", set)
		if err != nil || claims["sub"] != aliceSubject {
			t.Fatalf("the assertion of key %s is refused: %v", kid, err)
		}
		return kid
	}
	first := verify()
	if got := r.publishedIDs(); !slices.Equal(got, []string{first}) {
		t.Fatalf("%v are published, want %s alone", got, first)
	}
	began := r.rotate(secondKey, testKey)
	published := r.publishedIDs()
	second := otherThan(first, published)
	if len(published) != 2 || second == "" || !slices.Contains(published, first) {
		t.Fatalf("%v are published right after the rotation, want %s and a new one", published, first)
	}
	calls := map[string]int{}
	eventually(t, readyLimit, "the new key signs", func() bool {
		kid := verify()
		calls[kid]++
		if kid != first && (kid != second || time.Since(began) < signsAfter) {
			t.Fatalf("key %s signs after %v", kid, time.Since(began))
		}
		return kid == second
	})
	if calls[first] < 5 {
		t.Errorf("the old key signed %d of the calls after the rotation", calls[first])
	}
	r.rotate(secondKey)
	if p := alice.call(http.MethodGet, "/one/x"); p.said() != "401 unauthenticated" {
		t.Errorf("a session that the old key has sealed, without that key: %s", p)
	}
	alice = r.signIn("alice")
	if got := r.publishedIDs(); !slices.Equal(got, []string{second}) || verify() != second {
		t.Errorf("%v are published after the old key was taken out, want %s alone", got, second)
	}
}

// rotate replaces the session keys, in one step, and waits until they are read.
func (r *upstreamRig) rotate(list ...string) (began time.Time) {
	r.t.Helper()
	began = time.Now()
	const said = "session keys read again"
	before := strings.Count(r.log.String(), said)
	write(r.t, r.keysFile+".new", strings.Join(list, "\n")+"\n")
	if err := os.Rename(r.keysFile+".new", r.keysFile); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, readyLimit, "the keys are read again", func() bool { return strings.Count(r.log.String(), said) > before })
	return began
}

func otherThan(known string, ids []string) string {
	for _, id := range ids {
		if id != known {
			return id
		}
	}
	return ""
}

func TestTheOperatorChoosesTheKeyOfAssertions(t *testing.T) {
	t.Parallel()
	_, own, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pemOf("PRIVATE KEY", der)
	}
	ec := newEC(t)
	for _, row := range []struct {
		name, settings, file, alg string
		public                    any // nil: one that is derived
	}{
		{"EdDSA", "assertions: {alg: EdDSA}\n", "", "EdDSA", nil},
		{"a file of Ed25519", "assertions: {private_key_file: $DIR/key.pem}\n", encode(own), "EdDSA", own.Public()},
		{"a file of P-256", "assertions: {private_key_file: $DIR/key.pem}\n", encode(ec), "ES256", ec.Public()},
		{"the first of a file", "assertions: {private_key_file: $DIR/key.pem}\n", encode(ec) + encode(own), "ES256", ec.Public()},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newUpstreamRig(t, upstreamPlan{settings: row.settings + assertions, services: assertionServices(), files: map[string]string{"key.pem": row.file}})
			if p := r.signIn("alice").call(http.MethodGet, "/two/x"); p.status != http.StatusOK {
				t.Fatalf("%s", p)
			}
			set := r.publishedKeys()
			kid, claims, err := openAssertion(r.services["TWO"].last(), row.alg, set)
			if err != nil || claims["aud"] != "api-two" || claims["sub"] != aliceSubject {
				t.Fatalf("%v: %v", err, claims)
			}
			if len(set.Keys) != max(1, strings.Count(row.file, "BEGIN")) {
				t.Errorf("%d keys are published", len(set.Keys))
			}
			if key, ok := row.public.(interface{ Equal(crypto.PublicKey) bool }); row.public != nil && (!ok || !key.Equal(set.Key(kid)[0].Key)) {
				t.Error("another key than the operator's signs")
			}
		})
	}
}
