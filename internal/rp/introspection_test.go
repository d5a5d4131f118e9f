package rp

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

var opaque = keys.NewSecret("CANARY-opaque")

// introspecting has an endpoint that answers with body.
func introspecting(t *testing.T, handler http.HandlerFunc) *provider {
	t.Helper()
	p := newProvider(t)
	p.metadata["introspection_endpoint"] = issuer + "/introspect"
	p.answers("/introspect", handler)
	return p
}

// activeToken is a good answer, after RFC 7662 2.2.
func activeToken(change object) http.HandlerFunc {
	body := with(object{
		"active": true, "client_id": "batch-job", "username": "alice", "scope": "orders.read dolphin", "sub": "alice",
		"aud": api, "iss": issuer, "exp": at(time.Hour), "iat": at(0), "token_type": "Bearer",
	}, change)
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, body) }
}

// TestIntrospectionRequest: 194: RFC 7662 2.1: a POST form, by this client.
func TestIntrospectionRequest(t *testing.T) {
	t.Parallel()
	p := introspecting(t, activeToken(nil))
	if _, err := p.client().Introspect(t.Context(), opaque, []string{api}); err != nil {
		t.Fatal(err)
	}
	calls := p.seen("/introspect")
	if len(calls) != 1 {
		t.Fatalf("%d requests", len(calls))
	}
	got := calls[0]
	want := url.Values{"token": {"CANARY-opaque"}, "token_type_hint": {"access_token"}}
	if diff := cmp.Diff(want, got.form); diff != "" || got.method != "POST" || len(got.query) > 0 {
		t.Errorf("%s %v, form (-want +got):\n%s", got.method, got.query, diff)
	}
	if got.header.Get("Authorization") != "Basic Z2Vua2FuLWNsaWVudDpzZWNyZXQ=" || got.header.Get("Accept") != "application/json" || got.header.Get("DPoP") != "" {
		t.Errorf("header is %v", got.header)
	}

	c := p.client(func(c *Config) {
		c.ClientSecret, c.ClientAuth, c.Signers, c.AssertionAudience = keys.Secret{}, AuthPrivateKeyJWT, signersOf(t, ecKey()), AudienceEndpoint
	})
	if _, err := c.Introspect(t.Context(), opaque, []string{api}); err != nil {
		t.Fatal(err)
	}
	got = p.seen("/introspect")[1]
	if _, claims := verifyJWT(t, got.form.Get("client_assertion"), c); claims["aud"] != issuer+"/introspect" || got.header.Get("Authorization") != "" {
		t.Errorf("client_assertion is for %v, Authorization %q", claims["aud"], got.header.Get("Authorization"))
	}
}

// TestIntrospectionAnswer: 194: RFC 7662 2.2 and what VerifyAccess asks of every token. Each
// row changes a good answer.
func TestIntrospectionAnswer(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name    string
		change  object
		refused string
	}{
		{"a good one", nil, ""},
		{"not active", object{"active": false}, "active"},
		{"active in a string", object{"active": "true"}, "active"},
		{"active 1", object{"active": 1}, "active"},
		{"active null", object{"active": null}, "active"},
		{"active a list", object{"active": []bool{true}}, "active"},
		{"active missing", object{"active": nil}, "active"},
		{"active only by another spelling", object{"active": nil, "Active": true}, "active"},
		{"not active, and by another spelling", object{"active": false, "ACTIVE": true}, "active"},
		{"aud missing", object{"aud": nil}, "aud"},
		{"aud null", object{"aud": null}, "aud"},
		{"aud of another API", object{"aud": "api://other"}, "aud"},
		{"aud a list", object{"aud": []string{"api://other", api}}, ""},
		{"aud the client of Genkan", object{"aud": clientID}, "aud"},
		{"aud the client of Genkan too", object{"aud": []string{api, clientID}}, "aud"},
		{"iss missing", object{"iss": nil}, ""},
		{"iss another", object{"iss": issuer + "/"}, "iss"},
		{"iss a number", object{"iss": 7}, "iss"},
		{"exp missing", object{"exp": nil}, ""},
		{"exp over", object{"exp": at(-61 * time.Second)}, "exp"},
		{"exp 0", object{"exp": 0}, "exp"},
		{"exp in a string", object{"exp": fmt.Sprint(at(time.Hour))}, "exp"},
		{"nbf in an hour", object{"nbf": at(time.Hour)}, "nbf"},
		{"iat missing", object{"iat": nil}, ""},
		{"iat in an hour", object{"iat": at(time.Hour)}, "iat"},
		{"sub missing", object{"sub": nil}, "sub"},
		{"sub empty", object{"sub": ""}, "sub"},
		{"sub a number", object{"sub": 7}, "sub"},
		{"sub with a line break", object{"sub": "a\nb"}, "sub"},
		{"token_type missing", object{"token_type": nil}, ""},
		{"token_type in small letters", object{"token_type": "bearer"}, ""},
		{"token_type DPoP", object{"token_type": "DPoP"}, "token_type"},
		{"token_type N_A", object{"token_type": "N_A"}, "token_type"},
		{"token_type a refresh token", object{"token_type": "refresh_token"}, "token_type"},
		{"token_type a number", object{"token_type": 7}, "token_type"},
		{"RFC 9449 6.2: bound to a key", object{"cnf": object{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}, "cnf"},
		{"RFC 8705 3.2: bound to a certificate", object{"cnf": object{"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}, "cnf"},
		{"Keycloak's refresh token", object{"typ": "Refresh"}, "typ"},
		{"Hydra's refresh token", object{"token_use": "refresh_token"}, "token_use"},
		{"Hydra's access token", object{"token_use": "access_token"}, ""},
		{"an ID token", object{"nonce": "n"}, "nonce"},
		{"what may be one", object{"token_type": nil, "scope": nil, "client_id": nil}, "scope"},
		{"token_type alone says what it is", object{"scope": nil, "client_id": nil}, ""},
		{"an ID token's hash", object{"at_hash": "x"}, "at_hash"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := introspecting(t, activeToken(row.change))
			got, err := p.client().Introspect(t.Context(), opaque, []string{"api://a", api})
			switch {
			case row.refused != "":
				wantError(t, err, Invalid, "invalid_token", row.refused)
				if got.Identity.Subject != "" || len(got.Scope) > 0 {
					t.Error("a refused token says something")
				}
			case err != nil:
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// TestIntrospectionFails: 194: no answer, no verdict, and no token in the error.
func TestIntrospectionFails(t *testing.T) {
	t.Parallel()
	const active = `{"active":true,"sub":"alice","aud":"api://orders"}`
	rows := []struct {
		status  int
		body    string
		kind    Kind
		finding string
		code    string
	}{
		{200, `<html>`, Fault, "provider_unavailable", "introspection_response"},
		{200, ``, Fault, "provider_unavailable", "introspection_response"},
		{200, `null`, Fault, "provider_unavailable", "introspection_response"},
		{200, `true`, Fault, "provider_unavailable", "introspection_response"},
		{200, `[` + active + `]`, Fault, "provider_unavailable", "introspection_response"},
		{200, active + active, Fault, "provider_unavailable", "introspection_response"},
		{200, `{"error":"invalid_client","active":true}`, Misconfigured, "client_refused", "invalid_client"},
		{200, active + strings.Repeat(" ", 1<<20), Fault, "provider_unavailable", "too_large"},
		{201, active, Fault, "provider_unavailable", "http_201"},
		{302, active, Fault, "provider_unavailable", "http_302"},
		{400, active, Fault, "provider_unavailable", "http_400"},
		{400, `{"error":"invalid_request"}`, Misconfigured, "client_refused", "invalid_request"},
		{401, active, Misconfigured, "client_refused", "http_401"},
		{401, `{"error":"invalid_client","error_description":"CANARY-opaque"}`, Misconfigured, "client_refused", "invalid_client"},
		{403, `<html>`, Fault, "provider_unavailable", "http_403"},
		{429, ``, Fault, "provider_unavailable", "http_429"},
		{500, active, Fault, "provider_unavailable", "http_500"},
		{503, `<html>CANARY-opaque`, Fault, "provider_unavailable", "http_503"},
	}
	for _, row := range rows {
		t.Run(fmt.Sprintf("%d %.40s", row.status, row.body), func(t *testing.T) {
			t.Parallel()
			p := introspecting(t, text(row.status, "application/json", row.body))
			_, err := p.client().Introspect(t.Context(), opaque, []string{api})
			wantError(t, err, row.kind, row.finding, row.code)
			if p.count("/introspect") != 1 {
				t.Errorf("%d requests", p.count("/introspect"))
			}
		})
	}
}

func TestWhatIntrospectionSays(t *testing.T) {
	t.Parallel()
	p := introspecting(t, activeToken(object{"acr": "urn:mfa", "auth_time": at(-time.Minute), "realm_access": object{"roles": []string{"clerk"}}, "iss": nil}))
	c := p.client(func(c *Config) { c.Claims = map[string]string{"roles": "realm_access.roles"} })
	got, err := c.Introspect(t.Context(), opaque, []string{api})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"orders.read", "dolphin"}, got.Scope); diff != "" || got.ClientID != "batch-job" || !got.Expires.Equal(start.Add(time.Hour)) {
		t.Errorf("client %q, expires %v, scope (-want +got):\n%s", got.ClientID, got.Expires, diff)
	}
	id := got.Identity
	if id.Issuer != issuer || id.Subject != "alice" || id.ACR != "urn:mfa" || !id.AuthTime.Equal(start.Add(-time.Minute)) || string(id.Claims["roles"]) != `["clerk"]` {
		t.Errorf("identity is %+v", id)
	}
	for _, name := range []string{"active", "token_type"} {
		if _, ok := id.Claims[name]; ok {
			t.Errorf("%s counts as a claim of the user", name)
		}
	}
	p.answers("/introspect", activeToken(object{"exp": nil}))
	if got, err = c.Introspect(t.Context(), opaque, []string{api}); err != nil || !got.Expires.IsZero() { // 195
		t.Errorf("without exp the token is good until %v (%v), want no time at all", got.Expires, err)
	}
}

// TestIntrospectionNeedsAnEndpoint, a method that is listed there, and a token worth asking
// about. Nothing is sent otherwise.
func TestIntrospectionNeedsAnEndpoint(t *testing.T) {
	t.Parallel()
	const listed = "introspection_endpoint_auth_methods_supported"
	post := func(c *Config) { c.ClientAuth = AuthPost }
	rows := []struct {
		name     string
		metadata object
		config   func(*Config)
		token    string
		kind     Kind
		finding  string
		code     string
	}{
		{"all there", nil, nil, "opaque-1", 0, "", ""},
		{"none", object{"introspection_endpoint": nil}, nil, "opaque-1", Misconfigured, "provider_metadata", "introspection_endpoint"},
		{"empty", object{"introspection_endpoint": ""}, nil, "opaque-1", Misconfigured, "provider_metadata", "introspection_endpoint"},
		{"plain http", object{"introspection_endpoint": "http://idp.example/introspect"}, nil, "opaque-1", Misconfigured, "provider_metadata", "metadata"},
		{"on this machine", object{"introspection_endpoint": "http://127.0.0.1:8001/introspect"}, nil, "opaque-1", Misconfigured, "provider_metadata", "metadata"},
		{"the method is listed", object{listed: []string{"client_secret_basic", "Bearer"}}, nil, "opaque-1", 0, "", ""},
		{"the method is not listed", object{listed: []string{"Bearer"}}, nil, "opaque-1", Misconfigured, "provider_metadata", "introspection_endpoint"},
		{"not listed, but chosen by hand", object{listed: []string{"Bearer"}}, post, "opaque-1", 0, "", ""},
		{"no token", nil, nil, "", Invalid, "invalid_token", "form"},
		{"16 KiB", nil, nil, strings.Repeat("x", 16384), 0, "", ""},
		{"a longer token", nil, nil, strings.Repeat("x", 16385), Invalid, "invalid_token", "form"},
		{"a token with a line break", nil, nil, "a\nb", Invalid, "invalid_token", "form"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := introspecting(t, activeToken(nil))
			p.metadata = with(p.metadata, row.metadata)
			c := p.client(func(c *Config) {
				if row.config != nil {
					row.config(c)
				}
			})
			_, err := c.Introspect(t.Context(), keys.NewSecret(row.token), []string{api})
			if row.code != "" {
				wantError(t, err, row.kind, row.finding, row.code)
			} else if err != nil {
				t.Error(err)
			}
			if asked := p.count("/introspect") > 0; asked != (row.code == "") {
				t.Errorf("the provider is asked: %v", asked)
			}
		})
	}
	p := introspecting(t, activeToken(nil))
	_, err := p.client().Introspect(t.Context(), opaque, nil)
	wantError(t, err, Misconfigured, "upstream_invalid", "audiences")
}

// TestIntrospectionByAlias: 188: RFC 8705 5.
func TestIntrospectionByAlias(t *testing.T) {
	t.Parallel()
	p := introspecting(t, activeToken(nil))
	p.metadata["mtls_endpoint_aliases"] = object{"introspection_endpoint": issuer + "/mtls-introspect"}
	p.answers("/mtls-introspect", activeToken(nil))
	certificate := clientCertificate(t)
	c := p.client(func(c *Config) {
		c.ClientSecret, c.ClientAuth, c.ClientCertificate = keys.Secret{}, AuthTLS, &certificate
	})
	if _, err := c.Introspect(t.Context(), opaque, []string{api}); err != nil {
		t.Fatal(err)
	}
	if p.count("/introspect") != 0 || p.count("/mtls-introspect") != 1 || p.seen("/mtls-introspect")[0].form.Get("client_id") != clientID {
		t.Errorf("calls: %d ordinary, %d to the alias", p.count("/introspect"), p.count("/mtls-introspect"))
	}
}

// FuzzIntrospection: whatever comes back, what is taken is active, for us, in time, and
// names somebody.
func FuzzIntrospection(f *testing.F) {
	f.Add([]byte(`{"active":true,"sub":"alice","aud":"api://orders","scope":"a","exp":1795435200}`))
	f.Add([]byte(`{"active":"true","sub":"alice","aud":["api://orders"]}`))
	f.Add([]byte(`{"active":true,"Active":false,"aud":"api://orders","sub":"a","cnf":{}}`))
	f.Add([]byte(`null`))
	p := introspecting(&testing.T{}, nil)
	c := p.client()
	f.Fuzz(func(t *testing.T, body []byte) {
		p.answers("/introspect", text(http.StatusOK, "application/json", string(body)))
		got, err := c.Introspect(t.Context(), opaque, []string{api})
		if err == nil {
			wantSoundAccess(t, body, got)
			return
		}
		if _, ok := errors.AsType[*Error](err); !ok || got.Identity.Subject != "" {
			t.Fatalf("%T, %+v", err, got)
		}
	})
}
