package finding_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/finding"
)

// TestProblemWrite: RFC 9457 on the wire, as the app reads it.
func TestProblemWrite(t *testing.T) {
	t.Parallel()
	unauthenticated := row.Problem("Sign in <first>.")
	unauthenticated.Status, unauthenticated.LoginURL = 401, "https://example.com/bff/login"
	noStatus := row
	noStatus.Status = 0
	tests := map[string]struct {
		problem   finding.Problem
		requestID string
		status    int
		body      string
	}{
		"the cause stands in for a detail": {
			row.Problem(""), "", 403,
			`{"type":"urn:genkan:problem:test_row","title":"The title","status":403,"code":"test_row","detail":"The cause."}` + "\n",
		},
		"request id from the answer": {
			row.Problem("Seen."), "01ABC", 403,
			`{"type":"urn:genkan:problem:test_row","title":"The title","status":403,"code":"test_row","detail":"Seen.","request_id":"01ABC"}` + "\n",
		},
		"login url, markup escaped": {
			unauthenticated, "", 401,
			`{"type":"urn:genkan:problem:test_row","title":"The title","status":401,"code":"test_row","detail":"Sign in \u003cfirst\u003e.","login_url":"https://example.com/bff/login"}` + "\n",
		},
		"a row that is no HTTP problem": {
			noStatus.Problem(""), "", 500,
			`{"type":"urn:genkan:problem:test_row","title":"The title","status":500,"code":"test_row","detail":"The cause."}` + "\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			w.Header().Set("Cache-Control", "public, max-age=3600")
			if tt.requestID != "" {
				w.Header().Set("X-Request-Id", tt.requestID)
			}
			tt.problem.Write(w)
			if w.Code != tt.status || w.Body.String() != tt.body {
				t.Errorf("got %d %s\nwant %d %s", w.Code, w.Body, tt.status, tt.body)
			}
			w.Header().Del("X-Request-Id")
			want := http.Header{"Content-Type": {"application/problem+json"}, "Cache-Control": {"no-store"}}
			if diff := cmp.Diff(want, w.Header()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
