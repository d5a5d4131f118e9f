package proxy

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"genkan/internal/rp"
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
		"x-email", "x-groups", "x-roles", "remote-user", "x-request-id":
		return true
	case "x-user-agent": // gRPC-Web's, no identity
		return false
	}
	for _, prefix := range []string{
		"x-forwarded-", "x-original-", "x-user", "x-auth-request-", "x-authenticated-", "x-remote-", "x-webauth-",
		"x-ssl-", "ssl-client-", "x-client-cert", "x-goog-authenticated-user-", "x-goog-iap-", "x-amzn-oidc-", "x-ms-client-principal",
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

// cutInbound removes what a browser may not say to a service. Names of claim headers
// are cut on every route, since routes may share a service.
func (h *Handler) cutInbound(header http.Header, route *Route) {
	for name := range header {
		if speaksForUs(name) || h.identity[fold(name)] || len(route.Methods) > 0 && overridesMethod(name) {
			delete(header, name)
		}
	}
}

// cutOutbound removes what a service may not say to a browser on the app's origin.
func cutOutbound(header http.Header) {
	for name := range header {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(header, name)
		}
	}
	for _, name := range []string{
		"DPoP-Nonce",                                   // is for whoever makes the proofs
		"Set-Cookie", "Set-Cookie2", "Clear-Site-Data", // the browser's cookies are Genkan's
		"Strict-Transport-Security", "Public-Key-Pins", "Alt-Svc", "Service-Worker-Allowed", // nor the origin as a whole
		"Nel", "Report-To", "Reporting-Endpoints",
		"X-Accel-Redirect", "X-Sendfile", // orders to a web server in front of Genkan
		"Server", "X-Powered-By", "X-Request-Id",
	} {
		header.Del(name)
	}
	// A Basic challenge would make the browser ask for a password.
	challenges := header["Www-Authenticate"]
	header.Del("WWW-Authenticate")
	for _, c := range challenges {
		if scheme, _, _ := strings.Cut(c, " "); strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "DPoP") {
			header.Add("WWW-Authenticate", c)
		}
	}
}

// keepPrivate makes an answer that says nothing about caches uncacheable. To a cache
// in front of Genkan the call bears no Authorization, so RFC 9111 3.5 would not keep
// a user's answer out of it; private does.
func keepPrivate(header http.Header, personal bool) {
	directives := strings.Split(strings.ToLower(strings.Join(header.Values("Cache-Control"), ",")), ",")
	if len(directives) == 1 && strings.TrimSpace(directives[0]) == "" {
		header.Set("Cache-Control", "no-store")
		return
	}
	if !personal {
		return
	}
	header.Add("Vary", "Cookie")
	for _, d := range directives {
		d = strings.TrimSpace(d)
		if d == "no-store" || d == "private" || d == "public" || strings.HasPrefix(d, "s-maxage=") {
			return
		}
	}
	header.Add("Cache-Control", "private")
}

// maxClaim bounds a header made from a claim, in bytes.
const maxClaim = 4096

// claimText is a claim as a header value: a string, a number or a boolean as it is,
// a list joined by commas. It is "" without the claim. fits is false for what a
// header cannot hold unambiguously: other JSON, anything but printable ASCII, a
// comma or outer space in an element of a list, more than 4 KiB.
func claimText(id rp.Identity, claim string) (text string, fits bool) {
	switch claim {
	case "sub":
		return id.Subject, plainText(id.Subject)
	case "iss":
		return id.Issuer, plainText(id.Issuer)
	case "sid":
		return id.SID, plainText(id.SID)
	case "acr":
		return id.ACR, plainText(id.ACR)
	}
	raw, ok := id.Claims[claim]
	if !ok {
		return "", true
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return "", false
	}
	list, many := value.([]any)
	if !many {
		list = []any{value}
	}
	parts := make([]string, 0, len(list))
	for _, v := range list {
		part, ok := scalar(v)
		if !ok || many && (part == "" || strings.Contains(part, ",") || strings.TrimSpace(part) != part) {
			return "", false
		}
		parts = append(parts, part)
	}
	text = strings.Join(parts, ",")
	return text, plainText(text)
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	}
	return "", false
}

func plainText(s string) bool {
	return len(s) <= maxClaim && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
