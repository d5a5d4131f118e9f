package server

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
)

const (
	// providerLimit bounds what signing out waits for the provider.
	providerLimit = 3 * time.Second
	// ticketLife is how long an app may take to navigate after signing out.
	ticketLife = 2 * time.Minute

	purposeLogout = "sign-out state"
)

// logoutURL signs out when it is opened; sid is the proof that a link to it was
// made for this session.
func (s *Server) logoutURL(c *gin.Context, live *session.Session) string {
	return origin.SiteOf(c.Request).URL("/logout?sid=" + url.QueryEscape(live.ID))
}

// logout ends the session and tells where to navigate for the provider to end its
// own (RP-Initiated Logout 1.0). That address holds the ID token as a hint, which no
// script may read; so the answer is a ticket for a navigation, which is redirected.
func (s *Server) logout(c *gin.Context) {
	back, err := origin.SiteOf(c.Request).Return(c.Query("returnUrl"))
	if err != nil {
		s.fail(c, finding.ReturnURLRefused, "")
		return
	}
	live, err := s.Sessions.Load(c.Request)
	next := back
	if err == nil {
		if location := s.providerLogout(c, live, back); location != "" {
			var ticket string
			ticket, err = s.Sessions.Hold(c.Request.Context(), location, ticketLife)
			next = origin.SiteOf(c.Request).URL("/logout?ticket=" + ticket)
		}
	}
	if err == nil || errors.Is(err, session.ErrNone) {
		err = s.end(c, live)
	}
	if err != nil {
		s.failSession(c, err)
		return
	}
	c.JSON(http.StatusOK, gin.H{"url": next})
}

// logoutPage is logout as a page load. A link from elsewhere cannot know the sid, so
// it gets a page that asks.
func (s *Server) logoutPage(c *gin.Context) {
	if !origin.Navigation(c.Request) {
		s.fail(c, finding.NotNavigation, "")
		return
	}
	if ticket := c.Query("ticket"); ticket != "" {
		s.followTicket(c, ticket)
		return
	}
	back, err := origin.SiteOf(c.Request).Return(c.Query("returnUrl"))
	if err != nil {
		s.fail(c, finding.ReturnURLRefused, "")
		return
	}
	confirm := url.Values{"returnUrl": {back}, "sid": {c.Query("sid")}}
	live, err := s.Sessions.Load(c.Request)
	switch {
	case errors.Is(err, session.ErrNone) && c.GetHeader("Sec-Fetch-Site") != "cross-site":
		redirect(c, http.StatusFound, back)
	case errors.Is(err, session.ErrNone):
		// A Strict cookie does not come with a link from another site: ask from here.
		s.page(c.Writer, http.StatusOK, confirmPage(s.Policy.Prefix()+"/logout?"+confirm.Encode()))
	case err != nil:
		s.failSession(c, err)
	case subtle.ConstantTimeCompare([]byte(c.Query("sid")), []byte(live.ID)) != 1:
		confirm.Set("sid", live.ID)
		s.page(c.Writer, http.StatusOK, confirmPage(s.Policy.Prefix()+"/logout?"+confirm.Encode()))
	default:
		next := cmp.Or(s.providerLogout(c, live, back), back)
		if err := s.end(c, live); err != nil {
			s.failSession(c, err)
			return
		}
		redirect(c, http.StatusFound, next)
	}
}

// followTicket sends the browser on to the provider's end of a sign-out.
func (s *Server) followTicket(c *gin.Context, ticket string) {
	location, err := s.Sessions.Take(c.Request.Context(), ticket)
	switch {
	case errors.Is(err, session.ErrNone): // used, or too late: here the session is over
		redirect(c, http.StatusFound, s.safeReturn(c, ""))
	case err != nil:
		s.failSession(c, err)
	default:
		redirect(c, http.StatusFound, location)
	}
}

// providerLogout is the address of the provider's end_session_endpoint, or "" when
// it has none or cannot be asked: that must not keep anybody signed in here.
func (s *Server) providerLogout(c *gin.Context, live *session.Session, back string) string {
	client := s.provider(live.Provider)
	if client == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), providerLimit)
	defer cancel()
	step, err := client.Logout(ctx, rp.LogoutRequest{
		IDToken:               live.Grant.Tokens.ID,
		PostLogoutRedirectURI: origin.SiteOf(c.Request).PostLogoutRedirectURI(),
		State:                 s.Ring.SealText(purposeLogout, s.Sessions.Deployment, marshal(back)),
	})
	if err != nil {
		s.Logger.WarnContext(ctx, "the provider could not be asked to sign out", "provider", live.Provider, "error", err)
	}
	return step.URL
}

// end ends the session here first, then gives its tokens back as far as the provider
// answers. live is nil when there was none: the cookie goes all the same.
func (s *Server) end(c *gin.Context, live *session.Session) error {
	if err := s.Sessions.End(c.Writer, c.Request, session.SignedOut); err != nil || live == nil {
		return err
	}
	s.Logger.InfoContext(c.Request.Context(), "signed out", audit(live)...)
	ctx, cancel := context.WithTimeout(c.Request.Context(), providerLimit)
	defer cancel()
	s.Sessions.Revoke(ctx, live)
	return nil
}

// logoutCallback is where the provider sends the browser after sign-out. It changes
// nothing: a missing or foreign state only means the app's start.
func (s *Server) logoutCallback(c *gin.Context) {
	back := ""
	if plain, err := s.Ring.OpenText(purposeLogout, s.Sessions.Deployment, c.Query("state")); err == nil {
		_ = json.Unmarshal(plain, &back) // ours, so it is a string
	}
	redirect(c, http.StatusSeeOther, s.safeReturn(c, back))
}
