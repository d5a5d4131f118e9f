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
	UpstreamOverlap = Row{"GK404", "upstream_overlap", 0, Warning, "An upstream opens a part of what another one guards",
		"The longest prefix wins, so below its path this one counts alone, and it asks less of the caller than the one around it.",
		"Write the same auth and require, or make sure that this part is meant to be open."}
	UpstreamInsecure = Row{"GK405", "upstream_insecure", 0, Warning, "Tokens go to another machine by plain http",
		"Who can read the network between can use them (RFC 6750 5.2).",
		"Write https://, unless the network between is trusted."}
	UpstreamOpen = Row{"GK406", "upstream_open", 0, Warning, "Nobody has said who may call this upstream",
		"It has neither auth nor require. Without them every user who is signed in may call it.",
		"Write auth: required to say that this is meant, or add require."}
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
	UpstreamTokenRefused = Row{"GK417", "upstream_token_refused", 502, Error, "There is no token for the service behind this path",
		"The provider refused to exchange the user's token, or to give Genkan one of its own, for what upstreams[] asks for.",
		"See the log for what the provider said; correct upstreams[].exchange or upstreams[].client, or the registration there."}
	InsufficientScope = Row{"GK420", "insufficient_scope", 403, Info, "This needs a permission that was not given",
		"The access token lacks a scope of upstreams[].require.scopes (RFC 6750 3.1).",
		"Ask for the scope in providers[].scopes, or let the provider grant it."}
	InsufficientGroups = Row{"GK421", "insufficient_groups", 403, Info, "This is for members of other groups",
		"The user is in none of upstreams[].require.groups, or the provider does not tell the groups.",
		"Add the user to a group, or let the provider send the groups; providers[].claims says where they are."}
	InsufficientClaims = Row{"GK422", "insufficient_claims", 403, Info, "This is not for this user",
		"A claim that upstreams[].require.claims asks for is missing or has another value.",
		"Correct what the provider says about the user, or the rule."}
	InsufficientAuthentication = Row{"GK423", "insufficient_user_authentication", 401, Info, "Sign in again, or in a stronger way",
		"The sign-in is older than this path allows, or was not made in the way it asks for (RFC 9470).",
		"Navigate to login_url, which asks the provider for it."}
	BearerInvalid = Row{"GK424", "invalid_token", 401, Info, "The access token is not good here",
		"It is missing, malformed, expired, of another issuer, or not meant for this path (RFC 6750 3.1, RFC 9068 4).",
		"Get an access token of a provider that Genkan knows, for one of upstreams[].audiences."}
	CredentialsAmbiguous = Row{"GK425", "credentials_ambiguous", 400, Warning, "Two credentials in one call",
		"The call has a session cookie and an Authorization header. Genkan will not choose between them.",
		"Send one: browsers the cookie, programs the access token."}
	ForwardAuthUntrusted = Row{"GK426", "forward_auth_untrusted", 403, Error, "The web server that asks is not known",
		"Only proxies in server.trusted_proxies may ask whether a call is allowed: what they say about the call would count from anybody else.",
		"Add the address of the web server to server.trusted_proxies."}
	ForwardAuthMethod = Row{"GK427", "forward_auth_method", 403, Error, "The web server does not say what it asks about",
		"Without the method of the call, X-Forwarded-Method or X-Original-Method, nothing can be decided about it.",
		"Set it in the web server as docs/forward-auth.md shows."}
)

var upstreamRows = []Row{
	UpstreamInvalid, UpstreamDuplicate, UpstreamReserved, UpstreamUnavailable, UpstreamTimeout, MethodNotAllowed, BodyTooLarge, PathRefused, NavigationRefused, UpstreamNonce,
	UpstreamOverlap, UpstreamInsecure, UpstreamOpen, UpstreamTokenRefused, InsufficientScope, InsufficientGroups, InsufficientClaims,
	InsufficientAuthentication, BearerInvalid, CredentialsAmbiguous, ForwardAuthUntrusted, ForwardAuthMethod,
}
