package devidp_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

// said is an answer of the token endpoint, which need not be JSON.
func (w *world) said(form url.Values, secret string) (int, string) {
	w.t.Helper()
	r := w.request(http.MethodPost, "/token", form)
	r.SetBasicAuth("genkan-dev", secret)
	a := w.do(r)
	return a.StatusCode, a.body
}

func TestQuirksOfTokenErrors(t *testing.T) {
	t.Parallel()
	const secret = "genkan-dev-secret"
	for _, row := range []struct {
		quirk, name string
		form        url.Values
		secret      string
		status      int
		body        string // a part
	}{
		{"quirk-glewlwyd-token-error", "a bad refresh token", refresh("x"), secret, 400, ""},
		{"quirk-glewlwyd-token-error", "a bad code", exchange("x"), secret, 400, ""},
		{"quirk-glewlwyd-code", "a bad code", exchange("x"), secret, 403, `{"error":"invalid_code"}`},
		{"quirk-glewlwyd-code", "a bad refresh token", refresh("x"), secret, 400, `"error":"invalid_grant"`},
		{"quirk-okta-unknown-client", "an unknown client", exchange("x"), "y", 401, `{"errorCode":"invalid_client","errorSummary":`},
		{"quirk-okta-unknown-client", "a bad code", exchange("x"), secret, 400, `"error":"invalid_grant"`},
	} {
		w := quick(t)
		w.inject(row.quirk)
		status, body := w.said(row.form, row.secret)
		if status != row.status || !strings.Contains(body, row.body) || row.body == "" && body != "" || strings.HasPrefix(row.body, `{"errorCode`) && strings.Contains(body, `"error"`) {
			t.Errorf("%s, %s: HTTP %d %s", row.quirk, row.name, status, body)
		}
		if status, _ := w.token(exchange(w.code())); status != http.StatusOK {
			t.Errorf("%s: a good code gets HTTP %d", row.quirk, status)
		}
	}
}

// Another client's and another user's refresh tokens live on.
func TestQuirkDexOneRefresh(t *testing.T) {
	t.Parallel()
	w := quick(t)
	w.inject("quirk-dex-one-refresh")
	first, second := w.tokens(), w.tokens()
	status, body := w.token(refresh(first["refresh_token"]))
	if status != http.StatusBadRequest || body["error"] != "invalid_request" {
		t.Errorf("the first browser: HTTP %d %v", status, body)
	}
	if status, _ := w.userInfo(first["access_token"]); status != http.StatusOK {
		t.Errorf("its access token: HTTP %d", status)
	}
	if status, body := w.token(refresh(second["refresh_token"])); status != http.StatusOK {
		t.Errorf("the second browser: HTTP %d %v", status, body)
	}
}

func TestQuirksOfAuthorizationRequests(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		quirk, name string
		changes     []string
		failure     string
		refresh     bool // a refresh token comes
	}{
		{"quirk-okta-groups-scope", "groups", nil, "invalid_scope", false},
		{"quirk-okta-groups-scope", "no groups", []string{"scope", "openid offline_access"}, "", true},
		{"quirk-hydra-state", "seven characters", []string{"state", "1234567"}, "invalid_state", false},
		{"quirk-hydra-state", "eight characters", []string{"state", "12345678"}, "", true},
		{"quirk-dot-offline", "offline_access", nil, "invalid_scope", false},
		{"quirk-dot-offline", "without", []string{"scope", "openid"}, "", true},
		{"quirk-offline-needs-consent", "no prompt", nil, "", false},
		{"quirk-offline-needs-consent", "prompt=login", []string{"prompt", "login"}, "", false},
		{"none", "without offline_access", []string{"scope", "openid"}, "", false},
	} {
		w := quick(t)
		if row.quirk != "none" {
			w.inject(row.quirk)
		}
		_, got := w.get("/authorize", params(row.changes...)).location(t)
		if got.Get("error") != row.failure || got.Get("state") == "" || row.failure != "" && got.Has("code") {
			t.Errorf("%s, %s: %v", row.quirk, row.name, got)
		}
		if sent := w.idp.Stats().LastAuthorize; sent.Encode() != params(row.changes...).Encode() {
			t.Errorf("%s, %s: recorded as %v", row.quirk, row.name, sent)
		}
		if row.failure != "" {
			continue
		}
		if _, body := w.token(exchange(got.Get("code"))); (body["refresh_token"] != nil) != row.refresh || body["access_token"] == nil {
			t.Errorf("%s, %s: %v", row.quirk, row.name, body)
		}
	}
}

func TestQuirkOfflineNeedsConsentIsMetByConsent(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{})
	w.inject("quirk-offline-needs-consent")
	_, got := w.enter("prompt", "consent").location(t)
	if _, body := w.token(exchange(got.Get("code"))); body["refresh_token"] == nil {
		t.Errorf("%v", body)
	}
}

func TestQuirksOfTokens(t *testing.T) {
	t.Parallel()
	w := quick(t)
	w.inject("quirk-okta-access-sub")
	body := w.tokens()
	_, access := decode(t, body["access_token"])
	_, id := decode(t, body["id_token"])
	if access["sub"] != "alice@example.com" || id["sub"] != "dev-user-alice-7f3a" {
		t.Errorf("sub %v and %v", access["sub"], id["sub"])
	}
	w.idp.Heal()

	w.inject("quirk-opaque-access")
	body = w.tokens()
	if status, _ := w.userInfo(body["access_token"]); status != http.StatusOK || strings.Contains(body["access_token"].(string), ".") {
		t.Errorf("UserInfo: HTTP %d with %v", status, body["access_token"])
	}
	w.idp.Heal()

	w.inject("quirk-zitadel-shape")
	code := w.code()
	_, body = w.token(exchange(code))
	_, id = decode(t, body["id_token"])
	if n := len(body["access_token"].(string)); len(code) < 290 || len(code) > 310 || n < 290 || n > 310 || !cmp.Equal(id["aud"], []any{"genkan-dev"}) {
		t.Errorf("a code of %d, an access token of %d, aud %v", len(code), n, id["aud"])
	}
	if status, _ := w.userInfo(body["access_token"]); status != http.StatusOK {
		t.Errorf("UserInfo: HTTP %d", status)
	}
	wantKind(t, "the ID token as a hint", "signed out", w.get("/logout", url.Values{"id_token_hint": {body["id_token"].(string)}}))
}

func TestQuirksOfLogoutTokens(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		quirk, sid   string
		sub, noLimit bool
	}{
		{"quirk-hydra-logout-token", "s", false, true}, {"quirk-hydra-logout-token", "", true, true},
		{"quirk-glewlwyd-logout-token", "s", true, true},
	} {
		w := quick(t)
		w.inject(row.quirk)
		token, err := w.idp.LogoutToken("genkan-dev", "u", row.sid)
		if err != nil {
			t.Fatal(err)
		}
		_, claims := decode(t, token)
		if (claims["sub"] != nil) != row.sub || (claims["exp"] == nil) != row.noLimit || (claims["sid"] != nil) != (row.sid != "") {
			t.Errorf("%+v: %v", row, claims)
		}
	}
}

func TestQuirksOfDiscovery(t *testing.T) {
	t.Parallel()
	w := quick(t)
	w.inject("quirk-dot-discovery")
	w.browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	got := w.get("/.well-known/openid-configuration", nil)
	target, _ := got.location(t)
	if got.StatusCode != http.StatusMovedPermanently || target != w.issuer+"/.well-known/openid-configuration/" {
		t.Errorf("HTTP %d to %s", got.StatusCode, target)
	}
	if body := object(t, w.get("/.well-known/openid-configuration/", nil).body); body["issuer"] != w.issuer {
		t.Errorf("metadata %v", body)
	}
	w.idp.Heal()
	w.inject("quirk-unannounced-iss")
	body := object(t, w.get("/.well-known/openid-configuration", nil).body)
	_, redirect := w.get("/authorize", params()).location(t)
	if body["authorization_response_iss_parameter_supported"] != nil || redirect.Get("iss") != w.issuer || redirect.Get("session_state") == "" {
		t.Errorf("%v, %v", body["authorization_response_iss_parameter_supported"], redirect)
	}
}

func TestRefreshWithoutRotation(t *testing.T) {
	t.Parallel()
	for fault, repeated := range map[string]bool{"refresh-same-token": true, "refresh-no-rotation": false} {
		w := quick(t)
		w.inject(fault)
		first := w.tokens()
		if first["refresh_token"] == nil {
			t.Fatalf("%s hits the sign-in", fault)
		}
		for range 3 {
			status, body := w.token(refresh(first["refresh_token"]))
			want := map[bool]any{true: first["refresh_token"]}[repeated]
			if status != http.StatusOK || body["refresh_token"] != want {
				t.Errorf("%s: HTTP %d %v", fault, status, body)
			}
		}
	}
}

// The faults of refreshes leave sign-ins alone, and change only what they are named after.
func TestFaultsOfRefreshes(t *testing.T) {
	t.Parallel()
	w := quick(t)
	for _, row := range []struct {
		fault, claim string
		want         any
	}{
		{"refresh-wrong-iss", "iss", w.issuer + "1"}, {"refresh-wrong-sub", "sub", "another-user"},
		{"refresh-wrong-aud", "aud", "another-client"}, {"refresh-other-auth-time", "auth_time", 1795251660.0},
		{"refresh-other-nonce", "nonce", "another-nonce"}, {"refresh-same-nonce", "nonce", "the-nonce"},
		{"refresh-expired", "exp", 1795165500.0},
	} {
		w.inject(row.fault)
		body := w.tokens()
		if _, claims := decode(t, body["id_token"]); cmp.Equal(claims[row.claim], row.want) && row.fault != "refresh-same-nonce" {
			t.Errorf("%s hits the sign-in", row.fault)
		}
		_, renewed := w.token(refresh(body["refresh_token"]))
		w.idp.Heal()
		if _, claims := decode(t, renewed["id_token"]); !cmp.Equal(claims[row.claim], row.want) || !w.verifies(renewed["id_token"]) {
			t.Errorf("%s: %s is %v", row.fault, row.claim, claims[row.claim])
		}
	}
	w.inject("refresh-500")
	if status, _ := w.said(refresh(w.tokens()["refresh_token"]), "genkan-dev-secret"); status != http.StatusInternalServerError {
		t.Errorf("refresh-500: HTTP %d", status)
	}
}

func TestAReplayedTokenAnswer(t *testing.T) {
	t.Parallel()
	w := quick(t)
	w.inject("token-replay")
	first, second := w.tokens("nonce", "one"), w.tokens("nonce", "two")
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("not the same: %s", diff)
	}
}

func TestKeySetsOfFaults(t *testing.T) {
	t.Parallel()
	w := quick(t)
	for _, row := range []struct {
		fault string
		keys  int
		kids  int // keys with a kid
		kid   bool
	}{
		{"id-no-kid-single", 1, 1, false}, {"id-no-kid-several", 3, 3, false},
		{"keys-no-kid-single", 1, 0, false}, {"keys-no-kid-three", 3, 0, false},
		{"keys-secp256k1", 8, 8, true}, {"keys-decoys", 10, 10, true}, {"keys-many", 5007, 5007, true},
	} {
		w.inject(row.fault)
		header, _ := decode(t, w.tokens()["id_token"])
		var set struct{ Keys []struct{ Kid *string } }
		if err := json.Unmarshal([]byte(w.get("/jwks", nil).body), &set); err != nil {
			t.Fatal(err)
		}
		w.idp.Heal()
		named := 0
		for _, key := range set.Keys {
			if key.Kid != nil {
				named++
			}
		}
		if len(set.Keys) != row.keys || named != row.kids || (header["kid"] != nil) != row.kid {
			t.Errorf("%s: %d keys, %d with a kid, header %v", row.fault, len(set.Keys), named, header)
		}
	}
}
