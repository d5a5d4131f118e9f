package server_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"genkan/internal/devidp"
	"genkan/internal/rp"
)

// credential is one of the provider's, for this Genkan.
func (s *system) credential(t testing.TB, changes ...func(*devidp.JWT)) string {
	t.Helper()
	token, err := s.idp.RevocationToken(s.url+"/bff/global-token-revocation", changes...)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// revoke sends a global token revocation as Okta does.
func (s *system) revoke(token, body string, headers ...string) *http.Response {
	r := httptest.NewRequest(http.MethodPost, s.url+"/bff/global-token-revocation", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return s.send(r, headers...)
}

func (s *system) issSub(sub string) string {
	body, _ := json.Marshal(map[string]any{"sub_id": s.idp.IssSub(sub)})
	return string(body)
}

const byEmail = `{"sub_id":{"format":"email","email":"Alice@example.com"}}`

// wantRevoked checks an answer; code is the problem's, "" for 204.
func wantRevoked(t *testing.T, r *http.Response, status int, code string) {
	t.Helper()
	challenge := r.Header.Get("WWW-Authenticate")
	if strings.HasPrefix(challenge, "Bearer") != (status == 401 || code == "revocation_forbidden" && challenge != "") || r.Header.Get("Cache-Control") != "no-store" || len(r.Cookies()) != 0 {
		t.Errorf("%d with %v", r.StatusCode, r.Header)
	}
	if code != "" {
		wantProblem(t, r, status, code)
	} else if body := bodyOf(t, r); r.StatusCode != 204 || body != "" {
		t.Errorf("%d %q, want 204", r.StatusCode, body)
	}
}

// newRevocable has two browsers of alice, one of them with offline access, and others.
func newRevocable(t *testing.T) (*system, map[string]member) {
	s := newSystem(t, func(o *options, pc *rp.Config) {
		other := *pc
		other.ID, other.Issuer = "other", deadIssuer
		o.providers = []rp.Config{*pc, other}
	})
	return s, map[string]member{
		"alice":     s.enter(t, person{subject: "alice", email: "alice@example.com", scope: []string{"offline_access"}}),
		"phone":     s.enter(t, person{subject: "alice", email: "ALICE@example.com"}),
		"bob":       s.enter(t, person{subject: "bob", email: "bob@example.com"}),
		"elsewhere": s.enter(t, person{provider: "other", subject: "alice", email: "alice@example.com"}),
	}
}

func TestGlobalRevocationEndsAllOfAUser(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]func(*system) string{
		"iss_sub":         func(s *system) string { return s.issSub("alice") },
		"email":           func(*system) string { return byEmail },
		"the older draft": func(*system) string { return `{"subject":{"format":"email","email":"alice@example.com"}}` },
		"members that the format does not have": func(s *system) string {
			return `{"sub_id":{"format":"iss_sub","iss":"` + s.issuer + `","sub":"alice","email":"bob@example.com"}}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, all := newRevocable(t)
			wantRevoked(t, s.revoke(s.credential(t), body(s), "Origin: https://evil.example", "Accept: text/html, */*; q=.2"), 204, "")
			s.wantLive(t, all, "bob", "elsewhere")
			if log := s.log.String(); strings.Count(log, `"session ended by its provider"`) != 2 || strings.Count(log, `"by":"global token revocation"`) != 2 || strings.Contains(log, "example.com") {
				t.Error(log)
			}
			if err := s.Sessions.Drain(t.Context()); err != nil || s.idp.Stats().Revocations != 2 {
				t.Errorf("%d revocations (%v), want 2: offline access too", s.idp.Stats().Revocations, err)
			}
			wantRevoked(t, s.revoke(s.credential(t), body(s)), 404, "revocation_nobody")
		})
	}
}

// TestTheCallerOfAGlobalRevocation: 401 and 403, before the body is looked at.
func TestTheCallerOfAGlobalRevocation(t *testing.T) {
	t.Parallel()
	s, all := newRevocable(t)
	with := func(name string, value any) string {
		return s.credential(t, func(j *devidp.JWT) { j.Claims[name] = value })
	}
	logout := s.logoutToken(t, "alice", "")
	for name, row := range map[string]struct {
		token, code string
		status      int
		headers     []string
	}{
		"no credential":        {"", "revocation_unauthorized", 401, nil},
		"basic":                {"", "revocation_unauthorized", 401, []string{"Authorization: Basic " + s.credential(t)}},
		"an empty one":         {"", "revocation_unauthorized", 401, []string{"Authorization: Bearer "}},
		"two":                  {s.credential(t), "revocation_unauthorized", 401, []string{"Authorization: Bearer " + s.credential(t)}},
		"junk":                 {"junk", "revocation_unauthorized", 401, nil},
		"a logout token":       {logout, "revocation_unauthorized", 401, nil},
		"of nobody's issuer":   {with("iss", "https://evil.example"), "revocation_unauthorized", 401, nil},
		"for another endpoint": {with("aud", s.url+"/bff/backchannel"), "revocation_unauthorized", 401, nil},
		"for another host":     {with("aud", "https://evil.example/bff/global-token-revocation"), "revocation_unauthorized", 401, nil},
		"over":                 {with("exp", 1), "revocation_unauthorized", 401, nil},
		"not typed":            {s.credential(t, func(j *devidp.JWT) { j.Header["typ"] = "JWT" }), "revocation_unauthorized", 401, nil},
		"of another client":    {with("sub", "another-client"), "revocation_forbidden", 403, nil},
		"by a cookie":          {"", "revocation_unauthorized", 401, []string{all["alice"].cookie, "X-CSRF: 1", "Sec-Fetch-Site: same-origin"}},
		"in the query":         {"", "revocation_unauthorized", 401, []string{"X-Forwarded-Uri: /?access_token=" + s.credential(t)}},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.revoke(row.token, byEmail, row.headers...)
			if challenge := r.Header.Get("WWW-Authenticate"); challenge == "" {
				t.Error("no challenge")
			}
			wantRevoked(t, r, row.status, row.code)
			wantRevoked(t, s.revoke(row.token, "{", row.headers...), row.status, row.code)
		})
	}
	s.wantLive(t, all, "alice", "phone", "bob", "elsewhere")
	once := s.credential(t)
	wantRevoked(t, s.revoke(once, `{"sub_id":{"format":"email","email":"carol@example.com"}}`), 404, "revocation_nobody")
	wantRevoked(t, s.revoke(once, byEmail), 401, "revocation_unauthorized")
	s.wantLive(t, all, "alice", "phone", "bob", "elsewhere")
	if log := s.log.String(); strings.Contains(log, "eyJ") || strings.Contains(log, "@example.com") {
		t.Error("the log tells a token or an address")
	}
	wantProblem(t, s.do(http.MethodGet, s.url+"/bff/global-token-revocation"), 405, "method_not_allowed")
}

func TestTheSubjectOfAGlobalRevocation(t *testing.T) {
	t.Parallel()
	s, all := newRevocable(t)
	for name, row := range map[string]struct {
		body, code string
		status     int
	}{
		"nothing":                      {"", "revocation_invalid", 400},
		"no JSON":                      {"sub_id=alice", "revocation_invalid", 400},
		"null":                         {"null", "revocation_invalid", 400},
		"a list":                       {"[" + byEmail + "]", "revocation_invalid", 400},
		"two documents":                {byEmail + byEmail, "revocation_invalid", 400},
		"empty":                        {"{}", "revocation_invalid", 400},
		"another member":               {`{"user":{"format":"email","email":"alice@example.com"}}`, "revocation_invalid", 400},
		"in another case":              {`{"Sub_Id":{"format":"email","email":"alice@example.com"}}`, "revocation_invalid", 400},
		"a member too many":            {`{"x":1,"sub_id":{"format":"email","email":"alice@example.com"}}`, "revocation_invalid", 400},
		"both names":                   {`{"subject":{"format":"email","email":"bob@example.com"},"sub_id":{"format":"email","email":"alice@example.com"}}`, "revocation_invalid", 400},
		"sub_id a string":              {`{"sub_id":"alice"}`, "revocation_invalid", 400},
		"sub_id null":                  {`{"sub_id":null}`, "revocation_invalid", 400},
		"no format":                    {`{"sub_id":{"email":"alice@example.com"}}`, "revocation_invalid", 400},
		"format in another case":       {`{"sub_id":{"format":"EMAIL","email":"alice@example.com"}}`, "revocation_invalid", 400},
		"format opaque":                {`{"sub_id":{"format":"opaque","id":"alice"}}`, "revocation_invalid", 400},
		"format account":               {`{"sub_id":{"format":"account","uri":"acct:alice@example.com"}}`, "revocation_invalid", 400},
		"format aliases":               {`{"sub_id":{"format":"aliases","identifiers":[{"format":"email","email":"alice@example.com"}]}}`, "revocation_invalid", 400},
		"email missing":                {`{"sub_id":{"format":"email"}}`, "revocation_invalid", 400},
		"email empty":                  {`{"sub_id":{"format":"email","email":""}}`, "revocation_invalid", 400},
		"email a list":                 {`{"sub_id":{"format":"email","email":["alice@example.com"]}}`, "revocation_invalid", 400},
		"sub missing":                  {`{"sub_id":{"format":"iss_sub","iss":"` + s.issuer + `"}}`, "revocation_invalid", 400},
		"sub a number":                 {`{"sub_id":{"format":"iss_sub","iss":"` + s.issuer + `","sub":7}}`, "revocation_invalid", 400},
		"iss missing":                  {`{"sub_id":{"format":"iss_sub","sub":"alice"}}`, "revocation_invalid", 400},
		"a megabyte":                   {byEmail + strings.Repeat(" ", 1<<20), "revocation_invalid", 400},
		"of a stranger's":              {`{"sub_id":{"format":"iss_sub","iss":"https://evil.example","sub":"alice"}}`, "revocation_forbidden", 403},
		"of another provider of ours":  {`{"sub_id":{"format":"iss_sub","iss":"` + deadIssuer + `","sub":"alice"}}`, "revocation_forbidden", 403},
		"nobody by sub":                {s.issSub("carol"), "revocation_nobody", 404},
		"nobody by address":            {`{"sub_id":{"format":"email","email":"carol@example.com"}}`, "revocation_nobody", 404},
		"an address in place of a sub": {s.issSub("alice@example.com"), "revocation_nobody", 404},
	} {
		t.Run(name, func(t *testing.T) { wantRevoked(t, s.revoke(s.credential(t), row.body), row.status, row.code) })
	}
	r := httptest.NewRequest(http.MethodPost, s.url+"/bff/global-token-revocation", strings.NewReader(byEmail))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	wantRevoked(t, s.send(r, "Authorization: Bearer "+s.credential(t)), 400, "revocation_invalid")
	s.wantLive(t, all, "alice", "phone", "bob", "elsewhere")
}

// TestAGlobalRevocationInAnOutage: 503 while nothing is known, 422 when a user that is
// known could not be signed out.
func TestAGlobalRevocationInAnOutage(t *testing.T) {
	t.Parallel()
	s, all := newRevocable(t)
	s.idp.Inject(devidp.Fault{At: "/jwks", Times: 1, Answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }})
	r := s.revoke(s.credential(t), byEmail)
	if wantRevoked(t, r, 503, "provider_unavailable"); r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.idp.Heal()
	down := errors.New("down")
	for wait := true; wait; { // the keys are asked for again after a second
		r = s.revoke(s.credential(t), `{`)
		wait = r.StatusCode == 503
	}
	s.store.fail(down)
	if r = s.revoke(s.credential(t), byEmail); r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	wantRevoked(t, r, 503, "store_unavailable")
	s.store.recover(t, s.Sessions)
	s.wantLive(t, all, "alice", "phone", "bob", "elsewhere")
	s.store.failDeletes(down)
	wantRevoked(t, s.revoke(s.credential(t), byEmail), 422, "revocation_failed")
	s.store.failDeletes(nil)
	s.store.recover(t, s.Sessions)
	s.wantLive(t, all, "alice", "phone", "bob", "elsewhere")
	wantRevoked(t, s.revoke(s.credential(t), byEmail), 204, "")
	s.wantLive(t, all, "bob", "elsewhere")
}

// TestClientsOfOneRevocationIssuer: Okta's org speaks for all of its servers. What is for
// a client is for that client at each of them, and for no other.
func TestClientsOfOneRevocationIssuer(t *testing.T) {
	t.Parallel()
	s := newSystem(t, func(o *options, pc *rp.Config) {
		server, other := *pc, *pc
		server.ID, server.Issuer, server.RevocationIssuer = "server", deadIssuer, pc.Issuer
		other.ID, other.ClientID = "other", "another-client"
		o.providers = []rp.Config{other, server, *pc}
	})
	all := map[string]member{}
	for _, id := range []string{"other", "server", "idp"} {
		all[id] = s.enter(t, person{provider: id, subject: "alice"})
	}
	wantRevoked(t, s.revoke(s.credential(t), `{"sub_id":{"format":"iss_sub","iss":"`+deadIssuer+`","sub":"alice"}}`), 204, "")
	s.wantLive(t, all, "other")
}

// FuzzGlobalRevocation: no body of a good caller breaks anything or ends what it does not
// name.
func FuzzGlobalRevocation(f *testing.F) {
	s := newSystem(f, nil)
	alice := s.enter(f, person{subject: "alice-0123456789", email: "alice-0123456789@example.com"})
	f.Add(`{"sub_id":{"format":"email","email":"x"}}`)
	f.Add(`{"sub_id":{"format":"iss_sub","iss":"` + s.issuer + `","sub":"x"}}`)
	f.Add(`{"sub_id":{"format":"iss_sub","iss":"` + s.issuer + `","sub":""}}`)
	f.Add(`{"sub_id":{"format":"opaque","id":"x"}}`)
	f.Add(`{"subject":[null]}`)
	f.Add("\xff\x00")
	f.Fuzz(func(t *testing.T, body string) {
		s.log.Reset()
		switch r := s.revoke(s.credential(t), body); r.StatusCode {
		case 400, 403, 404:
		default:
			t.Fatalf("%d for %q", r.StatusCode, body)
		}
		if !s.live(t, alice) {
			t.Fatalf("signed out by %q", body)
		}
	})
}
