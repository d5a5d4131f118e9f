package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"genkan/internal/finding"
)

// orderly fails when findings cannot be shown: each needs a code, a title and a fix.
func orderly(t *testing.T, found finding.Findings) {
	t.Helper()
	for _, f := range found {
		if f.Code == "" || f.Title == "" || f.Fix == "" {
			t.Errorf("incomplete finding %+v", f)
		}
	}
}

// FuzzYAML gives any bytes as a settings file: an answer, no panic, and never a secret
// from the environment in it.
func FuzzYAML(f *testing.F) {
	for _, seed := range []string{
		everything, "a: [b, {c: d}]", "? {a: b}\n: c", "a: &x [*x]", "<<: *a", "!!binary a", "- - - - -", "a: |\n  b\n", "\ufeffa: 'b'", "%YAML 1.2\n---\na: b\n...",
		"spa: {dir: ${CANARY}}", "spa: {origins: '${CANARY}'}", "server: {listen: \"${CANARY:-x}\"}", "providers: [{id: ${}}]", "{{{{{{", "session: {keys: [\"\x00\"]}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "f"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		src := Sources{Dir: dir, Files: []string{"f"}, Environ: append([]string{"GENKAN_ADMIN_TOKEN=canary-canary-canary"}, sound...)}
		c, found := Load(src)
		orderly(t, found)
		if (c == nil) != found.Failed() {
			t.Errorf("config %v with findings %v", c != nil, found)
		}
		served(t, c)
		values, _ := Effective(src)
		for _, v := range values {
			if strings.Contains(v.Text, "canary") {
				t.Errorf("%s shows a secret", v.Key)
			}
		}
	})
}

// FuzzDotenv gives any bytes as a .env file. Names are names, and what is quoted by
// the rules comes back.
func FuzzDotenv(f *testing.F) {
	for _, seed := range []string{"A=b", "export A='b' # c", `A="b\n\"c" # d`, "A=b#c #d", "=b", "A", "\ufeffA=b\r\nB=", "A='", `A="\`, "GENKAN_LISTEN=a\nGENKAN_LISTEN=b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		vars, found := parseDotenv(".env", data)
		orderly(t, found)
		for name, v := range vars {
			if !nameForm.MatchString(name) || v.where == "" {
				t.Errorf("variable %q at %q", name, v.where)
			}
		}
		text := strings.NewReplacer("\n", "", "\r", "", "'", "").Replace(string(data))
		back, found := parseDotenv(".env", []byte("A='"+text+"' # comment\n"))
		if len(found) > 0 || back["A"].text != text {
			t.Errorf("%q came back as %q: %v", text, back["A"].text, found)
		}
	})
}

// FuzzList: an element never holds a comma or a blank around it, and joining them
// changes nothing.
func FuzzList(f *testing.F) {
	for _, seed := range []string{"", "a", "a,b", " a , b ,", ",,", "a b,c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list := splitList(text)
		for _, element := range list {
			if element == "" || strings.Contains(element, ",") || strings.TrimSpace(element) != element {
				t.Errorf("%q has the element %q", text, element)
			}
		}
		if again := splitList(strings.Join(list, ",")); strings.Join(again, ",") != strings.Join(list, ",") {
			t.Errorf("%q: %q, then %q", text, list, again)
		}
	})
}

// FuzzExpand: text without ${ is kept byte for byte, and values are put in unread.
func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"$", "$$", "${A}", "${A:-b}", "$${A}", "${", "${A:-${B}}", "$$${A}", "}{$"} {
		f.Add(seed, "v${A}$$")
	}
	f.Fuzz(func(t *testing.T, text, held string) {
		if plain := strings.ReplaceAll(text, "${", "{"); !strings.Contains(plain, "${") {
			if out, wrong := expand(plain, nil); out != plain || wrong != "" {
				t.Errorf("%q became %q %s", plain, out, wrong)
			}
		}
		out, wrong := expand("<${A}>", func(string) (string, bool) { return held, true })
		if out != "<"+held+">" || wrong != "" {
			t.Errorf("%q came in as %q %s", held, out, wrong)
		}
		if _, wrong := expand(text, func(string) (string, bool) { return "canary", true }); strings.Contains(wrong, "canary") {
			t.Errorf("%q: %s", text, wrong)
		}
	})
}

func TestDotenvForms(t *testing.T) {
	t.Parallel()
	file := "\ufeff# a comment\n\nPLAIN=a b\nEXPORTED=1\nexport  SPACED = x \nEMPTY=\nHASH=a#b # c\nONLY= # c\nSINGLE='a # \"b\" \\n' # c\n" +
		`DOUBLE="a # \"b\"\n\\\$c"` + "\r\nDOLLAR=$HOME/${X}\n"
	vars, found := parseDotenv(".env", []byte(file))
	if len(found) > 0 {
		t.Fatal(found)
	}
	want := map[string]string{
		"PLAIN": "a b", "EXPORTED": "1", "SPACED": "x", "EMPTY": "", "HASH": "a#b", "ONLY": "", "SINGLE": `a # "b" \n`,
		"DOUBLE": "a # \"b\"\n\\$c", "DOLLAR": "$HOME/${X}",
	}
	if len(vars) != len(want) {
		t.Errorf("%d variables, want %d", len(vars), len(want))
	}
	for name, text := range want {
		if vars[name].text != text {
			t.Errorf("%s is %q, want %q", name, vars[name].text, text)
		}
	}
}

func TestExpandForms(t *testing.T) {
	t.Parallel()
	lookup := func(name string) (string, bool) {
		text, ok := map[string]string{"A": "1", "EMPTY": "", "NESTED": "${A}"}[name]
		return text, ok
	}
	for _, test := range []struct{ in, out, wrong string }{
		{"x${A}y${A}", "x1y1", ""},
		{"${EMPTY}", "", ""},
		{"${EMPTY:-d}", "d", ""},
		{"${NO:-}", "", ""},
		{"${NO:-a:b-c d}", "a:b-c d", ""},
		{"${A:-d}", "1", ""},
		{"${NESTED}", "${A}", ""},
		{"$A $$ $", "$A $$ $", ""},
		{"$${A} ${A}", "${A} 1", ""},
		{"${NO}", "", "it uses ${NO}, and there is no NO in the environment"},
		{"${A", "", "it has a ${ that is not ${NAME} or ${NAME:-default}"},
		{"${1A}", "", "it has a ${ that is not ${NAME} or ${NAME:-default}"},
	} {
		if out, wrong := expand(test.in, lookup); out != test.out || wrong != test.wrong {
			t.Errorf("%s: got %q %q, want %q %q", test.in, out, wrong, test.out, test.wrong)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"server.listen", "session.keys", "log.level"}
	for word, want := range map[string]string{"server.lisen": "server.listen", "LOG.LEVEL": "log.level", "session_key": "session.keys", strings.Repeat("x", 9000): "server.listen"} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%.20s: got %s, want %s", word, got, want)
		}
	}
	if got := Nearest("x", nil); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}
