package rp

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBeginSendsWhatIsNeededAndNoMore(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.metadata["authorization_endpoint"] = issuer + "/authorize?tenant=x&tenant=y&client_id=evil"
	c := p.client(func(cfg *Config) {
		cfg.Scopes = []string{"profile", "email"}
		cfg.AuthorizeParams = map[string]string{"audience": "api://a b"}
	})
	u, login := p.begin(c, AuthRequest{})
	challenge := sha256.Sum256([]byte(login.Verifier))
	want := url.Values{
		"tenant": {"x"}, "audience": {"api://a b"}, "response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {redirect},
		"scope": {"openid profile email"}, "state": {state}, "nonce": {login.Nonce},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	if diff := cmp.Diff(want, u.Query()); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if u.Scheme+"://"+u.Host+u.Path != issuer+"/authorize" {
		t.Errorf("sent to %s", u)
	}
	if strings.Contains(u.String(), login.Verifier) {
		t.Error("the verifier is in the address")
	}
	wantLogin := Login{Provider: "test", State: state, Nonce: login.Nonce, Verifier: login.Verifier, RedirectURI: redirect, Begun: start.Unix()}
	if diff := cmp.Diff(wantLogin, login); diff != "" {
		t.Errorf("login (-want +got):\n%s", diff)
	}
}

func TestBeginParameters(t *testing.T) {
	t.Parallel()
	seconds := func(n int) *time.Duration { d := time.Duration(n) * time.Second; return &d }
	rows := []struct {
		name   string
		req    AuthRequest
		config func(*Config)
		want   map[string]string // "" means that it is not sent
		login  Login             // MaxAge and ACRValues
	}{
		{"nothing optional by default", AuthRequest{}, func(*Config) {}, map[string]string{"prompt": "", "max_age": "", "acr_values": "", "login_hint": "", "ui_locales": "", "response_mode": ""}, Login{}},
		{"9 form_post", AuthRequest{}, func(c *Config) { c.ResponseMode = ModeFormPost }, map[string]string{"response_mode": "form_post"}, Login{}},
		{"9 query is the default", AuthRequest{}, func(c *Config) { c.ResponseMode = ModeQuery }, map[string]string{"response_mode": ""}, Login{}},
		{"12 prompt", AuthRequest{Prompt: "login consent"}, func(*Config) {}, map[string]string{"prompt": "login consent"}, Login{}},
		{"12 prompt with the configured one", AuthRequest{Prompt: "login"}, func(c *Config) { c.AuthorizeParams = map[string]string{"prompt": "consent"} }, map[string]string{"prompt": "login consent"}, Login{}},
		{"12 the configured prompt alone", AuthRequest{}, func(c *Config) { c.AuthorizeParams = map[string]string{"prompt": "consent"} }, map[string]string{"prompt": "consent"}, Login{}},
		{"13 none stands alone", AuthRequest{Prompt: " none "}, func(c *Config) { c.AuthorizeParams = map[string]string{"prompt": "consent"} }, map[string]string{"prompt": "none"}, Login{}},
		{"13 a configured none gives way", AuthRequest{Prompt: "login"}, func(c *Config) { c.AuthorizeParams = map[string]string{"prompt": "none"} }, map[string]string{"prompt": "login"}, Login{}},
		{"14 max_age", AuthRequest{MaxAge: seconds(90)}, func(*Config) {}, map[string]string{"max_age": "90"}, Login{MaxAge: 90}},
		{"14 max_age 0", AuthRequest{MaxAge: seconds(0)}, func(*Config) {}, map[string]string{"max_age": "0"}, Login{MaxAge: -1}},
		{"14 max_age configured", AuthRequest{}, func(c *Config) { c.MaxAge = time.Hour }, map[string]string{"max_age": "3600"}, Login{MaxAge: 3600}},
		{"15 hint and locales", AuthRequest{LoginHint: "a+b&c=d é@example.com", UILocales: "ja en"}, func(*Config) {}, map[string]string{"login_hint": "a+b&c=d é@example.com", "ui_locales": "ja en"}, Login{}},
		{"14 max_age shorter than the configured", AuthRequest{MaxAge: seconds(90)}, func(c *Config) { c.MaxAge = time.Hour }, map[string]string{"max_age": "90"}, Login{MaxAge: 90}},
		{"14 max_age 0 is shorter too", AuthRequest{MaxAge: seconds(0)}, func(c *Config) { c.MaxAge = time.Hour }, map[string]string{"max_age": "0"}, Login{MaxAge: -1}},
		{"14 no request stretches the configured max_age", AuthRequest{MaxAge: seconds(86400)}, func(c *Config) { c.MaxAge = time.Hour }, map[string]string{"max_age": "3600"}, Login{MaxAge: 3600}},
		{"15 acr_values", AuthRequest{ACRValues: "urn:a  urn:b"}, func(*Config) {}, map[string]string{"acr_values": "urn:a urn:b"}, Login{ACRValues: []string{"urn:a", "urn:b"}}},
		{"15 acr_values narrowed", AuthRequest{ACRValues: "urn:b"}, func(c *Config) { c.ACRValues = []string{"urn:a", "urn:b"} }, map[string]string{"acr_values": "urn:b"}, Login{ACRValues: []string{"urn:b"}}},
		{"15 acr_values configured", AuthRequest{}, func(c *Config) { c.ACRValues = []string{"urn:c"} }, map[string]string{"acr_values": "urn:c"}, Login{ACRValues: []string{"urn:c"}}},
		{"19 offline_access when asked for", AuthRequest{}, func(c *Config) { c.Scopes = []string{"openid", "offline_access"} }, map[string]string{"scope": "openid offline_access"}, Login{}},
		{"111 S256 whatever is advertised", AuthRequest{}, func(*Config) {}, map[string]string{"code_challenge_method": "S256"}, Login{}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.metadata["code_challenge_methods_supported"] = []string{"plain"}
			u, login := p.begin(p.client(row.config), row.req)
			for name, want := range row.want {
				if got := u.Query().Get(name); got != want || u.Query().Has(name) != (want != "") {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if diff := cmp.Diff(row.login, Login{MaxAge: login.MaxAge, ACRValues: login.ACRValues}); diff != "" {
				t.Errorf("login (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBeginRefusesBadParameters(t *testing.T) {
	t.Parallel()
	negative := -time.Second
	rows := []struct {
		name, code, finding string
		req                 AuthRequest
	}{
		{"13 none with another", "prompt", "parameter_invalid", AuthRequest{Prompt: "none login", State: state, RedirectURI: redirect}},
		{"unknown prompt", "prompt", "parameter_invalid", AuthRequest{Prompt: "login&client_id=x", State: state, RedirectURI: redirect}},
		{"repeated prompt", "prompt", "parameter_invalid", AuthRequest{Prompt: "login login", State: state, RedirectURI: redirect}},
		{"negative max_age", "max_age", "parameter_invalid", AuthRequest{MaxAge: &negative, State: state, RedirectURI: redirect}},
		{"acr with control characters", "acr_values", "parameter_invalid", AuthRequest{ACRValues: "a\x00b", State: state, RedirectURI: redirect}},
		{"a short state", "state", "internal", AuthRequest{State: "short", RedirectURI: redirect}},
		{"no redirect URI", "state", "internal", AuthRequest{State: state}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			_, _, err := p.client().Begin(t.Context(), row.req)
			wantError(t, err, Invalid, row.finding, row.code)
			if len(p.calls) != 0 {
				t.Error("the provider was asked")
			}
		})
	}
}

// TestARequestCannotWeakenTheConfiguredACR: 59. acr_values comes from the browser's query.
func TestARequestCannotWeakenTheConfiguredACR(t *testing.T) {
	t.Parallel()
	for _, asked := range []string{"urn:pwd", "urn:mfa urn:pwd", "URN:MFA"} {
		p := newProvider(t)
		c := p.client(func(c *Config) { c.ACRValues = []string{"urn:mfa", "urn:phr"} })
		_, _, err := c.Begin(t.Context(), AuthRequest{ACRValues: asked, State: state, RedirectURI: redirect})
		t.Run(asked, func(t *testing.T) { wantError(t, err, Invalid, "parameter_invalid", "acr_values") })
	}
}

// TestBeginIsFreshEveryTime: 6, 7 and 112.
func TestBeginIsFreshEveryTime(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	seen := map[string]bool{}
	verifier := regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)
	for range 1000 {
		_, login, err := c.Begin(t.Context(), AuthRequest{RedirectURI: redirect, State: state})
		if err != nil {
			t.Fatal(err)
		}
		if seen[login.Nonce] || seen[login.Verifier] || len(login.Nonce) < 26 || !verifier.MatchString(login.Verifier) {
			t.Fatalf("nonce %q, verifier %q", login.Nonce, login.Verifier)
		}
		seen[login.Nonce], seen[login.Verifier] = true, true
	}
}

func TestCallback(t *testing.T) {
	t.Parallel()
	good := func(more ...string) url.Values {
		v := url.Values{"code": {"code-1"}, "state": {state}}
		for i := 0; i+1 < len(more); i += 2 {
			v.Add(more[i], more[i+1])
		}
		return v
	}
	failed := func(code string, more ...string) url.Values {
		v := good(more...)
		v.Del("code")
		v.Set("error", code)
		return v
	}
	without := func(v url.Values, name string) url.Values { v.Del(name); return v }
	changed := func(v url.Values, name, value string) url.Values { v.Set(name, value); return v }
	type refused struct {
		kind          Kind
		finding, code string
	}
	bad := func(code string) *refused { return &refused{Invalid, "response_invalid", code} }
	badState := &refused{Invalid, "state_invalid", "state"}
	rows := []struct {
		name       string
		response   url.Values
		mode       ResponseMode
		advertised bool // RFC 9207
		want       *refused
	}{
		{"22 good, with extras", good("session_state", "x", "foo", "1", "foo", "2"), ModeQuery, false, nil},
		{"20 state missing", without(good(), "state"), ModeQuery, false, badState},
		{"20 state empty", changed(good(), "state", ""), ModeQuery, false, badState},
		{"20 state of another", changed(good(), "state", state+"x"), ModeQuery, false, badState},
		{"20 state repeated", good("state", state), ModeQuery, false, bad("state")},
		{"25 code repeated", good("code", "code-2"), ModeQuery, false, bad("code")},
		{"25 code and error", good("error", "access_denied"), ModeQuery, false, bad("code")},
		{"25 code and an empty error", good("error", ""), ModeQuery, false, bad("code")},
		{"25 neither", without(good(), "code"), ModeQuery, false, bad("code")},
		{"25 code empty", changed(good(), "code", ""), ModeQuery, false, bad("code")},
		{"25 error empty", failed(""), ModeQuery, false, bad("code")},
		{"25 nothing at all", url.Values{}, ModeQuery, false, badState},
		{"32 by form_post", good(), ModeFormPost, false, bad("response_mode")},
		{"32 by nothing known", good(), "", false, bad("response_mode")},
		{"157 announced iss missing", good(), ModeQuery, true, bad("iss")},
		{"157 announced iss missing in an error", failed("access_denied"), ModeQuery, true, bad("iss")},
		{"158 iss good", good("iss", issuer), ModeQuery, true, nil},
		{"158 iss of another provider", good("iss", "https://attacker.example"), ModeQuery, true, bad("iss")},
		{"158 iss with a slash", good("iss", issuer+"/"), ModeQuery, true, bad("iss")},
		{"158 iss in upper case", good("iss", strings.ToUpper(issuer)), ModeQuery, true, bad("iss")},
		{"158 iss percent-encoded twice", good("iss", url.QueryEscape(issuer)), ModeQuery, true, bad("iss")},
		{"158 iss repeated", good("iss", issuer, "iss", issuer), ModeQuery, true, bad("iss")},
		{"158 iss empty", good("iss", ""), ModeQuery, false, bad("iss")},
		{"159 iss good, not announced", good("iss", issuer), ModeQuery, false, nil},
		{"159 iss wrong, not announced", good("iss", "https://attacker.example"), ModeQuery, false, bad("iss")},
		{"24 an error with another state", changed(failed("access_denied"), "state", "bad"), ModeQuery, false, badState},
		{"24 an error from another issuer", failed("access_denied", "iss", "https://attacker.example"), ModeQuery, false, bad("iss")},
		{"23 access_denied", failed("access_denied", "error_description", "User is not assigned."), ModeQuery, false, &refused{Refused, "access_denied", "access_denied"}},
		{"26 login_required", failed("login_required"), ModeQuery, false, &refused{Refused, "login_required", "login_required"}},
		{"26 interaction_required", failed("interaction_required"), ModeQuery, false, &refused{Refused, "login_required", "interaction_required"}},
		{"26 consent_required", failed("consent_required"), ModeQuery, false, &refused{Refused, "login_required", "consent_required"}},
		{"26 account_selection_required", failed("account_selection_required"), ModeQuery, false, &refused{Refused, "login_required", "account_selection_required"}},
		{"23 server_error", failed("server_error"), ModeQuery, false, &refused{Fault, "provider_unavailable", "server_error"}},
		{"23 temporarily_unavailable", failed("temporarily_unavailable"), ModeQuery, false, &refused{Fault, "provider_unavailable", "temporarily_unavailable"}},
		{"23 unauthorized_client", failed("unauthorized_client"), ModeQuery, false, &refused{Misconfigured, "client_refused", "unauthorized_client"}},
		{"23 invalid_scope", failed("invalid_scope"), ModeQuery, false, &refused{Misconfigured, "provider_refused", "invalid_scope"}},
		{"23 a word of their own", failed("made_up"), ModeQuery, false, &refused{Refused, "provider_refused", "made_up"}},
		{"23 markup and control characters", failed("<script>\r\n\x1b[31m玄\"\\"), ModeQuery, false, &refused{Refused, "provider_refused", "<script>???[31m?'?"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.metadata["authorization_response_iss_parameter_supported"] = row.advertised
			c := p.client()
			_, login := p.begin(c, AuthRequest{})
			_, err := c.Finish(t.Context(), login, row.response, row.mode)
			if row.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, row.want.kind, row.want.finding, row.want.code)
			if n := len(p.calls) - p.count(wellKnown); n != 0 { // 20, 25, 118, 158, 160
				t.Errorf("somebody was asked: %v", p.calls)
			}
		})
	}
}

func TestCallbackByFormPost(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client(func(cfg *Config) { cfg.ResponseMode = ModeFormPost })
	p.mustSignIn(c)
	_, login := p.begin(c, AuthRequest{})
	_, err := c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
	wantError(t, err, Invalid, "response_invalid", "response_mode")
}

func TestCallbackOfAnotherProvider(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	_, login := p.begin(c, AuthRequest{})
	login.Provider = "other"
	_, err := c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
	wantError(t, err, Invalid, "response_invalid", "provider")
}

func TestCallbackWithEmptyLogin(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	_, err := p.client().Finish(t.Context(), Login{Provider: "test"}, url.Values{"code": {"code-1"}, "state": {""}}, ModeQuery)
	wantError(t, err, Invalid, "state_invalid", "state")
}

// TestASignInWithoutNonceMatchesNothing: 57. Two missing nonces are not the same nonce.
func TestASignInWithoutNonceMatchesNothing(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	_, login := p.begin(c, AuthRequest{})
	login.Nonce = ""
	delete(p.claims, "nonce")
	_, err := c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
	wantError(t, err, Invalid, "id_token_invalid", "nonce")
}

func TestErrorDescriptionIsCut(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	_, login := p.begin(c, AuthRequest{})
	_, err := c.Finish(t.Context(), login, url.Values{"error": {strings.Repeat("e", 1000)}, "error_description": {strings.Repeat("d", 1000)}, "state": {state}}, ModeQuery)
	e, ok := err.(*Error)
	if !ok || len(e.Code) != 200 || len(e.Description) != 200 {
		t.Errorf("error is %v", err)
	}
}

func TestTokenRequest(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	_, login := p.begin(c, AuthRequest{})
	if _, err := c.Finish(t.Context(), login, url.Values{"code": {"a+b/c =&é"}, "state": {state}}, ModeQuery); err != nil {
		t.Fatal(err)
	}
	calls := p.seen("/token")
	if len(calls) != 1 || calls[0].method != http.MethodPost || calls[0].header.Get("Content-Type") != "application/x-www-form-urlencoded" || len(calls[0].query) != 0 {
		t.Fatalf("token requests: %+v", calls)
	}
	want := url.Values{"grant_type": {"authorization_code"}, "code": {"a+b/c =&é"}, "redirect_uri": {redirect}, "code_verifier": {login.Verifier}}
	if diff := cmp.Diff(want, calls[0].form); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
}

func TestManySignInsAtOnce(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.claims["nonce"] = "given"
	c := p.client()
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			_, login, err := c.Begin(t.Context(), AuthRequest{RedirectURI: redirect, State: state})
			if err != nil {
				t.Error(err)
				return
			}
			login.Nonce = "given"
			if _, err := c.Finish(t.Context(), login, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if p.count(wellKnown) != 1 || p.count("/keys") != 1 || p.count("/token") != 20 {
		t.Errorf("metadata %d, keys %d, tokens %d", p.count(wellKnown), p.count("/keys"), p.count("/token"))
	}
}
