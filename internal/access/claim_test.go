package access_test

import (
	"strings"
	"testing"

	"genkan/internal/access"
)

func TestClaimAsAHeader(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claims, claim, text string
		fits                bool
	}{
		"sub":                    {`{"sub": "another"}`, "sub", "u1", true},
		"iss":                    {`{}`, "iss", "https://idp.example", true},
		"sid":                    {`{}`, "sid", "s1", true},
		"acr":                    {`{}`, "acr", "gold", true},
		"missing":                {`{}`, "x", "", true},
		"null":                   {`{"x": null}`, "x", "", true},
		"string":                 {`{"x": "a b, c"}`, "x", "a b, c", true},
		"number":                 {`{"x": 12345678901234567890}`, "x", "12345678901234567890", true},
		"boolean":                {`{"x": true}`, "x", "true", true},
		"list":                   {`{"x": ["a b", 3, false]}`, "x", "a b,3,false", true},
		"list with a comma":      {`{"x": ["a,b"]}`, "x", "", false},
		"list with a null":       {`{"x": ["a", null]}`, "x", "", false},
		"list with a space":      {`{"x": ["a "]}`, "x", "", false},
		"object":                 {`{"x": {}}`, "x", "", false},
		"list in a list":         {`{"x": [["a"]]}`, "x", "", false},
		"line break":             {`{"x": "a\r\nX-User: b"}`, "x", "a\r\nX-User: b", false},
		"no ASCII":               {`{"x": "é"}`, "x", "é", false},
		"space around":           {`{"x": " a"}`, "x", " a", false},
		"4 KiB":                  {`{"x": "` + strings.Repeat("a", 4096) + `"}`, "x", strings.Repeat("a", 4096), true},
		"more than 4 KiB":        {`{"x": "` + strings.Repeat("a", 4097) + `"}`, "x", strings.Repeat("a", 4097), false},
		"claim in another place": {`{"X": "a"}`, "x", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, fits := access.HeaderText(caller(t, tt.claims).Identity, tt.claim)
			if text != tt.text || fits != tt.fits {
				t.Errorf("got %q, %t", text, fits)
			}
		})
	}
}
