package rp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"genkan/internal/keys"
)

const (
	issuer   = "https://idp.example"
	clientID = "genkan-client"
	redirect = "https://app.example/bff/callback"
	state    = "state-of-at-least-128-bits"
)

// start is when every test begins.
var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return mustRSA(2048) })
	otherRSA = sync.OnceValue(func() *rsa.PrivateKey { return mustRSA(2048) })
	smallRSA = sync.OnceValue(func() *rsa.PrivateKey { return mustRSA(1024) })
	ecKey    = sync.OnceValue(func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	})
)

func mustRSA(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

type object = map[string]any

// call is one request as the provider saw it.
type call struct {
	method, path string
	header       http.Header
	query, form  url.Values
}

// provider is a scriptable OpenID provider behind a transport: no sockets, so it also
// works inside a synctest bubble. Each of its answers can be replaced.
type provider struct {
	t      *testing.T
	issuer string

	mu       sync.Mutex
	now      time.Time
	calls    []call
	pushed   int // answers of /par
	metadata object
	keys     []any
	claims   object // of the ID token
	token    object // members of the token response; nil values leave a member out
	userinfo object
	handle   map[string]http.HandlerFunc // by path, instead of the usual answer
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	return &provider{
		t: t, issuer: issuer, now: start,
		metadata: object{
			"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
			"jwks_uri": issuer + "/keys", "userinfo_endpoint": issuer + "/userinfo",
			"end_session_endpoint": issuer + "/logout", "revocation_endpoint": issuer + "/revoke",
		},
		keys: []any{jwk("k1", "RS256", &rsaKey().PublicKey)},
		claims: object{
			"iss": issuer, "sub": "alice", "aud": clientID, "iat": start.Unix(), "exp": start.Add(time.Hour).Unix(),
			"name": "Alice", "email": "alice@example.com",
		},
		token:    object{"access_token": "access-1", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "refresh-1"},
		userinfo: object{"sub": "alice"},
		handle:   map[string]http.HandlerFunc{},
	}
}

func jwk(kid, alg string, public any) object {
	raw, err := jose.JSONWebKey{Key: public, KeyID: kid, Algorithm: alg, Use: "sig"}.MarshalJSON()
	if err != nil {
		panic(err)
	}
	var out object
	if json.Unmarshal(raw, &out) != nil {
		panic("jwk")
	}
	return out
}

// sign makes a compact JWT. header replaces and adds to alg and kid.
func sign(t *testing.T, key crypto.PrivateKey, alg, kid string, header, claims object) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return signBytes(t, key, alg, kid, header, payload)
}

func signBytes(t *testing.T, key crypto.PrivateKey, alg, kid string, header object, payload []byte) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", kid)
	if kid == "" {
		options = &jose.SignerOptions{}
	}
	for name, value := range header {
		options = options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func (p *provider) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *provider) advance(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

// RoundTrip implements http.RoundTripper. The requests it sees are copies, so that a
// test may look at them while others are under way.
func (p *provider) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		_ = req.Body.Close()
	}
	form, _ := url.ParseQuery(string(body))
	p.mu.Lock()
	p.calls = append(p.calls, call{req.Method, req.URL.Path, req.Header.Clone(), req.URL.Query(), form})
	handler := p.handle[req.URL.Path]
	p.mu.Unlock()
	if handler == nil {
		handler = p.usual(form)
	}
	recorder := httptest.NewRecorder()
	handler(recorder, req)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := recorder.Result()
	resp.Request = req
	return resp, nil
}

func (p *provider) usual(form url.Values) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			reply(w, http.StatusOK, p.metadata)
		case "/keys":
			reply(w, http.StatusOK, object{"keys": p.keys})
		case "/token":
			reply(w, http.StatusOK, p.tokens())
		case "/userinfo":
			reply(w, http.StatusOK, p.userinfo)
		case "/par":
			p.pushed++
			reply(w, http.StatusCreated, object{"request_uri": pushedURI(p.pushed), "expires_in": 60})
		case "/revoke":
			w.WriteHeader(http.StatusOK)
		default:
			http.NotFound(w, r)
		}
	}
}

// pushedURI is the request_uri of the nth pushed request.
func pushedURI(n int) string { return "urn:ietf:params:oauth:request_uri:" + strconv.Itoa(n) }

// tokens signs the claims unless the script gave an id_token of its own.
func (p *provider) tokens() object {
	out := maps.Clone(p.token)
	if _, given := out["id_token"]; !given {
		out["id_token"] = sign(p.t, rsaKey(), "RS256", "k1", nil, p.claims)
	}
	maps.DeleteFunc(out, func(_ string, value any) bool { return value == nil })
	return out
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// answers replaces the answer at path.
func (p *provider) answers(path string, handler http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handle[path] = handler
}

func text(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (p *provider) seen(path string) []call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.calls), func(c call) bool { return c.path != path })
}

func (p *provider) count(path string) int { return len(p.seen(path)) }

// client makes a client of p; change edits its configuration.
func (p *provider) client(change ...func(*Config)) *Client {
	p.t.Helper()
	cfg := Config{
		ID: "test", Issuer: p.issuer, ClientID: clientID, ClientSecret: keys.NewSecret("secret"),
		UserInfo: UserInfoOff, Transport: p, Now: p.clock,
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// begin starts a sign-in and lets the ID token hold its nonce.
func (p *provider) begin(c *Client, req AuthRequest) (*url.URL, Login) {
	p.t.Helper()
	req.RedirectURI, req.State = redirect, state
	address, login, err := c.Begin(p.t.Context(), req)
	if err != nil {
		p.t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	if _, scripted := p.claims["nonce"]; !scripted {
		p.claims["nonce"] = login.Nonce
	}
	p.mu.Unlock()
	return u, login
}

// signIn runs a whole sign-in.
func (p *provider) signIn(c *Client) (Grant, error) {
	p.t.Helper()
	_, login := p.begin(c, AuthRequest{})
	return c.Finish(p.t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, c.ResponseMode())
}

func (p *provider) mustSignIn(c *Client) Grant {
	p.t.Helper()
	grant, err := p.signIn(c)
	if err != nil {
		p.t.Fatalf("sign-in: %v", err)
	}
	return grant
}

// wantError asserts the class of err, and that it tells no secret of the exchange.
func wantError(t *testing.T, err error, kind Kind, finding, code string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error is %v, want an *Error", err)
	}
	if e.Kind != kind || e.Finding != finding || e.Code != code {
		t.Errorf("error is kind %d, finding %q, code %q (%v); want kind %d, finding %q, code %q",
			e.Kind, e.Finding, e.Code, e, kind, finding, code)
	}
	for _, secret := range []string{"code-1", "access-1", "refresh-1", "eyJ", "CANARY"} {
		if strings.Contains(e.Error(), secret) {
			t.Errorf("error tells %q: %v", secret, e)
		}
	}
}
