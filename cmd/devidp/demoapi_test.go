package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// notary is a server that signs assertions, as Genkan does, and publishes its key where
// Genkan does.
func notary(t *testing.T) (issuer string, assertion func(audience string) string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"keys":[{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"k","x":%q,"y":%q}]}`, text(point[1:33]), text(point[33:]))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, func(audience string) string {
		claims := fmt.Sprintf(`{"iss":%q,"sub":"the-user","aud":%q,"exp":%d}`, server.URL, audience, time.Now().Add(time.Minute).Unix())
		input := text([]byte(`{"alg":"ES256","typ":"JWT","kid":"k"}`)) + "." + text([]byte(claims))
		sum := sha256.Sum256([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + text(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	}
}

func withToken(t *testing.T, address, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// ask sends a form to the provider as genkan-dev.
func ask(t *testing.T, address string, form url.Values) map[string]any {
	t.Helper()
	form.Set("client_id", "genkan-dev")
	form.Set("client_secret", "genkan-dev-secret")
	response, err := http.PostForm(address, form)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body
}

// Each path of the demo API takes one kind of token.
func TestDemoAPIOfAssertions(t *testing.T) {
	t.Parallel()
	genkan, assertion := notary(t)
	provider, api := launch(t, "--demo-api-assertions", genkan, "--demo-api-assertion-audience", "/api/who/")
	access, _ := ask(t, provider+"/token", url.Values{"grant_type": {"client_credentials"}})["access_token"].(string)
	for _, row := range []struct {
		name, path, token string
		status            int
		want              string
	}{
		{"assertion", "/assertion/claims", assertion("/api/who/"), 200, `"kind":"assertion"`},
		{"for another path", "/assertion/claims", assertion("/api/else/"), 401, "another audience"},
		{"assertion where tokens belong", "/claims", assertion("http://127.0.0.1:9100"), 401, "not an access token"},
		{"token", "/claims", access, 200, `"kind":"access_token"`},
		{"token where assertions belong", "/assertion/claims", access, 401, "known algorithm"},
		{"no token", "/assertion/hello", "", 401, "no access token"},
	} {
		if status, body := withToken(t, api+row.path, row.token); status != row.status || !strings.Contains(body, row.want) {
			t.Errorf("%s: HTTP %d: %s", row.name, status, body)
		}
	}
}

func TestAssertionsHaveTheAudienceOfTheAPI(t *testing.T) {
	t.Parallel()
	genkan, assertion := notary(t)
	_, api := launch(t, "--demo-api-assertions", genkan, "--audience", "api://demo")
	if status, body := withToken(t, api+"/assertion/hello", assertion("api://demo")); status != http.StatusOK {
		t.Errorf("HTTP %d: %s", status, body)
	}
}

func TestTargetsAndOpaqueTokens(t *testing.T) {
	t.Parallel()
	provider, _ := launch(t, "--target", "orders", "--opaque-access-tokens", "--audience", "api://demo", "--client-audience", "api://mine", "--target", "api://mine", "--client", "robot:robot-secret")
	// What is for genkan-dev's audiences is its to introspect, whoever got it.
	for audience, want := range map[string]bool{"orders": false, "api://demo": true, "api://mine": true} {
		form := url.Values{"grant_type": {"client_credentials"}, "audience": {audience}, "client_id": {"robot"}, "client_secret": {"robot-secret"}}
		response, err := http.PostForm(provider+"/token", form)
		if err != nil {
			t.Fatal(err)
		}
		var body map[string]any
		err = json.NewDecoder(response.Body).Decode(&body)
		_ = response.Body.Close()
		token, _ := body["access_token"].(string)
		if err != nil || token == "" {
			t.Fatalf("%s: HTTP %d: %v", audience, response.StatusCode, body)
		}
		if got := ask(t, provider+"/introspect", url.Values{"token": {token}}); got["active"] != want {
			t.Errorf("%s: %v", audience, got)
		}
	}
	own, _ := ask(t, provider+"/token", url.Values{"grant_type": {"client_credentials"}, "audience": {"orders"}})["access_token"].(string)
	if own == "" || strings.Contains(own, ".") {
		t.Errorf("%q is not opaque", own)
	}
	if got := ask(t, provider+"/introspect", url.Values{"token": {own}}); got["active"] != true || got["aud"] != "orders" {
		t.Errorf("own: %v", got)
	}
	exchange := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {own}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
	}
	if got := ask(t, provider+"/token", exchange); got["access_token"] == nil {
		t.Errorf("exchange: %v", got)
	}
}

func TestTokenExchangeCanBeOff(t *testing.T) {
	t.Parallel()
	provider, _ := launch(t, "--token-exchange=false")
	got := ask(t, provider+"/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}})
	if got["error"] != "unauthorized_client" {
		t.Errorf("%v", got)
	}
}

func TestHelpOfTheDemoAPI(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	run(t.Context(), []string{"-h"}, &stdout, &stderr)
	for _, flag := range []string{"-demo-api-assertions URL", "-demo-api-assertion-audience aud", "-target audience", "-opaque-access-tokens", "-client-audience audience", "-token-exchange"} {
		if !strings.Contains(stdout.String(), flag) {
			t.Errorf("the help lacks %s", flag)
		}
	}
}
