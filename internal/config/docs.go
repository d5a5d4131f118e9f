package config

import (
	"fmt"
	"strings"
)

// In these texts ´ stands for the backquote.
const docsIntro = `# Configuration

<!-- Generated from internal/config; change it there and run: go test ./internal/config -update -->

Later wins: defaults, what a provider's ´preset´ knows, YAML files, the file ´.env´, the environment.

- **YAML**: ´--config FILE´, as often as needed; without it ´config/genkan.yaml´, if it exists. A later file replaces
  single settings of an earlier one, and the lists ´providers´ and ´upstreams´ as a whole. A value can hold ´${NAME}´ or
  ´${NAME:-default}´ from the environment or ´.env´; a name that is not set and has no default is an error. ´$${´ stands
  for ´${´ itself. Anchors, aliases and tags are refused. Where a list is wanted, one text with commas is a list too.
- **.env**: ´--env-file FILE´, else ´.env´, if it exists. Lines ´NAME=value´; single and double quotes; ´#´ comments;
  nothing is expanded.
- **Environment**: a list is comma-separated. An empty variable is one that is not set.
- **Secrets**: every secret ´x´ can be read from a file instead: ´x_file´ in YAML, ´NAME_FILE´ in the environment. A line
  break at its end is cut, and a list has one element a line. ´x´ and ´x_file´ in one place are an error.
- **Relative paths** are relative to the folder in which Genkan was started.
- **Durations** are numbers and units (´90s´, ´30m´, ´1h30m´), sizes too (´512KiB´, ´10MiB´).

Unknown keys are errors, and so are unknown variables whose names begin with ´GENKAN_´ (but not those that Kubernetes and
Docker set for a service of that name). ´genkan config check´ shows all problems at once, ´genkan config print´ what is in
effect and where it was written, ´genkan config schema´ a JSON Schema for editors.

Genkan reads settings and certificates when it starts. Session keys that stand in a file (´session.keys_file´, a YAML
file, ´.env´) are read again when the file changes, within ten seconds, or at once on SIGHUP. A list with anything wrong
in it is logged, and the old keys stay. The new first key opens at once and seals five minutes later, so that every
replica knows it by then; ´genkan keys rotate -h´ says how to rotate.

´genkan dev´ presumes, where nothing else is set: the app at ´http://localhost:5173´, a key kept in
´.genkan/session.key´, the development provider ´http://127.0.0.1:9000´, and the upstream ´/api/demo/´ at
´http://127.0.0.1:9100/´. It refuses public URLs that are not on this machine. With ´--dev´, ´genkan config check´ and
´genkan config print´ presume the same.

## Settings

`

const docsProviders = `
## providers[]

A list; the first is the default provider. The variables count for the first one, and make it if there is none.

`

const docsUpstreams = `
## upstreams[]

A list of services behind Genkan.

`

// markdown is docs/configuration.md.
func markdown() string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(docsIntro, "´", "`"))
	table(&b, settings)
	b.WriteString(docsProviders)
	table(&b, providerRows)
	b.WriteString(docsUpstreams)
	table(&b, upstreamRows)
	return b.String()
}

func table[T any](b *strings.Builder, rows []row[T]) {
	b.WriteString("| key | environment | default | meaning |\n| --- | --- | --- | --- |\n")
	for _, r := range rows {
		env, def := "–", "not set"
		if r.env != "" {
			env = "`" + r.env + "`"
		}
		switch {
		case r.def != "" && r.shape == list:
			def = "`" + strings.ReplaceAll(r.def, ",", ", ") + "`"
		case r.def != "":
			def = "`" + r.def + "`"
		case r.required:
			def = "required"
		}
		meaning := r.meaning()
		if r.secret {
			meaning += " Secret."
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", r.key, env, def, strings.ReplaceAll(meaning, "|", `\|`))
	}
}

// meaning is the documentation with the values there are and an example.
func (s setting) meaning() string {
	out := s.doc
	if len(s.oneOf) > 0 {
		out += " One of `" + strings.Join(s.oneOf, "`, `") + "`."
	}
	if s.example != "" {
		out += " Example: `" + s.example + "`"
	}
	return out
}

const envIntro = `# Settings of Genkan. Copy this file to .env and fill in what you need.
# Generated from internal/config; docs/configuration.md has all settings. A line that begins with # shows the default.
# Every secret NAME can be read from a file instead: NAME_FILE=path
`

// envExample is .env.example: every variable there is.
func envExample() string {
	var b strings.Builder
	b.WriteString(envIntro)
	for _, r := range settings {
		r.envLines(&b)
	}
	b.WriteString("\n# One provider can be given here alone; more are listed in config/genkan.yaml.\n")
	for _, r := range providerRows {
		r.envLines(&b)
	}
	return b.String()
}

// envLines leaves what must be filled in open, and everything else commented out.
func (s setting) envLines(b *strings.Builder) {
	if s.env == "" {
		return
	}
	mark := "#"
	if s.required || s.key == "client_secret" {
		mark = ""
	}
	fmt.Fprintf(b, "\n# %s: %s\n%s%s=%s\n", s.key, strings.ReplaceAll(s.meaning(), "`", ""), mark, s.env, s.def)
}
