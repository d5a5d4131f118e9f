package finding

// GK1xx: origins, cookies, and what browsers do with them.
var (
	URLInvalid = Row{"GK101", "url_invalid", 0, Error, "Not an exact origin",
		"Browsers compare origins letter by letter: scheme, host and port, nothing else.",
		"Write scheme://host[:port] with no path, query or trailing slash."}
	OriginWildcard = Row{"GK102", "origin_wildcard", 0, Error, "An origin list cannot hold * or null",
		"With cookies, browsers take * literally, and null is what any sandboxed page sends.",
		"List each origin of the browser app exactly, for example http://localhost:5173."}
	CrossSiteHTTP = Row{"GK103", "cross_site_http", 0, Error, "The browser app and Genkan are two sites over http",
		"No browser sends a SameSite cookie between two sites, and SameSite=None needs https. Sign-in would seem to work and every call would stay 401.",
		"Put the app and Genkan on one host name."}
	MixedScheme = Row{"GK104", "mixed_scheme", 0, Error, "The browser app and Genkan use different schemes",
		"Chromium treats http and https of one host as two sites, and an https page may not call an http API.",
		"Serve both over https, or both over http on loopback."}
	CrossSiteHTTPS = Row{"GK105", "cross_site_https", 0, Warning, "The browser app and Genkan are two sites",
		"The session cookie must be SameSite=None; browsers that block third-party cookies (Safari, Firefox, Chromium in private windows) will not send it.",
		"Serve both under one registrable domain, or the app from Genkan itself."}
	InsecurePublicURL = Row{"GK106", "insecure_public_url", 0, Error, "http on a host that is not loopback",
		"Browsers refuse Secure cookies there, and anybody on the path reads the session.",
		"Use https, or localhost for development."}
	SameSiteUnusable = Row{"GK107", "same_site_unusable", 0, Error, "This SameSite value cannot work with these URLs",
		"The attribute decides on which requests the browser sends the session cookie.",
		"Leave session.cookie.same_site at auto."}
	LoopbackMixed = Row{"GK108", "loopback_mixed", 0, Error, "localhost and 127.0.0.1 are two sites",
		"To a browser localhost, 127.0.0.1 and [::1] are three different sites; cookies of one are never sent to another.",
		"Use the same spelling for the browser app and for Genkan."}
	FormPostHTTP = Row{"GK109", "form_post_http", 0, Error, "form_post needs https",
		"The answer of the provider is a cross-site POST; only a SameSite=None; Secure cookie is sent with it.",
		"Use response_mode: query, or https."}
	ProxyUnknown = Row{"GK110", "proxy_unknown", 0, Warning, "https without TLS here and without a trusted proxy",
		"The public URL is https, but Genkan terminates no TLS and trusts no proxy's X-Forwarded-Proto, so it cannot see a request that came by plain http.",
		"Set server.trusted_proxies to the proxy's addresses, or server.tls.cert_file and key_file."}
	PublicURLDuplicate = Row{"GK111", "public_url_duplicate", 0, Error, "The same URL twice",
		"Each public URL or origin may be listed once.", "Remove one of the two."}
	TLSPublicURL = Row{"GK112", "tls_public_url", 0, Error, "Genkan serves TLS, but its public URL is http",
		"With server.tls.cert_file set, the listener speaks only https.",
		"Write the public URL with https://, or remove server.tls."}
	PublicURLPort = Row{"GK113", "public_url_port", 0, Warning, "The public URL has another port than Genkan listens on",
		"server.public_urls was left at its default. A browser that opens Genkan's own port calls it by another address than the public one.",
		"Set server.public_urls to the address that browsers open."}
	HostUnknown = Row{"GK120", "host_unknown", 421, Error, "This host is not one of the public URLs",
		"The request came for a host that is not configured, so no cookie and no redirect URI fits it.",
		"Open the configured address, or add this one to server.public_urls; behind a proxy, keep the Host header or set server.trusted_proxies."}
	LoopbackAlias = Row{"GK121", "loopback_alias", 421, Error, "Another spelling of the loopback address is public",
		"localhost, 127.0.0.1 and [::1] have cookies of their own; only the configured one can hold the session.",
		"Use the configured spelling, or set server.loopback_alias: allow."}
	InsecureRequest = Row{"GK122", "insecure_request", 421, Error, "Plain http for an https address",
		"The trusted proxy says that this request came by http, but the public URL is https.",
		"Redirect http to https at the proxy."}
)

var originRows = []Row{
	URLInvalid, OriginWildcard, CrossSiteHTTP, MixedScheme, CrossSiteHTTPS, InsecurePublicURL, SameSiteUnusable,
	LoopbackMixed, FormPostHTTP, ProxyUnknown, PublicURLDuplicate, TLSPublicURL, PublicURLPort, HostUnknown, LoopbackAlias, InsecureRequest,
}
