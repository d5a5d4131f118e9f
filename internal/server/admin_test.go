package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/session"
)

const adminToken = "admin-token-canary-0123456789abcdef"

// administer calls the admin listener from an address of this machine.
func (f *fixture) administer(method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	r.Host, r.RemoteAddr = "localhost:8001", "127.0.0.1:40000"
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		switch name {
		case "Host":
			r.Host = value
		case "Peer":
			r.RemoteAddr = value
		default:
			r.Header.Add(name, value)
		}
	}
	w := httptest.NewRecorder()
	f.admin.ServeHTTP(w, r)
	return w.Result()
}

func TestWhoMayAdminister(t *testing.T) {
	t.Parallel()
	bearer := "Authorization: Bearer " + adminToken
	open, guarded := newFixture(t, options{}), newFixture(t, options{admin: adminToken})
	for _, tt := range []struct {
		name    string
		f       *fixture
		headers []string
		status  int
		code    string
	}{
		{"from this machine", open, nil, 200, ""},
		{"from this machine by IPv6", open, []string{"Host: [::1]:8001", "Peer: [::1]:40000"}, 200, ""},
		{"from this machine by address", open, []string{"Host: 127.0.0.1:8001"}, 200, ""},
		{"by an address alone", open, []string{"Host: 127.0.0.2"}, 200, ""},
		{"with a token nobody asked for", open, []string{bearer}, 200, ""},
		{"typed into the address bar", open, []string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"}, 200, ""},
		{"from another machine", open, []string{"Peer: 192.0.2.7:40000"}, 403, "admin_forbidden"},
		{"from another machine with its token", open, []string{"Peer: 192.0.2.7:40000", bearer}, 403, "admin_forbidden"},
		{"from no address", open, []string{"Peer: "}, 403, "admin_forbidden"},
		{"a name that was made to lead here", open, []string{"Host: rebind.evil.example:8001"}, 403, "admin_forbidden"},
		{"a name that looks like localhost", open, []string{"Host: localhost.evil.example:8001"}, 403, "admin_forbidden"},
		{"a name below localhost", open, []string{"Host: evil.localhost:8001"}, 403, "admin_forbidden"},
		{"a name of an address", open, []string{"Host: 127.0.0.1.nip.io:8001"}, 403, "admin_forbidden"},
		{"the address of everything", open, []string{"Host: 0.0.0.0:8001"}, 403, "admin_forbidden"},
		{"no host", open, []string{"Host: "}, 403, "admin_forbidden"},
		{"through a proxy", open, []string{"X-Forwarded-For: 192.0.2.7"}, 403, "admin_forbidden"},
		{"through a proxy that tells the host", open, []string{"X-Forwarded-Host: genkan.example"}, 403, "admin_forbidden"},
		{"through nginx", open, []string{"X-Real-Ip: 192.0.2.7"}, 403, "admin_forbidden"},
		{"through a proxy that tells nothing more", open, []string{"Via: 1.1 proxy"}, 403, "admin_forbidden"},
		{"through a proxy of the standard", open, []string{"Forwarded: for=192.0.2.7"}, 403, "admin_forbidden"},
		{"a page's fetch", open, []string{"Origin: http://localhost:8001"}, 403, "admin_browser"},
		{"a page's fetch without an origin", open, []string{"Sec-Fetch-Site: same-origin"}, 403, "admin_browser"},
		{"a page of another site", open, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 403, "admin_browser"},
		{"a doubled header", open, []string{"Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"}, 403, "admin_browser"},
		{"an empty origin", open, []string{"Origin: "}, 403, "admin_browser"},

		{"with the token", guarded, []string{bearer}, 200, ""},
		{"with the token, the scheme in lower case", guarded, []string{"Authorization: bearer " + adminToken}, 200, ""},
		{"with the token from elsewhere", guarded, []string{bearer, "Peer: 192.0.2.7:40000", "Host: genkan.internal:8001"}, 200, ""},
		{"without the token", guarded, nil, 401, "admin_unauthorized"},
		{"another token", guarded, []string{bearer + "x"}, 401, "admin_unauthorized"},
		{"half a token", guarded, []string{bearer[:40]}, 401, "admin_unauthorized"},
		{"an empty token", guarded, []string{"Authorization: Bearer "}, 401, "admin_unauthorized"},
		{"another scheme", guarded, []string{"Authorization: Basic " + adminToken}, 401, "admin_unauthorized"},
		{"two tokens", guarded, []string{bearer, "Authorization: Bearer x"}, 401, "admin_unauthorized"},
		{"a page with the token", guarded, []string{bearer, "Origin: http://localhost:8001"}, 403, "admin_browser"},
	} {
		for _, call := range [][2]string{{"GET", "/admin/sessions"}, {"DELETE", "/admin/sessions?sub=nobody"}} {
			res := tt.f.administer(call[0], call[1], tt.headers...)
			if res.StatusCode != tt.status || res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: %s: %d, want %d", tt.name, call[0], res.StatusCode, tt.status)
			}
			if got := res.Header.Get("WWW-Authenticate"); got != map[int]string{401: "Bearer"}[tt.status] {
				t.Errorf("%s: WWW-Authenticate %q", tt.name, got)
			}
			if tt.code == "" {
				continue
			}
			if p := wantProblem(t, res, tt.status, tt.code); tt.code != "admin_browser" && !strings.Contains(p.Detail, "server.admin_token") {
				t.Errorf("%s: it does not name the setting: %s", tt.name, p.Detail)
			}
		}
		// Probes of a cluster come by another name and have no token.
		if res := tt.f.administer("GET", "/healthz", "Host: 10.1.2.3:8001", "Peer: 10.1.2.9:40000"); res.StatusCode != 200 {
			t.Errorf("/healthz: %d", res.StatusCode)
		}
	}
	for _, f := range []*fixture{open, guarded} {
		if strings.Contains(f.log.String(), "admin-token-canary") {
			t.Error("the log holds the token")
		}
	}
}

func TestAdministratorsSeeSessionsAndNoToken(t *testing.T) {
	t.Parallel()
	now := &clock{}
	f := newFixture(t, options{now: now.now, providers: twoProviders()})
	first := f.signIn(t, session.SignIn{Agent: agentIPhone, Address: "192.0.2.1"}, "alice")
	now.pass(time.Minute)
	second := f.signIn(t, session.SignIn{Provider: "other"}, "alice")
	now.pass(time.Minute)
	f.signIn(t, session.SignIn{}, "b\x1b]0;o\u202eb <i>")
	var got struct {
		Sessions  []map[string]any
		Truncated bool
	}
	body := bodyOf(t, f.administer("GET", "/admin/sessions?sub=alice"))
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Truncated || len(got.Sessions) != 2 {
		t.Fatal(body, err)
	}
	for i := range got.Sessions {
		for _, at := range []string{"created_at", "last_seen_at"} {
			if _, err := time.Parse(time.RFC3339, got.Sessions[i][at].(string)); err != nil {
				t.Error(err)
			}
			delete(got.Sessions[i], at)
		}
	}
	want := []map[string]any{
		{"id": second.id, "provider": "other", "subject": "alice", "browser": "Unknown browser", "ip": "", "idle_expires_in": 3539.0, "absolute_expires_in": 43139.0},
		{"id": first.id, "provider": "idp", "subject": "alice", "browser": "Safari 26 on iOS", "ip": "192.0.2.1", "idle_expires_in": 3479.0, "absolute_expires_in": 43079.0},
	}
	if diff := cmp.Diff(want, got.Sessions); diff != "" {
		t.Error(diff)
	}
	all := bodyOf(t, f.administer("GET", "/admin/sessions"))
	if strings.Count(all, `"id"`) != 3 || strings.Contains(all, "\x1b") {
		t.Error(all)
	}
	for _, secret := range []string{"access-canary", "refresh-canary", "id-canary", "claim-canary", strings.TrimPrefix(first.cookie, "Cookie: bff-8000=")} {
		if strings.Contains(body+all, secret) {
			t.Errorf("an answer holds %s", secret)
		}
	}
	if body := bodyOf(t, f.administer("GET", "/admin/sessions?sub=carol")); body != "{\"sessions\":[],\"truncated\":false}\n" {
		t.Error(body)
	}
}

func TestAdministratorsEndSessions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{providers: twoProviders()})
	alice, other := f.signIn(t, session.SignIn{}, "alice"), f.signIn(t, session.SignIn{Provider: "other"}, "alice")
	bob, carol := f.signIn(t, session.SignIn{}, "bob"), f.signIn(t, session.SignIn{}, "carol")
	for _, wrong := range []string{"", "?sub=", "?sub=alice&sub=bob", "?all=1", "?all=false", "?all", "?all=true&sub=bob", "?subject=bob", "?sub=alice&x=y", "?%zz"} {
		wantProblem(t, f.administer("DELETE", "/admin/sessions"+wrong), 400, "parameter_invalid")
	}
	wantProblem(t, f.administer("GET", "/admin/sessions?sub="), 400, "parameter_invalid") // not everybody's
	for _, id := range []string{"AAAA", bob.id + "A", "%2e%2e", "ff", strings.Repeat("A", 5000)} {
		wantProblem(t, f.administer("DELETE", "/admin/sessions/"+id), 404, "not_found")
	}
	for _, m := range []member{alice, other, bob, carol} {
		if !f.live(t, m) {
			t.Fatal("a refused call ended something")
		}
	}
	steps := []struct {
		target string
		status int
		body   string
		live   []bool // alice, other, bob, carol
	}{
		{"/admin/sessions/" + bob.id, 204, "", []bool{true, true, false, true}},
		{"/admin/sessions/" + bob.id, 404, "", []bool{true, true, false, true}},
		{"/admin/sessions?sub=alice", 200, "{\"ended\":2}\n", []bool{false, false, false, true}},
		{"/admin/sessions?all=true", 200, "{\"ended\":1}\n", []bool{false, false, false, false}},
		{"/admin/sessions?all=true", 200, "{\"ended\":0}\n", []bool{false, false, false, false}},
	}
	for _, step := range steps {
		res := f.administer("DELETE", step.target)
		if body := bodyOf(t, res); res.StatusCode != step.status || step.status < 300 && body != step.body {
			t.Errorf("%s: %d %s", step.target, res.StatusCode, body)
		}
		for i, m := range []member{alice, other, bob, carol} {
			if got := f.live(t, m); got != step.live[i] {
				t.Errorf("%s: session %d live %v", step.target, i, got)
			}
		}
	}
	log := f.log.String()
	if strings.Count(log, `"msg":"session ended by an administrator"`) != 4 {
		t.Error(log)
	}
	for _, m := range []member{alice, other, bob, carol} {
		if !strings.Contains(log, `"msg":"session ended by an administrator","session":"`+m.id+`"`) {
			t.Errorf("the log does not say that %s ended", m.id)
		}
	}
	for _, secret := range []string{"-canary", "sub=alice"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
}

// failingAfter lets so many rows be deleted.
type failingAfter struct {
	session.Store
	left atomic.Int64
}

func (s *failingAfter) Delete(ctx context.Context, key session.Key, version uint64) error {
	if s.left.Add(-1) < 0 {
		return errors.New("down")
	}
	return s.Store.Delete(ctx, key, version)
}

func TestEndingEverybodyTakesMoreThanOneRoundAndTellsHowFarItCame(t *testing.T) {
	t.Parallel()
	few := &failingAfter{Store: session.NewMemory(time.Now)}
	few.left.Store(1500)
	f := newFixture(t, options{store: &faultyStore{Store: few}})
	for i := range 2100 {
		f.signIn(t, session.SignIn{}, fmt.Sprint("user-", i))
	}
	var list struct {
		Sessions  []any
		Truncated bool
	}
	if err := json.Unmarshal([]byte(bodyOf(t, f.administer("GET", "/admin/sessions"))), &list); err != nil || len(list.Sessions) != 1000 || !list.Truncated {
		t.Errorf("%d sessions, truncated %v, %v", len(list.Sessions), list.Truncated, err)
	}
	res := f.administer("DELETE", "/admin/sessions?all=true")
	p := wantProblem(t, res, 503, "store_unavailable")
	if !strings.HasPrefix(p.Detail, "1500 sessions were ended") || res.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v", p.Detail, res.Header)
	}
	few.left.Store(1 << 30)
	for end := time.Now().Add(10 * time.Second); ; {
		res = f.administer("DELETE", "/admin/sessions?all=true")
		if res.StatusCode == 200 || time.Now().After(end) {
			break
		}
	}
	if body := bodyOf(t, res); body != "{\"ended\":600}\n" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestAdministrationDuringAnOutage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	alice := f.signIn(t, session.SignIn{}, "alice")
	f.store.fail(errors.New("down"))
	for _, call := range [][2]string{{"GET", ""}, {"GET", "?sub=alice"}, {"DELETE", "/" + alice.id}, {"DELETE", "?sub=" + url.QueryEscape("alice")}, {"DELETE", "?all=true"}} {
		if res := f.administer(call[0], "/admin/sessions"+call[1]); res.Header.Get("Retry-After") == "" {
			t.Errorf("%v: no Retry-After", call)
		} else {
			wantProblem(t, res, 503, "store_unavailable")
		}
	}
}
