package finding

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/errors.md")

const errorsPage = "../../docs/errors.md"

func TestTheErrorsPageIsFresh(t *testing.T) {
	t.Parallel()
	want := page()
	if *update {
		if err := os.WriteFile(errorsPage, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(errorsPage)
	if err != nil || string(got) != want {
		t.Errorf("docs/errors.md differs from the table (%v); run: go test ./internal/finding -update", err)
	}
}

// page is the table as docs/errors.md shows it.
func page() string {
	var b strings.Builder
	b.WriteString("# Error codes\n\nGenerated from `internal/finding`; `genkan explain CODE` prints the same. " +
		"A problem answer (RFC 9457) carries the name as `code`.\n")
	for _, r := range Rows() {
		fmt.Fprintf(&b, "\n## %s\n\n**%s** (`%s`, %s", r.Code, r.Title, r.Name, r.Severity)
		if r.Status != 0 {
			fmt.Fprintf(&b, ", HTTP %d", r.Status)
		}
		fmt.Fprintf(&b, ")\n\n%s\n\nFix: %s\n", r.Cause, r.Fix)
	}
	return b.String()
}
