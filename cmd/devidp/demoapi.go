package main

import (
	"cmp"
	"flag"
	"net/http"
	"strings"

	"genkan/internal/devidp"
)

// assertionPath is below which the demo API takes assertions, and nothing else.
const assertionPath = "/assertion"

func apiFlags(flags *flag.FlagSet, o *options) {
	flags.BoolVar(&o.api, "demo-api", false, "also serve the demo API")
	flags.StringVar(&o.apiListen, "demo-api-listen", "127.0.0.1:9100", "`address` of the demo API, loopback only")
	flags.StringVar(&o.assertions, "demo-api-assertions", "", "public `URL` of a Genkan, whose identity assertions the demo API then takes below "+assertionPath+"/; "+
		"everywhere else it goes on to take access tokens")
	flags.StringVar(&o.assertionAudience, "demo-api-assertion-audience", "", "`aud` of those assertions: the upstream's path or audience in Genkan (default that of --audience)")
}

// demoAPI takes one kind of token on each path.
func (o options) demoAPI() http.Handler {
	api := devidp.NewDemoAPI(devidp.DemoAPIConfig{Issuer: o.provider.Issuer, Audience: o.provider.Audience, DPoPNonce: o.provider.DPoPNonce})
	if o.assertions == "" {
		return api
	}
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle(assertionPath+"/", http.StripPrefix(assertionPath, devidp.NewDemoAPI(devidp.DemoAPIConfig{
		Audience:        cmp.Or(o.assertionAudience, o.provider.Audience),
		AssertionIssuer: o.assertions, AssertionJWKS: strings.TrimSuffix(o.assertions, "/") + "/.well-known/jwks.json",
	})))
	return mux
}
