package proxy

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"genkan/internal/origin"
)

// What is wrong with a path, for the log.
var (
	errTarget  = errors.New("the request target names another host, or is no path")
	errEncoded = errors.New("the path holds an encoded slash or is encoded twice")
	errBytes   = errors.New("the path holds a backslash, a control character or no UTF-8")
	errSegment = errors.New("the path holds an empty or a dot segment")
	errQuery   = errors.New("the query holds a blank or a #, as no browser sends them")
	errRoute   = errors.New("the path belongs to another route as some services read it")
)

var encodedTwice = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// plain reports whether every program reads a path as one and the same place: small
// letters, digits, and dots inside of names alone, without an escape.
func plain(u *url.URL) bool {
	if u.RawPath != "" || u.Opaque != "" || u.User != nil || u.Host != "" {
		return false
	}
	before := byte(0)
	for i := range len(u.Path) {
		c := u.Path[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '~':
		case c == '.' && before != '/':
		case c == '/' && before != '/' && before != '.':
		default:
			return false
		}
		before = c
	}
	return before != '.' && strings.HasPrefix(u.Path, "/")
}

// ambiguous refuses every path that two programs could read as two places: what the
// route is chosen by must be what the service sees (RFC 10017 6.1.3.6).
func ambiguous(r *http.Request) error {
	u := r.URL
	if u.Opaque != "" || u.User != nil || !strings.HasPrefix(u.Path, "/") || u.Host != "" && !strings.EqualFold(u.Host, hostOf(r)) {
		return errTarget
	}
	if strings.Contains(strings.ToLower(u.EscapedPath()), "%2f") {
		return errEncoded
	}
	if encodedTwice.MatchString(u.Path) {
		return errEncoded
	}
	if !utf8.ValidString(u.Path) || strings.ContainsFunc(u.Path, func(r rune) bool { return r == '\\' || unicode.IsControl(r) }) {
		return errBytes
	}
	segments := strings.Split(u.Path[1:], "/")
	for i, segment := range segments {
		name, _, _ := strings.Cut(segment, ";") // Java servers cut parameters off first: ..;x is .. to them
		if name == "." || name == ".." || name == "" && i < len(segments)-1 {
			return errSegment
		}
	}
	return nil
}

// lenient is path as the least strict service matches it: Java servers cut parameters
// off, Windows blanks and dots at the end of a name, and Express and ASP.NET do not tell
// capitals from small letters.
func lenient(path string) string {
	segments := strings.Split(strings.ToLower(path), "/")
	for i, segment := range segments {
		segment, _, _ = strings.Cut(segment, ";")
		segments[i] = strings.TrimRight(segment, ". ")
	}
	return strings.Join(segments, "/")
}

// hostOf is host[:port] of the public URL that r arrived at.
func hostOf(r *http.Request) string {
	_, host, _ := strings.Cut(origin.SiteOf(r).Origin().String(), "://")
	return host
}

// covers reports whether path belongs to the route.
func (r *Route) covers(path string) bool { return covers(r.Path, path) }

func covers(prefix, path string) bool {
	return strings.HasPrefix(path, prefix) || len(path)+1 == len(prefix) && prefix[:len(path)] == path
}

// target is where a covered URL leads. The escapes of the path are those that were
// received, and the query is forwarded byte for byte.
func (r *Route) target(in *url.URL) *url.URL {
	raw := in.EscapedPath()
	if !r.KeepPrefix {
		raw = afterSlashes(raw, strings.Count(r.Path, "/")) // the prefix may have been written with escapes, but its slashes are slashes
	}
	raw = r.base + "/" + strings.TrimPrefix(raw, "/")
	path, err := url.PathUnescape(raw)
	if err != nil {
		panic(err) // both halves are escaped paths of parsed URLs
	}
	return &url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: path, RawPath: raw, RawQuery: in.RawQuery, ForceQuery: in.ForceQuery}
}

// afterSlashes is what follows the first n slashes of path, "" when it has fewer.
func afterSlashes(path string, n int) string {
	for ; n > 0; n-- {
		_, path, _ = strings.Cut(path, "/")
	}
	return path
}

// relocate turns an address of the upstream into the one a browser reaches it by, so
// that redirects work and no internal address is told. Addresses elsewhere and
// relative ones stay; what cannot be read as a URL becomes "".
func (r *Route) relocate(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return ""
	}
	if u.Host != "" && !strings.EqualFold(u.Host, r.URL.Host) || u.Host == "" && (u.Scheme != "" || !strings.HasPrefix(u.Path, "/")) {
		return location
	}
	path := cmp.Or(u.EscapedPath(), "/")
	rest, below := strings.CutPrefix(path, r.base+"/")
	switch public := r.Path != "/" && r.covers(u.Path); { // a service may know its public prefix
	case public || !below:
	case r.KeepPrefix:
		path = "/" + rest
	default:
		path = r.Path + strings.TrimLeft(rest, "/")
	}
	path = "/" + strings.TrimLeft(path, "/") // never //host
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	if u.Fragment != "" {
		path += "#" + u.EscapedFragment()
	}
	return path
}
