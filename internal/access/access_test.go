package access_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/access"
	"genkan/internal/keys"
	"genkan/internal/session"
)

func TestDecisionIsLoggedWithoutTheUser(t *testing.T) {
	t.Parallel()
	browser, program := caller(t, `{"email": "a@example.com", "groups": ["sales"]}`), caller(t, `{"email": "a@example.com"}`)
	browser.Session = &session.Session{Record: session.Record{ID: "handle"}}
	program.ClientID, program.Token = "batch", keys.NewSecret("abc")
	for name, tt := range map[string]struct {
		caller *access.Caller
		rules  access.Rules
		want   map[string]any
	}{
		"session, allowed": {browser, access.Rules{Groups: []string{"sales"}},
			map[string]any{"level": "INFO", "decision": "allow", "session": "handle", "provider": "idp"}},
		"session, refused": {browser, claim("department", "ops"),
			map[string]any{"level": "WARN", "decision": "deny", "finding": "GK422", "rule": "claims.department", "session": "handle", "provider": "idp"}},
		"program, allowed": {program, access.Rules{Scopes: []string{"orders.read"}},
			map[string]any{"level": "INFO", "decision": "allow", "client_id": "batch", "subject": "u1", "provider": "idp"}},
		"program, refused": {program, access.Rules{ACR: []string{"silver"}},
			map[string]any{"level": "WARN", "decision": "deny", "finding": "GK423", "rule": "acr", "client_id": "batch", "subject": "u1", "provider": "idp"}},
		"nobody": {nil, access.Rules{ACR: []string{"silver"}},
			map[string]any{"level": "WARN", "decision": "deny", "rule": "caller"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var line bytes.Buffer
			logger := slog.New(slog.NewJSONHandler(&line, nil))
			tt.caller.LogDecision(t.Context(), logger, "/api/orders/", tt.rules.Check(tt.caller, now))
			var got map[string]any
			if err := json.Unmarshal(line.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			delete(got, "time")
			if tt.caller == nil {
				delete(got, "finding")
			}
			tt.want["msg"], tt.want["route"] = "access decided", "/api/orders/"
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
