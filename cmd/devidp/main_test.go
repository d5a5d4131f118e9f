package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// launch runs devidp on free ports until the test ends, and returns the two addresses.
func launch(t *testing.T, args ...string) (provider, api string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	var stderr bytes.Buffer
	exit := make(chan int, 1)
	go func() {
		exit <- run(ctx, append([]string{"--listen", "127.0.0.1:0", "--demo-api", "--demo-api-listen", "127.0.0.1:0"}, args...), writer, &stderr)
		_ = writer.Close()
	}()
	t.Cleanup(func() {
		stop()
		select {
		case code := <-exit:
			if code != 0 {
				t.Errorf("exit status %d: %s", code, stderr.String())
			}
		case <-time.After(20 * time.Second):
			t.Error("it does not end")
		}
	})
	line, _ := bufio.NewReader(reader).ReadString('\n')
	found := regexp.MustCompile(`^devidp: listening on (http://127\.0\.0\.1:\d+), demo API on (http://127\.0\.0\.1:\d+)\n$`).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("printed %q, %s", line, stderr.String())
	}
	return found[1], found[2]
}

func fetch(t *testing.T, method, address string) (int, string) {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(r)
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

func TestServesProviderAPIAndDevEndpoints(t *testing.T) {
	t.Parallel()
	provider, api := launch(t)
	_, text := fetch(t, http.MethodGet, provider+"/.well-known/openid-configuration")
	var metadata struct{ Issuer string }
	if err := json.Unmarshal([]byte(text), &metadata); err != nil || metadata.Issuer != provider {
		t.Errorf("metadata %s", text)
	}
	if status, _ := fetch(t, http.MethodGet, api+"/hello"); status != http.StatusUnauthorized {
		t.Errorf("API: HTTP %d", status)
	}
	if status, body := fetch(t, http.MethodGet, provider+"/dev/stats"); status != http.StatusOK || !strings.Contains(body, `"discovery":1`) {
		t.Errorf("stats: HTTP %d: %s", status, body)
	}
	if status, body := fetch(t, http.MethodPost, provider+"/dev/fault?name=discovery-503"); status != http.StatusNoContent {
		t.Errorf("fault: HTTP %d: %s", status, body)
	}
	if status, _ := fetch(t, http.MethodGet, provider+"/.well-known/openid-configuration"); status != http.StatusServiceUnavailable {
		t.Errorf("after the fault: HTTP %d", status)
	}
}

func TestRegistrations(t *testing.T) {
	t.Parallel()
	provider, _ := launch(t, "--client", "second:s:e", "--client", "public", "--redirect-uri", "https://app.example/cb", "--scope", "orders.read")
	for _, row := range []struct {
		name, client, uri string
		want              int
	}{
		{"development client", "genkan-dev", "http://localhost:8000/bff/callback", 200},
		{"through Vite", "genkan-dev", "http://localhost:5173/bff/callback", 200},
		{"IPv6", "genkan-dev", "http://[::1]:8000/bff/callback", 200},
		{"added URI", "genkan-dev", "https://app.example/cb", 200},
		{"added client", "second", "http://127.0.0.1:8000/bff/callback", 200},
		{"added client and URI", "public", "https://app.example/cb", 200},
		{"unknown client", "third", "https://app.example/cb", 400},
		{"unknown URI", "second", "https://app.example/", 400},
	} {
		query := url.Values{
			"response_type": {"code"}, "client_id": {row.client}, "redirect_uri": {row.uri}, "scope": {"openid orders.read"},
			"code_challenge": {strings.Repeat("x", 43)}, "code_challenge_method": {"S256"},
		}
		if got, body := fetch(t, http.MethodGet, provider+"/authorize?"+query.Encode()); got != row.want {
			t.Errorf("%s: HTTP %d: %s", row.name, got, body)
		}
	}
}

func TestEndsAlthoughSomebodyWaits(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	t.Cleanup(func() { <-done }) // runs after the clean-up of launch, which stops devidp
	provider, _ := launch(t)
	fetch(t, http.MethodPost, provider+"/dev/fault?name=keys-slow")
	go func() {
		defer close(done)
		if response, err := http.Get(provider + "/jwks"); err == nil {
			_ = response.Body.Close()
		}
	}()
	for range 1000 {
		if _, stats := fetch(t, http.MethodGet, provider+"/dev/stats"); strings.Contains(stats, `"keys":1`) {
			return
		}
	}
	t.Error("the request does not arrive")
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name           string
		args           []string
		want           int
		stdout, stderr string
	}{
		{"help", []string{"-h"}, 0, "-listen address", ""},
		{"unknown flag", []string{"--nonsense"}, 2, "", "nonsense"},
		{"argument", []string{"serve"}, 2, "", "serve"},
		{"wrong duration", []string{"--access-lifetime", "5"}, 2, "", "access-lifetime"},
		{"no lifetime", []string{"--listen", "127.0.0.1:0", "--access-lifetime", "0.5s"}, 1, "", "lifetime"},
		{"every interface", []string{"--listen", "0.0.0.0:0"}, 1, "", "loopback"},
		{"every interface for the API", []string{"--listen", "127.0.0.1:0", "--demo-api", "--demo-api-listen", ":0"}, 1, "", "loopback"},
		{"client twice", []string{"--listen", "127.0.0.1:0", "--client", "genkan-dev:x"}, 1, "", "twice"},
	} {
		var stdout, stderr bytes.Buffer
		if got := run(t.Context(), row.args, &stdout, &stderr); got != row.want {
			t.Errorf("%s: exit status %d", row.name, got)
		}
		if !strings.Contains(stderr.String(), row.stderr) || row.stderr == "" && stderr.Len() > 0 {
			t.Errorf("%s: stderr %q", row.name, stderr.String())
		}
		if !strings.Contains(stdout.String(), row.stdout) {
			t.Errorf("%s: stdout %q", row.name, stdout.String())
		}
	}
}
