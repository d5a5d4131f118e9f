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

// What real providers do, each tried with the product named and done here by a provider
// that behaves so.

func TestQuirksOfSigningIn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, quirk string
		change      func(*rp.Config)
		code        string // on the page; "" signed in
		log         string // a part of it
		renews      bool   // there is a refresh token
	}{
		{"dex, Glewlwyd: iss and session_state come unannounced", "quirk-unannounced-iss", nil, "", "", true},
		{"Glewlwyd: a refused code is an empty 400", "quirk-glewlwyd-token-error", spoiltCode, "GK224", "http_400", false},
		{"Glewlwyd: a refused code is 403 invalid_code", "quirk-glewlwyd-code", spoiltCode, "GK224", "invalid_code", false},
		{"Okta: the access token's sub is the login name", "quirk-okta-access-sub", nil, "", "", true},
		{"Okta: the scope groups is refused by a custom server", "quirk-okta-groups-scope", nil, "GK220", "invalid_scope", false},
		{"Okta: and without it the claim comes", "quirk-okta-groups-scope", scopes("openid profile email offline_access"), "", "", true},
		{"Okta: an unknown client is 401 without error", "quirk-okta-unknown-client", wrongSecret, "GK223", "A fault on demand", false},
		{"Okta's org server: opaque access tokens", "quirk-opaque-access", nil, "", "", true},
		{"oidc-provider, LemonLDAP::NG: offline_access is dropped without consent", "quirk-offline-needs-consent", nil, "", "", false},
		{"and kept with it", "quirk-offline-needs-consent", consent, "", "", true},
		{"Hydra: a state of eight characters or more", "quirk-hydra-state", nil, "", "", true},
		{"django-oauth-toolkit: discovery redirects to a trailing slash", "quirk-dot-discovery", nil, "", "", true},
		{"django-oauth-toolkit: offline_access is no scope", "quirk-dot-offline", nil, "GK220", "invalid_scope", false},
		{"django-oauth-toolkit: a refresh token comes unasked", "quirk-dot-offline", scopes("openid profile"), "", "", true},
		{"zitadel/oidc: aud is a list, codes and access tokens are long", "quirk-zitadel-shape", nil, "", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, b := newSystem(t, func(_ *options, pc *rp.Config) {
				if tt.change != nil {
					tt.change(pc)
				}
			}), newBrowser(t)
			if tt.code == "GK224" {
				s.idp.Inject(devidp.Fault{Redirect: func(v url.Values) { v.Set("code", "of-nobody") }})
			}
			s.inject(t, tt.quirk)
			// Nobody is here to click: the prompt is seen by the quirk, and then forgotten.
			s.idp.Inject(devidp.Fault{At: "/authorize", Request: func(v url.Values) (string, string) { v.Del("prompt"); return "", "" }})
			p := b.goOn(s.login(b, "/profile"))
			s.wantSignedIn(t, b, tt.code == "")
			if tt.code != "" && !strings.Contains(p.body, tt.code) || !strings.Contains(s.log.String(), tt.log) {
				t.Errorf("%d %.300s\n%s", p.status, p.body, s.log)
			}
			b.fetch(http.MethodPost, s.url+"/bff/refresh", s.app)
			if renewed := s.idp.Stats().Token["refresh_token"] == 1; renewed != tt.renews {
				t.Errorf("renewed: %v", renewed)
			}
		})
	}
}

func spoiltCode(*rp.Config) {}

func wrongSecret(pc *rp.Config) { pc.ClientSecret = keys.NewSecret("another-secret") }

func consent(pc *rp.Config) { pc.AuthorizeParams = map[string]string{"prompt": "consent"} }

func scopes(words string) func(*rp.Config) {
	return func(pc *rp.Config) { pc.Scopes = strings.Fields(words) }
}

// dex keeps one refresh token per user and client, and calls the other invalid_request.
func TestASecondBrowsersSignInAtDexEndsTheFirstAtItsRenewal(t *testing.T) {
	t.Parallel()
	s := newSystem(t, nil)
	first, second := newBrowser(t), newBrowser(t)
	s.inject(t, "quirk-dex-one-refresh")
	s.login(first, "/")
	s.login(second, "/")
	if p := first.fetch(http.MethodPost, s.url+"/bff/refresh", s.app); p.status != 401 || !strings.Contains(p.body, "session_expired") {
		t.Errorf("the first: %d %s", p.status, p.body)
	}
	if p := second.fetch(http.MethodPost, s.url+"/bff/refresh", s.app); p.status != 200 {
		t.Errorf("the second: %d %s", p.status, p.body)
	}
	s.wantSignedIn(t, first, false)
	s.wantSignedIn(t, second, true)
}

// A renewal that Glewlwyd refuses is an empty 400 as well: the session is over.
func TestAnEmpty400EndsTheSession(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	s.login(b, "/")
	s.idp.Inject(devidp.Fault{At: "/token", Request: func(v url.Values) (string, string) {
		v.Set("refresh_token", "of-nobody")
		return "", ""
	}})
	s.inject(t, "quirk-glewlwyd-token-error")
	if p := b.fetch(http.MethodPost, s.url+"/bff/refresh", s.app); p.status != 401 {
		t.Errorf("%d %s", p.status, p.body)
	}
	s.wantSignedIn(t, b, false)
}

// The logout tokens of Hydra and Glewlwyd have no exp, Hydra's has a sid alone.
func TestLogoutTokensWithoutExpiryNeedTheirSetting(t *testing.T) {
	t.Parallel()
	for _, quirk := range []string{"quirk-hydra-logout-token", "quirk-glewlwyd-logout-token"} {
		for _, lenient := range []bool{false, true} {
			s, b := newSystem(t, func(_ *options, pc *rp.Config) { pc.LogoutTokenNoExp = lenient }), newBrowser(t)
			s.login(b, "/")
			s.inject(t, quirk)
			want := http.StatusBadRequest
			if lenient {
				want = http.StatusOK
			}
			if status := s.backchannel(t); status != want {
				t.Errorf("%s, backchannel_require_exp %v: %d, want %d", quirk, !lenient, status, want)
			}
			s.wantSignedIn(t, b, !lenient)
		}
	}
}

// Cookies ignore ports: what a provider on localhost keeps in the browser comes to Genkan
// on localhost too.
func TestCookiesOfAProviderOnTheSameHostDisturbNothing(t *testing.T) {
	t.Parallel()
	s, b := newSystem(t, nil), newBrowser(t)
	theirs := []string{"devidp_session", "JSESSIONID", "AUTH_SESSION_ID", "_session", "bff", "bff-1", "csrftoken"}
	b.jar["localhost"] = map[string]*http.Cookie{}
	for _, name := range theirs {
		b.jar["localhost"][name] = &http.Cookie{Name: name, Value: "theirs", Path: "/"}
	}
	s.login(b, "/")
	s.wantSignedIn(t, b, true)
	if p := b.fetch(http.MethodPost, s.url+"/bff/logout", s.app); p.status != 200 {
		t.Fatalf("%d %s", p.status, p.body)
	}
	s.wantSignedIn(t, b, false)
	for _, name := range theirs {
		if c := b.cookies("localhost")[name]; c == nil || c.Value != "theirs" {
			t.Errorf("the cookie %s is gone or changed", name)
		}
	}
}
