package access

import (
	"bytes"
	"encoding/json"
	"strings"

	"genkan/internal/rp"
)

// maxClaim bounds a header made from a claim, in bytes.
const maxClaim = 4096

// HeaderText is a claim as a header value: a string, a number or a boolean as it is,
// a list joined by commas. It is "" without the claim. fits is false for what a
// header cannot hold unambiguously: other JSON, anything but printable ASCII, a
// comma or outer space in an element of a list, more than 4 KiB.
func HeaderText(id rp.Identity, claim string) (text string, fits bool) {
	switch claim {
	case "sub":
		return id.Subject, plainText(id.Subject)
	case "iss":
		return id.Issuer, plainText(id.Issuer)
	case "sid":
		return id.SID, plainText(id.SID)
	case "acr":
		return id.ACR, plainText(id.ACR)
	}
	raw, ok := id.Claims[claim]
	if !ok {
		return "", true
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return "", false
	}
	list, many := value.([]any)
	if !many {
		list = []any{value}
	}
	parts := make([]string, 0, len(list))
	for _, v := range list {
		part, ok := scalar(v)
		if !ok && v != nil || many && (part == "" || strings.Contains(part, ",") || strings.TrimSpace(part) != part) {
			return "", false
		}
		parts = append(parts, part)
	}
	text = strings.Join(parts, ",")
	return text, plainText(text)
}

// Verified reports whether the provider says that it has verified email or phone_number
// (OpenID Connect Core 5.1). What it has not may be anything that a user typed.
func Verified(id rp.Identity, claim string) bool {
	said := string(bytes.TrimSpace(id.Claims[claim+"_verified"]))
	return said == "true" || said == `"true"` // the latter is Cognito's
}

func plainText(s string) bool {
	return len(s) <= maxClaim && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
