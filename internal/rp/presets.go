package rp

// Presets are the providers that are known, in the order in which they are documented.
// A new one is a row here and a page in docs/providers.
func Presets() []Preset {
	return []Preset{okta(), entra(), auth0(), google(), keycloak(), cognito(), dex(), {Name: "generic"}}
}

const slashAtEnd = `^(https?://.*[^/])/+$`

func okta() Preset {
	return Preset{
		Name: "okta",
		Mistakes: []Mistake{
			{`^(https?://)([^/]+)-admin\.okta([^/]*)(.*)$`, `"$2-admin.okta$3" is the address of Okta's admin console`, "$1$2.okta$3$4", ""},
			{slashAtEnd, "it ends with /, and no issuer of Okta does", "$1", ""},
			{`^(https?://[^/]+)/oauth2(?:/v1)?$`, "it is the beginning of an endpoint, not an issuer", "", "Write $1/oauth2/default, or $1 for the org server."},
			{`^(https?://[^/]+/oauth2/[^/]+)/v1(?:/.*)?$`, "it is the beginning of an endpoint, not an issuer", "$1", ""},
			{`^(https?://[^/]+\.okta[^/]*)/(?:admin|app|login|signin|enduser|dashboard)(?:/.*)?$`, "it is the address of a page, not an issuer", "", "Write $1/oauth2/default, or $1 for the org server."},
		},
		Settings: map[string]string{
			"client_assertion_audience": "endpoint",
			"revocation_issuer":         "{origin}", // Universal Logout is the org's, whichever server signs in
		},
		Advice: []Advice{{
			Setting: "scopes", Name: "groups", Issuer: `^https?://[^/]+/oauth2/`,
			Detail: "only Okta's org server has a scope groups of its own; this issuer is a custom server",
			Fix:    "Add a claim groups in Okta (Security, API, the server, Claims), and remove the scope unless you made it there.",
		}},
		Quirks: Quirks{UserInfo: []string{"groups"}}, // the org server's ID tokens are thin
	}
}

func entra() Preset {
	const cloud = `(https://login\.(?:microsoftonline\.com|microsoftonline\.us|partner\.microsoftonline\.cn))`
	// A cast to one type of object is answered only with $count and the header below.
	const groups = "/v1.0/me/transitiveMemberOf/microsoft.graph.group?$count=true&$select=id&$top=999"
	const consumers = "9188040d-6c67-4c5b-b112-36a304b66dad" // the one tenant of personal accounts
	return Preset{
		Name:   "entra",
		Issuer: `^https://[^/]+/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/v2\.0$`,
		Mistakes: []Mistake{
			{`^https://sts\.windows\.net/([^/]+)/?$`, "it is the issuer of version 1 tokens", "https://login.microsoftonline.com/$1/v2.0", ""},
			{slashAtEnd, "it ends with /, and no issuer of Entra does", "$1", ""},
			{`^` + cloud + `/([^/]+)/oauth2(?:/.*)?$`, "it is the beginning of an endpoint, not an issuer", "$1/$2/v2.0", ""},
			{`^` + cloud + `/([^/]+)$`, "it is without the version", "$1/$2/v2.0", ""},
			{`^` + cloud + `/consumers/v2\.0$`, "consumers is a word for a tenant, and tokens have the tenant's id in their issuer", "$1/" + consumers + "/v2.0", ""},
			{`^` + cloud + `/(common|organizations)/v2\.0$`, "$2 stands for every tenant, and each token has the id of its user's own tenant in its issuer", "",
				"Write $1/TENANT-ID/v2.0 with the Directory (tenant) ID of the app's Overview page, and one provider for each tenant."},
			{`^` + cloud + `/[^/]*\.[^/]*/v2\.0$`, "it has the tenant's name, and tokens have its id", "", "Write $1/TENANT-ID/v2.0 with the Directory (tenant) ID of the app's Overview page."},
			{`^` + cloud + `/[0-9A-Fa-f-]{36}/v2\.0$`, "the tenant's id has capitals, and in tokens it has none", "", "Write it in small letters."},
		},
		Settings: map[string]string{"client_assertion_audience": "endpoint"},
		Claims:   map[string]string{"email_verified": "xms_edov"}, // there is no email_verified
		Advice: []Advice{{
			Setting: "scopes", Name: "groups",
			Detail: "Entra has no scope groups and refuses the sign-in with it (AADSTS650053)",
			Fix:    "Remove it, and add the claim in Entra: the app, Token configuration, Add groups claim.",
		}},
		Quirks: Quirks{OmitsEmpty: true, FrontchannelWithoutIssuer: true, Overage: Overage{
			Endpoints: []GroupEndpoint{
				{`^https://(?:login\.microsoftonline|[^/.]+\.ciamlogin)\.com/`, "https://graph.microsoft.com" + groups},
				{`^https://login\.microsoftonline\.us/`, "https://graph.microsoft.us" + groups},
				{`^https://login\.partner\.microsoftonline\.cn/`, "https://microsoftgraph.chinacloudapi.cn" + groups},
			},
			Header: map[string]string{"ConsistencyLevel": "eventual"},
			Flag:   "hasgroups",
		}},
	}
}

func auth0() Preset {
	return Preset{
		Name: "auth0",
		Mistakes: []Mistake{
			{`^https://manage\.auth0\.com(?:/.*)?$`, "it is the address of Auth0's dashboard", "", "Write https://DOMAIN/ with the Domain of the application's Settings page."},
			{`^(https://[^/]+)/(?:authorize|oauth|userinfo|api|v2|oidc)(?:/.*)?$`, "it is an address below the issuer", "$1/", ""},
			{`^(https://[^/]+)(?:|//+)$`, "it does not end with one /, and every issuer of Auth0 does", "$1/", ""},
		},
		Advice: []Advice{{
			Setting: "authorize_params", Name: "audience", Lacks: true,
			Detail: "it has no audience: Auth0 then gives an access token that no API but its own UserInfo can read",
			Fix:    `Write authorize_params: {audience: IDENTIFIER} with the Identifier of your API in Auth0, or {audience: ""} if there is none to call.`,
		}},
		Quirks: Quirks{Logout: LogoutEndpoint{Path: "/v2/logout", Return: "returnTo"}}, // tenants of before November 2023
	}
}

func google() Preset {
	const issuer = "https://accounts.google.com"
	return Preset{
		Name:     "google",
		Issuer:   `^https://accounts\.google\.com$`,
		Mistakes: []Mistake{{`^https://`, "Google has one issuer, and this is not it", issuer, ""}},
		Offline:  map[string]string{"access_type": "offline", "prompt": "consent"}, // a refresh token comes with consent alone
		Advice: []Advice{{
			Setting: "scopes", Name: "groups",
			Detail: "Google has no scope groups and refuses the sign-in with it (invalid_scope)",
			Fix:    "Remove it; Google's tokens hold no groups.",
		}},
	}
}

func keycloak() Preset {
	const base = `(https?://[^/]+(?:/[^/]+)*?)`
	return Preset{
		Name:   "keycloak",
		Issuer: `^https?://[^/]+(?:/[^/]+)*/realms/[^/]+$`,
		Mistakes: []Mistake{
			{`^` + base + `/admin(?:/.*)?$`, "it is the address of the admin console", "", "Write $1/realms/NAME with the realm's name; capitals count."},
			{`^` + base + `/realms/([^/]+)/.*$`, "it goes on behind the realm", "$1/realms/$2", ""},
			{`^` + base + `(?:/realms)?/*$`, "it names no realm", "", "Write $1/realms/NAME with the realm's name; capitals count."},
		},
		Claims: map[string]string{"roles": "realm_access.roles"},
		Quirks: Quirks{UserInfo: []string{"groups", "roles"}}, // each mapper says where its claim goes
	}
}

func cognito() Preset {
	return Preset{
		Name:   "cognito",
		Issuer: `^https://cognito-idp\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?/[^/]+$`,
		Mistakes: []Mistake{
			{`^https://[^/]+\.auth\.([a-z0-9-]+)\.amazoncognito\.com(?:/.*)?$`, "it is the domain of the sign-in pages", "",
				"Write https://cognito-idp.$1.amazonaws.com/USER-POOL-ID with the User pool ID of the pool's Overview page."},
			{`^(https://cognito-idp\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?)/*$`, "it names no user pool", "", "Write $1/USER-POOL-ID with the User pool ID of the pool's Overview page."},
			{`^(https://cognito-idp\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?/[^/]+)/.*$`, "it goes on behind the user pool", "$1", ""},
		},
		Settings: map[string]string{"scopes": "openid,email"}, // the ones that are ticked in a new app client
		Claims:   map[string]string{"groups": "cognito:groups"},
		Offline:  map[string]string{}, // a refresh token comes always
		Advice: []Advice{{
			Setting: "scopes", Name: "groups",
			Detail: "Cognito has no scope groups and refuses the sign-in with it (invalid_scope)",
			Fix:    "Remove it; groups are in every ID token.",
		}},
		Quirks: Quirks{OmitsEmpty: true, Logout: LogoutEndpoint{Path: "/logout", Return: "logout_uri", Always: true}},
	}
}

func dex() Preset {
	return Preset{
		Name: "dex",
		Mistakes: []Mistake{
			{`^(https?://[^/]+.*?)/(?:callback|approval|healthz)(?:/.*)?$`, "it is an address below the issuer", "$1", ""},
		},
		Settings: map[string]string{"scopes": "openid,profile,email,groups"},
	}
}
