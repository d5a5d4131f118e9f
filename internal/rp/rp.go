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
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"genkan/internal/keys"
)

// AuthMethod is how the client authenticates at the token endpoint
// (OpenID Connect Core 9).
type AuthMethod string

// The methods. AuthAuto is the first of these that there are credentials for and the
// provider's metadata lists: tls_client_auth, self_signed_tls_client_auth,
// private_key_jwt, client_secret_basic, client_secret_post, client_secret_jwt; without
// credentials none. A second method is never tried, since that would send the secret and
// burn the code twice.
const (
	AuthAuto          AuthMethod = "auto"
	AuthBasic         AuthMethod = "client_secret_basic"
	AuthPost          AuthMethod = "client_secret_post"
	AuthSecretJWT     AuthMethod = "client_secret_jwt"           // OpenID Connect Core 9
	AuthPrivateKeyJWT AuthMethod = "private_key_jwt"             // RFC 7523
	AuthTLS           AuthMethod = "tls_client_auth"             // RFC 8705 2.1
	AuthSelfSignedTLS AuthMethod = "self_signed_tls_client_auth" // RFC 8705 2.2
	AuthPublic        AuthMethod = "none"
)

// PARMode says whether authorization requests are pushed (RFC 9126).
type PARMode string

// PARAuto pushes when the metadata requires it. No mode falls back to a plain request.
const (
	PARAuto     PARMode = "auto"
	PARRequired PARMode = "required"
	PAROff      PARMode = "off"
)

// AssertionAudience is the aud of client assertions.
type AssertionAudience string

// The issuer is what rfc7523bis 4 and FAPI 2.0 want. The endpoint that is called is for
// providers that accept nothing else, such as Okta.
const (
	AudienceIssuer   AssertionAudience = "issuer"
	AudienceEndpoint AssertionAudience = "endpoint"
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
// for groups, roles for roles), or one that the Quirks say may be there. When the endpoint then cannot be reached or answers with an error, the
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
	// Signers are the client's private keys: the first signs client assertions and request
	// objects, all are published.
	Signers           []*keys.Signer
	ClientCertificate *tls.Certificate  // for mutual TLS; sent to no other endpoint than those that authenticate the client
	AssertionAudience AssertionAudience // default AudienceIssuer

	PAR  PARMode // default PARAuto
	JAR  bool    // sign the authorization request (RFC 9101)
	DPoP bool    // bind the tokens to a key of each session (RFC 9449)

	Scopes       []string     // default openid profile email; openid is always sent
	ResponseMode ResponseMode // default ModeQuery
	UserInfo     UserInfoMode // default UserInfoAuto
	// UserInfoAlg, when set, is the one algorithm of UserInfo answers; one that is not
	// signed is then refused (OpenID Connect Core 5.3.2).
	UserInfoAlg string
	Resource    []string // RFC 8707: absolute URIs without fragment
	// Claims says where this provider puts what: our name of a claim (groups, roles,
	// email_verified) to its name there, or to a path of members with dots between them.
	Claims map[string]string

	SigningAlgs      []string // allowed for ID tokens; default RS256; never from discovery
	TrustedAudiences []string // accepted in aud beside ClientID
	AccessTokenAlgs  []string // allowed for access tokens that programs send; default SigningAlgs
	// AccessTokenAnyType takes access tokens that programs send also without a typ or with
	// typ JWT, where RFC 9068 2.1 has at+jwt.
	AccessTokenAnyType bool
	// ACRValues are asked for at every sign-in, and one of them must come back
	// (OpenID Connect Core 3.1.3.7 rule 12).
	ACRValues []string
	MaxAge    time.Duration // 0: not asked for
	// AuthorizeParams are fixed extra parameters. Those that this package sends or
	// checks itself are refused; prompt is taken, and a sign-in's own is added to it;
	// claims is taken (OpenID Connect Core 5.5), and what it asks for as essential of acr and auth_time is checked.
	AuthorizeParams map[string]string

	// LogoutTokenType demands typ logout+jwt of logout tokens (ASVS 5.0 10.5.5); many
	// providers send none.
	LogoutTokenType bool
	// LogoutTokenNoExp accepts logout tokens without exp for two minutes from their iat,
	// for providers that send none.
	LogoutTokenNoExp bool
	// RevocationIssuer signs global token revocations; default Issuer.
	RevocationIssuer string

	Quirks Quirks

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
	// IDToken is sent as id_token_hint (OpenID Connect Core 3.1.2.1), but only in a pushed
	// request: the browser's address bar shows every other one.
	IDToken keys.Secret
}

// Login is a sign-in that has begun and not come back: what the callback needs.
// It is kept sealed in the browser's transaction cookie.
type Login struct {
	Provider    string   `json:"p"` // Config.ID, never taken from the callback (RFC 9700 4.4)
	State       string   `json:"s"`
	Nonce       string   `json:"n"`
	Verifier    string   `json:"v"`           // PKCE, RFC 7636
	Key         string   `json:"k,omitempty"` // private key that the tokens are to be bound to; empty: none
	RedirectURI string   `json:"r"`
	MaxAge      int64    `json:"m,omitempty"` // seconds; 0: not asked for; -1: asked for 0
	ACRValues   []string `json:"a,omitempty"` // asked for by this request; one is required back
	Essential   []string `json:"e,omitempty"` // acr values asked for as essential; one is required back
	NeedsTime   bool     `json:"t,omitempty"` // auth_time was asked for as essential
	Begun       int64    `json:"b"`           // Unix seconds; auth_time may not be older than this less max_age
}

// Tokens is what the token endpoint gave. None of it ever leaves the server.
type Tokens struct {
	Access  keys.Secret
	Refresh keys.Secret // empty: none
	ID      keys.Secret // the last ID token, for id_token_hint
	// Key is the private key that Access is bound to (RFC 9449), as keys.Signer keeps it;
	// empty: Access is a bearer token.
	Key   keys.Secret
	Scope []string // as granted (RFC 6749 3.3), else as asked for
	// Expiry is of Access, from expires_in: a number of seconds, or the same in a
	// string. Missing, unreadable or not above 0 counts as 5 minutes (RFC 6749 5.1 only
	// recommends it); more than 30 days as 30 days.
	Expiry time.Time

	bearer keys.Secret // Authorization as it is sent, see WithBearer
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
}
