package server_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/devidp"
	"genkan/internal/rp"
)

// silently opens a silent sign-in from the app.
func (s *system) silently(b *browser, returnURL string) page {
	b.t.Helper()
	return b.open(s.url+"/bff/login?prompt=none&returnUrl="+url.QueryEscape(returnURL), s.app+"/")
}

// says lets the provider answer each authorization request with an error.
func (s *system) says(code string) {
	s.idp.Inject(devidp.Fault{Redirect: func(v url.Values) { v.Del("code"); v.Set("error", code) }})
}

// transactions are the names of the browser's transaction cookies.
func (s *system) transactions(b *browser) (names []string) {
	for name := range b.cookies("localhost") {
		if strings.HasPrefix(name, "bff-"+s.port+"-tx-") {
			names = append(names, name)
		}
	}
	return names
}

func TestAnAppThatTriesSilentlyAtEveryStartDoesNotLoop(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.says("login_required")
	for start := range 3 {
		p := s.silently(b, "/profile?start="+strconv.Itoa(start)+"#at")
		if p.url.Path != "/profile" || p.url.RawQuery != "start="+strconv.Itoa(start) || p.status != 200 {
			t.Fatalf("start %d: landed at %s with %d: %.300s", start+1, p.url, p.status, p.body)
		}
		if asked := s.idp.Stats().Authorize; asked != 1 {
			t.Errorf("start %d: the provider was asked %d times, want 1", start+1, asked)
		}
		if got := len(b.cookies("localhost")); got != 1 || len(s.transactions(b)) != 1 {
			t.Errorf("start %d: %d cookies, want the mark alone", start+1, got)
		}
	}
	p := s.silently(b, "/profile")
	if p.status != 400 || !strings.Contains(p.body, "GK523") || !strings.Contains(p.body, "silent sign-in") || !strings.Contains(p.body, "Try again") {
		t.Errorf("start 4: %d %.600s", p.status, p.body)
	}
	s.wantSignedIn(t, b, false)
	s.clock.pass(time.Minute + time.Second)
	if p := s.silently(b, "/profile"); p.status != 200 || s.idp.Stats().Authorize != 2 {
		t.Errorf("a minute later: %d, asked %d times", p.status, s.idp.Stats().Authorize)
	}
}

func TestAMarkLastsAMinuteFromTheProvidersAnswer(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.says("login_required")
	s.silently(b, "/")
	names := s.transactions(b)
	if len(names) != 1 {
		t.Fatalf("marks %v", names)
	}
	if mark := b.cookies("localhost")[names[0]]; mark.MaxAge != 60 || !mark.HttpOnly || mark.Path != "/" || mark.SameSite != http.SameSiteLaxMode {
		t.Errorf("the mark is set as %s", mark)
	}
	s.clock.pass(50 * time.Second)
	s.silently(b, "/")
	if mark := b.cookies("localhost")[names[0]]; mark == nil || mark.MaxAge > 10 || mark.MaxAge < 8 {
		t.Errorf("after fifty seconds the mark is set as %s", mark)
	}
	s.clock.pass(11 * time.Second)
	if s.silently(b, "/"); s.idp.Stats().Authorize != 2 {
		t.Errorf("61 seconds after its answer the provider was asked %d times, want 2: an app that asks now and then would never get through", s.idp.Stats().Authorize)
	}
}

func TestTabsOnOtherPagesAreNoLoop(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.says("login_required")
	for _, path := range []string{"/a", "/b", "/c", "/d", "/e", "/f", "/g"} {
		if p := s.silently(b, path); p.url.Path != path || p.status != 200 {
			t.Errorf("%s: landed at %s with %d", path, p.url, p.status)
		}
		if got := len(s.transactions(b)); got > 5 {
			t.Errorf("%d transaction cookies, want at most 5", got)
		}
	}
	if asked := s.idp.Stats().Authorize; asked != 1 {
		t.Errorf("the provider was asked %d times, want 1", asked)
	}
}

// TestEachPageHasAMarkOfItsOwn: two pages that take turns are two loops.
func TestEachPageHasAMarkOfItsOwn(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.says("login_required")
	for range 3 {
		for _, path := range []string{"/a", "/b"} {
			if p := s.silently(b, path); p.url.Path != path || p.status != 200 {
				t.Fatalf("%s: landed at %s with %d", path, p.url, p.status)
			}
		}
		if got := len(s.transactions(b)); got != 2 {
			t.Errorf("%d marks, want 2", got)
		}
	}
	for _, path := range []string{"/a", "/b"} {
		if p := s.silently(b, path); p.status != 400 || !strings.Contains(p.body, "GK523") {
			t.Errorf("%s for the fourth time: %d", path, p.status)
		}
	}
}

func TestMarksCountTowardsTheFiveAndNeverSignAnybodyIn(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.says("login_required")
	var callbacks []string
	for i := range 4 {
		callbacks = append(callbacks, s.answered(t, b, "prompt=none&returnUrl=%2F"+strconv.Itoa(i)))
	}
	for _, callback := range callbacks {
		b.open(callback, s.issuer+"/")
	}
	s.idp.Heal()
	sign := []string{s.answered(t, b, "returnUrl=%2Fprofile"), s.answered(t, b, "returnUrl=%2Fprofile")}
	if got := len(s.transactions(b)); got != 5 {
		t.Errorf("%d transaction cookies, want 5", got)
	}
	query := b.parse(callbacks[3]).Query()
	query.Del("error")
	query.Set("code", "canary")
	if b.open(s.url+"/bff/callback?"+query.Encode(), s.issuer+"/"); s.idp.Stats().Token["authorization_code"] != 0 {
		t.Error("a mark was taken for the sign-in it once was")
	}
	for _, callback := range sign {
		if p := b.goOn(b.open(callback, s.issuer+"/")); p.url.Path != "/profile" {
			t.Errorf("landed at %s with %d", p.url, p.status)
		}
	}
	s.wantSignedIn(t, b, true)
}

func TestSigningInClearsTheMarks(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.says("login_required")
	s.silently(b, "/a")
	s.silently(b, "/b")
	s.idp.Heal()
	s.login(b, "/")
	s.wantSignedIn(t, b, true)
	if left := s.transactions(b); len(left) != 0 {
		t.Errorf("marks left: %v", left)
	}
	if s.silently(b, "/a"); s.idp.Stats().Authorize != 3 {
		t.Errorf("the provider was asked %d times, want 3", s.idp.Stats().Authorize)
	}
}

func TestAMarkIsOfOneProvider(t *testing.T) {
	t.Parallel()
	s := newSystem(t, func(o *options, pc *rp.Config) {
		other := *pc
		other.ID = "other"
		o.providers = []rp.Config{*pc, other}
	})
	b := newBrowser(t)
	s.says("login_required")
	s.silently(b, "/")
	b.open(s.url+"/bff/login?prompt=none&provider=other", s.app+"/")
	if asked := s.idp.Stats().Authorize; asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
}

func TestOnlyTheFourErrorsOfASilentSignInAreSilent(t *testing.T) {
	t.Parallel()
	for code, silent := range map[string]bool{
		"login_required": true, "interaction_required": true, "consent_required": true, "account_selection_required": true,
		"access_denied": false, "server_error": false, "temporarily_unavailable": false, "invalid_request": false, "LOGIN_REQUIRED": false, "unmet_authentication_requirements": false,
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			s, b := newSystem(t, nil), newBrowser(t)
			s.says(code)
			p := s.silently(b, "/profile")
			if landed := p.url.Path == "/profile" && p.status == 200; landed != silent || !silent && (p.status < 400 || !strings.Contains(p.body, "Try again")) {
				t.Errorf("landed at %s with %d: %.200s", p.url, p.status, p.body)
			}
			if marks := len(s.transactions(b)); (marks == 1) != silent || marks > 1 {
				t.Errorf("%d marks", marks)
			}
		})
	}
}

func TestAnErrorOfAnOrdinarySignInLeavesNoMark(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.says("login_required")
	if p := s.login(b, "/profile"); p.status != 401 || !strings.Contains(p.body, "GK222") || len(b.cookies("localhost")) != 0 {
		t.Errorf("%d with %v: %.200s", p.status, b.cookies("localhost"), p.body)
	}
}

func TestASilentSignInThatNeedsTheUserEndsNoSession(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	held := b.cookies("localhost")["bff-"+s.port].Value
	s.says("login_required")
	for range 2 {
		if p := s.silently(b, "/profile"); p.url.Path != "/profile" {
			t.Errorf("landed at %s with %d", p.url, p.status)
		}
	}
	s.wantSignedIn(t, b, true)
	if b.cookies("localhost")["bff-"+s.port].Value != held {
		t.Error("the session is another one")
	}
}

// Session Management 1.0 section 3.1 calls it a logout.
func TestAnotherUserOnASilentSignInTakesThePlaceOfTheFirst(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	first := b.cookies("localhost")["bff-"+s.port]
	s.idp.Inject(devidp.Fault{IDToken: func(token *devidp.JWT) { token.Claims["sub"] = "dev-user-other" }})
	s.silently(b, "/")
	user, _ := s.session(t, b)["user"].(map[string]any)
	if user["sub"] != "dev-user-other" {
		t.Errorf("signed in is %v", user["sub"])
	}
	old := newBrowser(t)
	old.jar["localhost"] = map[string]*http.Cookie{first.Name: first}
	s.wantSignedIn(t, old, false)
}

func TestSilentSignInsThatSucceedOverAndOverAreALoopToo(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	for range 3 {
		if p := s.silently(b, "/"); p.status != 200 {
			t.Fatalf("%d %s", p.status, p.body)
		}
	}
	if p := s.silently(b, "/"); p.status != 400 || !strings.Contains(p.body, "GK523") {
		t.Errorf("%d %.300s", p.status, p.body)
	}
}

func TestASilentSignInThatGotLostShowsTheUserNothingAtTheProvider(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	lost := s.answered(t, b, "prompt=none&returnUrl=%2Fprofile")
	for range 5 { // push it out
		s.answered(t, b, "")
	}
	asked := s.idp.Stats().Authorize
	if p := b.goOn(b.open(lost, s.issuer+"/")); p.url.String() != s.url+"/profile" || p.status != 200 {
		t.Errorf("landed at %s with %d: %.300s", p.url, p.status, p.body)
	}
	b.forget("localhost") // a browser that keeps no cookies: the app would try for ever
	if p := b.goOn(b.open(lost, s.issuer+"/")); p.status != 400 || !strings.Contains(p.body, "GK520") {
		t.Errorf("without cookies: %d at %s", p.status, p.url)
	}
	if s.idp.Stats().Authorize != asked {
		t.Error("the provider was asked again, with its pages")
	}
	s.wantSignedIn(t, b, false)
}

func TestFormPostKeepsASilentSignInSilent(t *testing.T) {
	t.Parallel()
	s, b := formSystem(t), newBrowser(t)
	s.says("login_required")
	form := url.Values{}
	for _, input := range inputs(s.silently(b, "/profile").body) {
		form.Set(input[0], input[1])
	}
	if p := b.submit(s.url+"/bff/callback", s.issuer+"/authorize", form); p.url.Path != "/profile" || p.status != 200 {
		t.Errorf("landed at %s with %d: %.200s", p.url, p.status, p.body)
	}
	if p := s.silently(b, "/profile"); p.url.Path != "/profile" || s.idp.Stats().Authorize != 1 {
		t.Errorf("the second time: %s, asked %d times", p.url, s.idp.Stats().Authorize)
	}
}

// wiretap keeps what goes to the provider directly.
type wiretap struct {
	mu   sync.Mutex
	sent map[string][]url.Values // by path
}

func (w *wiretap) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		w.sent[r.URL.Path] = append(w.sent[r.URL.Path], form)
		w.mu.Unlock()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	return http.DefaultTransport.RoundTrip(r)
}

func (w *wiretap) pushed() []url.Values {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sent["/par"])
}

func TestASilentSignInNamesTheUserOnlyWhereNoScriptCanRead(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		par    rp.PARMode
		query  string
		hinted bool
	}{
		"pushed":                 {rp.PARRequired, "prompt=none", true},
		"pushed, but not silent": {rp.PARRequired, "prompt=login", false},
		"by the address bar":     {rp.PAROff, "prompt=none", false},
		"of another provider":    {rp.PARRequired, "prompt=none&provider=other", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tap := &wiretap{sent: map[string][]url.Values{}}
			s := newSystem(t, func(o *options, pc *rp.Config) {
				pc.PAR, pc.Transport = tt.par, tap
				other := *pc
				other.ID = "other"
				o.providers = []rp.Config{*pc, other}
			})
			b := newBrowser(t)
			s.login(b, "/")
			before := len(tap.pushed())
			first := s.step(b, s.url+"/bff/login?"+tt.query, s.app+"/")
			var hint string
			if pushed := tap.pushed(); tt.par == rp.PARRequired {
				if len(pushed) != before+1 {
					t.Fatalf("%d pushed requests more, want 1", len(pushed)-before)
				}
				hint = pushed[before].Get("id_token_hint")
			}
			if (hint != "") != tt.hinted || tt.hinted && !slices.Contains(s.idp.Issued(), hint) {
				t.Errorf("a hint of %d bytes was pushed", len(hint))
			}
			if strings.Contains(first.header.Get("Location"), "id_token_hint") {
				t.Error("the address bar shows the ID token")
			}
			for _, token := range s.idp.Issued() {
				if strings.Contains(b.seen.String(), token) {
					t.Error("the browser was shown a token")
				}
			}
			if location, err := url.Parse(first.header.Get("Location")); err != nil || location.Host != strings.TrimPrefix(s.issuer, "http://") {
				t.Errorf("%d to %q", first.status, location)
			}
		})
	}
}
