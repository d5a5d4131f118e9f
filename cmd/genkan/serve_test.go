package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// genkan starts this binary as TestMain's command of that name.
func genkan(t *testing.T, dir, command string, environ ...string) (p *exec.Cmd, await func(text string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	p = exec.CommandContext(ctx, os.Args[0], command)
	p.Args[0], p.Dir = "genkan", dir
	p.Env = append([]string{
		"GENKAN_LISTEN=localhost:0", "GENKAN_ADMIN_LISTEN=localhost:0", "GENKAN_SESSION_STORE=memory:", "GENKAN_SPA_DIR=off", "GENKAN_LOG_FORMAT=text",
	}, environ...)
	out, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	lines := bufio.NewScanner(out)
	return p, func(text string) {
		t.Helper()
		for lines.Scan() {
			t.Log(lines.Text())
			if strings.Contains(lines.Text(), text) {
				return
			}
		}
		t.Fatalf("it ended without saying %q", text)
	}
}

func send(t *testing.T, p *exec.Cmd, s os.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

const (
	oldKey = "zaQrMCw2YHQsEfJLWTRFKk9Cuw2dzv3uHThnzbJpr80="
	newKey = "Hx0P1rXhMYwLlJwq6bH1rzjwB8CZ1ZlZCf9qJgk3u3I="
)

func TestHangUpReadsTheKeysAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "keys"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(oldKey)
	p, await := genkan(t, dir, "serve", "GENKAN_SESSION_KEYS_FILE=keys",
		"GENKAN_OIDC_ISSUER=https://idp.example", "GENKAN_OIDC_CLIENT_ID=app", "GENKAN_OIDC_CLIENT_SECRET=secret")
	await("ready")
	send(t, p, syscall.SIGHUP)
	await("nothing has changed")
	write(newKey + "\n" + oldKey)
	send(t, p, syscall.SIGHUP)
	await("session keys read again")
	write("canary")
	send(t, p, syscall.SIGHUP)
	await("finding=GK302")
	send(t, p, syscall.SIGTERM)
	await("stopping")
	finish(t, p)
}

func TestHangUpIsIgnoredWhenTheKeysCannotChange(t *testing.T) {
	t.Parallel()
	p, await := genkan(t, t.TempDir(), "serve", "GENKAN_SESSION_KEYS="+oldKey,
		"GENKAN_OIDC_ISSUER=https://idp.example", "GENKAN_OIDC_CLIENT_ID=app", "GENKAN_OIDC_CLIENT_SECRET=secret")
	await("ready")
	send(t, p, syscall.SIGHUP)
	await("they are in the environment")
	send(t, p, syscall.SIGTERM)
	await("stopping")
	finish(t, p)
}

func TestHangUpEndsDevelopment(t *testing.T) {
	t.Parallel()
	p, await := genkan(t, t.TempDir(), "dev")
	await("ready")
	send(t, p, syscall.SIGHUP)
	await("stopping")
	finish(t, p)
}

func finish(t *testing.T, p *exec.Cmd) {
	t.Helper()
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}
