package rp

import (
	"context"
	"errors"
	"net/url"
	"strings"
)

// Kind is the class of a failure, for callers that branch on it.
type Kind int

// A session ends on Refused and on Invalid, and on nothing else.
const (
	// Fault: the provider or the network failed; nothing is known of the grant.
	// Retry later.
	Fault Kind = iota
	// Refused: the provider said no to this grant (invalid_grant and its kin).
	Refused
	// Misconfigured: the provider said no to this client (invalid_client…), or its
	// metadata does not fit the configuration. It is the operator's to mend.
	Misconfigured
	// Invalid: the answer failed a check of ours.
	Invalid
)

// Error is every failure of this package but those of New. Its text holds no token,
// secret, code or body of the provider; Code and Description are the provider's error
// and error_description, cut to 200 characters of printable ASCII (RFC 6749 5.2).
type Error struct {
	Op          string // login, par, callback, discovery, keys, token, refresh, id_token, userinfo, groups, revocation, logout, logout_token, revocation_token, exchange, client_credentials, access_token, introspection
	Kind        Kind
	Code        string // OAuth error code, or our own word; of a token the claim or rule that does not hold
	Description string
	Status      int    // HTTP status, 0 if there was none
	Finding     string // a name of the finding table, for the user-facing answer
	Err         error
}

func (e *Error) Error() string {
	text := "rp: " + e.Op
	for _, part := range []string{e.Code, e.Description} {
		if part != "" {
			text += ": " + part
		}
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause, so that errors.Is finds context.DeadlineExceeded.
func (e *Error) Unwrap() error { return e.Err }

func fault(op, code string, err error) *Error {
	return &Error{Op: op, Kind: Fault, Code: code, Finding: "provider_unavailable", Err: err}
}

// networkError is a transport's error without its URL and without what it quotes of
// the peer: net/http puts malformed status and header lines into its texts, by %q.
type networkError struct {
	text  string
	cause error
}

func (e *networkError) Error() string { return e.text }
func (e *networkError) Unwrap() error { return e.cause }

func quiet(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	text, _, _ := strings.Cut(err.Error(), `"`)
	if errors.Is(err, context.DeadlineExceeded) {
		text = "no answer in time"
	}
	return &networkError{clean(text), err}
}

// clean makes text of a provider fit for logs: the characters RFC 6749 5.2 allows in
// error and error_description, everything else as a question mark, cut.
func clean(text string) string {
	const limit = 200
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~' || r == '\\':
			return '?'
		}
		return r
	}, text)
}
