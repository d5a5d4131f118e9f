package devidp_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"genkan/internal/devidp"
)

// kind tells the provider's answers apart.
func kind(a answer) string {
	switch {
	case a.StatusCode == http.StatusSeeOther:
		u, err := a.Location()
		if err != nil {
			return "broken"
		}
		if u.Query().Has("code") {
			return "code"
		}
		return u.Query().Get("error")
	case strings.Contains(a.body, `name="password"`):
		return "sign-in"
	case strings.Contains(a.body, `name="decision"`):
		return "consent"
	case strings.Contains(a.body, "Sign out?"):
		return "sign-out?"
	case strings.Contains(a.body, "Signed out"):
		return "signed out"
	}
	return "page"
}

func wantKind(t *testing.T, name, want string, a answer) {
	t.Helper()
	if got := kind(a); got != want {
		t.Errorf("%s: %s, want %s (HTTP %d)", name, got, want, a.StatusCode)
	}
}

// enter signs alice in and consents.
func (w *world) enter(changes ...string) answer {
	w.t.Helper()
	return w.decide(w.signIn(w.get("/authorize", params(changes...)), "alice", "password"), "allow")
}

func TestASessionIsUsedUnlessTheRequestDemandsMore(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		changes []string
		want    string
	}{
		{"nothing more", nil, "code"},
		{"prompt=none", []string{"prompt", "none"}, "code"},
		{"prompt=login", []string{"prompt", "login"}, "sign-in"},
		{"prompt=select_account", []string{"prompt", "select_account"}, "sign-in"},
		{"prompt=consent", []string{"prompt", "consent"}, "consent"},
		{"young enough", []string{"max_age", "600"}, "code"},
		{"too old", []string{"max_age", "599"}, "sign-in"},
		{"max_age=0", []string{"max_age", "0"}, "sign-in"},
		{"too old, in silence", []string{"max_age", "599", "prompt", "none"}, "login_required"},
		{"the same user by name", []string{"login_hint", "alice"}, "code"},
		{"the same user by e-mail", []string{"login_hint", "alice@example.com"}, "code"},
		{"another user", []string{"login_hint", "bob"}, "sign-in"},
		{"another user, in silence", []string{"login_hint", "bob", "prompt", "none"}, "login_required"},
		{"the context it has", []string{"acr_values", "pwd"}, "code"},
		{"a stronger context", []string{"acr_values", "mfa pwd"}, "sign-in"},
		{"an unknown context", []string{"acr_values", "urn:x"}, "code"},
		{"fewer scopes", []string{"scope", "openid"}, "code"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, devidp.Config{})
			wantKind(t, "first sign-in", "code", w.enter())
			w.clock.advance(10 * time.Minute)
			wantKind(t, "second", row.want, w.get("/authorize", params(row.changes...)))
		})
	}
}

func TestWithoutASession(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{})
	wantKind(t, "in silence", "login_required", w.get("/authorize", params("prompt", "none")))
	page := w.get("/authorize", params("login_hint", "bob"))
	if !strings.Contains(page.body, `name="username" value="bob"`) {
		t.Error("the hint is not filled in")
	}
	wrong := w.signIn(page, "bob", "wrong")
	if kind(wrong) != "sign-in" || wrong.StatusCode != http.StatusForbidden || len(wrong.Cookies()) != 0 {
		t.Errorf("wrong password: HTTP %d, cookies %v", wrong.StatusCode, wrong.Cookies())
	}
	wantKind(t, "unknown user", "sign-in", w.signIn(page, "", ""))
	wantKind(t, "right password", "consent", w.signIn(page, "bob", "password"))
}

// Demands are met by the sign-in that follows them, and the new sign-in is told.
func TestSigningInAgainMeetsTheDemand(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		changes []string
		acr     string
	}{
		{"prompt=login", []string{"prompt", "login"}, "pwd"},
		{"max_age=0", []string{"max_age", "0"}, "pwd"},
		{"stronger context", []string{"acr_values", "mfa"}, "mfa"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, devidp.Config{})
			_, first := w.enter().location(t)
			w.clock.advance(time.Hour)
			again := w.signIn(w.get("/authorize", params(row.changes...)), "alice", "password")
			wantKind(t, "signed in again", "code", again) // the consent is remembered
			_, second := again.location(t)
			_, old := w.token(exchange(first.Get("code")))
			if old["error"] != "invalid_grant" {
				t.Errorf("a code an hour old: %v", old)
			}
			_, body := w.token(exchange(second.Get("code")))
			_, claims := decode(t, body["id_token"])
			if claims["auth_time"] != 1795255200.0 || claims["acr"] != row.acr { // 10:00
				t.Errorf("auth_time %v, acr %v", claims["auth_time"], claims["acr"])
			}
		})
	}
}

func TestAHintedSubjectMustSignIn(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{SkipConsent: true})
	_, got := w.signIn(w.get("/authorize", params()), "alice", "password").location(t)
	_, body := w.token(exchange(got.Get("code")))
	hint, _ := body["id_token"].(string)
	wantKind(t, "same user", "code", w.get("/authorize", params("id_token_hint", hint, "prompt", "none")))
	page := w.get("/authorize", params("prompt", "login", "id_token_hint", hint))
	wantKind(t, "another user", "login_required", w.signIn(page, "bob", "password"))
}

func TestConsent(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{})
	page := w.signIn(w.get("/authorize", params("scope", "openid")), "alice", "password")
	wantKind(t, "denied", "access_denied", w.decide(page, "deny"))
	wantKind(t, "asked again", "consent", w.get("/authorize", params("scope", "openid")))
	wantKind(t, "in silence", "consent_required", w.get("/authorize", params("scope", "openid", "prompt", "none")))
	wantKind(t, "no decision", "access_denied", w.decide(page, ""))
	wantKind(t, "allowed", "code", w.decide(page, "allow"))
	wantKind(t, "remembered", "code", w.get("/authorize", params("scope", "openid")))
	wantKind(t, "more scopes", "consent", w.get("/authorize", params("scope", "openid email")))
	w.browser = newBrowser(w.issuer)
	wantKind(t, "allowed by nobody", "sign-in", w.decide(page, "allow"))
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, header, value string }{
		{"by Fetch Metadata", "Sec-Fetch-Site", "cross-site"},
		{"from another port", "Sec-Fetch-Site", "same-site"},
		{"by Origin", "Origin", "http://evil.example"},
	} {
		for _, path := range []string{"/sign-in", "/consent", "/logout/confirmed"} {
			w := start(t, devidp.Config{})
			page := w.get("/authorize", params())
			r := w.request(http.MethodPost, path, url.Values{
				"request": {page.carried(t)}, "username": {"alice"}, "password": {"password"}, "decision": {"allow"},
			})
			r.Header.Set(row.header, row.value)
			if got := w.do(r); got.StatusCode != http.StatusForbidden || len(got.Cookies()) > 0 {
				t.Errorf("%s %s: HTTP %d, cookies %v", row.name, path, got.StatusCode, got.Cookies())
			}
		}
	}
}

// What a page carries along is checked anew.
func TestACarriedRequestIsNotTrusted(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{})
	got := w.post("/sign-in", url.Values{
		"request": {params("redirect_uri", "http://evil.example/").Encode()}, "username": {"alice"}, "password": {"password"},
	})
	if got.StatusCode != http.StatusBadRequest || len(got.Cookies()) > 0 {
		t.Errorf("HTTP %d, cookies %v", got.StatusCode, got.Cookies())
	}
	if got := w.post("/sign-in", url.Values{"request": {"%zz"}}); got.StatusCode != http.StatusBadRequest {
		t.Errorf("broken request: HTTP %d", got.StatusCode)
	}
}

func TestTheSessionCookie(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{})
	first := w.signIn(w.get("/authorize", params()), "alice", "password").Cookies()
	if len(first) != 1 || first[0].Name != "devidp_session" || !first[0].HttpOnly || first[0].SameSite != http.SameSiteLaxMode || first[0].Path != "/" {
		t.Fatalf("cookies %v", first)
	}
	again := w.signIn(w.get("/authorize", params("prompt", "login")), "alice", "password").Cookies()
	if len(again) != 1 || again[0].Value == first[0].Value {
		t.Error("a new sign-in keeps the cookie's value")
	}
	w.browser = newBrowser(w.issuer)
	r := w.request(http.MethodGet, "/authorize", params())
	r.AddCookie(first[0])
	wantKind(t, "the old value", "sign-in", w.do(r))
	r = w.request(http.MethodGet, "/authorize", params())
	r.AddCookie(again[0])
	wantKind(t, "the new value", "consent", w.do(r))
	w.clock.advance(12 * time.Hour)
	r = w.request(http.MethodGet, "/authorize", params())
	r.AddCookie(again[0])
	wantKind(t, "after 12 hours", "sign-in", w.do(r))
}

func TestTwoTabsSignInAtTheSameTime(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{SkipConsent: true})
	one, two := w.get("/authorize", params("state", "one")), w.get("/authorize", params("state", "two"))
	for state, page := range map[string]answer{"one": one, "two": two} {
		if _, got := w.signIn(page, "alice", "password").location(t); !got.Has("code") || got.Get("state") != state {
			t.Errorf("tab %s: %v", state, got)
		}
	}
}

func TestTheUserButtonsSignIn(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{SkipConsent: true})
	page := w.get("/authorize", params())
	wantKind(t, "bob's button", "code", w.post("/sign-in", url.Values{"request": {page.carried(t)}, "username": {""}, "password": {""}, "as": {"bob"}}))
}

func TestLogout(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		method string
		hint   bool
		form   []string
		want   string // "": back to the application
		ended  bool
	}{
		{"with a hint", http.MethodGet, true, []string{"post_logout_redirect_uri", postLogout, "state", "s"}, "", true},
		{"by POST", http.MethodPost, true, []string{"post_logout_redirect_uri", postLogout, "state", "s"}, "", true},
		{"hint and client", http.MethodGet, true, []string{"client_id", "genkan-dev", "post_logout_redirect_uri", postLogout, "state", "s"}, "", true},
		{"hint only", http.MethodGet, true, nil, "signed out", true},
		{"hint of another client", http.MethodGet, true, []string{"client_id", "other"}, "page", false},
		{"other address", http.MethodGet, true, []string{"post_logout_redirect_uri", postLogout + "/"}, "page", false},
		{"the login address", http.MethodGet, true, []string{"post_logout_redirect_uri", callback}, "page", false},
		{"no hint", http.MethodGet, false, []string{"client_id", "genkan-dev", "post_logout_redirect_uri", postLogout}, "sign-out?", false},
		{"nothing", http.MethodGet, false, nil, "sign-out?", false},
		{"address of nobody", http.MethodGet, false, []string{"post_logout_redirect_uri", postLogout}, "page", false},
		{"forged hint", http.MethodGet, false, []string{"id_token_hint", "e30.e30.e30", "post_logout_redirect_uri", postLogout}, "page", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, devidp.Config{SkipConsent: true})
			_, got := w.signIn(w.get("/authorize", params()), "alice", "password").location(t)
			_, body := w.token(exchange(got.Get("code")))
			w.clock.advance(time.Hour) // the hint has expired, which is fine
			form := change(url.Values{}, row.form)
			if row.hint {
				form.Set("id_token_hint", body["id_token"].(string))
			}
			out := w.do(w.request(row.method, "/logout", form))
			if row.want != "" {
				wantKind(t, "answer", row.want, out)
			} else if base, got := out.location(t); base != postLogout || got.Encode() != "state=s" {
				t.Errorf("sent to %s with %v", base, got)
			}
			after := map[bool]string{true: "login_required", false: "code"}[row.ended]
			wantKind(t, "session afterwards", after, w.get("/authorize", params("prompt", "none")))
		})
	}
}

func TestLogoutWithoutAHintAsksFirst(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{SkipConsent: true})
	w.signIn(w.get("/authorize", params()), "alice", "password")
	form := url.Values{"client_id": {"genkan-dev"}, "post_logout_redirect_uri": {postLogout}, "state": {"s"}}
	page := w.get("/logout", form)
	for _, want := range []string{`value="genkan-dev"`, `value="` + postLogout + `"`, `value="s"`} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page does not carry %s", want)
		}
	}
	if base, got := w.post("/logout/confirmed", form).location(t); base != postLogout || got.Get("state") != "s" {
		t.Errorf("sent to %s with %v", base, got)
	}
	wantKind(t, "session afterwards", "login_required", w.get("/authorize", params("prompt", "none")))
	wantKind(t, "signed out already", "signed out", w.get("/logout", nil))
}

// The browser of an application on another site brings no cookie, or another user's.
func TestTheHintNamesTheSession(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{SkipConsent: true})
	_, got := w.signIn(w.get("/authorize", params()), "alice", "password").location(t)
	_, body := w.token(exchange(got.Get("code")))
	form := url.Values{"id_token_hint": {body["id_token"].(string)}}
	alice := w.browser

	w.browser = newBrowser(w.issuer)
	w.signIn(w.get("/authorize", params()), "bob", "password")
	wantKind(t, "bob's browser", "sign-out?", w.get("/logout", form))
	wantKind(t, "bob afterwards", "code", w.get("/authorize", params("prompt", "none")))

	w.browser = newBrowser(w.issuer)
	wantKind(t, "no cookie", "signed out", w.get("/logout", form))
	w.browser = alice
	wantKind(t, "alice afterwards", "login_required", w.get("/authorize", params("prompt", "none")))
}

func TestOnlyItsOwnIDTokensAreHints(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{AutoSignIn: "alice", SkipConsent: true})
	body := w.tokens()
	wantKind(t, "ID token", "signed out", w.get("/logout", url.Values{"id_token_hint": {body["id_token"].(string)}}))
	wantKind(t, "access token", "page", w.get("/logout", url.Values{"id_token_hint": {body["access_token"].(string)}}))
	for _, fault := range []string{"id-wrong-iss", "id-unknown-kid", "id-bad-signature", "id-alg-none"} {
		w.inject(fault)
		body := w.tokens()
		w.idp.Heal()
		wantKind(t, fault, "page", w.get("/logout", url.Values{"id_token_hint": {body["id_token"].(string)}}))
	}
}

// A browser with a strong session is told the context that this client asked for.
func TestAStrongSessionAnswersAWeakerRequest(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{SkipConsent: true})
	w.signIn(w.get("/authorize", params("acr_values", "mfa")), "alice", "password")
	for asked, want := range map[string]string{"": "mfa", "pwd": "pwd", "mfa": "mfa", "urn:x pwd": "pwd"} {
		_, got := w.get("/authorize", params("acr_values", asked)).location(t)
		_, body := w.token(exchange(got.Get("code")))
		if _, claims := decode(t, body["id_token"]); claims["acr"] != want {
			t.Errorf("asked for %q: acr %v", asked, claims["acr"])
		}
	}
}
