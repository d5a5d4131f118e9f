package devidp_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

var frameSource = regexp.MustCompile(`<iframe src="([^"]*)"`)

func TestLogoutLoadsTheFramesOfTheClients(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, uri, want, policy string
	}{
		{"plain", "http://app.example:8000/bff/frontchannel", "http://app.example:8000/bff/frontchannel?", "http://app.example:8000"},
		{"with a query", "https://app.example/f?a=b%20c", "https://app.example/f?a=b%20c&", "https://app.example"},
	} {
		w := registered(t, func(c *devidp.Client) { c.FrontchannelURI = row.uri })
		_, id := w.enterAs("alice")
		_, claims := decode(t, id)
		page := w.get("/logout", url.Values{"id_token_hint": {id}, "post_logout_redirect_uri": {postLogout}, "state": {"s"}})
		found := frameSource.FindAllStringSubmatch(page.body, -1)
		want := row.want + url.Values{"iss": {w.issuer}, "sid": {claims["sid"].(string)}}.Encode()
		if len(found) != 1 || html.UnescapeString(found[0][1]) != want {
			t.Errorf("%s: frames %v, want %s", row.name, found, want)
		}
		if policy := page.Header.Get("Content-Security-Policy"); !strings.HasSuffix(policy, "; frame-src "+row.policy) || !strings.Contains(policy, "script-src 'self'") {
			t.Errorf("%s: policy %s", row.name, policy)
		}
		if link := `<a id="go-on" href="` + postLogout + `?state=s">`; !strings.Contains(page.body, link) || !strings.Contains(page.body, "/assets/frontchannel.js") {
			t.Errorf("%s: no way on: %s", row.name, page.body)
		}
		if script := w.get("/assets/frontchannel.js", nil); script.StatusCode != http.StatusOK || !strings.HasPrefix(script.Header.Get("Content-Type"), "text/javascript") {
			t.Errorf("%s: the script: HTTP %d", row.name, script.StatusCode)
		}
		if again := w.get("/logout", url.Values{"id_token_hint": {id}}); strings.Contains(again.body, "<iframe") {
			t.Errorf("%s: frames although nobody is signed in", row.name)
		}
	}
}

func TestLogoutWithFramesAndNowhereToGo(t *testing.T) {
	t.Parallel()
	w := registered(t, func(c *devidp.Client) { c.FrontchannelURI = "https://app.example/f" })
	_, id := w.enterAs("alice")
	page := w.get("/logout", url.Values{"id_token_hint": {id}})
	if !strings.Contains(page.body, "<iframe") || strings.Contains(page.body, "go-on") {
		t.Error(page.body)
	}
}

func TestRevocationToken(t *testing.T) {
	t.Parallel()
	w := with(t, func(c *devidp.Client) { c.GlobalRevocationURI = "https://app.example/gtr" })
	token, err := w.idp.RevocationToken("https://app.example/gtr", func(j *devidp.JWT) { j.Claims["extra"] = 1 })
	if err != nil {
		t.Fatal(err)
	}
	header, claims := decode(t, token)
	if header["typ"] != "global-token-revocation+jwt" || header["alg"] != "RS256" || !w.verifies(token) || len(claims["jti"].(string)) < 20 {
		t.Errorf("header %v, jti %v", header, claims["jti"])
	}
	delete(claims, "jti")
	want := map[string]any{
		"iss": w.issuer, "sub": "genkan-dev", "aud": "https://app.example/gtr", "extra": 1.0,
		"iat": 1795251600.0, "nbf": 1795251300.0, "exp": 1795251900.0, // 09:00, 08:55, 09:05
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}
}

func TestDevRevokeAll(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ query, body string }{
		{"sub=dev-user-alice-7f3a", `{"sub_id":{"format":"iss_sub","iss":"ISSUER","sub":"dev-user-alice-7f3a"}}`},
		{"email=alice@example.com", `{"sub_id":{"email":"alice@example.com","format":"email"}}`},
		{"sub=dev-user-alice-7f3a&member=subject", `{"subject":{"format":"iss_sub","iss":"ISSUER","sub":"dev-user-alice-7f3a"}}`},
	} {
		rp := newParty(t)
		rp.status = http.StatusNoContent
		w := registered(t, func(c *devidp.Client) { c.GlobalRevocationURI = rp.URL + "/gtr" })
		w.enterAs("alice")
		status, body := w.dev(http.MethodPost, "/dev/revoke-all?"+row.query)
		if want := `[{"client":"genkan-dev","uri":"` + rp.URL + `/gtr","status":204}]` + "\n"; status != http.StatusOK || body != want {
			t.Errorf("%s: HTTP %d: %s", row.query, status, body)
		}
		if got, want := rp.bodies[0], strings.ReplaceAll(row.body, "ISSUER", w.issuer); got != want {
			t.Errorf("%s: sent %s", row.query, got)
		}
		r := rp.received[0]
		token, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if _, claims := decode(t, token); !isBearer || claims["aud"] != rp.URL+"/gtr" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", row.query, r.Header)
		}
		wantKind(t, row.query, "login_required", w.get("/authorize", params("prompt", "none")))
	}
	if status, _ := quick(t).dev(http.MethodPost, "/dev/revoke-all?sub=x&member=y"); status != http.StatusBadRequest {
		t.Errorf("unknown member: HTTP %d", status)
	}
}

func TestInitiate(t *testing.T) {
	t.Parallel()
	w := with(t, func(c *devidp.Client) { c.InitiateLoginURI = "https://app.example/login?a=b" })
	for _, row := range []struct {
		name, query string
		status      int
		want        string
	}{
		{"by redirect", "client=genkan-dev&target=https://app.example/x&login_hint=alice", 302, `href="https://app.example/login?a=b&amp;iss=ISSUER&amp;login_hint=alice&amp;target_link_uri=https%3A%2F%2Fapp.example%2Fx"`},
		{"iss only", "client=genkan-dev", 302, `href="https://app.example/login?a=b&amp;iss=ISSUER"`},
		{"by form", "client=genkan-dev&method=post&target=/x", 200, `<form method="post" action="https://app.example/login?a=b" id="response">`},
		{"unknown client", "client=x", 400, ""},
	} {
		status, body := w.dev(http.MethodGet, "/dev/initiate?"+row.query)
		if want := strings.ReplaceAll(row.want, "ISSUER", url.QueryEscape(w.issuer)); status != row.status || !strings.Contains(body, want) {
			t.Errorf("%s: HTTP %d: %s", row.name, status, body)
		}
	}
}

func TestSignedUserInfo(t *testing.T) {
	t.Parallel()
	w := with(t, func(c *devidp.Client) { c.UserInfoAlg = "ES256" })
	ask := func() answer {
		r := w.request(http.MethodGet, "/userinfo", nil)
		r.Header.Set("Authorization", "Bearer "+w.tokens()["access_token"].(string))
		return w.do(r)
	}
	got := ask()
	header, claims := decode(t, got.body)
	if got.Header.Get("Content-Type") != "application/jwt" || header["alg"] != "ES256" || !w.verifies(got.body) {
		t.Errorf("type %s, header %v", got.Header.Get("Content-Type"), header)
	}
	if claims["iss"] != w.issuer || claims["aud"] != "genkan-dev" || claims["sub"] != "dev-user-alice-7f3a" || claims["name"] != "Alice Arai" {
		t.Errorf("claims %v", claims)
	}
	w.inject("userinfo-wrong-sub")
	if _, claims := decode(t, ask().body); claims["sub"] != "another-user" {
		t.Errorf("a fault of the body: %v", claims)
	}
	w.idp.Heal()
	for fault, want := range map[string]string{"userinfo-jwt-as-json": "application/json", "userinfo-jwt-good": "application/jwt"} {
		w := quick(t) // whose client registered nothing
		w.inject(fault)
		r := w.request(http.MethodGet, "/userinfo", nil)
		r.Header.Set("Authorization", "Bearer "+w.tokens()["access_token"].(string))
		if got := w.do(r); got.Header.Get("Content-Type") != want || !w.verifies(got.body) {
			t.Errorf("%s: %s %s", fault, got.Header.Get("Content-Type"), got.body)
		}
	}
}
