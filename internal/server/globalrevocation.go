package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// revokeAll ends every session of a user and gives back all of its tokens, as Okta's
// Universal Logout asks for it (draft-parecki-oauth-global-token-revocation-06, 3). Who
// asks is judged before what is asked for.
func (s *Server) revokeAll(c *gin.Context) {
	body, unread := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxNotice))
	proofs := s.revoker(c)
	if proofs == nil {
		return
	}
	who, wrong := readSubject(body)
	if unread != nil || mediaType(c.Request) != "application/json" {
		wrong = "The body is not application/json, or longer than 64 KiB."
	}
	if wrong != "" {
		s.refuseRevocation(c, finding.RevocationInvalid, wrong)
		return
	}
	if who.Email == "" && !slices.ContainsFunc(proofs, func(p proof[rp.Revocation]) bool { return p.client.Names(who.Issuer) }) {
		s.refuseRevocation(c, finding.RevocationForbidden, "The issuer of the user is not the caller's.")
		return
	}
	switch n, found, err := s.endUser(c.Request.Context(), proofs, who); {
	case err != nil && found:
		s.refuseRevocation(c, finding.RevocationFailed, "", "ended", n, "error", err)
	case err != nil:
		s.refuseRevocation(c, finding.StoreUnavailable, "", "error", err)
	case !found:
		s.refuseRevocation(c, finding.RevocationNobody, "")
	default:
		c.Status(http.StatusNoContent)
	}
}

// revoker returns what the clients of the provider that sends the request make of its
// credential, or answers for it and returns nil. A credential is good once (3.5).
func (s *Server) revoker(c *gin.Context) []proof[rp.Revocation] {
	raw, ok := bearer(c.Request)
	if !ok {
		c.Header("WWW-Authenticate", "Bearer") // RFC 6750 3.1: no error where no credential came
		s.refuseRevocation(c, finding.RevocationUnauthorized, "")
		return nil
	}
	clients := rp.RevocationClients(s.Providers, raw)
	if clients == nil {
		s.unauthorized(c, "It is of no configured issuer.")
		return nil
	}
	gate := s.revocationGates[clients[0].ID()]
	if !s.enter(c, gate) {
		return nil
	}
	proofs, by, err := prove(clients, func(p *rp.Client) (rp.Revocation, error) {
		return p.VerifyRevocation(c.Request.Context(), raw, origin.SiteOf(c.Request).GlobalRevocationURI())
	})
	gate.leave()
	if err != nil {
		s.refuseCredential(c, by, err)
		return nil
	}
	switch seen, err := s.Sessions.Seen(c.Request.Context(), usedUp(proofs[0])); {
	case err != nil:
		s.refuseRevocation(c, finding.StoreUnavailable, "", "error", err)
		return nil
	case seen:
		s.unauthorized(c, "Its jti was used before.", "provider", proofs[0].client.ID())
		return nil
	}
	return proofs
}

// usedUp is the name under which a credential is remembered.
func usedUp(p proof[rp.Revocation]) string {
	return "revocation token " + p.client.ID() + "\x00" + p.token.ID
}

// refuseCredential answers for a credential that is not good, or not for this client.
func (s *Server) refuseCredential(c *gin.Context, client *rp.Client, err error) {
	row, detail := verdict(err, finding.RevocationUnauthorized)
	var failure *rp.Error
	switch {
	case row.Code != finding.RevocationUnauthorized.Code:
		s.refuseRevocation(c, row, detail, "provider", client.ID(), "error", err)
	case errors.As(err, &failure) && failure.Code == "sub":
		c.Header("WWW-Authenticate", `Bearer error="insufficient_scope"`)
		s.refuseRevocation(c, finding.RevocationForbidden, "", "provider", client.ID(), "error", err)
	default:
		s.unauthorized(c, detail, "provider", client.ID(), "error", err)
	}
}

func (s *Server) unauthorized(c *gin.Context, detail string, attrs ...any) {
	c.Header("WWW-Authenticate", `Bearer error="invalid_token"`)
	s.refuseRevocation(c, finding.RevocationUnauthorized, detail, attrs...)
}

func (s *Server) refuseRevocation(c *gin.Context, row finding.Row, detail string, attrs ...any) {
	s.complain(c.Request.Context(), row, append(attrs, "detail", detail)...)
	c.Abort()
	if row.Status == http.StatusServiceUnavailable {
		c.Header("Retry-After", s.retryAfter())
	}
	row.Problem(detail).Write(c.Writer)
}

// bearer reads the one bearer token of a request (RFC 6750 2.1).
func bearer(r *http.Request) (string, bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// subject is a subject identifier (RFC 9493): Issuer and Subject of the format iss_sub, or
// Email.
type subject struct{ Issuer, Subject, Email string }

// readSubject takes a request's body apart (section 3.2 of the draft). Up to its edition
// 02 the member was called subject. Names are compared exactly, as encoding/json would not.
func readSubject(body []byte) (who subject, wrong string) {
	var members, id map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil || len(members) != 1 {
		return who, "The body must be a JSON object with the one member sub_id."
	}
	raw, ok := members["sub_id"]
	if !ok {
		raw = members["subject"]
	}
	if json.Unmarshal(raw, &id) != nil || id == nil {
		return who, "sub_id must be an object."
	}
	text := func(name string) (value string) {
		_ = json.Unmarshal(id[name], &value) // of another type it is as good as missing
		return value
	}
	switch text("format") {
	case "iss_sub":
		who = subject{Issuer: text("iss"), Subject: text("sub")}
		if who.Issuer == "" || who.Subject == "" {
			return subject{}, "A subject of the format iss_sub needs iss and sub."
		}
	case "email":
		who = subject{Email: text("email")}
		if who.Email == "" {
			return subject{}, "A subject of the format email needs email."
		}
	default:
		return who, "The format of the subject must be iss_sub or email."
	}
	return who, ""
}

// endUser ends all sessions of a user. found says that there were any. The credential is
// used up when that is done, so that a failure can be tried again.
func (s *Server) endUser(ctx context.Context, proofs []proof[rp.Revocation], who subject) (n int, found bool, err error) {
	for _, one := range proofs {
		client := one.client
		if err := s.bar(ctx, []*rp.Client{client}, session.Whose{Subject: who.Subject, Email: who.Email, Offline: true}); err != nil {
			return n, found, err
		}
		find := func() (list []*session.Session, err error) {
			if who.Email != "" {
				list, err = s.Sessions.OfEmail(ctx, client.ID(), who.Email)
			} else {
				list, err = s.Sessions.OfUser(ctx, client.ID(), who.Subject)
			}
			found = found || len(list) > 0
			return list, err
		}
		ended, err := s.endFound(ctx, "global token revocation", find, func(ctx context.Context, all []*session.Session) ([]*session.Session, error) {
			return s.Sessions.Terminate(ctx, all, session.ProviderEnded)
		})
		n += ended
		if err != nil {
			return n, found, err
		}
	}
	_, err = s.Sessions.Once(ctx, usedUp(proofs[0]), proofs[0].token.Expires.Sub(s.Now()))
	return n, found, err
}
