package rp

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestDiscoveryAddress(t *testing.T) {
	t.Parallel()
	for configured, want := range map[string]string{
		"https://idp.example":                  "/.well-known/openid-configuration",
		"https://idp.example/":                 "/.well-known/openid-configuration",
		"https://idp.example/oauth2/default":   "/oauth2/default/.well-known/openid-configuration",
		"https://idp.example/realms/x/":        "/realms/x/.well-known/openid-configuration",
		"https://idp.example/realms/two//":     "/realms/two//.well-known/openid-configuration",
		"https://idp.example:8443/a%2Fb/issue": "/a/b/issue/.well-known/openid-configuration", // decoded by net/url
	} {
		p := newProvider(t)
		p.issuer, p.metadata["issuer"] = configured, configured
		p.answers(want, func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, p.metadata) })
		if err := p.client().Warm(t.Context()); err != nil {
			t.Errorf("%s: %v", configured, err)
		}
		if p.count(want) != 1 {
			t.Errorf("%s: asked %v", configured, p.calls)
		}
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		change object // nil removes a member
		says   string // part of the error; empty: accepted
	}{
		{"complete", nil, ""},
		{"91 the least there can be", object{"userinfo_endpoint": nil, "end_session_endpoint": nil, "revocation_endpoint": nil}, ""},
		{"91 unknown members", object{"x": object{"y": nil}, "mtls_endpoint_aliases": object{"x": 7}}, ""},
		{"86 another issuer", object{"issuer": issuer + "INVALID"}, "of issuer 'https://idp.exampleINVALID'"},
		{"86 a trailing slash", object{"issuer": issuer + "/"}, "differ by a trailing slash"},
		{"86 another host", object{"issuer": "https://evil.example"}, "of issuer"},
		{"92 no issuer", object{"issuer": nil}, "of issuer ''"},
		{"92 no authorization_endpoint", object{"authorization_endpoint": nil}, "authorization_endpoint is missing"},
		{"92 no token_endpoint", object{"token_endpoint": nil}, "token_endpoint is missing"},
		{"92 no jwks_uri", object{"jwks_uri": nil}, "jwks_uri is missing"},
		{"88 token_endpoint on http", object{"token_endpoint": "http://idp.example/token"}, "token_endpoint is not https"},
		{"88 jwks_uri on http", object{"jwks_uri": "http://idp.example/keys"}, "jwks_uri is not https"},
		{"88 userinfo_endpoint on http", object{"userinfo_endpoint": "http://idp.example/u"}, "userinfo_endpoint is not https"},
		{"88 end_session_endpoint by script", object{"end_session_endpoint": "javascript:alert(1)"}, "end_session_endpoint is not an absolute URL"},
		{"90 our own loopback", object{"jwks_uri": "http://127.0.0.1:8001/admin"}, "jwks_uri is not https"},
		{"a relative endpoint", object{"token_endpoint": "/token"}, "token_endpoint is not an absolute URL"},
		{"an endpoint with a fragment", object{"authorization_endpoint": issuer + "/a#b"}, "authorization_endpoint holds"},
		{"an endpoint with a user name", object{"authorization_endpoint": "https://idp.example@evil.example/"}, "authorization_endpoint holds"},
		{"a member of another type", object{"token_endpoint": []string{"x"}}, "another type"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.metadata = with(p.metadata, row.change)
			_, _, err := p.client().Begin(t.Context(), AuthRequest{RedirectURI: redirect, State: state})
			if row.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, Misconfigured, "provider_metadata", "metadata")
			if !strings.Contains(err.Error(), row.says) {
				t.Errorf("error is %q, want %q in it", err, row.says)
			}
		})
	}
}

func TestDiscoveryAnswers(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name    string
		answer  http.HandlerFunc
		kind    Kind
		finding string
		code    string
	}{
		{"HTML", text(200, "text/html", "<html>CANARY"), Misconfigured, "provider_metadata", "metadata"},
		{"truncated", text(200, "application/json", `{"issuer":"CANARY`), Misconfigured, "provider_metadata", "metadata"},
		{"null", text(200, "application/json", `null`), Misconfigured, "provider_metadata", "metadata"},
		{"not found", text(404, "text/html", "CANARY"), Misconfigured, "provider_metadata", "status"},
		{"down", text(503, "text/html", "CANARY"), Fault, "provider_unavailable", "status"},
		{"overloaded", text(429, "text/html", "CANARY"), Fault, "provider_unavailable", "status"},
		{"no content", text(204, "", ""), Fault, "provider_unavailable", "status"},
		{"larger than 1 MiB", text(200, "application/json", `{"x":"`+strings.Repeat("a", 1<<20)+`"}`), Fault, "provider_unavailable", "too_large"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.answers(wellKnown, row.answer)
			wantError(t, p.client().Warm(t.Context()), row.kind, row.finding, row.code)
		})
	}
}

// TestRedirects: 90. Only a GET that stays on its origin is followed.
func TestRedirects(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name, to string
		status   int
		ok       bool
	}{
		{"to a trailing slash", wellKnown + "/", 301, true},
		{"to the same origin in full", issuer + wellKnown + "/", 308, true},
		{"to a metadata service", "http://169.254.169.254/", 302, false},
		{"to plain http", "http://idp.example" + wellKnown + "/", 302, false},
		{"to another port", "https://idp.example:8443" + wellKnown + "/", 302, false},
		{"to another host", "https://evil.example" + wellKnown + "/", 307, false},
		{"to a file", "file:///etc/passwd", 302, false},
		{"to itself for ever", wellKnown, 302, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.answers(wellKnown, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", row.to)
				w.WriteHeader(row.status)
			})
			p.answers(wellKnown+"/", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, p.metadata) })
			err := p.client().Warm(t.Context())
			if row.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, Fault, "provider_unavailable", "status")
			if n := len(p.calls); n > 4 || n != p.count(wellKnown) {
				t.Errorf("asked %d times: %v", n, p.calls)
			}
		})
	}
}

func TestPostIsNeverRedirected(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		p := newProvider(t)
		p.answers("/token", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", issuer+"/elsewhere")
			w.WriteHeader(status)
		})
		_, err := p.signIn(p.client())
		if e, ok := err.(*Error); !ok || e.Kind != Fault || e.Status != status {
			t.Errorf("%d: %v", status, err)
		}
		if p.count("/elsewhere") != 0 || p.count("/token") != 1 {
			t.Errorf("%d: asked %v", status, p.calls)
		}
	}
}

func TestDiscoveryIsLazyRetriedAndCached(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	if n := len(p.calls); n != 0 {
		t.Fatalf("New asked %d times", n)
	}
	p.answers(wellKnown, text(http.StatusServiceUnavailable, "", ""))
	warm := func() error { return c.Warm(t.Context()) }
	steps := []struct {
		name    string
		wait    time.Duration
		up      bool
		fetches int
		ok      bool
	}{
		{"down", 0, false, 1, false},
		{"down, asked again at once", 0, false, 1, false},
		{"down, a second later", time.Second, false, 2, false},
		{"up, within the pause", 900 * time.Millisecond, true, 2, false},
		{"up, after the pause", 200 * time.Millisecond, true, 3, true},
		{"cached", 59 * time.Minute, true, 3, true},
		{"an hour old, and down", 2 * time.Minute, false, 4, true},
		{"down for ten minutes", 10 * time.Minute, false, 5, true},
		{"up again", time.Minute, true, 6, true},
	}
	for _, step := range steps {
		p.advance(step.wait)
		p.answers(wellKnown, nil)
		if !step.up {
			p.answers(wellKnown, text(http.StatusServiceUnavailable, "", ""))
		}
		if err := warm(); (err == nil) != step.ok {
			t.Errorf("%s: %v", step.name, err)
		}
		if n := p.count(wellKnown); n != step.fetches {
			t.Errorf("%s: %d fetches, want %d", step.name, n, step.fetches)
		}
	}
}

func TestCallersShareOneDiscovery(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if err := c.Warm(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := p.count(wellKnown); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}

func TestIssuerOnLoopbackMayUseHTTP(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"} {
		p := newProvider(t)
		p.issuer = base
		p.metadata = object{"issuer": base, "authorization_endpoint": base + "/a", "token_endpoint": base + "/t", "jwks_uri": base + "/k"}
		if err := p.client().Warm(t.Context()); err != nil {
			t.Errorf("%s: %v", base, err)
		}
		p.metadata["token_endpoint"] = "http://10.0.0.1/t"
		wantError(t, p.client().Warm(t.Context()), Misconfigured, "provider_metadata", "metadata")
	}
}

func FuzzParseMetadata(f *testing.F) {
	good, err := json.Marshal(object{"issuer": issuer, "authorization_endpoint": issuer + "/a", "token_endpoint": issuer + "/t", "jwks_uri": issuer + "/k"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"issuer":"https://idp.example","authorization_endpoint":"https:\\evil","token_endpoint":"//x","jwks_uri":"http://[::1"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		md, err := parseMetadata(body, issuer)
		if err != nil {
			for _, r := range err.Error() {
				if r != '\n' && (r < ' ' || r > '~') {
					t.Errorf("the error holds %q", r)
				}
			}
			return
		}
		for _, address := range []string{md.Authorize, md.Token, md.JWKS} {
			if len(address) < 8 || !strings.EqualFold(address[:8], "https://") || md.Issuer != issuer {
				t.Errorf("accepted %+v", md)
			}
		}
	})
}
