package app_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowed is the direction rule of docs/architecture.md: which of our packages a
// package may import. A new edge is an edit here, seen in review.
var allowed = map[string][]string{
	"internal/finding":             {},
	"internal/keys":                {},
	"internal/origin":              {"internal/finding"},
	"internal/telemetry":           {"internal/finding"},
	"internal/rp":                  {"internal/keys"},
	"internal/session":             {"internal/finding", "internal/keys", "internal/origin", "internal/rp"},
	"internal/session/sqlitestore": {"internal/session"},
	"internal/session/pgstore":     {"internal/session"},
	"internal/session/redisstore":  {"internal/session"},
	"internal/session/storetest":   {"internal/session"},
	"internal/access":              {"internal/finding", "internal/keys", "internal/rp", "internal/session"},
	"internal/credential":          {"internal/access", "internal/keys", "internal/rp", "internal/session"},
	"internal/proxy":               {"internal/access", "internal/credential", "internal/finding", "internal/keys", "internal/origin", "internal/rp", "internal/session", "internal/telemetry"},
	"internal/server":              {"internal/access", "internal/finding", "internal/keys", "internal/origin", "internal/rp", "internal/session", "internal/telemetry"},
	"internal/config": {"internal/access", "internal/finding", "internal/keys", "internal/origin", "internal/proxy", "internal/rp",
		"internal/session/pgstore", "internal/session/redisstore"},
	"internal/app": {"frontend", "internal/access", "internal/config", "internal/credential", "internal/finding", "internal/keys", "internal/origin", "internal/proxy", "internal/rp",
		"internal/server", "internal/session", "internal/session/pgstore", "internal/session/redisstore", "internal/session/sqlitestore", "internal/telemetry"},
	"internal/bench":   {"internal/backing", "internal/keys", "internal/origin", "internal/rp", "internal/session", "internal/session/pgstore", "internal/session/redisstore", "internal/session/sqlitestore"}, // never linked into genkan
	"internal/backing": {},                                                                                                                                                                                     // for tests
	"internal/devidp":  {},
	"frontend":         {},
	"cmd/genkan":       {"internal/app", "internal/config", "internal/finding", "internal/keys", "internal/origin", "internal/telemetry"},
	"cmd/devidp":       {"internal/devidp"},
}

// owners are the only packages that may import a library, so that replacing it is
// the change of one folder.
var owners = map[string][]string{
	"github.com/gin-gonic/gin":        {"internal/server"},
	"github.com/coreos/go-oidc":       {"internal/rp"},
	"golang.org/x/oauth2":             {"internal/rp"},
	"github.com/gorilla/sessions":     {"internal/session"},
	"github.com/rs/cors":              {"internal/origin"},
	"github.com/go-jose/go-jose":      {"internal/keys", "internal/rp", "internal/devidp"},
	"github.com/jackc/pgx":            {"internal/session/pgstore"},
	"github.com/maypok86/otter":       {"internal/access", "internal/credential", "internal/session"},
	"github.com/prometheus":           {"internal/telemetry"},
	"github.com/coder/websocket":      {"internal/bench", "internal/devidp"}, // and tests
	"github.com/redis/rueidis":        {"internal/session/redisstore"},
	"modernc.org/sqlite":              {"internal/session/sqlitestore"},
	"github.com/goccy/go-yaml":        {"internal/config"},
	"github.com/spf13/cobra":          {"cmd/genkan"},
	"html/template":                   {"internal/devidp"},
	"text/template":                   {},
	"golang.org/x/net/html":           {"internal/server"},
	"golang.org/x/net/publicsuffix":   {"internal/origin"},
	"github.com/rogpeppe/go-internal": {},
}

func TestImportsPointToSimplerNouns(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for file, imports := range productImports(t) {
		pkg := path.Dir(file)
		seen[pkg] = true
		may, known := allowed[pkg]
		if !known {
			t.Errorf("%s: package %s is not in the table", file, pkg)
		}
		for _, imported := range imports {
			if ours, ok := strings.CutPrefix(imported, "genkan/"); ok && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s, which the direction rule does not allow", file, ours)
			}
			for library, by := range owners {
				if (imported == library || strings.HasPrefix(imported, library+"/")) && !slices.Contains(by, pkg) {
					t.Errorf("%s imports %s, which belongs to %v", file, imported, by)
				}
			}
		}
	}
	for pkg := range allowed {
		if !seen[pkg] {
			t.Errorf("the table names %s, which has no Go file", pkg)
		}
	}
}

func TestOnlyConfigAndCommandsReadTheEnvironment(t *testing.T) {
	t.Parallel()
	root := os.DirFS("../..")
	for file := range productImports(t) {
		if strings.HasPrefix(file, "internal/backing/") { // a part of tests
			continue
		}
		source, err := fs.ReadFile(root, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{"os.Getenv(", "os.LookupEnv(", "os.Environ("} {
			if strings.Contains(string(source), call) && !strings.HasPrefix(file, "cmd/") && !strings.HasPrefix(file, "internal/config/") {
				t.Errorf("%s calls %s", file, call)
			}
		}
	}
}

// productImports lists the imports of every Go file that is no test. It reads the
// files themselves: the go command would answer from its cache.
func productImports(t *testing.T) map[string][]string {
	t.Helper()
	root := os.DirFS("../..")
	found := map[string][]string{}
	for _, top := range []string{"cmd", "internal", "frontend"} {
		err := fs.WalkDir(root, top, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() && entry.Name() == "node_modules" {
				return cmpErr(err, fs.SkipDir)
			}
			if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return nil
			}
			source, err := fs.ReadFile(root, name)
			if err != nil {
				return err
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
			if err != nil {
				return err
			}
			found[name] = []string{}
			for _, spec := range parsed.Imports {
				imported, _ := strconv.Unquote(spec.Path.Value)
				found[name] = append(found[name], imported)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
