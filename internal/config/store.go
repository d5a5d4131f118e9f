package config

import (
	"net/url"
	"slices"
	"strings"

	"genkan/internal/finding"
	"genkan/internal/keys"
	"genkan/internal/session/pgstore"
	"genkan/internal/session/redisstore"
)

// storeSchemes is how addresses of a store begin.
var storeSchemes = []string{
	"memory:", "sqlite:", "postgres://", "postgresql://", "redis://", "rediss://",
	"redis+cluster://", "rediss+cluster://", "redis+sentinel://", "rediss+sentinel://",
}

// assignStore takes the address of a store. No finding shows any of it: it may hold a
// password in an unexpected place.
func assignStore(to *keys.Secret, v value) refusals {
	scheme, rest, _ := strings.Cut(v.text, ":")
	address, err := v.text, error(nil)
	switch {
	case v.text == "memory:":
	case scheme == "sqlite":
		if rest == "" || strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, "//") || strings.Contains(rest, "?") {
			return storeRefused("after sqlite: there is no plain path", "Write sqlite:PATH, for example sqlite:.genkan/sessions.db.")
		}
		address = "sqlite:" + under(v.dir, rest)
	case strings.HasPrefix(v.text, "postgres://"), strings.HasPrefix(v.text, "postgresql://"):
		_, err = pgstore.Parse(v.text)
	case slices.Contains(storeSchemes, scheme+"://") && strings.HasPrefix(rest, "//"):
		_, err = redisstore.Parse(v.text)
	default:
		fix := "Write memory:, sqlite:PATH, or an address that begins with postgres:// or redis://"
		if near := Nearest(scheme+"://", storeSchemes); 2*edits(scheme+"://", near) <= len(near) {
			fix += "; the nearest is " + near
		}
		return storeRefused("it does not begin as the address of a store", fix+".")
	}
	if err != nil {
		_, text, _ := strings.Cut(err.Error(), ": ") // after the name of the package
		return storeRefused(text, "")
	}
	*to = keys.NewSecret(address)
	return nil
}

func storeRefused(detail, fix string) refusals {
	return refusals{{finding.StoreInvalid, detail, fix}}
}

// withoutPassword is an address of a store as it may be printed.
func withoutPassword(address string) string {
	scheme, rest, remote := strings.Cut(address, "://")
	if !remote {
		return address
	}
	place, parameters, _ := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(place, '@'); at >= 0 {
		user, _, hasPassword := strings.Cut(place[:at], ":")
		if hasPassword {
			user += ":***"
		}
		place = user + place[at:]
	}
	if parameters != "" {
		place += "?" + withoutPasswords(parameters)
	}
	return scheme + "://" + place
}

// withoutPasswords keeps the values of parameters but those of passwords, and nothing
// of what cannot be read.
func withoutPasswords(parameters string) string {
	list := strings.Split(parameters, "&")
	for i, one := range list {
		name, _, _ := strings.Cut(one, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil || strings.Contains(strings.ToLower(plain), "pass") {
			list[i] = name + "=***"
		}
	}
	return strings.Join(list, "&")
}
