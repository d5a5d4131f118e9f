package access

import (
	"net/http"
	"strings"
)

// maxToken bounds an access token, in bytes.
const maxToken = 16 << 10

// Presentation is what a request carries in Authorization.
type Presentation int

// The presentations. Empty and malformed headers are OtherScheme.
const (
	Nothing     Presentation = iota
	BearerToken              // one header of the scheme Bearer, whatever its token is worth
	OtherScheme              // one header of any other scheme, DPoP included
	Several                  // more than one header
)

// Presented says what r carries in Authorization, without judging it. A browser app
// sends nothing there: a request with a session cookie and an Authorization of its own
// has two callers.
func Presented(r *http.Request) Presentation {
	switch headers := r.Header["Authorization"]; {
	case len(headers) == 0:
		return Nothing
	case len(headers) > 1:
		return Several
	default:
		if scheme, _, _ := strings.Cut(headers[0], " "); strings.EqualFold(scheme, "Bearer") {
			return BearerToken
		}
		return OtherScheme
	}
}

// Challenge is the WWW-Authenticate (RFC 6750 3) of an answer that refuses a call with
// such credentials. Without a token it names no error (3.1).
func (p Presentation) Challenge() string {
	switch p {
	case BearerToken:
		return challenge("error", "invalid_token")
	case Several:
		return challenge("error", "invalid_request")
	}
	return challenge("realm", "genkan") // a challenge needs one parameter
}

// bearerToken reads the one token of a request; ok is false for anything but
// credentials of the form of RFC 6750 2.1.
func bearerToken(r *http.Request) (token string, ok bool) {
	if Presented(r) != BearerToken {
		return "", false
	}
	_, token, _ = strings.Cut(r.Header["Authorization"][0], " ")
	token = strings.TrimLeft(token, " ") // 1*SP
	return token, len(token) <= maxToken && b64token(token)
}

func b64token(text string) bool {
	body := strings.TrimRight(text, "=")
	return body != "" && !strings.ContainsFunc(body, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	})
}
