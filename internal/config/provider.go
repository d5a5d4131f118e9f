package config

import (
	"crypto/tls"
	"maps"
	"slices"
	"strings"

	"genkan/internal/finding"
	"genkan/internal/keys"
	"genkan/internal/rp"
)

// provider is a provider being read.
type provider struct {
	rp.Config
	preset      rp.Preset
	certificate []byte // PEM
	privateKey  keys.Secret
}

var providerRows = []row[provider]{
	{setting{key: "id", required: true, example: "okta",
		doc: "Name in URLs, of a-z, 0-9 and -. The first provider is the default one."},
		func(p *provider, v value) refusals { return assign(&p.ID, v) }},
	{setting{key: "name", example: "Company Okta",
		doc: "Name on the sign-in page. Unset: the id."},
		func(p *provider, v value) refusals { return assign(&p.Name, v) }},
	{setting{key: "preset", env: "GENKAN_OIDC_PRESET", def: "generic",
		oneOf: presetNames(),
		doc:   "Whose ways and known mistakes to take into account: it fills settings that are left unset, which `genkan config print` shows. See docs/providers/."},
		func(*provider, value) refusals { return nil }}, // presetOf has read it
	{setting{key: "issuer", env: "GENKAN_OIDC_ISSUER", required: true, example: "https://dev-1.okta.com/oauth2/default",
		doc: "The provider's issuer, letter by letter as its metadata has it."},
		func(p *provider, v value) refusals { return assign(&p.Issuer, v) }},
	{setting{key: "client_id", env: "GENKAN_OIDC_CLIENT_ID", required: true, example: "0oa1b2c3",
		doc: "The id of Genkan's registration there."},
		func(p *provider, v value) refusals { return assign(&p.ClientID, v) }},
	{setting{key: "client_secret", env: "GENKAN_OIDC_CLIENT_SECRET", secret: true,
		doc: "Its secret. None for a public client."},
		func(p *provider, v value) refusals { return assignSecret(&p.ClientSecret, v) }},
	{setting{key: "client_auth", env: "GENKAN_OIDC_CLIENT_AUTH", def: "auto",
		oneOf: []string{"auto", "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth", "none"},
		doc:   "How the client proves who it is. `auto` takes the first of tls_client_auth, self_signed_tls_client_auth, private_key_jwt, client_secret_basic, client_secret_post and client_secret_jwt that the provider's metadata lists and there are credentials for, and the log says which; without credentials it is `none`, a public client. With a secret beside a key or certificate, write the method that is registered."},
		func(p *provider, v value) refusals { return assign(&p.ClientAuth, v) }},
	{setting{key: "private_key", secret: true, lines: true, example: "config/client-key.pem",
		doc: "Private keys for private_key_jwt, jar and mutual TLS: PEM, a JWK or a JWK set; usually given as `private_key_file`. The first one signs, the public halves of all are at /.well-known/jwks.json."},
		assignSigners},
	{setting{key: "client_cert_file", example: "config/client-cert.pem",
		doc: "The client's certificate for mutual TLS, PEM, with the chain that the provider needs. Its key is the first of private_key_file. The certificate is shown to the provider alone, so access tokens that are bound to it (RFC 8705 3) cannot be used at upstreams yet: bind them with `dpop` instead."},
		func(p *provider, v value) refusals { return assignCertificate(&p.certificate, v) }},
	{setting{key: "client_assertion_audience", oneOf: []string{"issuer", "endpoint"}, example: "endpoint",
		doc: "The `aud` of client assertions: the issuer, as today's specifications have it, or the endpoint that is called. Unset: what the preset knows the provider to want, else the issuer."},
		func(p *provider, v value) refusals { return assign(&p.AssertionAudience, v) }},
	{setting{key: "scopes", env: "GENKAN_OIDC_SCOPES", shape: list, def: "openid,profile,email",
		doc: "What to ask for; openid is always sent. `offline_access` brings a refresh token, with which a session outlives its access token; where the provider has another way, the preset asks in that."},
		func(p *provider, v value) refusals { return assignList(&p.Scopes, v) }},
	{setting{key: "response_mode", def: "query", oneOf: []string{"query", "form_post"},
		doc: "How the answer comes back. `form_post` needs https, but for a public URL on this machine."},
		func(p *provider, v value) refusals { return assign(&p.ResponseMode, v) }},
	{setting{key: "par", def: "auto", oneOf: []string{"auto", "required", "off"},
		doc: "Whether authorization requests are pushed to the provider instead of standing in the browser's address (RFC 9126). `auto`: when its metadata requires it. There is no falling back."},
		func(p *provider, v value) refusals { return assign(&p.PAR, v) }},
	{setting{key: "jar", def: "off", oneOf: []string{"off", "on"},
		doc: "Whether authorization requests are signed (RFC 9101), with the first key of private_key_file."},
		func(p *provider, v value) refusals { return assignSwitch(&p.JAR, v) }},
	{setting{key: "dpop", def: "off", oneOf: []string{"off", "on"},
		doc: "Whether tokens are bound to a key of each session (RFC 9449), at the provider and at upstreams. A bearer token in their place is refused."},
		func(p *provider, v value) refusals { return assignSwitch(&p.DPoP, v) }},
	{setting{key: "userinfo", def: "auto", oneOf: []string{"auto", "on", "off"},
		doc: "Whether UserInfo is asked for more claims. `auto`: when the ID token lacks some that a scope or the preset promises."},
		func(p *provider, v value) refusals { return assign(&p.UserInfo, v) }},
	{setting{key: "userinfo_signing_alg", oneOf: rp.SigningAlgorithms(),
		doc: "The signature algorithm of UserInfo answers; those that are not signed are then refused. Unset: plain ones are taken, signed ones with an algorithm of id_token_signing_algs."},
		func(p *provider, v value) refusals { return assign(&p.UserInfoAlg, v) }},
	{setting{key: "id_token_signing_algs", shape: list, def: "RS256",
		oneOf: rp.SigningAlgorithms(),
		doc:   "The signature algorithms accepted for ID tokens and logout tokens. Pinned here, never taken from the provider's metadata."},
		func(p *provider, v value) refusals { return assignList(&p.SigningAlgs, v) }},
	{setting{key: "access_token_signing_algs", shape: list,
		oneOf: rp.SigningAlgorithms(),
		doc:   "The signature algorithms accepted for the access tokens of programs (`bearer` in upstreams[].accept). Unset: those of ID tokens."},
		func(p *provider, v value) refusals { return assignList(&p.AccessTokenAlgs, v) }},
	{setting{key: "access_token_type", def: "at+jwt", oneOf: []string{"at+jwt", "any"},
		doc: "The type that such an access token must have in its header. `any`: also none or JWT, which Okta, Entra ID and Keycloak send. Since ID tokens have these too, tokens with an ID token's claims are then refused, those with the client id in `aud`, and those without a scope, `client_id` or `azp`."},
		func(p *provider, v value) refusals { return assignAnyType(&p.AccessTokenAnyType, v) }},
	{setting{key: "trusted_audiences", shape: list,
		doc: "Audiences accepted in an ID token beside the client id."},
		func(p *provider, v value) refusals { return assignList(&p.TrustedAudiences, v) }},
	{setting{key: "claims", shape: pairs, example: "{groups: cognito:groups, roles: realm_access.roles}",
		doc: "Where this provider puts `groups`, `roles` and `email_verified`: the name of a claim, or a path of members with dots between them. What is not named is where the preset knows, else under the same name."},
		func(p *provider, v value) refusals { return assignClaims(&p.Claims, v) }},
	{setting{key: "acr_values", shape: list, example: "urn:okta:loa:2fa:any",
		doc: "Authentication contexts to ask for, best first; one of them must come back."},
		func(p *provider, v value) refusals { return assignList(&p.ACRValues, v) }},
	{setting{key: "max_age", shape: duration, example: "8h",
		doc: "Sign in again at the provider when the last time is longer ago, in whole seconds. Unset or 0s: not asked for."},
		func(p *provider, v value) refusals { return assignSeconds(&p.MaxAge, v) }},
	{setting{key: "resource", shape: list, example: "https://api.example.com",
		doc: "What the access token is to be for (RFC 8707): absolute URIs without fragment."},
		func(p *provider, v value) refusals { return assignList(&p.Resource, v) }},
	{setting{key: "authorize_params", shape: pairs, example: "{audience: https://api.example.com}",
		doc: "Fixed extra parameters of the authorization request, such as Okta's `idp` or Auth0's `audience`. `claims` may hold a request for claims, JSON (OpenID Connect Core 5.5); an essential `acr` or `auth_time` in it is checked."},
		func(p *provider, v value) refusals { return assignPairs(&p.AuthorizeParams, v) }},
	{setting{key: "backchannel_require_typ", shape: boolean, def: "false",
		doc: "Whether back-channel logout tokens must have the type logout+jwt. Many providers send none."},
		func(p *provider, v value) refusals { return assignBool(&p.LogoutTokenType, v) }},
	{setting{key: "backchannel_require_exp", shape: boolean, def: "true",
		doc: "Whether back-channel logout tokens must have an expiry, as the specification says. Hydra and Glewlwyd send none; with false such a token is good for two minutes."},
		func(p *provider, v value) refusals { return assignNot(&p.LogoutTokenNoExp, v) }},
	{setting{key: "revocation_issuer", example: "https://dev-1.okta.com",
		doc: "Who signs global token revocations (Okta's Universal Logout). Unset: the issuer, or the Okta org with the preset okta."},
		func(p *provider, v value) refusals { return assign(&p.RevocationIssuer, v) }},
	{setting{key: "ca_file", example: "company-ca.pem",
		doc: "PEM certificates trusted for this provider beside the system's."},
		func(p *provider, v value) refusals { return assignRoots(&p.CAFile, v) }},
}

// loadProviders reads providers[]; what GENKAN_OIDC_* say counts for the first, and
// makes one when there is none.
func (l *loader) loadProviders(c *Config) {
	if len(l.providers) == 0 && slices.ContainsFunc(l.oidc, namesProvider) {
		named := layer{"id": {text: "oidc", where: "providers[0].id", from: fromDefault}}
		l.providers = []object{{base: "providers[0].", layers: []layer{named}}}
	}
	if len(l.providers) == 0 && !l.reported("providers") {
		l.add(finding.ProviderInvalid.New("providers", "there is no provider to sign in at",
			"Set GENKAN_OIDC_ISSUER, GENKAN_OIDC_CLIENT_ID and GENKAN_OIDC_CLIENT_SECRET, or list one under providers."))
	}
	first := map[string]string{}
	for i, o := range l.providers {
		if i == 0 {
			o.layers = append(o.layers, l.oidc...)
		}
		p := &provider{preset: l.presetOf(o)}
		o = l.withPreset(o, p.preset)
		out := apply(l, p, providerRows, o)
		required(l, providerRows, finding.ProviderInvalid, o, out)
		l.checkProvider(p, o, out)
		if before, twice := first[p.ID]; twice && p.ID != "" {
			l.add(finding.ProviderInvalid.New(out.where("id"), quote(p.ID)+" is the id of "+before+" too", "Give each provider an id of its own."))
		}
		first[p.ID] = strings.TrimSuffix(o.base, ".")
		c.Providers = append(c.Providers, p.Config)
	}
}

// namesProvider reports that a layer of GENKAN_OIDC_* means a provider of its own,
// and is no mere change to one.
func namesProvider(in layer) bool {
	for _, key := range []string{"issuer", "client_id", "client_secret", "client_secret_file"} {
		if _, ok := in[key]; ok {
			return true
		}
	}
	return false
}

// required reports every required setting of an object that nobody wrote.
func required[T any](l *loader, rows []row[T], code finding.Row, o object, out outcomes) {
	for _, r := range rows {
		if _, there := out[r.key]; there || !r.required {
			continue
		}
		where, fix := o.where, "Add "+r.key+", for example "+r.example+"."
		if where == "" { // given by environment alone
			where, fix = r.env, "Set "+r.env+", for example "+r.example+"."
		}
		l.add(code.New(where, r.key+" is missing", fix))
	}
}

// checkProvider judges settings of one provider that must fit each other. What cannot be
// used at all, package rp decides.
func (l *loader) checkProvider(p *provider, o object, out outcomes) {
	where := func(key string) string {
		if at := out.where(key); at != key {
			return at
		}
		return o.base + key
	}
	l.addCertificate(p, out)
	l.checkUsable(p, o, out, where)
	if p.ClientAuth == rp.AuthAuto && p.ClientSecret.Empty() && len(p.Signers) == 0 && p.certificate == nil && p.ClientID != "" && !out.refused(credentials...) {
		l.warn(finding.ProviderInvalid.New(where("client_secret"), "it is missing, so this is a public client", "Set client_secret, or write client_auth: none to say so."))
	}
	if s := p.ClientSecret.Reveal(); s != strings.Trim(s, " \t\"'") {
		l.warn(finding.ProviderInvalid.New(where("client_secret"), "it begins or ends with a blank or a quote", "Remove it, unless the provider shows it so."))
	}
	l.checkPreset(p, where, out)
}

// credentials are settings that are judged together: with one of them refused, nothing can
// be said of the others.
var credentials = []string{"client_auth", "client_secret", "private_key", "client_cert_file", "jar"}

// requiredKeys have been reported by required when they are missing.
var requiredKeys = []string{"id", "issuer", "client_id"}

// checkUsable reports what package rp would refuse, but for settings that are missing or
// refused already. A value that is refused here is not printed either.
func (l *loader) checkUsable(p *provider, o object, out outcomes, where func(string) string) {
	before := maps.Clone(out)
	for _, problem := range rp.Check(p.Config) {
		key := problem.Key
		at, written := out[key]
		together := slices.Contains(credentials, key)
		if before.refused(key) || !written && slices.Contains(requiredKeys, key) || together && before.refused(credentials...) {
			continue
		}
		l.add(finding.ProviderInvalid.New(where(key), problem.Text, problem.Fix))
		if written && !together {
			at.refused = true
			out[key] = at
			shown := slices.IndexFunc(l.values, func(v Value) bool { return v.Key == o.base+key })
			l.values[shown] = providerSetting(key).printed(o.base, at)
		}
	}
}

// addCertificate makes the pair of client_cert_file and its key.
func (l *loader) addCertificate(p *provider, out outcomes) {
	if p.certificate == nil || out.refused("private_key", "client_cert_file") {
		return
	}
	pair, err := tls.X509KeyPair(p.certificate, []byte(p.privateKey.Reveal()))
	if err != nil {
		at := out["client_cert_file"]
		at.refused = true
		out["client_cert_file"] = at
		l.add(finding.ProviderInvalid.New(at.where, "it does not belong to the first key of private_key_file, which must be PEM", "Give both of one pair."))
		return
	}
	p.ClientCertificate = &pair
}
