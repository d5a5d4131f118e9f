// Package rp is the OpenID Connect relying party: discovery, the code flow,
// refresh, UserInfo, logout and revocation at one provider.
//
// It returns values and never touches a cookie, a session or a response to the
// browser. Everything a provider sends is hostile: bodies and waits are bounded,
// redirects are not followed blindly, and an ID token counts only after every rule
// of OpenID Connect Core 3.1.3.7 has been checked, those that go-oidc leaves to its
// caller included.
package rp

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"genkan/internal/keys"
)

// AuthMethod is how the client authenticates at the token endpoint
// (OpenID Connect Core 9).
type AuthMethod string

// The methods known so far. AuthAuto is AuthPublic without a secret; with one it is
// AuthBasic unless the provider's metadata lists only AuthPost. A second method is
// never tried, since that would send the secret and burn the code twice.
const (
	AuthAuto   AuthMethod = "auto"
	AuthBasic  AuthMethod = "client_secret_basic"
	AuthPost   AuthMethod = "client_secret_post"
	AuthPublic AuthMethod = "none"
)

// ResponseMode is how the authorization response comes back.
type ResponseMode string

// The response modes. ModeQuery is the default and is not sent.
const (
	ModeQuery    ResponseMode = "query"
	ModeFormPost ResponseMode = "form_post"
)

// UserInfoMode says whether UserInfo is called after the token request.
type UserInfoMode string

// UserInfoAuto calls it when the provider has the endpoint and the ID token lacks
// a claim that a requested scope promises (name for profile, email for email, groups
// for groups). When the endpoint then cannot be reached or answers with an error, the
// sign-in goes on with the claims of the ID token. UserInfoOn calls it always, and
// the sign-in fails with it. An answer that fails a check (another sub, a bad
// signature) fails the sign-in in both.
const (
	UserInfoAuto UserInfoMode = "auto"
	UserInfoOn   UserInfoMode = "on"
	UserInfoOff  UserInfoMode = "off"
)

// Config is one provider. The zero value of every optional field is its default.
type Config struct {
	ID           string // [a-z0-9-]+, in URLs
	Name         string // on the sign-in page; default ID
	Issuer       string // exactly as the provider's metadata has it
	ClientID     string
	ClientSecret keys.Secret
	ClientAuth   AuthMethod // default AuthAuto

	Scopes       []string     // default openid profile email; openid is always sent
	ResponseMode ResponseMode // default ModeQuery
	UserInfo     UserInfoMode // default UserInfoAuto

	SigningAlgs      []string // allowed for ID tokens; default RS256; never from discovery
	TrustedAudiences []string // accepted in aud beside ClientID
	// ACRValues are asked for at every sign-in, and one of them must come back
	// (OpenID Connect Core 3.1.3.7 rule 12).
	ACRValues []string
	MaxAge    time.Duration // 0: not asked for
	// AuthorizeParams are fixed extra parameters. Those that this package sends or
	// checks itself are refused; prompt is taken, and a sign-in's own is added to it.
	AuthorizeParams map[string]string

	CAFile string // PEM, added to the system's roots for this provider

	// Timeout bounds every request to the provider; default 10 s.
	Timeout time.Duration
	// Transport replaces the HTTP transport in tests; CAFile is then not used.
	Transport http.RoundTripper
	// Now replaces the clock in tests.
	Now    func() time.Time
	Logger *slog.Logger
}

// AuthRequest is what one sign-in asks for on top of the configuration. It comes from
// the browser's query, so it can ask for more than the operator requires, never for less.
type AuthRequest struct {
	RedirectURI string
	State       string // at least 128 bits of randomness, made by the caller; 22 characters or more
	Prompt      string // "", or space-separated OIDC Core 3.1.2.1 values; none stands alone
	LoginHint   string
	ACRValues   string         // space-separated; narrows Config.ACRValues where there are any; one must come back
	MaxAge      *time.Duration // counts when shorter than Config.MaxAge
	UILocales   string
}

// Login is a sign-in that has begun and not come back: what the callback needs.
// It is kept sealed in the browser's transaction cookie.
type Login struct {
	Provider    string   `json:"p"` // Config.ID, never taken from the callback (RFC 9700 4.4)
	State       string   `json:"s"`
	Nonce       string   `json:"n"`
	Verifier    string   `json:"v"` // PKCE, RFC 7636
	RedirectURI string   `json:"r"`
	MaxAge      int64    `json:"m,omitempty"` // seconds; 0: not asked for; -1: asked for 0
	ACRValues   []string `json:"a,omitempty"` // asked for by this request; one is required back
	Begun       int64    `json:"b"`           // Unix seconds; auth_time may not be older than this less max_age
}

// Tokens is what the token endpoint gave. None of it ever leaves the server.
type Tokens struct {
	Access  keys.Secret
	Refresh keys.Secret // empty: none
	ID      keys.Secret // the last ID token, for id_token_hint
	Scope   []string    // as granted (RFC 6749 3.3), else as asked for
	// Expiry is of Access, from expires_in: a number of seconds, or the same in a
	// string. Missing, unreadable or not above 0 counts as 5 minutes (RFC 6749 5.1 only
	// recommends it); more than 30 days as 30 days.
	Expiry time.Time
}

// Identity is who signed in, as the checked ID token and UserInfo say.
type Identity struct {
	Issuer   string
	Subject  string
	SID      string    // the provider's session id, may be empty
	AuthTime time.Time // zero: not told
	ACR      string
	AMR      []string
	Audience []string
	Nonce    string // of the first ID token, to compare at refresh
	// Claims are the user's claims, without the protocol's own (iss, aud, exp,
	// iat, nbf, nonce, azp, at_hash, c_hash, s_hash, jti, sid, events).
	Claims map[string]json.RawMessage
}

// Grant is the outcome of a sign-in or a refresh.
type Grant struct {
	Tokens   Tokens
	Identity Identity
}

// LogoutRequest is RP-Initiated Logout 1.0 section 2.
type LogoutRequest struct {
	IDToken               keys.Secret // id_token_hint
	PostLogoutRedirectURI string
	State                 string
	UILocales             string
}
