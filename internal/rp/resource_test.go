package rp

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestResource: 199: the same resources at the authorization endpoint (or PAR), with the
// code and at refresh; RFC 8707 2.
func TestResource(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name     string
		resource []string
		par      bool
	}{
		{"none", nil, false},
		{"one", []string{"https://api.example/v1?x=y&z"}, false},
		{"two, in order", []string{"urn:b", "https://a.example"}, false},
		{"two by PAR", []string{"urn:b", "https://a.example"}, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			if row.par {
				p.requirePAR()
			}
			c := p.client(func(cfg *Config) { cfg.Resource = row.resource })
			u, login := p.begin(c, AuthRequest{})
			grant, err := c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Refresh(t.Context(), grant); err != nil {
				t.Fatal(err)
			}
			got := map[string][]string{"authorize": u.Query()["resource"], "code": p.seen("/token")[0].form["resource"], "refresh": p.seen("/token")[1].form["resource"]}
			want := map[string][]string{"authorize": row.resource, "code": row.resource, "refresh": row.resource}
			if row.par {
				got["par"], want["par"], want["authorize"] = p.seen("/par")[0].form["resource"], row.resource, nil
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("resource (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResourceMustBeAbsolute(t *testing.T) {
	t.Parallel()
	for value, ok := range map[string]bool{
		"https://api.example": true, "https://api.example/a?b=c": true, "urn:x:y": true, "api://1b2c/scope": true,
		"": false, "/api": false, "api.example/v1": false, "https://api.example#f": false, "https://api.example/#": false,
		"https://api.example/\r\nx": false, "https://api.example/é": false, "//api.example": false,
	} {
		_, err := New(Config{ID: "a", Issuer: issuer, ClientID: "c", Resource: []string{"https://good.example", value}})
		if ok != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), "resource: ") {
			t.Errorf("%q: %v", value, err)
		}
	}
	_, err := New(Config{ID: "a", Issuer: issuer, ClientID: "c", AuthorizeParams: map[string]string{"resource": "https://a.example"}})
	if err == nil {
		t.Error("resource was taken as an extra parameter, which no token request would hold")
	}
}

// TestInvalidTarget: 200: it is for the operator to mend, and nothing is asked for again
// without the resource.
func TestInvalidTarget(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.requirePAR()
	c := p.client(func(cfg *Config) { cfg.Resource = []string{"https://a.example"} })
	grant := p.mustSignIn(c)
	_, login := p.begin(c, AuthRequest{})
	_, err := c.Finish(t.Context(), login, url.Values{"error": {"invalid_target"}, "state": {state}}, ModeQuery)
	wantError(t, err, Misconfigured, "provider_refused", "invalid_target")
	refuse := func(w http.ResponseWriter, _ *http.Request) { reply(w, 400, object{"error": "invalid_target"}) }
	p.answers("/token", refuse)
	_, err = c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
	wantError(t, err, Misconfigured, "client_refused", "invalid_target")
	_, err = c.Refresh(t.Context(), grant)
	wantError(t, err, Misconfigured, "client_refused", "invalid_target")
	p.answers("/par", refuse)
	_, _, err = c.Begin(t.Context(), AuthRequest{RedirectURI: redirect, State: state})
	wantError(t, err, Misconfigured, "request_refused", "invalid_target")
	if p.count("/token") != 3 || p.count("/par") != 3 {
		t.Errorf("%d token and %d pushed requests, want 3 and 3", p.count("/token"), p.count("/par"))
	}
	for _, call := range p.seen("/token") {
		if !call.form.Has("resource") {
			t.Error("a request went without the resource")
		}
	}
}
