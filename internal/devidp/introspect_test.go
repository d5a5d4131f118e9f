package devidp_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

func (w *world) introspect(client string, token any) map[string]any {
	w.t.Helper()
	status, body := w.as(client, "/introspect", url.Values{"token": {fmt.Sprint(token)}, "token_type_hint": {"access_token"}})
	if status != http.StatusOK {
		w.t.Errorf("HTTP %d: %v", status, body)
	}
	return body
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	opaque := devidp.DevClient()
	opaque.OpaqueAccessTokens = true
	w := start(t, devidp.Config{AutoSignIn: "alice", SkipConsent: true, Clients: []devidp.Client{opaque}})
	body := w.tokens()
	access, _ := body["access_token"].(string)
	if strings.Contains(access, ".") {
		t.Errorf("%q may be a JWT", access)
	}
	got := w.introspect("genkan-dev", access)
	want := map[string]any{
		"active": true, "iss": w.issuer, "sub": "dev-user-alice-7f3a", "aud": "http://127.0.0.1:9100", "client_id": "genkan-dev",
		"username": "alice", "scope": "openid profile email groups offline_access", "token_type": "Bearer", "jti": got["jti"],
		"iat": 1795251600.0, "exp": 1795251900.0, "auth_time": 1795251600.0, "acr": "pwd", "groups": []any{"staff", "admins"},
	}
	if diff := cmp.Diff(want, got); diff != "" || got["jti"] == nil {
		t.Error(diff)
	}
	if status, _ := w.userInfo(access); status != http.StatusOK {
		t.Errorf("UserInfo: HTTP %d", status)
	}
	// A JWT that was asked for is one all the same.
	_, traded := w.token(trade(access, "requested_token_type", jwtType))
	decode(t, traded["access_token"])
	metadata := object(t, w.get("/.well-known/openid-configuration", nil).body)
	if metadata["introspection_endpoint"] != w.issuer+"/introspect" {
		t.Errorf("metadata: %v", metadata["introspection_endpoint"])
	}
	if n := w.idp.Stats().Introspections; n != 1 {
		t.Errorf("%d counted", n)
	}
}

// Everything but a living access token of one's own is told apart by nothing.
func TestInactiveTokens(t *testing.T) {
	t.Parallel()
	w := market(t)
	body := w.tokens("scope", "openid offline_access")
	first := body["access_token"]
	second := w.tokens("scope", "openid offline_access")
	_, forOrders := w.token(trade(first, "audience", "orders"))
	_, forThird := w.token(trade(first, "audience", "third"))
	for _, row := range []struct {
		name, client string
		token        any
		active       bool
	}{
		{"own", "genkan-dev", first, true},
		{"own, for another", "genkan-dev", forOrders["access_token"], true},
		{"by whom it is for", "robot", forOrders["access_token"], true},
		{"by the client it is for", "third", forThird["access_token"], true},
		{"another's", "robot", first, false},
		{"another's, for one more", "third", forOrders["access_token"], false},
		{"unknown", "genkan-dev", "x", false},
		{"refresh token", "genkan-dev", body["refresh_token"], false},
		{"ID token", "genkan-dev", body["id_token"], false},
	} {
		got := w.introspect(row.client, row.token)
		if got["active"] != row.active || !row.active && len(got) != 1 {
			t.Errorf("%s: %v", row.name, got)
		}
	}
	w.revoke(first)
	w.revoke(second["refresh_token"])
	for name, token := range map[string]any{"revoked": first, "revoked with its family": second["access_token"]} {
		if got := w.introspect("genkan-dev", token); got["active"] != false {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := w.introspect("genkan-dev", forOrders["access_token"]); got["active"] != true {
		t.Errorf("of a revoked access token: %v", got)
	}
	w.clock.advance(5 * time.Minute)
	if got := w.introspect("genkan-dev", forOrders["access_token"]); got["active"] != false {
		t.Errorf("expired: %v", got)
	}
}

// revoke revokes a token of genkan-dev.
func (w *world) revoke(token any) {
	w.t.Helper()
	r := w.request(http.MethodPost, "/revoke", url.Values{"token": {fmt.Sprint(token)}})
	r.SetBasicAuth("genkan-dev", "genkan-dev-secret")
	if a := w.do(r); a.StatusCode != http.StatusOK {
		w.t.Errorf("HTTP %d: %s", a.StatusCode, a.body)
	}
}

func TestIntrospectionOfABoundToken(t *testing.T) {
	t.Parallel()
	w, key := market(t), newECKey(t, "")
	form := exchange(w.code(), "client_id", "genkan-dev", "client_secret", "genkan-dev-secret")
	_, body := w.prove(key, form, nil)
	got := w.introspect("genkan-dev", body["access_token"])
	if got["token_type"] != "DPoP" || !cmp.Equal(got["cnf"], map[string]any{"jkt": key.thumbprint()}) {
		t.Errorf("%v", got)
	}
}

func TestIntrospectionNeedsAClient(t *testing.T) {
	t.Parallel()
	w := market(t)
	token := fmt.Sprint(w.tokens()["access_token"])
	for _, row := range []struct {
		name, method, path, client, secret string
		form                               url.Values
		status                             int
		want                               any
	}{
		{"nobody", "POST", "/introspect", "", "", url.Values{"token": {token}}, 401, "invalid_client"},
		{"wrong secret", "POST", "/introspect", "genkan-dev", "x", url.Values{"token": {token}}, 401, "invalid_client"},
		{"public client", "POST", "/introspect", "", "", url.Values{"token": {token}, "client_id": {"public"}}, 401, "invalid_client"},
		{"no token", "POST", "/introspect", "genkan-dev", "genkan-dev-secret", url.Values{}, 400, "invalid_request"},
		{"in the URL", "POST", "/introspect?token=" + token, "genkan-dev", "genkan-dev-secret", url.Values{}, 400, "invalid_request"},
		{"GET", "GET", "/introspect", "genkan-dev", "genkan-dev-secret", url.Values{"token": {token}}, 405, nil},
	} {
		r := w.request(row.method, row.path, row.form)
		if row.client != "" {
			r.SetBasicAuth(row.client, row.secret)
		}
		a := w.do(r)
		if a.StatusCode != row.status || row.want != nil && object(t, a.body)["error"] != row.want || strings.Contains(a.body, "active") {
			t.Errorf("%s: HTTP %d: %s", row.name, a.StatusCode, a.body)
		}
	}
}
