package devidp_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

// pushing is a provider with client "c", which has to push its requests.
func pushing(t *testing.T, c devidp.Config) (*world, ecKey) {
	key := newECKey(t, "k1")
	client := devidp.FAPIClient("c", jwks(key), callback)
	client.RequireDPoP = false
	return register(t, c, client), key
}

// push pushes a good request of client "c", with changes in pairs.
func (w *world) push(k ecKey, changes ...string) (int, map[string]any) {
	w.t.Helper()
	a, body := w.send("/par", w.asserted(k, "c", params(append([]string{"client_id", "c"}, changes...)...)), "")
	return a.StatusCode, body
}

func visit(body map[string]any, changes ...string) url.Values {
	uri, _ := body["request_uri"].(string)
	return change(url.Values{"client_id": {"c"}, "request_uri": {uri}}, changes)
}

func TestPushedRequest(t *testing.T) {
	t.Parallel()
	w, key := pushing(t, devidp.Config{})
	status, body := w.push(key)
	uri, _ := body["request_uri"].(string)
	if status != http.StatusCreated || body["expires_in"] != 60.0 || !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:") || len(uri) < 50 {
		t.Fatalf("HTTP %d: %v", status, body)
	}
	if got := w.last(); got.Path != "/par" || got.Form.Get("scope") != "openid profile email groups offline_access" || got.AuthMethod != "private_key_jwt" || got.Status != 201 {
		t.Errorf("seen %+v", got)
	}
	if got := w.idp.Stats().PAR; got != 1 {
		t.Errorf("counted %d", got)
	}
	where, got := w.get("/authorize", visit(body)).location(t)
	if where != callback || got.Get("state") != "the-state" || got.Get("iss") != w.issuer {
		t.Fatalf("redirected to %s with %v", where, got)
	}
	_, tokens := w.send("/token", w.asserted(key, "c", exchange(got.Get("code"))), "")
	_, claims := decode(t, tokens["id_token"])
	if claims["nonce"] != "the-nonce" || claims["aud"] != "c" || tokens["token_type"] != "Bearer" {
		t.Errorf("ID token %v in %v", claims, tokens)
	}
}

func TestPushIsRefused(t *testing.T) {
	t.Parallel()
	w, key := pushing(t, devidp.Config{})
	for _, row := range []struct {
		name    string
		changes []string
		want    string
	}{
		{"a request_uri", []string{"request_uri", "urn:ietf:params:oauth:request_uri:x"}, "invalid_request"},
		{"no client_id", []string{"client_id", ""}, "invalid_request"},
		{"another client_id", []string{"client_id", "genkan-dev"}, "invalid_client"}, // than the assertion's
		{"no redirect_uri", []string{"redirect_uri", ""}, "invalid_request"},
		{"another redirect_uri", []string{"redirect_uri", callback + "/"}, "invalid_request"},
		{"another response_type", []string{"response_type", "token"}, "unsupported_response_type"},
		{"no openid", []string{"scope", "profile"}, "invalid_scope"},
		{"no PKCE", []string{"code_challenge", ""}, "invalid_request"},
		{"a broken dpop_jkt", []string{"dpop_jkt", "x"}, "invalid_request"},
		{"a fragment as resource", []string{"resource", "https://api.example/#x"}, "invalid_target"},
		{"broken claims", []string{"claims", "{"}, "invalid_request"},
	} {
		if status, body := w.push(key, row.changes...); status < 400 || body["error"] != row.want || body["request_uri"] != nil {
			t.Errorf("%s: HTTP %d: %v", row.name, status, body)
		}
	}
	if a, body := w.send("/par", params("client_id", "c"), ""); a.StatusCode != http.StatusUnauthorized || body["error"] != "invalid_client" {
		t.Errorf("nobody: HTTP %d: %v", a.StatusCode, body)
	}
	if _, body := w.send("/par?scope=openid", w.asserted(key, "c", params("client_id", "c")), ""); body["error"] != "invalid_request" {
		t.Errorf("in the URL: %v", body)
	}
	if got := w.get("/par", nil); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: HTTP %d", got.StatusCode)
	}
}

// With Basic the client is named by the header, and client_id is a parameter all the same.
func TestPushedWithBasic(t *testing.T) {
	t.Parallel()
	w := quick(t)
	r := w.request(http.MethodPost, "/par", params())
	r.SetBasicAuth("genkan-dev", "genkan-dev-secret")
	body := object(t, w.do(r).body)
	if _, got := w.get("/authorize", visit(body, "client_id", "genkan-dev")).location(t); !got.Has("code") {
		t.Errorf("got %v of %v", got, body)
	}
	r = w.request(http.MethodPost, "/par", params("client_id", ""))
	r.SetBasicAuth("genkan-dev", "genkan-dev-secret")
	if got := w.do(r); got.StatusCode != http.StatusBadRequest {
		t.Errorf("without client_id: HTTP %d", got.StatusCode)
	}
}

func TestRequestURIIsRefused(t *testing.T) {
	t.Parallel()
	w, key := pushing(t, devidp.Config{})
	page := func(name string, form url.Values) {
		t.Helper()
		if got := w.get("/authorize", form); got.StatusCode != http.StatusBadRequest || !strings.Contains(got.body, "Unknown request_uri") {
			t.Errorf("%s: HTTP %d", name, got.StatusCode)
		}
	}
	_, used := w.push(key)
	w.get("/authorize", visit(used)).location(t)
	page("a second time", visit(used))
	_, fresh := w.push(key)
	page("by another client", visit(fresh, "client_id", "genkan-dev"))
	page("by nobody", visit(fresh, "client_id", ""))
	page("an unknown one", visit(fresh, "request_uri", "urn:ietf:params:oauth:request_uri:x"))
	w.clock.advance(61 * time.Second)
	page("after a minute", visit(fresh))
}

func TestOnlyRequestURIStandsInTheURL(t *testing.T) {
	t.Parallel()
	w, key := pushing(t, devidp.Config{})
	for _, name := range []string{"response_type", "scope", "state", "nonce", "redirect_uri", "request", "login_hint"} {
		_, body := w.push(key)
		where, got := w.get("/authorize", visit(body, name, "x")).location(t)
		if where != callback || got.Get("error") != "invalid_request" || got.Get("state") != "the-state" || !strings.Contains(got.Get("error_description"), name) {
			t.Errorf("%s: redirected to %s with %v", name, where, got)
		}
	}
}

func TestPushingIsDemanded(t *testing.T) {
	t.Parallel()
	of := func(w *world, client string) url.Values {
		t.Helper()
		_, got := w.get("/authorize", params("client_id", client)).location(t)
		return got
	}
	one, _ := pushing(t, devidp.Config{})
	every, _ := pushing(t, devidp.Config{RequirePAR: true})
	for _, row := range []struct {
		name, client string
		w            *world
		want         string
	}{
		{"of this client", "c", one, "invalid_request"},
		{"not of that client", "genkan-dev", one, ""},
		{"of every client", "genkan-dev", every, "invalid_request"},
	} {
		if got := of(row.w, row.client); got.Get("error") != row.want || got.Has("code") == (row.want != "") {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}

// The pages carry the request_uri, which has long expired when somebody has signed in.
func TestPagesOfAPushedRequest(t *testing.T) {
	t.Parallel()
	key := newECKey(t, "k1")
	w := start(t, devidp.Config{Clients: []devidp.Client{devidp.FAPIClient("c", jwks(key), callback)}})
	_, body := w.push(key)
	page := w.get("/authorize", visit(body))
	if carried, err := url.ParseQuery(page.carried(t)); err != nil || !cmp.Equal(carried, visit(body)) {
		t.Errorf("the page carries %v", carried)
	}
	w.clock.advance(5 * time.Minute)
	consent := w.signIn(page, "alice", "password")
	if _, got := w.decide(consent, "allow").location(t); !got.Has("code") {
		t.Errorf("got %v", got)
	}
	// Neither a request that nobody arrived with nor one that was not pushed gets in by
	// the back door.
	_, unvisited := w.push(key)
	for name, request := range map[string]url.Values{"not visited": visit(unvisited), "not pushed": params("client_id", "c")} {
		got := w.post("/sign-in", url.Values{"request": {request.Encode()}, "username": {"alice"}, "password": {"password"}})
		if strings.Contains(got.body, "decision") || strings.Contains(got.Header.Get("Location"), "code=") {
			t.Errorf("%s: HTTP %d %s", name, got.StatusCode, got.Header.Get("Location"))
		}
	}
}

func TestPushedFormPost(t *testing.T) {
	t.Parallel()
	w, key := pushing(t, devidp.Config{})
	_, body := w.push(key, "response_mode", "form_post")
	if got := w.get("/authorize", visit(body)); got.StatusCode != http.StatusOK || !strings.Contains(got.body, `name="code"`) {
		t.Errorf("HTTP %d: %s", got.StatusCode, got.body)
	}
}
