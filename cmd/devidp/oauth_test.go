package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func written(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDemandsOnClients(t *testing.T) {
	t.Parallel()
	clients := written(t, `[
		{"ID": "genkan-dev", "JWKS": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}},
		{"ID": "other", "RequirePAR": true, "RedirectURIs": ["https://app.example/cb"]}]`)
	provider, _ := launch(t, "--client-file", clients, "--dpop-nonce", "--auth-method", "private_key_jwt", "--auth-method", "none")
	_, text := fetch(t, http.MethodGet, provider+"/.well-known/openid-configuration")
	if !strings.Contains(text, `"token_endpoint_auth_methods_supported":["private_key_jwt","none"]`) || !strings.Contains(text, `"require_pushed_authorization_requests":false`) {
		t.Errorf("metadata %s", text)
	}
	query := url.Values{
		"response_type": {"code"}, "client_id": {"other"}, "redirect_uri": {"http://localhost:8000/bff/callback"}, "scope": {"openid"},
		"code_challenge": {strings.Repeat("x", 43)}, "code_challenge_method": {"S256"},
	}
	if status, body := fetch(t, http.MethodGet, provider+"/authorize?"+query.Encode()); status != http.StatusSeeOther {
		t.Errorf("a request that is not pushed: HTTP %d: %s", status, body)
	}
	response, err := http.PostForm(provider+"/token", url.Values{"client_id": {"genkan-dev"}, "client_secret": {"genkan-dev-secret"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized || response.Header.Get("DPoP-Nonce") == "" {
		t.Errorf("the secret of a client that has keys: HTTP %d, nonce %q", response.StatusCode, response.Header.Get("DPoP-Nonce"))
	}
	if _, seen := fetch(t, http.MethodGet, provider+"/dev/seen"); !strings.Contains(seen, `"Path":"/token"`) {
		t.Errorf("seen %s", seen)
	}
}

func TestEveryClientPushes(t *testing.T) {
	t.Parallel()
	provider, _ := launch(t, "--require-par")
	if _, text := fetch(t, http.MethodGet, provider+"/.well-known/openid-configuration"); !strings.Contains(text, `"require_pushed_authorization_requests":true`) {
		t.Errorf("metadata %s", text)
	}
}

func TestSecondListener(t *testing.T) {
	t.Parallel()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	provider, _ := launch(t, "--mtls-listen", "127.0.0.1:0", "--mtls-ca", ca)
	_, text := fetch(t, http.MethodGet, provider+"/.well-known/openid-configuration")
	var metadata struct {
		Aliases map[string]string `json:"mtls_endpoint_aliases"`
	}
	if err := json.Unmarshal([]byte(text), &metadata); err != nil || !strings.HasPrefix(metadata.Aliases["token_endpoint"], "https://127.0.0.1:") {
		t.Fatalf("metadata %s", text)
	}
	data, err := os.ReadFile(ca)
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(data) {
		t.Fatalf("%v: %s", err, data)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	response, err := client.PostForm(metadata.Aliases["token_endpoint"], url.Values{"client_id": {"genkan-dev"}, "client_secret": {"x"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("HTTP %d", response.StatusCode)
	}
	dev, err := client.Get(strings.Replace(metadata.Aliases["token_endpoint"], "/token", "/dev/issued", 1))
	if err != nil {
		t.Fatal(err)
	}
	_ = dev.Body.Close()
	if dev.StatusCode != http.StatusNotFound {
		t.Errorf("/dev/issued: HTTP %d", dev.StatusCode)
	}
}

func TestUsageOfDemands(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		args   []string
		want   int
		stderr string
	}{
		{"unknown method", []string{"--listen", "127.0.0.1:0", "--auth-method", "x"}, 1, "unknown method"},
		{"no file of clients", []string{"--client-file", "/nowhere"}, 2, "client-file"},
		{"unknown field", []string{"--client-file", written(t, `[{"Id": "x", "Colour": "red"}]`)}, 2, "Colour"},
		{"broken keys", []string{"--listen", "127.0.0.1:0", "--client-file", written(t, `[{"ID": "x", "JWKS": {}}]`)}, 1, "JWKS"},
		{"no authority", []string{"--mtls-client-ca", written(t, "x")}, 2, "PEM"},
		{"TLS without a file", []string{"--listen", "127.0.0.1:0", "--mtls-listen", "127.0.0.1:0"}, 1, "--mtls-ca"},
		{"TLS on every interface", []string{"--listen", "127.0.0.1:0", "--mtls-listen", ":0", "--mtls-ca", filepath.Join(t.TempDir(), "ca")}, 1, "loopback"},
	} {
		var stdout, stderr bytes.Buffer
		if got := run(t.Context(), row.args, &stdout, &stderr); got != row.want || !strings.Contains(stderr.String(), row.stderr) {
			t.Errorf("%s: exit status %d, %s", row.name, got, stderr.String())
		}
	}
}
