package config

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"genkan/internal/finding"
)

// variable is one NAME=value and where it stands.
type variable struct{ text, where, from string }

// variables reads what os.Environ returns. Of two equal names the later counts, as
// it does for os.Getenv's callers.
func variables(environ []string) map[string]variable {
	vars := map[string]variable{}
	for _, line := range environ {
		if name, text, ok := strings.Cut(line, "="); ok && name != "" {
			vars[name] = variable{text, name, fromEnvironment}
		}
	}
	return vars
}

// serviceLink are the variables that Kubernetes and Docker set for a service whose
// name begins with genkan. Nobody wrote them, so they are no misspelt settings.
var serviceLink = regexp.MustCompile(`^GENKAN_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// linked reports a service link. GENKAN_PORT is one when it holds a URL; with a
// number it is somebody's mistake.
func linked(name, text string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(text, "://")
}

// envKey is the setting an environment variable sets.
type envKey struct {
	setting setting
	key     string // of the setting, or its _file
	oidc    bool   // of the first provider
}

func envKeys() map[string]envKey {
	known := map[string]envKey{}
	add := func(s setting, oidc bool) {
		if s.env == "" {
			return
		}
		known[s.env] = envKey{s, s.key, oidc}
		if s.secret {
			known[s.env+"_FILE"] = envKey{setting{}, s.key + "_file", oidc}
		}
	}
	for _, r := range settings {
		add(r.setting, false)
	}
	for _, r := range providerRows {
		add(r.setting, true)
	}
	return known
}

// environment makes a layer of settings and one of the first provider.
func (l *loader) environment(vars map[string]variable) (top, oidc layer) {
	known := envKeys()
	top, oidc = layer{}, layer{}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		v := vars[name]
		if !strings.HasPrefix(name, "GENKAN_") || linked(name, v.text) {
			continue
		}
		k, ok := known[name]
		switch {
		case !ok:
			nearest := Nearest(name, slices.Sorted(maps.Keys(known)))
			l.add(finding.SettingUnknown.New(v.where, "Genkan has no setting of this name", "Write "+nearest+", the nearest known name, or remove it."))
		case v.text == "":
		case k.oidc:
			oidc[k.key] = k.setting.value(v.text, v.where, v.from)
		default:
			top[k.key] = k.setting.value(v.text, v.where, v.from)
		}
	}
	return top, oidc
}

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// parseDotenv reads a .env file: NAME=value lines, # comments, `export ` before a
// name. 'Single quotes' keep everything; "double quotes" know \n, \t, \", \\ and \$;
// without quotes a # after white space begins a comment. Nothing is expanded. A
// finding never shows a value.
func parseDotenv(file string, data []byte) (map[string]variable, finding.Findings) {
	vars := map[string]variable{}
	var found finding.Findings
	lines := strings.Split(strings.TrimPrefix(string(data), "\ufeff"), "\n")
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		place := file + ":" + strconv.Itoa(i+1)
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name = strings.TrimSpace(name)
		if !ok || !nameForm.MatchString(name) {
			found = append(found, finding.SettingUnread.New(place, "this line is not NAME=value", "Write NAME=value, or # before a comment."))
			continue
		}
		text, ok := unquote(strings.TrimSpace(rest))
		if !ok {
			found = append(found, finding.SettingUnread.New(place, "the value of "+name+" has a quote that does not end, or something after it", "Close the quote at the end of the line."))
			continue
		}
		if before, twice := vars[name]; twice && strings.HasPrefix(name, "GENKAN_") {
			found = append(found, finding.SettingInvalid.New(name+" ("+place+")", "it is set at "+before.from+" already", "Remove one of the two."))
			continue
		}
		vars[name] = variable{text, name + " (" + place + ")", place}
	}
	return vars, found
}

var (
	inlineComment = regexp.MustCompile(`(^|\s)#.*$`)
	afterQuote    = regexp.MustCompile(`^\s*(#.*)?$`)
	doubleQuoted  = regexp.MustCompile(`^"((?:[^"\\]|\\.)*)"`)
	escapes       = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\"`, `"`, `\\`, `\`, `\$`, "$")
)

// unquote reads the value part of a .env line.
func unquote(text string) (string, bool) {
	if strings.HasPrefix(text, "'") {
		inner, after, closed := strings.Cut(text[1:], "'")
		return inner, closed && afterQuote.MatchString(after)
	}
	if strings.HasPrefix(text, `"`) {
		m := doubleQuoted.FindStringSubmatch(text)
		if m == nil {
			return "", false
		}
		return escapes.Replace(m[1]), afterQuote.MatchString(text[len(m[0]):])
	}
	return strings.TrimSpace(inlineComment.ReplaceAllString(text, "")), true
}

var reference = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

// expand replaces ${NAME} and ${NAME:-default} in a text of a YAML file; $${ stands
// for ${ itself. What was put in is not expanded again. wrong says what is the
// matter, and names no value.
func expand(text string, lookup func(string) (string, bool)) (out, wrong string) {
	var b strings.Builder
	for {
		before, after, more := strings.Cut(text, "${")
		b.WriteString(before)
		if !more {
			return b.String(), ""
		}
		if strings.HasSuffix(before, "$") { // $${: one $ is there, the brace comes as it is
			b.WriteString("{")
			text = after
			continue
		}
		m := reference.FindStringSubmatch("${" + after)
		if m == nil {
			return "", "it has a ${ that is not ${NAME} or ${NAME:-default}"
		}
		found, ok := lookup(m[1])
		if m[2] != "" && found == "" {
			found, ok = m[3], true
		}
		if !ok {
			return "", "it uses ${" + m[1] + "}, and there is no " + m[1] + " in the environment"
		}
		b.WriteString(found)
		text = after[len(m[0])-len("${"):]
	}
}
