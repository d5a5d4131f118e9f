// Package finding is the one table of everything Genkan can say is wrong: the
// same codes serve start-up errors, HTTP problems (RFC 9457), the error page,
// logs and `genkan explain`.
//
// It owns the codes, their words and the problem+json wire shape. It decides
// nothing: the package that sees a fault picks the row and adds the detail. A
// detail may reach a browser, so it never holds a token, a secret, a code or a
// response body of a provider.
package finding

import (
	"cmp"
	"slices"
	"strings"
)

// Severity says what a finding means for the one who reads it.
type Severity string

// The severities, worst first.
const (
	Error   Severity = "error"   // it cannot work; start-up refuses
	Warning Severity = "warning" // it works now, or in some browsers
	Info    Severity = "info"    // worth knowing
	OK      Severity = "ok"      // checked and sound
)

// Row is what is always true of one code.
type Row struct {
	Code     string   // GKnnn, stable
	Name     string   // the `code` member of HTTP problems, stable
	Status   int      // HTTP status where the code is an HTTP problem, else 0
	Severity Severity // the usual severity
	Title    string   // one line
	Cause    string   // why it happens, in plain words
	Fix      string   // what to do, naming the setting or the screen
}

// Finding is one row met in one place.
type Finding struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Title    string   `json:"title"`
	Detail   string   `json:"detail,omitempty"`
	Fix      string   `json:"fix,omitempty"`
	Where    string   `json:"where,omitempty"` // a configuration key, a URL, a provider screen
	Docs     string   `json:"docs,omitempty"`
}

// New returns the finding of row at where. detail says what was seen; fix, when
// not empty, replaces the row's general fix with the exact one.
func (r Row) New(where, detail, fix string) Finding {
	return Finding{
		Code: r.Code, Severity: r.Severity, Title: r.Title,
		Detail: detail, Fix: cmp.Or(fix, r.Fix), Where: where,
		Docs: "docs/errors.md#" + strings.ToLower(r.Code),
	}
}

// Error makes a finding usable as an error: one line, no fix.
func (f Finding) Error() string {
	var b strings.Builder
	b.WriteString(f.Code + " ")
	if f.Where != "" {
		b.WriteString(f.Where + ": ")
	}
	b.WriteString(cmp.Or(f.Detail, f.Title))
	return b.String()
}

// Findings is a set that is reported at once.
type Findings []Finding

// Error joins all findings, a line each.
func (fs Findings) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Failed reports whether any finding is an error.
func (fs Findings) Failed() bool {
	return slices.ContainsFunc(fs, func(f Finding) bool { return f.Severity == Error })
}

// Rows returns every row, sorted by code.
func Rows() []Row {
	all := slices.Concat(originRows, providerRows, sessionRows, upstreamRows, runtimeRows)
	slices.SortFunc(all, func(a, b Row) int { return strings.Compare(a.Code, b.Code) })
	return all
}

// Lookup finds a row by its code or its name, in any case.
func Lookup(word string) (Row, bool) {
	for _, r := range Rows() {
		if strings.EqualFold(r.Code, word) || strings.EqualFold(r.Name, word) {
			return r, true
		}
	}
	return Row{}, false
}
