package server

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/rp"
)

// An app may try a silent sign-in (prompt=none) at every start. When the provider needs
// the user it comes back signed out, starts, and would try again for ever. So the
// transaction cookie of such an attempt stays for a minute, as a mark.

// needsUser reports that a silent sign-in only needs its user (OIDC Core 3.1.2.6).
func needsUser(err error) bool {
	var failure *rp.Error
	return errors.As(err, &failure) && slices.Contains([]string{
		"login_required", "interaction_required", "consent_required", "account_selection_required",
	}, failure.Code)
}

// hush ends a silent sign-in that needs the user, and leaves its mark.
func (s *Server) hush(c *gin.Context, t transaction) {
	now := s.Now()
	s.putCookie(c.Writer, c.Request, attempt(t.Login.State), transaction{
		Login: rp.Login{Provider: t.Login.Provider}, ReturnURL: bare(t.ReturnURL), Began: now, Trips: []time.Time{now},
	}, tripWindow)
	redirect(c, http.StatusSeeOther, s.safeReturn(c, t.ReturnURL))
}

// hushed answers a silent sign-in at a provider that within the last minute said that it
// needs the user: it is not asked again. A page that comes back for the fourth time in
// that minute is in a loop. Other pages may be other tabs, and each counts for itself.
func (s *Server) hushed(c *gin.Context, in signIn) bool {
	marks := slices.DeleteFunc(s.held(c.Request), func(h held) bool {
		return !h.mark() || h.Login.Provider != in.client.ID() || s.Now().Sub(h.Began) > tripWindow
	})
	if len(marks) == 0 {
		return false
	}
	mark := marks[0]
	if i := slices.IndexFunc(marks, func(h held) bool { return h.ReturnURL == bare(in.returnURL) }); i >= 0 {
		mark = marks[i]
	} else {
		mark.attempt, mark.ReturnURL, mark.Trips = attempt(rand.Text()), bare(in.returnURL), nil
	}
	if len(mark.Trips) >= maxTrips {
		s.fail(c, finding.SignInLoop, "The app asked for a silent sign-in several times within a minute, but the provider needs you to act.")
		return true
	}
	mark.Trips = append(mark.Trips, s.Now())
	s.putCookie(c.Writer, c.Request, mark.attempt, mark.transaction, mark.Began.Add(tripWindow).Sub(s.Now()))
	redirect(c, http.StatusFound, in.returnURL)
	return true
}

// unhush clears the marks: somebody has signed in.
func (s *Server) unhush(c *gin.Context) {
	for _, h := range s.held(c.Request) {
		if h.mark() {
			http.SetCookie(c.Writer, s.clearTransaction(c.Request, h.attempt))
		}
	}
}

// bare is a URL without query and fragment, in which apps put what differs each time.
func bare(address string) string {
	if end := strings.IndexAny(address, "?#"); end >= 0 {
		return address[:end]
	}
	return address
}
