// Package access says who a call comes from, a signed-in browser or a program with an
// access token, and whether a rule lets it through.
//
// It touches no cookie, no upstream and no answer: package session knows the browser,
// package rp judges tokens, and whoever asks here answers the call. Everything a caller
// sends is hostile, and anybody can send a token (RFC 6750 5). A rule that cannot be
// evaluated refuses: a claim that is missing or of another type opens no door.
package access

import (
	"context"
	"log/slog"
	"time"

	"genkan/internal/keys"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// Caller is who a call comes from. Its Identity and Scope are shared: read them, never
// change them.
type Caller struct {
	Session  *session.Session // nil: a program
	Token    keys.Secret      // a program's own access token, as it sent it; empty with a session
	ClientID string           // of a program, as its token says; may be empty
	Provider string           // rp.Config.ID of who vouches for Identity
	Identity rp.Identity
	Scope    []string  // of the session's tokens or of Token
	Expires  time.Time // of Token; zero with a session, and when the provider does not say
}

// Of is the caller that the live session s stands for.
func Of(s *session.Session) *Caller {
	return &Caller{Session: s, Provider: s.Provider, Identity: s.Grant.Identity, Scope: s.Grant.Tokens.Scope}
}

// LogDecision writes what was decided about a call to a route that has rules; refusal is
// nil when it was let through, c when nobody is signed in. A session's line leads to the
// line of its sign-in, which says whose it is; a program has none, so its line says it.
// No claim and no other value of a user is logged (ASVS 5.0 16.2.5, 16.3.2).
func (c *Caller) LogDecision(ctx context.Context, logger *slog.Logger, route string, refusal *Refusal) {
	level, decision := slog.LevelInfo, "allow"
	if refusal != nil {
		level, decision = slog.LevelWarn, "deny"
	}
	attrs := []slog.Attr{slog.String("decision", decision), slog.String("route", route)}
	if refusal != nil {
		attrs = append(attrs, slog.String("finding", refusal.Row.Code), slog.String("rule", refusal.Rule))
	}
	switch {
	case c == nil:
	case c.Session != nil:
		attrs = append(attrs, slog.String("session", c.Session.ID), slog.String("provider", c.Provider))
	default:
		attrs = append(attrs, slog.String("client_id", c.ClientID), slog.String("subject", c.Identity.Subject), slog.String("provider", c.Provider))
	}
	logger.LogAttrs(ctx, level, "access decided", attrs...)
}
