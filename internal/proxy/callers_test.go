package proxy_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"genkan/internal/keys"
	"genkan/internal/proxy"
	"genkan/internal/rp"
)

var bearers = []proxy.Accept{proxy.AcceptBearer}

// programs lets a route take access tokens for api://orders.
func programs(r *proxy.Route) {
	r.Accept, r.Bearer.Audiences = []proxy.Accept{proxy.AcceptSession, proxy.AcceptBearer}, []string{"api://orders"}
}

// jwtOf looks like a JWT of the issuer; the fake endpoint judges it.
func jwtOf(issuer string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(`{"iss":"`+issuer+`"}`)) + ".c2ln"
}

// robot is a program's call: no cookie, no header of the app, no Fetch Metadata.
func robot(t *testing.T, method, url, token string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func (b *bench) knowsRobot(scope ...string) {
	b.tokens.judge = func(string, []string) (rp.Access, error) {
		return rp.Access{
			Identity: rp.Identity{Issuer: "https://idp.example", Subject: "robot", Claims: map[string]json.RawMessage{"groups": json.RawMessage(`["machines"]`)}},
			Scope:    scope, ClientID: "robot", Expires: b.clock().Add(time.Hour),
		}, nil
	}
}

func TestAProgramCallsByItsOwnToken(t *testing.T) {
	t.Parallel()
	token := jwtOf("https://idp.example")
	for _, method := range []string{"GET", "POST", "DELETE"} { // no CSRF rule: no browser adds this header by itself
		b := newBench(t)
		b.knowsRobot()
		var asked []string
		judge := b.tokens.judge
		b.tokens.judge = func(raw string, audiences []string) (rp.Access, error) {
			asked = audiences
			return judge(raw, audiences)
		}
		u := newUpstream(t, nil)
		r := robot(t, method, b.front(t, u.route("/api/", programs)).URL+"/api/x", token)
		r.Header.Set("Accept", "text/html") // no navigation, whatever it accepts
		if got := send(t, r); got.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", method, got.StatusCode, got.text)
		}
		if got := u.only(t).header.Get("Authorization"); got != "Bearer "+token {
			t.Errorf("%s: the upstream got %.20q", method, got)
		}
		if len(asked) != 1 || asked[0] != "api://orders" {
			t.Errorf("judged for the audiences %v", asked)
		}
	}
}

func TestWhoMayNotCallIsToldWhy(t *testing.T) {
	t.Parallel()
	bad := func(string, []string) (rp.Access, error) {
		return rp.Access{}, &rp.Error{Kind: rp.Invalid, Err: errors.New("expired")}
	}
	down := func(string, []string) (rp.Access, error) {
		return rp.Access{}, &rp.Error{Kind: rp.Fault, Err: errors.New("no keys")}
	}
	groups := func(r *proxy.Route) { r.Require.Groups = []string{"admins"} }
	scopes := func(r *proxy.Route) { r.Require.Scopes = []string{"orders.write", "orders.read"} }
	stepUp := func(r *proxy.Route) { r.Require.ACR, r.Require.MaxAge = []string{"mfa", "phr"}, 10*time.Minute }
	tests := []struct {
		name      string
		change    []func(*proxy.Route)
		judge     func(string, []string) (rp.Access, error)
		send      func(b *bench, t *testing.T, url string) *http.Request
		status    int
		code      string
		challenge string
		login     string
	}{
		{name: "a session cookie and a token", change: []func(*proxy.Route){programs}, send: func(b *bench, t *testing.T, url string) *http.Request {
			r := b.call(t, "GET", url, nil)
			r.Header.Set("Authorization", "Bearer "+jwtOf("https://idp.example"))
			return r
		}, status: 400, code: "credentials_ambiguous"},
		{name: "a session cookie and a token of no use", change: []func(*proxy.Route){programs}, send: func(b *bench, t *testing.T, url string) *http.Request {
			r := b.call(t, "GET", url, nil)
			r.Header.Set("Authorization", "Basic YTpi")
			return r
		}, status: 400, code: "credentials_ambiguous"},
		{name: "a bad token", change: []func(*proxy.Route){programs}, judge: bad, send: asRobot, status: 401, code: "invalid_token", challenge: `Bearer error="invalid_token"`},
		{name: "a token that cannot be judged now", change: []func(*proxy.Route){programs}, judge: down, send: asRobot, status: 503, code: "provider_unavailable"},
		{name: "a token of nobody we know", change: []func(*proxy.Route){programs}, send: func(_ *bench, t *testing.T, url string) *http.Request {
			return robot(t, "GET", url, jwtOf("https://evil.example"))
		}, status: 401, code: "invalid_token", challenge: `Bearer error="invalid_token"`},
		{name: "another scheme", change: []func(*proxy.Route){programs}, send: func(_ *bench, t *testing.T, url string) *http.Request {
			r := robot(t, "GET", url, "x")
			r.Header.Set("Authorization", "Basic YTpi")
			return r
		}, status: 401, code: "invalid_token", challenge: `Bearer realm="genkan"`},
		{name: "two tokens", change: []func(*proxy.Route){programs}, send: func(_ *bench, t *testing.T, url string) *http.Request {
			r := robot(t, "GET", url, jwtOf("https://idp.example"))
			r.Header.Add("Authorization", "Bearer other")
			return r
		}, status: 400, code: "credentials_ambiguous"},
		{name: "a token in the query too", change: []func(*proxy.Route){programs}, send: func(_ *bench, t *testing.T, url string) *http.Request {
			return robot(t, "GET", url+"?access_token=x", jwtOf("https://idp.example"))
		}, status: 400, code: "parameter_invalid"},
		{name: "programs alone, and a browser", change: []func(*proxy.Route){programs, func(r *proxy.Route) { r.Accept = bearers }}, send: asApp, status: 401, code: "invalid_token", challenge: `Bearer realm="genkan"`},
		{name: "a program in another group", change: []func(*proxy.Route){programs, groups}, send: asRobot, status: 403, code: "insufficient_groups"},
		{name: "a program without the scope", change: []func(*proxy.Route){programs, scopes}, send: asRobot, status: 403, code: "insufficient_scope",
			challenge: `Bearer error="insufficient_scope", scope="orders.write orders.read"`},
		{name: "a program that signed in otherwise", change: []func(*proxy.Route){programs, stepUp}, send: asRobot, status: 401, code: "insufficient_user_authentication",
			challenge: `Bearer error="insufficient_user_authentication", acr_values="mfa phr", max_age="600"`},
		{name: "a browser in another group", change: []func(*proxy.Route){groups}, send: asApp, status: 403, code: "insufficient_groups"},
		{name: "a browser that signed in otherwise", change: []func(*proxy.Route){stepUp}, send: asApp, status: 401, code: "insufficient_user_authentication",
			challenge: `Bearer error="insufficient_user_authentication", acr_values="mfa phr", max_age="600"`,
			login:     "http://localhost:8000/bff/login?provider=idp&acr_values=mfa+phr&max_age=600"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.knowsRobot("orders.read")
			if tt.judge != nil {
				b.tokens.judge = tt.judge
			}
			u := newUpstream(t, nil)
			got := send(t, tt.send(b, t, b.front(t, u.route("/api/", tt.change...)).URL+"/api/x"))
			code, login := got.problem()
			if got.StatusCode != tt.status || code != tt.code || login != tt.login {
				t.Errorf("%d %q, login %q; want %d %q, login %q", got.StatusCode, code, login, tt.status, tt.code, tt.login)
			}
			if tt.challenge != "" && got.Header.Get("WWW-Authenticate") != tt.challenge {
				t.Errorf("challenge %q, want %q", got.Header.Get("WWW-Authenticate"), tt.challenge)
			}
			if len(u.seen()) != 0 {
				t.Error("the call arrived all the same")
			}
		})
	}
}

func asRobot(_ *bench, t *testing.T, url string) *http.Request {
	return robot(t, "GET", url, jwtOf("https://idp.example"))
}

func asApp(b *bench, t *testing.T, url string) *http.Request { return b.call(t, "GET", url, nil) }

func TestWhereProgramsAreNotAcceptedTheirTokenIsNothing(t *testing.T) {
	t.Parallel()
	b, u := newBench(t), newUpstream(t, nil)
	b.knowsRobot()
	front := b.front(t, u.route("/api/"))
	if got := send(t, asRobot(b, t, front.URL+"/api/x")); got.StatusCode != http.StatusForbidden && got.StatusCode != http.StatusUnauthorized {
		t.Errorf("a program: %d", got.StatusCode)
	}
	r := b.call(t, "GET", front.URL+"/api/x", nil)
	r.Header.Set("Authorization", "Bearer canary")
	send(t, r)
	if got := u.only(t).header.Get("Authorization"); got != "Bearer at-1" {
		t.Errorf("the upstream got %q", got)
	}
}

func TestAPersonIsSentToSignInInAStrongerWay(t *testing.T) {
	t.Parallel()
	b, u := newBench(t), newUpstream(t, nil)
	front := b.front(t, u.route("/files/", func(r *proxy.Route) { r.Navigate, r.Require.ACR = true, []string{"mfa"} }))
	r := b.call(t, "GET", front.URL+"/files/a?b=c", nil)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Accept", "text/html")
	got := send(t, r)
	want := "http://localhost:8000/bff/login?provider=idp&acr_values=mfa&returnUrl=http%3A%2F%2Flocalhost%3A8000%2Ffiles%2Fa%3Fb%3Dc"
	if got.StatusCode != http.StatusFound || got.Header.Get("Location") != want {
		t.Errorf("%d %q", got.StatusCode, got.Header.Get("Location"))
	}
}

func TestAnUpstreamsDemandForAnotherSignInBecomesALoginURL(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, challenge, login string }{
		{"both", `Bearer error="insufficient_user_authentication", error_description="a, b", acr_values="urn:x mfa", max_age="5"`,
			"http://localhost:8000/bff/login?provider=idp&acr_values=urn%3Ax+mfa&max_age=5"},
		{"age as a token", `Bearer realm="a", error="insufficient_user_authentication", max_age=0`, "http://localhost:8000/bff/login?provider=idp&max_age=0"},
		{"neither", `DPoP error="insufficient_user_authentication"`, "http://localhost:8000/bff/login?provider=idp"},
		{"values that would not stay in their place", `Bearer error="insufficient_user_authentication", acr_values="a&returnUrl=//evil"`,
			"http://localhost:8000/bff/login?provider=idp&acr_values=a%26returnUrl%3D%2F%2Fevil"},
		{"another error", `Bearer error="insufficient_user_authentication_x"`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", tt.challenge)
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = io.WriteString(w, "the service's own words")
			})
			got := send(t, b.call(t, "GET", b.front(t, u.route("/api/")).URL+"/api/x", nil))
			code, login := got.problem()
			if tt.login == "" {
				if got.text != "the service's own words" {
					t.Errorf("the answer became %s", got.text)
				}
				return
			}
			if got.StatusCode != 401 || code != "insufficient_user_authentication" || login != tt.login {
				t.Errorf("%d %q, login %q", got.StatusCode, code, login)
			}
		})
	}
}

func tokensOf(access string, b *bench) rp.Tokens {
	return rp.Tokens{Access: keys.NewSecret(access), Expiry: b.clock().Add(time.Hour)}
}

func exchanging(r *proxy.Route) { r.Token, r.Exchange.Audience = proxy.TokenExchange, "orders" }

func TestTheTokenIsExchangedOnceForManyCalls(t *testing.T) {
	t.Parallel()
	b, u := newBench(t), newUpstream(t, nil)
	b.tokens.exchange = func(rp.Tokens) (rp.Tokens, error) { return tokensOf("exchanged", b), nil }
	front := b.front(t, u.route("/api/", exchanging))
	for range 3 {
		send(t, b.call(t, "GET", front.URL+"/api/x", nil))
	}
	for _, got := range u.seen() {
		if got.header.Get("Authorization") != "Bearer exchanged" {
			t.Errorf("the upstream got %q", got.header.Get("Authorization"))
		}
	}
	if len(b.tokens.exchanges) != 1 || b.tokens.exchanges[0] != "at-1 for orders" {
		t.Errorf("exchanges %q", b.tokens.exchanges)
	}
}

func TestASessionIsRenewedWhenItsTokenCannotBeExchanged(t *testing.T) {
	t.Parallel()
	b, u := newBench(t), newUpstream(t, nil)
	b.pass(time.Minute)
	b.tokens.exchange = func(subject rp.Tokens) (rp.Tokens, error) {
		if subject.Access.Reveal() == "at-1" {
			return rp.Tokens{}, &rp.Error{Op: "exchange", Kind: rp.Refused, Err: errors.New("invalid_grant")}
		}
		return tokensOf("exchanged", b), nil
	}
	b.provider.renewing(func(rp.Grant) (rp.Grant, error) { return grant(b.clock().Add(time.Hour), "at-2", "rt-2"), nil })
	got := send(t, b.call(t, "GET", b.front(t, u.route("/api/", exchanging)).URL+"/api/x", nil))
	if got.StatusCode != 200 || u.only(t).header.Get("Authorization") != "Bearer exchanged" || b.provider.count() != 1 {
		t.Errorf("%d, %d renewals", got.StatusCode, b.provider.count())
	}
}

func TestWithoutItsTokenNothingIsSent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		kind   rp.Kind
		status int
		code   string
	}{
		{"the provider knows no such target", rp.Misconfigured, 502, "upstream_token_refused"},
		{"the provider does not answer", rp.Fault, 503, "provider_unavailable"},
		{"the user may not, renewed or not", rp.Refused, 502, "upstream_token_refused"},
	}
	for _, tt := range tests {
		for _, change := range []func(*proxy.Route){exchanging, func(r *proxy.Route) { r.Token, r.Provider = proxy.TokenClient, "idp" }} {
			b, u := newBench(t), newUpstream(t, nil)
			failing := &rp.Error{Op: "exchange", Kind: tt.kind, Err: errors.New("no")}
			b.tokens.exchange = func(rp.Tokens) (rp.Tokens, error) { return rp.Tokens{}, failing }
			b.tokens.client = func() (rp.Tokens, error) {
				return rp.Tokens{}, &rp.Error{Op: "client_credentials", Kind: tt.kind, Err: errors.New("no")}
			}
			b.provider.renewing(func(rp.Grant) (rp.Grant, error) { return grant(b.clock().Add(time.Hour), "at-2", "rt-2"), nil })
			got := send(t, b.call(t, "GET", b.front(t, u.route("/api/", change)).URL+"/api/x", nil))
			if code, _ := got.problem(); got.StatusCode != tt.status || code != tt.code || len(u.seen()) != 0 {
				t.Errorf("%s: %d %s, %d calls arrived", tt.name, got.StatusCode, code, len(u.seen()))
			}
		}
	}
}

// refusing answers 401 invalid_token until it gets the token named.
func refusing(until string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+until {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
}

func TestATokenThatTheServiceRefusesIsReplacedOnce(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*proxy.Route){
		"exchanged": exchanging, "Genkan's own": func(r *proxy.Route) { r.Token, r.Provider = proxy.TokenClient, "idp" },
	} {
		b, u := newBench(t), newUpstream(t, refusing("t2"))
		n := 0
		next := func() (rp.Tokens, error) { n++; return tokensOf([]string{"t1", "t2", "t3"}[n-1], b), nil }
		b.tokens.exchange, b.tokens.client = func(rp.Tokens) (rp.Tokens, error) { return next() }, next
		front := b.front(t, u.route("/api/", change))
		if got := send(t, b.call(t, "POST", front.URL+"/api/x", strings.NewReader("body"))); got.StatusCode != 200 || u.seen()[1].body != "body" {
			t.Errorf("%s: %d, arrived %v", name, got.StatusCode, u.seen())
		}
		u.mu.Lock()
		u.list = nil
		u.mu.Unlock()
		if got := send(t, b.call(t, "GET", front.URL+"/api/x", nil)); got.StatusCode != 200 || n != 2 {
			t.Errorf("%s: then %d after %d tokens", name, got.StatusCode, n)
		}
	}
}

func TestAnAssertionSaysWhoCallsAndIsForTheRoute(t *testing.T) {
	t.Parallel()
	b, u := newBench(t), newUpstream(t, nil)
	front := b.front(t, u.route("/api/", func(r *proxy.Route) { r.Token = proxy.TokenAssertion }), u.route("/named/", func(r *proxy.Route) { r.Token, r.Audience = proxy.TokenAssertion, "orders" }))
	for _, tt := range []struct{ path, audience string }{{"/api/", "/api/"}, {"/named/", "orders"}} {
		send(t, b.call(t, "GET", front.URL+tt.path+"x", nil))
		seen := u.seen()
		_, jwt, _ := strings.Cut(seen[len(seen)-1].header.Get("Authorization"), "Bearer ")
		parts := strings.Split(jwt, ".")
		if len(parts) != 3 {
			t.Fatalf("%q is no JWT", jwt)
		}
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		var claims struct{ Sub, Iss, Aud, Email string }
		if err != nil || json.Unmarshal(payload, &claims) != nil {
			t.Fatal(err)
		}
		if claims.Sub != "alice" || claims.Iss != "http://localhost:8000" || claims.Aud != tt.audience || claims.Email != "alice@example.com" {
			t.Errorf("%s: %+v", tt.path, claims)
		}
	}
}

func TestNobodyBringsGenkansOwnTokenOrNone(t *testing.T) {
	t.Parallel()
	b, u := newBench(t), newUpstream(t, nil)
	b.tokens.client = func() (rp.Tokens, error) { return tokensOf("own", b), nil }
	open := func(r *proxy.Route) { r.Auth = proxy.AuthNone }
	front := b.front(t, u.route("/own/", open, func(r *proxy.Route) { r.Token, r.Provider = proxy.TokenClient, "idp" }),
		u.route("/maybe/", func(r *proxy.Route) { r.Auth, r.Token = proxy.AuthOptional, proxy.TokenAssertion }))
	for _, tt := range []struct{ path, want string }{{"/own/", "Bearer own"}, {"/maybe/", ""}} {
		r, _ := http.NewRequest("GET", front.URL+tt.path, nil)
		r.Header.Set("X-CSRF", "1")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		if got := send(t, r); got.StatusCode != 200 {
			t.Fatalf("%s: %d %s", tt.path, got.StatusCode, got.text)
		}
		seen := u.seen()
		if got := seen[len(seen)-1].header.Get("Authorization"); got != tt.want {
			t.Errorf("%s: the upstream got %q", tt.path, got)
		}
	}
}

func TestDecisionsAreInTheLog(t *testing.T) {
	t.Parallel()
	b, u := newBench(t), newUpstream(t, nil)
	front := b.front(t, u.route("/staff/", func(r *proxy.Route) { r.Require.Groups = []string{"staff"} }), u.route("/admin/", func(r *proxy.Route) { r.Require.Groups = []string{"admins"} }))
	send(t, b.call(t, "GET", front.URL+"/staff/x", nil))
	send(t, b.call(t, "GET", front.URL+"/admin/x", nil))
	for _, want := range []string{`"msg":"access decided","decision":"allow","route":"/staff/"`, `"msg":"access decided","decision":"deny","route":"/admin/","finding":"GK421","rule":"groups"`} {
		if b.log.count(want) != 1 {
			t.Errorf("the log lacks %s:\n%s", want, b.log.String())
		}
	}
}

func TestAfterARenewalTheRulesAreAskedAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		groups string
		status int
	}{{`["staff"]`, 200}, {`["none"]`, 403}} {
		b, u := newBench(t), newUpstream(t, refusing("at-2"))
		b.pass(time.Minute)
		b.provider.renewing(func(prev rp.Grant) (rp.Grant, error) {
			g := grant(b.clock().Add(time.Hour), "at-2", "rt-2")
			g.Identity.Claims["groups"] = json.RawMessage(tt.groups)
			return g, nil
		})
		front := b.front(t, u.route("/api/", func(r *proxy.Route) {
			r.Require.Groups, r.Headers = []string{"staff"}, map[string]string{"X-Groups": "groups"}
		}))
		got := send(t, b.call(t, "GET", front.URL+"/api/x", nil))
		if got.StatusCode != tt.status {
			t.Errorf("groups %s: %d %s", tt.groups, got.StatusCode, got.text)
		}
		if seen := u.seen(); tt.status == 200 && (len(seen) != 2 || seen[1].header.Get("X-Groups") != "staff") || tt.status != 200 && len(seen) != 1 {
			t.Errorf("groups %s: arrived %v", tt.groups, seen)
		}
	}
}

func TestWhoIsToldOfTheUserIsToldAnew(t *testing.T) {
	t.Parallel()
	fault := &rp.Error{Kind: rp.Fault, Err: errors.New("down")}
	for _, tt := range []struct {
		name, refresh string
		err           error
		status        int
		renewals      int
	}{
		{"renewed", "rt-1", nil, 200, 1},
		{"the provider is down", "rt-1", fault, 200, 1},
		{"the account was closed", "rt-1", &rp.Error{Op: "refresh", Kind: rp.Refused, Err: errors.New("invalid_grant")}, 401, 1},
		{"nothing to renew with", "", nil, 200, 0},
	} {
		b, u := newBench(t), newUpstream(t, nil)
		b.cookie = b.signIn(t, grant(b.clock().Add(time.Minute), "at-1", tt.refresh))
		b.pass(2 * time.Minute)
		b.provider.renewing(func(rp.Grant) (rp.Grant, error) { return grant(b.clock().Add(time.Hour), "at-2", "rt-2"), tt.err })
		got := send(t, b.call(t, "GET", b.front(t, u.route("/api/", func(r *proxy.Route) { r.Token = proxy.TokenAssertion })).URL+"/api/x", nil))
		if got.StatusCode != tt.status || b.provider.count() != tt.renewals {
			t.Errorf("%s: %d after %d renewals", tt.name, got.StatusCode, b.provider.count())
		}
	}
}

func TestACacheInFrontKeepsCallersApart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.knowsRobot()
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "public, max-age=60") })
	got := send(t, asRobot(b, t, b.front(t, u.route("/api/", programs)).URL+"/api/x"))
	if vary := strings.Join(got.Header.Values("Vary"), ", "); !strings.Contains(vary, "Cookie") || !strings.Contains(vary, "Authorization") {
		t.Errorf("Vary: %s", vary)
	}
}
