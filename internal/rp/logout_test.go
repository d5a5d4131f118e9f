package rp

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

func TestLogoutURL(t *testing.T) {
	t.Parallel()
	full := LogoutRequest{IDToken: keys.NewSecret("a.b.c"), PostLogoutRedirectURI: "https://app.example/bff/logout/callback", State: "s t", UILocales: "ja"}
	rows := []struct {
		name     string
		endpoint any
		req      LogoutRequest
		want     url.Values // nil: no address
	}{
		{"248 everything", issuer + "/logout", full, url.Values{"client_id": {clientID}, "id_token_hint": {"a.b.c"}, "post_logout_redirect_uri": {"https://app.example/bff/logout/callback"}, "state": {"s t"}, "ui_locales": {"ja"}}},
		{"its own query is kept", issuer + "/logout?tenant=x&client_id=evil", LogoutRequest{IDToken: keys.NewSecret("a.b.c")}, url.Values{"tenant": {"x"}, "client_id": {clientID}, "id_token_hint": {"a.b.c"}}},
		{"state only with a way back", issuer + "/logout", LogoutRequest{State: "s"}, url.Values{"client_id": {clientID}}},
		{"251 no endpoint", nil, full, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.metadata = with(p.metadata, object{"end_session_endpoint": row.endpoint})
			address, err := p.client().LogoutURL(t.Context(), row.req)
			if err != nil {
				t.Fatal(err)
			}
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

func TestLogoutURLWhileProviderIsDown(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.answers(wellKnown, text(http.StatusBadGateway, "", ""))
	_, err := p.client().LogoutURL(t.Context(), LogoutRequest{})
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
