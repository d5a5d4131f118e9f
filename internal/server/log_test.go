package server_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestEveryRefusalIsInTheLogWithItsCode(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	for name, tt := range map[string]struct{ target, code string }{
		"forged state":       {"/bff/callback?code=canary-1&state=abc", "GK521"},
		"no state":           {"/bff/callback?code=canary-1", "GK521"},
		"no query":           {"/bff/callback?%zz", "GK522"},
		"made-up resume":     {"/bff/callback?resume=canary-1", "GK521"},
		"foreign return URL": {"/bff/login?returnUrl=https://evil.example/canary-1", "GK512"},
		"bad parameter":      {"/bff/login?prompt=canary-1", "GK513"},
		"foreign way out":    {"/bff/logout?returnUrl=https://evil.example/canary-1", "GK512"},
	} {
		f.log.Reset()
		f.do(http.MethodGet, "http://localhost:8000"+tt.target, navigate...)
		if log := f.log.String(); strings.Count(log, tt.code) != 1 || strings.Contains(log, "canary-1") {
			t.Errorf("%s: want one line with %s and none of the request's own text: %s", name, tt.code, log)
		}
	}
}

func TestADeadStoreAtSignInIsInTheLog(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	callback := s.answered(t, b, "")
	b.open(callback, s.issuer+"/")
	s.store.fail(errors.New("disk on fire"))
	resume := s.url + "/bff/callback?resume=" + url.QueryEscape(b.parse(callback).Query().Get("state"))
	for i, address := range []string{s.url + "/bff/login", callback, resume} {
		if p := b.open(address, s.url+"/"); p.status != 503 || p.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d", address, p.status)
		}
		if log := s.log.String(); strings.Count(log, `"msg":"request refused","finding":"GK320"`) != i+1 || !strings.Contains(log, "disk on fire") {
			t.Errorf("%s: %s", address, log)
		}
	}
}

func TestSigningInAndOutIsInTheLogWithWhoAndWhichSession(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	info, _ := s.session(t, b)["session"].(map[string]any)
	b.fetch(http.MethodPost, s.url+"/bff/logout", s.app)
	for _, event := range []string{"signed in", "signed out"} {
		var line string
		for l := range strings.Lines(s.log.String()) {
			if strings.Contains(l, `"msg":"`+event+`"`) {
				line = l
			}
		}
		for _, word := range []string{`"session":"` + info["id"].(string) + `"`, `"subject":"dev-user-alice-7f3a"`, `"provider":"idp"`} {
			if !strings.Contains(line, word) {
				t.Errorf("%s: the line lacks %s: %s", event, word, line)
			}
		}
	}
	for _, personal := range []string{"alice@example.com", "Alice Arai"} {
		if strings.Contains(s.log.String(), personal) {
			t.Errorf("the log holds %s", personal)
		}
	}
}

func TestALogLineIsNotAsLongAsAHeader(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	long := strings.Repeat("a", 30_000)
	f.do(http.MethodGet, "/bff/session", slices.Concat(fetchSame, []string{"Host: " + long})...)
	f.do(http.MethodGet, "http://localhost:8000/bff/session", slices.Concat(fetchSame, []string{"Origin: http://" + long, "Sec-Fetch-Site: " + long})...)
	if got := f.log.Len(); got > 4000 {
		t.Errorf("two requests made %d bytes of log", got)
	}
}
