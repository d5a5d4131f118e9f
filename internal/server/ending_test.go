package server_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"genkan/internal/devidp"
	"genkan/internal/rp"
)

// duringSignIn makes the provider end what work is given the sid of, while it answers a
// token request.
func (s *system) duringSignIn(work func(sid string)) {
	s.idp.Inject(devidp.Fault{Times: 1, IDToken: func(j *devidp.JWT) {
		sid, _ := j.Claims["sid"].(string)
		work(sid)
	}})
}

// TestALogoutDuringASignInWins: the provider was told that all is over, so it has to be.
func TestALogoutDuringASignInWins(t *testing.T) {
	t.Parallel()
	const alice = "dev-user-alice-7f3a"
	for name, end := range map[string]func(t *testing.T, s *system, sid string){
		"back-channel, sid": func(t *testing.T, s *system, sid string) {
			wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "", sid)}}), "")
		},
		"back-channel, sid and sub": func(t *testing.T, s *system, sid string) {
			wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, alice, sid)}}), "")
		},
		"back-channel, sub": func(t *testing.T, s *system, _ string) {
			wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, alice, "")}}), "")
		},
		"front-channel": func(t *testing.T, s *system, sid string) {
			if r := s.do(http.MethodGet, s.url+"/bff/frontchannel?"+url.Values{"iss": {s.issuer}, "sid": {sid}}.Encode()); r.StatusCode != 200 {
				t.Errorf("%d", r.StatusCode)
			}
		},
		"universal, sub": func(t *testing.T, s *system, _ string) {
			wantRevoked(t, s.revoke(s.credential(t), s.issSub(alice)), 404, "revocation_nobody")
		},
		"universal, email": func(t *testing.T, s *system, _ string) {
			wantRevoked(t, s.revoke(s.credential(t), byEmail), 404, "revocation_nobody")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b := newSystem(t, nil), newBrowser(t)
			s.duringSignIn(func(sid string) { end(t, s, sid) })
			p := s.login(b, "/")
			s.wantSignedIn(t, b, false)
			if p.status != 401 || !strings.Contains(p.body, "GK311") || !strings.Contains(p.body, "signed you out while") {
				t.Errorf("%d %.600s", p.status, p.body)
			}
			if err := s.Sessions.Drain(t.Context()); err != nil || (s.idp.Stats().Revocations == 1) != strings.HasPrefix(name, "universal") {
				t.Errorf("%d revocations (%v): only a universal logout ends offline access", s.idp.Stats().Revocations, err)
			}
			s.login(b, "/")
			s.wantSignedIn(t, b, true)
		})
	}
}

// TestALogoutDuringASilentSignInShowsNothing: who asked for no page gets none.
func TestALogoutDuringASilentSignInShowsNothing(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	s.duringSignIn(func(sid string) { wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "", sid)}}), "") })
	p := b.open(s.url+"/bff/login?prompt=none&returnUrl=/profile", s.app+"/")
	if p.status != 200 || p.url.Path != "/profile" {
		t.Errorf("%d at %s", p.status, p.url)
	}
}

// TestAnEndThatCannotBeMarkedIsNone: without the mark a sign-in under way would win.
func TestAnEndThatCannotBeMarkedIsNone(t *testing.T) {
	t.Parallel()
	s, all := newRevocable(t)
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "carol", "")}}), "") // the keys are here
	for _, end := range []func(){
		func() {
			wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "")}}), "temporarily_unavailable")
		},
		func() { wantRevoked(t, s.revoke(s.credential(t), byEmail), 503, "store_unavailable") },
		func() {
			wantProblem(t, s.do(http.MethodGet, s.url+"/bff/frontchannel?"+url.Values{"iss": {s.issuer}, "sid": {"sid-1"}}.Encode()), 503, "store_unavailable")
		},
	} {
		s.store.failSaves(errors.New("read only"))
		end()
		s.store.failSaves(nil)
		s.store.recover(t, s.Sessions)
	}
	s.wantLive(t, all, "alice", "phone", "bob", "elsewhere")
}

// TestASubBesideASIDEndsWhatKnowsNoSID: some providers put no sid into ID tokens.
func TestASubBesideASIDEndsWhatKnowsNoSID(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	all := map[string]member{
		"alice": s.enter(t, person{subject: "alice", sid: "sid-1"}), "phone": s.enter(t, person{subject: "alice", sid: "sid-2"}),
		"nameless": s.enter(t, person{subject: "alice"}), "bob": s.enter(t, person{subject: "bob"}),
	}
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "", "sid-9")}}), "")
	s.wantLive(t, all, "alice", "phone", "nameless", "bob")
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "sid-1")}}), "")
	s.wantLive(t, all, "phone", "bob")
}

// TestWhatIsNotDoneMayBeAskedForAgain: a token is used up when its work is done.
func TestWhatIsNotDoneMayBeAskedForAgain(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	s := newSystem(t, nil)
	all := map[string]member{"alice": s.enter(t, person{subject: "alice"})}
	token := url.Values{"logout_token": {s.logoutToken(t, "alice", "")}}
	s.store.failDeletes(down)
	wantTold(t, s.tell(token), "temporarily_unavailable")
	s.store.failDeletes(nil)
	s.store.recover(t, s.Sessions)
	wantTold(t, s.tell(token), "")
	s.wantLive(t, all)

	all["alice"] = s.enter(t, person{subject: "alice"})
	credential := s.credential(t)
	s.store.fail(down)
	wantRevoked(t, s.revoke(credential, s.issSub("alice")), 503, "store_unavailable")
	s.store.recover(t, s.Sessions)
	s.store.failDeletes(down)
	wantRevoked(t, s.revoke(credential, s.issSub("alice")), 422, "revocation_failed")
	s.store.failDeletes(nil)
	s.store.recover(t, s.Sessions)
	wantRevoked(t, s.revoke(credential, s.issSub("alice")), 204, "")
	s.wantLive(t, all)
	wantRevoked(t, s.revoke(credential, s.issSub("alice")), 401, "revocation_unauthorized")
}

// TestEachProviderJudgesByItsOwnRules: of two with one issuer and one client one wants
// typed logout tokens.
func TestEachProviderJudgesByItsOwnRules(t *testing.T) {
	t.Parallel()
	untyped := func(j *devidp.JWT) { delete(j.Header, "typ") }
	for name, strict := range map[string]int{"the first is strict": 0, "the second is strict": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, func(o *options, pc *rp.Config) {
				o.providers = []rp.Config{*pc, *pc}
				o.providers[strict].ID, o.providers[strict].LogoutTokenType = "strict", true
			})
			all := map[string]member{"idp": s.enter(t, person{subject: "alice"}), "strict": s.enter(t, person{provider: "strict", subject: "alice"})}
			s.idp.Inject(devidp.Fault{At: "/jwks", Times: 1, Answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }})
			wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "")}}), "temporarily_unavailable") // one has no keys
			s.wantLive(t, all, "idp", "strict")
			nobody := url.Values{"logout_token": {s.logoutToken(t, "carol", "")}}
			for end := time.Now().Add(5 * time.Second); s.tell(nobody).StatusCode != 200; { // the keys are asked for again after a second
				if time.Now().After(end) {
					t.Fatal("the provider is not asked again")
				}
			}
			wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "", untyped)}}), "")
			s.wantLive(t, all, "strict")
			wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "")}}), "")
			s.wantLive(t, all)
		})
	}
}

// TestAnIDOfATokenIsItsProvidersOwn: two providers may number their tokens alike.
func TestAnIDOfATokenIsItsProvidersOwn(t *testing.T) {
	t.Parallel()
	s := newSystem(t, func(o *options, pc *rp.Config) {
		other := *pc
		other.ID, other.ClientID = "other", "another-client"
		o.providers = []rp.Config{*pc, other}
	})
	enter := func() map[string]member {
		return map[string]member{"idp": s.enter(t, person{subject: "alice"}), "other": s.enter(t, person{provider: "other", subject: "alice"})}
	}
	number := func(j *devidp.JWT) { j.Claims["jti"] = "1" }
	all := enter()
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "", number)}}), "")
	s.wantLive(t, all, "other")
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "", number, func(j *devidp.JWT) { j.Claims["aud"] = "another-client" })}}), "")
	s.wantLive(t, all)

	all = enter()
	wantRevoked(t, s.revoke(s.credential(t, number), s.issSub("alice")), 204, "")
	s.wantLive(t, all, "other")
	wantRevoked(t, s.revoke(s.credential(t, number, func(j *devidp.JWT) { j.Claims["sub"] = "another-client" }), s.issSub("alice")), 204, "")
	s.wantLive(t, all)
}

// TestATokenIsRememberedAsLongAsItCounts: to the last seconds, which are a minute after its
// expiry for clocks that differ.
func TestATokenIsRememberedAsLongAsItCounts(t *testing.T) {
	t.Parallel()
	s := newSystem(t, func(o *options, pc *rp.Config) { pc.Now = o.now })
	token, credential := url.Values{"logout_token": {s.logoutToken(t, "alice", "")}}, s.credential(t)
	wantTold(t, s.tell(token), "")
	wantRevoked(t, s.revoke(credential, s.issSub("alice")), 404, "revocation_nobody")
	s.clock.pass(2*time.Minute + 55*time.Second) // it expires after two minutes
	all := map[string]member{"alice": s.enter(t, person{subject: "alice"})}
	wantTold(t, s.tell(token), "")
	s.wantLive(t, all, "alice")
	s.clock.pass(3 * time.Minute) // that one after five
	if p := wantProblem(t, s.revoke(credential, s.issSub("alice")), 401, "revocation_unauthorized"); p.Detail != "Its jti was used before." {
		t.Errorf("%q", p.Detail)
	}
	wantTold(t, s.tell(token), "invalid_request")
	s.wantLive(t, all, "alice")
}

// TestMoreSessionsThanOneLookUpFindsEnd: a look-up finds a thousand.
func TestMoreSessionsThanOneLookUpFindsEnd(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	for range 1001 {
		s.enter(t, person{subject: "alice", scope: []string{"offline_access"}})
	}
	wantTold(t, s.tell(url.Values{"logout_token": {s.logoutToken(t, "alice", "")}}), "")
	if left, err := s.Sessions.OfUser(t.Context(), "idp", "alice"); err != nil || len(left) != 0 {
		t.Errorf("%d are left, %v", len(left), err)
	}
}

// TestAProviderThatHangsUpHasSaidIt: what it has asked for is done all the same.
func TestAProviderThatHangsUpHasSaidIt(t *testing.T) {
	t.Parallel()
	s, all := newRevocable(t)
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	send := func(path, contentType, body string, headers ...string) {
		r := httptest.NewRequest(http.MethodPost, s.url+path, strings.NewReader(body)).WithContext(gone)
		r.Header.Set("Content-Type", contentType)
		s.send(r, headers...)
	}
	send("/bff/backchannel", "application/x-www-form-urlencoded", url.Values{"logout_token": {s.logoutToken(t, "bob", "")}}.Encode())
	s.wantLive(t, all, "alice", "phone", "elsewhere")
	send("/bff/global-token-revocation", "application/json", byEmail, "Authorization: Bearer "+s.credential(t))
	s.wantLive(t, all, "elsewhere")
}

// TestAFloodOfFramesFillsNoStore: whoever makes up sids gets no row for each.
func TestAFloodOfFramesFillsNoStore(t *testing.T) {
	t.Parallel()
	still := time.Now()
	f := newFixture(t, options{now: func() time.Time { return still }})
	asks := func(from string) int {
		r := httptest.NewRequest(http.MethodGet, framed(deadIssuer, rand.Text()), nil)
		r.RemoteAddr = from
		before := f.store.asked()
		if got := f.send(r, frame...).StatusCode; got != 200 {
			t.Fatal(got)
		}
		return f.store.asked() - before
	}
	marks := 0
	for range 150 {
		if asks("203.0.113.1:1234") == 3 { // a look for the mark, its row, a look for sessions
			marks++
		}
	}
	if marks != 100 {
		t.Errorf("%d marks of one address at once, want 100", marks)
	}
	if got := asks("203.0.113.2:1234"); got != 3 {
		t.Errorf("another address: the store is asked %d times, want 3", got)
	}
}
