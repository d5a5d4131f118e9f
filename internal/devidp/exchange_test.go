package devidp_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

// From RFC 8693 2.1 and 3.
const (
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessType    = "urn:ietf:params:oauth:token-type:access_token"
	jwtType       = "urn:ietf:params:oauth:token-type:jwt"
)

// trade is a token exchange.
func trade(subject any, changes ...string) url.Values {
	return change(url.Values{
		"grant_type": {exchangeGrant}, "subject_token": {fmt.Sprint(subject)}, "subject_token_type": {accessType},
	}, changes)
}

// market is a provider where tokens for orders may be had, with the clients robot, which
// may exchange, and third, which may not.
func market(t *testing.T, more ...devidp.Client) *world {
	t.Helper()
	return start(t, devidp.Config{
		AutoSignIn: "alice", SkipConsent: true, Scopes: []string{"orders.read", "orders.write"}, Targets: []string{"orders", "https://orders.example/", "third"},
		Users: []devidp.User{{
			Username: "alice", Subject: "the-user", Groups: []string{"staff"}, Roles: []string{"buyer"}, Claims: map[string]any{"department": "sales"},
		}},
		Clients: append(more, devidp.DevClient(),
			devidp.Client{ID: "robot", Secret: "robot-secret", TokenExchange: true, Audiences: []string{"orders"}},
			devidp.Client{ID: "third", Secret: "third-secret"},
			devidp.Client{ID: "public", TokenExchange: true}),
	})
}

// as asks path as a client by its secret.
func (w *world) as(client, path string, form url.Values) (int, map[string]any) {
	w.t.Helper()
	r := w.request(http.MethodPost, path, form)
	r.SetBasicAuth(client, client+"-secret")
	a := w.do(r)
	return a.StatusCode, object(w.t, a.body)
}

func TestExchange(t *testing.T) {
	t.Parallel()
	w := market(t)
	signIn := w.tokens("scope", "openid profile groups orders.read", "acr_values", "mfa")
	w.clock.advance(time.Minute)
	status, body := w.token(trade(signIn["access_token"], "audience", "orders", "scope", "orders.read"))
	if status != http.StatusOK {
		t.Fatalf("HTTP %d: %v", status, body)
	}
	header, claims := decode(t, body["access_token"])
	wantBody := map[string]any{
		"access_token": body["access_token"], "issued_token_type": accessType, "token_type": "Bearer", "expires_in": 300.0, "scope": "orders.read",
	}
	want := map[string]any{
		"iss": w.issuer, "sub": "the-user", "aud": "orders", "client_id": "genkan-dev", "scope": "orders.read", "jti": claims["jti"],
		"iat": 1795251660.0, "exp": 1795251960.0, "auth_time": 1795251600.0, "acr": "mfa",
		"groups": []any{"staff"}, "roles": []any{"buyer"}, "department": "sales",
	}
	if diff := cmp.Diff(wantBody, body); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, claims); diff != "" || header["typ"] != "at+jwt" || !w.verifies(body["access_token"]) {
		t.Error(header, diff)
	}
	if n := w.idp.Stats().Token[exchangeGrant]; n != 1 {
		t.Errorf("%d exchanges counted", n)
	}
}

func TestExchangedFor(t *testing.T) {
	t.Parallel()
	w := market(t)
	subject := w.tokens("scope", "openid orders.read")["access_token"]
	_, forRobot := w.token(trade(subject, "audience", "orders"))
	for _, row := range []struct {
		name, client string
		form         url.Values
		aud, scope   any
		kind         string
	}{
		{"nothing asked", "genkan-dev", trade(subject), "http://127.0.0.1:9100", "openid orders.read", accessType},
		{"audience", "genkan-dev", trade(subject, "audience", "orders"), "orders", "openid orders.read", accessType},
		{"resource", "genkan-dev", trade(subject, "resource", "https://orders.example/"), "https://orders.example/", "openid orders.read", accessType},
		{"both", "genkan-dev", trade(subject, "audience", "orders", "resource", "https://orders.example/"), []any{"https://orders.example/", "orders"}, "openid orders.read", accessType},
		{"a JWT", "genkan-dev", trade(subject, "requested_token_type", jwtType), "http://127.0.0.1:9100", "openid orders.read", jwtType},
		{"for a JWT", "genkan-dev", trade(subject, "subject_token_type", jwtType), "http://127.0.0.1:9100", "openid orders.read", accessType},
		{"by whom it is for", "robot", trade(forRobot["access_token"], "scope", "orders.read"), "http://127.0.0.1:9100", "orders.read", accessType},
	} {
		status, body := w.as(row.client, "/token", row.form)
		if status != http.StatusOK || body["issued_token_type"] != row.kind || body["id_token"] != nil || body["refresh_token"] != nil {
			t.Errorf("%s: HTTP %d: %v", row.name, status, body)
			continue
		}
		_, claims := decode(t, body["access_token"])
		got := []any{claims["sub"], claims["client_id"], claims["aud"], claims["scope"], body["scope"]}
		if diff := cmp.Diff([]any{"the-user", row.client, row.aud, row.scope, row.scope}, got); diff != "" {
			t.Errorf("%s: %s", row.name, diff)
		}
	}
	several := trade(subject)
	several["audience"] = []string{"orders", "http://127.0.0.1:9100", "orders"}
	_, body := w.token(several)
	if _, claims := decode(t, body["access_token"]); !cmp.Equal(claims["aud"], []any{"http://127.0.0.1:9100", "orders"}) {
		t.Errorf("several audiences: %v", claims["aud"])
	}
}

func TestExchangeIsRefused(t *testing.T) {
	t.Parallel()
	opaque := devidp.Client{ID: "opaque", Secret: "opaque-secret", TokenExchange: true, OpaqueAccessTokens: true, RedirectURIs: []string{callback}}
	w := market(t, opaque)
	body := w.tokens("scope", "openid orders.read offline_access")
	subject := body["access_token"]
	_, random := w.as("opaque", "/token", exchange(w.code("client_id", "opaque", "scope", "openid")))
	twice := trade(subject)
	twice["scope"] = []string{"openid", "orders.read"}
	for _, row := range []struct {
		name, client string
		form         url.Values
		want         string
	}{
		{"may not", "third", trade(subject), "unauthorized_client"},
		{"another's", "robot", trade(subject), "invalid_request"},
		{"unknown token", "genkan-dev", trade("x"), "invalid_request"},
		{"no token", "genkan-dev", trade("", "subject_token", ""), "invalid_request"},
		{"refresh token", "genkan-dev", trade(body["refresh_token"]), "invalid_request"},
		{"ID token", "genkan-dev", trade(body["id_token"]), "invalid_request"},
		{"ID token, said to be one", "genkan-dev", trade(body["id_token"], "subject_token_type", "urn:ietf:params:oauth:token-type:id_token"), "invalid_request"},
		{"no type", "genkan-dev", trade(subject, "subject_token_type", ""), "invalid_request"},
		{"opaque as JWT", "opaque", trade(random["access_token"], "subject_token_type", jwtType), "invalid_request"},
		{"other type asked", "genkan-dev", trade(subject, "requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"},
		{"actor", "genkan-dev", trade(subject, "actor_token", "x", "actor_token_type", accessType), "invalid_request"},
		{"unknown audience", "genkan-dev", trade(subject, "audience", "others"), "invalid_target"},
		{"unknown resource", "genkan-dev", trade(subject, "resource", "https://others.example/"), "invalid_target"},
		{"one is unknown", "genkan-dev", trade(subject, "audience", "orders", "resource", "https://others.example/"), "invalid_target"},
		{"resource with a fragment", "genkan-dev", trade(subject, "resource", "https://orders.example/#x"), "invalid_target"},
		{"more scopes", "genkan-dev", trade(subject, "scope", "orders.read orders.write"), "invalid_scope"},
		{"scope twice", "genkan-dev", twice, "invalid_request"},
		{"public client", "", trade(subject, "client_id", "public"), "unauthorized_client"},
		{"no client", "", trade(subject), "invalid_client"},
	} {
		r := w.request(http.MethodPost, "/token", row.form)
		if row.client != "" {
			r.SetBasicAuth(row.client, row.client+"-secret")
		}
		a := w.do(r)
		if got := object(t, a.body); got["error"] != row.want || got["access_token"] != nil || a.StatusCode < 400 {
			t.Errorf("%s: HTTP %d: %v", row.name, a.StatusCode, got)
		}
	}
	r := w.request(http.MethodPost, "/token?subject_token=x", trade(subject, "subject_token", ""))
	r.SetBasicAuth("genkan-dev", "genkan-dev-secret")
	if got := object(t, w.do(r).body); got["error"] != "invalid_request" {
		t.Errorf("in the URL: %v", got)
	}
	w.clock.advance(5 * time.Minute)
	if _, got := w.token(trade(subject)); got["error"] != "invalid_request" {
		t.Errorf("expired: %v", got)
	}
}

// What was exchanged ends with the sign-in it came from.
func TestExchangedTokensEndWithTheirGrant(t *testing.T) {
	t.Parallel()
	w := market(t)
	body := w.tokens("scope", "openid offline_access")
	_, first := w.token(trade(body["access_token"]))
	_, second := w.token(trade(first["access_token"]))
	if status, _ := w.userInfo(second["access_token"]); status != http.StatusOK {
		t.Fatalf("HTTP %d", status)
	}
	w.revoke(body["refresh_token"])
	for name, token := range map[string]any{"first": first["access_token"], "second": second["access_token"]} {
		if status, _ := w.userInfo(token); status != http.StatusUnauthorized {
			t.Errorf("%s: HTTP %d", name, status)
		}
		if _, got := w.token(trade(token)); got["error"] != "invalid_request" {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestExchangeOfBoundTokens(t *testing.T) {
	t.Parallel()
	w, key := market(t), newECKey(t, "")
	other := newECKey(t, "")
	send := func(key ecKey, form url.Values) map[string]any {
		form.Set("client_id", "genkan-dev")
		form.Set("client_secret", "genkan-dev-secret")
		_, body := w.prove(key, form, nil)
		return body
	}
	bearer := w.tokens("scope", "openid")["access_token"]
	bound := send(key, exchange(w.code("scope", "openid")))["access_token"]
	for _, row := range []struct {
		name    string
		subject any
		key     ecKey
		want    any // token_type or error
	}{
		{"same key", bound, key, "DPoP"}, {"another key", bound, other, "invalid_request"}, {"bearer token, with a proof", bearer, other, "DPoP"},
	} {
		body := send(row.key, trade(row.subject, "audience", "orders"))
		if got := body["token_type"]; got != row.want && body["error"] != row.want {
			t.Errorf("%s: %v", row.name, body)
		}
		if row.want == "DPoP" {
			if _, claims := decode(t, body["access_token"]); !cmp.Equal(claims["cnf"], map[string]any{"jkt": row.key.thumbprint()}) {
				t.Errorf("%s: cnf %v", row.name, claims["cnf"])
			}
		}
	}
	if _, body := w.token(trade(bound)); body["error"] != "invalid_request" {
		t.Errorf("no proof: %v", body)
	}
	for _, name := range []string{"exchange-dpop-type-bearer", "client-dpop-type-bearer"} {
		w.inject(name)
	}
	if body := send(key, trade(bound)); body["token_type"] != "Bearer" {
		t.Errorf("fault: %v", body)
	}
	if body := send(key, url.Values{"grant_type": {"client_credentials"}}); body["token_type"] != "Bearer" {
		t.Errorf("fault: %v", body)
	}
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	w := market(t)
	status, body := w.as("robot", "/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders.read"}, "audience": {"orders"}})
	if status != http.StatusOK || body["token_type"] != "Bearer" || body["expires_in"] != 300.0 || body["scope"] != "orders.read" || len(body) != 4 {
		t.Fatalf("HTTP %d: %v", status, body)
	}
	header, claims := decode(t, body["access_token"])
	want := map[string]any{
		"iss": w.issuer, "sub": "robot", "aud": "orders", "client_id": "robot", "scope": "orders.read", "jti": claims["jti"],
		"iat": 1795251600.0, "exp": 1795251900.0,
	}
	if diff := cmp.Diff(want, claims); diff != "" || header["typ"] != "at+jwt" || !w.verifies(body["access_token"]) {
		t.Error(header, diff)
	}
	if status, _ := w.userInfo(body["access_token"]); status != http.StatusUnauthorized {
		t.Errorf("UserInfo: HTTP %d", status)
	}
	for _, row := range []struct {
		name, client string
		changes      []string
		want         any
	}{
		{"nothing asked", "robot", nil, nil},
		{"resource", "robot", []string{"resource", "https://orders.example/"}, nil},
		{"unknown audience", "robot", []string{"audience", "others"}, "invalid_target"},
		{"unknown scope", "robot", []string{"scope", "others.read"}, "invalid_scope"},
		{"scope about users", "robot", []string{"scope", "openid"}, "invalid_scope"},
		{"refresh token wanted", "robot", []string{"scope", "offline_access"}, "invalid_scope"},
		{"public client", "", []string{"client_id", "public"}, "unauthorized_client"},
	} {
		form := change(url.Values{"grant_type": {"client_credentials"}}, row.changes)
		r := w.request(http.MethodPost, "/token", form)
		if row.client != "" {
			r.SetBasicAuth(row.client, row.client+"-secret")
		}
		if got := object(t, w.do(r).body); got["error"] != row.want || (row.want == nil) != (got["access_token"] != nil) {
			t.Errorf("%s: %v", row.name, got)
		}
	}
	several := url.Values{"grant_type": {"client_credentials"}, "audience": {"orders", "orders"}}
	if _, got := w.as("robot", "/token", several); got["error"] != "invalid_request" {
		t.Errorf("audience twice: %v", got)
	}
}
