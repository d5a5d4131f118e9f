package devidp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

// Every fault of /par and of DPoP shows in what a client sees there.
func TestFaultsOfPARAndDPoPShow(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{})
	ask := func(path string, form map[string][]string) string {
		r := w.request(http.MethodPost, path, form)
		r.Header.Set("DPoP", w.proofFor(key, "POST", w.issuer+path, nil))
		text := w.peek(r)
		var body map[string]any
		if json.Unmarshal([]byte(text), &body) == nil {
			return fmt.Sprint(len(text), body["token_type"])
		}
		return text
	}
	observe := func() map[string]string {
		return map[string]string{"par": ask("/par", params("client_id", "p")), "dpop": ask("/token", w.codeFor())}
	}
	healthy := observe()
	if !strings.HasPrefix(healthy["par"], "201 ") || !strings.Contains(healthy["dpop"], "DPoP") {
		t.Fatalf("the observation misses something: %v", healthy)
	}
	count := 0
	for _, name := range devidp.FaultNames() {
		kind, _, _ := strings.Cut(name, "-")
		if healthy[kind] == "" {
			continue
		}
		count++
		w.inject(name)
		seen := observe()
		w.idp.Heal()
		if seen[kind] == healthy[kind] {
			t.Errorf("%s does not show", name)
		}
	}
	if count < 20 {
		t.Errorf("there are only %d faults", count)
	}
	if diff := cmp.Diff(healthy, observe()); diff != "" {
		t.Errorf("not healed: %s", diff)
	}
}

func TestFaultsOfOAuth(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{DPoPNonce: true})
	for _, row := range []struct {
		name, path string
		status     int
		failure    any
		nonce      bool
	}{
		{"par-400", "/par", 400, "invalid_request", true},
		{"par-401", "/par", 401, "invalid_client", true},
		{"par-200", "/par", 200, nil, true},
		{"par-dpop-nonce-loop", "/par", 400, "use_dpop_nonce", true},
		{"dpop-nonce-loop", "/token", 400, "use_dpop_nonce", true},
		{"dpop-proof-invalid", "/token", 400, "invalid_dpop_proof", true},
		{"token-invalid-target", "/token", 400, "invalid_target", true},
		{"token-no-dpop-nonce-header", "/token", 400, "use_dpop_nonce", false},
	} {
		w.inject(row.name)
		a, body := w.send(row.path, refresh("x", "client_id", "p"), w.proofFor(key, "POST", w.issuer+row.path, nil))
		w.idp.Heal()
		if a.StatusCode != row.status || body["error"] != row.failure || a.Header.Get("DPoP-Nonce") != "" != row.nonce {
			t.Errorf("%s: HTTP %d, nonce %q: %v", row.name, a.StatusCode, a.Header.Get("DPoP-Nonce"), body)
		}
	}
}

// The loop gives another nonce each time, whatever the proof has.
func TestNonceLoops(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{})
	w.inject("dpop-nonce-loop")
	w.inject("userinfo-dpop-nonce-loop")
	given := map[string]bool{}
	nonce := ""
	for range 5 {
		a, _ := w.prove(key, refresh("x", "client_id", "p"), map[string]any{"nonce": nonce})
		nonce = a.Header.Get("DPoP-Nonce")
		given[nonce] = true
	}
	got := w.call(key, w.issuer+"/userinfo", "DPoP", "x", map[string]any{"ath": hash("x")})
	given[got.Header.Get("DPoP-Nonce")] = true
	if len(given) != 6 || got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.Header.Get("WWW-Authenticate"), `", error="use_dpop_nonce"`) {
		t.Errorf("HTTP %d, %v, %s", got.StatusCode, given, got.Header.Get("WWW-Authenticate"))
	}
}

func TestFaultsOfOAuthMetadata(t *testing.T) {
	t.Parallel()
	w := quick(t)
	for _, row := range []struct {
		name, member string
		want         any
	}{
		{"discovery-par-required", "require_pushed_authorization_requests", true},
		{"discovery-no-par", "pushed_authorization_request_endpoint", nil},
		{"discovery-no-auth-methods", "token_endpoint_auth_methods_supported", nil},
		{"discovery-no-dpop", "dpop_signing_alg_values_supported", nil},
		{"discovery-only-es256", "token_endpoint_auth_signing_alg_values_supported", []any{"ES256"}},
		{"discovery-only-client_secret_basic", "token_endpoint_auth_methods_supported", []any{"client_secret_basic"}},
		{"discovery-only-client_secret_post", "token_endpoint_auth_methods_supported", []any{"client_secret_post"}},
		{"discovery-only-client_secret_jwt", "token_endpoint_auth_methods_supported", []any{"client_secret_jwt"}},
		{"discovery-only-private_key_jwt", "token_endpoint_auth_methods_supported", []any{"private_key_jwt"}},
		{"discovery-only-tls_client_auth", "token_endpoint_auth_methods_supported", []any{"tls_client_auth"}},
		{"discovery-only-self_signed_tls_client_auth", "token_endpoint_auth_methods_supported", []any{"self_signed_tls_client_auth"}},
		{"discovery-only-none", "token_endpoint_auth_methods_supported", []any{"none"}},
	} {
		w.inject(row.name)
		body := object(t, w.get("/.well-known/openid-configuration", nil).body)
		w.idp.Heal()
		if diff := cmp.Diff(row.want, body[row.member]); diff != "" {
			t.Errorf("%s: %s", row.name, diff)
		}
	}
	w.inject("discovery-mtls-alias")
	aliases, _ := object(t, w.get("/.well-known/openid-configuration", nil).body)["mtls_endpoint_aliases"].(map[string]any)
	if aliases["token_endpoint"] != "https://mtls.provider.example/token" {
		t.Errorf("aliases %v", aliases)
	}
}
