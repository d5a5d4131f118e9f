package devidp_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

func TestCodeIsRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		changes []string
		wait    time.Duration
		want    string
	}{
		{"unknown code", []string{"code", "x"}, 0, "invalid_grant"},
		{"no code", []string{"code", ""}, 0, "invalid_grant"},
		{"no verifier", []string{"code_verifier", ""}, 0, "invalid_grant"},
		{"other verifier", []string{"code_verifier", strings.Repeat("x", 43)}, 0, "invalid_grant"},
		{"challenge as verifier", []string{"code_verifier", challenge}, 0, "invalid_grant"},
		{"no redirect URI", []string{"redirect_uri", ""}, 0, "invalid_grant"},
		{"other redirect URI", []string{"redirect_uri", "http://127.0.0.1:8000/bff/callback"}, 0, "invalid_grant"},
		{"after a minute", nil, 61 * time.Second, "invalid_grant"},
		{"other grant type", []string{"grant_type", "password"}, 0, "unsupported_grant_type"},
		{"no grant type", []string{"grant_type", ""}, 0, "unsupported_grant_type"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := quick(t)
			form := exchange(w.code(), row.changes...)
			w.clock.advance(row.wait)
			if status, body := w.token(form); status != http.StatusBadRequest || body["error"] != row.want || body["access_token"] != nil {
				t.Errorf("HTTP %d: %v", status, body)
			}
		})
	}
}

// A failed verifier burns the code, so that nobody can try another.
func TestAWrongVerifierBurnsTheCode(t *testing.T) {
	t.Parallel()
	w := quick(t)
	code := w.code()
	w.token(exchange(code, "code_verifier", strings.Repeat("x", 43)))
	if status, _ := w.token(exchange(code)); status != http.StatusBadRequest {
		t.Errorf("HTTP %d", status)
	}
}

func TestASecondUseOfACodeRevokesWhatTheFirstGot(t *testing.T) {
	t.Parallel()
	w := quick(t)
	code := w.code()
	_, body := w.token(exchange(code))
	w.clock.advance(2 * time.Minute)
	if _, again := w.token(exchange(code)); again["error"] != "invalid_grant" {
		t.Errorf("second use: %v", again)
	}
	if status, _ := w.userInfo(body["access_token"]); status != http.StatusUnauthorized {
		t.Errorf("the access token still works: HTTP %d", status)
	}
	if _, got := w.token(refresh(body["refresh_token"])); got["error"] != "invalid_grant" {
		t.Errorf("the refresh token still works: %v", got)
	}
}

func TestRefreshRotates(t *testing.T) {
	t.Parallel()
	w := quick(t)
	body := w.tokens()
	_, first := decode(t, body["id_token"])
	for range 5 {
		w.clock.advance(23 * time.Hour)
		status, next := w.token(refresh(body["refresh_token"]))
		if status != http.StatusOK || next["refresh_token"] == body["refresh_token"] || next["access_token"] == body["access_token"] {
			t.Fatalf("HTTP %d: %v", status, next)
		}
		_, id := decode(t, next["id_token"])
		if _, has := id["nonce"]; has || id["sub"] != first["sub"] || id["auth_time"] != first["auth_time"] || id["iat"] == first["iat"] {
			t.Errorf("ID token %v", id)
		}
		body = next
	}
	w.clock.advance(25 * time.Hour)
	if _, got := w.token(refresh(body["refresh_token"])); got["error"] != "invalid_grant" {
		t.Errorf("after 25 hours: %v", got)
	}
}

func TestReuseRevokesTheFamily(t *testing.T) {
	t.Parallel()
	w := quick(t)
	first, other := w.tokens(), w.tokens()
	_, second := w.token(refresh(first["refresh_token"]))
	if _, got := w.token(refresh(first["refresh_token"])); got["error"] != "invalid_grant" {
		t.Errorf("the old token: %v", got)
	}
	if _, got := w.token(refresh(second["refresh_token"])); got["error"] != "invalid_grant" {
		t.Errorf("the new token after reuse of the old: %v", got)
	}
	if status, _ := w.userInfo(second["access_token"]); status != http.StatusUnauthorized {
		t.Errorf("the access token after reuse: HTTP %d", status)
	}
	if status, _ := w.token(refresh(other["refresh_token"])); status != http.StatusOK {
		t.Errorf("another family: HTTP %d", status)
	}
}

func TestOfParallelRefreshesOneWins(t *testing.T) {
	t.Parallel()
	w := quick(t)
	body := w.tokens()
	var wait sync.WaitGroup
	results := make(chan int, 20)
	for range 20 {
		wait.Go(func() {
			status, _ := w.token(refresh(body["refresh_token"]))
			results <- status
		})
	}
	wait.Wait()
	close(results)
	count := map[int]int{}
	for status := range results {
		count[status]++
	}
	if !cmp.Equal(count, map[int]int{200: 1, 400: 19}) {
		t.Errorf("got %v", count)
	}
	if got := w.idp.Stats().Token; !cmp.Equal(got, map[string]int{"authorization_code": 1, "refresh_token": 20}) {
		t.Errorf("counted %v", got)
	}
}

func TestScopeOfARefresh(t *testing.T) {
	t.Parallel()
	w := quick(t)
	body := w.tokens("scope", "openid profile offline_access")
	if _, got := w.token(refresh(body["refresh_token"], "scope", "openid email")); got["error"] != "invalid_scope" {
		t.Errorf("beyond the grant: %v", got)
	}
	_, got := w.token(refresh(body["refresh_token"], "scope", "openid"))
	if got["scope"] != "openid" {
		t.Errorf("less than the grant: %v", got)
	}
	if _, got = w.token(refresh(got["refresh_token"])); got["scope"] != "openid profile offline_access" {
		t.Errorf("the whole grant again: %v", got)
	}
}

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	const odd = "a+b/c:%=é " // RFC 6749 2.3.1 wants it form-encoded in the header
	uris := []string{callback}
	w := start(t, devidp.Config{AutoSignIn: "alice", SkipConsent: true, Clients: []devidp.Client{
		{ID: "genkan-dev", Secret: "genkan-dev-secret", RedirectURIs: uris},
		{ID: "odd id", Secret: odd, RedirectURIs: uris},
		{ID: "public", RedirectURIs: uris},
		{ID: "post-only", Secret: "s", RedirectURIs: uris, AuthMethods: []string{"client_secret_post"}},
	}})
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	none := func(*http.Request) {}
	for _, row := range []struct {
		name   string
		client string
		form   []string
		header func(*http.Request)
		status int
		want   any
	}{
		{"basic", "genkan-dev", nil, basic("genkan-dev", "genkan-dev-secret"), 200, nil},
		{"basic and client_id", "genkan-dev", []string{"client_id", "genkan-dev"}, basic("genkan-dev", "genkan-dev-secret"), 200, nil},
		{"basic, odd characters", "odd id", nil, basic("odd+id", "a%2Bb%2Fc%3A%25%3D%C3%A9+"), 200, nil},
		{"basic, odd characters not encoded", "odd id", nil, basic("odd id", odd), 401, "invalid_client"},
		{"post", "genkan-dev", []string{"client_id", "genkan-dev", "client_secret", "genkan-dev-secret"}, none, 200, nil},
		{"post, odd characters", "odd id", []string{"client_id", "odd id", "client_secret", odd}, none, 200, nil},
		{"public", "public", []string{"client_id", "public"}, none, 200, nil},
		{"public with a secret", "public", []string{"client_id", "public", "client_secret", "x"}, none, 401, "invalid_client"},
		{"wrong secret", "genkan-dev", nil, basic("genkan-dev", "genkan-dev-secre"), 401, "invalid_client"},
		{"no secret", "genkan-dev", []string{"client_id", "genkan-dev"}, none, 401, "invalid_client"},
		{"empty secret", "genkan-dev", nil, basic("genkan-dev", ""), 401, "invalid_client"},
		{"unknown client", "genkan-dev", nil, basic("x", "genkan-dev-secret"), 401, "invalid_client"},
		{"nobody", "genkan-dev", nil, none, 401, "invalid_client"},
		{"two ways", "genkan-dev", []string{"client_id", "genkan-dev", "client_secret", "genkan-dev-secret"}, basic("genkan-dev", "genkan-dev-secret"), 400, "invalid_request"},
		{"two clients", "genkan-dev", []string{"client_id", "public"}, basic("genkan-dev", "genkan-dev-secret"), 400, "invalid_request"},
		{"method not allowed", "post-only", nil, basic("post-only", "s"), 401, "invalid_client"},
		{"another client's code", "genkan-dev", []string{"client_id", "public"}, none, 400, "invalid_grant"},
		{"bearer", "genkan-dev", nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, 401, "invalid_client"},
		{"secret in the URL", "genkan-dev", nil, func(r *http.Request) { r.URL.RawQuery = "client_id=genkan-dev&client_secret=genkan-dev-secret" }, 400, "invalid_request"},
	} {
		r := w.request(http.MethodPost, "/token", exchange(w.code("client_id", row.client), row.form...))
		row.header(r)
		got := w.do(r)
		if body := object(t, got.body); got.StatusCode != row.status || body["error"] != row.want {
			t.Errorf("%s: HTTP %d: %v", row.name, got.StatusCode, body)
		}
		if got.StatusCode == 401 && !strings.HasPrefix(got.Header.Get("WWW-Authenticate"), "Basic") {
			t.Errorf("%s: no challenge", row.name)
		}
		if got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: may be cached", row.name)
		}
	}
}

func TestTokenEndpointIsForPostOnly(t *testing.T) {
	t.Parallel()
	w := quick(t)
	if got := w.get("/token", exchange("x")); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HTTP %d", got.StatusCode)
	}
	form := exchange(w.code())
	form.Add("code", "another")
	if status, body := w.token(form); status != http.StatusBadRequest || body["error"] != "invalid_request" {
		t.Errorf("a parameter twice: HTTP %d: %v", status, body)
	}
	form = url.Values{"grant_type": {"authorization_code"}, "code": {strings.Repeat("x", 2<<20)}}
	if got := w.post("/token", form); got.StatusCode != http.StatusBadRequest {
		t.Errorf("2 MiB: HTTP %d", got.StatusCode)
	}
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, token, client  string
		status               int
		accessGone, famiGone bool
	}{
		{"refresh token", "refresh_token", "genkan-dev", 200, true, true},
		{"access token", "access_token", "genkan-dev", 200, true, false},
		{"unknown token", "", "genkan-dev", 200, false, false},
		{"another client's refresh token", "refresh_token", "other", 400, false, false},
		{"another client's access token", "access_token", "other", 400, false, false},
		{"wrong client", "refresh_token", "nobody", 401, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			other := devidp.Client{ID: "other", Secret: "genkan-dev-secret"}
			w := start(t, devidp.Config{AutoSignIn: "alice", SkipConsent: true, Clients: []devidp.Client{devidp.DevClient(), other}})
			body := w.tokens()
			token, _ := body[row.token].(string)
			r := w.request(http.MethodPost, "/revoke", url.Values{"token": {token + strings.Repeat("x", map[bool]int{true: 9}[token == ""])}})
			r.SetBasicAuth(row.client, "genkan-dev-secret")
			if got := w.do(r); got.StatusCode != row.status {
				t.Errorf("HTTP %d: %s", got.StatusCode, got.body)
			}
			status, _ := w.userInfo(body["access_token"])
			if gone := status != http.StatusOK; gone != row.accessGone {
				t.Errorf("access token: HTTP %d", status)
			}
			status, _ = w.token(refresh(body["refresh_token"]))
			if gone := status != http.StatusOK; gone != row.famiGone {
				t.Errorf("refresh token: HTTP %d", status)
			}
		})
	}
}

func TestUserInfoWantsALivingAccessToken(t *testing.T) {
	t.Parallel()
	w := quick(t)
	body := w.tokens()
	for _, row := range []struct {
		name, header string
		challenge    string
	}{
		{"no token", "", `Bearer realm="devidp"`},
		{"basic", "Basic eDp4", `Bearer realm="devidp"`},
		{"ID token", "Bearer " + body["id_token"].(string), `error="invalid_token"`},
		{"refresh token", "Bearer " + body["refresh_token"].(string), `error="invalid_token"`},
		{"one character off", "Bearer " + body["access_token"].(string) + "x", `error="invalid_token"`},
	} {
		r := w.request(http.MethodGet, "/userinfo", nil)
		r.Header.Set("Authorization", row.header)
		got := w.do(r)
		if got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.Header.Get("WWW-Authenticate"), row.challenge) {
			t.Errorf("%s: HTTP %d, %s", row.name, got.StatusCode, got.Header.Get("WWW-Authenticate"))
		}
	}
	w.clock.advance(5*time.Minute - time.Second)
	if status, _ := w.userInfo(body["access_token"]); status != http.StatusOK {
		t.Errorf("in the last second: HTTP %d", status)
	}
	w.clock.advance(time.Second)
	if status, _ := w.userInfo(body["access_token"]); status != http.StatusUnauthorized {
		t.Errorf("after its time: HTTP %d", status)
	}
}

func TestAccessTokenLifetimeOnRequest(t *testing.T) {
	t.Parallel()
	w := quick(t)
	body := w.tokens("access_token_lifetime", "2")
	_, claims := decode(t, body["access_token"])
	if body["expires_in"] != 2.0 || claims["exp"] != 1795251602.0 {
		t.Errorf("expires_in %v, exp %v", body["expires_in"], claims["exp"])
	}
	if _, next := w.token(refresh(body["refresh_token"])); next["expires_in"] != 2.0 {
		t.Errorf("after a refresh: %v", next["expires_in"])
	}
	w.idp.SetAccessLifetime(7 * time.Second)
	if body := w.tokens(); body["expires_in"] != 7.0 {
		t.Errorf("set for all: %v", body["expires_in"])
	}
}

func TestRolledKey(t *testing.T) {
	t.Parallel()
	w := quick(t)
	before := w.tokens()["id_token"]
	if err := w.idp.RollKey(); err != nil {
		t.Fatal(err)
	}
	after := w.tokens()["id_token"]
	old, _ := decode(t, before)
	fresh, _ := decode(t, after)
	if old["kid"] == fresh["kid"] || !w.verifies(before) || !w.verifies(after) {
		t.Errorf("kid %v and %v; verified %v and %v", old["kid"], fresh["kid"], w.verifies(before), w.verifies(after))
	}
	for range 5 {
		if err := w.idp.RollKey(); err != nil {
			t.Fatal(err)
		}
	}
	if w.verifies(before) {
		t.Error("keys are published without end")
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	w := quick(t)
	body := w.tokens("login_hint", "alice")
	_, next := w.token(refresh(body["refresh_token"]))
	w.userInfo(next["access_token"])
	w.get("/jwks", nil)
	w.get("/.well-known/openid-configuration", nil)
	w.get("/logout", url.Values{"state": {"x"}})
	w.post("/revoke", nil)
	got := w.idp.Stats()
	want := devidp.Stats{
		Discovery: 1, Keys: 1, Authorize: 1, UserInfo: 1, Revocations: 1, Logouts: 1,
		Token:         map[string]int{"authorization_code": 1, "refresh_token": 1},
		LastAuthorize: params("login_hint", "alice"), LastLogout: url.Values{"state": {"x"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var issued []any
	for _, token := range w.idp.Issued() {
		issued = append(issued, token)
	}
	all := []any{
		body["access_token"], body["refresh_token"], body["id_token"],
		next["access_token"], next["refresh_token"], next["id_token"],
	}
	if diff := cmp.Diff(all, issued); diff != "" {
		t.Error(diff)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		config devidp.Config
		want   string
	}{
		{"issuer", devidp.Config{Issuer: "127.0.0.1:9000"}, "issuer"},
		{"issuer with a query", devidp.Config{Issuer: "http://127.0.0.1:9000/?x"}, "issuer"},
		{"client without id", devidp.Config{Clients: []devidp.Client{{}}}, "no id"},
		{"client twice", devidp.Config{Clients: []devidp.Client{{ID: "a"}, {ID: "a"}}}, "twice"},
		{"user without subject", devidp.Config{Users: []devidp.User{{Username: "x"}}}, "no subject"},
		{"unknown user to sign in", devidp.Config{AutoSignIn: "carol"}, "carol"},
		{"half a second", devidp.Config{AccessLifetime: time.Second / 2}, "lifetime"},
	} {
		if _, err := devidp.New(row.config); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestIssuerWithAPath(t *testing.T) {
	t.Parallel()
	w := start(t, devidp.Config{SkipConsent: true})
	w.issuer += "/oauth2/default"
	w.idp.SetIssuer(w.issuer)
	page := w.get("/authorize", params())
	if !strings.Contains(page.body, `action="`+w.issuer+`/sign-in"`) {
		t.Errorf("the form goes elsewhere: %s", page.body)
	}
	done := w.signIn(page, "alice", "password")
	wantKind(t, "signed in", "code", done)
	if cookies := done.Cookies(); len(cookies) != 1 || cookies[0].Path != "/oauth2/default/" {
		t.Errorf("cookies %v", cookies)
	}
	if got := w.get("/jwks", nil); got.StatusCode != http.StatusOK {
		t.Errorf("HTTP %d", got.StatusCode)
	}
}
