package config

import (
	"maps"
	"slices"
	"time"

	"genkan/internal/proxy"
)

func assignAccept(to *[]proxy.Accept, v value) refusals {
	*to = nil
	for _, kind := range v.list {
		*to = append(*to, proxy.Accept(kind))
	}
	if len(v.list) == 0 {
		return refuse("Write session, bearer or both.", "it is empty: nobody could call")
	}
	return nil
}

// assignSome takes a list that says something: an empty one would be no rule at all.
func assignSome(to *[]string, v value) refusals {
	if len(v.list) == 0 || slices.Contains(v.list, "") {
		return refuse("Write at least one value, or remove the key.", "the list, or a value in it, is empty")
	}
	*to = v.list
	return nil
}

// assignRules takes claims and the values that will do.
func assignRules(to *map[string][]string, v value) (bad refusals) {
	if len(v.lists) == 0 {
		return refuse("Write a claim and the values that will do, or remove the key.", "it names no claim")
	}
	for _, name := range slices.Sorted(maps.Keys(v.lists)) {
		if name == "" || len(v.lists[name]) == 0 || slices.Contains(v.lists[name], "") {
			bad = append(bad, refuse("List the values that will do, or remove the claim.", "%s has no value", quote(name))...)
		}
	}
	*to = v.lists
	return bad
}

// assignAge takes a max_age: 0 would mean that nobody is ever signed in freshly enough.
func assignAge(to *time.Duration, v value) refusals {
	if bad := assignPositive(to, v); bad != nil {
		return bad
	}
	return assignSeconds(to, v)
}
