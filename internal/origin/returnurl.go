package origin

import (
	"errors"
	"net/url"
	"strings"
)

// maxReturnURL bounds a return URL, in bytes, as given and as returned.
const maxReturnURL = 2048

// Errors of Return.
var (
	errReturnShape  = errors.New("it is neither a path nor an http or https URL")
	errReturnOrigin = errors.New("its origin is not configured")
)

// Return checks where sign-in or sign-out should lead back to: a path on this
// site, or a URL on a public or SPA origin (RFC 9700 4.11). The result is safe as a
// Location: it is built from a configured origin and a path, so what a browser
// might read differently never reaches it. An empty raw gives the app's start.
func (s *Site) Return(raw string) (string, error) {
	if raw == "" {
		return s.home(), nil
	}
	if len(raw) > maxReturnURL || strings.ContainsFunc(raw, unsafeRune) {
		return "", errReturnShape
	}
	base, path, err := s.policy.splitReturn(raw)
	if err != nil {
		return "", err
	}
	if err := checkPath(path); err != nil {
		return "", err
	}
	if path = escapeNonASCII(path); len(base)+len(path) > maxReturnURL {
		return "", errReturnShape
	}
	return base + path, nil
}

// splitReturn takes a return URL apart into one of the configured origins, or "" for
// this site, and the rest, which begins with a slash.
func (p *Policy) splitReturn(raw string) (base, path string, err error) {
	if strings.HasPrefix(raw, "/") {
		return "", raw, nil
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || (!strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https")) {
		return "", "", errReturnShape
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	u, err := url.Parse(scheme + "://" + rest[:end])
	if err != nil || u.User != nil || u.Host == "" {
		return "", "", errReturnShape
	}
	o, err := fromURL(u)
	if err != nil {
		return "", "", errReturnShape
	}
	if !p.known(o) {
		return "", "", errReturnOrigin
	}
	if path = rest[end:]; !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return o.String(), path, nil
}

// checkPath accepts a path with query and fragment that every parser reads the
// same way: no second slash at its start, no dot segment, valid escapes.
func checkPath(path string) error {
	path, _, _ = strings.Cut(path, "#")
	path, _, _ = strings.Cut(path, "?")
	decoded, err := url.PathUnescape(path)
	if err != nil || strings.HasPrefix(decoded, "//") || strings.ContainsFunc(decoded, ambiguous) {
		return errReturnShape
	}
	for segment := range strings.SplitSeq(decoded, "/") {
		if segment == "." || segment == ".." {
			return errReturnShape
		}
	}
	return nil
}

// unsafeRune tells what browsers strip, or read as a slash, before they parse.
func unsafeRune(r rune) bool {
	return r <= ' ' || r == 0x7f || r == '\\' || r == 0xfffd || (r >= 0x80 && r <= 0xa0) || r == 0xfeff || (r >= 0x2028 && r <= 0x2029)
}

// ambiguous tells what some server on the way reads as a slash or an end when a path is
// decoded. An encoded space is none of it.
func ambiguous(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }

// escapeNonASCII percent-encodes what a Location header cannot hold.
func escapeNonASCII(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < 0x80 {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + string(hex[c>>4]) + string(hex[c&15]))
		}
	}
	return b.String()
}

// home is where a browser goes that named no place: the app's own origin if it has
// one, else this site.
func (s *Site) home() string {
	for _, app := range s.policy.config.SPAOrigins {
		if SameSite(app, s.origin) {
			return app.String() + "/"
		}
	}
	if apps := s.policy.config.SPAOrigins; len(apps) > 0 {
		return apps[0].String() + "/"
	}
	return "/"
}

// known reports whether o is a public or SPA origin.
func (p *Policy) known(o Origin) bool {
	if _, ok := p.apps[o.String()]; ok {
		return true
	}
	for _, s := range p.sites {
		if s.origin == o {
			return true
		}
	}
	return false
}
