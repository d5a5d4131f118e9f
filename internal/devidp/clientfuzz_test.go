package devidp_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"genkan/internal/devidp"
)

// FuzzClientJWTs sends what it is given wherever a client sends a JWT: nothing of it may
// get in, and everything is answered.
func FuzzClientJWTs(f *testing.F) {
	key := newECKey(f, "k1")
	idp, err := devidp.New(devidp.Config{Issuer: "http://idp.example", AutoSignIn: "alice", SkipConsent: true, Clients: []devidp.Client{{ID: "c", JWKS: jwks(key), RedirectURIs: []string{callback}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", "{}")
	f.Add("e30.e30.e30", `{"id_token":{"acr":{"essential":true,"values":[null]}}}`)
	f.Add(jwtInput(objectHeader, map[string]any{"iss": "c", "exp": 1e300})+".AAAA", `{"userinfo":{"name":null}}`)
	f.Fuzz(func(t *testing.T, token, claims string) {
		ask := func(method, path string, form url.Values) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, "http://idp.example"+path+"?"+form.Encode(), nil)
			if method == http.MethodPost {
				r = httptest.NewRequest(method, "http://idp.example"+path, strings.NewReader(form.Encode()))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.Header.Set("DPoP", token)
			}
			w := httptest.NewRecorder()
			idp.ServeHTTP(w, r)
			return w
		}
		assertion := url.Values{"client_id": {"c"}, "client_assertion_type": {assertionType}, "client_assertion": {token}}
		for _, path := range []string{"/token", "/par"} {
			if got := ask("POST", path, assertion); got.Code != http.StatusUnauthorized {
				t.Errorf("%s: HTTP %d", path, got.Code)
			}
		}
		if got := ask("GET", "/authorize", withObject(token)); got.Code != http.StatusBadRequest {
			t.Errorf("/authorize: HTTP %d", got.Code)
		}
		if got := ask("GET", "/authorize", params("client_id", "c", "claims", claims)); got.Code != http.StatusSeeOther {
			t.Errorf("claims: HTTP %d", got.Code)
		}
	})
}
