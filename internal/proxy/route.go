package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"genkan/internal/access"
	"genkan/internal/rp"
)

// Auth says whether a route needs a caller who is known.
type Auth string

// The values of upstreams[].auth.
const (
	AuthRequired Auth = "required" // 401 without one
	AuthOptional Auth = "optional" // the token goes along when there is one
	AuthNone     Auth = "none"     // nobody looks
)

// Token says what a route sends upstream as Authorization.
type Token string

// The values of upstreams[].token.
const (
	TokenRelay     Token = "relay"     // the caller's access token
	TokenExchange  Token = "exchange"  // another one that the provider gives for it (RFC 8693)
	TokenClient    Token = "client"    // one of Genkan's own (RFC 6749 4.4)
	TokenAssertion Token = "assertion" // a JWT of Genkan's about who is calling
	TokenNone      Token = "none"      // nothing
)

// Accept is a kind of caller.
type Accept string

// The values of upstreams[].accept.
const (
	AcceptSession Accept = "session" // a signed-in browser, by its cookie
	AcceptBearer  Accept = "bearer"  // a program, by an access token (RFC 6750)
)

// Route maps the paths below Path to one upstream.
type Route struct {
	Path        string               // begins and ends with /; without its last slash it is the root, not redirected
	URL         *url.URL             // absolute http or https, no user info, query or fragment
	KeepPrefix  bool                 // false: Path is cut before the request is sent on
	Methods     []string             // empty: all but TRACE and CONNECT
	Auth        Auth                 // default AuthRequired
	Token       Token                // default TokenRelay
	Exchange    rp.ExchangeRequest   // of TokenExchange
	Client      rp.ClientCredentials // of TokenClient
	Provider    string               // of TokenClient: rp.Config.ID of who gives it
	Audience    string               // aud of TokenAssertion; default Path
	Accept      []Accept             // default AcceptSession alone
	Bearer      access.BearerRule    // of AcceptBearer
	Require     access.Rules         // of every caller; needs AuthRequired
	Headers     map[string]string    // header name to claim name; inbound ones are cut on every route; see access.HeaderText
	Navigate    bool                 // navigations may use the session; its pages act on the app's origin
	Timeout     time.Duration        // of standing still until the response header is there; default 30 s
	IdleTimeout time.Duration        // of standing still after that; default 15 min
	MaxBody     int64                // bytes of the request body; default 10 MiB

	base    string // path of URL, escaped, without its last slash
	lenient string // Path in small letters
}

func (r Route) withDefaults() Route {
	r.Auth, r.Token, r.Audience = cmp.Or(r.Auth, AuthRequired), cmp.Or(r.Token, TokenRelay), cmp.Or(r.Audience, r.Path)
	r.Timeout, r.IdleTimeout, r.MaxBody = cmp.Or(r.Timeout, 30*time.Second), cmp.Or(r.IdleTimeout, 15*time.Minute), cmp.Or(r.MaxBody, 10<<20)
	if len(r.Accept) == 0 {
		r.Accept = []Accept{AcceptSession}
	}
	if r.lenient = strings.ToLower(r.Path); r.URL != nil {
		r.base = strings.TrimSuffix(r.URL.EscapedPath(), "/")
	}
	return r
}

func (r *Route) accepts(kind Accept) bool { return slices.Contains(r.Accept, kind) }

// check reports what makes the route unusable or unsafe.
func (r *Route) check() error {
	switch {
	case !strings.HasPrefix(r.Path, "/") || !strings.HasSuffix(r.Path, "/") || path.Clean(r.Path)+"/" != r.Path && r.Path != "/":
		return errors.New("the path must begin and end with / and be plain")
	case r.URL == nil || r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.Host == "":
		return errors.New("the URL must be absolute http or https")
	case r.URL.User != nil || r.URL.RawQuery != "" || r.URL.Fragment != "":
		return errors.New("the URL must have no user, query or fragment")
	case r.Auth != AuthRequired && r.Auth != AuthOptional && r.Auth != AuthNone:
		return fmt.Errorf("auth %q is unknown", r.Auth)
	case !slices.Contains([]Token{TokenRelay, TokenExchange, TokenClient, TokenAssertion, TokenNone}, r.Token):
		return fmt.Errorf("token %q is unknown", r.Token)
	case r.Timeout < 0 || r.IdleTimeout < 0 || r.MaxBody < 0:
		return errors.New("the time-outs and the body limit cannot be negative")
	}
	for name := range r.Headers {
		if !settable(name) {
			return fmt.Errorf("the header %q cannot be made from a claim", name)
		}
	}
	return r.checkCallers()
}

// checkCallers reports rules that would never be asked, and callers that nothing is known
// to check by: either would let somebody through.
func (r *Route) checkCallers() error {
	switch {
	case slices.ContainsFunc(r.Accept, func(a Accept) bool { return a != AcceptSession && a != AcceptBearer }):
		return errors.New("accept holds an unknown kind of caller")
	case r.accepts(AcceptBearer) && len(r.Bearer.Audiences) == 0:
		return errors.New("bearer callers need an audience")
	case r.Token == TokenClient && r.Provider == "":
		return errors.New("a token of Genkan's own needs a provider")
	case !r.Require.Empty() && r.Auth != AuthRequired:
		return errors.New("rules need auth required")
	}
	return nil
}

// settable reports whether a header may be made from a claim: it is a token
// (RFC 9110 5.6.2), and neither HTTP's own nor one the proxy sets itself.
func settable(name string) bool {
	const symbols = "!#$%&'*+-.^_`|~"
	for _, r := range name {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune(symbols, r) {
			return false
		}
	}
	switch fold(name) {
	case "", "host", "connection", "upgrade", "te", "trailer", "transfer-encoding", "content-length", "keep-alive",
		"authorization", "proxy-authorization", "cookie", "x-request-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto":
		return false
	}
	return true
}

// allows reports whether the route takes a method. TRACE and CONNECT are refused
// whatever is listed: they would show the token, or tunnel past every check.
func (r *Route) allows(method string) bool {
	switch strings.ToUpper(method) {
	case http.MethodTrace, http.MethodConnect, "TRACK":
		return false
	}
	return len(r.Methods) == 0 || slices.Contains(r.Methods, method)
}

// allowed is the Allow header (RFC 9110 10.2.1).
func (r *Route) allowed() string {
	if len(r.Methods) == 0 {
		return "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	}
	return strings.Join(r.Methods, ", ")
}
