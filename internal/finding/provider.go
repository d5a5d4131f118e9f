package finding

// GK2xx: the OpenID provider.
var (
	ProviderInvalid = Row{"GK201", "provider_invalid", 0, Error, "A provider's settings are incomplete or contradict each other",
		"Genkan needs at least an issuer and a client id.", "Correct the named key."}
	ProviderUnavailable = Row{"GK210", "provider_unavailable", 503, Error, "The identity provider does not answer",
		"Its metadata, keys or token endpoint could not be reached, or answered with a fault. Sessions that are live go on.",
		"Try again in a moment; see the log for what was asked and what came back."}
	ProviderMetadata = Row{"GK211", "provider_metadata", 503, Error, "The provider's metadata cannot be used",
		"The discovery document is not JSON, lacks a required member, names another issuer, or points to plain http.",
		"Compare providers[].issuer with the issuer member of the discovery document, letter by letter."}
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
		"The token endpoint answered invalid_client or unauthorized_client: client id, secret or authentication method do not fit the registration.",
		"Compare client_id, client_secret and client_auth with the application at the provider."}
	GrantRefused = Row{"GK224", "grant_refused", 400, Error, "The provider refuses the code",
		"The authorization code had expired, was used before, or was issued for another redirect URI.",
		"Try again; if it stays, compare the registered redirect URI with the one in the log."}
	TokenResponse = Row{"GK225", "token_response", 502, Error, "The provider's token response cannot be used",
		"A required member is missing or of another type.",
		"See the log beside this request id."}
	IDTokenInvalid = Row{"GK230", "id_token_invalid", 502, Error, "The ID token failed a check",
		"One of the rules of OpenID Connect Core 3.1.3.7 does not hold.",
		"See the log beside this request id: it names the rule and both values."}
	UserInfoInvalid = Row{"GK231", "userinfo_invalid", 502, Error, "The UserInfo response cannot be used",
		"The response names another user, or is no UserInfo response.",
		"Set userinfo: off for this provider, or see the log."}
)

var providerRows = []Row{
	ProviderInvalid, ProviderUnavailable, ProviderMetadata, ProviderRefused, AccessDenied, LoginRequired,
	ClientRefused, GrantRefused, TokenResponse, IDTokenInvalid, UserInfoInvalid,
}
