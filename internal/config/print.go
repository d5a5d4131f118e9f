package config

import (
	"maps"
	"slices"
	"strings"
)

// Value is what one setting is and where that was written.
type Value struct {
	Key  string // server.listen, providers[0].issuer
	Text string // a secret is masked
	From string // default, file:line, environment …; "not set"
}

const masked = "[redacted]"

// printed shows an outcome. A refused value is not shown: what it holds is unknown.
func (s setting) printed(base string, o outcome) Value {
	v := Value{Key: base + s.key, From: o.from}
	switch {
	case o.refused:
		v.Text = "(refused)"
	case s.show != nil:
		v.Text = s.show(o.text)
	case s.secret && s.shape == list:
		v.Text = strings.Join(slices.Repeat([]string{masked}, len(o.list)), ", ")
	case s.secret:
		v.Text = masked
	case s.shape == list:
		v.Text = strings.Join(o.list, ", ")
	case s.shape == pairs:
		names := slices.Sorted(maps.Keys(o.pairs))
		for i, name := range names {
			names[i] = name + ": " + o.pairs[name]
		}
		v.Text = "{" + strings.Join(names, ", ") + "}"
	case s.shape == lists:
		names := slices.Sorted(maps.Keys(o.lists))
		for i, name := range names {
			names[i] = name + ": [" + strings.Join(o.lists[name], ", ") + "]"
		}
		v.Text = "{" + strings.Join(names, ", ") + "}"
	default:
		v.Text = o.text
	}
	return v
}
