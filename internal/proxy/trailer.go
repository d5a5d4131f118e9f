package proxy

import (
	"net/http"
	"strings"
)

// trails reports whether a field may stand after the body (RFC 9110 6.5.1): not when
// somebody has to know it before, as what frames, routes, changes or authorizes a message,
// says what its content is, or is a rule for a browser.
func trails(name string) bool {
	switch name = fold(name); name {
	case "connection", "keep-alive", "upgrade", "te", "trailer", "transfer-encoding", "host", "expect", "max-forwards", "range",
		"cache-control", "pragma", "age", "date", "expires", "vary", "warning", "location", "retry-after", "realm", "authorization", "www-authenticate", "set-cookie",
		"x-content-type-options", "x-frame-options", "x-xss-protection", "referrer-policy", "permissions-policy":
		return false
	case "content-digest", "content-md5":
		return true
	}
	for _, prefix := range []string{"content-", "if-", "proxy-", "accept-", "cross-origin-", "sec-"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return true
}

// announced is what a caller has announced for after the body, but for what it may not say
// to a service, there or in a header.
func (c *call) announced() http.Header {
	if len(c.in.Trailer) == 0 {
		return nil
	}
	trailer := c.inbound(c.in.Trailer)
	for name := range trailer {
		if !trails(name) {
			delete(trailer, name)
		}
	}
	delete(trailer, "User-Agent") // which inbound adds
	if len(trailer) == 0 {
		return nil
	}
	return trailer
}

// fillTrailer is called with the end of the body, when the caller's trailers are there.
func (c *call) fillTrailer() {
	for name := range c.trailer {
		c.trailer[name] = c.in.Trailer[name]
	}
}

// announce names the trailers that the upstream will send. One that is a header as well is
// not named, or net/http would send the header again.
func (c *call) announce(ours, trailer http.Header) {
	if len(trailer) == 0 {
		return
	}
	cutOutbound(trailer) // as announced; trail sees the rest
	for name := range trailer {
		if _, taken := ours[name]; !taken && trails(name) {
			ours.Add("Trailer", name)
		}
	}
	if len(ours["Trailer"]) > 0 && c.in.ProtoMajor == 1 { // which has trailers only after chunks
		delete(ours, "Content-Length")
	}
}

// trail sends the upstream's trailers on, by the rules for headers.
func (c *call) trail(ours, trailer http.Header) {
	if len(trailer) == 0 {
		return
	}
	_ = http.NewResponseController(c.w).Flush() // or net/http would give a short body a length, and no trailers
	cutOutbound(trailer)
	for name, values := range trailer {
		if trails(name) {
			ours[http.TrailerPrefix+name] = values
		}
	}
}
