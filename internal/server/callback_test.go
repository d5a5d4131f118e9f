package server_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/devidp"
	"genkan/internal/rp"
)

// answered goes as far as the provider's answer and returns the callback address
// without opening it.
func (s *system) answered(t testing.TB, b *browser, query string) string {
	t.Helper()
	step := s.step(b, s.url+"/bff/login?"+query, s.app+"/")
	for range 5 {
		location := step.header.Get("Location")
		if strings.HasPrefix(location, s.url+"/bff/callback") {
			return location
		}
		next, err := step.url.Parse(location)
		if err != nil || location == "" {
			t.Fatalf("%d at %s, no way to the callback: %s", step.status, step.url, step.body)
		}
		step = s.step(b, next.String(), s.app+"/")
	}
	t.Fatal("the provider never answered")
	return ""
}

// step is one hop of a navigation from another page.
func (s *system) step(b *browser, address, from string) page {
	r, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, address, nil)
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	crossSite := relation(b.parse(from), r.URL) == "cross-site"
	b.attach(r, crossSite, false)
	return b.send(r)
}

func TestACallbackInAnotherBrowserSignsNobodyIn(t *testing.T) {
	t.Parallel()
	s, victim, attacker := newSystem(t, nil), newBrowser(t), newBrowser(t)
	callback := s.answered(t, attacker, "")
	p := victim.open(callback, "")
	if s.idp.Stats().Token["authorization_code"] != 0 {
		t.Error("the attacker's code was redeemed for the victim")
	}
	s.wantSignedIn(t, victim, false)
	if p.status != 200 || !strings.Contains(p.body, `id="continue"`) {
		t.Errorf("the victim sees %d %.300s", p.status, p.body)
	}
}

func TestForgedCallbacksAreClear4xxAndDisturbNobody(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	callback := s.answered(t, b, "")
	good, _ := url.Parse(callback)
	state, code := good.Query().Get("state"), good.Query().Get("code")
	before := len(b.cookies("localhost"))
	first := map[bool]string{true: "y", false: "x"}[state[0] == 'x']
	for name, query := range map[string]string{
		"no state":             "code=" + code,
		"empty state":          "code=" + code + "&state=",
		"made-up state":        "code=" + code + "&state=abc",
		"state twice":          "code=" + code + "&state=" + state + "&state=" + state,
		"made-up error":        "error=access_denied&state=bad",
		"nothing":              "",
		"not a query":          "%zz",
		"state cut":            "code=" + code + "&state=" + state[:len(state)-3],
		"state changed":        "code=" + code + "&state=" + first + state[1:],
		"resume made up":       "resume=abc",
		"script in everything": "error=%3Cscript%3E&error_description=%3Cscript%3Ealert(1)%3C/script%3E&state=%3Cscript%3E",
	} {
		p := b.open(s.url+"/bff/callback?"+query, s.issuer+"/")
		if p.status != 400 || !strings.HasPrefix(p.header.Get("Content-Type"), "text/html") || strings.Contains(p.body, "<script>alert") {
			t.Errorf("%s: %d %q", name, p.status, p.header.Get("Content-Type"))
		}
	}
	if got := s.idp.Stats().Token["authorization_code"]; got != 0 {
		t.Errorf("%d token requests", got)
	}
	if len(b.cookies("localhost")) != before {
		t.Error("a forged callback took a transaction away")
	}
	if p := b.open(callback, s.issuer+"/"); p.status != 200 {
		t.Errorf("the real one afterwards: %d %s", p.status, p.body)
	}
	s.wantSignedIn(t, b, true)
}

func TestMalformedAnswersToARealSignInSignNobodyIn(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(url.Values){
		"code and error":      func(v url.Values) { v.Set("error", "access_denied") },
		"code twice":          func(v url.Values) { v.Add("code", "x") },
		"no code":             func(v url.Values) { v.Del("code") },
		"another issuer":      func(v url.Values) { v.Set("iss", "https://evil.example") },
		"issuer twice":        func(v url.Values) { v.Add("iss", "https://evil.example") },
		"issuer missing":      func(v url.Values) { v.Del("iss") },
		"the user said no":    func(v url.Values) { v.Del("code"); v.Set("error", "access_denied") },
		"an error with HTML":  func(v url.Values) { v.Del("code"); v.Set("error", "<script>alert(1)</script>") },
		"the provider failed": func(v url.Values) { v.Del("code"); v.Set("error", "server_error") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b := newSystem(t, nil), newBrowser(t)
			callback, _ := url.Parse(s.answered(t, b, ""))
			query := callback.Query()
			change(query)
			callback.RawQuery = query.Encode()
			p := b.open(callback.String(), s.issuer+"/")
			if p.status < 400 || !strings.Contains(p.body, "Try again") || strings.Contains(p.body, "<script>alert") {
				t.Errorf("%d %.300s", p.status, p.body)
			}
			if got := s.idp.Stats().Token["authorization_code"]; got != 0 {
				t.Errorf("%d token requests", got)
			}
			s.wantSignedIn(t, b, false)
			if len(b.cookies("localhost")) != 0 {
				t.Errorf("cookies left: %v", b.cookies("localhost"))
			}
		})
	}
}

func TestReloadingTheCallbackGoesOnToTheReturnURL(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	callback := s.answered(t, b, "returnUrl=%2Fprofile")
	b.open(callback, s.issuer+"/")
	held := b.cookies("localhost")["bff-"+s.port].Value
	for name, from := range map[string]string{"reloaded": s.issuer + "/", "typed again": ""} {
		p := b.goOn(b.open(callback, from))
		if p.url.String() != s.url+"/profile" || p.status != 200 {
			t.Errorf("%s: landed at %s with %d", name, p.url, p.status)
		}
	}
	if got := s.idp.Stats(); got.Token["authorization_code"] != 1 || b.cookies("localhost")["bff-"+s.port].Value != held {
		t.Errorf("%d token requests, session replaced: %v", got.Token["authorization_code"], b.cookies("localhost")["bff-"+s.port].Value != held)
	}
}

func TestACallbackLoadedTwentyTimesAtOnceRedeemsItsCodeOnce(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	callback := s.answered(t, b, "")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			other := newBrowser(t)
			other.jar["localhost"] = b.cookies("localhost")
			s.step(other, callback, s.issuer+"/")
		})
	}
	wg.Wait()
	if got := s.idp.Stats().Token["authorization_code"]; got != 1 {
		t.Errorf("%d token requests, want 1", got)
	}
}

func TestALostTransactionIsRestartedOnceInSilence(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	callback := s.answered(t, b, "returnUrl=%2Fprofile")
	b.forget("localhost") // the cookie jar emptied half-way
	p := b.goOn(b.open(callback, s.issuer+"/"))
	if p.url.String() != s.url+"/profile" {
		t.Errorf("landed at %s with %d %.300s", p.url, p.status, p.body)
	}
	s.wantSignedIn(t, b, true)
}

func TestABrowserThatKeepsNoCookiesEndsOnAPageNotInALoop(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	callback := s.answered(t, b, "returnUrl=%2Fprofile")
	for range 3 {
		b.forget("localhost")
		p := s.step(b, callback, s.issuer+"/")
		if !strings.Contains(p.body, `id="continue"`) {
			t.Fatalf("%d %.300s", p.status, p.body)
		}
		link := strings.ReplaceAll(href.FindStringSubmatch(continueLink.FindString(p.body))[1], "&amp;", "&")
		b.forget("localhost")
		p = s.step(b, s.url+link, s.url+"/")
		if p.status == 400 {
			if !strings.Contains(p.body, "GK520") || !strings.Contains(p.body, "Try again") {
				t.Errorf("the page: %.600s", p.body)
			}
			return
		}
		b.forget("localhost")
		callback = s.step(b, p.header.Get("Location"), s.url+"/").header.Get("Location")
	}
	t.Error("it never stopped")
}

func TestATransactionIsOverAfterTenMinutes(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	callback := s.answered(t, b, "")
	s.clock.pass(10*time.Minute + time.Second)
	p := b.open(callback, s.issuer+"/")
	if s.idp.Stats().Token["authorization_code"] != 0 || !strings.Contains(p.body, `id="continue"`) {
		t.Errorf("%d %.300s", p.status, p.body)
	}
}

func TestTabsSignInAtTheSameTimeWithoutDisturbingEachOther(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	var callbacks []string
	for _, path := range []string{"%2Fone", "%2Ftwo", "%2Fthree"} {
		callbacks = append(callbacks, s.answered(t, b, "returnUrl="+path))
	}
	slices.Reverse(callbacks)
	for i, want := range []string{"/three", "/two", "/one"} {
		if p := b.open(callbacks[i], s.issuer+"/"); p.url.String() != s.url+want {
			t.Errorf("landed at %s, want %s", p.url, want)
		}
		s.wantSignedIn(t, b, true)
	}
}

func TestTransactionCookiesAreAtMostFiveAndSmall(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	var callbacks []string
	for range 8 {
		callbacks = append(callbacks, s.answered(t, b, ""))
	}
	if got := len(b.cookies("localhost")); got != 5 {
		t.Errorf("%d transactions, want 5", got)
	}
	if p := b.open(callbacks[0], s.issuer+"/"); !strings.Contains(p.body, `id="continue"`) {
		t.Errorf("the oldest is still there: %d", p.status)
	}
	if p := b.open(callbacks[7], s.issuer+"/"); p.status != 200 {
		t.Errorf("the newest: %d", p.status)
	}
	long := newBrowser(t)
	for range 6 {
		s.answered(t, long, "returnUrl=%2F"+strings.Repeat("a%26%3C", 600))
	}
	total := 0
	for name, c := range long.cookies("localhost") {
		if len(name)+len(c.Value) > 4096 {
			t.Errorf("%s has %d bytes", name, len(name)+len(c.Value))
		}
		total += len(name) + len(c.Value)
	}
	if total > 8<<10 {
		t.Errorf("%d bytes of cookies", total)
	}
}

func TestSigningInAgainEndsTheSessionBefore(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	first := b.cookies("localhost")["bff-"+s.port]
	s.login(b, "/") // Strict keeps the old cookie from this callback
	if second := b.cookies("localhost")["bff-"+s.port]; second.Value == first.Value {
		t.Fatal("the session cookie is the same")
	}
	old := newBrowser(t)
	old.jar["localhost"] = map[string]*http.Cookie{first.Name: first}
	s.wantSignedIn(t, old, false)
	s.wantSignedIn(t, b, true)
	if got := s.idp.Stats().Revocations; got != 0 {
		t.Errorf("%d revocations: some providers would end the new tokens too", got)
	}
}

func TestALoopStopsWithAPageThatNamesTheCause(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	for range 3 {
		if p := s.login(b, "/"); p.status != 200 {
			t.Fatalf("%d %s", p.status, p.body)
		}
	}
	if p := s.login(b, "/"); p.status != 400 || !strings.Contains(p.body, "GK523") || !strings.Contains(p.body, "credentials") {
		t.Errorf("%d %.500s", p.status, p.body)
	}
	if p := b.open(s.url+"/bff/login?prompt=login", s.app+"/"); strings.Contains(p.body, "GK523") {
		t.Error("an explicit prompt counts as a loop")
	}
	s.clock.pass(time.Minute + time.Second)
	if p := s.login(b, "/"); p.status != 200 {
		t.Errorf("a minute later: %d", p.status)
	}
}

func TestAStoreThatIsDownAtTheCallbackIs503AndLosesNothing(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	callback := s.answered(t, b, "")
	s.store.fail(errors.New("down"))
	if p := b.open(callback, s.issuer+"/"); p.status != 503 || s.idp.Stats().Token["authorization_code"] != 0 {
		t.Errorf("%d, %d token requests", p.status, s.idp.Stats().Token["authorization_code"])
	}
	s.store.recover(t, s.Sessions)
	if p := b.open(callback, s.issuer+"/"); p.status != 200 {
		t.Errorf("reloaded: %d %s", p.status, p.body)
	}
	s.wantSignedIn(t, b, true)
}

func TestFormPostSignsIn(t *testing.T) {
	t.Parallel()
	s := newSystem(t, func(o *options, pc *rp.Config) { o.formPost, pc.ResponseMode = true, rp.ModeFormPost })
	b := newBrowser(t)
	p := s.login(b, "/profile")
	form := url.Values{}
	for _, input := range inputs(p.body) {
		form.Set(input[0], input[1])
	}
	if form.Get("code") == "" {
		t.Fatalf("the provider's page at %s holds no form: %.500s", p.url, p.body)
	}
	if query := b.open(s.url+"/bff/callback?"+form.Encode(), s.issuer+"/"); query.status != 400 {
		t.Errorf("the answer by query: %d, want 400", query.status)
	}
	b = newBrowser(t)
	p = s.login(b, "/profile")
	for _, input := range inputs(p.body) {
		form.Set(input[0], input[1])
	}
	done := b.submit(s.url+"/bff/callback", s.issuer+"/authorize", form)
	if done.url.String() != s.url+"/profile" {
		t.Errorf("landed at %s with %d %.300s", done.url, done.status, done.body)
	}
	s.wantSignedIn(t, b, true)
	huge := url.Values{"state": {form.Get("state")}, "code": {strings.Repeat("a", 100_000)}}
	if p := b.submit(s.url+"/bff/callback", s.issuer+"/authorize", huge); p.status != 400 {
		t.Errorf("a huge body: %d, want 400", p.status)
	}
}

// formAnswer goes as far as the provider's form and returns what it is about to send.
func (s *system) formAnswer(b *browser) url.Values {
	b.t.Helper()
	form := url.Values{}
	for _, input := range inputs(s.login(b, "/profile").body) {
		form.Set(input[0], input[1])
	}
	if form.Get("code") == "" {
		b.t.Fatal("the provider sends no code")
	}
	return form
}

// answer posts body to the callback, as the provider's page makes a browser do.
func (s *system) answer(b *browser, kind, body string) page {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, s.url+"/bff/callback", strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Origin", s.issuer)
	r.Header.Set("Content-Type", kind)
	b.attach(r, true, true)
	return b.send(r)
}

// formSystem is a system whose provider answers by form_post.
func formSystem(t testing.TB) *system {
	t.Helper()
	return newSystem(t, func(o *options, pc *rp.Config) { o.formPost, pc.ResponseMode = true, rp.ModeFormPost })
}

const formType = "application/x-www-form-urlencoded"

// RFC 9700 4.12: a 307 would send the code on to the return URL.
func TestTheAnswerByFormIsNotSentOn(t *testing.T) {
	t.Parallel()
	s, b := formSystem(t), newBrowser(t)
	p := s.answer(b, formType, s.formAnswer(b).Encode())
	if p.status != http.StatusSeeOther || p.header.Get("Location") != "/profile" {
		t.Errorf("%d to %q, want 303 to /profile", p.status, p.header.Get("Location"))
	}
}

// 6265bis 5.6.7.2: only a SameSite=None cookie, which must be Secure, comes with a POST
// from another site.
func TestTheAnswerByFormNeedsACookieThatCrossesSites(t *testing.T) {
	t.Parallel()
	s, b := formSystem(t), newBrowser(t)
	form := s.formAnswer(b)
	names := s.transactions(b)
	if len(names) != 1 {
		t.Fatalf("transactions %v", names)
	}
	cookie := b.jar["localhost"][names[0]]
	if cookie.SameSite != http.SameSiteNoneMode || !cookie.Secure || !cookie.HttpOnly {
		t.Errorf("the transaction is set as %s", cookie)
	}
	lax := *cookie
	lax.SameSite = http.SameSiteLaxMode
	b.jar["localhost"][names[0]] = &lax
	if p := s.answer(b, formType, form.Encode()); p.status != 200 || !strings.Contains(p.body, `id="continue"`) || s.idp.Stats().Token["authorization_code"] != 0 {
		t.Errorf("with a Lax cookie: %d %.200s", p.status, p.body)
	}
	b.jar["localhost"][names[0]] = cookie
	if p := s.answer(b, formType, form.Encode()); p.status != http.StatusSeeOther {
		t.Errorf("with its own cookie: %d %.200s", p.status, p.body)
	}
	s.wantSignedIn(t, b, true)
}

func TestTheAnswerByFormIsAFormAndNothingElse(t *testing.T) {
	t.Parallel()
	s, b := formSystem(t), newBrowser(t)
	form := s.formAnswer(b)
	for _, tt := range []struct{ name, kind, body string }{
		{"JSON", "application/json", `{"code":"` + form.Get("code") + `","state":"` + form.Get("state") + `"}`},
		{"plain text", "text/plain", form.Encode()},
		{"no type", "", form.Encode()},
		{"several parts", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"state\"\r\n\r\n" + form.Get("state") + "\r\n--b--\r\n"},
		{"a broken form", formType, form.Encode() + "&x=%zz"},
		{"a huge form", formType, form.Encode() + "&x=" + strings.Repeat("a", 100_000)},
		{"a state twice", formType, form.Encode() + "&state=" + url.QueryEscape(form.Get("state"))},
		{"nothing", formType, ""},
	} {
		if p := s.answer(b, tt.kind, tt.body); p.status != 400 || s.idp.Stats().Token["authorization_code"] != 0 {
			t.Errorf("%s: %d %.200s", tt.name, p.status, p.body)
		}
	}
	if p := s.answer(b, formType+"; charset=UTF-8", form.Encode()); p.status != http.StatusSeeOther {
		t.Errorf("the form itself: %d %.200s", p.status, p.body)
	}
}

func TestAQuerySignInRefusesAnAnswerByPost(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	callback, _ := url.Parse(s.answered(t, b, ""))
	p := b.submit(s.url+"/bff/callback", s.url+"/", callback.Query())
	if p.status != 400 || s.idp.Stats().Token["authorization_code"] != 0 {
		t.Errorf("%d, %d token requests", p.status, s.idp.Stats().Token["authorization_code"])
	}
	s.wantSignedIn(t, b, false)
}

func TestASilentSignInThatNeedsTheUserComesBackSignedOut(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.idp.Inject(devidp.Fault{Redirect: func(v url.Values) { v.Del("code"); v.Set("error", "login_required") }})
	p := b.open(s.url+"/bff/login?prompt=none&returnUrl=%2Fprofile", s.app+"/")
	if p.url.String() != s.url+"/profile" || p.status != 200 {
		t.Errorf("landed at %s with %d", p.url, p.status)
	}
	s.wantSignedIn(t, b, false)
}
