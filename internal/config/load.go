package config

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"genkan/internal/finding"
	"genkan/internal/keys"
)

// Sources says where settings are read from.
type Sources struct {
	Files   []string // YAML files, later wins; none: config/genkan.yaml if it exists
	EnvFile string   // must exist; "": .env if it exists
	Environ []string // as os.Environ returns it
	Dir     string   // what relative paths are relative to; "": the working folder
	// Development adds the defaults of `genkan dev`: a provider, an app and an
	// upstream on this machine, and a key that is made once and kept in .genkan.
	Development bool
}

const (
	defaultFile    = "config/genkan.yaml"
	defaultEnvFile = ".env"
)

// Load reads and checks every setting. All problems are reported at once; if any of
// them is an error, the Config is nil. Warnings come with a Config.
func Load(src Sources) (*Config, finding.Findings) {
	l := &loader{src: src}
	c := l.config()
	if l.found.Failed() {
		return nil, l.found
	}
	return c, l.found
}

// Effective returns what every setting is and where that was written, in the order
// of the documentation, also when Load would fail.
func Effective(src Sources) ([]Value, finding.Findings) {
	l := &loader{src: src}
	l.config()
	return l.values, l.found
}

// SessionKeys reads session.keys alone, for rotation: problems of other settings do
// not count. It makes no key, not in development either.
func SessionKeys(src Sources) ([]keys.Secret, finding.Findings) {
	l := &loader{src: src}
	c := &Config{}
	l.checkKeys(c, l.only(c, "session.keys"))
	return c.Session.Keys, l.found
}

// Administration reads server.admin_listen and server.admin_token alone, for a command
// that talks to a running Genkan: problems of other settings do not count.
func Administration(src Sources) (Server, finding.Findings) {
	l := &loader{src: src}
	c := &Config{}
	l.only(c, "server.admin_listen", "server.admin_token")
	return c.Server, l.found
}

// only gives c the named settings and forgets what was found wrong with others.
func (l *loader) only(c *Config, names ...string) outcomes {
	l.read()
	rows := slices.DeleteFunc(slices.Clone(settings), func(r row[Config]) bool { return !slices.Contains(names, r.key) })
	l.found = slices.DeleteFunc(l.found, func(f finding.Finding) bool {
		ours := slices.ContainsFunc(rows, func(r row[Config]) bool {
			return strings.HasPrefix(f.Where, r.key) || strings.HasPrefix(f.Where, r.env)
		})
		return !ours && f.Code != finding.SettingUnread.Code
	})
	if l.src.Development {
		l.developmentKeys(false)
	}
	return apply(l, c, rows, object{layers: l.layers})
}

// loader is the state of one Load.
type loader struct {
	src    Sources
	found  finding.Findings
	lookup func(name string) (string, bool) // for ${NAME}
	layers []layer                          // of settings, weakest first
	oidc   []layer                          // of the first provider
	// providers and upstreams are those of the last file that has the list.
	providers, upstreams []object
	values               []Value
}

func (l *loader) add(found ...finding.Finding) { l.found = append(l.found, found...) }

// warn adds a finding that does not keep the program from starting.
func (l *loader) warn(f finding.Finding) {
	f.Severity = finding.Warning
	l.add(f)
}

// reported says that a file could not be read, or that something at key was refused:
// then what seems to be missing may be there.
func (l *loader) reported(key string) bool {
	return slices.ContainsFunc(l.found, func(f finding.Finding) bool {
		return f.Code == finding.SettingUnread.Code || strings.HasPrefix(f.Where, key)
	})
}

func (l *loader) config() *Config {
	l.read()
	if l.src.Development {
		l.developmentDefaults()
	}
	c := &Config{}
	top := apply(l, c, settings, object{layers: l.layers})
	l.checkKeys(c, top)
	if top["session.keys"].from != fromEnvironment {
		c.Session.ReadKeys = func() ([]keys.Secret, finding.Findings) { return SessionKeys(l.src) }
	}
	l.check(c, top)
	l.loadProviders(c)
	l.loadUpstreams(c)
	l.checkOrigins(c, top)
	return c
}

// read fills the layers from every source.
func (l *loader) read() {
	dotenv := map[string]variable{}
	if data, name, ok := l.file(l.src.EnvFile, defaultEnvFile); ok {
		var found finding.Findings
		dotenv, found = parseDotenv(name, data)
		l.add(found...)
	}
	environ := variables(l.src.Environ)
	l.lookup = func(name string) (string, bool) {
		for _, vars := range []map[string]variable{environ, dotenv} {
			if v, ok := vars[name]; ok {
				return v.text, true
			}
		}
		return "", false
	}
	files := l.src.Files
	if len(files) == 0 {
		files = []string{""}
	}
	for _, name := range files {
		l.readFile(name)
	}
	for _, vars := range []map[string]variable{dotenv, environ} {
		top, oidc := l.environment(vars)
		l.layers, l.oidc = append(l.layers, top), append(l.oidc, oidc)
	}
}

// readFile adds a YAML file; "" is the usual one.
func (l *loader) readFile(name string) {
	data, name, ok := l.file(name, defaultFile)
	if !ok {
		return
	}
	root, found := readYAML(name, data)
	if l.add(found...); len(found) > 0 {
		return
	}
	p := newPlace(l, name, "", settings)
	if root.kind == scalar || root.kind == sequence {
		p.wrong(p.from(root.line), root, "keys and values")
		return
	}
	top := layer{}
	p.flatten(root, "", top)
	l.layers = append(l.layers, top)
	if list, given := objects(p, root, "providers", providerRows); given {
		l.providers = list
	}
	if list, given := objects(p, root, "upstreams", upstreamRows); given {
		l.upstreams = list
	}
}

// file reads name, or the usual file, which need not exist.
func (l *loader) file(name, usual string) (data []byte, shown string, ok bool) {
	shown = name
	if name == "" {
		shown = usual
	}
	data, err := readBounded(under(l.src.Dir, shown), maxFile)
	if err != nil && !(name == "" && errors.Is(err, fs.ErrNotExist)) {
		l.add(finding.SettingUnread.New(shown, reason(err), ""))
	}
	return data, shown, err == nil
}
