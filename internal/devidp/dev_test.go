package devidp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDevEndpointsAreForProgramsOfThisMachine(t *testing.T) {
	t.Parallel()
	w := quick(t)
	for _, row := range []struct {
		name, peer, host string
		header, value    string
		want             int
	}{
		{"IPv4", "127.0.0.1:4000", "127.0.0.1:9000", "", "", 200},
		{"IPv6", "[::1]:4000", "[::1]:9000", "", "", 200},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:4000", "127.0.0.1:9000", "", "", 200},
		{"localhost", "127.0.0.1:4000", "localhost:9000", "", "", 200},
		{"typed into a browser", "127.0.0.1:4000", "127.0.0.1:9000", "Sec-Fetch-Site", "none", 200},
		{"other machine", "192.0.2.7:4000", "127.0.0.1:9000", "", "", 403},
		{"no peer", "", "127.0.0.1:9000", "", "", 403},
		{"rebound name", "127.0.0.1:4000", "evil.example:9000", "", "", 403},
		{"name that looks local", "127.0.0.1:4000", "localhost.evil.example", "", "", 403},
		{"page of another site", "127.0.0.1:4000", "127.0.0.1:9000", "Origin", "http://evil.example", 403},
		{"page of this site", "127.0.0.1:4000", "127.0.0.1:9000", "Origin", "http://127.0.0.1:9000", 403},
		{"hidden origin", "127.0.0.1:4000", "127.0.0.1:9000", "Origin", "null", 403},
		{"image of another site", "127.0.0.1:4000", "127.0.0.1:9000", "Sec-Fetch-Site", "cross-site", 403},
		{"fetch by a page", "127.0.0.1:4000", "127.0.0.1:9000", "Sec-Fetch-Site", "same-origin", 403},
	} {
		r := httptest.NewRequest(http.MethodGet, "/dev/issued", nil)
		r.RemoteAddr, r.Host = row.peer, row.host
		if row.header != "" {
			r.Header.Set(row.header, row.value)
		}
		out := httptest.NewRecorder()
		w.idp.DevHandler().ServeHTTP(out, r)
		if out.Code != row.want {
			t.Errorf("%s: HTTP %d", row.name, out.Code)
		}
	}
}

func TestDevCommands(t *testing.T) {
	t.Parallel()
	w := quick(t)
	dev := func(method, target string) (int, string) {
		r := httptest.NewRequest(method, target, nil)
		r.RemoteAddr, r.Host = "127.0.0.1:4000", "127.0.0.1:9000"
		out := httptest.NewRecorder()
		w.idp.DevHandler().ServeHTTP(out, r)
		return out.Code, out.Body.String()
	}
	for _, row := range []struct {
		target string
		want   int
	}{
		{"/dev/lifetime?access=2s", 204}, {"/dev/lifetime?access=0s", 400}, {"/dev/lifetime?access=25h", 400}, {"/dev/lifetime", 400},
		{"/dev/roll-key", 204}, {"/dev/fault?name=nonsense", 400}, {"/dev/fault?name=userinfo-401&times=x", 400},
		{"/dev/fault?name=userinfo-401&times=1", 204},
	} {
		if got, body := dev(http.MethodPost, row.target); got != row.want {
			t.Errorf("%s: HTTP %d: %s", row.target, got, body)
		}
	}
	body := w.tokens()
	if body["expires_in"] != 2.0 {
		t.Errorf("lifetime: %v", body["expires_in"])
	}
	for i, want := range []int{401, 200} {
		if status, _ := w.userInfo(body["access_token"]); status != want {
			t.Errorf("UserInfo %d: HTTP %d", i, status)
		}
	}
	_, issued := dev(http.MethodGet, "/dev/issued")
	var tokens []any
	if err := json.Unmarshal([]byte(issued), &tokens); err != nil || !cmp.Equal(tokens, []any{body["access_token"], body["refresh_token"], body["id_token"]}) {
		t.Errorf("issued: %s", issued)
	}
	_, stats := dev(http.MethodGet, "/dev/stats")
	if got := object(t, stats); !cmp.Equal(got["token"], map[string]any{"authorization_code": 1.0}) {
		t.Errorf("stats: %s", stats)
	}
	if status, _ := dev(http.MethodGet, "/dev/heal"); status != http.StatusMethodNotAllowed {
		t.Errorf("GET changes something: HTTP %d", status)
	}
}
