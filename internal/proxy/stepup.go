package proxy

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"genkan/internal/access"
)

// maxContexts bounds acr_values of an upstream's challenge, in bytes: they go into a URL.
const maxContexts = 1024

var (
	stepUpError = regexp.MustCompile(`(?i)\berror="?insufficient_user_authentication"?(?:[\s,]|$)`)
	stepUpACR   = regexp.MustCompile(`(?i)\bacr_values="([^"\\]*)"`)
	stepUpAge   = regexp.MustCompile(`(?i)\bmax_age="?([0-9]{1,9})"?(?:[\s,]|$)`)
)

// errStepUp is an upstream's demand for a stronger or newer sign-in (RFC 9470 3). The app
// could do nothing with the challenge: it gets a login_url in its place.
type errStepUp struct {
	query  string // of that login_url, may be empty
	caller *access.Caller
}

func (*errStepUp) Error() string { return "the upstream asks for another sign-in" }

// demandsStepUp reads an upstream's challenge; nil for every other answer, and for one to
// a program, which gets it as it is.
func (c *call) demandsStepUp(res *http.Response) error {
	if res.StatusCode != http.StatusUnauthorized || c.live() == nil {
		return nil
	}
	challenge := strings.Join(res.Header.Values("WWW-Authenticate"), ", ")
	if !stepUpError.MatchString(challenge) {
		return nil
	}
	var pairs []string
	if m := stepUpACR.FindStringSubmatch(challenge); m != nil && m[1] != "" && len(m[1]) <= maxContexts {
		pairs = append(pairs, "acr_values="+url.QueryEscape(m[1]))
	}
	if m := stepUpAge.FindStringSubmatch(challenge); m != nil {
		pairs = append(pairs, "max_age="+m[1])
	}
	return &errStepUp{strings.Join(pairs, "&"), c.caller}
}
