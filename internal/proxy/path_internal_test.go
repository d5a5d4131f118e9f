package proxy

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"genkan/internal/origin"
)

// The short cut of plain must not open what a longer route guards.
func TestThePlainShortCutGuards(t *testing.T) {
	own, _ := origin.Parse("http://localhost:8000")
	policy, _ := origin.New(origin.Config{PublicURLs: []origin.Origin{own}})
	u, _ := url.Parse("http://127.0.0.1:1/")
	for path, guarded := range map[string]string{"/api/admin.": "/api/admin/", "/api/admin/x": "/api/Admin/"} {
		h, err := New(Config{Routes: []Route{{Path: "/api/", URL: u, Auth: AuthNone, Token: TokenNone}, {Path: guarded, URL: u, Auth: AuthNone, Token: TokenNone}}})
		if err != nil {
			t.Fatal(err)
		}
		r := origin.WithSite(httptest.NewRequest("GET", path, nil), policy.Canonical())
		if _, err := h.routeOf(r); err == nil {
			t.Errorf("%s goes past %s", path, guarded)
		}
	}
}
