package rp

import (
	"cmp"
	"net/url"
	"regexp"
)

// Preset is what is known of one provider, as data: package config takes Settings,
// Claims, Params and Offline for what the operator left unset, and says what the rest
// finds wrong. What he wrote always counts.
type Preset struct {
	Name string
	// Issuer is the form of its issuers, a regular expression; "" when they can have any.
	// Mistakes are what people write in their place, looked at in this order.
	Issuer   string
	Mistakes []Mistake
	// Settings are values of providers[] by key, as they would be written, a list with
	// commas. {origin} stands for scheme and host of the issuer.
	Settings map[string]string
	Claims   map[string]string // Config.Claims
	Params   map[string]string // Config.AuthorizeParams
	// Offline, when not nil, says that the provider does not know the scope
	// offline_access: it is left out, and these parameters are sent in its place.
	Offline map[string]string
	Advice  []Advice
	Quirks  Quirks
}

// Mistake is a form of issuer that cannot be right. The three texts may hold $1 and
// the like for what the groups of Form match.
type Mistake struct {
	Form   string // a regular expression over the issuer
	Detail string
	Write  string // the right one, as far as this mistake goes
	Fix    string // a whole sentence instead, when the right one cannot be told
}

// Advice is a warning: about a name that Setting holds, or with Lacks, about one that it
// does not hold.
type Advice struct {
	Setting, Name string
	Lacks         bool
	Issuer        string // a regular expression; only with such issuers
	Detail, Fix   string
}

// Quirks are what a provider does differently from the specifications, as data that the
// client reads. The zero value is a provider that follows them.
type Quirks struct {
	// UserInfo lists those of our claims (groups, roles) that may be in UserInfo alone,
	// whatever the scopes are: UserInfoAuto asks for them when the ID token lacks them.
	UserInfo []string
	// OmitsEmpty says that ID tokens hold groups and roles unless there are none: one that
	// lacks them at a refresh takes away those of the one before.
	OmitsEmpty bool
	Overage    Overage
	Logout     LogoutEndpoint
	// FrontchannelWithoutIssuer says that front-channel logout may come with sid alone,
	// where Front-Channel Logout 1.0, 2 has iss beside it.
	FrontchannelWithoutIssuer bool
}

// Overage is where groups are read that are too many for an ID token. It is never what
// the token itself names (OpenID Connect Core 5.6.2): that could be any address.
type Overage struct {
	Endpoints []GroupEndpoint   // the first whose Issuer matches; none: nowhere
	Header    map[string]string // sent with every page
	Flag      string            // a claim that is true when groups were left out, beside _claim_names
}

// GroupEndpoint is where the users of some issuers have their groups. An access token of
// one cloud must not go to another.
type GroupEndpoint struct {
	Issuer string // a regular expression
	First  string // the first page, OData
}

// LogoutEndpoint is one that is not RP-Initiated Logout 1.0: it takes no hint and
// returns no state.
type LogoutEndpoint struct {
	Path   string // on the host of authorization_endpoint; "": there is none
	Return string // the parameter for where to return to
	Always bool   // also when the metadata has an end_session_endpoint, which is this one
}

// CheckIssuer says what is wrong with an issuer and what to write. Both are empty when
// nothing is known to be wrong.
func (p Preset) CheckIssuer(issuer string) (detail, fix string) {
	for _, m := range p.Mistakes {
		if p.Issuer != "" && matches(p.Issuer, issuer) {
			break
		}
		form := regexp.MustCompile(m.Form)
		groups := form.FindStringSubmatchIndex(issuer)
		if groups == nil {
			continue
		}
		expand := func(text string) string { return string(form.ExpandString(nil, text, issuer, groups)) }
		detail = cmp.Or(detail, expand(m.Detail))
		if m.Fix != "" {
			return detail, expand(m.Fix)
		}
		issuer = expand(m.Write) // which may hold another mistake
		fix = "Write " + issuer + "."
	}
	return detail, fix
}

// Concerns reports whether a is to be said of a setting that holds names.
func (a Advice) Concerns(issuer string, holds bool) bool {
	return holds != a.Lacks && (a.Issuer == "" || matches(a.Issuer, issuer))
}

func matches(form, text string) bool { return regexp.MustCompile(form).MatchString(text) }

// logout is the request by which the browser signs out where RP-Initiated Logout 1.0
// does not help. endpoint is empty where it does, and where there is nothing.
func (q Quirks) logout(md *metadata, clientID, back string) (endpoint string, params url.Values) {
	base, err := url.Parse(md.Authorize)
	if err != nil || q.Logout.Path == "" || md.EndSession != "" && !q.Logout.Always {
		return "", nil
	}
	params = url.Values{"client_id": {clientID}}
	if back != "" {
		params.Set(q.Logout.Return, back)
	}
	return cmp.Or(md.EndSession, base.ResolveReference(&url.URL{Path: q.Logout.Path}).String()), params
}
