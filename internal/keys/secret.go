// Package keys holds every secret of the process: the ring that seals sessions
// and cookies and hashes what they are found by, and the type that keeps a secret out of logs and answers.
//
// It knows nothing of sessions or HTTP. Sealing is AES-256-GCM (NIST SP 800-38D)
// with a random nonce and a key derived for the purpose by HKDF (RFC 5869), so
// that what was sealed for one use cannot be opened as another.
package keys

import "log/slog"

// Secret is a string that never prints itself: %v, %s, slog and JSON show
// "[redacted]", or "" when it is empty, and no formatting verb shows more than an
// address. Reveal is the only way out.
// Two secrets are not comparable with ==.
type Secret struct {
	_ [0]func() // == would compare addresses
	// A pointer, since fmt ignores the methods of unexported fields and prints what
	// they hold; it never follows a pointer to a string.
	value *string
}

const redacted = "[redacted]"

// NewSecret wraps value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the secret itself. Pass it straight to the protocol that needs it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports whether there is no secret.
func (s Secret) Empty() bool { return s.value == nil }

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s.Empty() {
		return ""
	}
	return redacted
}

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler, which JSON and YAML use too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
