package devidp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// DemoAPIConfig is a DemoAPI's.
type DemoAPIConfig struct {
	Issuer   string // required; the provider's
	Audience string // default http://127.0.0.1:9100
	// Pause is the time between two events of /stream; default 200 ms.
	Pause time.Duration
	// DPoPNonce demands a nonce of the API's own in every DPoP proof (RFC 9449 9).
	DPoPNonce bool
	Client    *http.Client // default one with a time-out of 10 seconds
	Now       func() time.Time
}

// DemoAPI is a resource server to try a proxy with. It knows the provider by HTTP only and
// takes nothing but access tokens by RFC 9068 for its own audience, with a DPoP proof or
// over TLS with a client certificate when they are bound to one.
//
//	GET  /hello      who is asking, and the names of the headers that arrived
//	GET  /items      a list; POST sends back the JSON it gets, with 201
//	GET  /stream     three server-sent events
//	GET  /slow?ms=   answers after a while, 60 seconds at most
//
// No answer ever holds the token.
type DemoAPI struct {
	cfg DemoAPIConfig
	mux *http.ServeMux

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
	a := &DemoAPI{cfg: c, mux: http.NewServeMux(), spent: newShelf[bool](c.Now, maxSpent)}
	a.mux.HandleFunc("GET /hello", a.hello)
	a.mux.HandleFunc("GET /items", a.items)
	a.mux.HandleFunc("POST /items", a.addItem)
	a.mux.HandleFunc("GET /stream", a.stream)
	a.mux.HandleFunc("GET /slow", a.slow)
	return a
}

// accessClaims is what counts of RFC 9068 2.2.
type accessClaims struct {
	Issuer   string  `json:"iss"`
	Subject  string  `json:"sub"`
	Audience any     `json:"aud"` // one string or a list (RFC 7519 4.1.3)
	Expires  int64   `json:"exp"`
	Scope    string  `json:"scope"`
	Bound    binding `json:"cnf"`
}

type claimsKey struct{}

// ServeHTTP answers whoever has a good token.
func (a *DemoAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
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

// verify is RFC 9068 4.
func (a *DemoAPI) verify(ctx context.Context, token string) (accessClaims, error) {
	var claims accessClaims
	jws, err := jose.ParseSignedCompact(token, accessAlgs())
	if err != nil {
		return claims, errors.New("the token is not a JWT of a known algorithm")
	}
	header := jws.Signatures[0].Protected
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if typ = strings.ToLower(typ); typ != "at+jwt" && typ != "application/at+jwt" {
		return claims, errors.New("the token is not an access token (typ)")
	}
	key, err := a.key(ctx, header.KeyID)
	if err != nil {
		return claims, err
	}
	payload, err := jws.Verify(key.Key)
	if err != nil || key.Algorithm != header.Algorithm || json.Unmarshal(payload, &claims) != nil {
		return claims, errors.New("the signature is wrong")
	}
	switch {
	case claims.Issuer != a.cfg.Issuer:
		return claims, errors.New("the token is of another issuer")
	case !slices.Contains(listed(claims.Audience), a.cfg.Audience):
		return claims, errors.New("the token is for another audience")
	case a.cfg.Now().Unix() >= claims.Expires:
		return claims, errors.New("the token has expired")
	case claims.Subject == "":
		return claims, errors.New("the token has no subject")
	}
	return claims, nil
}

// key returns the provider's key, fetching the set when kid is not in it.
func (a *DemoAPI) key(ctx context.Context, kid string) (jose.JSONWebKey, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if key, ok := a.keys[kid]; ok {
		return key, nil
	}
	now := a.cfg.Now()
	a.fetches = slices.DeleteFunc(a.fetches, func(t time.Time) bool { return now.Sub(t) > time.Minute })
	if len(a.fetches) >= maxFetches {
		return jose.JSONWebKey{}, errors.New("the key is unknown, and the keys were fetched too often")
	}
	a.fetches = append(a.fetches, now)
	keys, err := a.fetchKeys(ctx)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	a.keys = keys
	key, ok := keys[kid]
	if !ok {
		return jose.JSONWebKey{}, errors.New("the key is unknown")
	}
	return key, nil
}

func (a *DemoAPI) fetchKeys(ctx context.Context) (map[string]jose.JSONWebKey, error) {
	var metadata struct {
		JWKS string `json:"jwks_uri"`
	}
	if err := a.getJSON(ctx, strings.TrimSuffix(a.cfg.Issuer, "/")+wellKnown, &metadata); err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := a.getJSON(ctx, metadata.JWKS, &set); err != nil {
		return nil, err
	}
	keys := map[string]jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.Use == "sig" && key.IsPublic() {
			keys[key.KeyID] = key
		}
	}
	return keys, nil
}

func (a *DemoAPI) getJSON(ctx context.Context, address string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("the provider's address is not a URL")
	}
	response, err := a.cfg.Client.Do(request)
	if err != nil {
		return errors.New("the provider cannot be reached")
	}
	defer response.Body.Close()
	if json.NewDecoder(io.LimitReader(response.Body, maxBody)).Decode(into) != nil {
		return errors.New("the provider's answer is not JSON")
	}
	return nil
}

func (a *DemoAPI) hello(w http.ResponseWriter, r *http.Request) {
	claims, _ := r.Context().Value(claimsKey{}).(accessClaims)
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

func (a *DemoAPI) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	for i := 1; i <= 3; i++ {
		if i > 1 && !pause(r.Context(), a.cfg.Pause) {
			return
		}
		_, _ = fmt.Fprintf(w, "id: %d\nevent: tick\ndata: {\"n\":%d}\n\n", i, i)
		if http.NewResponseController(w).Flush() != nil {
			return
		}
	}
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
