package origin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Origin is scheme, host and port as a browser serialises them (WHATWG HTML,
// "origin"): lower case, ASCII host, no default port. Comparable with ==. The zero
// Origin is no origin.
type Origin struct {
	scheme string // http or https
	host   string // without brackets
	port   string // always set
}

// Parse reads an exact origin. A path of "/" is refused too: an Origin header
// never has one, and a list entry with one would never match.
func Parse(text string) (Origin, error) {
	switch {
	case text == "*" || text == "null":
		return Origin{}, errWildcard
	case strings.TrimSpace(text) == "":
		return Origin{}, errors.New("it is empty")
	}
	u, err := url.Parse(text)
	if err != nil {
		return Origin{}, errors.New("it is not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return Origin{}, errors.New("it does not begin with http:// or https://")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || u.Opaque != "" || strings.Contains(text, "#") {
		return Origin{}, errors.New("it has more than scheme, host and port")
	}
	o, err := fromURL(u)
	if err != nil {
		return Origin{}, err
	}
	if u.Path != "" {
		return Origin{}, fmt.Errorf("it has a path; write %s", o)
	}
	if text != o.String() {
		return Origin{}, fmt.Errorf("a browser writes it %s", o)
	}
	return o, nil
}

var errWildcard = errors.New("it stands for more than one origin")

// fromURL takes the origin of an http(s) URL as a browser would serialise it.
func fromURL(u *url.URL) (Origin, error) {
	host, err := canonicalHost(u)
	if err != nil {
		return Origin{}, err
	}
	port := u.Port()
	if port == "" {
		if strings.HasSuffix(u.Host, ":") {
			return Origin{}, errors.New("its port is empty")
		}
		port = defaultPort(u.Scheme)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return Origin{}, errors.New("its port is not a number from 1 to 65535")
	}
	return Origin{u.Scheme, host, port}, nil
}

// hosts maps names as the URL standard does ("domain to ASCII", not strict).
var hosts = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(false), idna.StrictDomainName(false))

// canonicalHost is the host as the URL standard's host parser reads it. What browsers
// read as an IPv4 address in another spelling (127.1, 0x7f.1) is refused, and so is
// IPv4 in IPv6, which nobody opens.
func canonicalHost(u *url.URL) (string, error) {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" || !addr.Is6() || addr.Is4In6() {
			return "", errors.New("its IPv6 address is not valid")
		}
		return addr.String(), nil
	}
	host, err := hosts.ToASCII(host)
	if err != nil || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" || strings.Trim(host, ".") == "" {
		return "", errors.New("its host is not valid")
	}
	if addr, err := netip.ParseAddr(host); endsInNumber(host) && (err != nil || !addr.Is4()) {
		return "", errors.New("its host looks like an IPv4 address and is none")
	}
	return host, nil
}

// endsInNumber is the URL standard's test for what it parses as IPv4 or not at all.
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	label := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return label != "" && strings.Trim(label, "0123456789") == ""
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// String serialises the origin as a browser's Origin header has it.
func (o Origin) String() string {
	if o == (Origin{}) {
		return ""
	}
	return o.scheme + "://" + o.hostPort()
}

// hostPort is the Host header a browser sends to this origin.
func (o Origin) hostPort() string {
	if o.port != defaultPort(o.scheme) {
		return net.JoinHostPort(o.host, o.port)
	}
	if strings.Contains(o.host, ":") {
		return "[" + o.host + "]"
	}
	return o.host
}

// Secure reports whether the scheme is https.
func (o Origin) Secure() bool { return o.scheme == "https" }

// Host is the host without brackets and port.
func (o Origin) Host() string { return o.host }

// Port is the port, also when it is the scheme's default.
func (o Origin) Port() string { return o.port }

// Loopback reports whether the host can only be this machine: localhost, a name
// below it, 127.0.0.0/8 or ::1.
func (o Origin) Loopback() bool {
	if o.host == "localhost" || strings.HasSuffix(o.host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(o.host)
	return err == nil && addr.Unmap().IsLoopback()
}

// SameSite reports whether browsers treat a and b as one site (HTML, "schemefully
// same site"): same scheme, and same registrable domain or same host. Names below
// localhost are no site together; measured in Chromium 156 and Firefox 153.
func SameSite(a, b Origin) bool {
	return a.scheme == b.scheme && a.site() == b.site()
}

func (o Origin) site() string {
	if _, err := netip.ParseAddr(o.host); err == nil || o.Loopback() {
		return o.host
	}
	if domain, err := publicsuffix.EffectiveTLDPlusOne(o.host); err == nil {
		return domain
	}
	return o.host
}
