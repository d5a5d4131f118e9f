package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"
)

func TestAUserHasNoMoreSessionsThanTheSettingAllows(t *testing.T) {
	t.Parallel()
	port, admin := freePort(t), freePort(t)
	stop := run(t, settings(t, port, admin, "GENKAN_OIDC_ISSUER="+newProvider(t, port).issuer, "GENKAN_SESSION_MAX_PER_USER=2"))
	get := func(client *http.Client, target string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return string(body)
	}
	for _, want := range []int{1, 2, 2} {
		jar, _ := cookiejar.New(nil)
		browser := &http.Client{Jar: jar}
		get(browser, fmt.Sprintf("http://localhost:%d/bff/login", port))
		list := get(http.DefaultClient, fmt.Sprintf("http://localhost:%d/admin/sessions", admin))
		if got := strings.Count(list, `"subject":"dev-user-alice-7f3a"`); got != want {
			t.Errorf("%d sessions, want %d: %s", got, want, list)
		}
		browser.CloseIdleConnections()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestAStopDoesNotWaitForStreamsOfEvents, and administration has its token.
func TestAStopDoesNotWaitForStreamsOfEvents(t *testing.T) {
	t.Parallel()
	port, admin := freePort(t), freePort(t)
	const token = "administration-token-0123456789"
	stop := run(t, settings(t, port, admin, "GENKAN_OIDC_ISSUER="+newProvider(t, port).issuer, "GENKAN_ADMIN_TOKEN="+token))
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar}
	t.Cleanup(browser.CloseIdleConnections)
	call := func(method, target, header string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
		res, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
	base := fmt.Sprintf("http://localhost:%d", port)
	call(http.MethodGet, base+"/bff/login", "Sec-Fetch-Mode: navigate")
	sessions := fmt.Sprintf("http://localhost:%d/admin/sessions", admin)
	if res := call(http.MethodGet, sessions, "Accept: application/json"); res.StatusCode != 401 {
		t.Errorf("without the token: %d", res.StatusCode)
	}
	list, _ := io.ReadAll(call(http.MethodGet, sessions, "Authorization: Bearer "+token).Body)
	if strings.Count(string(list), `"subject":"dev-user-alice-7f3a"`) != 1 {
		t.Errorf("%s", list)
	}
	res := call(http.MethodGet, base+"/bff/events", "X-CSRF: 1")
	in := bufio.NewReader(res.Body)
	if line, err := in.ReadString('\n'); res.StatusCode != 200 || !strings.HasPrefix(line, "retry: ") {
		t.Fatal(res.Status, line, err)
	}
	began := time.Now()
	if err := stop(); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("it stopped after %s: %v", time.Since(began), err)
	}
	if _, err := io.ReadAll(in); err != nil {
		t.Error(err)
	}
}
