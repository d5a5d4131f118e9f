package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/access"
	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/session"
)

// question is what a web server asks about a call.
type question struct {
	rules    access.Rules
	redirect bool   // who has to sign in first is sent there, where the answer is 401 else
	yes      int    // the status that lets the call through
	uri      string // of the call, where the question itself tells it
}

// auth tells a web server whether a call that it has received may go on to the app behind
// it, and who calls: nginx's auth_request, forward auth of Traefik and Caddy, and Envoy's
// ext_authz. Nothing is decided by the path of the call: web servers and apps differ in
// how they read one, so the configuration of the web server says which rules hold where.
func (s *Server) auth(c *gin.Context) {
	if !viaOf(c.Request).proxy {
		s.fail(c, finding.ForwardAuthUntrusted, finding.ForwardAuthUntrusted.Fix, "fix", finding.ForwardAuthUntrusted.Fix, "peer", c.Request.RemoteAddr)
		return
	}
	q, err := s.readQuestion(c.Request)
	if err != nil {
		s.fail(c, finding.ParameterInvalid, cut(err.Error()))
		return
	}
	method := originalMethod(c.Request, q)
	if method == "" {
		s.fail(c, finding.ForwardAuthMethod, "", "fix", finding.ForwardAuthMethod.Fix)
		return
	}
	call := *c.Request // from here on the call itself is judged, by the rules for all others
	call.Method = method
	c.Request = &call
	if s.checked(c); c.IsAborted() {
		return
	}
	if _, err := call.Cookie(origin.SiteOf(&call).Session().Name); err == nil && access.Presented(&call) != access.Nothing {
		row := finding.CredentialsAmbiguous
		row.Status = http.StatusForbidden // nginx takes 400 for a fault of ours
		s.fail(c, row, "")
		return
	}
	live, err := s.Sessions.Load(&call)
	if err != nil {
		s.failAuth(c, q, err)
		return
	}
	s.decide(c, q, access.Of(s.Sessions.Active(live)))
}

// decide holds who is signed in to the rules of the question.
func (s *Server) decide(c *gin.Context, q question, caller *access.Caller) {
	refusal := q.rules.Check(caller, s.Now())
	if !q.rules.Empty() {
		caller.LogDecision(c.Request.Context(), s.Logger, s.Policy.Prefix()+"/auth", refusal)
	}
	if refusal == nil {
		identify(c.Writer.Header(), caller)
		c.Status(q.yes)
		c.Writer.WriteHeaderNow()
		return
	}
	s.Metrics.AccessDenied(refusal.Row.Name)
	if challenge := refusal.Challenge(); challenge != "" {
		c.Header("WWW-Authenticate", challenge)
	}
	if refusal.Row.Status == http.StatusUnauthorized {
		s.signInFirst(c, q, refusal.Row, refusal.StepUp(s.loginFor(c, q)))
		return
	}
	s.fail(c, refusal.Row, "")
}

// identify says who calls, in headers that the web server passes on. A claim that no
// header can hold is left out, and so is an address of mail that the provider does not
// call verified: it may be anybody's.
func identify(h http.Header, caller *access.Caller) {
	for _, header := range []struct{ name, claim string }{
		{"X-Auth-Request-User", "sub"}, {"X-Auth-Request-Email", "email"},
		{"X-Auth-Request-Preferred-Username", "preferred_username"}, {"X-Auth-Request-Groups", "groups"},
	} {
		text, fits := access.HeaderText(caller.Identity, header.claim)
		if fits && text != "" && (header.claim != "email" || access.Verified(caller.Identity, "email")) {
			h.Set(header.name, text)
		}
	}
}

// failAuth answers for a call without a session.
func (s *Server) failAuth(c *gin.Context, q question, err error) {
	if !errors.Is(err, session.ErrNone) {
		s.failSession(c, err)
		return
	}
	s.signInFirst(c, q, finding.Unauthenticated, s.loginFor(c, q))
}

// signInFirst answers for a call that would be let through after a sign-in at login. A
// page load is sent there, or the web server is told where to send it.
func (s *Server) signInFirst(c *gin.Context, q question, row finding.Row, login string) {
	person := returns(c.Request)
	if person && q.redirect {
		redirect(c, http.StatusFound, login)
		return
	}
	if person {
		c.Header("Location", login)
	}
	c.Abort()
	s.Logger.Log(c.Request.Context(), level(row), "request refused", "finding", row.Code, "problem", row.Name)
	if pageLoad(c.Request) {
		s.page(c.Writer, row.Status, errorPage(row, "", c.Writer.Header().Get(finding.RequestIDHeader), link{"Sign in", login}))
		return
	}
	p := row.Problem("")
	p.LoginURL = login
	p.Write(c.Writer)
}

// returns reports whether a call is a page load that can be had again after a sign-in.
func returns(r *http.Request) bool { return origin.Navigation(r) && !origin.Prefetch(r) }

// loginFor is where to sign in; for a page load it leads back to the page, as far as the
// web server has said where that is.
func (s *Server) loginFor(c *gin.Context, q question) string {
	site := origin.SiteOf(c.Request)
	login := site.URL("/login")
	said := c.Request.Header.Values("X-Forwarded-Uri")
	if len(said) == 0 {
		said = []string{q.uri}
	}
	if returns(c.Request) && len(said) == 1 && strings.HasPrefix(said[0], "/") {
		if back, err := site.Return(said[0]); err == nil {
			login += "?returnUrl=" + url.QueryEscape(back)
		}
	}
	return login
}

// originalMethod is the method of the call that is asked about; "" when the web server does
// not say it, or not clearly. Envoy asks by that very method.
func originalMethod(r *http.Request, q question) string {
	said := slices.Concat(r.Header.Values("X-Forwarded-Method"), r.Header.Values("X-Original-Method"))
	if q.uri != "" {
		said = append(said, r.Method)
	}
	if len(said) == 0 || slices.ContainsFunc(said, func(other string) bool { return other != said[0] }) {
		return ""
	}
	return said[0]
}

// callPath is where Envoy asks, below the prefix.
const callPath = "/auth/*call"

// noRules stands for none in the path, where an empty segment might get lost.
const noRules = "-"

// readQuestion takes the question from the query. Envoy puts its prefix before the path
// and the query of the call, so there it is the first segment behind /auth/, and the only
// status that lets a call through is 200.
func (s *Server) readQuestion(r *http.Request) (question, error) {
	if !s.asksByPath(r) {
		q, err := parseQuestion(r.URL.RawQuery)
		q.yes = http.StatusAccepted
		return q, err
	}
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), s.Policy.Prefix()+"/auth/")
	asked, path, slash := strings.Cut(rest, "/")
	if !ok || !slash || asked == "" {
		return question{}, fmt.Errorf("the path has no rules behind %s/auth/", s.Policy.Prefix())
	}
	if asked == noRules {
		asked = ""
	}
	q, err := parseQuestion(asked)
	q.yes, q.uri = http.StatusOK, "/"+path
	if r.URL.RawQuery != "" {
		q.uri += "?" + r.URL.RawQuery
	}
	return q, err
}

// asksByPath reports whether a request is Envoy's form of the question.
func (s *Server) asksByPath(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, s.Policy.Prefix()+"/auth/")
}

// parseQuestion reads the rules. Whatever it does not know is an error, so that a slip of
// the pen opens no door.
func parseQuestion(query string) (q question, err error) {
	params, err := url.ParseQuery(query)
	if err != nil {
		return q, errors.New("the parameters are not well-formed")
	}
	for name, values := range params {
		list := strings.Split(values[0], ",")
		if len(values) > 1 || slices.Contains(list, "") {
			return q, fmt.Errorf("%s is repeated, or has an empty value", name)
		}
		claim, isClaim := strings.CutPrefix(name, "claim.")
		switch {
		case name == "scopes":
			q.rules.Scopes = list
		case name == "groups":
			q.rules.Groups = list
		case name == "acr":
			q.rules.ACR = list
		case isClaim && claim != "":
			if q.rules.Claims == nil {
				q.rules.Claims = map[string][]string{}
			}
			q.rules.Claims[claim] = list
		case name == "max_age":
			q.rules.MaxAge, err = time.ParseDuration(values[0])
			if err != nil || q.rules.MaxAge < time.Second {
				return q, errors.New("max_age is a duration of a second or more, as 10m")
			}
		case name == "redirect" && (values[0] == "true" || values[0] == "false"):
			q.redirect = values[0] == "true"
		default:
			return q, fmt.Errorf("%s is no parameter, or has no such value", name)
		}
	}
	return q, nil
}
