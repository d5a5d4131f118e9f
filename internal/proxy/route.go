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
)

// Auth says whether a route needs a signed-in browser.
type Auth string

// The values of upstreams[].auth.
const (
	AuthRequired Auth = "required" // 401 without a session
	AuthOptional Auth = "optional" // the token goes along when there is a session
	AuthNone     Auth = "none"     // the session is not looked at
)

// Token says what a route sends upstream as Authorization.
type Token string

// The values of upstreams[].token.
const (
	TokenRelay Token = "relay" // the session's access token
	TokenNone  Token = "none"  // nothing
)

// Route maps the paths below Path to one upstream.
type Route struct {
	Path       string            // begins and ends with /; without its last slash it is the root, not redirected
	URL        *url.URL          // absolute http or https, no user info, query or fragment
	KeepPrefix bool              // false: Path is cut before the request is sent on
	Methods    []string          // empty: all but TRACE and CONNECT
	Auth       Auth              // default AuthRequired
	Token      Token             // default TokenRelay
	Headers    map[string]string // header name to claim name; inbound ones are cut on every route; see claimText
	Navigate   bool              // navigations may use the session; its pages act on the app's origin
	Timeout    time.Duration     // of standing still until the response header is there; default 30 s
	MaxBody    int64             // bytes of the request body; default 10 MiB
}

func (r Route) withDefaults() Route {
	r.Auth, r.Token = cmp.Or(r.Auth, AuthRequired), cmp.Or(r.Token, TokenRelay)
	r.Timeout, r.MaxBody = cmp.Or(r.Timeout, 30*time.Second), cmp.Or(r.MaxBody, 10<<20)
	return r
}

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
	case r.Token != TokenRelay && r.Token != TokenNone:
		return fmt.Errorf("token %q is unknown", r.Token)
	case r.Timeout < 0 || r.MaxBody < 0:
		return errors.New("the time-out and the body limit cannot be negative")
	}
	for name := range r.Headers {
		if !settable(name) {
			return fmt.Errorf("the header %q cannot be made from a claim", name)
		}
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
