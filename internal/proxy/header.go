package proxy

import (
	"net/http"
	"strings"
)

// fold maps the names that a service cannot tell apart to one: CGI and WSGI turn
// every character that is no letter or digit into _.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name)
}

// speaksForUs reports whether a service may take an inbound header for the word of
// the proxy before it: credentials, who the user is, where the request came from,
// which path is really meant. Expect goes too: the proxy itself has answered it.
func speaksForUs(name string) bool {
	switch name = fold(name); name {
	case "cookie", "cookie2", "authorization", "dpop", "proxy-authorization", "x-csrf", "expect",
		"proxy", // HTTP_PROXY to a CGI program (CVE-2016-5385)
		"forwarded", "x-forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip",
		"x-host", "x-http-host-override", "x-rewrite-url", "x-url-scheme", "x-scheme", "front-end-https",
		"x-email", "x-groups", "x-group", "x-roles", "x-role", "remote-user", "x-request-id",
		"x-authorization", "x-access-token", "x-id-token", "x-jwt-assertion", "x-endpoint-api-userinfo", "x-proxy-user":
		return true
	case "x-user-agent": // gRPC-Web's, no identity
		return false
	}
	for _, prefix := range []string{
		"x-forwarded-", "x-original-", "x-user", "x-auth-request-", "x-authenticated-", "x-remote-", "x-webauth-",
		"x-ssl-", "ssl-client-", "x-client-cert", "x-goog-authenticated-user-", "x-goog-iap-", "x-amzn-oidc-", "x-ms-client-principal",
		"oidc-", "x-consumer-", "x-authentik-", "x-vouch-", "cf-access-", "tailscale-", "x-pomerium-", "x-id-token-", "x-jwt-",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// overridesMethod reports headers by which frameworks take a POST for another method,
// past a route's list.
func overridesMethod(name string) bool {
	switch fold(name) {
	case "x-http-method-override", "x-http-method", "x-method-override":
		return true
	}
	return false
}

// ofConnection are the headers that concern one connection alone, whatever Connection says
// (RFC 9110 7.6.1; the proxy's own credentials, 11.7).
var ofConnection = nameSet("Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"TE", "Trailer", "Transfer-Encoding", "Upgrade")

// everyday are headers that browsers send all the time. What becomes of them is decided
// once, by the rules for all.
var everyday = [...]string{
	"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection", "Content-Length", "Content-Type", "Cookie", "DNT",
	"If-Modified-Since", "If-None-Match", "Origin", "Pragma", "Priority", "Range", "Referer", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform",
	"Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Sec-Gpc", "Te", "Traceparent", "User-Agent", "X-Csrf", "X-Requested-With",
}

func nameSet(names ...string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[http.CanonicalHeaderKey(name)] = true
	}
	return set
}

// passes reports whether a browser may send a service a header, in whatever spelling. Names of claim headers
// are cut on every route, since routes may share a service.
func (h *Handler) passes(name string) bool {
	if pass, known := h.everyday[name]; known {
		return pass
	}
	plain := http.CanonicalHeaderKey(fold(name))
	return !ofConnection[plain] && (plain == name || plain != "Content-Length") && !speaksForUs(name) && !h.identity[fold(name)]
}

// inbound is what a service sees of a browser's header. Values are shared.
func (c *call) inbound(header http.Header) http.Header {
	passed := make(http.Header, len(header)+8)
	for name, values := range header {
		if c.passes(name) && (len(c.route.Methods) == 0 || !overridesMethod(name)) {
			passed[name] = values
		}
	}
	cutNamed(passed, header["Connection"])
	if len(header["Te"]) > 0 && listed(header["Te"], "trailers") {
		passed["Te"] = []string{"trailers"}
	}
	if _, sent := passed["User-Agent"]; !sent {
		passed["User-Agent"] = noUserAgent
	}
	return passed
}

// noUserAgent keeps net/http from sending one of its own.
var noUserAgent = []string{""}

// cutNamed removes what Connection names.
func cutNamed(header http.Header, connection []string) {
	for _, value := range connection {
		for name := range strings.SplitSeq(value, ",") {
			delete(header, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
}

// listed reports whether a list of tokens holds one.
func listed(values []string, token string) bool {
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(one), token) {
				return true
			}
		}
	}
	return false
}

// notForBrowsers are the headers by which a service would speak for the app's origin as a
// whole, or to somebody else than the browser.
var notForBrowsers = nameSet(
	"DPoP-Nonce",                                   // is for whoever makes the proofs
	"Set-Cookie", "Set-Cookie2", "Clear-Site-Data", // the browser's cookies are Genkan's
	"Strict-Transport-Security", "Public-Key-Pins", "Alt-Svc", "Service-Worker-Allowed",
	"NEL", "Report-To", "Reporting-Endpoints",
	"X-Accel-Redirect", "X-Sendfile", // orders to a web server in front of Genkan
	"Server", "X-Powered-By", "X-Request-Id",
)

// cutOutbound removes what a service may not say to a browser on the app's origin, and
// what concerns its own connection.
func cutOutbound(header http.Header) {
	connection := header["Connection"]
	for name := range header {
		if notForBrowsers[name] || ofConnection[name] || strings.HasPrefix(name, "Access-Control-") {
			delete(header, name)
		}
	}
	cutNamed(header, connection)
	challenges, challenged := header["Www-Authenticate"]
	if !challenged {
		return
	}
	delete(header, "Www-Authenticate")
	for _, c := range challenges { // a Basic challenge would make the browser ask for a password
		if scheme, _, _ := strings.Cut(c, " "); strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "DPoP") {
			header.Add("WWW-Authenticate", c)
		}
	}
}

var noStore = []string{"no-store"}

// keepPrivate makes an answer that says nothing about caches uncacheable. To a cache
// in front of Genkan the call bears no Authorization, so RFC 9111 3.5 would not keep
// a user's answer out of it; private does.
func keepPrivate(header http.Header, route *Route) {
	said := strings.TrimSpace(strings.ToLower(strings.Join(header["Cache-Control"], ",")))
	if said == "" {
		header["Cache-Control"] = noStore
		return
	}
	if route.Auth == AuthNone {
		return
	}
	header.Add("Vary", "Cookie")
	if route.accepts(AcceptBearer) {
		header.Add("Vary", "Authorization")
	}
	for d := range strings.SplitSeq(said, ",") {
		d = strings.TrimSpace(d)
		if d == "no-store" || d == "private" || d == "public" || strings.HasPrefix(d, "s-maxage=") {
			return
		}
	}
	header.Add("Cache-Control", "private")
}
