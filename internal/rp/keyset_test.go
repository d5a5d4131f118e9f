package rp

import (
	"crypto"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// with returns key with members replaced.
func with(key, change object) object {
	key = maps.Clone(key)
	maps.Copy(key, change)
	maps.DeleteFunc(key, func(_ string, v any) bool { return v == nil })
	return key
}

// finishWith signs in with one ID token, signed as given.
func (p *provider) finishWith(c *Client, key crypto.PrivateKey, alg, kid string) error {
	p.t.Helper()
	_, login := p.begin(c, AuthRequest{})
	claims := maps.Clone(p.claims)
	claims["nonce"] = login.Nonce
	token := sign(p.t, key, alg, kid, nil, claims)
	p.mu.Lock()
	p.token["id_token"] = token
	p.mu.Unlock()
	_, err := c.Finish(p.t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
	return err
}

// junkKeys are entries of a key set that no relying party should stumble over.
func junkKeys() []any {
	secp256k1 := object{"kty": "EC", "crv": "secp256k1", "kid": "s", "use": "sig",
		"x": "WbbaSStufflt30WzDAcyDgcWbbaSStufflt30WzDAcw", "y": "2BNWbbaSStufflt30WzDAcyDgcWbbaSStufflt30WzA"}
	return []any{
		secp256k1, // without alg, as the conformance suite publishes it
		with(secp256k1, object{"alg": "ES256K"}),
		object{"kty": "OKP", "crv": "Ed448", "kid": "e", "x": "AAAA"},
		object{"kty": "AKP", "alg": "ML-DSA-65", "kid": "m", "pub": "AAAA"},
		object{"kty": "oct", "kid": "k1", "k": "c2VjcmV0"},
		object{"kty": "RSA", "kid": "k1", "n": 7, "e": []int{1}},
		object{"kty": "RSA", "kid": "k1", "n": "!!!", "e": "AQAB"},
		object{"kty": "RSA"}, object{"kid": 5}, object{}, "text", 42, nil, []int{1},
	}
}

func TestKeySet(t *testing.T) {
	t.Parallel()
	good := func() object { return jwk("k1", "RS256", &rsaKey().PublicKey) }
	another := jwk("k9", "RS256", &otherRSA().PublicKey)
	rows := []struct {
		name string
		keys []any
		key  crypto.PrivateKey
		alg  string
		kid  string
		ok   bool
	}{
		{"97 junk around one good key", append(junkKeys(), good()), rsaKey(), "RS256", "k1", true},
		{"97 junk and another's key", append(junkKeys(), another), rsaKey(), "RS256", "k1", false},
		{"97 certificates that Go refuses", []any{with(good(), object{"x5c": []string{"bm90IGEgY2VydGlmaWNhdGU"}, "x5t": 5})}, rsaKey(), "RS256", "k1", true},
		{"96 no kid, one key", []any{good()}, rsaKey(), "RS256", "", true},
		{"96 no kid, three keys", []any{jwk("a", "", &otherRSA().PublicKey), jwk("b", "", &ecKey().PublicKey), good()}, rsaKey(), "RS256", "", true},
		{"98 an encryption key", []any{with(good(), object{"use": "enc"}), another}, rsaKey(), "RS256", "k1", false},
		{"98 key_ops without verify", []any{with(good(), object{"use": nil, "key_ops": []string{"encrypt"}}), another}, rsaKey(), "RS256", "k1", false},
		{"98 key_ops with verify", []any{with(good(), object{"use": nil, "key_ops": []string{"verify"}})}, rsaKey(), "RS256", "k1", true},
		{"98 the key is for PS256", []any{with(good(), object{"alg": "PS256"})}, rsaKey(), "RS256", "k1", false},
		{"98 the key names no alg", []any{with(good(), object{"alg": nil})}, rsaKey(), "RS256", "k1", true},
		{"99 decoys of the same kid", []any{jwk("k1", "ES256", &ecKey().PublicKey), with(good(), object{"alg": "PS256"}), jwk("k1", "RS256", &otherRSA().PublicKey), good()}, rsaKey(), "RS256", "k1", true},
		{"99 EC token, RSA decoy", []any{good(), jwk("k1", "ES256", &ecKey().PublicKey)}, ecKey(), "ES256", "k1", true},
		{"100 RSA of 1024 bits", []any{jwk("k1", "RS256", &smallRSA().PublicKey), another}, smallRSA(), "RS256", "k1", false},
		{"the right key under another kid", []any{good()}, rsaKey(), "RS256", "k2", false},
		{"another's key alone", []any{another}, rsaKey(), "RS256", "k1", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.keys = row.keys
			err := p.finishWith(p.client(func(c *Config) { c.SigningAlgs = []string{"RS256", "ES256", "PS256"} }), row.key, row.alg, row.kid)
			if !row.ok {
				wantError(t, err, Invalid, "id_token_invalid", "signature")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestKeyRoll(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	roll := func(kid string, public crypto.PublicKey) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.keys = []any{jwk(kid, "RS256", public)}
	}
	steps := []struct {
		name string
		key  crypto.PrivateKey
		kid  string
		do   func()
	}{
		{"first", rsaKey(), "k1", func() {}},
		{"rolled between sign-ins", otherRSA(), "k2", func() { roll("k2", &otherRSA().PublicKey) }},
		{"rolled back at once", rsaKey(), "k3", func() { roll("k3", &rsaKey().PublicKey) }},
		{"a new key under the old name", otherRSA(), "k3", func() { roll("k3", &otherRSA().PublicKey) }},
	}
	for i, step := range steps {
		step.do()
		if err := p.finishWith(c, step.key, "RS256", step.kid); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if n := p.count("/keys"); n != i+1 {
			t.Errorf("%s: keys fetched %d times, want %d", step.name, n, i+1)
		}
	}
}

// TestForgedKids: 95, forged kids must not make us flood the provider.
func TestForgedKids(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	ask := func(kid string) {
		_, _ = c.keys.verify(t.Context(), sign(t, ecKey(), "ES256", kid, nil, p.claims), c.keys.ours.pay)
	}
	c.keys.algs = signatureAlgorithms([]string{"RS256", "ES256"})
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 250 {
				ask(fmt.Sprintf("forged-%d-%d", worker, i))
			}
		})
	}
	group.Wait()
	if n := p.count("/keys"); n != 4 { // the first, and a burst of three
		t.Errorf("1000 forged kids made %d fetches, want 4", n)
	}
	_, err := c.keys.verify(t.Context(), sign(t, ecKey(), "ES256", "new", nil, p.claims), c.keys.ours.pay)
	wantError(t, err, Fault, "provider_unavailable", "rate_limited")
	for range 6 {
		p.advance(10 * time.Second)
		for i := range 20 {
			ask(fmt.Sprintf("later-%d", i))
		}
	}
	if n := p.count("/keys"); n != 4+6 {
		t.Errorf("a minute of forged kids made %d more fetches, want 6", n-4)
	}
}

func TestConcurrentSignInsAfterARollShareOneFetch(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	p.mustSignIn(c)
	p.keys = []any{jwk("k2", "RS256", &otherRSA().PublicKey)}
	token := sign(t, otherRSA(), "RS256", "k2", nil, p.claims)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := c.keys.verify(t.Context(), token, c.keys.ours.pay); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := p.count("/keys"); n != 2 {
		t.Errorf("keys fetched %d times, want 2", n)
	}
}

func TestALateCallerTakesWhatTheOthersFetched(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	old, err := c.keys.cache.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // each still looks at the old keys
		if fresh, err := c.keys.cache.renew(t.Context(), old, nil); err != nil || fresh == old {
			t.Errorf("got the old keys, error %v", err)
		}
	}
	if n := p.count("/keys"); n != 2 {
		t.Errorf("keys fetched %d times, want 2", n)
	}
}

func TestKeysAreKeptWhileTheyCannotBeFetched(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	p.mustSignIn(c)
	token := sign(t, rsaKey(), "RS256", "k1", nil, p.claims)
	p.answers("/keys", text(http.StatusInternalServerError, "text/html", "CANARY"))
	steps := []struct {
		name    string
		wait    time.Duration
		fetches int
		ok      bool
	}{
		{"fresh", 14 * time.Minute, 1, true},
		{"over its time", 2 * time.Minute, 2, true},
		{"within the pause", 29 * time.Second, 2, true},
		{"after the pause", 2 * time.Second, 3, true},
		{"after a day", 24 * time.Hour, 4, false},
	}
	for _, step := range steps {
		p.advance(step.wait)
		_, err := c.keys.verify(t.Context(), token, c.keys.ours.pay)
		if (err == nil) != step.ok {
			t.Errorf("%s: %v", step.name, err)
		}
		if n := p.count("/keys"); n != step.fetches {
			t.Errorf("%s: %d fetches, want %d", step.name, n, step.fetches)
		}
	}
	_, err := c.keys.verify(t.Context(), token, c.keys.ours.pay)
	wantError(t, err, Fault, "provider_unavailable", "status")
}

// TestAKeySetWithoutUsableKeysReplacesNothing: a provider that publishes none for a moment says
// nothing against its tokens, so it ends no session.
func TestAKeySetWithoutUsableKeysReplacesNothing(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	p.mustSignIn(c)
	p.keys = junkKeys()
	p.advance(16 * time.Minute)
	p.claims["iat"], p.claims["exp"] = at(16*time.Minute), at(time.Hour)
	if err := p.finishWith(c, rsaKey(), "RS256", "k1"); err != nil {
		t.Errorf("with the keys held before: %v", err)
	}
	wantError(t, p.finishWith(c, otherRSA(), "RS256", "k2"), Fault, "provider_unavailable", "key_set")
}

// TestUnknownKeyWhileKeysAreDown: it is not known whether the token is bad, so it is no
// reason to end a session.
func TestUnknownKeyWhileKeysAreDown(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	p.mustSignIn(c)
	p.answers("/keys", text(http.StatusOK, "text/html", "<html>CANARY"))
	wantError(t, p.finishWith(c, otherRSA(), "RS256", "k2"), Fault, "provider_unavailable", "key_set")
}

func TestRemovedKeyIsForgotten(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	p.mustSignIn(c)
	p.keys = []any{jwk("k2", "RS256", &otherRSA().PublicKey)}
	p.advance(16 * time.Minute)
	p.claims["iat"], p.claims["exp"] = at(16*time.Minute), at(time.Hour)
	wantError(t, p.finishWith(c, rsaKey(), "RS256", "k1"), Invalid, "id_token_invalid", "signature")
}

func FuzzParseKeys(f *testing.F) {
	good := jwk("k1", "RS256", &rsaKey().PublicKey)
	for _, keys := range [][]any{{good}, junkKeys(), append(junkKeys(), good), slices.Repeat([]any{jwk("e", "", &ecKey().PublicKey)}, 150)} {
		raw, err := json.Marshal(object{"keys": keys})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseKeys(body)
		if err != nil && keys != nil {
			t.Error("both keys and an error")
		}
		if len(keys) > 100 {
			t.Errorf("%d keys", len(keys))
		}
		for _, key := range keys {
			for _, alg := range []string{"none", "HS256", "HS512"} {
				if key.fits(alg) {
					t.Errorf("a key fits %s", alg)
				}
			}
		}
	})
}
