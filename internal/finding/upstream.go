package finding

// GK4xx: upstreams.
var (
	UpstreamInvalid = Row{"GK401", "upstream_invalid", 0, Error, "An upstream's settings are incomplete or contradict each other",
		"Each upstream needs a path that begins and ends with / and an absolute http or https URL.",
		"Correct the named key."}
	UpstreamDuplicate = Row{"GK402", "upstream_duplicate", 0, Error, "Two upstreams with one path",
		"The longest prefix wins, so two equal prefixes cannot both be reached.", "Remove one of the two."}
	UpstreamReserved = Row{"GK403", "upstream_reserved", 0, Error, "An upstream's path covers Genkan's own endpoints",
		"Requests below server.prefix belong to Genkan.", "Choose another path."}
	UpstreamUnavailable = Row{"GK410", "upstream_unavailable", 502, Error, "The service behind this path does not answer",
		"The connection was refused, broke off, or its certificate was not trusted.",
		"Check that the service runs at upstreams[].url."}
	UpstreamTimeout = Row{"GK411", "upstream_timeout", 504, Error, "The service behind this path took too long",
		"It sent no answer within upstreams[].timeout.", "Raise the time-out or make the service faster."}
	MethodNotAllowed = Row{"GK412", "method_not_allowed", 405, Error, "This method is not allowed here",
		"The endpoint or the upstream does not list it.", "Use a listed method, or add it to upstreams[].methods."}
	BodyTooLarge = Row{"GK413", "body_too_large", 413, Error, "The request body is too large",
		"It is larger than this endpoint accepts.", "Send less, or raise upstreams[].max_body."}
	NavigationRefused = Row{"GK415", "navigation_refused", 403, Error, "This path is for calls of the app, not for the address bar",
		"Its answers belong to a service behind Genkan and must not be shown as pages of the app's origin.",
		"Call it by fetch, or set upstreams[].navigate: true for pages and downloads."}
	PathRefused = Row{"GK414", "path_refused", 400, Error, "This path is ambiguous",
		"It holds dot segments, encoded slashes, backslashes or control characters, which services read differently.",
		"Send the plain path."}
	UpstreamNonce = Row{"GK416", "upstream_nonce", 503, Error, "This call has to be sent once more",
		"The service behind this path wants a new nonce with it (RFC 9449), and the body was too large to be kept for that.",
		"Send it again: the nonce is known now."}
)

var upstreamRows = []Row{
	UpstreamInvalid, UpstreamDuplicate, UpstreamReserved, UpstreamUnavailable, UpstreamTimeout, MethodNotAllowed, BodyTooLarge, PathRefused, NavigationRefused, UpstreamNonce,
}
