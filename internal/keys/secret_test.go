package keys_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"genkan/internal/keys"
)

const canary = "canary-c0ffee-hunter2"

// shapes are the ways a secret gets into a log line, an answer or an error.
func shapes() map[string]any {
	type exported struct {
		Name   string
		Secret keys.Secret
	}
	type hidden struct { // fmt never calls the methods of unexported fields
		name   string
		secret keys.Secret
	}
	secret := keys.NewSecret(canary)
	return map[string]any{
		"value":                  secret,
		"pointer":                &secret,
		"slice":                  []keys.Secret{secret, secret},
		"map value":              map[string]keys.Secret{"k": secret},
		"exported field":         exported{"n", secret},
		"pointer to struct":      &exported{"n", secret},
		"unexported field":       hidden{"n", secret},
		"pointer to unexported":  &hidden{"n", secret},
		"nested":                 struct{ In, in any }{hidden{"n", secret}, &exported{"n", secret}},
		"interface slice":        []any{secret, &secret, hidden{"n", secret}},
		"pointer in unexported":  struct{ p *keys.Secret }{&secret},
		"slice of hidden":        []hidden{{"n", secret}},
		"error with %v":          fmt.Errorf("failed with %v", secret),
		"error with %+v of all":  fmt.Errorf("failed with %+v", hidden{"n", secret}),
		"joined errors":          errors.Join(fmt.Errorf("a %s", secret), fmt.Errorf("b %q", &secret)),
		"wrapped value in error": carrier{secret},
	}
}

type carrier struct{ secret keys.Secret }

func (c carrier) Error() string { return fmt.Sprintf("carrier: %+v", c.secret) }

func TestSecretNeverPrintsItself(t *testing.T) {
	t.Parallel()
	verbs := strings.Fields("%v %+v %#v %s %q %+q %#q %x %X %#x %d %o %b %c %U %t %e %g %p %T %5s %-40v %z")
	for name, shape := range shapes() {
		var out bytes.Buffer
		for _, verb := range verbs {
			fmt.Fprintf(&out, verb+"\n", shape)
		}
		fmt.Fprintln(&out, shape)
		if encoded, err := json.Marshal(shape); err == nil {
			out.Write(encoded)
		}
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(handler).With("with", shape).Info("message", "attr", shape, slog.Group("group", "in", shape))
		}
		text := strings.ToLower(out.String())
		for _, form := range []string{canary, fmt.Sprintf("%x", canary), strings.Trim(fmt.Sprint([]byte(canary)), "[]")} {
			if strings.Contains(text, form) {
				t.Errorf("%s: printed as %q in\n%s", name, form, out.String())
			}
		}
	}
}

func TestSecretSaysThatItIsThere(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, value, want string
		empty             bool
	}{
		{"set", canary, "[redacted]", false},
		{"empty", "", "", true},
	} {
		secret := keys.NewSecret(row.value)
		if secret.Reveal() != row.value || secret.Empty() != row.empty {
			t.Errorf("%s: Reveal or Empty is wrong", row.name)
		}
		encoded, err := json.Marshal(map[string]keys.Secret{"s": secret})
		if err != nil || string(encoded) != `{"s":"`+row.want+`"}` {
			t.Errorf("%s: JSON %s, %v", row.name, encoded, err)
		}
		if got := fmt.Sprint(secret) + "|" + secret.String() + "|" + secret.LogValue().String(); got != row.want+"|"+row.want+"|"+row.want {
			t.Errorf("%s: prints %q", row.name, got)
		}
	}
	if zero := (keys.Secret{}); !zero.Empty() || zero.Reveal() != "" {
		t.Error("the zero Secret is not empty")
	}
}

// Tests all over compare settings with reflect.DeepEqual.
func TestEqualSecretsAreDeeplyEqual(t *testing.T) {
	t.Parallel()
	one, same, other := keys.NewSecret(canary), keys.NewSecret(strings.Clone(canary)), keys.NewSecret("other")
	if !reflect.DeepEqual(one, same) || reflect.DeepEqual(one, other) || reflect.DeepEqual(one, keys.Secret{}) {
		t.Error("DeepEqual does not compare the values")
	}
}
