package server

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
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
// script may read; so the answer is a ticket for a navigation, which goes on to there.
func (s *Server) logout(c *gin.Context) {
	back, err := origin.SiteOf(c.Request).Return(c.Query("returnUrl"))
	if err != nil {
		s.fail(c, finding.ReturnURLRefused, "")
		return
	}
	live, err := s.Sessions.Load(c.Request)
	next := back
	if err == nil {
		if step := s.providerLogout(c, live, back); step.URL != "" {
			var ticket string
			ticket, err = s.Sessions.Hold(c.Request.Context(), string(marshal(step)), ticketLife)
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
	if ticket := c.Query("form"); ticket != "" {
		s.showForm(c, ticket)
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
		step := s.providerLogout(c, live, back)
		if err := s.end(c, live); err != nil {
			s.failSession(c, err)
			return
		}
		step.URL = cmp.Or(step.URL, back)
		s.leave(c, step)
	}
}

// followTicket sends the browser on to the provider's end of a sign-out.
func (s *Server) followTicket(c *gin.Context, ticket string) {
	if step, ok := s.takeStep(c, ticket, ""); ok {
		s.leave(c, step)
	}
}

// formHeld begins what is held for showForm: no other ticket may skip the redirect to it.
const formHeld = "form "

// takeStep returns what is held for ticket, after kind, or answers: a ticket that is used
// or too late leads to the app, since here the session is over.
func (s *Server) takeStep(c *gin.Context, ticket, kind string) (step rp.LogoutStep, ok bool) {
	held, err := s.Sessions.Take(c.Request.Context(), ticket)
	if err != nil && !errors.Is(err, session.ErrNone) {
		s.failSession(c, err)
		return step, false
	}
	text, ours := strings.CutPrefix(held, kind)
	if err != nil || !ours || json.Unmarshal([]byte(text), &step) != nil {
		redirect(c, http.StatusFound, s.safeReturn(c, ""))
		return step, false
	}
	return step, true
}

// leave sends the browser to sign out at the provider. The page with a form is of the app's
// own origin, where a script that opened it could read the token, so it has to lose its
// opener: by its Cross-Origin-Opener-Policy, and where a browser does not know that value
// and takes it for none, by the redirect to it. That has same-origin as all else here has:
// of the two, one differs from the opener's, whatever this is (HTML 7.1.3).
func (s *Server) leave(c *gin.Context, step rp.LogoutStep) {
	if step.Form == nil {
		redirect(c, http.StatusFound, step.URL)
		return
	}
	ticket, err := s.Sessions.Hold(c.Request.Context(), formHeld+string(marshal(step)), ticketLife)
	if err != nil {
		s.failSession(c, err)
		return
	}
	redirect(c, http.StatusFound, s.Policy.Prefix()+"/logout?form="+ticket)
}

// showForm is the page whose form signs out at the provider.
func (s *Server) showForm(c *gin.Context, ticket string) {
	step, ok := s.takeStep(c, ticket, formHeld)
	if !ok {
		return
	}
	c.Header("Cross-Origin-Opener-Policy", "noopener-allow-popups")
	c.Header("Referrer-Policy", "strict-origin") // with less the form's Origin would be null, and refused here and there
	s.pageUnder(c.Writer, http.StatusOK, formPolicy, formPage(step.URL, step.Form))
}

// providerLogout is how to sign out at the provider; its URL is empty when that has no way
// to or cannot be asked: that must not keep anybody signed in here.
func (s *Server) providerLogout(c *gin.Context, live *session.Session, back string) rp.LogoutStep {
	client := s.provider(live.Provider)
	if client == nil {
		return rp.LogoutStep{}
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
	return step
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
