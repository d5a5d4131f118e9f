package config

import (
	"maps"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"genkan/internal/finding"
	"genkan/internal/proxy"
)

// upstream is one being read.
type upstream = proxy.Route

var upstreamRows = []row[upstream]{
	{setting{key: "path", required: true, example: "/api/orders/",
		doc: "Requests below this path go there; it begins and ends with /. The longest wins."},
		func(r *upstream, v value) refusals { return assignRoutePath(&r.Path, v) }},
	{setting{key: "url", required: true, example: "http://127.0.0.1:9100/",
		doc: "The service."},
		func(r *upstream, v value) refusals { return assignURL(&r.URL, v) }},
	{setting{key: "keep_prefix", shape: boolean, def: "false",
		doc: "Whether the service sees the path with its prefix."},
		func(r *upstream, v value) refusals { return assignBool(&r.KeepPrefix, v) }},
	{setting{key: "methods", shape: list, example: "GET, POST",
		doc: "Methods that are let through. Unset: all but TRACE and CONNECT."},
		func(r *upstream, v value) refusals { return assignMethods(&r.Methods, v) }},
	{setting{key: "auth", def: "required", oneOf: []string{"required", "optional", "none"},
		doc: "`required`: 401 for who is not signed in; `optional`: who is signed in is known to the service; `none`: nobody looks who is calling."},
		func(r *upstream, v value) refusals { return assign(&r.Auth, v) }},
	{setting{key: "token", def: "relay", oneOf: []string{"relay", "exchange", "client", "assertion", "none"},
		doc: "What the service gets as `Authorization`. `relay`: the caller's access token; `exchange`: another one that the provider gives for it, for this service alone (RFC 8693); `client`: one of Genkan's own, by client credentials; `assertion`: a JWT about the user that Genkan signs and that is good for a minute, see docs/assertions.md; `none`: nothing. With `auth: none` there is no caller, so only `client` and `none` are left."},
		func(r *upstream, v value) refusals { return assign(&r.Token, v) }},
	{setting{key: "exchange.audience", example: "orders",
		doc: "For `token: exchange`: the name of the service as the provider knows it."},
		func(r *upstream, v value) refusals { return assign(&r.Exchange.Audience, v) }},
	{setting{key: "exchange.scope", example: "orders.read",
		doc: "For `token: exchange`: what the token is to allow, with blanks between."},
		func(r *upstream, v value) refusals { return assign(&r.Exchange.Scope, v) }},
	{setting{key: "exchange.resource", shape: list, example: "https://orders.example.com",
		doc: "For `token: exchange`: absolute URIs of the service (RFC 8707)."},
		func(r *upstream, v value) refusals { return assignList(&r.Exchange.Resource, v) }},
	{setting{key: "exchange.requested_token_type", example: "urn:ietf:params:oauth:token-type:access_token",
		doc: "For `token: exchange`: the kind of token to ask for (RFC 8693 3). Unset: the provider decides."},
		func(r *upstream, v value) refusals { return assign(&r.Exchange.RequestedTokenType, v) }},
	{setting{key: "client.scope", example: "reports.read",
		doc: "For `token: client`: what the token is to allow, with blanks between."},
		func(r *upstream, v value) refusals { return assign(&r.Client.Scope, v) }},
	{setting{key: "client.audience", example: "https://reports.example.com",
		doc: "For `token: client`: the `audience` parameter that some providers (Auth0) want."},
		func(r *upstream, v value) refusals { return assign(&r.Client.Audience, v) }},
	{setting{key: "client.resource", shape: list, example: "https://reports.example.com",
		doc: "For `token: client`: absolute URIs of the service (RFC 8707)."},
		func(r *upstream, v value) refusals { return assignList(&r.Client.Resource, v) }},
	{setting{key: "client.provider", example: "okta",
		doc: "For `token: client`: the id of the provider that gives the token. Unset: the first one."},
		func(r *upstream, v value) refusals { return assign(&r.Provider, v) }},
	{setting{key: "audience", example: "orders",
		doc: "For `token: assertion`: its `aud`, by which the service knows that it is meant. Unset: the path."},
		func(r *upstream, v value) refusals { return assign(&r.Audience, v) }},
	{setting{key: "accept", shape: list, def: "session", oneOf: []string{"session", "bearer"},
		doc: "Who may call: `session`, a signed-in browser; `bearer`, a program that brings an access token of a configured provider, without cookie or CSRF header. A call with both is refused."},
		func(r *upstream, v value) refusals { return assignAccept(&r.Accept, v) }},
	{setting{key: "audiences", shape: list, filled: true, example: "api://orders",
		doc: "For `accept: [bearer]`: one of these must be in the access token's `aud` (RFC 9068 4)."},
		func(r *upstream, v value) refusals { return assignSome(&r.Bearer.Audiences, v) }},
	{setting{key: "introspection", example: "okta",
		doc: "For `accept: [bearer]`: the id of the provider that is asked about access tokens that are no JWT (RFC 7662). Its answer counts for 30 seconds at most. Unset: such tokens are refused."},
		func(r *upstream, v value) refusals { return assign(&r.Bearer.Introspection, v) }},
	{setting{key: "require.scopes", shape: list, filled: true, example: "orders.read",
		doc: "Scopes that the caller's access token must have, all of them; else 403 `insufficient_scope`."},
		func(r *upstream, v value) refusals { return assignSome(&r.Require.Scopes, v) }},
	{setting{key: "require.groups", shape: list, filled: true, example: "sales, support",
		doc: "Groups of which the caller must be in one; else 403 `insufficient_groups`."},
		func(r *upstream, v value) refusals { return assignSome(&r.Require.Groups, v) }},
	{setting{key: "require.claims", shape: lists, filled: true, example: "{department: [sales]}",
		doc: "Claims that the caller must have, each with one of the values listed for it; else 403 `insufficient_claims`."},
		func(r *upstream, v value) refusals { return assignRules(&r.Require.Claims, v) }},
	{setting{key: "require.acr", shape: list, filled: true, example: "urn:okta:loa:2fa:any",
		doc: "Ways to have signed in (`acr`), of which one must be the caller's; else 401 `insufficient_user_authentication` with a `login_url` that asks for them (RFC 9470)."},
		func(r *upstream, v value) refusals { return assignSome(&r.Require.ACR, v) }},
	{setting{key: "require.max_age", shape: duration, filled: true, example: "10m",
		doc: "How long ago the caller may have signed in at the provider, in whole seconds; else the same answer."},
		func(r *upstream, v value) refusals { return assignAge(&r.Require.MaxAge, v) }},
	{setting{key: "headers", shape: pairs, example: "{X-User: sub, X-Email: email}",
		doc: "Headers made from claims of the user: header name to claim. What a browser sends under such a name is cut."},
		func(r *upstream, v value) refusals { return assignHeaders(&r.Headers, v) }},
	{setting{key: "navigate", shape: boolean, def: "false",
		doc: "Whether pages and downloads opened by the address bar or a link may use the session."},
		func(r *upstream, v value) refusals { return assignBool(&r.Navigate, v) }},
	{setting{key: "timeout", shape: duration, def: "30s",
		doc: "How long to wait for the service's answer to begin."},
		func(r *upstream, v value) refusals { return assignPositive(&r.Timeout, v) }},
	{setting{key: "idle_timeout", shape: duration, def: "15m",
		doc: "How long an answer that has begun, an event stream or a WebSocket may stand still, no byte going either way, before it is ended."},
		func(r *upstream, v value) refusals { return assignPositive(&r.IdleTimeout, v) }},
	{setting{key: "max_body", shape: size, def: "10MiB",
		doc: "The largest request body."},
		func(r *upstream, v value) refusals { return assignSize(&r.MaxBody, v) }},
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
