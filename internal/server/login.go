package server

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
)

const (
	// maxParameter bounds one parameter of the login endpoint, in bytes.
	maxParameter = 512
	// maxTrips within tripWindow is a loop: nobody signs in that often.
	maxTrips   = 3
	tripWindow = time.Minute
)

// signIn is what one sign-in was asked to do.
type signIn struct {
	client    *rp.Client
	returnURL string
	restarts  int
	request   rp.AuthRequest
}

// login begins a sign-in (OIDC Core 3.1.2.1). Only a page load may: fetch cannot
// follow to the provider's pages.
func (s *Server) login(c *gin.Context) {
	if !origin.Navigation(c.Request) {
		s.fail(c, finding.NotNavigation, "")
		return
	}
	in, row, detail := s.readSignIn(c)
	if row != nil {
		s.fail(c, *row, detail)
		return
	}
	s.begin(c, in)
}

// readSignIn takes the allowed parameters; whatever else is in the query (client_id,
// scope, redirect_uri…) is not looked at.
func (s *Server) readSignIn(c *gin.Context) (in signIn, row *finding.Row, detail string) {
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return in, &finding.ParameterInvalid, "The query is not well-formed."
	}
	for _, name := range []string{"returnUrl", "provider", "prompt", "login_hint", "acr_values", "max_age", "ui_locales"} {
		if values := query[name]; len(values) > 1 || (name != "returnUrl" && len(query.Get(name)) > maxParameter) {
			return in, &finding.ParameterInvalid, name + " is repeated or too long."
		}
	}
	if in.returnURL, err = origin.SiteOf(c.Request).Return(query.Get("returnUrl")); err != nil {
		return in, &finding.ReturnURLRefused, ""
	}
	c.Set(returnKey, in.returnURL)
	if in.client = s.provider(query.Get("provider")); in.client == nil {
		return in, &finding.ParameterInvalid, "provider is not one of the configured ones."
	}
	in.request = rp.AuthRequest{
		Prompt: query.Get("prompt"), LoginHint: query.Get("login_hint"),
		ACRValues: query.Get("acr_values"), UILocales: query.Get("ui_locales"),
	}
	if text := query.Get("max_age"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return in, &finding.ParameterInvalid, "max_age is a number of seconds."
		}
		age := time.Duration(seconds) * time.Second
		in.request.MaxAge = &age
	}
	return in, nil, ""
}

// provider returns the client with id; "" is the default one.
func (s *Server) provider(id string) *rp.Client {
	for _, p := range s.Providers {
		if id == "" || p.ID() == id {
			return p
		}
	}
	return nil
}

// begin sends the browser to the provider.
func (s *Server) begin(c *gin.Context, in signIn) {
	t := transaction{ReturnURL: in.returnURL, Silent: strings.TrimSpace(in.request.Prompt) == "none", Began: s.Now()}
	live, err := s.Sessions.Load(c.Request)
	switch {
	case err == nil:
		t.Replaces = []session.Key{live.Key()}
		t.Trips = s.recentTrips(live.Trips)
		if len(t.Trips) >= maxTrips && in.request.Prompt == "" {
			s.fail(c, finding.SignInLoop, "")
			return
		}
	case !errors.Is(err, session.ErrNone):
		s.failSession(c, err)
		return
	}
	site := origin.SiteOf(c.Request)
	in.request.RedirectURI = site.RedirectURI()
	in.request.State = s.newState(hint{in.returnURL, in.client.ID(), site.Origin().String(), in.restarts})
	location, login, err := in.client.Begin(c.Request.Context(), in.request)
	if err != nil {
		s.failProvider(c, in.client, err)
		return
	}
	t.Login = login
	if !s.putTransaction(c.Writer, c.Request, t) {
		s.fail(c, finding.ReturnURLRefused, "returnUrl is too long.")
		return
	}
	redirect(c, http.StatusFound, location)
}

// recentTrips are the sign-ins of this browser within the loop window.
func (s *Server) recentTrips(trips []time.Time) []time.Time {
	now := s.Now()
	return slices.DeleteFunc(slices.Clone(trips), func(t time.Time) bool { return now.Sub(t) > tripWindow })
}

// failProvider answers a failure of the relying party with its row.
func (s *Server) failProvider(c *gin.Context, client *rp.Client, err error) {
	row, detail := finding.ProviderUnavailable, ""
	var failure *rp.Error
	if errors.As(err, &failure) {
		if known, ok := finding.Lookup(failure.Finding); ok {
			row = known
		}
		if row.Code == finding.ParameterInvalid.Code {
			detail = failure.Code + " has a value that cannot be used." // Code is the parameter's name
		}
	}
	s.fail(c, row, detail, "provider", client.ID(), "error", err)
}

// loginPath is where "try again" leads.
func (s *Server) loginPath(returnURL string) string {
	path := s.Policy.Prefix() + "/login"
	if returnURL != "" {
		path += "?returnUrl=" + url.QueryEscape(returnURL)
	}
	return path
}
