package devidp_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

// party is a client that receives what the provider sends of itself.
type party struct {
	*httptest.Server
	mu       sync.Mutex
	received []*http.Request // with their forms parsed
	bodies   []string
	status   int
}

func newParty(t *testing.T) *party {
	t.Helper()
	p := &party{status: http.StatusOK}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		r.PostForm, _ = url.ParseQuery(string(body))
		p.received, p.bodies = append(p.received, r), append(p.bodies, string(body))
		w.WriteHeader(p.status)
	}))
	t.Cleanup(p.Close)
	return p
}

// logouts are the claims of the logout tokens, without those that are new each time.
func (p *party) logouts(t *testing.T, w *world) []map[string]any {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []map[string]any
	for _, r := range p.received {
		token := r.PostForm.Get("logout_token")
		header, claims := decode(t, token)
		if header["typ"] != "logout+jwt" || !w.verifies(token) || len(claims["jti"].(string)) < 20 || len(r.PostForm) != 1 {
			t.Errorf("header %v, claims %v, form %v", header, claims, r.PostForm)
		}
		delete(claims, "jti")
		all = append(all, claims)
	}
	return all
}

// enterAs signs user in with a browser of its own.
func (w *world) enterAs(user string, changes ...string) (browser *http.Client, id string) {
	w.t.Helper()
	w.browser = newBrowser(w.issuer)
	_, got := w.signIn(w.get("/authorize", params(changes...)), user, "password").location(w.t)
	_, body := w.token(exchange(got.Get("code")))
	text, _ := body["id_token"].(string)
	return w.browser, text
}

// registered is a provider that signs nobody in by itself, with the party as client.
func registered(t *testing.T, change func(*devidp.Client)) *world {
	t.Helper()
	client := devidp.DevClient()
	change(&client)
	return start(t, devidp.Config{SkipConsent: true, Clients: []devidp.Client{client, {ID: "other"}}})
}

func logoutClaims(w *world, more map[string]any) map[string]any {
	claims := map[string]any{
		"iss": w.issuer, "aud": "genkan-dev", "iat": 1795251600.0, "exp": 1795251720.0, // 09:00 and 09:02
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	for name, value := range more {
		claims[name] = value
	}
	return claims
}

func TestLogoutTellsTheClient(t *testing.T) {
	t.Parallel()
	rp := newParty(t)
	w := registered(t, func(c *devidp.Client) { c.BackchannelURI = rp.URL + "/backchannel?a=b" })
	_, alice := w.enterAs("alice")
	bobs, bob := w.enterAs("bob")
	_, claims := decode(t, alice)

	if got := w.get("/logout", url.Values{"id_token_hint": {alice}}); got.StatusCode != http.StatusOK {
		t.Fatalf("HTTP %d", got.StatusCode)
	}
	if len(rp.logouts(t, w)) != 0 {
		t.Error("bob's browser ended alice's session")
	}
	w.browser = newBrowser(w.issuer)
	w.get("/logout", url.Values{"id_token_hint": {alice}})
	w.get("/logout", url.Values{"id_token_hint": {alice}}) // which tells nobody anything new
	want := []map[string]any{logoutClaims(w, map[string]any{"sub": "dev-user-alice-7f3a", "sid": claims["sid"]})}
	if diff := cmp.Diff(want, rp.logouts(t, w)); diff != "" {
		t.Error(diff)
	}
	if r := rp.received[0]; r.URL.RawQuery != "a=b" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("%s %v", r.URL, r.Header)
	}

	w.browser = bobs
	w.post("/logout/confirmed", nil)
	_, claims = decode(t, bob)
	if got := rp.logouts(t, w); len(got) != 2 || got[1]["sid"] != claims["sid"] {
		t.Errorf("after the page: %v", got)
	}
}

func TestEndSession(t *testing.T) {
	t.Parallel()
	const alice = "dev-user-alice-7f3a"
	for _, row := range []struct {
		name     string
		required bool
		bySID    bool
		want     []map[string]any // without what all have; sid is the number of the session
	}{
		{"one session", false, true, []map[string]any{{"sub": alice, "sid": 0}}},
		{"the user", false, false, []map[string]any{{"sub": alice}}},
		{"the user, for a client that wants sid", true, false, []map[string]any{{"sub": alice, "sid": 0}, {"sub": alice, "sid": 1}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			rp := newParty(t)
			w := registered(t, func(c *devidp.Client) { c.BackchannelURI, c.BackchannelSessionRequired = rp.URL, row.required })
			one, token := w.enterAs("alice")
			two, second := w.enterAs("alice")
			bob, _ := w.enterAs("bob")
			_, claims := decode(t, token)
			_, others := decode(t, second)
			sids := []any{claims["sid"], others["sid"]}
			sub, sid := "dev-user-alice-7f3a", ""
			if row.bySID {
				sub, sid = "", claims["sid"].(string)
			}
			notices := w.idp.EndSession(sub, sid)
			if len(notices) != len(row.want) || notices[0] != (devidp.Notice{Client: "genkan-dev", URI: rp.URL, Status: 200}) {
				t.Errorf("notices %+v", notices)
			}
			var want []map[string]any
			for _, more := range row.want {
				if i, ok := more["sid"].(int); ok {
					more["sid"] = sids[i]
				}
				want = append(want, logoutClaims(w, more))
			}
			got := rp.logouts(t, w)
			if diff := cmp.Diff(asSet(t, want), asSet(t, got)); diff != "" {
				t.Error(diff)
			}
			for name, end := range map[string]struct {
				browser *http.Client
				want    string
			}{
				"one": {one, "login_required"}, "two": {two, map[bool]string{true: "code", false: "login_required"}[row.bySID]}, "bob": {bob, "code"},
			} {
				w.browser = end.browser
				wantKind(t, name, end.want, w.get("/authorize", params("prompt", "none")))
			}
		})
	}
}

func asSet(t *testing.T, claims []map[string]any) map[string]bool {
	set := map[string]bool{}
	for _, c := range claims {
		set[asText(t, c)] = true
	}
	return set
}

func asText(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEndSessionOfNobody(t *testing.T) {
	t.Parallel()
	rp := newParty(t)
	w := with(t, func(c *devidp.Client) { c.BackchannelURI = rp.URL })
	w.tokens()
	for _, row := range [][2]string{{"", ""}, {"nobody", ""}, {"", "no-session"}, {"dev-user-bob-19c4", ""}} {
		if got := w.idp.EndSession(row[0], row[1]); len(got) != 0 {
			t.Errorf("%v: %v", row, got)
		}
	}
}

func TestNoticesSayWhatCameBack(t *testing.T) {
	t.Parallel()
	rp, gone := newParty(t), newParty(t)
	rp.status = http.StatusBadRequest
	gone.Close()
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	clients := []devidp.Client{devidp.DevClient(), devidp.DevClient(), devidp.DevClient()}
	for i, uri := range []string{rp.URL, gone.URL, slow.URL} {
		clients[i].ID += string(rune('0' + i))
		clients[i].BackchannelURI = uri
	}
	w := start(t, devidp.Config{AutoSignIn: "alice", SkipConsent: true, Clients: clients})
	for _, client := range clients {
		code := w.code("client_id", client.ID)
		r := w.request(http.MethodPost, "/token", exchange(code))
		r.SetBasicAuth(client.ID, "genkan-dev-secret")
		if got := w.do(r); got.StatusCode != http.StatusOK {
			t.Fatal(got.body)
		}
	}
	got := w.idp.EndSession("dev-user-alice-7f3a", "")
	if len(got) != 3 || got[0].Status != 400 || got[0].Error != "" || got[1].Status != 0 || got[1].Error == "" || got[2].Status != 0 || got[2].Error == "" {
		t.Errorf("%+v", got)
	}
}

func TestLogoutTokenByHand(t *testing.T) {
	t.Parallel()
	w := quick(t)
	w.inject("logout-no-exp")
	token, err := w.idp.LogoutToken("genkan-dev", "", "the-session", func(j *devidp.JWT) { j.Claims["extra"] = 1 })
	if err != nil {
		t.Fatal(err)
	}
	_, claims := decode(t, token)
	delete(claims, "jti")
	want := logoutClaims(w, map[string]any{"sid": "the-session", "extra": 1.0})
	delete(want, "exp")
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}
	metadata := object(t, w.get("/.well-known/openid-configuration", nil).body)
	for _, member := range []string{
		"backchannel_logout_supported", "backchannel_logout_session_supported", "frontchannel_logout_supported", "frontchannel_logout_session_supported",
	} {
		if metadata[member] != true {
			t.Errorf("%s is %v", member, metadata[member])
		}
	}
}

func TestDevLogout(t *testing.T) {
	t.Parallel()
	rp := newParty(t)
	w := with(t, func(c *devidp.Client) { c.BackchannelURI = rp.URL })
	_, claims := decode(t, w.tokens()["id_token"])
	if status, _ := w.dev(http.MethodPost, "/dev/logout"); status != http.StatusBadRequest {
		t.Errorf("of nobody: HTTP %d", status)
	}
	status, body := w.dev(http.MethodPost, "/dev/logout?sid="+claims["sid"].(string))
	if status != http.StatusOK || body != `[{"client":"genkan-dev","uri":"`+rp.URL+`","status":200}]`+"\n" {
		t.Errorf("HTTP %d: %s", status, body)
	}
	if _, body := w.dev(http.MethodPost, "/dev/logout?sub=dev-user-alice-7f3a"); body != "[]\n" {
		t.Errorf("once more: %s", body)
	}
}

// dev calls a development endpoint as a program of this machine.
func (w *world) dev(method, target string) (int, string) {
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr, r.Host = "127.0.0.1:4000", "127.0.0.1:9000"
	out := httptest.NewRecorder()
	w.idp.DevHandler().ServeHTTP(out, r)
	return out.Code, out.Body.String()
}
