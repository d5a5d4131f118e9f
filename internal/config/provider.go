package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/rp"
)

// provider is a provider being read.
type provider struct {
	rp.Config
	preset string
}

var providerRows = []row[provider]{
	{setting{key: "id", required: true, example: "okta",
		doc: "Name in URLs, of a-z, 0-9 and -. The first provider is the default one."},
		func(p *provider, v value) refusals { return assignID(&p.ID, v) }},
	{setting{key: "name", example: "Company Okta",
		doc: "Name on the sign-in page. Unset: the id."},
		func(p *provider, v value) refusals { return assign(&p.Name, v) }},
	{setting{key: "preset", env: "GENKAN_OIDC_PRESET", def: "generic", oneOf: []string{"generic", "okta"},
		doc: "Whose known mistakes to check the other settings for."},
		func(p *provider, v value) refusals { return assign(&p.preset, v) }},
	{setting{key: "issuer", env: "GENKAN_OIDC_ISSUER", required: true, example: "https://dev-1.okta.com/oauth2/default",
		doc: "The provider's issuer, letter by letter as its metadata has it."},
		func(p *provider, v value) refusals { return assignIssuer(&p.Issuer, v) }},
	{setting{key: "client_id", env: "GENKAN_OIDC_CLIENT_ID", required: true, example: "0oa1b2c3",
		doc: "The id of Genkan's registration there."},
		func(p *provider, v value) refusals { return assign(&p.ClientID, v) }},
	{setting{key: "client_secret", env: "GENKAN_OIDC_CLIENT_SECRET", secret: true,
		doc: "Its secret. None for a public client."},
		func(p *provider, v value) refusals { return assignSecret(&p.ClientSecret, v) }},
	{setting{key: "client_auth", env: "GENKAN_OIDC_CLIENT_AUTH", def: "auto",
		oneOf: []string{"auto", "client_secret_basic", "client_secret_post", "none"},
		doc:   "How the client shows its secret. `auto` picks from the provider's metadata; `none` is a public client."},
		func(p *provider, v value) refusals { return assign(&p.ClientAuth, v) }},
	{setting{key: "scopes", env: "GENKAN_OIDC_SCOPES", shape: list, def: "openid,profile,email",
		doc: "What to ask for; openid is always sent. `offline_access` brings a refresh token, with which a session outlives its access token."},
		func(p *provider, v value) refusals { return assignWords(&p.Scopes, v) }},
	{setting{key: "response_mode", def: "query", oneOf: []string{"query", "form_post"},
		doc: "How the answer comes back. `form_post` needs https, but for a public URL on this machine."},
		func(p *provider, v value) refusals { return assign(&p.ResponseMode, v) }},
	{setting{key: "userinfo", def: "auto", oneOf: []string{"auto", "on", "off"},
		doc: "Whether UserInfo is asked for more claims. `auto`: when the ID token lacks some that a scope promises."},
		func(p *provider, v value) refusals { return assign(&p.UserInfo, v) }},
	{setting{key: "id_token_signing_algs", shape: list, def: "RS256",
		oneOf: []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"},
		doc:   "The signature algorithms accepted for ID tokens. Pinned here, never taken from the provider's metadata."},
		func(p *provider, v value) refusals { return assignList(&p.SigningAlgs, v) }},
	{setting{key: "trusted_audiences", shape: list,
		doc: "Audiences accepted in an ID token beside the client id."},
		func(p *provider, v value) refusals { return assignList(&p.TrustedAudiences, v) }},
	{setting{key: "acr_values", shape: list, example: "urn:okta:loa:2fa:any",
		doc: "Authentication contexts to ask for, best first; one of them must come back."},
		func(p *provider, v value) refusals { return assignWords(&p.ACRValues, v) }},
	{setting{key: "max_age", shape: duration, example: "8h",
		doc: "Sign in again at the provider when the last time is longer ago, in whole seconds. Unset or 0s: not asked for."},
		func(p *provider, v value) refusals { return assignSeconds(&p.MaxAge, v) }},
	{setting{key: "authorize_params", shape: pairs, example: "{audience: https://api.example.com}",
		doc: "Fixed extra parameters of the authorization request, such as Okta's `idp` or Auth0's `audience`."},
		func(p *provider, v value) refusals { return assignParams(&p.AuthorizeParams, v) }},
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
		p := &provider{}
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

// checkProvider judges settings of one provider that must fit each other.
func (l *loader) checkProvider(p *provider, o object, out outcomes) {
	where := func(key string) string {
		if at := out.where(key); at != key {
			return at
		}
		return o.base + key
	}
	invalid := func(key, detail, fix string) {
		l.add(finding.ProviderInvalid.New(where(key), detail, fix))
	}
	secret := !p.ClientSecret.Empty()
	if !out.refused("client_secret", "client_auth") {
		switch {
		case p.ClientAuth == rp.AuthPublic && secret:
			invalid("client_auth", "it is none, but there is a client_secret", "Remove the secret, or write client_auth: auto.")
		case p.ClientAuth != rp.AuthPublic && p.ClientAuth != rp.AuthAuto && !secret:
			invalid("client_secret", "it is missing, but client_auth is "+string(p.ClientAuth), "Set client_secret or client_secret_file.")
		case p.ClientAuth == rp.AuthAuto && !secret && p.ClientID != "":
			l.warn(finding.ProviderInvalid.New(where("client_secret"), "it is missing, so this is a public client", "Set client_secret, or write client_auth: none to say so."))
		}
	}
	if s := p.ClientSecret.Reveal(); s != strings.Trim(s, " \t\"'") {
		l.warn(finding.ProviderInvalid.New(where("client_secret"), "it begins or ends with a blank or a quote", "Remove it, unless the provider shows it so."))
	}
	if p.preset == "okta" {
		l.checkOkta(p, where, invalid)
	}
}

// checkOkta knows what people copy wrongly from Okta's console.
func (l *loader) checkOkta(p *provider, where func(string) string, invalid func(key, detail, fix string)) {
	u, err := url.Parse(p.Issuer)
	if err != nil || p.Issuer == "" {
		return
	}
	host, path := u.Hostname(), strings.TrimSuffix(u.Path, "/")
	switch {
	case strings.Contains(host, "-admin.okta"):
		invalid("issuer", quote(host)+" is the address of Okta's admin console", "Write "+strings.Replace(p.Issuer, "-admin.okta", ".okta", 1)+".")
	case strings.HasSuffix(p.Issuer, "/"):
		invalid("issuer", "it ends with /, and no issuer of Okta does", "Write "+strings.TrimRight(p.Issuer, "/")+".")
	case path == "/oauth2" || path == "/oauth2/v1":
		invalid("issuer", "it is the beginning of an endpoint, not an issuer", "Write "+u.Scheme+"://"+u.Host+"/oauth2/default, or "+u.Scheme+"://"+u.Host+" for the org server.")
	case strings.HasPrefix(path, "/oauth2/") && slices.Contains(p.Scopes, "groups"):
		l.warn(finding.ProviderInvalid.New(where("scopes"), "only Okta's org server has a scope groups of its own; this issuer is a custom server",
			"Add a claim groups in Okta (Security, API, the server, Claims), and remove the scope unless you made it there."))
	}
}

var idForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

func assignID(to *string, v value) refusals {
	if !idForm.MatchString(v.text) {
		return refuse("Write a word such as okta.", "%s is not of a-z, 0-9 and -", quote(v.text))
	}
	*to = v.text
	return nil
}

// issuerEnds are the paths of endpoints that are taken for the issuer.
var issuerEnds = regexp.MustCompile(`/(\.well-known/(openid-configuration|oauth-authorization-server)|v1/(authorize|token|keys|userinfo))/?$`)

// assignIssuer holds an issuer to OpenID Connect Discovery 3. The text is kept byte
// for byte: it must equal the issuer of the provider's metadata.
func assignIssuer(to *string, v value) refusals {
	invalid := func(detail, fix string) refusals { return refusals{{finding.ProviderInvalid, detail, fix}} }
	u, err := url.Parse(v.text)
	switch {
	case err != nil || strings.Contains(v.text, "@"):
		return invalid("it is not a plain URL", "Write the issuer that the provider's metadata shows, for example https://dev-1.okta.com/oauth2/default.")
	case !strings.Contains(v.text, "://"):
		return invalid(quote(v.text)+" does not begin with https://", "Write https://"+v.text+".")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return invalid(quote(v.text)+" is not an https URL", "Write the issuer that the provider's metadata shows.")
	case strings.ContainsAny(v.text, "?#"):
		return invalid(quote(v.text)+" has a query or a fragment", "Write it without.")
	case issuerEnds.MatchString(v.text):
		return invalid(quote(v.text)+" is an address below the issuer", "Write "+issuerEnds.ReplaceAllString(v.text, "")+".")
	case u.Scheme == "http" && !loopback(u):
		return invalid(quote(v.text)+" is plain http to another machine: client secret and tokens could be read on the way", "Write https://"+strings.TrimPrefix(v.text, "http://")+".")
	}
	*to = v.text
	return nil
}

func loopback(u *url.URL) bool {
	o, err := origin.Parse(u.Scheme + "://" + u.Host)
	return err == nil && o.Loopback()
}

// word is a scope-token of RFC 6749 3.3; acr values are space-separated too.
var word = regexp.MustCompile(`^[!#-\[\]-~]+$`)

func assignWords(to *[]string, v value) (bad refusals) {
	for _, text := range v.list {
		if !word.MatchString(text) {
			fix := "Write words of plain ASCII without quotes and backslashes."
			if words := strings.Fields(text); !slices.ContainsFunc(words, func(w string) bool { return !word.MatchString(w) }) {
				fix = "Write " + strings.Join(words, ",") + "."
			}
			bad = append(bad, refuse(fix, "%s is not one word", quote(text))...)
		}
	}
	*to = v.list
	return bad
}

func assignSeconds(to *time.Duration, v value) refusals {
	if bad := assignDuration(to, v); bad != nil {
		return bad
	}
	if *to%time.Second != 0 {
		return refuse("Write whole seconds.", "%s is not a whole number of seconds", quote(v.text))
	}
	return nil
}

// ownParams are authorization parameters that Genkan sends or whose answer it
// checks; a fixed value would undo that.
var ownParams = []string{
	"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
	"code_challenge_method", "max_age", "acr_values", "claims", "request", "request_uri",
}

func assignParams(to *map[string]string, v value) (bad refusals) {
	for name, text := range v.pairs {
		switch {
		case name == "" || slices.Contains(ownParams, name):
			bad = append(bad, refuse("Remove it.", "%s is set by Genkan itself", quote(name))...)
		case name == "prompt" && len(strings.Fields(text)) != 1 && slices.Contains(strings.Fields(text), "none"):
			bad = append(bad, refuse("Write none alone, or leave it out.", "prompt holds none beside another value")...)
		}
	}
	slices.SortFunc(bad, func(a, b refusal) int { return strings.Compare(a.detail, b.detail) })
	*to = v.pairs
	return bad
}
