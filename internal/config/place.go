package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"genkan/internal/finding"
)

// place walks a file's tree and puts every value into a layer.
type place struct {
	l      *loader
	file   string
	base   string             // providers[0].
	known  map[string]setting // by key, also by a secret's key_file
	groups map[string]bool    // keys above them: server, server.tls
}

func newPlace[T any](l *loader, file, base string, rows []row[T]) *place {
	p := &place{l, file, base, map[string]setting{}, map[string]bool{}}
	for _, r := range rows {
		p.known[r.key] = r.setting
		if r.secret {
			p.known[r.key+"_file"] = setting{key: r.key + "_file"}
		}
		for i, c := range r.key {
			if c == '.' {
				p.groups[r.key[:i]] = true
			}
		}
	}
	return p
}

func (p *place) from(line int) string { return p.file + ":" + strconv.Itoa(line) }

func (p *place) where(path string, line int) string {
	return p.base + path + " (" + p.from(line) + ")"
}

// flatten collects the values below the mapping n, which stands at path.
func (p *place) flatten(n node, path string, into layer) {
	for _, e := range n.entries {
		key := path + e.key
		s, isSetting := p.known[key]
		switch {
		case isSetting:
			p.take(s, e, into)
		case p.groups[key] && e.value.kind == scalar, p.groups[key] && e.value.kind == sequence:
			p.wrong(p.where(key, e.line), e.value, "its settings below it, indented")
		case p.groups[key] && len(e.value.entries) == 0 && p.fills(key):
			p.l.add(finding.SettingInvalid.New(p.where(key, e.line), "nothing is below it", "Write a setting below it, or remove the key."))
		case p.groups[key]:
			p.flatten(e.value, key+".", into)
		case p.base == "" && (key == "providers" || key == "upstreams"): // objects reads them
		default:
			p.l.add(finding.SettingUnknown.New(p.where(key, e.line), "Genkan has no setting of this name",
				"Write "+p.nearest(key)+", the nearest known key, or remove it."))
		}
	}
}

// fills reports whether a group has settings that must not be left empty.
func (p *place) fills(group string) bool {
	for key, s := range p.known {
		if s.filled && strings.HasPrefix(key, group+".") {
			return true
		}
	}
	return false
}

// nearest compares whole keys, and last words too, for a setting in the wrong group.
func (p *place) nearest(key string) string {
	known := slices.Concat(slices.Collect(maps.Keys(p.known)), slices.Collect(maps.Keys(p.groups)))
	if p.base == "" {
		known = append(known, "providers", "upstreams")
	}
	slices.Sort(known)
	last := func(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }
	distance := func(to string) int { return min(2*edits(key, to), 2*edits(last(key), last(to))+1) }
	return p.base + slices.MinFunc(known, func(a, b string) int { return distance(a) - distance(b) })
}

// take converts one value to the shape of its setting. What cannot be converted is
// kept as bad, so that it is not reported as missing too.
func (p *place) take(s setting, e entry, into layer) {
	v := value{where: p.where(s.key, e.line), from: p.from(e.line)}
	ok := true
	switch {
	case e.value.kind == empty && s.filled:
		p.l.add(finding.SettingInvalid.New(v.where, "it has no value", "Write one, or remove the key."))
		ok = false
	case e.value.kind == empty:
		return
	case s.shape == list && e.value.kind == sequence:
		v.list, ok = p.texts(v.where, e.value)
	case s.shape == pairs && e.value.kind == mapping:
		v.pairs = map[string]string{}
		for _, pair := range e.value.entries {
			text, read := p.text(v.where, pair.value)
			v.pairs[pair.key], ok = text, ok && read
		}
	case s.shape == lists && e.value.kind == mapping:
		v.lists = map[string][]string{}
		for _, pair := range e.value.entries {
			texts, read := p.texts(v.where, pair.value)
			v.lists[pair.key], ok = texts, ok && read
		}
	case s.shape == pairs || s.shape == lists:
		p.wrong(v.where, e.value, "names and values below it")
		ok = false
	default:
		var text string
		if text, ok = p.text(v.where, e.value); ok && text == "" && !s.filled {
			return
		}
		v = s.value(text, v.where, v.from)
	}
	v.bad = !ok
	into[s.key] = v
}

// texts reads a list, or a text with commas.
func (p *place) texts(where string, n node) (all []string, ok bool) {
	if n.kind != sequence {
		text, ok := p.text(where, n)
		return splitList(text), ok
	}
	all, ok = []string{}, true
	for _, item := range n.items {
		text, read := p.text(where, item)
		all, ok = append(all, text), ok && read
	}
	return all, ok
}

// text reads a single value and expands it.
func (p *place) text(where string, n node) (string, bool) {
	if n.kind == sequence || n.kind == mapping {
		p.wrong(where, n, "one value")
		return "", false
	}
	out, wrong := expand(n.text, p.l.lookup)
	if wrong != "" {
		p.l.add(finding.SettingInvalid.New(where, wrong, "Set the variable, or write ${NAME:-default}; $${ stands for ${ itself."))
	}
	return out, wrong == ""
}

func (p *place) wrong(where string, n node, want string) {
	p.l.add(finding.SettingInvalid.New(where, "it holds "+n.kind.String(), "Write "+want+"."))
}

// objects reads one of the lists of objects below the top of a file.
func objects[T any](p *place, root node, key string, rows []row[T]) (out []object, given bool) {
	for _, e := range root.entries {
		if e.key != key || e.value.kind == empty {
			continue
		}
		given = true
		if e.value.kind != sequence {
			p.wrong(p.where(key, e.line), e.value, "a list: each element begins with - ")
			continue
		}
		for i, item := range e.value.items {
			name := fmt.Sprintf("%s[%d]", key, i)
			below := newPlace(p.l, p.file, name+".", rows)
			o := object{base: name + ".", where: p.where(name, item.line), layers: []layer{{}}}
			if item.kind != mapping {
				p.wrong(o.where, item, "keys and values")
				continue
			}
			below.flatten(item, "", o.layers[0])
			out = append(out, o)
		}
	}
	return out, given
}
