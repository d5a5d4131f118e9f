package origin

import (
	"net"
	"net/http"
	"time"
)

// Site is Genkan as browsers reach it by one public URL.
type Site struct {
	policy   *Policy
	origin   Origin
	sameSite Decision

	// What every request asks for is made once.
	text    string    // of origin
	hosts   [2]string // Host headers, without and with the port
	session Cookie
}

func newSite(p *Policy, o Origin, sameSite Decision) *Site {
	s := &Site{policy: p, origin: o, sameSite: sameSite, text: o.String(), hosts: [2]string{o.hostPort(), net.JoinHostPort(o.host, o.port)}}
	s.session = Cookie{s.baseName(), o.Secure(), sameSite.sameSite}
	return s
}

// Origin is the public URL itself.
func (s *Site) Origin() Origin { return s.origin }

// Scheme is http or https.
func (s *Site) Scheme() string { return s.origin.scheme }

// HostPort is what follows the scheme in the public URL: with a port only when it is not
// the scheme's own.
func (s *Site) HostPort() string { return s.hosts[0] }

// URL returns the absolute URL of a path below the prefix; path begins with /.
func (s *Site) URL(path string) string { return s.text + s.policy.config.Prefix + path }

// RedirectURI is the redirect_uri to register at every provider (OIDC Core
// 3.1.2.1). It comes from the configuration alone, never from a request.
func (s *Site) RedirectURI() string { return s.URL("/callback") }

// PostLogoutRedirectURI is the one of RP-Initiated Logout 1.0, section 3.1.
func (s *Site) PostLogoutRedirectURI() string { return s.URL("/logout/callback") }

// BackchannelURI is the backchannel_logout_uri of OpenID Connect Back-Channel Logout 1.0.
func (s *Site) BackchannelURI() string { return s.URL("/backchannel") }

// FrontchannelURI is the frontchannel_logout_uri of OpenID Connect Front-Channel Logout 1.0.
func (s *Site) FrontchannelURI() string { return s.URL("/frontchannel") }

// GlobalRevocationURI is what Okta calls the logout endpoint URL of Universal Logout; the
// JWT that authenticates a request names it as its audience.
func (s *Site) GlobalRevocationURI() string { return s.URL("/global-token-revocation") }

// Cookie is one cookie of Genkan's: name and attributes, decided once, so that
// setting and clearing cannot differ (a browser deletes only an exact match).
type Cookie struct {
	Name     string
	secure   bool
	sameSite http.SameSite
}

// baseName is __Host-Http-bff on https (RFC 10017 6.1.3.2, layered cookies); on
// http loopback the port, because cookies ignore ports and two projects on one
// machine would overwrite each other's.
func (s *Site) baseName() string {
	if s.origin.Secure() {
		return "__Host-Http-bff"
	}
	return "bff-" + s.origin.port
}

// Session is the session cookie.
func (s *Site) Session() Cookie { return s.session }

// TransactionPrefix begins the name of every sign-in transaction cookie.
func (s *Site) TransactionPrefix() string { return s.baseName() + "-tx-" }

// Transaction is the cookie of one sign-in attempt. It comes back on a cross-site
// GET, which Lax allows; with formPost on a cross-site POST, which only None does, and
// None needs Secure (accepted over http on loopback by Chromium and Firefox, rule 2 of
// what was measured). Only a sign-in by form_post gets it so.
func (s *Site) Transaction(attempt string, formPost bool) Cookie {
	c := Cookie{s.TransactionPrefix() + attempt, s.origin.Secure(), http.SameSiteLaxMode}
	if formPost {
		c.secure, c.sameSite = true, http.SameSiteNoneMode
	}
	return c
}

// Set returns the cookie with value, to be kept for ttl, rounded up to a second. A
// ttl that is over gives a cookie that deletes.
func (c Cookie) Set(value string, ttl time.Duration) *http.Cookie {
	seconds := int((ttl + time.Second - 1) / time.Second)
	if ttl <= 0 {
		seconds = -1 // 0 would leave Max-Age out: a cookie without an end
	}
	return &http.Cookie{
		Name: c.Name, Value: value, Path: "/", MaxAge: seconds,
		HttpOnly: true, Secure: c.secure, SameSite: c.sameSite,
	}
}

// Clear returns the cookie that makes a browser delete this one.
func (c Cookie) Clear() *http.Cookie { return c.Set("", 0) }

// Decisions are the cookie attributes of this site and why they are so.
func (s *Site) Decisions() []Decision {
	name := Decision{Subject: "session cookie", Attribute: "name", Value: s.baseName(), Reason: "https: the prefix keeps scripts and siblings from setting it"}
	secure := Decision{Subject: "session cookie", Attribute: "Secure", Value: "yes", Reason: "the public URL is https"}
	if !s.origin.Secure() {
		name.Reason = "http on loopback: the port keeps projects apart"
		secure.Value, secure.Reason = "no", "http on loopback; Safari refuses Secure there"
	}
	tx := Decision{Subject: "transaction cookie", Attribute: "SameSite", Value: "Lax", Reason: "the provider answers by a cross-site GET"}
	if s.policy.config.FormPost {
		tx.Value, tx.Reason = "None", "a provider answers by a cross-site POST (form_post)"
	}
	return []Decision{name, secure, s.sameSite, tx}
}
