package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"genkan/internal/devidp"
	"genkan/internal/keys"
	"genkan/internal/rp"
)

// newPair is a system with a second provider, "other", on the same redirect URI.
func newPair(t *testing.T) (s *system, other *devidp.Provider, otherURL string) {
	t.Helper()
	back := listener(t)
	otherURL = "http://" + back.Addr().String()
	s = newSystem(t, func(o *options, pc *rp.Config) {
		pc.Scopes = nil
		o.providers = []rp.Config{*pc, {ID: "other", Issuer: otherURL, ClientID: "genkan-there", ClientSecret: keys.NewSecret("0ther-canary")}}
	})
	other, err := devidp.New(devidp.Config{Issuer: otherURL, AutoSignIn: "bob", SkipConsent: true, NewKey: firstKey(),
		Clients: []devidp.Client{{ID: "genkan-there", Secret: "0ther-canary", RedirectURIs: []string{s.url + "/bff/callback"}}}})
	if err != nil {
		t.Fatal(err)
	}
	start(t, back, other)
	return s, other, otherURL
}

// RFC 9207 2.4 and RFC 9700 4.4: the answer of another provider than the one that was
// asked says nothing, and its code is sent to nobody.
func TestAnAnswerOfAnotherProviderIsRefused(t *testing.T) {
	t.Parallel()
	s, other, otherURL := newPair(t)
	b := newBrowser(t)
	ours, _ := url.Parse(s.answered(t, b, ""))
	theirs, _ := url.Parse(s.answered(t, b, "provider=other"))
	mixed := ours.Query()
	mixed.Set("code", theirs.Query().Get("code"))
	mixed.Set("iss", otherURL)
	if p := b.open(s.url+"/bff/callback?"+mixed.Encode(), s.issuer+"/"); p.status != 400 || !strings.Contains(p.body, "GK522") {
		t.Errorf("%d %.300s", p.status, p.body)
	}
	if a, b := s.idp.Stats().Token["authorization_code"], other.Stats().Token["authorization_code"]; a != 0 || b != 0 {
		t.Errorf("%d and %d token requests", a, b)
	}
	s.wantSignedIn(t, b, false)
}

// A provider that sends no iss at all: the code goes to where the sign-in began, which
// does not know it.
func TestACodeGoesOnlyWhereItsSignInBegan(t *testing.T) {
	t.Parallel()
	s, other, _ := newPair(t)
	s.inject(t, "discovery-no-iss")
	b := newBrowser(t)
	ours, _ := url.Parse(s.answered(t, b, ""))
	theirs, _ := url.Parse(s.answered(t, b, "provider=other"))
	mixed := url.Values{"state": ours.Query()["state"], "code": theirs.Query()["code"]}
	if p := b.open(s.url+"/bff/callback?"+mixed.Encode(), s.issuer+"/"); !strings.Contains(p.body, "GK224") {
		t.Errorf("%d %.300s", p.status, p.body)
	}
	if a, b := s.idp.Stats().Token["authorization_code"], other.Stats().Token["authorization_code"]; a != 1 || b != 0 {
		t.Errorf("%d and %d token requests", a, b)
	}
	s.wantSignedIn(t, b, false)
}

// The mix-up attack (RFC 9700 4.4.1): the user begins at a hostile provider, which sends
// her on to the honest one with Genkan's registration there.
func TestAHostileProviderGetsNoCodeOfAnother(t *testing.T) {
	t.Parallel()
	s, hostile, _ := newPair(t)
	hostile.Inject(devidp.Fault{At: "/authorize", Answer: func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		query.Set("client_id", "genkan")
		http.Redirect(w, r, s.issuer+"/authorize?"+query.Encode(), http.StatusFound)
	}})
	b := newBrowser(t)
	p := b.open(s.url+"/bff/login?provider=other", s.app+"/")
	if p.status != 400 || !strings.Contains(p.body, "GK522") {
		t.Errorf("%d %.300s", p.status, p.body)
	}
	if got := hostile.Stats().Token["authorization_code"]; got != 0 {
		t.Errorf("the hostile provider got %d codes", got)
	}
	s.wantSignedIn(t, b, false)
}
