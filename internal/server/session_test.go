package server_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"genkan/internal/devidp"
)

func TestRefreshRenewsTheTokens(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	for range 5 { // rotation: each time with the latest token
		if p := b.fetch(http.MethodPost, s.url+"/bff/refresh", s.app); p.status != 200 || !strings.Contains(p.body, `"authenticated":true`) {
			t.Fatalf("%d %s", p.status, p.body)
		}
	}
	if got := s.idp.Stats().Token["refresh_token"]; got != 5 {
		t.Errorf("%d token requests, want 5", got)
	}
}

func TestARefusedRefreshEndsTheSessionAnOutageDoesNot(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	outage, _ := devidp.FaultNamed("token-500")
	s.idp.Inject(outage)
	s.clock.pass(6 * time.Minute) // the access token is over
	if p := b.fetch(http.MethodPost, s.url+"/bff/refresh", s.app); p.status != 503 || p.header.Get("Retry-After") == "" || !strings.Contains(p.body, "provider_unavailable") {
		t.Errorf("outage: %d %s", p.status, p.body)
	}
	s.wantSignedIn(t, b, true)
	s.idp.Heal()
	s.clock.pass(time.Minute) // nobody asks a provider again at once that has just failed
	refusal, err := devidp.FaultNamed("token-invalid-grant")
	if err != nil {
		t.Fatal(err)
	}
	s.idp.Inject(refusal)
	p := b.fetch(http.MethodPost, s.url+"/bff/refresh", s.app)
	var answer problem
	_ = json.Unmarshal([]byte(p.body), &answer)
	if p.status != 401 || answer.Code != "session_expired" || answer.LoginURL != s.url+"/bff/login" {
		t.Errorf("refused: %d %s", p.status, p.body)
	}
	if len(b.cookies("localhost")) != 0 {
		t.Error("the dead session's cookie was not cleared")
	}
	s.wantSignedIn(t, b, false)
}

func TestAStoreOutageSignsNobodyOut(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	s.store.fail(errors.New("down"))
	for _, call := range [][2]string{{"GET", "/bff/session"}, {"GET", "/bff/user"}, {"POST", "/bff/refresh"}, {"POST", "/bff/logout"}} {
		if p := b.fetch(call[0], s.url+call[1], s.app); p.status != 503 || !strings.Contains(p.body, "store_unavailable") || p.header.Get("Retry-After") == "" {
			t.Errorf("%v: %d %s", call, p.status, p.body)
		}
	}
	s.store.recover(t, s.Sessions)
	s.wantSignedIn(t, b, true)
}

func TestABrokenCookieIsSignedOutNeverAnError(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	good := b.cookies("localhost")["bff-"+s.port].Value
	for i := range len(good) {
		changed := []byte(good)
		changed[i] ^= 1
		r := httptest.NewRequest(http.MethodGet, s.url+"/bff/session", nil)
		r.Header.Set("Cookie", "bff-"+s.port+"="+string(changed))
		got := s.send(r, fetchSame...)
		if body := bodyOf(t, got); got.StatusCode != 200 || !strings.Contains(body, `"authenticated":false`) {
			t.Errorf("byte %d: %d %s", i, got.StatusCode, body)
		}
	}
	r := httptest.NewRequest(http.MethodGet, s.url+"/bff/session", nil)
	r.Header.Set("Cookie", "bff-"+s.port+"="+good)
	if body := bodyOf(t, s.send(r, fetchSame...)); !strings.Contains(body, `"authenticated":true`) {
		t.Errorf("the whole cookie: %s", body)
	}
}

func TestAnIdIsTakenFromTheCookieOnly(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	name, value := "bff-"+s.port, b.cookies("localhost")["bff-"+s.port].Value
	for _, how := range []struct {
		target  string
		headers []string
	}{
		{"/bff/session?" + name + "=" + value, nil},
		{"/bff/session?session=" + value, nil},
		{"/bff/session", []string{"Authorization: Bearer " + value}},
		{"/bff/session", []string{"Cookie: " + strings.ToUpper(name) + "=" + value}},
	} {
		if body := bodyOf(t, s.do(http.MethodGet, s.url+how.target, slices.Concat(fetchSame, how.headers)...)); !strings.Contains(body, `"authenticated":false`) {
			t.Errorf("%v: %s", how, body)
		}
	}
}

func TestSignOutByLinkNeedsItsSid(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	logoutURL, _ := s.session(t, b)["logout_url"].(string)
	for name, address := range map[string]string{"no sid": s.url + "/bff/logout", "wrong sid": s.url + "/bff/logout?sid=AAAA"} {
		p := b.open(address, s.url+"/")
		if p.status != 200 || !strings.Contains(p.body, "Sign out?") || !strings.Contains(p.body, "sid=") {
			t.Errorf("%s: %d %.300s", name, p.status, p.body)
		}
	}
	// From another site the Strict cookie does not come: a page asks, nothing ends.
	if p := b.open(logoutURL, "http://evil.example/"); p.status != 200 || !strings.Contains(p.body, "Sign out?") {
		t.Errorf("from another site: %d %.300s", p.status, p.body)
	}
	for _, mode := range []string{"no-cors", "cors"} {
		r, _ := http.NewRequest(http.MethodGet, logoutURL, nil)
		r.Header.Set("Sec-Fetch-Mode", mode)
		b.attach(r, false, false)
		if p := b.send(r); p.status != 400 {
			t.Errorf("%s: %d, want 400", mode, p.status)
		}
	}
	s.wantSignedIn(t, b, true)
	p := b.open(logoutURL+"&returnUrl="+url.QueryEscape(s.app+"/bye"), s.app+"/")
	if p.url.String() != s.app+"/bye" {
		t.Errorf("landed at %s", p.url)
	}
	s.wantSignedIn(t, b, false)
	if p := b.open(s.url+"/bff/logout?returnUrl=%2Fbye", s.app+"/"); p.url.String() != s.url+"/bye" {
		t.Errorf("signed out already: landed at %s", p.url)
	}
}

func TestSignOutWorksWithoutTheProvider(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"discovery-no-logout", "token-500"} {
		s, b := newSystem(t, nil), newBrowser(t)
		fault, err := devidp.FaultNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "discovery-no-logout" {
			s.idp.Inject(fault)
		}
		s.login(b, "/")
		s.idp.Inject(fault)
		p := b.fetch(http.MethodPost, s.url+"/bff/logout?returnUrl=%2Fbye", s.app)
		if p.status != 200 {
			t.Errorf("%s: %d %s", name, p.status, p.body)
		}
		if name == "discovery-no-logout" && p.body != `{"url":"/bye"}` {
			t.Errorf("without end_session_endpoint: %s", p.body)
		}
		s.wantSignedIn(t, b, false)
	}
}

func TestTheWayBackFromSignOutCannotBeSteered(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	for _, query := range []string{"", "?state=abc", "?state=https://evil.example/", "?returnUrl=https://evil.example/"} {
		if p := b.open(s.url+"/bff/logout/callback"+query, s.issuer+"/"); p.url.String() != s.app+"/" {
			t.Errorf("%q: landed at %s", query, p.url)
		}
	}
	if p := b.open(s.url+"/bff/logout?ticket=abc", s.app+"/"); p.url.String() != s.app+"/" {
		t.Errorf("made-up ticket: landed at %s", p.url)
	}
	s.login(b, "/")
	for _, method := range []string{http.MethodPost} {
		if p := b.fetch(method, s.url+"/bff/logout?returnUrl=https%3A%2F%2Fevil.example%2F", s.app); p.status != 400 || !strings.Contains(p.body, "return_url_refused") {
			t.Errorf("%d %s", p.status, p.body)
		}
	}
	s.wantSignedIn(t, b, true)
}

func TestNoTokenReachesTheBrowserOrTheLog(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/profile")
	b.fetch(http.MethodGet, s.url+"/bff/session", s.app)
	b.fetch(http.MethodGet, s.url+"/bff/user", s.app)
	b.fetch(http.MethodPost, s.url+"/bff/refresh", s.app)
	s.login(newBrowser(t), "/")
	b.fetch(http.MethodGet, s.url+"/bff/sessions", s.app)
	administered := bodyOf(t, s.administer(http.MethodGet, "/admin/sessions"))
	b.fetch(http.MethodDelete, s.url+"/bff/sessions?others=true", s.app)
	for _, name := range []string{"token-500", "userinfo-wrong-sub", "id-bad-signature"} {
		fault, err := devidp.FaultNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		s.idp.Inject(fault)
		b.fetch(http.MethodPost, s.url+"/bff/refresh", s.app)
		s.login(b, "/")
		s.idp.Heal()
	}
	s.clock.pass(2 * time.Minute)
	s.login(b, "/")
	p := b.fetch(http.MethodPost, s.url+"/bff/logout", s.app)
	var next struct{ URL string }
	if json.Unmarshal([]byte(p.body), &next) != nil {
		t.Fatal(p.body)
	}
	b.open(next.URL, s.app+"/")
	// RP-Initiated Logout 2 sends the ID token through the browser once, as the hint
	// in a redirect, which no script can read. Nothing else may hold one.
	seen := regexp.MustCompile(`id_token_hint=[^&"\]\s]*`).ReplaceAllString(b.seen.String(), "id_token_hint=") + administered
	issued := s.idp.Issued()
	if len(issued) < 6 || !strings.Contains(b.seen.String(), "id_token_hint=ey") || !strings.Contains(s.log.String(), "signed in") || strings.Count(administered, `"id"`) != 2 {
		t.Fatalf("the search could not fail: %d tokens issued, %d bytes seen", len(issued), len(seen))
	}
	for _, secret := range append(issued, "s3cret-canary", testKey) {
		if strings.Contains(seen, secret) {
			t.Errorf("the browser received %.12s…", secret)
		}
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log holds %.12s…", secret)
		}
	}
}

// The wire contract of the frontend: the same files are read by its own tests.
func TestAnswersHaveTheShapeTheFrontendReads(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	out := b.fetch(http.MethodGet, s.url+"/bff/session", s.app)
	unauthorized := b.fetch(http.MethodGet, s.url+"/bff/user", s.app)
	s.login(b, "/")
	in := b.fetch(http.MethodGet, s.url+"/bff/session", s.app)
	user := b.fetch(http.MethodGet, s.url+"/bff/user", s.app)
	sessions := b.fetch(http.MethodGet, s.url+"/bff/sessions", s.app)
	ended := b.fetch(http.MethodDelete, s.url+"/bff/sessions?others=true", s.app)
	logout := b.fetch(http.MethodPost, s.url+"/bff/logout", s.app)
	for file, got := range map[string]page{
		"session_out.json": out, "session_in.json": in, "user.json": user, "problem_401.json": unauthorized, "logout.json": logout,
		"sessions.json": sessions, "sessions_ended.json": ended,
	} {
		wantShape(t, file, got.body)
	}
}

// wantShape compares an answer with the one that the frontend's tests read.
func wantShape(t *testing.T, file, body string) {
	t.Helper()
	golden, err := os.ReadFile("../../frontend/src/bff/testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var want, have any
	if err := errors.Join(json.Unmarshal(golden, &want), json.Unmarshal([]byte(body), &have)); err != nil {
		t.Fatal(file, err)
	}
	for _, difference := range shapeDiff(want, have, "") {
		t.Errorf("%s: %s", file, difference)
	}
}

// open are the objects whose members differ from user to user.
var openObjects = []string{"/user"}

// shapeDiff compares the members and types of two JSON values.
func shapeDiff(want, have any, at string) (diffs []string) {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return []string{at + " is no object"}
		}
		if slices.Contains(openObjects, at) {
			return nil
		}
		for name, member := range w {
			if _, there := h[name]; !there {
				diffs = append(diffs, at+"/"+name+" is missing")
				continue
			}
			diffs = append(diffs, shapeDiff(member, h[name], at+"/"+name)...)
		}
		for name := range h {
			if _, there := w[name]; !there {
				diffs = append(diffs, at+"/"+name+" is not in the golden file")
			}
		}
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) == 0 {
			return []string{at + " is no list, or empty"}
		}
		diffs = shapeDiff(w[0], h[0], at+"[]")
	case string:
		if _, ok := have.(string); !ok {
			diffs = []string{at + " is no string"}
		}
	case float64:
		if _, ok := have.(float64); !ok {
			diffs = []string{at + " is no number"}
		}
	case bool:
		if have != want {
			diffs = []string{at + " differs"}
		}
	}
	return diffs
}
