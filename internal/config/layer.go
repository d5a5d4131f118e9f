package config

import (
	"cmp"
	"io"
	"os"
	"slices"
	"strings"

	"genkan/internal/finding"
)

// layer is what one place says, by key; key_file for a secret's file. A key that is
// empty there is not in it.
type layer map[string]value

// object is one element of providers[] or upstreams[].
type object struct {
	base   string  // providers[0].
	where  string  // providers[0] (config/genkan.yaml:3)
	layers []layer // weakest first
}

// outcome is what became of one setting.
type outcome struct {
	value
	refused bool
}

type outcomes map[string]outcome

// where names a setting as the operator wrote it, else by key.
func (o outcomes) where(key string) string { return cmp.Or(o[key].where, key) }

// refused reports whether any of keys had a value that could not be used.
func (o outcomes) refused(keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { return o[key].refused })
}

// given reports whether somebody wrote the setting down.
func (o outcomes) given(key string) bool { return o[key].where != "" && o[key].from != fromDefault }

const (
	fromDefault     = "default"
	fromDevelopment = "development default"
	fromEnvironment = "environment"
	maxSecretFile   = 64 << 10
)

// apply gives target every setting of rows from the strongest layer that has it.
func apply[T any](l *loader, target *T, rows []row[T], from object) outcomes {
	out := outcomes{}
	for _, r := range rows {
		v, ok := l.pick(r.setting, from)
		if v.where == "" {
			l.values = append(l.values, Value{Key: from.base + r.key, From: "not set"})
			continue
		}
		v.dir = l.src.Dir
		var bad refusals
		if ok {
			if bad = r.check(v); bad == nil {
				bad = r.set(target, v)
			}
			for _, b := range bad {
				l.found = append(l.found, b.finding(v.where))
			}
		}
		o := outcome{value: v, refused: !ok || bad != nil}
		out[r.key] = o
		l.values = append(l.values, r.printed(from.base, o))
	}
	return out
}

// pick finds the value of s. It is not ok when something was written that cannot be
// read; where is empty when nothing was.
func (l *loader) pick(s setting, from object) (v value, ok bool) {
	for _, in := range slices.Backward(from.layers) {
		plain, here := in[s.key]
		file, there := in[s.key+"_file"]
		there = there && s.secret
		switch {
		case here && there:
			l.add(finding.SettingInvalid.New(plain.where, "it is given beside "+file.where, "Remove one of the two."))
			return plain, false
		case there && file.bad:
			return file, false
		case there:
			return l.readSecret(s, file)
		case here:
			return plain, !plain.bad
		}
	}
	if s.def == "" {
		return value{}, false
	}
	return s.value(s.def, from.base+s.key, fromDefault), true
}

// readSecret reads the file that a secret's _file names. The line break that editors
// put at the end is no part of the secret.
func (l *loader) readSecret(s setting, file value) (value, bool) {
	path := under(l.src.Dir, file.text)
	v := value{where: file.where, from: file.from + ", file " + file.text}
	data, err := readBounded(path, maxSecretFile)
	content := strings.TrimRight(string(data), "\r\n")
	switch {
	case err != nil:
		l.add(finding.SettingUnread.New(file.where, quote(file.text)+": "+reason(err), ""))
		return v, false
	case strings.TrimSpace(content) == "":
		l.add(finding.SettingUnread.New(file.where, quote(file.text)+" is empty", "Put the secret into it."))
		return v, false
	case s.shape == list:
		v.list = splitList(strings.NewReplacer("\r", ",", "\n", ",").Replace(content))
	default:
		v.text = content
	}
	return v, true
}

// readBounded reads a file of at most limit bytes; it is an error for it to be larger.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errTooLarge
	}
	return data, err
}
