package app_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"genkan/internal/devidp"
)

// suite is the provider of the conformance suite: devidp with an issuer as the suite's
// are, and with a record of what was asked of it.
type suite struct {
	t        *testing.T
	idp      *devidp.Provider
	issuer   string
	resource string // URL of the resource server, of the plans that have one

	silent  bool // the module is about prompt=none
	repeats bool // a nonce is learnt by asking twice

	mu    sync.Mutex
	calls []call
	// at replaces or precedes the endpoint of a path, once set.
	at      map[string]hook
	answers []page // of Genkan to logout tokens
}

// hook is what happens at a path of the suite's; next is the endpoint itself.
type hook func(w http.ResponseWriter, r *http.Request, next http.Handler)

// call is a request that the suite received.
type call struct {
	path   string // below the issuer
	query  url.Values
	form   url.Values // of the body
	header http.Header
}

const issuerPath = "/test/a/genkan"

func newSuite(t *testing.T, p plan, m module, public string) *suite {
	t.Helper()
	var next atomic.Int64
	cfg := devidp.Config{
		AutoSignIn: "alice", SkipConsent: true, ThinIDToken: true, Scopes: []string{"address", "phone"},
		NewKey: func() (*rsa.PrivateKey, error) { return suiteKeys()[next.Add(1)-1], nil },
		Clients: []devidp.Client{{
			ID: "genkan", RedirectURIs: []string{public + "/bff/callback"}, PostLogoutURIs: []string{public + "/bff/logout/callback"},
		}},
	}
	s := &suite{t: t, at: map[string]hook{}}
	for _, adapt := range []func(*devidp.Config, string){p.idp, m.idp} {
		if adapt != nil {
			adapt(&cfg, public)
		}
	}
	cfg.Transport = roundTripper(s.tell)
	idp, err := devidp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.idp, s.repeats = idp, cfg.DPoPNonce
	server := httptest.NewUnstartedServer(s)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{suiteCert().pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	s.issuer = server.URL + issuerPath + "/"
	idp.SetIssuer(s.issuer)
	if m.resource != nil {
		p.resource = m.resource
	}
	if p.resource != nil {
		resource := httptest.NewServer(p.resource(s))
		t.Cleanup(resource.Close)
		s.resource = resource.URL + "/"
	}
	if m.keys != nil {
		p.keys = m.keys
	}
	if p.keys != nil {
		p.faults = append(p.faults, p.keys.fault())
	}
	for _, f := range slices.Concat(p.faults, m.faults) {
		idp.Inject(f)
	}
	return s
}

func (s *suite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	path := strings.TrimPrefix(r.URL.Path, issuerPath)
	s.note(call{path, r.URL.Query(), form, r.Header.Clone()})
	s.mu.Lock()
	do := s.at[path]
	s.mu.Unlock()
	if strings.HasPrefix(path, "/jwks") { // under whatever name the metadata say
		r.URL.Path = issuerPath + "/jwks"
	}
	if do != nil {
		do(w, r, s.idp)
		return
	}
	s.idp.ServeHTTP(w, r)
}

func (s *suite) note(c call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
}

func (s *suite) on(path string, do hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[path] = do
}

// tell carries what the provider sends to Genkan, and keeps the answers.
func (s *suite) tell(r *http.Request) (*http.Response, error) {
	transport := &http.Transport{TLSClientConfig: suiteCert().trust, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.answers = append(s.answers, page{status: resp.StatusCode, url: r.URL.String(), header: resp.Header})
	}
	return resp, err
}

func (s *suite) told() []page {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.answers)
}

// called are the paths asked for, in order, without metadata and keys.
func (s *suite) called() []string {
	var paths []string
	for _, c := range s.record() {
		if !strings.HasPrefix(c.path, "/jwks") && !strings.HasPrefix(c.path, "/.well-known/") && !strings.HasPrefix(c.path, "/assets/") {
			paths = append(paths, c.path)
		}
	}
	if s.repeats {
		paths = slices.Compact(paths)
	}
	return paths
}

func (s *suite) record() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// forget cuts the record: a module begins here.
func (s *suite) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

// received are the calls of one path.
func (s *suite) received(path string) []call {
	return slices.DeleteFunc(s.record(), func(c call) bool { return c.path != path })
}

// judge is what the suite demands of every request in every module.
func (s *suite) judge() {
	s.t.Helper()
	for _, c := range s.record() {
		if c.query.Has("access_token") || c.form.Has("access_token") {
			s.t.Errorf("%s: the access token is in a parameter, not in the header", c.path)
		}
		if c.path != "/authorize" && c.path != "/par" {
			continue
		}
		asked := c.query
		if c.path == "/par" {
			asked = c.form
		} else if asked.Has("request_uri") {
			if len(asked) != 2 || asked.Get("client_id") != "genkan" { // everything else was pushed
				s.t.Errorf("/authorize: %v", asked)
			}
			continue
		}
		scopes := strings.Fields(asked.Get("scope"))
		if !slices.Contains(scopes, "openid") || asked.Get("response_type") != "code" || asked.Get("client_id") != "genkan" ||
			asked.Get("code_challenge_method") != "S256" || asked.Get("nonce") == "" || (asked.Get("prompt") == "none") != s.silent {
			s.t.Errorf("%s: %v", c.path, asked)
		}
	}
}

// idToken, keySet, metadata, tokenAnswer, userInfo and redirect are faults by what they
// change.
func idToken(change func(*devidp.JWT)) devidp.Fault { return devidp.Fault{IDToken: change} }

func claim(name string, change func(string) any) devidp.Fault {
	return idToken(func(t *devidp.JWT) {
		old, _ := t.Claims[name].(string)
		t.Claims[name] = change(old)
	})
}

// other is a value that the suite makes wrong by adding to it.
func other(suffix string) func(string) any { return func(old string) any { return old + suffix } }

func withoutClaim(name string) devidp.Fault {
	return idToken(func(t *devidp.JWT) { delete(t.Claims, name) })
}

func body(at string, change func(map[string]any)) devidp.Fault {
	return devidp.Fault{At: at, Body: change}
}

func metadata(change func(map[string]any)) devidp.Fault {
	return body("/.well-known/openid-configuration", change)
}

func redirect(change func(url.Values)) devidp.Fault { return devidp.Fault{Redirect: change} }

func without(names ...string) func(map[string]any) {
	return func(b map[string]any) {
		for _, name := range names {
			delete(b, name)
		}
	}
}

// keySet is what the provider publishes. real is the JWK of the key that signs now.
type keySet func(real map[string]any) []any

func (k keySet) fault() devidp.Fault {
	return body("/jwks", func(b map[string]any) { b["keys"] = k(b["keys"].([]any)[0].(map[string]any)) })
}

// cert is the certificate of both servers.
type cert struct {
	pair            tls.Certificate
	certPEM, keyPEM string
	trust           *tls.Config
}

var suiteCert = sync.OnceValue(func() cert {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "conformance"}, BasicConstraintsValid: true, IsCA: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	pool := x509.NewCertPool()
	pool.AddCert(must(x509.ParseCertificate(der)))
	c := cert{certPEM: pemOf("CERTIFICATE", der), keyPEM: pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key)))}
	c.pair = must(tls.X509KeyPair([]byte(c.certPEM), []byte(c.keyPEM)))
	c.trust = &tls.Config{RootCAs: pool}
	return c
})

// suiteKeys are made once for all modules, since making RSA keys is slow.
var suiteKeys = sync.OnceValue(func() (keys []*rsa.PrivateKey) {
	for range 5 {
		keys = append(keys, must(rsa.GenerateKey(rand.Reader, 2048)))
	}
	return keys
})

// clientKey is that of Genkan's registration where the plan wants one.
var clientKey = sync.OnceValue(func() (k struct{ private, public string }) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	jwk := ecJWK(&key.PublicKey)
	jwk["kid"], jwk["alg"] = "genkan-1", "ES256"
	k.public = string(must(json.Marshal(map[string]any{"keys": []any{jwk}})))
	jwk["d"] = b64(must(key.Bytes()))
	k.private = string(must(json.Marshal(jwk)))
	return k
})

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func b64(in []byte) string { return base64.RawURLEncoding.EncodeToString(in) }

// extra makes keys that sign nothing, as JWKs: the suite's sets are full of them.
type extra struct {
	rsa, ec, koblitz, okp int
	alg                   bool // each says its algorithm
	kid                   func(n int) string
}

func (e extra) keys() (keys []any) {
	add := func(count int, alg string, make func(n int) map[string]any) {
		for n := range count {
			key := make(n)
			key["use"] = "sig"
			if e.alg {
				key["alg"] = alg
			}
			if e.kid != nil {
				key["kid"] = e.kid(len(keys))
			}
			keys = append(keys, key)
		}
	}
	add(e.rsa, "PS256", func(n int) map[string]any { return rsaJWK(suiteKeys()[len(suiteKeys())-1-n]) })
	add(e.ec, "ES256", func(int) map[string]any {
		return ecJWK(&must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).PublicKey)
	})
	add(e.koblitz, "ES256K", func(int) map[string]any { // the curve's base point is a public key like any other
		return map[string]any{"kty": "EC", "crv": "secp256k1", "x": "eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g", "y": "SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg"}
	})
	add(e.okp, "EdDSA", func(int) map[string]any {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(must(public, err))}
	})
	return keys
}

func rsaJWK(key *rsa.PrivateKey) map[string]any {
	return map[string]any{"kty": "RSA", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
}

func ecJWK(key *ecdsa.PublicKey) map[string]any {
	point := must(key.Bytes()) // 4, x, y
	return map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
}

func numbered(n int) string { return fmt.Sprintf("decoy-%d", n) }
