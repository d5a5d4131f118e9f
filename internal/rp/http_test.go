package rp

import (
	"bufio"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hang answers nothing until the caller gives up.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestEveryWaitIsBounded(t *testing.T) {
	rows := map[string]func(*provider, *Client, Grant) error{
		wellKnown: func(p *provider, c *Client, _ Grant) error { return c.Warm(p.t.Context()) },
		"/token":  func(p *provider, c *Client, g Grant) error { _, err := c.Refresh(p.t.Context(), g); return err },
		"/keys": func(p *provider, c *Client, _ Grant) error {
			_, err := c.keys.verify(p.t.Context(), sign(p.t, otherRSA(), "RS256", "k2", nil, p.claims), c.keys.ours.pay)
			return err
		},
		"/revoke":   func(p *provider, c *Client, g Grant) error { return c.Revoke(p.t.Context(), g.Tokens.Access, "") },
		"/userinfo": func(p *provider, c *Client, _ Grant) error { _, err := p.signIn(c); return err },
	}
	for path, act := range rows {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(t)
				c := p.client(func(cfg *Config) { cfg.Timeout, cfg.UserInfo = 7*time.Second, UserInfoOn })
				grant := p.mustSignIn(c)
				p.advance(61 * time.Minute) // the metadata is to be fetched anew
				p.claims = with(p.claims, object{"iat": at(time.Hour), "exp": at(2 * time.Hour), "nonce": nil})
				if path == wellKnown {
					c = p.client(func(cfg *Config) { cfg.Timeout = 7 * time.Second })
				}
				p.answers(path, hang)
				before := time.Now()
				err := act(p, c, grant)
				if took := time.Since(before); took != 7*time.Second {
					t.Errorf("took %v, want 7s", took)
				}
				wantError(t, err, Fault, "provider_unavailable", "unreachable")
				if !errors.Is(err, context.DeadlineExceeded) || !strings.HasSuffix(err.Error(), ": no answer in time") {
					t.Errorf("%v is no time-out", err)
				}
			})
		})
	}
}

func TestCallerThatGivesUpLeavesTheFetchToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t)
		p.answers(wellKnown, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Second) // of the bubble
			reply(w, http.StatusOK, p.metadata)
		})
		c := p.client()
		patient := make(chan error, 1)
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { patient <- c.Warm(t.Context()) }()
		if err := c.Warm(hasty); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the hasty one got %v", err)
		}
		if err := <-patient; err != nil {
			t.Errorf("the patient one got %v", err)
		}
		if n := p.count(wellKnown); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
}

// serve runs p on a real socket with TLS.
func serve(t *testing.T, p *provider) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.usual(nil)(w, r) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	p.issuer = server.URL
	for name, value := range p.metadata {
		p.metadata[name] = strings.Replace(value.(string), issuer, server.URL, 1)
	}
	return server
}

// TestCertificatesAreChecked: 89.
func TestCertificatesAreChecked(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	server := serve(t, p)
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	direct := func(file string) func(*Config) {
		return func(c *Config) { c.Transport, c.CAFile = nil, file }
	}
	err := p.client(direct("")).Warm(t.Context())
	wantError(t, err, Fault, "provider_unavailable", "unreachable")
	if !strings.Contains(err.Error(), "x509") {
		t.Errorf("error does not name the cause: %v", err)
	}
	if err := p.client(direct(caFile)).Warm(t.Context()); err != nil {
		t.Errorf("with its CA: %v", err)
	}
}

func TestCAFileMustHoldACertificate(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".missing"} {
		if _, err := New(Config{ID: "a", Issuer: issuer, ClientID: "c", CAFile: file}); err == nil || !strings.HasPrefix(err.Error(), "ca_file: ") {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}

// TestErrorsQuoteNothingOfThePeer speaks something that is not HTTP: net/http puts it
// into its errors.
func TestErrorsQuoteNothingOfThePeer(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"CANARY CANARY\r\n\r\n", "HTTP/1.1 CANARY OK\r\n\r\n", "HTTP/1.1 200 OK\r\nCANARY\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: CANARY\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: CANARY\r\n\r\n"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = conn.Write([]byte(line))
		}()
		p := newProvider(t)
		p.issuer = "http://" + listener.Addr().String()
		err = p.client(func(c *Config) { c.Transport = nil }).Warm(t.Context())
		wantError(t, err, Fault, "provider_unavailable", "unreachable")
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Huge", strings.Repeat("CANARY", 20_000))
	}))
	t.Cleanup(server.Close)
	p := newProvider(t)
	p.issuer = server.URL
	err := p.client(func(c *Config) { c.Transport = nil }).Warm(t.Context())
	wantError(t, err, Fault, "provider_unavailable", "unreachable")
}

// TestSecretsAreInNoAddress: 37 and 70, over a whole life.
func TestSecretsAreInNoAddress(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(func(cfg *Config) { cfg.UserInfo, cfg.ClientAuth = UserInfoOn, AuthPost })
	grant := p.mustSignIn(c)
	if _, err := c.Refresh(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	if err := c.Revoke(t.Context(), grant.Tokens.Refresh, "refresh_token"); err != nil {
		t.Fatal(err)
	}
	for _, call := range p.calls {
		if len(call.query) != 0 {
			t.Errorf("%s %s has the query %v", call.method, call.path, call.query)
		}
	}
	if u, _ := p.begin(c, AuthRequest{}); strings.Contains(u.String(), url.QueryEscape("secret")) {
		t.Errorf("the secret is in %s", u)
	}
}
