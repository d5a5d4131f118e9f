package server_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"genkan/internal/devidp"
	"genkan/internal/rp"
	"genkan/internal/server"
)

// raw parses a request as net/http does, so that odd targets stay as they were sent.
func raw(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n"))))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhatLiesUnderThePrefixIsNeverTheAppsNorAnUpstreams(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{files: appFiles, upstreams: everything{}})
	for _, target := range []string{"/bff", "/bff/", "/bff/nothing", "/bff/backchannel/x", "/bff/login/", "/bff/session/x", "/bff/assets/x/none.js"} {
		wantPage(t, f.do(http.MethodGet, "http://localhost:8000"+target, navigate...), 404, "GK530")
		wantProblem(t, f.do(http.MethodPost, "http://localhost:8000"+target, fetchSame...), 404, "not_found")
	}
	if r := f.do(http.MethodGet, "http://localhost:8000/bffoo", fetchSame...); r.StatusCode != http.StatusTeapot {
		t.Errorf("/bffoo: %d, want the upstream's 418", r.StatusCode)
	}
}

func TestTheHistoryFallbackHasNoHiddenAndNoWellKnownPaths(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{files: appFiles})
	for _, target := range []string{
		"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/.git/config", "/.git/HEAD", "/.env",
		"/a/.ssh/id", "//bff/nothing", "/x/../bff/nothing", "/api", "/api/none",
	} {
		wantPage(t, f.do(http.MethodGet, "http://localhost:8000"+target, navigate...), 404, "GK530")
	}
}

func TestAnAppFolderThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	big := make([]byte, 33<<20)
	_, err := server.New(server.Config{SPA: fstest.MapFS{
		"index.html": {Data: []byte("x")}, "a": {Data: big}, "b": {Data: big},
	}})
	if err == nil || !strings.Contains(err.Error(), "spa.dir") {
		t.Errorf("66 MiB: %v, want an error that names spa.dir", err)
	}
}

func TestTheWayToTheCanonicalHostCannotBeSteered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	for _, target := range []string{"x:@evil.example/", "x:.evil.example/", "http://127.0.0.1:8000//evil.example", "//evil.example/", "/\\evil.example"} {
		r := f.send(raw(t, "GET "+target+" HTTP/1.1\nHost: 127.0.0.1:8000\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\n\n"))
		location, err := url.Parse(r.Header.Get("Location"))
		if err != nil || location.Host != "" && location.Host != "localhost:8000" || location.User != nil || r.StatusCode >= 500 {
			t.Errorf("%s: %d %q", target, r.StatusCode, r.Header.Get("Location"))
		}
	}
}

func TestAReturnURLArrivesAsItWasGiven(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	for _, want := range []string{"/#/a//b/../c/", "/app/?x=1#/a//b", "/x?next=/a//../b", "/x/"} {
		b := newBrowser(t)
		if p := s.login(b, want); p.url.String() != s.url+want {
			t.Errorf("%s: landed at %s", want, p.url)
		}
		if p := b.open(s.url+"/bff/logout/callback", s.issuer+"/"); p.url.String() != s.app+"/" {
			t.Errorf("after sign-out: %s", p.url)
		}
	}
}

func TestAPrefetchBeginsAndEndsNothing(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	logoutURL, _ := s.session(t, b)["logout_url"].(string)
	callback := s.answered(t, b, "")
	state := b.parse(callback).Query().Get("state")
	before := len(b.cookies("localhost"))
	for _, address := range []string{s.url + "/bff/login", callback, s.url + "/bff/callback?resume=" + url.QueryEscape(state), logoutURL} {
		for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
			r, _ := http.NewRequest(http.MethodGet, address, nil)
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			r.Header.Set("Sec-Fetch-Dest", "document")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			r.Header.Set(name, "prefetch;prerender")
			b.attach(r, false, false)
			if p := b.send(r); p.status != http.StatusNoContent || p.header.Get("Set-Cookie") != "" {
				t.Errorf("%s of %s: %d %v", name, address, p.status, p.header["Set-Cookie"])
			}
		}
	}
	if len(b.cookies("localhost")) != before || s.idp.Stats().Token["authorization_code"] != 1 {
		t.Error("a prefetch changed something")
	}
	s.wantSignedIn(t, b, true)
}

func TestABrowserThatLeftIsNoOutage(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	callback := s.answered(t, b, "")
	cookies := []string{}
	for name, c := range b.cookies("localhost") {
		cookies = append(cookies, name+"="+c.Value)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, target := range []string{"/bff/session", "/bff/login", callback, "/bff/user"} {
		func() {
			defer func() {
				if v := recover(); v != nil && v != http.ErrAbortHandler {
					panic(v)
				}
			}()
			r := httptest.NewRequestWithContext(gone, http.MethodGet, target, nil)
			r.Host = "localhost:" + s.port
			if got := s.send(r, append(slices.Clone(navigate), "Cookie: "+strings.Join(cookies, "; "))...); got.StatusCode >= 500 {
				t.Errorf("%s: a failure that nobody saw looks like one in the log", target)
			}
		}()
	}
	if log := s.log.String(); strings.Contains(log, "GK320") || strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the log calls it an outage: %s", log)
	}
}

func TestSigningOutGoesOnWhenTheBrowserHangsUp(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]func(s *system, b *browser) *http.Request{
		"by POST": func(s *system, _ *browser) *http.Request {
			r := httptest.NewRequest(http.MethodPost, s.url+"/bff/logout", nil)
			r.Header.Set("X-CSRF", "1")
			r.Header.Set("Origin", s.app)
			return r
		},
		"by its link": func(s *system, b *browser) *http.Request {
			logoutURL, _ := s.session(t, b)["logout_url"].(string)
			r := httptest.NewRequest(http.MethodGet, logoutURL, nil)
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			r.Header.Set("Sec-Fetch-Dest", "document")
			return r
		},
	} {
		s, b := newSystem(t, nil), newBrowser(t)
		s.login(b, "/")
		r := by(s, b)
		b.attach(r, false, false)
		gone, leave := context.WithCancel(t.Context())
		leave()
		s.send(r.WithContext(gone))
		s.wantSignedIn(t, b, false)
		if got := s.idp.Stats().Revocations; got != 1 {
			t.Errorf("%s: %d revocations, want 1", name, got)
		}
	}
}

func TestASessionThatCannotBeRenewedEndsInTheStoreToo(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, func(_ *options, pc *rp.Config) { pc.Scopes = []string{"openid"} }), newBrowser(t)
	fault, err := devidp.FaultNamed("token-no-refresh-token")
	if err != nil {
		t.Fatal(err)
	}
	s.idp.Inject(fault)
	s.login(b, "/")
	held := b.cookies("localhost")
	s.clock.pass(10 * time.Minute)
	if p := b.fetch(http.MethodPost, s.url+"/bff/refresh", s.app); p.status != 401 || !strings.Contains(p.body, "session_expired") {
		t.Fatalf("%d %s", p.status, p.body)
	}
	b.jar["localhost"] = held
	s.wantSignedIn(t, b, false)
}

func TestTossedTransactionCookiesDoNotBlowUpTheAnswer(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	tossed := []string{}
	for i := range 300 {
		tossed = append(tossed, fmt.Sprintf("bff-%s-tx-%012x=junk", s.port, i))
	}
	r := httptest.NewRequest(http.MethodGet, s.url+"/bff/login", nil)
	got := s.send(r, append(slices.Clone(navigate), "Cookie: "+strings.Join(tossed, "; "))...)
	size := 0
	for _, line := range got.Header["Set-Cookie"] {
		size += len(line)
	}
	if got.StatusCode != 302 || size > 4<<10 {
		t.Errorf("%d with %d bytes of Set-Cookie: proxies refuse such an answer", got.StatusCode, size)
	}
}

func TestALinkFromElsewhereThatKnowsTheSidAsksOnce(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	logoutURL, _ := s.session(t, b)["logout_url"].(string)
	p := b.open(logoutURL, "http://evil.example/")
	link := href.FindAllStringSubmatch(p.body, -1)
	b.open(s.url+strings.ReplaceAll(link[len(link)-1][1], "&amp;", "&"), s.url+"/")
	s.wantSignedIn(t, b, false)
}

// everything is an upstream at /.
type everything struct{}

func (everything) Match(*http.Request) bool { return true }

func (everything) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }
