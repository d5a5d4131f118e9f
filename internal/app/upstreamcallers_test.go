package app_test

import (
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"genkan/internal/devidp"
)

const callers = `upstreams:
  - {path: /mine/, url: $MINE, auth: required, token: relay, accept: [session, bearer], audiences: ['http://127.0.0.1:9100']}
  - {path: /reports/, url: $REPORTS, auth: required, token: relay, accept: [bearer], audiences: [other-reports, reports], introspection: idp}
  - {path: /people/, url: $PEOPLE, auth: required, token: none}
`

func callerServices() map[string]func(*upstreamRig) http.Handler {
	return map[string]func(*upstreamRig) http.Handler{"MINE": nil, "REPORTS": nil, "PEOPLE": nil}
}

// faulty is a token that robot gets while the provider has a fault.
func (r *upstreamRig) faulty(fault string) string {
	r.t.Helper()
	f, err := devidp.FaultNamed(fault)
	if err != nil {
		r.t.Fatal(err)
	}
	r.idp.Inject(f)
	defer r.idp.Heal()
	return r.obtain("robot", url.Values{"audience": {"reports"}})
}

// fromAnother is a token of a provider that Genkan does not know, signed with the very key
// of the one it knows.
func (r *upstreamRig) fromAnother() string {
	r.t.Helper()
	other := &upstreamRig{t: r.t}
	other.startProvider(func(c *devidp.Config) { c.NewKey = func() (*rsa.PrivateKey, error) { return suiteKeys()[0], nil } })
	return other.obtain("robot", url.Values{"audience": {"reports"}})
}

func TestAProgramIsKnownByItsAccessToken(t *testing.T) {
	t.Parallel()
	r := newUpstreamRig(t, upstreamPlan{settings: callers, services: callerServices()})
	alice := r.signIn("alice")
	if p := alice.call(http.MethodGet, "/mine/x"); p.status != http.StatusOK {
		t.Fatalf("%s", p)
	}
	of := strings.TrimPrefix(r.services["MINE"].last(), "Bearer ")
	robot, id := r.obtain("robot", url.Values{"audience": {"reports"}}), ""
	for _, token := range r.idp.Issued() {
		if strings.Count(token, ".") == 2 && claimsOf("Bearer " + token)["nonce"] != nil {
			id = token
		}
	}
	if id == "" {
		t.Fatal("there is no ID token")
	}
	const invalid = `Bearer error="invalid_token"`
	for _, row := range []struct{ name, method, path, authorization, want, challenge string }{
		{"a program's", "GET", "/reports/x", "Bearer " + robot, "200", ""},
		{"a program's that writes, without CSRF header", "POST", "/reports/x", "bearer " + robot, "200", ""},
		{"a user's, from a session", "DELETE", "/mine/x", "Bearer " + of, "200", ""},
		{"a user's for another service", "GET", "/reports/x", "Bearer " + of, "401 invalid_token", invalid},
		{"a program's for another service", "GET", "/mine/x", "Bearer " + robot, "401 invalid_token", invalid},
		{"an ID token", "GET", "/mine/x", "Bearer " + id, "401 invalid_token", invalid},
		{"of another issuer, with the same key", "GET", "/reports/x", "Bearer " + r.fromAnother(), "401 invalid_token", invalid},
		{"expired", "GET", "/reports/x", "Bearer " + r.faulty("bearer-expired"), "401 invalid_token", invalid},
		{"alg none", "GET", "/reports/x", "Bearer " + r.faulty("bearer-alg-none"), "401 invalid_token", invalid},
		{"bound to a key", "GET", "/reports/x", "Bearer " + r.faulty("bearer-cnf-jkt"), "401 invalid_token", invalid},
		{"as DPoP", "GET", "/reports/x", "DPoP " + robot, "401 invalid_token", `Bearer realm="genkan"`},
		{"in the query", "GET", "/reports/x?access_token=" + robot, "", "400 parameter_invalid", ""},
		{"none", "GET", "/reports/x", "", "401 invalid_token", `Bearer realm="genkan"`},
		{"where only browsers are let in", "GET", "/people/x", "Bearer " + robot, "403 csrf", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := r.services[strings.ToUpper(strings.Split(row.path, "/")[1])]
			before := len(s.credentials())
			p := r.program().call(row.method, row.path, "Authorization: "+row.authorization)
			if p.said() != row.want || p.header.Get("WWW-Authenticate") != row.challenge {
				t.Errorf("%s, %q", p, p.header.Get("WWW-Authenticate"))
			}
			calls := s.credentials()[before:]
			if good := row.want == "200"; len(calls) != map[bool]int{true: 1}[good] || good && !strings.EqualFold(calls[0], row.authorization) {
				t.Errorf("the service got %d calls", len(calls))
			}
			if p.header.Get("Set-Cookie") != "" {
				t.Error("a program got a cookie")
			}
		})
	}
	if n := r.idp.Stats().Introspections; n != 0 {
		t.Errorf("%d JWTs were sent to the introspection endpoint", n)
	}
}

func TestACallWithCookieAndTokenIsRefused(t *testing.T) {
	t.Parallel()
	r := newUpstreamRig(t, upstreamPlan{settings: callers, services: callerServices()})
	alice := r.signIn("alice")
	if p := alice.call(http.MethodPost, "/mine/x"); p.status != http.StatusOK {
		t.Fatalf("%s", p)
	}
	own := r.services["MINE"].last()
	for name, headers := range map[string][]string{
		"the same user's":      {"Authorization: " + own},
		"without CSRF header":  {"Authorization: " + own, "X-CSRF: "},
		"one that is not good": {"Authorization: Bearer x"},
		"another scheme":       {"Authorization: Basic eDp5"},
	} {
		if p := alice.call(http.MethodPost, "/mine/x", headers...); p.said() != "400 credentials_ambiguous" {
			t.Errorf("%s: %s", name, p)
		}
	}
	if p := alice.call(http.MethodPost, "/mine/x", "X-CSRF: "); p.said() != "403 csrf" {
		t.Errorf("a browser without CSRF header: %s", p)
	}
	if n := len(r.services["MINE"].credentials()); n != 1 {
		t.Errorf("the service was called %d times, want once", n)
	}
	if p := alice.call(http.MethodPost, "/people/x", "Authorization: "+own); p.status != http.StatusOK || r.services["PEOPLE"].last() != "" {
		t.Errorf("where only browsers are let in, the header is to be cut: %s", p)
	}
}

func TestAnOpaqueTokenIsAskedAbout(t *testing.T) {
	t.Parallel()
	r := newUpstreamRig(t, upstreamPlan{settings: callers, services: callerServices()})
	want := func(when, path, token, said string, asked int) {
		t.Helper()
		if p := r.program().call(http.MethodPost, path, "Authorization: Bearer "+token); p.said() != said {
			t.Errorf("%s: %s, want %s", when, p, said)
		}
		if n := r.idp.Stats().Introspections; n != asked {
			t.Errorf("%s: the provider was asked %d times, want %d", when, n, asked)
		}
	}
	revoke := func(token string) {
		t.Helper()
		form := url.Values{"client_id": {"obscure"}, "client_secret": {"robot-canary"}, "token": {token}}
		if p := r.program().send(http.MethodPost, r.issuer+"/revoke", form.Encode(), "Content-Type: application/x-www-form-urlencoded"); p.status != http.StatusOK {
			t.Fatalf("revocation: %s", p)
		}
	}
	good := r.obtain("obscure", url.Values{"audience": {"reports"}})
	want("good", "/reports/x", good, "200", 1)
	want("good, once more", "/reports/x", good, "200", 1)
	if got := r.services["REPORTS"].last(); got != "Bearer "+good {
		t.Error("the service did not get the token")
	}
	want("where nobody is asked", "/mine/x", good, "401 invalid_token", 1)
	want("for another service", "/reports/x", r.obtain("obscure", url.Values{"audience": {ownAudience}}), "401 invalid_token", 2)
	want("of nobody", "/reports/x", "opaque-token-of-nobody", "401 invalid_token", 3)
	want("a JWT", "/reports/x", r.obtain("robot", url.Values{"audience": {"reports"}}), "200", 3)
	want("a JWT of nobody", "/reports/x", "eyJhbGciOiJub25lIn0.e30.x", "401 invalid_token", 3)
	revoked := r.obtain("obscure", url.Values{"audience": {"reports"}})
	revoke(revoked)
	want("revoked before", "/reports/x", revoked, "401 invalid_token", 4)

	// An answer is not kept for longer than the token is good, and this one is good no more
	// but for the minute that clocks may differ. The thirty seconds of others are held
	// against a clock in package access.
	r.idp.Inject(devidp.Fault{At: "/introspect", Body: func(b map[string]any) {
		if b["active"] == true {
			b["exp"] = time.Now().Add(-5 * time.Second).Unix()
		}
	}})
	momentary := r.obtain("obscure", url.Values{"audience": {"reports"}})
	want("good for the moment", "/reports/x", momentary, "200", 5)
	want("good for another one", "/reports/x", momentary, "200", 6)
	revoke(momentary)
	want("revoked in between", "/reports/x", momentary, "401 invalid_token", 7)
	if got := len(r.services["REPORTS"].credentials()); got != 5 || len(r.services["MINE"].credentials()) != 0 {
		t.Errorf("the service was called %d times, want 5", got)
	}
}

// rules are routes of one rule each.
func rules(all map[string]string) string {
	text := "upstreams:\n  - {path: /own/, url: $S, auth: required, token: relay}\n"
	for name, rule := range all {
		text += fmt.Sprintf("  - {path: /%s/, url: $S, auth: required, token: relay, accept: [session, bearer], audiences: ['http://127.0.0.1:9100', reports], require: %s}\n", name, rule)
	}
	return text
}

func withUsers(c *devidp.Config) {
	c.Users = []devidp.User{
		{Username: "alice", Password: "password", Subject: aliceSubject, Email: "alice@example.com", EmailVerified: true, Groups: []string{"staff", "admins"},
			Claims: map[string]any{"department": "sales", "roles": []string{"reader", "editor"}, "level": 3}, Roles: []string{"reader", "editor"}},
		{Username: "bob", Password: "password", Subject: bobSubject, Email: "bob@example.com", Groups: []string{"staff"},
			Claims: map[string]any{"department": map[string]any{"sales": true}}},
	}
}

func TestARouteHoldsItsCallersToItsRules(t *testing.T) {
	t.Parallel()
	const scope, groups, claims, authentication = "403 insufficient_scope", "403 insufficient_groups", "403 insufficient_claims", "401 insufficient_user_authentication"
	table := []struct{ name, rule, alice, bob, robot string }{
		{"scopes", "{scopes: [groups, email]}", "200", "200", scope},
		{"scope-of-programs", "{scopes: [reports.read]}", scope, scope, "200"},
		{"groups", "{groups: [owners, admins]}", "200", groups, groups},
		{"claim", "{claims: {department: [support, sales]}}", "200", claims, claims}, // bob's is an object
		{"claim-list", "{claims: {roles: [editor]}}", "200", claims, claims},
		{"claim-number", "{claims: {level: ['3']}}", "200", claims, claims},
		{"claims", "{claims: {department: [sales], roles: [owner]}}", claims, claims, claims},
		{"email-verified", "{claims: {email: [alice@example.com, bob@example.com]}}", "200", claims, claims},
		{"subject", "{claims: {sub: [robot, " + bobSubject + "]}}", claims, "200", "200"},
		{"acr", "{acr: [mfa]}", authentication, authentication, authentication},
		{"acr-of-all", "{acr: [mfa, pwd]}", "200", "200", authentication},
		{"age", "{max_age: 10m}", "200", "200", authentication},
		{"groups-first", "{groups: [owners], acr: [mfa]}", groups, groups, groups},
	}
	all := map[string]string{}
	for _, row := range table {
		all[row.name] = row.rule
	}
	r := newUpstreamRig(t, upstreamPlan{settings: rules(all), services: map[string]func(*upstreamRig) http.Handler{"S": nil}, idp: withUsers})
	alice, bob, program, s := r.signIn("alice"), r.signIn("bob"), r.program(), r.services["S"]
	tokenOf := func(user *caller) string {
		user.call(http.MethodGet, "/own/x")
		return "Authorization: " + s.last()
	}
	hers, robot := tokenOf(alice), "Authorization: Bearer "+r.obtain("robot", url.Values{"audience": {"reports"}, "scope": {"reports.read"}})
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			for _, call := range []struct {
				who           string
				caller        *caller
				authorization string
				want          string
			}{
				{"alice", alice, "Accept: */*", row.alice}, {"bob", bob, "Accept: */*", row.bob},
				{"a program of hers", program, hers, strings.Replace(row.alice, "200", withoutEmail(row.name), 1)}, {"a program", program, robot, row.robot},
				{"nobody", r.browser(), "Accept: */*", "401 unauthenticated"},
			} {
				before := len(s.credentials())
				p := call.caller.call(http.MethodGet, "/"+row.name+"/x", call.authorization)
				if p.said() != call.want || len(s.credentials())-before != map[bool]int{true: 1}[call.want == "200"] {
					t.Errorf("%s: %s, want %s, and %d calls", call.who, p, call.want, len(s.credentials())-before)
				}
				if offered := p.read("login_url") != nil; offered != (p.status == http.StatusUnauthorized && call.caller != program) {
					t.Errorf("%s: a login_url is offered: %v", call.who, offered)
				}
				if challenge := p.header.Get("WWW-Authenticate"); p.status == 401 && call.caller == program && !strings.HasPrefix(challenge, `Bearer error="insufficient_user_authentication"`) {
					t.Errorf("%s: the challenge is %q", call.who, challenge)
				}
			}
		})
	}
	r.judgeDecisions()
}

// judgeDecisions holds the audit log to what it says, and to what it may not say.
func (r *upstreamRig) judgeDecisions() {
	r.t.Helper()
	log := r.log.String()
	for _, line := range []string{`"rule":"claims.department"`, `"rule":"groups"`, `"decision":"deny"`, `"decision":"allow"`, `"subject":"robot"`} {
		if !strings.Contains(log, line) {
			r.t.Errorf("the log does not say %s", line)
		}
	}
	for _, value := range []string{"alice@example.com", "bob@example.com", `"sales"`, `"editor"`} {
		if strings.Contains(log, value) {
			r.t.Errorf("the log holds the value %s of a user", value)
		}
	}
}

// withoutEmail is what a program with a user's token gets where the user gets 200: the
// provider puts no email into access tokens.
func withoutEmail(rule string) string {
	if rule == "email-verified" {
		return "403 insufficient_claims"
	}
	return "200"
}

// The rule is Genkan's, or the upstream's own (RFC 9470 3).
func TestAStepUpReplacesTheSession(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, rule, acr, maxAge string }{
		{"acr", "{acr: [mfa, better]}", "mfa better", ""},
		{"max_age", "{max_age: 30s}", "", "30"},
		{"both", "{acr: [mfa], max_age: 30s}", "mfa", "30"},
		{"the upstream's", "{scopes: [openid]}", "mfa", "30"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var behind atomic.Int64 // how far the provider's clock is
			behind.Store(int64(50 * time.Second))
			demanding := func(*upstreamRig) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if row.name == "the upstream's" && r.URL.Path == "/guarded" && claimsOf(r.Header.Get("Authorization"))["acr"] != "mfa" {
						w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_user_authentication", acr_values="mfa", max_age="30"`)
						w.WriteHeader(http.StatusUnauthorized)
					}
				})
			}
			r := newUpstreamRig(t, upstreamPlan{
				settings: rules(map[string]string{"strong": row.rule}), services: map[string]func(*upstreamRig) http.Handler{"S": demanding},
				idp: func(c *devidp.Config) {
					c.Now = func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
				},
			})
			alice := r.signIn("alice")
			behind.Store(0) // so the sign-in was 50 seconds ago
			if p := alice.call(http.MethodGet, "/own/x"); p.status != http.StatusOK {
				t.Fatalf("%s", p)
			}
			p := alice.call(http.MethodGet, "/strong/guarded")
			if p.said() != "401 insufficient_user_authentication" {
				t.Fatalf("%s", p)
			}
			login, _ := p.read("login_url").(string)
			u, err := url.Parse(login)
			if err != nil || !strings.HasPrefix(login, r.url+"/bff/login?") || u.Query().Get("acr_values") != row.acr || u.Query().Get("max_age") != row.maxAge {
				t.Fatalf("login_url is %s", login)
			}
			old := r.browser()
			old.client.Jar = copyJar(t, alice.client.Jar, r.url)
			if asked := alice.navigate(login+"&returnUrl=/bff/session", "alice"); !asked || !strings.Contains(alice.page.body, `"authenticated":true`) {
				t.Fatalf("the provider asked for a sign-in: %v; it ended with %s", asked, alice.page)
			}
			if asked := r.idp.Stats().LastAuthorize; asked.Get("acr_values") != row.acr || asked.Get("max_age") != row.maxAge {
				t.Errorf("the provider was asked for acr_values %q and max_age %q", asked.Get("acr_values"), asked.Get("max_age"))
			}
			if p := alice.call(http.MethodGet, "/strong/guarded"); p.status != http.StatusOK {
				t.Errorf("after the step-up: %s", p)
			}
			if p := old.call(http.MethodGet, "/own/x"); p.said() != "401 unauthenticated" {
				t.Errorf("the session from before: %s", p)
			}
			if sessions, _ := alice.call(http.MethodGet, "/bff/sessions").read("sessions").([]any); len(sessions) != 1 {
				t.Errorf("alice has %d sessions, want one", len(sessions))
			}
		})
	}
}
