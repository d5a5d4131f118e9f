package origin

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"

	"genkan/internal/finding"
)

// Policy is what follows from a Config. It is immutable and safe for concurrent use.
type Policy struct {
	config Config
	sites  []*Site
	apps   map[string]Origin // SPA origins by their Origin header
}

// New derives the policy. Every problem is reported at once; with an error among
// them the policy is nil, because no browser could make it work.
func New(c Config) (*Policy, finding.Findings) {
	c.LoopbackAlias = cmp.Or(c.LoopbackAlias, AliasRedirect)
	c.Prefix = cmp.Or(c.Prefix, "/bff")
	c.SameSite = cmp.Or(c.SameSite, SameSiteAuto)
	c.PublicURLs, c.SPAOrigins = slices.Clone(c.PublicURLs), slices.Clone(c.SPAOrigins)
	publics := c.PublicURLs
	if c.LoopbackAlias == AliasAllow {
		publics = withAliases(publics)
	}
	found, crossSite := decide(c, publics)
	if found.Failed() {
		return nil, found
	}
	p := &Policy{config: c, apps: map[string]Origin{}}
	for _, o := range publics {
		p.sites = append(p.sites, newSite(p, o, sameSite(c, o, crossSite)))
	}
	for _, o := range c.SPAOrigins {
		p.apps[o.String()] = o
	}
	return p, found
}

// Canonical is the first public URL.
func (p *Policy) Canonical() *Site { return p.sites[0] }

// Sites are all public URLs, the canonical one first.
func (p *Policy) Sites() []*Site { return slices.Clone(p.sites) }

// Prefix is the path below which Genkan's own endpoints live, without a slash at
// its end.
func (p *Policy) Prefix() string { return p.config.Prefix }

// Arrival is where a request says it was sent: the Host header and the scheme, as
// seen here or told by a trusted proxy. Scheme is "" when nobody trusted told it.
type Arrival struct{ Host, Scheme string }

// Misdirected is a request that no public URL fits.
type Misdirected struct {
	Row       finding.Row // HostUnknown, LoopbackAlias or InsecureRequest
	Canonical Origin      // where to go instead
	Redirect  bool        // a navigation may be sent there with 307
}

func (m *Misdirected) Error() string { return m.Row.Title + ": use " + m.Canonical.String() }

// Site finds the public URL of a request. The error is always a *Misdirected.
// A forged Host never becomes part of an answer: it only selects among the
// configured URLs.
func (p *Policy) Site(a Arrival) (*Site, error) {
	var insecure *Site
	for _, s := range p.sites {
		switch {
		case !s.at(a.Host):
		case s.origin.Secure() && a.Scheme == "http":
			insecure = s
		case !s.origin.Secure() && a.Scheme == "https": // its cookies and redirect URI would be those of http
		default:
			return s, nil
		}
	}
	if insecure != nil {
		return nil, &Misdirected{Row: finding.InsecureRequest, Canonical: insecure.origin, Redirect: true}
	}
	if s := p.aliased(a); s != nil {
		return nil, &Misdirected{finding.LoopbackAlias, s.origin, p.config.LoopbackAlias != AliasReject}
	}
	return nil, &Misdirected{Row: finding.HostUnknown, Canonical: p.sites[0].origin}
}

// at reports whether host is the Host header of a request to s, in any case and with
// or without the default port (RFC 9110 4.2.3).
func (s *Site) at(host string) bool {
	host = lower(host)
	return host == s.hosts[0] || host == s.hosts[1]
}

// aliased finds the loopback site that a.Host is another spelling of. From https
// nobody is led to http.
func (p *Policy) aliased(a Arrival) *Site {
	for _, s := range p.sites {
		host, port := splitHost(a.Host, s.origin)
		if spelling(s.origin.host) && spelling(host) && port == s.origin.port && (s.origin.Secure() || a.Scheme != "https") {
			return s
		}
	}
	return nil
}

// spelling reports whether host is one of the names of the loopback address that
// people mix up. 0.0.0.0 is what start-up lines of servers print; browsers do not
// trust it.
func spelling(host string) bool {
	switch host {
	case "localhost", "127.0.0.1", "::1", "0.0.0.0":
		return true
	}
	return false
}

// splitHost takes a Host header apart; a missing port is the one of o's scheme.
func splitHost(header string, o Origin) (host, port string) {
	header = lower(header)
	host, port, err := net.SplitHostPort(header)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(header, "["), "]"), defaultPort(o.scheme)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.Unmap().String()
	}
	return host, port
}

// lower lowers ASCII letters only: strings.ToLower makes a k of the Kelvin sign.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// withAliases adds the other spellings of every loopback URL.
func withAliases(publics []Origin) []Origin {
	all := slices.Clone(publics)
	for _, o := range publics {
		if !spelling(o.host) {
			continue
		}
		for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
			if alias := (Origin{o.scheme, host, o.port}); !slices.Contains(all, alias) {
				all = append(all, alias)
			}
		}
	}
	return all
}
