package access

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"genkan/internal/finding"
	"genkan/internal/rp"
)

// ahead is how far a provider's clock may be before ours, the same as for ID tokens.
const ahead = time.Minute

// Rules are what a route asks of its callers; all of them must hold. The zero value lets
// everybody through.
type Rules struct {
	Scopes []string // every one was granted
	Groups []string // one of them is in the claim groups, a string or a list of strings
	// Claims are claim names, each with the values of which it must have one. Strings,
	// numbers and booleans, and lists of nothing else, are compared by their JSON text:
	// 3, 3.0 and true. email and phone_number count only when the provider says that they
	// are verified (OpenID Connect Core 5.1): others may be whatever a user typed.
	Claims map[string][]string
	ACR    []string // one of them is how the user has signed in (acr)
	// MaxAge is how long ago that may be (auth_time), without leeway: who signs in anew is
	// in time even when clocks differ a little. 0: no matter.
	MaxAge time.Duration
}

// Empty reports whether everybody may pass, also who is not known.
func (r Rules) Empty() bool {
	return len(r.Scopes) == 0 && len(r.Groups) == 0 && len(r.Claims) == 0 && len(r.ACR) == 0 && r.MaxAge == 0
}

// Check returns why c may not pass, nil when it may. What no other sign-in would change
// comes first: nobody is sent to sign in once more only to be refused afterwards. c is
// nil for a caller who is not known, and is refused by any rule.
func (r Rules) Check(c *Caller, now time.Time) *Refusal {
	if r.Empty() {
		return nil
	}
	if c == nil {
		return &Refusal{Row: finding.Unauthenticated, Rule: "caller"}
	}
	for _, scope := range r.Scopes {
		if !slices.Contains(c.Scope, scope) {
			return &Refusal{Row: finding.InsufficientScope, Rule: "scopes", scopes: r.Scopes}
		}
	}
	if len(r.Groups) > 0 && !anyOf(groups(c.Identity), r.Groups) {
		return &Refusal{Row: finding.InsufficientGroups, Rule: "groups"}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Claims)) {
		if !anyOf(values(c.Identity, name), r.Claims[name]) {
			return &Refusal{Row: finding.InsufficientClaims, Rule: "claims." + name}
		}
	}
	unmet := ""
	switch {
	case len(r.ACR) > 0 && (c.Identity.ACR == "" || !slices.Contains(r.ACR, c.Identity.ACR)):
		unmet = "acr"
	case r.MaxAge != 0 && !recent(c.Identity.AuthTime, r.MaxAge, now):
		unmet = "max_age"
	default:
		return nil
	}
	// Both go along whichever is unmet: the next sign-in has to satisfy the two.
	return &Refusal{Row: finding.InsufficientAuthentication, Rule: unmet, acr: r.ACR, maxAge: r.MaxAge}
}

// recent reports whether at is known, no older than limit, and not in a future that no
// difference of clocks explains: such a sign-in would never grow old.
func recent(at time.Time, limit time.Duration, now time.Time) bool {
	age := now.Sub(at)
	return !at.IsZero() && age <= limit && age >= -ahead
}

func anyOf(have, wanted []string) bool {
	return slices.ContainsFunc(have, func(one string) bool { return slices.Contains(wanted, one) })
}

// groups reads the claim groups; nil when it is anything but a string or strings.
func groups(id rp.Identity) []string {
	return scalars(id.Claims["groups"], func(value any) (string, bool) {
		text, ok := value.(string)
		return text, ok
	})
}

// values is what a rule about a claim compares; nil when the claim is not there, is not
// verified, or holds anything but strings, numbers and booleans.
func values(id rp.Identity, claim string) []string {
	switch claim {
	case "sub":
		return known(id.Subject)
	case "iss":
		return known(id.Issuer)
	case "sid":
		return known(id.SID)
	case "acr":
		return known(id.ACR)
	case "email", "phone_number":
		if !Verified(id, claim) {
			return nil
		}
	}
	return scalars(id.Claims[claim], scalar)
}

func known(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// scalars reads a value, or the elements of a list, by read. One that read does not take
// spoils the list: what it means as a whole is not known then.
func scalars(raw json.RawMessage, read func(any) (string, bool)) []string {
	if texts, ok := quickTexts(string(raw)); ok {
		return texts
	}
	return anyScalars(raw, read)
}

func anyScalars(raw json.RawMessage, read func(any) (string, bool)) []string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var value any
	if !json.Valid(raw) || d.Decode(&value) != nil {
		return nil
	}
	list, many := value.([]any)
	if !many {
		list = []any{value}
	}
	texts := make([]string, 0, len(list))
	for _, one := range list {
		text, ok := read(one)
		if !ok {
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}

func scalar(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case json.Number:
		return value.String(), true
	case bool:
		if value {
			return "true", true
		}
		return "false", true
	}
	return "", false
}
