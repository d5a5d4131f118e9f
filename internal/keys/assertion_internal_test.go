package keys

import (
	"encoding/hex"
	"testing"
)

// The order of P-256 is from FIPS 186-4 D.1.2.3.
func TestWhatIsNoPrivateKeyIsPassedOver(t *testing.T) {
	t.Parallel()
	const n = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc6325"
	for _, tt := range []struct {
		name  string
		first string
		want  int // which one is taken
	}{
		{"zero", "0000000000000000000000000000000000000000000000000000000000000000", 1},
		{"one", "0000000000000000000000000000000000000000000000000000000000000001", 0},
		{"n-1", n + "50", 0},
		{"n", n + "51", 1},
		{"n+1", n + "52", 1},
		{"all bits", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			candidates := []string{tt.first, "0000000000000000000000000000000000000000000000000000000000000007"}
			key := candidate(func(i int) []byte {
				raw, err := hex.DecodeString(candidates[i])
				if err != nil {
					t.Fatal(err)
				}
				return raw
			})
			raw, err := key.Bytes()
			if got := hex.EncodeToString(raw); err != nil || got != candidates[tt.want] {
				t.Errorf("%s %v", got, err)
			}
		})
	}
}
