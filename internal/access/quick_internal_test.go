package access

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"genkan/internal/rp"
)

func TestWhatIsReadQuickly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		raw  string
		want []string // nil: it is left to encoding/json
	}{
		{`"a"`, []string{"a"}},
		{` "a b" `, []string{"a b"}},
		{`""`, []string{""}},
		{`["a"]`, []string{"a"}},
		{`["a","b,c","[","]"]`, []string{"a", "b,c", "[", "]"}},
		{` [ "a" , "" ] `, []string{"a", ""}},
		{`["a\u0062"]`, nil},
		{`["\""]`, nil},
		{`["é"]`, nil},
		{`[]`, nil},
		{`["a",1]`, nil},
		{`[["a"]]`, nil},
		{`{"a":"b"}`, nil},
		{`true`, nil},
		{`["a"`, nil},
		{`["a",]`, nil},
		{`["a" "b"]`, nil},
		{`["a",,"b"]`, nil},
		{`"a","b"`, nil},
		{`"a"]`, nil},
		{`"a`, nil},
		{``, nil},
	} {
		got, ok := quickTexts(tt.raw)
		if ok != (tt.want != nil) || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %v", tt.raw, got, ok)
		}
	}
}

// FuzzQuickTexts: what is read quickly is what encoding/json reads.
func FuzzQuickTexts(f *testing.F) {
	for _, raw := range []string{`"a"`, `["a","b"]`, ` [ "a" , "b" ] `, `[]`, `["a",]`, `[,"a"]`, `["a"`, `"a" "b"`, `["a" "b"]`, `["\u0061"]`, `["é"]`, `[["a"]]`, `["a",1]`, `null`, ``, `"`, `["a"]]`} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		texts, ok := quickTexts(string(raw))
		if !ok {
			return
		}
		if want := anyScalars(raw, scalar); want == nil || !slices.Equal(want, texts) {
			t.Errorf("%q: %q, want %q", raw, texts, want)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{2, 20, 200} {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("group-%03d", i))
		}
		raw, err := json.Marshal(all)
		if err != nil {
			b.Fatal(err)
		}
		c := &Caller{Identity: rp.Identity{Claims: map[string]json.RawMessage{"groups": raw}}}
		rules, now := Rules{Groups: all[n-1:]}, time.Now()
		b.Run(fmt.Sprintf("%d groups", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if rules.Check(c, now) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}
