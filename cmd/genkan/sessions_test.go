package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/server"
	"genkan/internal/session"
)

// TestSessionScripts runs the commands against real admin listeners: OPEN_URL is one
// without a token, TOKEN_URL one with, WRONG_URL and JSON_URL are something else.
func TestSessionScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/sessions",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			for name, h := range map[string]http.Handler{
				"OPEN": genkanWithSessions(t, ""), "TOKEN": genkanWithSessions(t, "a-long-token-canary-of-32-letters"),
				"WRONG": http.RedirectHandler("http://evil.example/", http.StatusFound),
				"JSON":  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }),
			} {
				s := httptest.NewServer(h)
				env.Defer(s.Close)
				env.Setenv(name+"_URL", s.URL)
				env.Setenv(name+"_ADDRESS", strings.TrimPrefix(s.URL, "http://"))
				_, port, _ := strings.Cut(env.Getenv(name+"_ADDRESS"), ":")
				env.Setenv(name+"_PORT", port)
			}
			return nil
		},
	})
}

// genkanWithSessions is the admin listener of a Genkan where alice is signed in twice,
// and somebody whose name drives terminals once.
func genkanWithSessions(t *testing.T, token string) http.Handler {
	t.Helper()
	public, err := origin.Parse("http://localhost:8000")
	if err != nil {
		t.Fatal(err)
	}
	policy, found := origin.New(origin.Config{PublicURLs: []origin.Origin{public}})
	if policy == nil {
		t.Fatal(found)
	}
	ring, err := keys.Parse([]keys.Secret{keys.NewSecret(keys.Generate())})
	if err != nil {
		t.Fatal(err)
	}
	sessions := session.New(session.Config{
		Store: session.NewMemory(time.Now), Ring: ring, Deployment: "http://localhost:8000", Providers: map[string]session.Provider{"idp": silent{}},
	})
	for _, subject := range []string{"alice", "alice", "bob\x1b[31m\u202eevil\tcell\n\u009b2J"} {
		r := origin.WithSite(httptest.NewRequest(http.MethodGet, "http://localhost:8000/", nil), policy.Canonical())
		_, err := sessions.Start(httptest.NewRecorder(), r, session.SignIn{
			Provider: "idp", Agent: "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", Address: "192.0.2.1",
			Grant: rp.Grant{Tokens: rp.Tokens{Access: keys.NewSecret("access-canary"), Refresh: keys.NewSecret("refresh-canary"), Expiry: time.Now().Add(time.Hour)},
				Identity: rp.Identity{Subject: subject}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := server.New(server.Config{Policy: policy, Sessions: sessions, Ring: ring, AdminToken: keys.NewSecret(token)})
	if err != nil {
		t.Fatal(err)
	}
	return s.Admin()
}

// silent is a provider that renews nothing.
type silent struct{}

func (silent) Refresh(context.Context, rp.Grant) (rp.Grant, error) { return rp.Grant{}, nil }

func (silent) Revoke(context.Context, keys.Secret, string) error { return nil }

func TestWhereTheAdminListenerIs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, listen, want string }{
		{"", "localhost:8001", "http://localhost:8001"},
		{"", ":8001", "http://127.0.0.1:8001"},
		{"", "0.0.0.0:8001", "http://127.0.0.1:8001"},
		{"", "[::]:8001", "http://[::1]:8001"},
		{"", "[::1]:9", "http://[::1]:9"},
		{"", "10.0.0.5:8001", "http://10.0.0.5:8001"},
		{"https://admin.internal/genkan", "localhost:8001", "https://admin.internal/genkan"},
		{"admin.internal:8001", "", ""}, {"ftp://x", "", ""}, {"http://", "", ""}, {"http://u:p@x", "", ""}, {"http://x?y", "", ""}, {"file:///etc", "", ""},
	} {
		got, err := adminURL(tt.url, tt.listen)
		if (err != nil) != (tt.want == "") || err == nil && got.String() != tt.want {
			t.Errorf("%q, %q: %v %v, want %q", tt.url, tt.listen, got, err, tt.want)
		}
	}
}
