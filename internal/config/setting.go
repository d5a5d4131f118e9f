package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"genkan/internal/finding"
)

// shape is how a value is written.
type shape int

const (
	text shape = iota
	boolean
	duration
	size
	number
	list  // in the environment comma-separated
	pairs // name to value; YAML only
	lists // name to several values; YAML only
)

// setting declares one setting: everything that is printed, generated or looked up
// comes from here.
type setting struct {
	key      string // below its object: server.listen, or issuer for a provider
	env      string // "": YAML only
	shape    shape
	def      string                   // as it would be written, a list comma-separated; "": none
	oneOf    []string                 // the values it may have; all values if empty
	secret   bool                     // never printed; key_file and env_FILE read it from a file
	lines    bool                     // it may have several lines
	show     func(text string) string // what of a secret may be printed; nil: nothing
	required bool
	filled   bool // written without a value it is an error: a rule left empty would open a door
	example  string
	doc      string
}

// row is a setting of T and how its value gets there.
type row[T any] struct {
	setting
	set func(*T, value) refusals
}

// value is what one place says of one setting.
type value struct {
	text  string
	list  []string
	pairs map[string]string
	lists map[string][]string
	where string // the key as the operator wrote it, with its place
	from  string // default, file:line or environment
	dir   string // what relative paths are relative to
	bad   bool   // it cannot be used, and that has been reported
}

// refusal is why a value cannot be used. The zero row stands for SettingInvalid.
type refusal struct {
	row         finding.Row
	detail, fix string
}

type refusals []refusal

// refuse is the usual outcome of a value that is malformed.
func refuse(fix, format string, args ...any) refusals {
	return refusals{{detail: fmt.Sprintf(format, args...), fix: fix}}
}

func (r refusal) finding(where string) finding.Finding {
	row := r.row
	if row.Code == "" {
		row = finding.SettingInvalid
	}
	return row.New(where, r.detail, r.fix)
}

// elements are the single texts of a value, whatever its shape.
func (v value) elements() []string {
	all := slices.Clone(v.list)
	if v.text != "" {
		all = append(all, v.text)
	}
	for name, text := range v.pairs {
		all = append(all, name, text)
	}
	for name, texts := range v.lists {
		all = append(append(all, name), texts...)
	}
	return all
}

// check holds v to what every setting promises, before it is parsed.
func (s setting) check(v value) refusals {
	for _, text := range v.elements() {
		switch {
		case strings.ContainsFunc(text, func(r rune) bool { return (r < ' ' || r == 0x7f) && !(s.lines && (r == '\n' || r == '\r')) }):
			return refuse("Remove it.", "it holds a line break or another control character")
		case !s.secret && len(s.oneOf) > 0 && !slices.Contains(s.oneOf, text):
			fix := "Write " + alternatives(s.oneOf)
			if near := Nearest(text, s.oneOf); 2*edits(text, near) <= len(text) { // else it is no misspelling of it
				fix += "; the nearest is " + near
			}
			return refuse(fix+".", "%s is not a value of this setting", quote(text))
		}
	}
	return nil
}

// value makes the value of a text that stands in the environment or in a default.
func (s setting) value(text, where, from string) value {
	v := value{where: where, from: from}
	if s.shape == list {
		v.list = splitList(text)
	} else {
		v.text = text
	}
	return v
}

// splitList reads a comma-separated list. Empty elements, as after a comma at the
// end, are no elements.
func splitList(text string) []string {
	out := []string{}
	for element := range strings.SplitSeq(text, ",") {
		if element = strings.TrimSpace(element); element != "" {
			out = append(out, element)
		}
	}
	return out
}

// quote shows a value that is not secret, cut to a length that fits a line.
func quote(text string) string {
	const most = 80
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return fmt.Sprintf("%q", text)
}

func alternatives(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// Nearest returns the word of known that takes the fewest edits to reach from word,
// the first of equals; "" if known is empty.
func Nearest(word string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	return slices.MinFunc(known, func(a, b string) int { return cmp.Compare(edits(word, a), edits(word, b)) })
}

// edits is the Levenshtein distance of a and b without regard to case. What lies
// beyond 64 bytes cannot make a better hint and is not looked at.
func edits(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	line := make([]int, len(b)+1)
	for j := range line {
		line[j] = j
	}
	for i := range len(a) {
		diagonal := line[0]
		line[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = line[j+1]
			line[j+1] = min(change, line[j]+1, line[j+1]+1)
		}
	}
	return line[len(b)]
}
