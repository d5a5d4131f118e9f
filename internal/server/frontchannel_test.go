package server_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"genkan/internal/keys"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// frame is what a browser sends for the frame of a provider's page.
var frame = []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", "Sec-Fetch-Site: cross-site", "Accept: text/html"}

const framingIssuer = "https://IDP.example:8443/tenant"

func newFramed(t testing.TB) (*fixture, map[string]member) {
	one := rp.Config{ID: "idp", Issuer: framingIssuer, ClientID: "genkan", ClientSecret: keys.NewSecret("s3cret-canary")}
	twin, other := one, one
	twin.ID, twin.ClientID, other.ID, other.Issuer = "twin", "another-client", "other", "https://other.example"
	f := newFixture(t, options{providers: []rp.Config{one, twin, other}})
	return f, map[string]member{
		"alice": f.enter(t, person{subject: "alice", sid: "sid-1"}), "phone": f.enter(t, person{subject: "alice", sid: "sid-2"}),
		"twin": f.enter(t, person{provider: "twin", subject: "alice", sid: "sid-1"}), "elsewhere": f.enter(t, person{provider: "other", subject: "alice", sid: "sid-1"}),
		"no sid": f.enter(t, person{subject: "alice"}),
	}
}

func framed(iss, sid string) string {
	return "http://localhost:8000/bff/frontchannel?" + url.Values{"iss": {iss}, "sid": {sid}}.Encode()
}

// TestAFrameEndsTheSessionsOfItsSID: 269, 271. No cookie comes along.
func TestAFrameEndsTheSessionsOfItsSID(t *testing.T) {
	t.Parallel()
	f, all := newFramed(t)
	for range 2 { // the second time nobody is signed in any more
		r := f.do(http.MethodGet, framed(framingIssuer, "sid-1"), frame...)
		if body := bodyOf(t, r); r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/html; charset=utf-8" || body != "<!doctype html><title>Signed out</title>\n" {
			t.Errorf("%d %s %q", r.StatusCode, r.Header.Get("Content-Type"), body)
		}
		if got := r.Header.Get("Content-Security-Policy"); got != "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors https://idp.example:8443; sandbox" {
			t.Errorf("Content-Security-Policy %q", got)
		}
		if r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Cross-Origin-Resource-Policy") != "cross-origin" || r.Header.Get("X-Frame-Options") != "" || len(r.Cookies()) != 0 {
			t.Errorf("%v", r.Header)
		}
		f.wantLive(t, all, "phone", "elsewhere", "no sid")
	}
	if log := f.log.String(); strings.Count(log, `"by":"front-channel"`) != 2 || strings.Count(log, `"reason":"provider"`) != 2 {
		t.Error(log)
	}
}

// TestOwnCookieGoesWithTheSession: 269, where the browser does send it.
func TestOwnCookieGoesWithTheSession(t *testing.T) {
	t.Parallel()
	f, all := newFramed(t)
	if r := f.do(http.MethodGet, framed(framingIssuer, "sid-2"), append(frame[:4:4], all["alice"].cookie)...); r.StatusCode != 200 || len(r.Cookies()) != 0 {
		t.Errorf("of another session: %d %v", r.StatusCode, r.Cookies())
	}
	r := f.do(http.MethodGet, framed(framingIssuer, "sid-1"), append(frame[:4:4], all["alice"].cookie)...)
	if c := r.Cookies(); r.StatusCode != 200 || len(c) != 1 || c[0].Name != "bff-8000" || c[0].MaxAge >= 0 {
		t.Errorf("%d %v", r.StatusCode, c)
	}
	f.wantLive(t, all, "elsewhere", "no sid")
}

// TestFramesThatEndNothing: 270. What they get may be framed by nobody.
func TestFramesThatEndNothing(t *testing.T) {
	t.Parallel()
	f, all := newFramed(t)
	const base = "http://localhost:8000/bff/frontchannel"
	iss := "iss=" + url.QueryEscape(framingIssuer)
	for name, row := range map[string]struct {
		target  string
		headers []string
	}{
		"nothing":                 {base, frame},
		"iss alone":               {base + "?" + iss, frame},
		"sid alone":               {base + "?sid=sid-1", frame},
		"an empty sid":            {base + "?sid=&" + iss, frame},
		"an empty iss":            {base + "?sid=sid-1&iss=", frame},
		"sid twice":               {base + "?sid=sid-1&sid=sid-1&" + iss, frame},
		"iss twice":               {base + "?sid=sid-1&" + iss + "&" + iss, frame},
		"another issuer":          {framed("https://evil.example", "sid-1"), frame},
		"the issuer with a slash": {framed(framingIssuer+"/", "sid-1"), frame},
		"a broken query":          {base + "?sid=%zz&" + iss, frame},
		"an image":                {framed(framingIssuer, "sid-1"), []string{"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Sec-Fetch-Site: cross-site"}},
		"a fetch":                 {framed(framingIssuer, "sid-1"), fetchSame},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.do(http.MethodGet, row.target, append(row.headers[:len(row.headers):len(row.headers)], all["alice"].cookie)...)
			wantProblem(t, r, 400, "frontchannel_invalid")
			if csp := r.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || len(r.Cookies()) != 0 {
				t.Errorf("Content-Security-Policy %q, cookies %v", csp, r.Cookies())
			}
			f.wantLive(t, all, "alice", "phone", "twin", "elsewhere", "no sid")
		})
	}
	if r := f.do(http.MethodGet, framed(framingIssuer, "sid-9"), frame...); r.StatusCode != 200 {
		t.Errorf("a sid that nobody has: %d", r.StatusCode)
	}
	if r := f.do(http.MethodGet, framed(framingIssuer, "sid-1"), append(frame[:4:4], "Sec-Purpose: prefetch")...); r.StatusCode != 204 {
		t.Errorf("a prefetch: %d", r.StatusCode)
	}
	if r := f.do(http.MethodPost, framed(framingIssuer, "sid-1"), frame...); r.StatusCode != 405 {
		t.Errorf("a form: %d", r.StatusCode)
	}
	f.wantLive(t, all, "alice", "phone", "twin", "elsewhere", "no sid")
	f.store.fail(errors.New("down"))
	if r := f.do(http.MethodGet, framed(framingIssuer, "sid-1"), frame...); r.StatusCode != 503 {
		t.Errorf("the store is down: %d", r.StatusCode)
	}
}

// TestAProviderThatSendsNoIssuer: Entra's requests have sid alone.
func TestAProviderThatSendsNoIssuer(t *testing.T) {
	t.Parallel()
	plain := rp.Config{ID: "idp", Issuer: framingIssuer, ClientID: "genkan", ClientSecret: keys.NewSecret("s3cret-canary")}
	entra := plain
	entra.ID, entra.Issuer, entra.Quirks = "entra", "https://login.example/1/v2.0", rp.Quirks{FrontchannelWithoutIssuer: true}
	second, third := entra, entra
	second.ID, second.Issuer, third.ID, third.Issuer = "second", "https://login.example/2/v2.0", "third", "https://ciam.example/3/v2.0"
	f := newFixture(t, options{providers: []rp.Config{plain, entra, second, third}})
	all := map[string]member{}
	for _, id := range []string{"idp", "entra", "second", "third"} {
		all[id] = f.enter(t, person{provider: id, subject: "alice", sid: "sid-1"})
	}
	const base = "http://localhost:8000/bff/frontchannel"
	for name, query := range map[string]string{
		"an empty iss": "?sid=sid-1&iss=", "another issuer": "?sid=sid-1&iss=https%3A%2F%2Fevil.example", "iss twice": "?sid=sid-1&iss=a&iss=b", "no sid": "",
	} {
		t.Run(name, func(t *testing.T) {
			wantProblem(t, f.do(http.MethodGet, base+query, frame...), 400, "frontchannel_invalid")
			f.wantLive(t, all, "idp", "entra", "second", "third")
		})
	}
	r := f.do(http.MethodGet, framed("https://login.example/2/v2.0", "sid-1"), frame...)
	if csp := r.Header.Get("Content-Security-Policy"); r.StatusCode != 200 || !strings.Contains(csp, "frame-ancestors https://login.example; ") {
		t.Errorf("with iss: %d %q", r.StatusCode, csp)
	}
	f.wantLive(t, all, "idp", "entra", "third")
	r = f.do(http.MethodGet, base+"?sid=sid-1", append(frame[:4:4], all["entra"].cookie)...)
	if csp := r.Header.Get("Content-Security-Policy"); r.StatusCode != 200 || len(r.Cookies()) != 1 || !strings.Contains(csp, "frame-ancestors https://login.example https://ciam.example; ") {
		t.Errorf("without iss: %d %q, cookies %v", r.StatusCode, csp, r.Cookies())
	}
	f.wantLive(t, all, "idp")
}

// slowStore holds every search until it is released.
type slowStore struct {
	session.Store
	release chan struct{}
}

func (s slowStore) Find(ctx context.Context, tags []session.Tag, limit int) ([]session.Row, error) {
	<-s.release
	return s.Store.Find(ctx, tags, limit)
}

// TestFramesAreBounded: 32 at a time, and each leaves its place.
func TestFramesAreBounded(t *testing.T) {
	t.Parallel()
	slow := slowStore{session.NewMemory(time.Now), make(chan struct{})}
	f := newFixture(t, options{store: &faultyStore{Store: slow}})
	statuses := make(chan int, 40)
	for range 40 {
		go func() { statuses <- f.do(http.MethodGet, framed(deadIssuer, "sid-1"), frame...).StatusCode }()
	}
	for range 8 {
		select {
		case got := <-statuses:
			if got != 429 {
				t.Errorf("%d for a frame that found no place in time, want 429", got)
			}
		case <-time.After(20 * time.Second):
			close(slow.release)
			t.Fatal("nothing bounds them")
		}
	}
	close(slow.release)
	for range 32 {
		if got := <-statuses; got != 200 {
			t.Errorf("%d for a frame that had a place, want 200", got)
		}
	}
	for range 40 {
		if r := f.do(http.MethodGet, framed(deadIssuer, "sid-1"), frame...); r.StatusCode != 200 {
			t.Fatalf("%d for a frame after the flood", r.StatusCode)
		}
	}
}

// FuzzFrontchannel: only the issuer and a sid of its sessions end one.
func FuzzFrontchannel(f *testing.F) {
	s, all := newFramed(f)
	iss := "iss=" + url.QueryEscape(framingIssuer)
	f.Add(iss)
	f.Add("sid=sid-1&" + iss + "&" + iss)
	f.Add("sid=sid-1;" + iss)
	f.Add("%zz&sid[]=sid-1&" + iss)
	f.Add(iss + "%00&sid=sid-1")
	f.Add(iss + "&sid=sid-1%20")
	f.Add("sid=sid-1")
	f.Add("sid=sid-1&iss=")
	f.Add("sid=sid-1&iss=https://other.example/")
	f.Add("sid=sid-1&" + strings.ToLower(iss))
	f.Fuzz(func(t *testing.T, query string) {
		if values, err := url.ParseQuery(query); err == nil && values.Get("iss") == framingIssuer && strings.HasPrefix(values.Get("sid"), "sid-") {
			t.Skip()
		}
		r, _ := http.NewRequest(http.MethodGet, "http://localhost:8000/bff/frontchannel", nil)
		r.URL.RawQuery = query
		if got := s.send(r, frame...).StatusCode; got != 200 && got != 400 {
			t.Fatalf("%d for %q", got, query)
		}
		if !s.live(t, all["alice"]) || !s.live(t, all["no sid"]) {
			t.Fatalf("signed out by %q", query)
		}
	})
}
