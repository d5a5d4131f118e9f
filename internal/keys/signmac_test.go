package keys_test

import (
	"strings"
	"testing"

	"genkan/internal/keys"
)

// RFC 7518 3.2: the operator is told what is wrong with the secret, in bytes.
func TestSignMACSaysHowLongASecretMustBe(t *testing.T) {
	t.Parallel()
	for _, length := range []int{0, 1, 31} {
		_, err := keys.SignMAC(keys.NewSecret(strings.Repeat("s", length)), map[string]any{})
		if err == nil || !strings.Contains(err.Error(), "under 32 bytes") {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
	if _, err := keys.SignMAC(keys.NewSecret(strings.Repeat("s", 32)), map[string]any{}); err != nil {
		t.Errorf("32 bytes: %v", err)
	}
}
