package app_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"genkan/internal/app"
	"genkan/internal/config"
	"genkan/internal/keys"
)

const testKey = "rv6wWm8XcXWn2hIE5wDmjcPLGzO0uxBTtJ7o5ZrJ0pQ="

// settings are those of a whole program on free ports, as an operator gives them.
func settings(t *testing.T, public, admin int, more ...string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	c, found := config.Load(config.Sources{Dir: dir, Environ: append([]string{
		fmt.Sprintf("GENKAN_LISTEN=localhost:%d", public),
		fmt.Sprintf("GENKAN_ADMIN_LISTEN=localhost:%d", admin),
		fmt.Sprintf("GENKAN_PUBLIC_URLS=http://localhost:%d", public),
		"GENKAN_SESSION_KEYS=" + testKey,
		"GENKAN_SESSION_STORE=sqlite:" + filepath.Join(dir, "sessions.db"),
		"GENKAN_OIDC_ISSUER=http://127.0.0.1:1", "GENKAN_OIDC_CLIENT_ID=genkan", "GENKAN_OIDC_CLIENT_SECRET=secret",
	}, more...)})
	if found.Failed() {
		t.Fatal(found)
	}
	return c
}

// freePort is one that was free on both loopback families a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	for range 20 {
		v4, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := v4.Addr().(*net.TCPAddr).Port
		v6, err := net.Listen("tcp6", fmt.Sprintf("[::1]:%d", port))
		_ = v4.Close()
		if err == nil {
			_ = v6.Close()
			return port
		}
	}
	t.Fatal("no port is free on both families")
	return 0
}

// run starts the program and waits until its admin listener answers.
func run(t *testing.T, c *config.Config) (stop func() error) {
	t.Helper()
	a, err := app.New(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() { cancel(); _ = a.Close() })
	deadline := time.Now().Add(20 * time.Second)
	for {
		select {
		case err := <-ended:
			t.Fatalf("it ended at once: %v", err)
		default:
		}
		if r, err := http.Get("http://" + c.Server.AdminListen + "/readyz"); err == nil {
			_ = r.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it never got ready")
		}
	}
	return func() error { cancel(); return <-ended }
}

func TestLocalhostIsBothLoopbackFamilies(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	stop := run(t, settings(t, port, freePort(t)))
	for _, address := range []string{"127.0.0.1", "[::1]"} {
		r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s:%d/bff/session", address, port), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = fmt.Sprintf("localhost:%d", port)
		r.Header.Set("X-CSRF", "1")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 || !strings.Contains(string(body), `"authenticated":false`) {
			t.Errorf("%s: %d %s", address, resp.StatusCode, body)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("an orderly stop: %v", err)
	}
}

func TestAPortInUseOnEitherFamilyIsAnError(t *testing.T) {
	t.Parallel()
	for _, family := range []struct{ network, host string }{{"tcp4", "127.0.0.1"}, {"tcp6", "[::1]"}} {
		port := freePort(t)
		other, err := net.Listen(family.network, fmt.Sprintf("%s:%d", family.host, port))
		if err != nil {
			t.Fatal(err)
		}
		a, err := app.New(t.Context(), settings(t, port, freePort(t)), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "server.listen") || !strings.Contains(err.Error(), "fix: ") {
			t.Errorf("%s taken: %v, want an error that names server.listen and the fix", family.host, err)
		}
		_, _ = other.Close(), a.Close()
	}
}

func TestRequestsUnderWayFinishAtAStop(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	upstream, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = w.Write([]byte("whole"))
	})}
	go func() { _ = slow.Serve(upstream) }()
	t.Cleanup(func() { _ = slow.Close() })
	port := freePort(t)
	file := filepath.Join(t.TempDir(), "genkan.yaml")
	write(t, file, "upstreams:\n  - path: /api/\n    url: http://"+upstream.Addr().String()+"/\n    auth: none\n    token: none\n")
	c := settingsWith(t, port, freePort(t), file)
	stop := run(t, c)
	answer := make(chan string, 1)
	go func() {
		r, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("http://localhost:%d/api/slow", port), nil)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			answer <- err.Error()
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		answer <- string(body)
	}()
	<-arrived
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	close(release)
	if got := <-answer; got != "whole" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAPersonWhoOpensAnAPIGetsAPageAndAProgramAProblem(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	file := filepath.Join(t.TempDir(), "genkan.yaml")
	write(t, file, "upstreams:\n  - path: /api/\n    url: http://127.0.0.1:1/\n    auth: none\n    token: none\n")
	run(t, settingsWith(t, port, freePort(t), file))
	for _, tt := range []struct {
		name    string
		headers map[string]string
		status  int
		kind    string
		word    string
	}{
		{"typed into the address bar", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 403, "text/html; charset=utf-8", "navigate: true"},
		{"called", map[string]string{"Sec-Fetch-Mode": "cors"}, 502, "application/problem+json", `"code":"upstream_unavailable"`},
	} {
		r, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("http://localhost:%d/api/x", port), nil)
		for name, value := range tt.headers {
			r.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != tt.status || resp.Header.Get("Content-Type") != tt.kind || !strings.Contains(string(body), tt.word) {
			t.Errorf("%s: %d %q %.300s", tt.name, resp.StatusCode, resp.Header.Get("Content-Type"), body)
		}
	}
}

func TestWhatCannotBeBuiltIsAnErrorThatNamesTheSetting(t *testing.T) {
	t.Parallel()
	c := settings(t, 8000, 8001)
	c.Session.Store = keys.NewSecret("sqlite:" + t.TempDir()) // a folder
	if _, err := app.New(t.Context(), c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "session.store") {
		t.Errorf("%v, want an error that names session.store", err)
	}
	c = settings(t, 8000, 8001)
	c.SPADir = filepath.Join(t.TempDir(), "none")
	if _, err := app.New(t.Context(), c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "spa.dir") {
		t.Errorf("%v, want an error that names spa.dir", err)
	}
}

func settingsWith(t *testing.T, public, admin int, file string) *config.Config {
	t.Helper()
	c, found := config.Load(config.Sources{Dir: t.TempDir(), Files: []string{file}, Environ: []string{
		fmt.Sprintf("GENKAN_LISTEN=localhost:%d", public), fmt.Sprintf("GENKAN_ADMIN_LISTEN=localhost:%d", admin),
		fmt.Sprintf("GENKAN_PUBLIC_URLS=http://localhost:%d", public),
		"GENKAN_SESSION_KEYS=" + testKey, "GENKAN_SESSION_STORE=memory:",
		"GENKAN_OIDC_ISSUER=http://127.0.0.1:1", "GENKAN_OIDC_CLIENT_ID=genkan", "GENKAN_OIDC_CLIENT_SECRET=secret",
	}})
	if found.Failed() {
		t.Fatal(found)
	}
	return c
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
