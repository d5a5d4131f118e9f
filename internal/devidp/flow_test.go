package devidp_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

func TestSignInInTheBrowser(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{})

	page := w.get("/authorize", params())
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, `name="username"`) || !strings.Contains(page.body, `name="password"`) {
		t.Fatalf("HTTP %d is not the sign-in page: %s", page.StatusCode, page.body)
	}
	for _, want := range []string{"alice", "bob", "genkan-dev", "/assets/devidp.css"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the sign-in page does not hold %q", want)
		}
	}

	consent := w.signIn(page, "alice", "password")
	if !strings.Contains(consent.body, "Allow") || !strings.Contains(consent.body, "offline_access") {
		t.Fatalf("not the consent page: %s", consent.body)
	}
	base, got := w.decide(consent, "allow").location(t)
	if base != callback || got.Get("state") != "the-state" || got.Get("iss") != w.issuer || len(got["code"]) != 1 || len(got) != 3 {
		t.Fatalf("sent to %s with %v", base, got)
	}

	status, body := w.token(exchange(got.Get("code")))
	if status != http.StatusOK || body["token_type"] != "Bearer" || body["expires_in"] != 300.0 ||
		body["scope"] != "openid profile email groups offline_access" || body["refresh_token"] == "" {
		t.Fatalf("HTTP %d: %v", status, body)
	}
	checkIDToken(t, w, body)
	checkAccessToken(t, w, body)

	want := map[string]any{
		"sub": "dev-user-alice-7f3a", "name": "Alice Arai", "preferred_username": "alice", "email": "alice@example.com",
		"email_verified": true, "groups": []any{"staff", "admins"},
	}
	if status, got := w.userInfo(body["access_token"]); status != http.StatusOK || !cmp.Equal(got, want) {
		t.Errorf("UserInfo: HTTP %d: %s", status, cmp.Diff(want, got))
	}
}

func checkIDToken(t *testing.T, w *world, body map[string]any) {
	t.Helper()
	header, claims := decode(t, body["id_token"])
	if header["alg"] != "RS256" || header["typ"] != "JWT" {
		t.Errorf("ID token header %v", header)
	}
	access, _ := body["access_token"].(string)
	sum := sha256.Sum256([]byte(access))
	want := map[string]any{
		"iss": w.issuer, "sub": "dev-user-alice-7f3a", "aud": "genkan-dev", "nonce": "the-nonce", "acr": "pwd", "amr": []any{"pwd"},
		"iat": 1795251600.0, "exp": 1795251900.0, "auth_time": 1795251600.0, // 2026-11-21T09:00:00Z and 5 minutes later
		"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]), "sid": claims["sid"],
		"name": "Alice Arai", "preferred_username": "alice", "email": "alice@example.com", "email_verified": true, "groups": []any{"staff", "admins"},
	}
	if diff := cmp.Diff(want, claims); diff != "" || claims["sid"] == nil || claims["sid"] == "" {
		t.Error("ID token: " + diff)
	}
	if !w.verifies(body["id_token"]) {
		t.Error("no published key verifies the ID token")
	}
}

func checkAccessToken(t *testing.T, w *world, body map[string]any) {
	t.Helper()
	header, claims := decode(t, body["access_token"])
	want := map[string]any{
		"iss": w.issuer, "sub": "dev-user-alice-7f3a", "aud": "http://127.0.0.1:9100", "client_id": "genkan-dev",
		"scope": "openid profile email groups offline_access", "iat": 1795251600.0, "exp": 1795251900.0, "jti": claims["jti"],
		"auth_time": 1795251600.0, "acr": "pwd", "groups": []any{"staff", "admins"},
	}
	if diff := cmp.Diff(want, claims); diff != "" || header["typ"] != "at+jwt" || claims["jti"] == "" || claims["jti"] == nil {
		t.Error("access token: ", header, diff)
	}
}

// verifies checks a JWT against the published keys.
func (w *world) verifies(token any) bool {
	w.t.Helper()
	return verifiedBy(w.get("/jwks", nil).body, token)
}

// verifiedBy checks a JWT with go-jose, against the key of its kid.
func verifiedBy(jwks string, token any) bool {
	text, _ := token.(string)
	jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.ES256, jose.ES384, jose.EdDSA,
	})
	var set struct{ Keys []json.RawMessage }
	if err != nil || json.Unmarshal([]byte(jwks), &set) != nil {
		return false
	}
	return slices.ContainsFunc(set.Keys, func(raw json.RawMessage) bool {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil || key.KeyID != jws.Signatures[0].Protected.KeyID {
			return false
		}
		_, err := jws.Verify(key)
		return err == nil
	})
}

func TestMetadataNamesTheEndpoints(t *testing.T) {
	t.Parallel()
	w := quick(t)
	body := object(t, w.get("/.well-known/openid-configuration", nil).body)
	for member, want := range map[string]any{
		"issuer": w.issuer, "authorization_endpoint": w.issuer + "/authorize", "token_endpoint": w.issuer + "/token",
		"userinfo_endpoint": w.issuer + "/userinfo", "jwks_uri": w.issuer + "/jwks", "revocation_endpoint": w.issuer + "/revoke",
		"end_session_endpoint": w.issuer + "/logout", "authorization_response_iss_parameter_supported": true,
		"code_challenge_methods_supported": []any{"S256"}, "response_types_supported": []any{"code"},
	} {
		if !cmp.Equal(body[member], want) {
			t.Errorf("%s: %v", member, body[member])
		}
	}
}

func TestScopesDecideTheClaims(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, scope string
		thin        bool
		id, info    []string // user claims beside sub
	}{
		{"openid alone", "openid", false, nil, nil},
		{"profile", "openid profile", false, []string{"name", "preferred_username"}, []string{"name", "preferred_username"}},
		{"email", "openid email", false, []string{"email", "email_verified"}, []string{"email", "email_verified"}},
		{"groups", "openid groups", false, []string{"groups"}, []string{"groups"}},
		{"thin ID token", "openid profile", true, nil, []string{"name", "preferred_username"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, devidp.Config{AutoSignIn: "alice", SkipConsent: true, ThinIDToken: row.thin})
			body := w.tokens("scope", row.scope)
			_, id := decode(t, body["id_token"])
			_, info := w.userInfo(body["access_token"])
			if _, has := body["refresh_token"]; has {
				t.Error("a refresh token without offline_access")
			}
			if got := userClaims(id); !slices.Equal(got, row.id) {
				t.Errorf("ID token holds %v", got)
			}
			if got := userClaims(info); !slices.Equal(got, row.info) {
				t.Errorf("UserInfo holds %v", got)
			}
		})
	}
}

func userClaims(claims map[string]any) []string {
	var found []string
	for _, name := range []string{"email", "email_verified", "groups", "name", "preferred_username"} {
		if _, ok := claims[name]; ok {
			found = append(found, name)
		}
	}
	return found
}

// What is wrong with the client or the redirect URI is shown here, and goes nowhere.
func TestUntrustedRedirectsStayHere(t *testing.T) {
	t.Parallel()
	w := quick(t)
	for _, row := range []struct {
		name  string
		query url.Values
		shows []string
	}{
		{"unknown client", params("client_id", "somebody"), []string{"somebody", "genkan-dev"}},
		{"no client", params("client_id", ""), []string{"genkan-dev"}},
		{"other host", params("redirect_uri", "http://evil.example/cb"), []string{"http://evil.example/cb", callback}},
		{"slash at the end", params("redirect_uri", callback+"/"), []string{callback + "/"}},
		{"a query", params("redirect_uri", callback+"?x=1"), []string{callback + "?x=1"}},
		{"upper case", params("redirect_uri", "http://LOCALHOST:8000/bff/callback"), []string{"http://LOCALHOST:8000"}},
		{"no redirect URI", params("redirect_uri", ""), []string{callback}},
		{"script", params("redirect_uri", "<script>alert(1)</script>"), []string{"&lt;script&gt;"}},
		{"two redirect URIs", url.Values{"client_id": {"genkan-dev"}, "redirect_uri": {callback, "http://evil.example/"}}, nil},
		{"and an error", params("redirect_uri", "http://evil.example/cb", "response_type", "token"), []string{"http://evil.example/cb"}},
	} {
		got := w.get("/authorize", row.query)
		if got.StatusCode != http.StatusBadRequest || got.Header.Get("Location") != "" {
			t.Errorf("%s: HTTP %d to %q", row.name, got.StatusCode, got.Header.Get("Location"))
		}
		for _, want := range row.shows {
			if !strings.Contains(got.body, want) {
				t.Errorf("%s: the page does not name %q", row.name, want)
			}
		}
	}
}

func TestBadRequestsGoBackToTheClient(t *testing.T) {
	t.Parallel()
	w := quick(t)
	twice := params()
	twice.Add("nonce", "another")
	for _, row := range []struct {
		name  string
		query url.Values
		want  string
	}{
		{"implicit", params("response_type", "id_token"), "unsupported_response_type"},
		{"no response type", params("response_type", ""), "unsupported_response_type"},
		{"hybrid", params("response_type", "code id_token"), "unsupported_response_type"},
		{"fragment", params("response_mode", "fragment"), "invalid_request"},
		{"no openid", params("scope", "profile"), "invalid_scope"},
		{"unknown scope", params("scope", "openid everything"), "invalid_scope"},
		{"no PKCE", params("code_challenge", "", "code_challenge_method", ""), "invalid_request"},
		{"plain PKCE", params("code_challenge_method", "plain"), "invalid_request"},
		{"PKCE without a method is plain", params("code_challenge_method", ""), "invalid_request"},
		{"short challenge", params("code_challenge", "abc"), "invalid_request"},
		{"prompt none and login", params("prompt", "none login"), "invalid_request"},
		{"unknown prompt", params("prompt", "maybe"), "invalid_request"},
		{"max_age", params("max_age", "-1"), "invalid_request"},
		{"nonce twice", twice, "invalid_request"},
		{"request object", params("request", "x.y."), "request_not_supported"},
		{"request_uri", params("request_uri", "urn:x"), "request_uri_not_supported"},
		{"broken hint", params("id_token_hint", "x.y.z"), "invalid_request"},
		{"lifetime 0", params("access_token_lifetime", "0"), "invalid_request"},
		{"lifetime of two days", params("access_token_lifetime", "172800"), "invalid_request"},
	} {
		base, got := w.get("/authorize", row.query).location(t)
		if base != callback || got.Get("error") != row.want || got.Get("state") != "the-state" || got.Get("iss") != w.issuer || got.Has("code") {
			t.Errorf("%s: sent to %s with %v", row.name, base, got)
		}
	}
}

func TestFormPost(t *testing.T) {
	t.Parallel()
	w := quick(t)
	page := w.get("/authorize", params("response_mode", "form_post", "state", `"><script>`))
	for _, want := range []string{`action="` + callback + `"`, `name="code"`, `name="state" value="&#34;&gt;&lt;script&gt;"`, `name="iss" value="` + w.issuer + `"`, "/assets/form_post.js"} {
		if page.StatusCode != http.StatusOK || !strings.Contains(page.body, want) {
			t.Errorf("HTTP %d without %s: %s", page.StatusCode, want, page.body)
		}
	}
}

func TestAuthorizationByPost(t *testing.T) {
	t.Parallel()
	w := quick(t)
	if _, got := w.post("/authorize", params()).location(t); !got.Has("code") || got.Get("state") != "the-state" {
		t.Errorf("got %v", got)
	}
	if n := w.idp.Stats().Authorize; n != 1 {
		t.Errorf("counted as %d requests", n)
	}
}

// A redirect after the form post must not be held up, and nothing inline may run.
func TestPagePolicy(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{})
	page := w.get("/authorize", params())
	policy := page.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "form-action") {
		t.Errorf("policy %q", policy)
	}
	for _, inline := range []string{"<style", "<script>", "style=", "onclick"} {
		if strings.Contains(page.body, inline) {
			t.Errorf("the page holds %s", inline)
		}
	}
	for path, kind := range map[string]string{"/assets/devidp.css": "text/css", "/assets/form_post.js": "text/javascript"} {
		if got := w.get(path, nil); got.StatusCode != http.StatusOK || !strings.HasPrefix(got.Header.Get("Content-Type"), kind) {
			t.Errorf("%s: HTTP %d, %s", path, got.StatusCode, got.Header.Get("Content-Type"))
		}
	}
	if got := w.get("/assets/pages.html", nil); got.StatusCode != http.StatusNotFound {
		t.Errorf("the templates are served: HTTP %d", got.StatusCode)
	}
}
