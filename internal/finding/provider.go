package finding

// GK2xx: the OpenID provider.
var (
	ProviderInvalid = Row{"GK201", "provider_invalid", 0, Error, "A provider's settings are incomplete or contradict each other",
		"Genkan needs at least an issuer and a client id.", "Correct the named key."}
	ProviderUnavailable = Row{"GK210", "provider_unavailable", 503, Error, "The identity provider does not answer",
		"Its metadata, keys or token endpoint could not be reached, or answered with a fault. Sessions that are live go on.",
		"Try again in a moment; see the log for what was asked and what came back."}
	ProviderMetadata = Row{"GK211", "provider_metadata", 503, Error, "The provider's metadata cannot be used",
		"The discovery document is not JSON, lacks a required member, names another issuer, points to plain http, or lacks what the settings demand (PAR, DPoP).",
		"See the log for what does not fit. Of the issuer, compare providers[].issuer with the issuer member of the discovery document, letter by letter."}
	ProviderRefused = Row{"GK220", "provider_refused", 400, Error, "The provider ended the sign-in with an error",
		"The provider sent the browser back with an error instead of a code.",
		"See the error code in the log beside this request id."}
	AccessDenied = Row{"GK221", "access_denied", 403, Error, "Access was denied",
		"You, or a policy of the provider, refused the sign-in.",
		"Check that the user is assigned to the application at the provider."}
	LoginRequired = Row{"GK222", "login_required", 401, Info, "Not signed in at the provider",
		"A silent sign-in was asked for, and the provider needs the user to act.",
		"Sign in without prompt=none."}
	ClientRefused = Row{"GK223", "client_refused", 502, Error, "The provider refuses this client",
		"The provider answered invalid_client or unauthorized_client, or lists no method of client authentication that there are credentials for: client id, credentials or method do not fit the registration.",
		"Compare client_id, client_secret and client_auth with the application at the provider."}
	GrantRefused = Row{"GK224", "grant_refused", 400, Error, "The provider refuses the code",
		"The authorization code had expired, was used before, or was issued for another redirect URI.",
		"Try again; if it stays, compare the registered redirect URI with the one in the log."}
	TokenResponse = Row{"GK225", "token_response", 502, Error, "The provider's token response cannot be used",
		"A required member is missing or of another type.",
		"See the log beside this request id."}
	RequestRefused = Row{"GK226", "request_refused", 502, Error, "The provider refuses the pushed authorization request",
		"Sign-in was to begin with a pushed authorization request (RFC 9126), and the provider did not take it.",
		"See its error in the log beside this request id; compare the redirect URI, scopes, resource and key with the registration."}
	IDTokenInvalid = Row{"GK230", "id_token_invalid", 502, Error, "The ID token failed a check",
		"One of the rules of OpenID Connect Core 3.1.3.7 does not hold.",
		"See the log beside this request id: it names the rule and both values."}
	UserInfoInvalid = Row{"GK231", "userinfo_invalid", 502, Error, "The UserInfo response cannot be used",
		"The response names another user, or is no UserInfo response.",
		"Set userinfo: off for this provider, or see the log."}
	GroupsOverage = Row{"GK232", "groups_overage", 0, Warning, "Groups are left out: there are too many for the ID token",
		"Entra puts at most 200 groups into a token. Where there are more, Genkan reads them from Microsoft Graph, which failed, or for which this access token is not meant.",
		"In Entra, under the app's Token configuration, edit the groups claim and choose Groups assigned to the application; or grant the delegated permission User.Read or GroupMember.Read.All of Microsoft Graph, and list it in scopes without a scope of an API of your own."}
	LogoutTokenInvalid = Row{"GK240", "logout_token_invalid", 400, Error, "The logout token failed a check",
		"Something that came to the back-channel logout address is no logout token of a configured provider (OpenID Connect Back-Channel Logout 1.0, 2.6). No session was ended by it.",
		"See the log: it names the rule. backchannel_require_exp: false is for providers whose logout tokens never expire."}
	FrontchannelInvalid = Row{"GK241", "frontchannel_invalid", 400, Error, "This front-channel logout ends nothing",
		"The address needs the issuer and the session, iss and sid, of a configured provider: without them any page could sign people out.",
		"At the provider, let front-channel logout send iss and sid (frontchannel_logout_session_required), or use back-channel logout."}
	RevocationInvalid = Row{"GK242", "revocation_invalid", 400, Error, "The global token revocation does not say whose tokens",
		"The body must be a JSON object whose one member sub_id is a subject identifier of the format iss_sub or email (RFC 9493).",
		"At Okta, choose one of these two as the subject format of Universal Logout."}
	RevocationUnauthorized = Row{"GK243", "revocation_unauthorized", 401, Error, "The global token revocation is not authenticated",
		"It needs a JWT of type global-token-revocation+jwt that a configured provider has signed for this address, is not over and was not used before.",
		"See the log: it names the rule. Set revocation_issuer when the provider signs these with another issuer than sign-ins, as Okta's org does."}
	RevocationForbidden = Row{"GK244", "revocation_forbidden", 403, Error, "This caller may not revoke these tokens",
		"The JWT was issued to another client, or the user is of another issuer than its own.",
		"At the provider, set up global token revocation in the application whose client_id is configured here."}
	RevocationNobody = Row{"GK245", "revocation_nobody", 404, Info, "Nobody of that name is signed in",
		"Genkan knows users by their sessions only, and this one has none.", "Nothing to do."}
	RevocationFailed = Row{"GK246", "revocation_failed", 422, Error, "The user could not be signed out",
		"The user has sessions, and the session store failed while they were being ended: some may live on.",
		"Send the request again, with a new JWT."}
	LogoutBusy = Row{"GK247", "logout_busy", 429, Warning, "Too many sign-outs from providers at once",
		"Genkan works on 32 of these at a time, so that a flood of forged ones takes nothing from the users.",
		"Send it again in a moment."}
)

var providerRows = []Row{
	ProviderInvalid, ProviderUnavailable, ProviderMetadata, ProviderRefused, AccessDenied, LoginRequired,
	ClientRefused, GrantRefused, TokenResponse, RequestRefused, IDTokenInvalid, UserInfoInvalid, GroupsOverage,
	LogoutTokenInvalid, FrontchannelInvalid, RevocationInvalid, RevocationUnauthorized, RevocationForbidden,
	RevocationNobody, RevocationFailed, LogoutBusy,
}
