package rp

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

// TestPARIsUsed: 167, and RFC 9126 5: a provider that requires it gets nothing else.
func TestPARIsUsed(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name     string
		mode     PARMode
		endpoint bool
		required bool
		pushed   bool
		refused  bool
	}{
		{"default, unknown to the provider", "", false, false, false, false},
		{"auto, offered", PARAuto, true, false, false, false},
		{"auto, required", PARAuto, true, true, true, false},
		{"default, required", "", true, true, true, false},
		{"auto, required without an endpoint", PARAuto, false, true, false, true},
		{"required here, offered", PARRequired, true, false, true, false},
		{"required on both sides", PARRequired, true, true, true, false},
		{"required here, unknown to the provider", PARRequired, false, false, false, true},
		{"off, offered", PAROff, true, false, false, false},
		{"off, unknown to the provider", PAROff, false, false, false, false},
		{"off, required", PAROff, true, true, false, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			if row.endpoint {
				p.metadata["pushed_authorization_request_endpoint"] = issuer + "/par"
			}
			p.metadata["require_pushed_authorization_requests"] = row.required
			c := p.client(func(cfg *Config) { cfg.PAR = row.mode })
			address, _, err := c.Begin(t.Context(), AuthRequest{RedirectURI: redirect, State: state})
			if row.refused {
				wantError(t, err, Misconfigured, "provider_metadata", "metadata")
				if address != "" {
					t.Errorf("the browser would be sent to %s", address)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := p.count("/par") == 1; got != row.pushed || strings.Contains(address, "request_uri=") != row.pushed {
				t.Errorf("pushed is %v, want %v; the address is %s", got, row.pushed, address)
			}
		})
	}
}

// TestPushedRequest: 162 to 164, 310, 312: everything is pushed, and the browser carries
// client_id and request_uri alone.
func TestPushedRequest(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.requirePAR()
	p.metadata["authorization_endpoint"] = issuer + "/authorize?tenant=x"
	c := p.client(func(cfg *Config) {
		cfg.ResponseMode, cfg.AuthorizeParams = ModeFormPost, map[string]string{"audience": "api"}
	})
	minute := time.Minute
	u, login := p.begin(c, AuthRequest{Prompt: "login", LoginHint: "a+b&c@example.com é", MaxAge: &minute, ACRValues: "mfa"})
	wantQuery := url.Values{"tenant": {"x"}, "client_id": {clientID}, "request_uri": {pushedURI(1)}}
	if diff := cmp.Diff(wantQuery, u.Query()); diff != "" || u.Path != "/authorize" {
		t.Errorf("%s (-want +got):\n%s", u, diff)
	}
	challenge := sha256.Sum256([]byte(login.Verifier))
	want := url.Values{
		"client_id": {clientID}, "response_type": {"code"}, "redirect_uri": {redirect}, "scope": {"openid profile email"},
		"state": {state}, "nonce": {login.Nonce}, "code_challenge_method": {"S256"}, "response_mode": {"form_post"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "audience": {"api"}, "prompt": {"login"},
		"login_hint": {"a+b&c@example.com é"}, "max_age": {"60"}, "acr_values": {"mfa"},
	}
	call := p.seen("/par")[0]
	if diff := cmp.Diff(want, call.form); diff != "" {
		t.Errorf("pushed (-want +got):\n%s", diff)
	}
	if call.method != http.MethodPost || call.header.Get("Authorization") == "" {
		t.Errorf("%s with Authorization %q", call.method, call.header.Get("Authorization"))
	}
}

// TestEverySignInIsPushedAnew: 165.
func TestEverySignInIsPushedAnew(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.requirePAR()
	c := p.client()
	seen := map[string]bool{}
	for n := 1; n <= 5; n++ {
		u, _ := p.begin(c, AuthRequest{})
		form := p.seen("/par")[n-1].form
		for _, value := range []string{u.Query().Get("request_uri"), form.Get("nonce"), form.Get("code_challenge")} {
			if value == "" || seen[value] {
				t.Errorf("sign-in %d has %q of another one", n, value)
			}
			seen[value] = true
		}
	}
	if n := p.count("/par"); n != 5 {
		t.Errorf("%d pushed requests, want 5", n)
	}
}

func TestRequestURIIsEncoded(t *testing.T) {
	t.Parallel()
	const odd = "https://idp.example/r?a=b&client_id=evil#f +%20"
	p := newProvider(t)
	p.requirePAR()
	p.answers("/par", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusCreated, object{"request_uri": odd, "expires_in": 0.5})
	})
	u, _ := p.begin(p.client(), AuthRequest{})
	if diff := cmp.Diff(url.Values{"client_id": {clientID}, "request_uri": {odd}}, u.Query()); diff != "" || u.Fragment != "" {
		t.Errorf("%s (-want +got):\n%s", u, diff)
	}
}

func created(body string) http.HandlerFunc { return text(http.StatusCreated, "application/json", body) }

func redirectTo(status int, location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	}
}

// TestPARFails: 166: no second try, and no plain request in its place.
func TestPARFails(t *testing.T) {
	t.Parallel()
	const json = "application/json"
	rows := []struct {
		name    string
		answer  http.HandlerFunc
		kind    Kind
		finding string
		code    string
	}{
		{"400 invalid_request", text(400, json, `{"error":"invalid_request","error_description":"redirect_uri"}`), Misconfigured, "request_refused", "invalid_request"},
		{"400 invalid_scope", text(400, json, `{"error":"invalid_scope"}`), Misconfigured, "request_refused", "invalid_scope"},
		{"400 invalid_target", text(400, json, `{"error":"invalid_target"}`), Misconfigured, "request_refused", "invalid_target"},
		{"400 invalid_redirect_uri", text(400, json, `{"error":"invalid_redirect_uri"}`), Misconfigured, "request_refused", "invalid_redirect_uri"},
		{"400 unauthorized_client", text(400, json, `{"error":"unauthorized_client"}`), Misconfigured, "client_refused", "unauthorized_client"},
		{"400 access_denied", text(400, json, `{"error":"access_denied"}`), Misconfigured, "request_refused", "access_denied"},
		{"400 without a word", text(400, "", ""), Misconfigured, "request_refused", "http_400"},
		{"400 of a gateway", text(400, "text/html", "<html>CANARY"), Fault, "provider_unavailable", "http_400"},
		{"400 temporarily_unavailable", text(400, json, `{"error":"temporarily_unavailable"}`), Fault, "provider_unavailable", "temporarily_unavailable"},
		{"401 invalid_client", text(401, json, `{"error":"invalid_client"}`), Misconfigured, "client_refused", "invalid_client"},
		{"403 of a firewall", text(403, "text/html", "<html>CANARY"), Fault, "provider_unavailable", "http_403"},
		{"404", text(404, "text/html", "CANARY"), Fault, "provider_unavailable", "http_404"},
		{"413", text(413, "text/html", "<html>CANARY"), Misconfigured, "request_refused", "http_413"},
		{"429", text(429, json, `{"error":"invalid_request"}`), Fault, "provider_unavailable", "invalid_request"},
		{"500", text(500, "text/html", "<html>CANARY"), Fault, "provider_unavailable", "http_500"},
		{"503 that says invalid_request", text(503, json, `{"error":"invalid_request"}`), Fault, "provider_unavailable", "invalid_request"},
		{"200 in place of 201", text(200, json, `{"request_uri":"urn:CANARY","expires_in":60}`), Fault, "provider_unavailable", "http_200"},
		{"200 HTML", text(200, "text/html", "<html>CANARY"), Fault, "provider_unavailable", "http_200"},
		{"201 HTML", text(201, "text/html", "<html>CANARY"), Fault, "request_refused", "par_response"},
		{"201 empty", created(""), Fault, "request_refused", "par_response"},
		{"201 with an error in it", created(`{"error":"invalid_request","request_uri":"urn:CANARY","expires_in":60}`), Misconfigured, "request_refused", "invalid_request"},
		{"request_uri missing", created(`{"expires_in":60}`), Fault, "request_refused", "par_response"},
		{"request_uri a number", created(`{"request_uri":5,"expires_in":60}`), Fault, "request_refused", "par_response"},
		{"request_uri with a line break", created(`{"request_uri":"urn:CANARY\r\nX: y","expires_in":60}`), Fault, "request_refused", "par_response"},
		{"expires_in missing", created(`{"request_uri":"urn:CANARY"}`), Fault, "request_refused", "par_response"},
		{"expires_in zero", created(`{"request_uri":"urn:CANARY","expires_in":0}`), Fault, "request_refused", "par_response"},
		{"expires_in negative", created(`{"request_uri":"urn:CANARY","expires_in":-1}`), Fault, "request_refused", "par_response"},
		{"expires_in a word", created(`{"request_uri":"urn:CANARY","expires_in":"soon"}`), Fault, "request_refused", "par_response"},
		{"2 MB", created(`{"request_uri":"` + strings.Repeat("CANARY", 400_000)), Fault, "provider_unavailable", "too_large"},
		{"a redirect to the endpoint", redirectTo(303, issuer+"/authorize?CANARY"), Fault, "provider_unavailable", "http_303"},
		{"a redirect that keeps the body", redirectTo(307, issuer+"/elsewhere"), Fault, "provider_unavailable", "http_307"},
		{"a redirect to another host", redirectTo(308, "http://169.254.169.254/elsewhere"), Fault, "provider_unavailable", "http_308"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.requirePAR()
			p.answers("/par", row.answer)
			var log logged
			address, _, err := p.client(log.to).Begin(t.Context(), AuthRequest{RedirectURI: redirect, State: state})
			wantError(t, err, row.kind, row.finding, row.code)
			if address != "" {
				t.Errorf("the browser would be sent to %s", address)
			}
			if p.count("/par") != 1 || p.count("/elsewhere") != 0 || p.count("/authorize") != 0 {
				t.Errorf("%d pushed requests, want 1; all: %v", p.count("/par"), p.calls)
			}
			if strings.Contains(log.String(), "CANARY") {
				t.Errorf("logged %s", log.String())
			}
		})
	}
}

func TestPARTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t)
		p.requirePAR()
		p.answers("/par", hang)
		begun := time.Now()
		address, _, err := p.client().Begin(t.Context(), AuthRequest{RedirectURI: redirect, State: state})
		wantError(t, err, Fault, "provider_unavailable", "unreachable")
		if waited := time.Since(begun); waited > 10*time.Second || address != "" {
			t.Errorf("waited %v, the address is %q", waited, address)
		}
	})
}

// TestPARQuotesNoSecret: a description that repeats what was sent is left out.
func TestPARQuotesNoSecret(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"client_assertion", "request", "client_secret"} {
		p := newProvider(t)
		p.requirePAR()
		p.answers("/par", func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 400, object{"error": "invalid_request", "error_description": "bad: " + p.seen("/par")[0].form.Get(name)})
		})
		c := p.client(func(cfg *Config) {
			cfg.ClientAuth, cfg.Signers, cfg.JAR = AuthPrivateKeyJWT, signersOf(t, ecKey()), true
			if name == "client_secret" {
				cfg.ClientAuth, cfg.ClientSecret = AuthPost, keys.NewSecret(longSecret)
			}
		})
		_, _, err := c.Begin(t.Context(), AuthRequest{RedirectURI: redirect, State: state})
		wantError(t, err, Misconfigured, "request_refused", "invalid_request")
		if !strings.Contains(err.Error(), "withheld") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sortedNames(values url.Values) []string { return slices.Sorted(maps.Keys(values)) }
