package origin

import (
	"net/http"
	"slices"

	"genkan/internal/finding"
)

// decide reports every combination that browsers do not let work, and whether an app
// is on another site, so that only SameSite=None can carry the session to its calls.
func decide(c Config, publics []Origin) (found finding.Findings, crossSite bool) {
	if len(publics) == 0 {
		return append(found, finding.URLInvalid.New("server.public_urls", "there is no public URL",
			"Set server.public_urls to where browsers reach Genkan, for example http://localhost:8000.")), false
	}
	found = append(found, checkPublic(c)...)
	for _, app := range c.SPAOrigins {
		f, cross := checkPair(app, publics)
		found = append(found, f...)
		crossSite = crossSite || cross
	}
	found = append(found, duplicates("server.public_urls", c.PublicURLs)...)
	found = append(found, duplicates("spa.origins", c.SPAOrigins)...)
	return append(found, checkSameSite(c, crossSite)...), crossSite
}

func checkPublic(c Config) (found finding.Findings) {
	for _, o := range c.PublicURLs {
		switch {
		case !o.Secure() && !o.Loopback():
			found = append(found, finding.InsecurePublicURL.New("server.public_urls", o.String()+" is plain http on a host that is not loopback",
				"Write "+Origin{"https", o.host, "443"}.String()+" and terminate TLS in front of Genkan or by server.tls."))
		case !o.Secure() && c.TLS:
			found = append(found, finding.TLSPublicURL.New("server.public_urls", o.String()+" is http, but server.tls.cert_file is set", ""))
		case o.Secure() && !c.TLS && !c.TrustedProxies:
			found = append(found, finding.ProxyUnknown.New("server.trusted_proxies", o.String()+" is https; Genkan itself listens on plain http", ""))
		}
		if c.FormPost && !o.Secure() {
			found = append(found, formPost(o))
		}
	}
	return found
}

// formPost judges form_post without https. On loopback it works but for Safari, which
// refuses Secure over http there.
func formPost(o Origin) finding.Finding {
	const where = "providers[].response_mode"
	if !o.Loopback() {
		return finding.FormPostHTTP.New(where, "form_post with the public URL "+o.String(), "")
	}
	f := finding.FormPostHTTP.New(where, "form_post with the public URL "+o.String()+": Chromium and Firefox accept a Secure cookie there, Safari does not", "")
	f.Severity = finding.Warning
	return f
}

// checkPair judges one app origin against the public URLs: it works as soon as one
// of them is the same site. cross reports that only SameSite=None can make it work.
func checkPair(app Origin, publics []Origin) (found finding.Findings, cross bool) {
	if slices.ContainsFunc(publics, func(o Origin) bool { return SameSite(app, o) }) {
		return nil, false
	}
	public := publics[0]
	if i := slices.IndexFunc(publics, func(o Origin) bool { return o.scheme == app.scheme }); i >= 0 {
		public = publics[i]
	}
	pair := app.String() + " calls " + public.String() + ": "
	sites := app.site() + " and " + public.site() + " are two sites"
	move := "Write " + app.moved(public.scheme, public.host).String() + " in spa.origins and open the app there"
	report := func(row finding.Row, detail, fix string) finding.Findings {
		return finding.Findings{row.New("spa.origins", pair+detail, fix+".")}
	}
	switch {
	case app.Secure() && public.Secure() && (app.Loopback() || public.Loopback()):
		return report(finding.CrossSiteHTTPS, sites, move), true
	case app.Secure() && public.Secure():
		return report(finding.CrossSiteHTTPS, sites, "Serve the app below "+public.site()+", or Genkan below "+app.site()), true
	case app.scheme != public.scheme && app.site() == public.site():
		return report(finding.MixedScheme, "one is https, the other http",
			"Write "+app.moved(public.scheme, app.host).String()+" in spa.origins, or serve Genkan by "+app.scheme), false
	case app.scheme != public.scheme && !public.Loopback():
		return report(finding.MixedScheme, sites+", one https, the other http", "Serve the app by "+public.scheme+" below "+public.site()), false
	case app.scheme != public.scheme:
		return report(finding.MixedScheme, sites+", one https, the other http", move), false
	case spelling(app.host) && spelling(public.host):
		return report(finding.LoopbackMixed, "to a browser "+sites,
			move+", or set server.public_urls to "+public.moved(app.scheme, app.host).String()+", or set server.loopback_alias to allow"), false
	}
	return report(finding.CrossSiteHTTP, sites+", and SameSite=None needs https", move), false
}

// moved is o at another scheme and host: at the same port, unless that was a default.
func (o Origin) moved(scheme, host string) Origin {
	if o.port == defaultPort(o.scheme) {
		o.port = defaultPort(scheme)
	}
	return Origin{scheme, host, o.port}
}

func duplicates(where string, list []Origin) (found finding.Findings) {
	for i, o := range list {
		if slices.Contains(list[:i], o) {
			found = append(found, finding.PublicURLDuplicate.New(where, o.String()+" is listed twice", ""))
		}
	}
	return found
}

// Decision is one attribute and why it has its value.
type Decision struct {
	Subject   string // which cookie, or which header
	Attribute string
	Value     string
	Reason    string // names the rule
	sameSite  http.SameSite
}

// sameSite decides the session cookie's SameSite at one public URL: Strict (RFC 10017
// 6.1.3.2), relaxed only as far as something that must work demands. crossSite does
// not count over http: browsers refuse None without Secure.
func sameSite(c Config, o Origin, crossSite bool) Decision {
	pick := func(mode http.SameSite, value, reason string) Decision {
		return Decision{"session cookie", "SameSite", value, reason, mode}
	}
	switch {
	case crossSite && o.Secure():
		return pick(http.SameSiteNoneMode, "None", "the app and Genkan are two sites over https")
	case c.SameSite == SameSiteLax:
		return pick(http.SameSiteLaxMode, "Lax", "set by session.cookie.same_site")
	case c.Navigate:
		return pick(http.SameSiteLaxMode, "Lax", "an upstream is opened by navigations (upstreams[].navigate)")
	}
	return pick(http.SameSiteStrictMode, "Strict", "RFC 10017 6.1.3.2: nothing needs the session on a navigation from another site")
}

// checkSameSite refuses a value of session.cookie.same_site that contradicts the rest.
func checkSameSite(c Config, crossSite bool) finding.Findings {
	refuse := func(detail, fix string) finding.Findings {
		return finding.Findings{finding.SameSiteUnusable.New("session.cookie.same_site", detail, fix)}
	}
	switch {
	case crossSite && (c.SameSite == SameSiteStrict || c.SameSite == SameSiteLax):
		return refuse(string(c.SameSite)+" with an app on another site: no browser sends the cookie with its calls", "Set it to auto.")
	case !crossSite && c.SameSite == SameSiteNone:
		return refuse("none, but no app is on another site over https: the cookie would travel where nothing needs it", "Set it to auto.")
	case c.Navigate && c.SameSite == SameSiteStrict:
		return refuse("strict, but an upstream has navigate: true: a link from another site would arrive without the session", "Set it to auto or lax.")
	}
	return nil
}
