package finding

// GK5xx: settings as a whole, and what is seen at run time.
var (
	SettingUnknown = Row{"GK501", "setting_unknown", 0, Error, "Unknown setting",
		"A misspelt key would otherwise be ignored in silence.", "Correct or remove the key."}
	SettingInvalid = Row{"GK502", "setting_invalid", 0, Error, "A setting has a value that cannot be used",
		"The value is not of the form this setting takes.", "Correct the value."}
	SettingUnread = Row{"GK503", "setting_unread", 0, Error, "A settings file cannot be read",
		"The file is missing, not readable or not valid YAML.", "Correct the path or the file."}
	CSRF = Row{"GK510", "csrf", 403, Error, "Not proven to come from the browser app",
		"A request that uses the session must show that it came from a configured origin.",
		"Send the header X-CSRF: 1 from an origin listed in spa.origins or server.public_urls."}
	NotNavigation = Row{"GK511", "not_a_navigation", 400, Error, "Navigate here instead of fetching",
		"Sign-in leaves for the provider's pages, which fetch cannot follow.",
		"Use location.assign(login_url)."}
	ReturnURLRefused = Row{"GK512", "return_url_refused", 400, Error, "This returnUrl is not on a configured origin",
		"Only a path, or a URL on a public or SPA origin, is accepted, so that sign-in cannot be used to send people elsewhere.",
		"Use a path, or add the origin to spa.origins."}
	ParameterInvalid = Row{"GK513", "parameter_invalid", 400, Error, "A parameter has a value that cannot be used",
		"The endpoint does not take this value.", "Correct the named parameter."}
	TooManyStreams = Row{"GK514", "too_many_streams", 429, Error, "Too many streams for one session",
		"A session may have 16 streams of /bff/events open at once, and 64 WebSockets and event streams of upstreams, in all its tabs together.",
		"Close those that are no longer read, or share one between tabs."}
	TooManyRequests = Row{"GK515", "too_many_requests", 429, Error, "Too many requests from one address",
		"This endpoint takes a bounded number of requests from each client address, and this one used up its share.",
		"Try again in a few seconds. If many people are turned away at once, a proxy hides their addresses: set server.trusted_proxies."}
	TransactionMissing = Row{"GK520", "transaction_missing", 400, Error, "This sign-in was not begun in this browser, or too long ago",
		"The cookie that was set when sign-in began did not come back: it expired after ten minutes, cookies are blocked, or sign-in began under another address.",
		"Begin again from the app, at the configured address."}
	StateInvalid = Row{"GK521", "state_invalid", 400, Error, "The provider's answer does not belong to a sign-in of ours",
		"The state parameter is missing, repeated or was not issued here.",
		"Begin again from the app."}
	ResponseInvalid = Row{"GK522", "response_invalid", 400, Error, "The provider's answer is malformed",
		"It holds neither a code nor an error, both, a repeated parameter, or came by another response mode or from another issuer.",
		"Begin again from the app; see the log for what was wrong."}
	SignInLoop = Row{"GK523", "sign_in_loop", 400, Error, "Sign-in goes round in circles",
		"Sign-in succeeded several times within a minute, but the app still did not see a session: its calls do not carry the cookie. Or the app asks for a silent sign-in at every start, while the provider says each time that it needs the user.",
		"Open the app at the configured address, and let its calls send credentials: 'include'. Let it try a silent sign-in once per tab."}
	NotFound = Row{"GK530", "not_found", 404, Error, "Nothing here",
		"No endpoint, upstream or file has this path.", "Check the path."}
	Internal = Row{"GK531", "internal", 500, Error, "Something failed inside Genkan",
		"The cause is in the log beside this request id.", "Report it with the request id."}
	StreamsExhausted = Row{"GK532", "streams_exhausted", 503, Error, "Too many streams in all",
		"This Genkan has 10,000 streams of /bff/events open, or as many WebSockets and event streams of upstreams, which is as many as it takes.",
		"Add a replica, or let the app open one stream per browser instead of one per tab."}
	AdminUnauthorized = Row{"GK540", "admin_unauthorized", 401, Error, "The token for administration is missing or wrong",
		"server.admin_token is set, so every call to /admin/ must carry it.",
		"Send Authorization: Bearer with the value of server.admin_token; genkan sessions reads it from the same settings as the server."}
	AdminForbidden = Row{"GK541", "admin_forbidden", 403, Error, "Administration is open to this machine only",
		"Without server.admin_token, only a program on this machine that calls localhost or a loopback address directly may use /admin/.",
		"Set server.admin_token and send it as a bearer token, or call from the machine itself."}
	AdminBrowser = Row{"GK542", "admin_browser", 403, Error, "Administration is not for web pages",
		"The request has an Origin or Sec-Fetch-Site header, which only pages in a browser send.",
		"Use genkan sessions, or curl."}
	AdminTokenMissing = Row{"GK543", "admin_token_missing", 0, Warning, "Administration answers nobody on another machine",
		"The admin listener can be reached from elsewhere, but without server.admin_token /admin/ answers only programs on this machine.",
		"Set server.admin_token to what `genkan keys new` prints, or server.admin_listen to localhost:8001."}
)

var runtimeRows = []Row{
	SettingUnknown, SettingInvalid, SettingUnread, CSRF, NotNavigation, ReturnURLRefused, ParameterInvalid,
	TooManyStreams, TooManyRequests, TransactionMissing, StateInvalid, ResponseInvalid, SignInLoop, NotFound, Internal,
	StreamsExhausted, AdminUnauthorized, AdminForbidden, AdminBrowser, AdminTokenMissing,
}
