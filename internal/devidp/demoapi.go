package devidp

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// DemoAPIConfig is a DemoAPI's.
type DemoAPIConfig struct {
	Issuer   string // required, but for assertions; the provider's
	Audience string // default http://127.0.0.1:9100
	// AssertionIssuer has the API take identity assertions of that issuer (Genkan's public
	// URL) instead of the provider's access tokens. AssertionJWKS is the URL of their keys.
	AssertionIssuer, AssertionJWKS string
	// Pause is the time between two events of /stream and lines of /ndjson; default 200 ms.
	Pause time.Duration
	// DPoPNonce demands a nonce of the API's own in every DPoP proof (RFC 9449 9).
	DPoPNonce bool
	Client    *http.Client // default one with a time-out of 10 seconds
	Now       func() time.Time
}

// DemoAPI is a resource server to try a proxy with. It knows the provider by HTTP only and
// takes nothing but access tokens by RFC 9068 for its own audience, with a DPoP proof or
// over TLS with a client certificate when they are bound to one. Or, if it is told so, it
// takes nothing but identity assertions: JWTs about a user that the proxy signs with ES256
// or EdDSA.
//
//	GET  /hello             who is asking, and the names of the headers that arrived
//	GET  /claims            what the token says, and its kind: access_token or assertion
//	GET  /items             a list; POST sends back the JSON it gets, with 201
//	GET  /stream            three server-sent events; endless=1: until the client leaves
//	GET  /ndjson            the same in lines of JSON
//	GET  /ws                a WebSocket that says hello and echoes; silent=1: sends nothing
//	GET  /download?bytes=   that many bytes, 2 GiB at most
//	POST /upload            counts up to 2 GiB, and answers with the SHA-256
//	GET  /slow?ms=          answers after a while, 60 seconds at most
//
// No answer ever holds the token.
type DemoAPI struct {
	cfg  DemoAPIConfig
	kind accepted
	mux  *http.ServeMux

	mu      sync.Mutex
	keys    map[string]jose.JSONWebKey // by kid
	fetches []time.Time                // of the last minute
	nonces  nonces
	spent   *shelf[bool] // jti of proofs
	seen    []*Seen
}

// maxFetches a minute: a forged kid must not make the API flood the provider.
const maxFetches = 20

// NewDemoAPI returns the API. The provider need not be up yet.
func NewDemoAPI(c DemoAPIConfig) *DemoAPI {
	c.Audience = cmp.Or(c.Audience, "http://127.0.0.1:9100")
	c.Pause = cmp.Or(c.Pause, 200*time.Millisecond)
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 10 * time.Second}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	a := &DemoAPI{cfg: c, kind: c.kind(), mux: http.NewServeMux(), spent: newShelf[bool](c.Now, maxSpent)}
	a.mux.HandleFunc("GET /hello", a.hello)
	a.mux.HandleFunc("GET /items", a.items)
	a.mux.HandleFunc("POST /items", a.addItem)
	a.mux.HandleFunc("GET /claims", a.claims)
	a.mux.HandleFunc("GET /stream", a.ticks("text/event-stream", eventForm))
	a.mux.HandleFunc("GET /ndjson", a.ticks("application/x-ndjson", lineForm))
	a.mux.HandleFunc("GET /ws", a.webSocket)
	a.mux.HandleFunc("GET /download", a.download)
	a.mux.HandleFunc("POST /upload", a.upload)
	a.mux.HandleFunc("GET /slow", a.slow)
	return a
}

type claimsKey struct{}

// ServeHTTP answers whoever has a good token.
func (a *DemoAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	limit := int64(maxBody)
	if r.URL.Path == "/upload" {
		limit = maxTransfer
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	note := a.look(w, r)
	scheme, token := presented(r)
	if token == "" {
		challenge(w, false, "there is no access token")
		return
	}
	claims, err := a.verify(r.Context(), token)
	if err != nil {
		challengeFor(w, r, oauthError{"invalid_token", err.Error()})
		return
	}
	jkt, failure := a.proof(r, token, note)
	if failure == nil {
		failure = claims.Bound.refuses(r, scheme, jkt)
	}
	if failure != nil {
		challengeFor(w, r, *failure)
		return
	}
	a.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
}

func (a *DemoAPI) hello(w http.ResponseWriter, r *http.Request) {
	claims, _ := r.Context().Value(claimsKey{}).(tokenClaims)
	apiJSON(w, http.StatusOK, map[string]any{
		"message": "Hello, " + claims.Subject, "sub": claims.Subject, "scope": claims.Scope,
		"token_expires_in": claims.Expires - a.cfg.Now().Unix(),
		"request_headers":  slices.Sorted(maps.Keys(r.Header)),
	})
}

func (a *DemoAPI) items(w http.ResponseWriter, _ *http.Request) {
	apiJSON(w, http.StatusOK, []map[string]any{{"id": 1, "name": "lantern"}, {"id": 2, "name": "umbrella"}, {"id": 3, "name": "sandals"}})
}

func (a *DemoAPI) addItem(w http.ResponseWriter, r *http.Request) {
	var item any
	if err := json.NewDecoder(r.Body).Decode(&item); err != nil {
		apiJSON(w, http.StatusBadRequest, map[string]any{"error": "the body is not JSON, or too long"})
		return
	}
	apiJSON(w, http.StatusCreated, item)
}

func (a *DemoAPI) slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.ParseUint(cmp.Or(r.FormValue("ms"), "1000"), 10, 16) // 65 seconds at most
	if err != nil {
		apiJSON(w, http.StatusBadRequest, map[string]any{"error": "ms must be a number up to 60000"})
		return
	}
	if pause(r.Context(), min(time.Duration(ms)*time.Millisecond, time.Minute)) {
		apiJSON(w, http.StatusOK, map[string]any{"waited_ms": ms})
	}
}

// pause reports whether the time went by before the request ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func apiJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
