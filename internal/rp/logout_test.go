package rp

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

func TestLogout(t *testing.T) {
	t.Parallel()
	full := LogoutRequest{IDToken: keys.NewSecret("a.b.c"), PostLogoutRedirectURI: "https://app.example/bff/logout/callback", State: "s t"}
	rows := []struct {
		name     string
		endpoint any
		req      LogoutRequest
		want     url.Values // nil: no address
	}{
		{"248 everything", issuer + "/logout", full, url.Values{"client_id": {clientID}, "id_token_hint": {"a.b.c"}, "post_logout_redirect_uri": {"https://app.example/bff/logout/callback"}, "state": {"s t"}}},
		{"its own query is kept", issuer + "/logout?tenant=x&client_id=evil", LogoutRequest{IDToken: keys.NewSecret("a.b.c")}, url.Values{"tenant": {"x"}, "client_id": {clientID}, "id_token_hint": {"a.b.c"}}},
		{"state only with a way back", issuer + "/logout", LogoutRequest{State: "s"}, url.Values{"client_id": {clientID}}},
		{"251 no endpoint", nil, full, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.metadata = with(p.metadata, object{"end_session_endpoint": row.endpoint})
			step, err := p.client().Logout(t.Context(), row.req)
			if err != nil || step.Form != nil {
				t.Fatal(step.Form, err)
			}
			address := step.URL
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			if row.want == nil {
				if address != "" {
					t.Errorf("address is %q", address)
				}
				return
			}
			if diff := cmp.Diff(row.want, u.Query()); diff != "" || u.Scheme+"://"+u.Host+u.Path != issuer+"/logout" {
				t.Errorf("%s (-want +got):\n%s", u, diff)
			}
		})
	}
}

// TestLogoutByForm: 254. No address is over 4,000 bytes, and none holds what a form does.
func TestLogoutByForm(t *testing.T) {
	t.Parallel()
	hint := strings.Repeat("h", 12<<10)
	p := newProvider(t)
	p.metadata["end_session_endpoint"] = issuer + "/logout?tenant=x&state=evil"
	step, err := p.client().Logout(t.Context(), LogoutRequest{IDToken: keys.NewSecret(hint), PostLogoutRedirectURI: "https://app.example/bff/logout/callback", State: "s t"})
	if err != nil {
		t.Fatal(err)
	}
	want := LogoutStep{URL: issuer + "/logout?tenant=x", Form: url.Values{
		"client_id": {clientID}, "id_token_hint": {hint}, "post_logout_redirect_uri": {"https://app.example/bff/logout/callback"}, "state": {"s t"},
	}}
	if diff := cmp.Diff(want, step); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	bare, err := p.client().Logout(t.Context(), LogoutRequest{})
	if err != nil {
		t.Fatal(err)
	}
	room := 4000 - len(bare.URL) - len("&id_token_hint=")
	for length, byForm := range map[int]bool{room: false, room + 1: true} {
		step, err := p.client().Logout(t.Context(), LogoutRequest{IDToken: keys.NewSecret(hint[:length])})
		if err != nil || (step.Form != nil) != byForm {
			t.Errorf("a hint of %d bytes: form %v, %v", length, step.Form != nil, err)
		}
	}
}

// TestWhoAFrontchannelLogoutIsFor: 270, and what Entra sends.
func TestWhoAFrontchannelLogoutIsFor(t *testing.T) {
	t.Parallel()
	client := func(id, issuer string, change func(*Config)) *Client {
		cfg := Config{ID: id, Issuer: issuer, ClientID: "x", ClientAuth: AuthPublic}
		change(&cfg)
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	all := []*Client{
		client("entra", "https://login.example/1/v2.0", func(c *Config) { c.Quirks = preset(t, "entra").Quirks }),
		client("entra-2", "https://login.example/2/v2.0", func(c *Config) { c.Quirks = preset(t, "entra").Quirks }),
		client("okta", "https://okta.example/oauth2/default", func(c *Config) { c.RevocationIssuer = "https://okta.example"; c.Quirks = preset(t, "okta").Quirks }),
		client("plain", "https://plain.example", func(*Config) {}),
	}
	for issuer, want := range map[string]string{
		"": "entra entra-2", "https://login.example/2/v2.0": "entra-2", "https://okta.example": "okta", "https://okta.example/oauth2/default": "okta",
		"https://plain.example": "plain", "https://plain.example/": "", "https://login.example": "",
	} {
		var ids []string
		for _, c := range FrontchannelClients(all, issuer) {
			ids = append(ids, c.ID())
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%q: %q, want %q", issuer, got, want)
		}
	}
}

func TestLogoutWhileProviderIsDown(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.answers(wellKnown, text(http.StatusBadGateway, "", ""))
	_, err := p.client().Logout(t.Context(), LogoutRequest{})
	wantError(t, err, Fault, "provider_unavailable", "status")
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := p.client()
	if err := c.Revoke(t.Context(), keys.NewSecret("refresh-1"), "refresh_token"); err != nil {
		t.Fatal(err)
	}
	if err := c.Revoke(t.Context(), keys.Secret{}, "refresh_token"); err != nil {
		t.Fatal(err)
	}
	calls := p.seen("/revoke")
	if len(calls) != 1 || calls[0].method != http.MethodPost {
		t.Fatalf("calls: %+v", calls)
	}
	if diff := cmp.Diff(url.Values{"token": {"refresh-1"}, "token_type_hint": {"refresh_token"}}, calls[0].form); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
}

// TestRevokeAnswers: 193.
func TestRevokeAnswers(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		answer http.HandlerFunc
		code   string // empty: no error
		kind   Kind
	}{
		{"done", text(200, "", ""), "", 0},
		{"done, with a page", text(200, "text/html", "<html>"), "", 0},
		{"this type is not revoked", text(400, "application/json", `{"error":"unsupported_token_type"}`), "", 0},
		{"down", text(503, "", ""), "http_503", Fault},
		{"another client", text(401, "application/json", `{"error":"invalid_client"}`), "invalid_client", Misconfigured},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.answers("/revoke", row.answer)
			err := p.client().Revoke(t.Context(), keys.NewSecret("refresh-1"), "refresh_token")
			if row.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, row.kind, map[Kind]string{Fault: "provider_unavailable", Misconfigured: "client_refused"}[row.kind], row.code)
		})
	}
}

func TestRevokeWithoutEndpoint(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	delete(p.metadata, "revocation_endpoint")
	if err := p.client().Revoke(t.Context(), keys.NewSecret("refresh-1"), "refresh_token"); err != nil {
		t.Error(err)
	}
	if len(p.calls) != 1 {
		t.Errorf("calls: %+v", p.calls)
	}
}
