package rp

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

// The URNs of RFC 8693 2.1 and 3.
const (
	urnExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	urnAccess   = "urn:ietf:params:oauth:token-type:access_token"
	urnJWT      = "urn:ietf:params:oauth:token-type:jwt"
	urnID       = "urn:ietf:params:oauth:token-type:id_token"
	urnRefresh  = "urn:ietf:params:oauth:token-type:refresh_token"
)

// subject holds the token of a session.
var subject = Tokens{Access: keys.NewSecret("access-1"), Refresh: keys.NewSecret("refresh-1"), ID: keys.NewSecret("id-1")}

// exchanged is a good answer, after RFC 8693 2.3.
func exchanged(change object) http.HandlerFunc {
	body := with(object{"access_token": "exchanged-1", "issued_token_type": urnAccess, "token_type": "Bearer", "expires_in": 60}, change)
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, body) }
}

// TestExchangeRequest: 196, 199: what is configured goes out, once, and nothing else.
func TestExchangeRequest(t *testing.T) {
	t.Parallel()
	always := url.Values{"grant_type": {urnExchange}, "subject_token": {"access-1"}, "subject_token_type": {urnAccess}}
	rows := []struct {
		name string
		what ExchangeRequest
		more url.Values
	}{
		{"nothing", ExchangeRequest{}, nil},
		{"audience", ExchangeRequest{Audience: "orders"}, url.Values{"audience": {"orders"}}},
		{"scope", ExchangeRequest{Scope: "orders.read orders.write"}, url.Values{"scope": {"orders.read orders.write"}}},
		{"a type", ExchangeRequest{RequestedTokenType: urnAccess}, url.Values{"requested_token_type": {urnAccess}}},
		{"resources", ExchangeRequest{Resource: []string{"https://b.example/x?y=z", "urn:a"}}, url.Values{"resource": {"https://b.example/x?y=z", "urn:a"}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.answers("/token", exchanged(nil))
			c := p.client(func(c *Config) { c.Resource = []string{"https://sign-in.example"} })
			if _, err := c.Exchange(t.Context(), subject, row.what); err != nil {
				t.Fatal(err)
			}
			want := maps.Clone(always)
			maps.Copy(want, row.more)
			got := p.seen("/token")
			if len(got) != 1 {
				t.Fatalf("%d requests", len(got))
			}
			if diff := cmp.Diff(want, got[0].form); diff != "" {
				t.Errorf("form (-want +got):\n%s", diff)
			}
			if got[0].method != "POST" || got[0].header.Get("Authorization") != "Basic Z2Vua2FuLWNsaWVudDpzZWNyZXQ=" || got[0].header.Get("DPoP") != "" {
				t.Errorf("%s, Authorization %q, DPoP %q", got[0].method, got[0].header.Get("Authorization"), got[0].header.Get("DPoP"))
			}
		})
	}
}

// TestExchangeAnswer: 197: RFC 8693 2.2.1 and RFC 6749 5.1. Each row changes a good answer;
// code names what fails the call.
func TestExchangeAnswer(t *testing.T) {
	t.Parallel()
	const mine, theirs = Misconfigured, Fault
	rows := []struct {
		name   string
		asked  string
		change object
		kind   Kind
		code   string
	}{
		{name: "a good one"},
		{"a JWT, when nothing was asked for", "", object{"issued_token_type": urnJWT}, 0, ""},
		{"an access token as asked", urnAccess, nil, 0, ""},
		{"a JWT as asked", urnJWT, object{"issued_token_type": urnJWT}, 0, ""},
		{"a JWT instead of an access token", urnAccess, object{"issued_token_type": urnJWT}, mine, "issued_token_type"},
		{"an access token instead of a JWT", urnJWT, nil, mine, "issued_token_type"},
		{"no issued_token_type", "", object{"issued_token_type": nil}, mine, "issued_token_type"},
		{"no issued_token_type, asked", urnAccess, object{"issued_token_type": nil}, mine, "issued_token_type"},
		{"issued_token_type empty", "", object{"issued_token_type": ""}, mine, "issued_token_type"},
		{"issued_token_type null", "", object{"issued_token_type": null}, mine, "issued_token_type"},
		{"issued_token_type a list", "", object{"issued_token_type": []string{urnAccess}}, mine, "issued_token_type"},
		{"issued_token_type in capitals", "", object{"issued_token_type": strings.ToUpper(urnAccess)}, mine, "issued_token_type"},
		{"an ID token", "", object{"issued_token_type": urnID}, mine, "issued_token_type"},
		{"a refresh token", "", object{"issued_token_type": urnRefresh}, mine, "issued_token_type"},
		{"no access token to call with", "", object{"token_type": "N_A"}, theirs, "token_response"},
		{"no token_type", "", object{"token_type": nil}, theirs, "token_response"},
		{"bound to a key that there is not", "", object{"token_type": "DPoP"}, theirs, "token_response"},
		{"token_type in small letters", "", object{"token_type": "bearer"}, 0, ""},
		{"no access_token", "", object{"access_token": nil}, theirs, "token_response"},
		{"access_token with a line break", "", object{"access_token": "a\nb"}, theirs, "token_response"},
		{"an error in a 200", "", object{"error": "invalid_target"}, mine, "invalid_target"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.answers("/token", exchanged(row.change))
			got, err := p.client().Exchange(t.Context(), subject, ExchangeRequest{RequestedTokenType: row.asked})
			finding := "token_response"
			if row.code == "invalid_target" {
				finding = "upstream_token_refused"
			}
			switch {
			case row.code != "":
				wantError(t, err, row.kind, finding, row.code)
			case err != nil:
				t.Error(err)
			}
			if used := got.Access.Reveal() == "exchanged-1"; used != (row.code == "") || !used && !cmp.Equal(got, Tokens{}, bySecret) {
				t.Errorf("the token is given out: %v", used)
			}
			if p.count("/token") != 1 {
				t.Errorf("%d requests", p.count("/token"))
			}
		})
	}
}

// TestExchangedTokens: what is kept of an answer.
func TestExchangedTokens(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.answers("/token", exchanged(object{"refresh_token": "refresh-2", "id_token": "id-2", "scope": "orders.read"}))
	c := p.client()
	want := Tokens{Access: keys.NewSecret("exchanged-1"), Scope: []string{"orders.read"}, Expiry: start.Add(time.Minute)}
	got, err := c.Exchange(t.Context(), subject, ExchangeRequest{Scope: "orders.read orders.write"})
	if diff := cmp.Diff(want, got, bySecret); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	p.answers("/token", exchanged(object{"expires_in": nil}))
	got, err = c.Exchange(t.Context(), subject, ExchangeRequest{Scope: "a b"})
	want.Scope, want.Expiry = []string{"a", "b"}, start.Add(5*time.Minute) // RFC 6749 5.1: the scope asked for
	if diff := cmp.Diff(want, got, bySecret); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}

// TestExchangeRefused: 200, RFC 8693 2.2.2: who is to mend it, and nothing is asked twice.
func TestExchangeRefused(t *testing.T) {
	t.Parallel()
	const up, down = "upstream_token_refused", "provider_unavailable"
	rows := []struct {
		status  int
		body    string
		kind    Kind
		finding string
		code    string
	}{
		{400, `{"error":"invalid_request"}`, Refused, up, "invalid_request"},
		{400, `{"error":"invalid_grant"}`, Refused, up, "invalid_grant"},
		{403, `{"error":"access_denied"}`, Refused, up, "access_denied"},
		{400, `{"error":"invalid_target"}`, Misconfigured, up, "invalid_target"},
		{400, `{"error":"invalid_scope"}`, Misconfigured, up, "invalid_scope"},
		{400, `{"error":"unsupported_grant_type"}`, Misconfigured, up, "unsupported_grant_type"},
		{400, `{"error":"unauthorized_client"}`, Misconfigured, up, "unauthorized_client"},
		{401, `{"error":"invalid_client"}`, Misconfigured, up, "invalid_client"},
		{401, ``, Misconfigured, up, "http_401"},
		{429, `{"error":"invalid_grant"}`, Fault, down, "invalid_grant"},
		{500, `{"error":"invalid_request"}`, Fault, down, "invalid_request"},
		{503, `<html>`, Fault, down, "http_503"},
		{302, ``, Fault, down, "http_302"},
		{404, `<html>`, Fault, down, "http_404"},
		{200, `<html>`, Fault, "token_response", "token_response"},
	}
	for _, row := range rows {
		t.Run(row.code+" "+http.StatusText(row.status), func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.answers("/token", text(row.status, "application/json", row.body))
			c := p.client()
			_, err := c.Exchange(t.Context(), subject, ExchangeRequest{Audience: "orders", Resource: []string{"urn:a"}})
			wantError(t, err, row.kind, row.finding, row.code)
			if p.count("/token") != 1 {
				t.Errorf("%d requests", p.count("/token"))
			}
			_, err = c.ClientTokens(t.Context(), keys.Secret{}, ClientCredentials{Audience: "orders"})
			wantError(t, err, row.kind, row.finding, row.code)
		})
	}
}

// TestExchangeByDPoP: RFC 9449 5: the key of the session binds the new token too.
func TestExchangeByDPoP(t *testing.T) {
	t.Parallel()
	p := dpopProvider(t)
	c := p.client(withDPoP)
	session := p.mustSignIn(c).Tokens
	signedIn := checkProof(t, p.seen("/token")[0], issuer+"/token", "")
	n := 0
	p.answers("/token", func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			demandAtToken(w, n)
			return
		}
		exchanged(object{"token_type": "DPoP"})(w, r)
	})
	got, err := c.Exchange(t.Context(), session, ExchangeRequest{Audience: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Key.Reveal() != session.Key.Reveal() || got.Key.Empty() {
		t.Error("the new token is not bound to the session's key")
	}
	calls := p.seen("/token")[1:]
	if len(calls) != 2 {
		t.Fatalf("%d requests, want one and one more with the nonce", len(calls))
	}
	for i, nonce := range []string{"", "nonce-1"} {
		if proof := checkProof(t, calls[i], issuer+"/token", ""); proof.jkt != signedIn.jkt || proof.nonce != nonce {
			t.Errorf("request %d: proof of key %s with nonce %q", i, proof.jkt, proof.nonce)
		}
	}
	p.answers("/token", exchanged(nil)) // a bearer token in its place
	got, err = c.Exchange(t.Context(), session, ExchangeRequest{})
	wantError(t, err, Fault, "token_response", "token_response")
	if !got.Access.Empty() {
		t.Error("a bearer token is given out")
	}
	session.Key = keys.NewSecret("CANARY")
	before := p.count("/token")
	_, err = c.Exchange(t.Context(), session, ExchangeRequest{})
	wantError(t, err, Refused, "upstream_token_refused", "dpop")
	if p.count("/token") != before {
		t.Error("a request went without the key")
	}
}

// TestSecretsOfExchangeAreWithheld: a provider may quote what was sent.
func TestSecretsOfExchangeAreWithheld(t *testing.T) {
	t.Parallel()
	for _, body := range []object{
		{"error": "odd", "error_description": "no such token: access-1"}, {"error": "bad access-1"}, {"error": "odd", "error_description": "secret CANARY-secret"},
	} {
		p := newProvider(t)
		p.answers("/token", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusBadRequest, body) })
		_, err := p.client(func(c *Config) { c.ClientSecret = keys.NewSecret("CANARY-secret") }).Exchange(t.Context(), subject, ExchangeRequest{})
		if err == nil || strings.Contains(err.Error(), "access-1") || strings.Contains(err.Error(), "CANARY") || !strings.Contains(err.Error(), "withheld") {
			t.Errorf("error is %v", err)
		}
	}
}

// TestWhatTokensAreFor: 199: what could not be asked for.
func TestWhatTokensAreFor(t *testing.T) {
	t.Parallel()
	rows := []struct {
		what ExchangeRequest
		keys string
	}{
		{ExchangeRequest{}, ""},
		{ExchangeRequest{Audience: "a b", Scope: "a b", RequestedTokenType: urnJWT, Resource: []string{"https://a.example", "urn:a"}}, ""},
		{ExchangeRequest{RequestedTokenType: urnAccess}, ""},
		{ExchangeRequest{RequestedTokenType: urnRefresh}, "requested_token_type"},
		{ExchangeRequest{RequestedTokenType: urnID}, "requested_token_type"},
		{ExchangeRequest{RequestedTokenType: "access_token"}, "requested_token_type"},
		{ExchangeRequest{Scope: `a "b`}, "scope"},
		{ExchangeRequest{Resource: []string{"/orders"}}, "resource"},
		{ExchangeRequest{Resource: []string{"https://a.example/#b"}}, "resource"},
		{ExchangeRequest{Scope: "é", Resource: []string{"", "urn:a"}}, "scope resource"},
	}
	for _, row := range rows {
		var got []string
		for _, problem := range row.what.Check() {
			got = append(got, problem.Key)
		}
		if strings.Join(got, " ") != row.keys {
			t.Errorf("%+v: wrong are %v, want %q", row.what, got, row.keys)
		}
		client := ClientCredentials{Scope: row.what.Scope, Resource: row.what.Resource}
		if bad := len(client.Check()) > 0; bad != (row.keys != "" && row.keys != "requested_token_type") {
			t.Errorf("%+v: %v", client, client.Check())
		}
	}
}

// FuzzExchangeAnswer: whatever comes back, a token counts only with the type that says so.
func FuzzExchangeAnswer(f *testing.F) {
	f.Add([]byte(`{"access_token":"a","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer"}`))
	f.Add([]byte(`{"access_token":"a","issued_token_type":"N_A","token_type":"N_A"}`))
	f.Add([]byte(`{"issued_token_type":null,"access_token":"a","token_type":"bearer"}`))
	p := newProvider(&testing.T{})
	c := p.client()
	f.Fuzz(func(t *testing.T, body []byte) {
		p.answers("/token", text(http.StatusOK, "application/json", string(body)))
		got, err := c.Exchange(t.Context(), subject, ExchangeRequest{RequestedTokenType: urnAccess})
		var said struct {
			Issued string `json:"issued_token_type"`
		}
		_ = json.Unmarshal(body, &said)
		if err == nil && (got.Access.Empty() || said.Issued != urnAccess || !got.Refresh.Empty() || !got.ID.Empty()) {
			t.Fatalf("%s is taken", body)
		}
	})
}
