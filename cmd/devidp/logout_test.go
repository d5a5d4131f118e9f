package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

func TestWhatGenkanDevHasRegistered(t *testing.T) {
	t.Parallel()
	const nobody = "http://127.0.0.1:1/gtr" // where nothing listens
	provider, _ := launch(t, "--global-revocation-uri", nobody, "--initiate-login-uri", "http://localhost:8000/bff/login")
	status, body := fetch(t, http.MethodPost, provider+"/dev/revoke-all?sub=x")
	if status != http.StatusOK || !strings.HasPrefix(body, `[{"client":"genkan-dev","uri":"`+nobody+`","status":0,"error":`) {
		t.Errorf("revocation: HTTP %d %s", status, body)
	}
	if status, body := fetch(t, http.MethodGet, provider+"/dev/initiate?client=genkan-dev"); status != http.StatusFound || !strings.Contains(body, "http://localhost:8000/bff/login?iss=") {
		t.Errorf("initiated sign-in: HTTP %d %s", status, body)
	}
	if status, body := fetch(t, http.MethodPost, provider+"/dev/logout?sub=x"); status != http.StatusOK || body != "[]\n" {
		t.Errorf("logout: HTTP %d %s", status, body)
	}
	var stdout, stderr bytes.Buffer
	if got := run(t.Context(), []string{"--listen", "127.0.0.1:0", "--id-token-alg", "none"}, &stdout, &stderr); got != 1 || !strings.Contains(stderr.String(), "none") {
		t.Errorf("exit status %d: %s", got, stderr.String())
	}
}
