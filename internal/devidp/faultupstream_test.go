package devidp_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

func TestFaultsOfAccessTokens(t *testing.T) {
	t.Parallel()
	w := quick(t)
	for _, row := range []struct {
		name, part, member string
		want               any
	}{
		{"bearer-typ-jwt", "header", "typ", "JWT"},
		{"bearer-no-typ", "header", "typ", nil},
		{"bearer-alg-none", "header", "alg", "none"},
		{"bearer-alg-hs256", "header", "alg", "HS256"},
		{"bearer-wrong-aud", "claims", "aud", "another-client"},
		{"bearer-wrong-iss", "claims", "iss", w.issuer + "1"},
		{"bearer-expired", "claims", "exp", 1795165500.0}, // a day before 09:05
		{"bearer-future-nbf", "claims", "nbf", 8589934592.0},
		{"bearer-no-sub", "claims", "sub", nil},
		{"bearer-cnf-jkt", "claims", "cnf", map[string]any{"jkt": strings.Repeat("A", 43)}},
		{"bearer-cnf-certificate", "claims", "cnf", map[string]any{"x5t#S256": strings.Repeat("A", 43)}},
		{"bearer-scope-list", "claims", "scope", []any{"openid", "profile"}},
		{"bearer-future-auth-time", "claims", "auth_time", 1795338000.0},
		{"bearer-auth-time-string", "claims", "auth_time", "1795251600"},
		{"bearer-id-token", "claims", "aud", "genkan-dev"},
		{"bearer-id-token", "claims", "nonce", "the-nonce"},
		{"bearer-id-token", "header", "typ", "JWT"},
		{"bearer-id-token-aud", "claims", "aud", "http://127.0.0.1:9100"},
		{"bearer-id-token-aud", "claims", "client_id", nil},
	} {
		w.inject(row.name)
		token := w.tokens()["access_token"]
		w.idp.Heal()
		header, claims := decode(t, token)
		got := map[string]map[string]any{"header": header, "claims": claims}[row.part][row.member]
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s: %s", row.name, diff)
		}
		if row.part == "claims" && !w.verifies(token) {
			t.Errorf("%s: the signature is broken too", row.name)
		}
	}
}

// The secret of a MAC has to be that of the token's client, or nothing would be tested.
func TestAccessTokenWithTheClientsSecret(t *testing.T) {
	t.Parallel()
	w := quick(t)
	w.inject("bearer-alg-hs256-secret")
	token := fmt.Sprint(w.tokens()["access_token"])
	header, claims := decode(t, token)
	if want := signHS256("genkan-dev-secret", header, claims); token[strings.LastIndex(token, "."):] != want[strings.LastIndex(want, "."):] {
		t.Error("another secret")
	}
}

// A fault of one grant leaves the others alone.
func TestFaultsOfOneGrant(t *testing.T) {
	t.Parallel()
	w := quick(t)
	forms := func() map[string]url.Values {
		return map[string]url.Values{
			"exchange": trade(w.tokens()["access_token"]), "client": {"grant_type": {"client_credentials"}}, "token": exchange(w.code()),
			"refresh": refresh(w.tokens()["refresh_token"]),
		}
	}
	for _, row := range []struct {
		fault, hits string
		status      int
	}{
		{"exchange-503", "exchange", 503},
		{"exchange-invalid-target", "exchange", 400},
		{"exchange-access-denied", "exchange", 403},
		{"client-invalid-client", "client", 401},
		{"client-429", "client", 429},
		{"refresh-503", "refresh", 503},
	} {
		for kind, form := range forms() {
			w.inject(row.fault)
			status, want := w.status("/token", form), http.StatusOK
			w.idp.Heal()
			if kind == row.hits {
				want = row.status
			}
			if status != want {
				t.Errorf("%s: %s: HTTP %d", row.fault, kind, status)
			}
		}
	}
	w.inject("exchange-other-sub")
	body := w.tokens()
	if _, claims := decode(t, body["access_token"]); claims["sub"] != "dev-user-alice-7f3a" {
		t.Errorf("sign-in: %v", claims["sub"])
	}
	_, traded := w.token(trade(body["access_token"]))
	if _, claims := decode(t, traded["access_token"]); claims["sub"] != "another-user" || !w.verifies(traded["access_token"]) {
		t.Errorf("exchange: %v", claims["sub"])
	}
}

func (w *world) status(path string, form url.Values) int {
	w.t.Helper()
	r := w.request(http.MethodPost, path, form)
	r.SetBasicAuth("genkan-dev", "genkan-dev-secret")
	return w.do(r).StatusCode
}

func TestFaultsOfIntrospection(t *testing.T) {
	t.Parallel()
	w := quick(t)
	token := w.tokens()["access_token"]
	for _, row := range []struct {
		name, member string
		want         any
	}{
		{"introspect-active-string", "active", "true"},
		{"introspect-no-active", "active", nil},
		{"introspect-active-upper", "Active", true},
		{"introspect-active-upper", "active", nil},
		{"introspect-inactive-with-claims", "sub", "dev-user-alice-7f3a"},
		{"introspect-only-active", "sub", nil},
		{"introspect-other-aud", "aud", "another-service"},
		{"introspect-extra-aud", "aud", []any{"another-service", "http://127.0.0.1:9100"}},
		{"introspect-other-iss", "iss", w.issuer + "1"},
		{"introspect-expired", "exp", 1795165500.0},
		{"introspect-type-dpop", "token_type", "DPoP"},
		{"introspect-cnf-jkt", "cnf", map[string]any{"jkt": strings.Repeat("A", 43)}},
	} {
		w.inject(row.name)
		got := w.introspect("genkan-dev", token)
		if diff := cmp.Diff(row.want, got[row.member]); diff != "" {
			t.Errorf("%s: %s", row.name, diff)
		}
		// It makes nothing active of what is not.
		if got := w.introspect("genkan-dev", "x"); !cmp.Equal(got, map[string]any{"active": false}) {
			t.Errorf("%s: of an unknown token: %v", row.name, got)
		}
		w.idp.Heal()
	}
}

// What introspection says of an opaque token is what a fault made of its claims.
func TestFaultsOfOpaqueTokens(t *testing.T) {
	t.Parallel()
	opaque := devidp.DevClient()
	opaque.OpaqueAccessTokens = true
	w := start(t, devidp.Config{AutoSignIn: "alice", SkipConsent: true, Clients: []devidp.Client{opaque}})
	w.inject("bearer-wrong-sub")
	if got := w.introspect("genkan-dev", w.tokens()["access_token"]); got["sub"] != "another-user" {
		t.Errorf("%v", got)
	}
}
