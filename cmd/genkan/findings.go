package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"genkan/internal/finding"
)

// printFindings writes findings for people: what and where, what was seen, what to
// do. Settings come from files that others may have written: control characters in
// them do not reach the terminal.
func printFindings(w io.Writer, found finding.Findings) {
	var b strings.Builder
	count := map[finding.Severity]int{}
	for _, f := range found {
		count[f.Severity]++
		fmt.Fprintf(&b, "%s %s %s\n", f.Severity, f.Code, f.Where)
		b.WriteString("  " + f.Title)
		if f.Detail != "" {
			b.WriteString(": " + f.Detail)
		}
		fmt.Fprintf(&b, "\n  fix: %s\n\n", f.Fix)
	}
	if len(found) > 0 {
		fmt.Fprintf(&b, "%s, %s. More about one: genkan explain CODE\n", plural(count[finding.Error], "error"), plural(count[finding.Warning], "warning"))
	}
	_, _ = io.WriteString(w, strings.Map(visible, b.String()))
}

func visible(r rune) rune {
	if r != '\n' && unicode.IsControl(r) {
		return unicode.ReplacementChar
	}
	return r
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
