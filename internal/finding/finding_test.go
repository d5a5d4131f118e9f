package finding_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/finding"
)

// TestRows holds the table to its form: the codes and names are a public interface.
func TestRows(t *testing.T) {
	t.Parallel()
	code, name := regexp.MustCompile(`^GK[1-5][0-9]{2}$`), regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	codes, names := map[string]bool{}, map[string]bool{}
	for _, r := range finding.Rows() {
		if !code.MatchString(r.Code) || codes[r.Code] {
			t.Errorf("code %q is malformed or used twice", r.Code)
		}
		if !name.MatchString(r.Name) || names[r.Name] {
			t.Errorf("%s: name %q is malformed or used twice", r.Code, r.Name)
		}
		codes[r.Code], names[r.Name] = true, true
		if !slices.Contains([]finding.Severity{"error", "warning", "info", "ok"}, r.Severity) {
			t.Errorf("%s: severity %q", r.Code, r.Severity)
		}
	}
	if len(codes) < 40 {
		t.Errorf("only %d rows", len(codes))
	}
}

// TestRowsHaveWords: every code says what, why and what to do, in sentences.
func TestRowsHaveWords(t *testing.T) {
	t.Parallel()
	for _, r := range finding.Rows() {
		if len(r.Title) < 10 || len(r.Title) > 80 || strings.HasSuffix(r.Title, ".") {
			t.Errorf("%s: title %q is no line of its own", r.Code, r.Title)
		}
		for what, text := range map[string]string{"cause": r.Cause, "fix": r.Fix} {
			if len(text) < 10 || !strings.HasSuffix(text, ".") || strings.TrimSpace(text) != text {
				t.Errorf("%s: %s %q is no sentence", r.Code, what, text)
			}
		}
		if r.Title == r.Cause || r.Cause == r.Fix {
			t.Errorf("%s says one thing twice", r.Code)
		}
	}
}

// TestRowStatus: only statuses that fit an error, and no answer that says all is well.
func TestRowStatus(t *testing.T) {
	t.Parallel()
	plausible := []int{0, 400, 401, 403, 404, 405, 413, 415, 421, 422, 429, 500, 502, 503, 504}
	for _, r := range finding.Rows() {
		if !slices.Contains(plausible, r.Status) {
			t.Errorf("%s has the status %d", r.Code, r.Status)
		}
		if r.Status >= 500 && r.Severity != "error" {
			t.Errorf("%s has the status %d and is a mere %s", r.Code, r.Status, r.Severity)
		}
		if r.Severity == "ok" && r.Status != 0 {
			t.Errorf("%s is sound and has the status %d", r.Code, r.Status)
		}
	}
}

// TestRowsAreAll: a row that is declared but not listed could not be explained.
func TestRowsAreAll(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared, listed []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`Row\{"(GK\d+)"`).FindAllSubmatch(source, -1) {
			declared = append(declared, string(m[1]))
		}
	}
	for _, r := range finding.Rows() {
		listed = append(listed, r.Code)
	}
	slices.Sort(declared)
	if diff := cmp.Diff(declared, listed); diff != "" {
		t.Errorf("-declared +listed, in order:\n%s", diff)
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"GK510": "GK510", "gk510": "GK510", "csrf": "GK510", "CSRF": "GK510", "host_unknown": "GK120",
		"": "", "GK": "", "GK999": "", "csr": "", " csrf": "",
	}
	for word, want := range tests {
		r, ok := finding.Lookup(word)
		if r.Code != want || ok != (want != "") {
			t.Errorf("Lookup(%q) = %q, %v; want %q", word, r.Code, ok, want)
		}
	}
}

var row = finding.Row{
	Code: "GK999", Name: "test_row", Status: 403, Severity: finding.Warning,
	Title: "The title", Cause: "The cause.", Fix: "The general fix.",
}

func TestNew(t *testing.T) {
	t.Parallel()
	want := finding.Finding{
		Code: "GK999", Severity: finding.Warning, Title: "The title", Detail: "what was seen",
		Fix: "The exact fix.", Where: "server.listen", Docs: "docs/errors.md#gk999",
	}
	if diff := cmp.Diff(want, row.New("server.listen", "what was seen", "The exact fix.")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := row.New("", "", ""); got.Fix != "The general fix." {
		t.Errorf("without an exact fix: %q", got.Fix)
	}
}

func TestFindingJSON(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		finding finding.Finding
		want    string
	}{
		"full": {
			row.New("server.listen", "seen", "Fix it."),
			`{"code":"GK999","severity":"warning","title":"The title","detail":"seen","fix":"Fix it.","where":"server.listen","docs":"docs/errors.md#gk999"}`,
		},
		"least": {
			finding.Finding{Code: "GK999", Severity: finding.OK, Title: "The title"},
			`{"code":"GK999","severity":"ok","title":"The title"}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := json.Marshal(tt.finding)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

func TestFindingsAsAnError(t *testing.T) {
	t.Parallel()
	var err error = finding.Findings{row.New("server.listen", "what was seen", ""), row.New("", "", "")}
	if want := "GK999 server.listen: what was seen\nGK999 The title"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	var found finding.Findings
	if !errors.As(err, &found) || len(found) != 2 {
		t.Errorf("got %v", found)
	}
}

func TestFailed(t *testing.T) {
	t.Parallel()
	of := func(all ...finding.Severity) (found finding.Findings) {
		for _, s := range all {
			found = append(found, finding.Finding{Severity: s})
		}
		return found
	}
	tests := map[string]struct {
		found finding.Findings
		want  bool
	}{
		"none":             {nil, false},
		"warning and less": {of(finding.Warning, finding.Info, finding.OK), false},
		"an error":         {of(finding.Error), true},
		"an error last":    {of(finding.OK, finding.Error), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.found.Failed(); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
