package access

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"genkan/internal/finding"
)

// Refusal is why a rule does not let a caller through.
type Refusal struct {
	Row  finding.Row // what to answer, its status included
	Rule string      // scopes, groups, claims.<name>, acr, max_age, or caller when nobody is known; never a value of the user

	scopes []string
	acr    []string
	maxAge time.Duration
}

// Error names the rule, for logs.
func (f *Refusal) Error() string { return "require: " + f.Rule + " is not met" }

// Challenge is the WWW-Authenticate of the answer. A missing scope names all that the
// route needs (RFC 6750 3: the required scope), a sign-in that does not do what would do
// (RFC 9470 3). It is "" for groups and claims, which no other token of the same user
// would change.
func (f *Refusal) Challenge() string {
	switch f.Row.Name {
	case finding.InsufficientScope.Name:
		return challenge("error", f.Row.Name, "scope", strings.Join(f.scopes, " "))
	case finding.InsufficientAuthentication.Name:
		return challenge("error", f.Row.Name, "acr_values", strings.Join(f.acr, " "), "max_age", f.seconds())
	case finding.Unauthenticated.Name:
		return Nothing.Challenge()
	}
	return ""
}

// StepUp returns the login URL with acr_values, in the order of the configuration, and
// max_age in seconds, so that the next sign-in satisfies the rule. Refusals that no
// sign-in mends return it as it is.
func (f *Refusal) StepUp(login string) string {
	for _, parameter := range [][2]string{{"acr_values", strings.Join(f.acr, " ")}, {"max_age", f.seconds()}} {
		if parameter[1] == "" {
			continue
		}
		separator := "?"
		if strings.Contains(login, "?") {
			separator = "&"
		}
		login += separator + parameter[0] + "=" + url.QueryEscape(parameter[1])
	}
	return login
}

// seconds is the rule's max_age, "" without one. A part of a second is dropped: the
// sign-in is then asked to be newer than the rule needs.
func (f *Refusal) seconds() string {
	if f.maxAge <= 0 {
		return ""
	}
	return strconv.FormatInt(int64(f.maxAge/time.Second), 10)
}

// challenge builds a Bearer challenge of name and value pairs; empty values are left out.
func challenge(pairs ...string) string {
	var parameters []string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			parameters = append(parameters, pairs[i]+"="+quoted(pairs[i+1]))
		}
	}
	return "Bearer " + strings.Join(parameters, ", ")
}

// quoted is text as a quoted-string (RFC 9110 5.6.4). What no header can hold becomes a
// question mark.
func quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
		case r < ' ' || r > '~':
			r = '?'
		}
		b.WriteRune(r)
	}
	b.WriteByte('"')
	return b.String()
}
