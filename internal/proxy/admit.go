package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"genkan/internal/access"
	"genkan/internal/credential"
	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/session"
)

var (
	errTwoTokens = errors.New("access_token in the query beside the call's own (RFC 6750 2)")
	// errCSRF marks what origin.Site.Check said.
	errCSRF      = errors.New("not proven to come from the app")
	errAmbiguous = errors.New("a session cookie beside an Authorization header, or two of those")
	// errNoBearer: programs alone may call, and this one brings nothing.
	errNoBearer = errors.New("no access token")
)

// takesBearer reports whether in is a program's call.
func (r *Route) takesBearer(in *http.Request) bool {
	return r.accepts(AcceptBearer) && access.Presented(in) != access.Nothing
}

// admit finds out who calls and holds them to the route's rules. On a route that does
// without, nobody is nil.
func (h *Handler) admit(r *http.Request, route *Route) (*access.Caller, error) {
	if route.Auth == AuthNone {
		return nil, nil
	}
	caller, err := h.caller(r, route)
	if err == nil {
		err = h.allowed(r, route, caller)
	}
	if err != nil {
		return nil, err
	}
	return caller, nil
}

// allowed holds a caller to the route's rules.
func (h *Handler) allowed(r *http.Request, route *Route, caller *access.Caller) error {
	if route.Require.Empty() {
		return nil
	}
	refusal := route.Require.Check(caller, h.sessions.Now())
	caller.LogDecision(r.Context(), h.log, route.Path, refusal)
	if refusal != nil {
		h.metrics.AccessDenied(refusal.Row.Name)
		return &forbidden{refusal, caller}
	}
	return nil
}

// forbidden is a caller who is known and may not.
type forbidden struct {
	*access.Refusal
	caller *access.Caller
}

// caller is who calls: a program by its access token, or a browser by its session.
func (h *Handler) caller(r *http.Request, route *Route) (*access.Caller, error) {
	switch {
	case route.takesBearer(r):
		if _, err := r.Cookie(origin.SiteOf(r).Session().Name); err == nil || access.Presented(r) == access.Several {
			return nil, errAmbiguous
		}
		return h.bearer.Authenticate(r.Context(), r, route.Bearer)
	case route.accepts(AcceptSession):
		return h.browser(r, route)
	case route.Auth == AuthOptional:
		return nil, nil
	}
	return nil, errNoBearer
}

// browser finds the session that the call may use, with a token that has not expired where
// one is needed.
func (h *Handler) browser(r *http.Request, route *Route) (*access.Caller, error) {
	if !route.Navigate || !origin.Navigation(r) {
		if err := origin.SiteOf(r).Check(r); err != nil {
			return nil, fmt.Errorf("%w: %w", errCSRF, err)
		}
	}
	s, err := h.sessions.Peek(r)
	if err == nil {
		s, err = h.fresh(r, route, h.sessions.Active(s))
	}
	switch {
	case route.Auth == AuthOptional && (errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrExpired)):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return access.Of(s), nil
}

// fresh renews the tokens of s when they have expired and the route uses them. Where it
// uses only what is known of the user, that is renewed as well, as far as the provider can:
// else groups, and an account that was closed, would stay as they were at sign-in.
func (h *Handler) fresh(r *http.Request, route *Route, s *session.Session) (*session.Session, error) {
	sends := route.Token == TokenRelay || route.Token == TokenExchange
	tells := route.Token == TokenAssertion || len(route.Headers) > 0 || !route.Require.Empty()
	if !sends && (!tells || s.Grant.Tokens.Refresh.Empty()) {
		return s, nil
	}
	renewed, err := h.sessions.Fresh(r.Context(), s)
	if !sends && errors.Is(err, session.ErrProvider) {
		return s, nil
	}
	return renewed, err
}

// deny answers what admit or a renewal in the middle of a call said.
func (h *Handler) deny(w http.ResponseWriter, r *http.Request, err error) {
	var refused *forbidden
	var demand *errStepUp
	switch {
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // nobody is listening; say nothing that looks like an answer
	case errors.As(err, &refused):
		h.forbid(w, r, refused)
	case errors.As(err, &demand):
		h.signIn(w, r, finding.InsufficientAuthentication, withQuery(loginOf(r, demand.caller), demand.query))
	case errors.Is(err, errCSRF):
		h.refuse(w, r, finding.CSRF, err)
	case errors.Is(err, errAmbiguous):
		h.refuse(w, r, finding.CredentialsAmbiguous, err)
	case errors.Is(err, errNoBearer) || errors.Is(err, access.ErrBearer):
		h.challenge(w, r, err)
	case errors.Is(err, session.ErrNone):
		h.signIn(w, r, finding.Unauthenticated, origin.SiteOf(r).URL("/login"))
	case errors.Is(err, session.ErrExpired):
		if err := h.sessions.End(w, r, session.Expired); err != nil {
			h.log.WarnContext(r.Context(), "a session that is over was not deleted", "error", err)
		}
		h.signIn(w, r, finding.SessionExpired, origin.SiteOf(r).URL("/login"))
	case errors.Is(err, session.ErrProvider) || errors.Is(err, access.ErrUnavailable) || errors.Is(err, credential.ErrProvider):
		h.refuse(w, r, finding.ProviderUnavailable, err)
	case errors.Is(err, credential.ErrMisconfigured) || errors.Is(err, credential.ErrRefused):
		h.refuse(w, r, finding.UpstreamTokenRefused, err)
	case errors.Is(err, session.ErrStore) || errors.Is(err, session.ErrConflict):
		h.refuse(w, r, finding.StoreUnavailable, err)
	default:
		h.refuse(w, r, finding.Internal, err)
	}
}

// challenge asks a program for a better access token (RFC 6750 3).
func (h *Handler) challenge(w http.ResponseWriter, r *http.Request, err error) {
	h.log.InfoContext(r.Context(), "call refused", "finding", finding.BearerInvalid.Code, "reason", err, "path", r.URL.EscapedPath())
	w.Header().Set("WWW-Authenticate", access.Presented(r).Challenge())
	finding.BearerInvalid.Problem("").Write(w)
}

// forbid answers a caller who may not. A browser is told where it can sign in in the way
// that is asked for (RFC 9470).
func (h *Handler) forbid(w http.ResponseWriter, r *http.Request, f *forbidden) {
	if challenge := f.Challenge(); challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	switch {
	case f.Row.Status != http.StatusUnauthorized:
		h.refusal(w, r, f.Row)
	case f.caller.Session == nil:
		f.Row.Problem("").Write(w)
	default:
		h.signIn(w, r, f.Row, f.StepUp(loginOf(r, f.caller)))
	}
}

// loginOf is where a caller signs in again: at the provider it came from, which alone can
// say more of the same user.
func loginOf(r *http.Request, caller *access.Caller) string {
	return origin.SiteOf(r).URL("/login") + "?provider=" + url.QueryEscape(caller.Provider)
}

// signIn tells a program where to sign in, and sends a person there. Only routes
// with Navigate let page loads come this far.
func (h *Handler) signIn(w http.ResponseWriter, r *http.Request, row finding.Row, login string) {
	if origin.Navigation(r) && !origin.Prefetch(r) {
		back := origin.SiteOf(r).Origin().String() + r.URL.RequestURI()
		w.Header().Del("WWW-Authenticate")
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, withQuery(login, "returnUrl="+url.QueryEscape(back)), http.StatusFound)
		return
	}
	p := row.Problem("")
	p.LoginURL = login
	p.Write(w)
}

// withQuery adds query, which may be empty, to address.
func withQuery(address, query string) string {
	switch {
	case query == "":
		return address
	case strings.Contains(address, "?"):
		return address + "&" + query
	}
	return address + "?" + query
}

// refuse answers with row's own words; cause is for the log.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, row finding.Row, cause error) {
	level := slog.LevelWarn
	if row.Status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	h.log.Log(r.Context(), level, "call refused", "finding", row.Code, "reason", cause, "path", r.URL.EscapedPath(),
		"origin", r.Header.Get("Origin"), "sec_fetch_site", r.Header.Get("Sec-Fetch-Site"))
	h.refusal(w, r, row)
}
