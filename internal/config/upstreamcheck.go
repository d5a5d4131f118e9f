package config

import (
	"net/url"
	"slices"
	"strings"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/proxy"
	"genkan/internal/rp"
)

func (l *loader) loadUpstreams(c *Config) {
	first := map[string]string{}
	var read []checkedUpstream
	for _, o := range l.upstreams {
		r := &upstream{}
		out := apply(l, r, upstreamRows, o)
		required(l, upstreamRows, finding.UpstreamInvalid, o, out)
		u := checkedUpstream{l, r, o, out}
		u.check(c.Providers)
		if r.Path == "" {
			continue
		}
		if before, twice := first[r.Path]; twice {
			l.add(finding.UpstreamDuplicate.New(out.where("path"), quote(r.Path)+" is the path of "+before+" too", ""))
		}
		first[r.Path] = strings.TrimSuffix(o.base, ".")
		if strings.HasPrefix(r.Path, c.Origin.Prefix+"/") && c.Origin.Prefix != "" {
			l.add(finding.UpstreamReserved.New(out.where("path"), quote(r.Path)+" is below server.prefix, which is "+c.Origin.Prefix, ""))
		}
		c.Upstreams = append(c.Upstreams, *r)
		read = append(read, u)
	}
	l.checkOverlaps(read)
}

// checkOverlaps warns of a path that is guarded less than the one around it: the longest
// prefix wins, so the rules of the other do not count there.
func (l *loader) checkOverlaps(all []checkedUpstream) {
	for _, inner := range all {
		for _, outer := range all {
			if inner.Path == outer.Path || !strings.HasPrefix(inner.Path, outer.Path) {
				continue
			}
			if guard(inner.Auth) < guard(outer.Auth) || inner.Require.Empty() && !outer.Require.Empty() {
				l.add(finding.UpstreamOverlap.New(inner.out.where("path"), quote(inner.Path)+" is inside "+quote(outer.Path)+", which asks for more", ""))
				break
			}
		}
	}
}

func guard(a proxy.Auth) int {
	return slices.Index([]proxy.Auth{proxy.AuthNone, proxy.AuthOptional, proxy.AuthRequired}, a)
}

// checkedUpstream judges settings of one upstream that must fit each other.
type checkedUpstream struct {
	l *loader
	*upstream
	object object
	out    outcomes
}

func (u checkedUpstream) invalid(key, detail, fix string) {
	u.l.add(finding.UpstreamInvalid.New(u.where(key), detail, fix))
}

func (u checkedUpstream) where(key string) string {
	if at := u.out.where(key); at != key {
		return at
	}
	return u.object.base + key
}

// group returns the settings of a group, or a setting itself, that somebody wrote.
func (u checkedUpstream) group(name string) (written []string) {
	for _, r := range upstreamRows {
		if (r.key == name || strings.HasPrefix(r.key, name+".")) && u.out.given(r.key) {
			written = append(written, r.key)
		}
	}
	return written
}

func (u checkedUpstream) check(providers []rp.Config) {
	if u.Auth == proxy.AuthNone {
		u.checkOpen()
	}
	u.checkToken(providers)
	u.checkBearer(providers)
	u.checkStepUp(providers)
	if !u.Require.Empty() && u.Auth == proxy.AuthOptional {
		u.invalid("auth", "it is optional, but require asks who is calling", "Write auth: required, or remove require.")
	}
	if !u.out.given("auth") && len(u.group("require")) == 0 {
		u.l.add(finding.UpstreamOpen.New(u.where("auth"), "neither auth nor require is written", ""))
	}
	if u.Token != proxy.TokenNone && u.URL != nil && u.URL.Scheme == "http" && !loopback(u.URL) {
		u.l.add(finding.UpstreamInsecure.New(u.where("url"), quote(u.URL.Host)+" is another machine, and tokens go there by plain http", ""))
	}
}

// checkOpen judges an upstream that knows no caller.
func (u checkedUpstream) checkOpen() {
	switch u.Token {
	case proxy.TokenNone, proxy.TokenClient:
	default:
		if u.out.given("token") {
			u.invalid("token", "it is "+string(u.Token)+", but auth is none: nobody is known whose token it could be", "Write token: none, or auth: optional.")
		}
		u.Token = proxy.TokenNone
	}
	if u.Token == proxy.TokenClient {
		u.l.warn(finding.UpstreamOpen.New(u.where("token"), "auth is none, so whoever reaches Genkan calls this service with Genkan's own token", "Write auth: required, unless everybody may."))
	}
	if len(u.Headers) > 0 {
		u.invalid("headers", "auth is none: without a caller there are no claims", "Remove headers, or write auth: optional.")
	}
	for _, key := range slices.Concat(u.group("require"), u.group("accept"), u.group("audiences"), u.group("introspection")) {
		u.invalid(key, "auth is none: nobody looks who is calling", "Remove it, or write auth: required.")
	}
}

// checkToken finds settings of another kind of token, which would do nothing, and those
// that this kind cannot do without.
func (u checkedUpstream) checkToken(providers []rp.Config) {
	for group, token := range map[string]proxy.Token{"exchange": proxy.TokenExchange, "client": proxy.TokenClient, "audience": proxy.TokenAssertion} {
		if written := u.group(group); len(written) > 0 && u.Token != token && !u.out.refused("token") {
			u.invalid(written[0], "it says something about token: "+string(token)+", but token is "+string(u.Token), "Write token: "+string(token)+", or remove it.")
		}
	}
	if e := u.Exchange; u.Token == proxy.TokenExchange && e.Audience == "" && e.Scope == "" && len(e.Resource) == 0 && !u.out.refused("exchange.audience", "exchange.scope", "exchange.resource") {
		u.invalid("token", "it is exchange, but nothing says for what", "Add exchange.audience, exchange.scope or exchange.resource.")
	}
	u.unusable("exchange.", u.Exchange.Check())
	u.unusable("client.", u.Client.Check())
	if u.Token != proxy.TokenClient || len(providers) == 0 {
		return
	}
	p, ok := u.provider("client.provider", u.Provider, providers)
	u.Provider = p.ID
	if ok && p.Public() {
		u.invalid("token", "it is client, but provider "+p.ID+" knows Genkan as a public client, which gets no token of its own", "Give the provider a client_secret or a private_key.")
	}
}

// unusable reports what package rp would refuse to ask a provider for.
func (u checkedUpstream) unusable(group string, problems []rp.Problem) {
	for _, p := range problems {
		u.invalid(group+p.Key, p.Text, p.Fix)
	}
}

func (u checkedUpstream) checkBearer(providers []rp.Config) {
	bearer := slices.Contains(u.Accept, proxy.AcceptBearer)
	switch written := slices.Concat(u.group("audiences"), u.group("introspection")); {
	case bearer && len(u.Bearer.Audiences) == 0 && !u.out.refused("audiences"):
		u.invalid("audiences", "it is missing, but accept has bearer: access tokens for other services would do", "Add audiences: what stands in aud of access tokens for this service.")
	case !bearer && len(written) > 0 && u.Auth != proxy.AuthNone && !u.out.refused("accept"):
		u.invalid(written[0], "it is about access tokens that callers bring, but accept has no bearer", "Write accept: [session, bearer], or remove it.")
	}
	if u.Bearer.Introspection != "" {
		p, ok := u.provider("introspection", u.Bearer.Introspection, providers)
		if ok && p.Public() {
			u.invalid("introspection", "provider "+p.ID+" knows Genkan as a public client, which may not ask about tokens", "Give the provider a client_secret or a private_key.")
		}
	}
	for _, p := range providers {
		if bearer && p.AccessTokenAnyType && slices.Contains(u.Bearer.Audiences, p.ClientID) && p.ClientID != "" {
			u.invalid("audiences", quote(p.ClientID)+" is the client_id of provider "+p.ID+", whose access tokens may be of any type: its ID tokens would do", "Name the API's own audience.")
		}
	}
}

// checkStepUp finds ways of signing in that no sign-in could ask for, so that its users
// would never get out of the step-up.
func (u checkedUpstream) checkStepUp(providers []rp.Config) {
	for _, acr := range u.Require.ACR {
		if strings.ContainsAny(acr, " \t") || len(acr) > maxACR {
			u.invalid("require.acr", quote(acr)+" has a blank in it or is very long; acr_values has blanks between its values", "Write one value an element.")
		}
	}
	for _, p := range providers {
		asks := len(u.Require.ACR) > 0 && len(p.ACRValues) > 0 && slices.Contains(u.Accept, proxy.AcceptSession)
		if asks && !slices.ContainsFunc(u.Require.ACR, func(acr string) bool { return slices.Contains(p.ACRValues, acr) }) {
			u.invalid("require.acr", "acr_values of provider "+p.ID+" has none of it, and a sign-in there asks for nothing else", "Add a value of it to acr_values of the provider.")
		}
	}
}

// maxACR bounds one value of require.acr, in bytes.
const maxACR = 128

// provider finds a provider by its id; "" is the first one.
func (u checkedUpstream) provider(key, id string, all []rp.Config) (rp.Config, bool) {
	var ids []string
	for _, p := range all {
		if p.ID == id || id == "" {
			return p, true
		}
		ids = append(ids, p.ID)
	}
	fix := "List the provider under providers."
	if near := Nearest(id, ids); near != "" {
		fix = "Write " + near + ", or list the provider under providers."
	}
	u.invalid(key, quote(id)+" is the id of no provider", fix)
	return rp.Config{}, false
}

func loopback(u *url.URL) bool {
	o, err := origin.Parse(u.Scheme + "://" + u.Host)
	return err == nil && o.Loopback()
}
