package config

import (
	"maps"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/proxy"
)

var upstreamRows = []row[proxy.Route]{
	{setting{key: "path", required: true, example: "/api/orders/",
		doc: "Requests below this path go there; it begins and ends with /. The longest wins."},
		func(r *proxy.Route, v value) refusals { return assignRoutePath(&r.Path, v) }},
	{setting{key: "url", required: true, example: "http://127.0.0.1:9100/",
		doc: "The service."},
		func(r *proxy.Route, v value) refusals { return assignURL(&r.URL, v) }},
	{setting{key: "keep_prefix", shape: boolean, def: "false",
		doc: "Whether the service sees the path with its prefix."},
		func(r *proxy.Route, v value) refusals { return assignBool(&r.KeepPrefix, v) }},
	{setting{key: "methods", shape: list, example: "GET, POST",
		doc: "Methods that are let through. Unset: all but TRACE and CONNECT."},
		func(r *proxy.Route, v value) refusals { return assignMethods(&r.Methods, v) }},
	{setting{key: "auth", def: "required", oneOf: []string{"required", "optional", "none"},
		doc: "`required`: 401 without a session; `optional`: with one, its token goes along; `none`: the session is not looked at."},
		func(r *proxy.Route, v value) refusals { return assign(&r.Auth, v) }},
	{setting{key: "token", def: "relay", oneOf: []string{"relay", "none"},
		doc: "`relay` sends the session's access token, `none` nothing. With `auth: none` it is always none."},
		func(r *proxy.Route, v value) refusals { return assign(&r.Token, v) }},
	{setting{key: "headers", shape: pairs, example: "{X-User: sub, X-Email: email}",
		doc: "Headers made from claims of the user: header name to claim. What a browser sends under such a name is cut."},
		func(r *proxy.Route, v value) refusals { return assignHeaders(&r.Headers, v) }},
	{setting{key: "navigate", shape: boolean, def: "false",
		doc: "Whether pages and downloads opened by the address bar or a link may use the session."},
		func(r *proxy.Route, v value) refusals { return assignBool(&r.Navigate, v) }},
	{setting{key: "timeout", shape: duration, def: "30s",
		doc: "How long to wait for the service's answer to begin."},
		func(r *proxy.Route, v value) refusals { return assignPositive(&r.Timeout, v) }},
	{setting{key: "max_body", shape: size, def: "10MiB",
		doc: "The largest request body."},
		func(r *proxy.Route, v value) refusals { return assignSize(&r.MaxBody, v) }},
}

func (l *loader) loadUpstreams(c *Config) {
	first := map[string]string{}
	for _, o := range l.upstreams {
		r := &proxy.Route{}
		out := apply(l, r, upstreamRows, o)
		required(l, upstreamRows, finding.UpstreamInvalid, o, out)
		l.checkUpstream(r, o, out)
		if r.Path == "" {
			continue
		}
		if before, twice := first[r.Path]; twice {
			l.add(finding.UpstreamDuplicate.New(out.where("path"), quote(r.Path)+" is the path of "+before+" too", ""))
		}
		first[r.Path] = strings.TrimSuffix(o.base, ".")
		if strings.HasPrefix(r.Path, c.Origin.Prefix+"/") && c.Origin.Prefix != "" {
			l.add(finding.UpstreamReserved.New(out.where("path"), quote(r.Path)+" is below server.prefix, which is "+c.Origin.Prefix, ""))
		}
		c.Upstreams = append(c.Upstreams, *r)
	}
}

// checkUpstream judges settings of one upstream that must fit each other.
func (l *loader) checkUpstream(r *proxy.Route, o object, out outcomes) {
	if r.Auth == proxy.AuthNone {
		if out.given("token") && r.Token == proxy.TokenRelay {
			l.add(finding.UpstreamInvalid.New(out.where("token"), "it is relay, but auth is none: without a session there is no token", "Write token: none, or auth: optional."))
		}
		if len(r.Headers) > 0 {
			l.add(finding.UpstreamInvalid.New(out.where("headers"), "auth is none: without a session there are no claims", "Remove headers, or write auth: optional."))
		}
		r.Token = proxy.TokenNone
	}
	if r.Token == proxy.TokenRelay && r.URL != nil && r.URL.Scheme == "http" && !loopback(r.URL) {
		l.warn(finding.UpstreamInvalid.New(out.where("url"), quote(r.URL.Host)+" is another machine, and access tokens go there by plain http", "Write https://, unless the network between is trusted."))
	}
}

func loopback(u *url.URL) bool {
	o, err := origin.Parse(u.Scheme + "://" + u.Host)
	return err == nil && o.Loopback()
}

var (
	routePath  = regexp.MustCompile(`^/([A-Za-z0-9_~-][A-Za-z0-9_.~-]*/)*$`)
	methodForm = regexp.MustCompile(`^[A-Za-z-]{1,20}$`)
	headerForm = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$") // token of RFC 9110 5.6.2
)

func assignRoutePath(to *string, v value) refusals {
	if !routePath.MatchString(v.text) {
		fix := "Write a plain path such as /api/orders/."
		if fixed := "/" + strings.Trim(v.text, "/") + "/"; routePath.MatchString(fixed) {
			fix = "Write " + fixed + "."
		}
		return refusals{{finding.UpstreamInvalid, quote(v.text) + " is not a plain path that begins and ends with /", fix}}
	}
	*to = v.text
	return nil
}

func assignURL(to **url.URL, v value) refusals {
	invalid := func(detail, fix string) refusals { return refusals{{finding.UpstreamInvalid, detail, fix}} }
	u, err := url.Parse(v.text)
	switch {
	case err != nil:
		return invalid("it is not a URL", "Write http://host:port/ or https://host/.")
	case u.User != nil || strings.Contains(v.text, "@"): // it may hold a password
		return invalid("it holds a user name", "Remove everything before the @.")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Hostname() == "":
		return invalid(quote(v.text)+" is not an absolute http or https URL", "Write http://host:port/ or https://host/.")
	case strings.ContainsAny(v.text, "?#"): // it may hold a key
		return invalid("it has a query or a fragment", "Write it without.")
	}
	*to = u
	return nil
}

func assignMethods(to *[]string, v value) (bad refusals) {
	for _, m := range v.list {
		switch upper := strings.ToUpper(m); {
		case !methodForm.MatchString(m):
			bad = append(bad, refuse("Write methods such as GET or POST.", "%s is not a method", quote(m))...)
		case upper == "TRACE" || upper == "CONNECT":
			bad = append(bad, refuse("Remove it.", "%s is never let through", upper)...)
		case m != upper:
			bad = append(bad, refuse("Write "+upper+".", "%s is not a method; methods are written in capitals", quote(m))...)
		}
	}
	*to = v.list
	return bad
}

// ownHeaders are set, cut or interpreted on the way and cannot carry a claim.
var ownHeaders = []string{
	"Authorization", "Connection", "Content-Length", "Cookie", "Forwarded", "Host", "Keep-Alive", "Origin", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
}

func assignHeaders(to *map[string]string, v value) (bad refusals) {
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(v.pairs)) {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		_, twice := out[canonical]
		switch {
		case !headerForm.MatchString(name):
			bad = append(bad, refuse("Write a name such as X-User.", "%s is not a header name", quote(name))...)
		case slices.Contains(ownHeaders, canonical):
			bad = append(bad, refuse("Choose another name.", "%s has a meaning of its own on the way", canonical)...)
		case twice:
			bad = append(bad, refuse("Remove one of the two.", "%s stands there twice; case does not count", canonical)...)
		case v.pairs[name] == "":
			bad = append(bad, refuse("Write a claim, for example sub.", "%s has no claim", canonical)...)
		}
		out[canonical] = v.pairs[name]
	}
	*to = out
	return bad
}
