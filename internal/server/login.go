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

	// A client may begin signInBurst sign-ins at once, and then one in every signInInterval:
	// a company of thousands may have one address, and sign in at once after an outage.
	signInBurst    = 300
	signInInterval = 20 * time.Millisecond
)

// signIn is what one sign-in was asked to do.
type signIn struct {
	client    *rp.Client
	returnURL string
	restarts  int
	posted    bool // by another site's form
	request   rp.AuthRequest
}

// silent reports whether the provider is to show nothing.
func (in signIn) silent() bool { return strings.TrimSpace(in.request.Prompt) == "none" }

// login begins a sign-in (OIDC Core 3.1.2.1), of the app's own or initiated by a third
// party (section 4). Only a page load may: fetch cannot follow to the provider's pages.
func (s *Server) login(c *gin.Context) {
	posted := c.Request.Method == http.MethodPost
	if posted && !formNavigation(c.Request) || !posted && !origin.Navigation(c.Request) {
		s.fail(c, finding.NotNavigation, "")
		return
	}
	params, _, ok := parameters(c)
	if !ok {
		s.fail(c, finding.ParameterInvalid, "The parameters are not well-formed.")
		return
	}
	read := s.readSignIn
	if posted || params.Has("iss") {
		read = s.readInitiated
	}
	in, row, detail := read(c, params)
	if row != nil {
		s.fail(c, *row, detail)
		return
	}
	in.posted = posted
	s.begin(c, in)
}

// formNavigation reports whether a form was sent as a top-level page load.
func formNavigation(r *http.Request) bool {
	dest := r.Header.Get("Sec-Fetch-Dest")
	return pageLoad(r) && (dest == "document" || dest == "")
}

// readSignIn takes the allowed parameters; whatever else is in the query (client_id,
// scope, redirect_uri…) is not looked at.
func (s *Server) readSignIn(c *gin.Context, query url.Values) (in signIn, row *finding.Row, detail string) {
	if name := unusable(query, "returnUrl", "provider", "prompt", "login_hint", "acr_values", "max_age", "ui_locales"); name != "" {
		return in, &finding.ParameterInvalid, name + " is repeated or too long."
	}
	var err error
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

// readInitiated takes the parameters of a third party's request (OIDC Core 4), which
// anybody may send. It can name a configured provider, a page of ours and a user, and
// nothing else: other parameters are ignored.
func (s *Server) readInitiated(c *gin.Context, params url.Values) (in signIn, row *finding.Row, detail string) {
	if name := unusable(params, "target_link_uri", "iss", "login_hint"); name != "" {
		return in, &finding.ParameterInvalid, name + " is repeated or too long."
	}
	if params.Has("provider") {
		return in, &finding.ParameterInvalid, "iss and provider exclude each other."
	}
	var err error
	if in.returnURL, err = origin.SiteOf(c.Request).Return(params.Get("target_link_uri")); err != nil {
		return in, &finding.ReturnURLRefused, ""
	}
	c.Set(returnKey, in.returnURL)
	i := slices.IndexFunc(s.Providers, func(p *rp.Client) bool { return p.Issuer() == params.Get("iss") })
	if i < 0 { // RFC 9700 4.4: nothing is asked of an issuer that nobody configured
		return in, &finding.ParameterInvalid, "iss is not the issuer of a configured provider."
	}
	in.client, in.request.LoginHint = s.Providers[i], params.Get("login_hint")
	return in, nil, ""
}

// unusable names the first parameter of names that is repeated or too long. The length
// of the first one, a return URL, is Return's to judge.
func unusable(params url.Values, names ...string) string {
	for i, name := range names {
		if values := params[name]; len(values) > 1 || (i > 0 && len(params.Get(name)) > maxParameter) {
			return name
		}
	}
	return ""
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
	if !s.rated(c, s.signIns) {
		return
	}
	t := transaction{ReturnURL: in.returnURL, Silent: in.silent(), Began: s.Now()}
	live, err := s.Sessions.Load(c.Request)
	switch {
	case err == nil:
		t.Replaces = []session.Key{live.Key()}
		t.Trips = s.recentTrips(live.Trips)
		if len(t.Trips) >= maxTrips && (in.request.Prompt == "" || t.Silent) { // any other prompt is somebody's wish
			s.fail(c, finding.SignInLoop, "")
			return
		}
		if t.Silent && live.Provider == in.client.ID() {
			in.request.IDToken = live.Grant.Tokens.ID
		}
	case !errors.Is(err, session.ErrNone):
		s.failSession(c, err)
		return
	}
	if t.Silent && s.hushed(c, in) {
		return
	}
	site := origin.SiteOf(c.Request)
	in.request.RedirectURI = site.RedirectURI()
	in.request.State = s.newState(in, site.Origin().String())
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
	status := http.StatusFound
	if in.posted {
		status = http.StatusSeeOther // the form is not for the provider
	}
	redirect(c, status, location)
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
	s.Metrics.SignIn(client.ID(), row.Name)
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
