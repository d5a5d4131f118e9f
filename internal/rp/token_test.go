package rp

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	const odd = "a+b/c:%=é "
	basicOf := func(id, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
	}
	rows := []struct {
		name   string
		method AuthMethod
		secret string
		listed any // token_endpoint_auth_methods_supported
		header string
		form   url.Values // client_id and client_secret
	}{
		{"auto, nothing listed", "", "secret", nil, basicOf("genkan-client", "secret"), url.Values{}},
		{"auto, both listed", "", "secret", []string{"client_secret_post", "client_secret_basic"}, basicOf("genkan-client", "secret"), url.Values{}},
		{"auto, post listed", AuthAuto, "secret", []string{"private_key_jwt", "client_secret_post"}, "", url.Values{"client_id": {clientID}, "client_secret": {"secret"}}},
		{"auto, no secret", AuthAuto, "", []string{"client_secret_basic"}, "", url.Values{"client_id": {clientID}}},
		{"36 basic, encoded first", AuthBasic, odd, nil, basicOf("genkan-client", "a%2Bb%2Fc%3A%25%3D%C3%A9+"), url.Values{}},
		{"basic although post is listed", AuthBasic, "secret", []string{"client_secret_post"}, basicOf("genkan-client", "secret"), url.Values{}},
		{"post", AuthPost, odd, nil, "", url.Values{"client_id": {clientID}, "client_secret": {odd}}},
		{"public", AuthPublic, "", nil, "", url.Values{"client_id": {clientID}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			if row.listed != nil {
				p.metadata["token_endpoint_auth_methods_supported"] = row.listed
			}
			c := p.client(func(cfg *Config) { cfg.ClientAuth, cfg.ClientSecret = row.method, keys.NewSecret(row.secret) })
			grant := p.mustSignIn(c)
			if _, err := c.Refresh(t.Context(), grant); err != nil { // 77
				t.Fatal(err)
			}
			if err := c.Revoke(t.Context(), grant.Tokens.Refresh, "refresh_token"); err != nil { // 192
				t.Fatal(err)
			}
			calls := append(p.seen("/token"), p.seen("/revoke")...)
			if len(calls) != 3 {
				t.Fatalf("%d calls", len(calls))
			}
			for _, call := range calls {
				got := url.Values{}
				for _, name := range []string{"client_id", "client_secret"} {
					if call.form.Has(name) {
						got[name] = call.form[name]
					}
				}
				if diff := cmp.Diff(row.form, got); diff != "" || call.header.Get("Authorization") != row.header {
					t.Errorf("%s: Authorization %q, form (-want +got):\n%s", call.path, call.header.Get("Authorization"), diff)
				}
			}
		})
	}
}

func TestNoCommonClientAuthentication(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.metadata["token_endpoint_auth_methods_supported"] = []string{"private_key_jwt"}
	wantError(t, p.client().Warm(t.Context()), Misconfigured, "client_refused", "client_auth")
}

func TestTokenResponse(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		with object // nil removes a member
		ok   bool
	}{
		{"38 complete", nil, true},
		{"39 token_type in mixed case", object{"token_type": "bEaReR"}, true},
		{"39 token_type mac", object{"token_type": "mac"}, false},
		{"39 token_type DPoP", object{"token_type": "DPoP"}, false},
		{"39 token_type missing", object{"token_type": nil}, false},
		{"38 access_token missing", object{"access_token": nil}, false},
		{"38 access_token empty", object{"access_token": ""}, false},
		{"38 access_token a number", object{"access_token": 5}, false},
		{"38 access_token with a line break", object{"access_token": "a\r\nX-Evil: 1"}, false},
		{"38 id_token missing", object{"id_token": nil}, false},
		{"38 id_token an object", object{"id_token": object{}}, false},
		{"38 scope a list", object{"scope": []string{"openid"}}, false},
		{"40 unknown members", object{"foo": "bar", "not_before_policy": 0, "error_codes": nil}, true},
		{"no refresh_token", object{"refresh_token": nil}, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			maps.Copy(p.token, row.with)
			_, err := p.signIn(p.client())
			if !row.ok {
				wantError(t, err, Fault, "token_response", "token_response")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTokenResponseThatIsNone(t *testing.T) {
	t.Parallel()
	rows := map[string]struct {
		answer        http.HandlerFunc
		finding, code string
	}{
		"HTML":               {text(200, "text/html", "<html>CANARY"), "token_response", "token_response"},
		"truncated":          {text(200, "application/json", `{"access_token":"CANARY`), "token_response", "token_response"},
		"two documents":      {text(200, "application/json", `{"access_token":"CANARY","token_type":"Bearer"}{}`), "token_response", "token_response"},
		"empty":              {text(200, "application/json", ""), "token_response", "token_response"},
		"a list":             {text(200, "application/json", `["CANARY"]`), "token_response", "token_response"},
		"5 MB":               {text(200, "application/json", `{"access_token":"`+strings.Repeat("CANARY", 1<<20)), "provider_unavailable", "too_large"},
		"created":            {text(201, "application/json", `{"access_token":"CANARY"}`), "provider_unavailable", "http_201"},
		"nested too deeply":  {text(200, "application/json", strings.Repeat("[", 100_000)), "token_response", "token_response"},
		"an unreadable code": {text(500, "application/json", `{"error":{"code":"CANARY"}}`), "provider_unavailable", "http_500"},
	}
	for name, row := range rows {
		p := newProvider(t)
		p.answers("/token", row.answer)
		_, err := p.signIn(p.client())
		t.Run(name, func(t *testing.T) { wantError(t, err, Fault, row.finding, row.code) })
	}
}

// TestExpiresIn: 41.
func TestExpiresIn(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		sent any
		want time.Duration
	}{
		{"a number", 3600, time.Hour},
		{"a string", "3600", time.Hour},
		{"a fraction", 90.5, 90*time.Second + 500*time.Millisecond},
		{"missing", nil, 5 * time.Minute},
		{"zero", 0, 5 * time.Minute},
		{"negative", -1, 5 * time.Minute},
		{"words", "soon", 5 * time.Minute},
		{"not a number", "NaN", 5 * time.Minute},
		{"an object", object{"s": 1}, 5 * time.Minute},
		{"huge", 1e12, 30 * 24 * time.Hour},
		{"beyond float64", "1e999", 30 * 24 * time.Hour},
		{"one second", 1, time.Second},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.token["expires_in"] = row.sent
			grant := p.mustSignIn(p.client())
			if got := grant.Tokens.Expiry.Sub(start); got != row.want {
				t.Errorf("lives %v, want %v", got, row.want)
			}
		})
	}
}

func TestGrantedScope(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{"": "openid profile email", "openid email": "openid email", " ": "openid profile email"} {
		p := newProvider(t)
		p.token["scope"] = sent
		if got := strings.Join(p.mustSignIn(p.client()).Tokens.Scope, " "); got != want {
			t.Errorf("scope %q is recorded as %q, want %q", sent, got, want)
		}
	}
}

// endpointErrors is how providers say no, and what it means for a session: it ends on
// Refused alone.
var endpointErrors = []struct {
	name   string
	answer http.HandlerFunc
	kind   Kind
	code   string
}{
	{"invalid_grant", text(400, "application/json", `{"error":"invalid_grant","error_description":"expired"}`), Refused, "invalid_grant"},
	{"invalid_grant with 401", text(401, "application/json", `{"error":"invalid_grant"}`), Refused, "invalid_grant"},
	{"invalid_grant with 200", text(200, "application/json", `{"error":"invalid_grant"}`), Refused, "invalid_grant"},
	{"access_denied", text(403, "application/json", `{"error":"access_denied"}`), Refused, "access_denied"},
	{"interaction_required", text(400, "application/json", `{"error":"interaction_required"}`), Refused, "interaction_required"},
	{"dex: invalid_request", text(400, "application/json", `{"error":"invalid_request"}`), Refused, "invalid_request"},
	{"glewlwyd: nothing at all", text(400, "", ""), Refused, "http_400"},
	{"glewlwyd: invalid_code", text(403, "application/json", `{"error":"invalid_code"}`), Refused, "invalid_code"},
	{"a word of their own", text(400, "application/json", `{"error":"session_gone"}`), Refused, "session_gone"},
	{"invalid_client", text(401, "application/json", `{"error":"invalid_client"}`), Misconfigured, "invalid_client"},
	{"invalid_client with 400", text(400, "application/json", `{"error":"invalid_client"}`), Misconfigured, "invalid_client"},
	{"unauthorized_client", text(400, "application/json", `{"error":"unauthorized_client"}`), Misconfigured, "unauthorized_client"},
	{"unsupported_grant_type", text(400, "application/json", `{"error":"unsupported_grant_type"}`), Misconfigured, "unsupported_grant_type"},
	{"Okta: an unknown client", text(401, "application/json", `{"errorCode":"invalid_client","errorSummary":"Invalid value"}`), Misconfigured, "invalid_client"},
	{"401 without a word", text(401, "text/html", "CANARY"), Misconfigured, "http_401"},
	{"use_dpop_nonce", text(400, "application/json", `{"error":"use_dpop_nonce"}`), Misconfigured, "use_dpop_nonce"},
	{"429", text(429, "application/json", `{"error":"invalid_grant"}`), Fault, "invalid_grant"},
	{"408", text(408, "", ""), Fault, "http_408"},
	{"500", text(500, "text/html", "CANARY"), Fault, "http_500"},
	{"503 that says invalid_grant", text(503, "application/json", `{"error":"invalid_grant"}`), Fault, "invalid_grant"},
	{"temporarily_unavailable", text(400, "application/json", `{"error":"temporarily_unavailable"}`), Fault, "temporarily_unavailable"},
	{"a gateway's 400", text(400, "text/html", "<html>CANARY"), Fault, "http_400"},
	{"a firewall's 403", text(403, "text/html", "<html>CANARY"), Fault, "http_403"},
	{"a gateway's 403 in JSON", text(403, "application/json", `{"error":"blocked"}`), Fault, "blocked"},
	{"Okta: a 403 of its own", text(403, "application/json", `{"errorCode":"E0000006","errorSummary":"Forbidden"}`), Fault, "E0000006"},
	{"a gateway's 400 in JSON", text(400, "application/json", `{"status":400,"error":"Bad Request"}`), Fault, "Bad Request"},
	{"404", text(404, "text/html", "CANARY"), Fault, "http_404"},
	{"405", text(405, "", ""), Fault, "http_405"},
	{"204", text(204, "", ""), Fault, "http_204"},
	{"an error of another type", text(400, "application/json", `{"error":{"code":"CANARY"}}`), Fault, "http_400"},
}

func TestTokenEndpointErrors(t *testing.T) {
	t.Parallel()
	findings := map[Kind]string{Refused: "grant_refused", Misconfigured: "client_refused", Fault: "provider_unavailable"}
	for _, row := range endpointErrors {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			c := p.client()
			grant := p.mustSignIn(c)
			p.answers("/token", row.answer)
			_, err := p.signIn(c)
			wantError(t, err, row.kind, findings[row.kind], row.code)
			_, err = c.Refresh(t.Context(), grant)
			wantError(t, err, row.kind, findings[row.kind], row.code)
			if n := p.count("/token"); n != 3 {
				t.Errorf("asked %d times, want 3: nothing is sent twice", n)
			}
		})
	}
}

// TestQuotedSecretsAreWithheld: some providers name the token they refuse.
func TestQuotedSecretsAreWithheld(t *testing.T) {
	t.Parallel()
	long := "refresh-1" + strings.Repeat("x", 300)
	for name, quoted := range map[string]string{"code": "code-1", "refresh token": "refresh-1", "client secret": "CANARY-secret", "a long refresh token": long} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			c := p.client(func(c *Config) { c.ClientSecret = keys.NewSecret("CANARY-secret") })
			grant := p.mustSignIn(c)
			if quoted == long {
				grant.Tokens.Refresh = keys.NewSecret(long)
			}
			for code, description := range map[string]string{"error": "error_description", "errorCode": "errorSummary"} {
				p.answers("/token", func(w http.ResponseWriter, _ *http.Request) {
					reply(w, 400, object{code: "invalid_grant", description: "Not valid: " + quoted})
				})
				_, begun := p.begin(c, AuthRequest{})
				_, signIn := c.Finish(t.Context(), begun, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
				_, refresh := c.Refresh(t.Context(), grant)
				err := refresh
				if quoted == "code-1" {
					err = signIn
				}
				wantError(t, err, Refused, "grant_refused", "invalid_grant")
			}
		})
	}
}

func FuzzParseTokens(f *testing.F) {
	f.Add([]byte(`{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r","id_token":"i","scope":"openid"}`))
	f.Add([]byte(`{"access_token":"a","token_type":"bearer","expires_in":"-0x1p9"}`))
	f.Add([]byte(`{"access_token":"\n","token_type":"bearer","expires_in":1e400}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		tokens, err := parseTokens("token", body, start, keys.Secret{})
		if err != nil {
			return
		}
		life := tokens.Expiry.Sub(start)
		if life <= 0 || life > 30*24*time.Hour || tokens.Access.Empty() || strings.ContainsAny(tokens.Access.Reveal(), "\r\n\x00") {
			t.Errorf("life %v", life)
		}
	})
}

func FuzzErrorResponse(f *testing.F) {
	f.Add(400, []byte(`{"error":"invalid_grant","error_description":"x"}`))
	f.Add(401, []byte(`{"error":["x"],"errorCode":"E0000015"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := refusedRequest("refresh", answer{status: status, body: body})
		if e.Kind == Refused && (status < 400 || status >= 500) || e.Kind == Invalid || e.Code == "" {
			t.Errorf("status %d: %+v", status, e)
		}
		for _, r := range e.Error() {
			if r < ' ' || r > '~' {
				t.Errorf("the error holds %q", r)
			}
		}
	})
}
