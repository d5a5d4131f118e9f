package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const redacted = "[redacted]"

// secretKey reports whether an attribute of this name is a secret whatever its
// value, letter case, underscores and hyphens aside. "code" and "state" are the
// protocol's; codes of the finding table are logged as "finding".
func secretKey(key string) bool {
	var folded [32]byte // longer than every name below
	n := 0
	for i := range len(key) {
		switch c := key[i]; {
		case c == '_' || c == '-':
			continue
		case c >= utf8.RuneSelf: // some of these are capitals of ASCII letters
			lower := strings.ToLower(key)
			return lower != key && secretKey(lower)
		case n == len(folded):
			return false
		case 'A' <= c && c <= 'Z':
			folded[n] = c + 'a' - 'A'
		default:
			folded[n] = c
		}
		n++
	}
	switch string(folded[:n]) {
	case "authorization", "proxyauthorization", "cookie", "cookies", "setcookie",
		"token", "tokens", "accesstoken", "refreshtoken", "idtoken", "idtokenhint", "logouttoken", "admintoken",
		"secret", "clientsecret", "clientassertion", "assertion", "password", "passwd", "credential", "credentials",
		"code", "state", "nonce", "codeverifier", "verifier", "privatekey", "apikey", "xapikey", "sessionkey", "sessionkeys":
		return true
	}
	return false
}

// patterns find secrets inside text; what the first group holds stays. Nothing
// legitimate in a log begins with the base64url of {", so a JWT or JWE is cut even
// when only its beginning is there.
var patterns = []*regexp.Regexp{
	regexp.MustCompile(`()eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_=-]*)*`),
	regexp.MustCompile(`(?i)(\b(?:bearer|dpop)[\s:]+)[A-Za-z0-9._~+/-]+=*`),
	regexp.MustCompile(`(\bBasic\s+)[A-Za-z0-9+/]{8,}=*`),
	regexp.MustCompile(`(?i)(\b(?:(?:set-)?cookie|(?:proxy-)?authorization)\s*:\s*)[^\r\n]+`),
	regexp.MustCompile(`(?i)(\b(?:(?:access|refresh|logout)_token|id_token(?:_hint)?|client_(?:secret|assertion)|code_verifier|password)["']?\s*[=:]\s*["']?)[^\s"'&;,]+`),
	regexp.MustCompile(`(?i)(\b(?:code|state|nonce|token)=["']?)[^\s"'&;,]+`),
}

// scrub returns s without secrets, and without what can drive a terminal: the
// handlers escape C0 controls only, so C1 controls, DEL and invisible format
// characters (bidi overrides) are written out here.
func scrub(s string) string {
	if word(s) {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.ContainsAny(s, " :=\t\n") || strings.Contains(s, "eyJ") {
		for _, p := range patterns {
			s = p.ReplaceAllString(s, "${1}"+redacted)
		}
	}
	if !strings.ContainsFunc(s, invisible) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if invisible(r) {
			fmt.Fprintf(&b, "<%U>", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// word reports whether s is visible ASCII in which no pattern could find anything: most
// of what is logged, and the only text that an access line holds.
func word(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == ':' || c == '=' || c == 'J' && i >= 2 && s[i-2:i] == "ey" {
			return false
		}
	}
	return true
}

func invisible(r rune) bool { return r >= 0x7f && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) }

// redact is slog's ReplaceAttr: the message and every attribute pass through it.
func redact(groups []string, a slog.Attr) slog.Attr {
	if secretKey(a.Key) {
		return slog.String(a.Key, redacted)
	}
	for _, g := range groups {
		if secretKey(g) {
			return slog.String(a.Key, redacted)
		}
	}
	a.Key = scrub(a.Key)
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(scrub(a.Value.String()))
	case slog.KindAny:
		a.Value = plain(a.Value.Any())
	}
	return a
}

// plain turns any value into text or a tree of JSON values, redacted. What has no
// such form shows its type only.
func plain(v any) (out slog.Value) {
	defer func() {
		if recover() != nil { // Error or String of a nil pointer
			out = slog.StringValue(fmt.Sprintf("%T", v))
		}
	}()
	switch v := v.(type) {
	case nil, slog.Level:
		return slog.AnyValue(v)
	case error:
		return slog.StringValue(scrub(v.Error()))
	case fmt.Stringer:
		return slog.StringValue(scrub(v.String()))
	case []byte:
		return slog.StringValue(scrub(string(v)))
	}
	text, err := json.Marshal(v)
	if err != nil {
		return slog.StringValue(fmt.Sprintf("%T", v))
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return slog.StringValue(fmt.Sprintf("%T", v))
	}
	return slog.AnyValue(prune(tree))
}

// prune redacts a decoded JSON value in place where it can.
func prune(v any) any {
	switch v := v.(type) {
	case string:
		return scrub(v)
	case []any:
		for i := range v {
			v[i] = prune(v[i])
		}
	case map[string]any:
		clean := make(map[string]any, len(v))
		for key, value := range v {
			if secretKey(key) {
				value = redacted
			}
			clean[scrub(key)] = prune(value)
		}
		return clean
	}
	return v
}
