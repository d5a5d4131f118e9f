package server

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
	"genkan/internal/telemetry"
)

// maxCallback bounds the body of a form_post, in bytes.
const maxCallback = 64 << 10

// callback receives the authorization response (OIDC Core 3.1.2.5-7). A response
// counts only with the transaction cookie that its state began (RFC 6749 10.12),
// and once. Everything else is a browser that lost its way and is helped on.
func (s *Server) callback(c *gin.Context) {
	c.Header("Referrer-Policy", "no-referrer") // the URL holds a code (RFC 9700 4.2.4)
	if !pageLoad(c.Request) {
		s.fail(c, finding.NotNavigation, "")
		return
	}
	response, mode, ok := parameters(c)
	if !ok {
		s.fail(c, finding.ResponseInvalid, "")
		return
	}
	if resumed := response.Get("resume"); resumed != "" && mode == rp.ModeQuery {
		s.lost(c, resumed, true)
		return
	}
	state := response["state"]
	if len(state) != 1 || state[0] == "" {
		s.fail(c, finding.StateInvalid, "")
		return
	}
	t, ok := s.takeTransaction(c.Request, state[0])
	if !ok {
		s.lost(c, state[0], false)
		return
	}
	if !s.rated(c, s.callbacks) {
		return
	}
	first, err := s.Sessions.Once(c.Request.Context(), state[0], transactionLife)
	switch {
	case err != nil:
		s.failSession(c, err)
	case !first:
		s.lost(c, state[0], false)
	default:
		s.finish(c, t, response, mode)
	}
}

// parameters takes them from where the method puts them, never from both. The mode is
// what an authorization response came by.
func parameters(c *gin.Context) (url.Values, rp.ResponseMode, bool) {
	if c.Request.Method == http.MethodGet {
		query, err := url.ParseQuery(c.Request.URL.RawQuery)
		return query, rp.ModeQuery, err == nil
	}
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxCallback)
	if c.ContentType() != "application/x-www-form-urlencoded" || c.Request.ParseForm() != nil {
		return nil, rp.ModeFormPost, false
	}
	deadlines(c.Writer, c.Request, time.Time{}, time.Now().Add(answerLimit)) // a deadline for a body that is there would end the sign-in
	return c.Request.PostForm, rp.ModeFormPost, true
}

// finish redeems the code and starts the session.
func (s *Server) finish(c *gin.Context, t transaction, response url.Values, mode rp.ResponseMode) {
	c.Set(returnKey, t.ReturnURL)
	client := s.provider(t.Login.Provider)
	over := s.clearTransaction(c.Request, attempt(t.Login.State))
	if client == nil || t.Login.Provider == "" {
		http.SetCookie(c.Writer, over)
		s.fail(c, finding.TransactionMissing, "The provider of this sign-in is no longer configured.")
		return
	}
	redeemed := s.Now()
	grant, err := client.Finish(c.Request.Context(), t.Login, response, mode)
	if t.Silent && needsUser(err) {
		s.hush(c, t)
		return
	}
	http.SetCookie(c.Writer, over)
	if err != nil {
		s.failProvider(c, client, err)
		return
	}
	in := session.SignIn{
		Provider: client.ID(), Grant: grant, Redeemed: redeemed, Replaces: t.Replaces, Trips: append(t.Trips, s.Now()), Agent: c.Request.UserAgent(),
	}
	if client, ok := address(c.Request.RemoteAddr); ok { // a proxy can say anything; only an address is kept
		in.Address = client.String()
	}
	live, err := s.Sessions.Start(c.Writer, c.Request, in)
	switch {
	case errors.Is(err, session.ErrBarred) && t.Silent:
		redirect(c, http.StatusSeeOther, s.safeReturn(c, t.ReturnURL))
		return
	case errors.Is(err, session.ErrBarred):
		s.fail(c, finding.SessionExpired, "Your provider has signed you out while you were signing in.", "provider", client.ID())
		return
	case err != nil:
		s.failSession(c, err)
		return
	}
	s.unhush(c)
	s.Metrics.SignIn(client.ID(), telemetry.SignedIn)
	s.Logger.InfoContext(c.Request.Context(), "signed in", audit(live)...)
	redirect(c, http.StatusSeeOther, s.safeReturn(c, t.ReturnURL)) // 303: a form_post must not be sent again
}

// audit says which session, whose and from where, without what a person is called
// (ASVS 5.0 16.2.1).
func audit(live *session.Session) []any {
	return []any{"session", live.ID, "subject", live.Grant.Identity.Subject, "provider", live.Provider}
}

// lost answers a callback whose transaction is gone: reloaded, gone back to,
// expired, evicted, or begun at another address. Who is signed in goes on. A Strict
// session cookie does not come with a navigation from the provider, so before
// anything is concluded, a page of ours asks once more from our own origin: resumed.
// Without a session then, there is one restart, or a page that helps. A silent sign-in
// must show nothing, so it is over; but a browser that keeps none of our cookies gets
// the page, or the app might try for ever.
func (s *Server) lost(c *gin.Context, state string, resumed bool) {
	h, ok := s.readState(state)
	if !ok {
		s.fail(c, finding.StateInvalid, "")
		return
	}
	c.Set(returnKey, h.ReturnURL)
	client := s.provider(h.Provider)
	switch _, err := s.Sessions.Load(c.Request); {
	case err == nil:
		redirect(c, http.StatusSeeOther, s.safeReturn(c, h.ReturnURL))
	case !errors.Is(err, session.ErrNone):
		s.failSession(c, err)
	case !resumed:
		s.page(c.Writer, http.StatusOK, resumePage(s.Policy.Prefix()+"/callback?resume="+url.QueryEscape(state)))
	case h.Silent && slices.ContainsFunc(s.held(c.Request), func(h held) bool { return !h.Began.IsZero() }):
		redirect(c, http.StatusSeeOther, s.safeReturn(c, h.ReturnURL))
	case !h.Silent && h.Restarts == 0 && client != nil && origin.Navigation(c.Request):
		s.begin(c, signIn{client: client, returnURL: s.safeReturn(c, h.ReturnURL), restarts: 1})
	default:
		s.transactionMissing(c, h)
	}
}

// transactionMissing names the likely cause.
func (s *Server) transactionMissing(c *gin.Context, h hint) {
	detail := ""
	if here := origin.SiteOf(c.Request).Origin().String(); h.Host != here {
		detail = "Sign-in began at " + h.Host + " and came back to " + here + ". To a browser these are two sites, each with cookies of its own."
	}
	s.fail(c, finding.TransactionMissing, detail, "began_at", h.Host, "restarts", h.Restarts)
}

// safeReturn checks a return URL again: the configuration may have changed since it
// was sealed.
func (s *Server) safeReturn(c *gin.Context, raw string) string {
	site := origin.SiteOf(c.Request)
	if checked, err := site.Return(raw); err == nil {
		return checked
	}
	home, _ := site.Return("") // the empty one is always good
	return home
}
