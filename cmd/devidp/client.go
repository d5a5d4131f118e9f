package main

import (
	"flag"

	"genkan/internal/devidp"
)

// clientFlags are what genkan-dev has registered. Other clients come by --client-file.
func clientFlags(flags *flag.FlagSet, c *devidp.Client) {
	flags.StringVar(&c.IDTokenAlg, "id-token-alg", "", "`alg` of genkan-dev's ID, access and logout tokens, like ES256 (default RS256)")
	flags.StringVar(&c.UserInfoAlg, "userinfo-alg", "", "`alg` of genkan-dev's UserInfo, which is a JWT then")
	flags.BoolVar(&c.TokenExchange, "token-exchange", c.TokenExchange, "genkan-dev may exchange access tokens (RFC 8693)")
	flags.BoolVar(&c.OpaqueAccessTokens, "opaque-access-tokens", false, "genkan-dev's access tokens are random texts, for introspection (RFC 7662)")
	list(flags, "client-audience", "`audience` whose access tokens genkan-dev may also exchange and introspect (repeatable)", &c.Audiences)
	flags.StringVar(&c.BackchannelURI, "backchannel-uri", "", "`URI` that gets logout tokens of genkan-dev's sessions")
	flags.BoolVar(&c.BackchannelSessionRequired, "backchannel-session-required", false, "every logout token has a sid")
	flags.StringVar(&c.FrontchannelURI, "frontchannel-uri", "", "`URI` that the page after a sign-out loads in a frame")
	flags.StringVar(&c.GlobalRevocationURI, "global-revocation-uri", "", "`URI` that POST /dev/revoke-all sends to")
	flags.StringVar(&c.InitiateLoginURI, "initiate-login-uri", "", "`URI` that /dev/initiate sends a browser to")
}
