package proxy

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"genkan/internal/rp"
	"genkan/internal/session"
)

// RoundTrip sends the request, and once more with a new token when the upstream says
// that the token is not valid (RFC 6750 3.1) and the body can be sent again.
func (c *call) RoundTrip(req *http.Request) (*http.Response, error) {
	if !c.relays() {
		return c.attempt(req)
	}
	res, err := c.authorized(req, c.session)
	if err != nil || !tokenRefused(res) || c.renewedLately() || !replays(req) {
		return res, err
	}
	renewed, err := c.sessions.Renew(req.Context(), c.session)
	switch {
	case errors.Is(err, session.ErrExpired) || errors.Is(err, session.ErrNone):
		discard(res)
		return nil, err
	case err != nil || renewed.Grant.Tokens.Access.Reveal() == c.session.Grant.Tokens.Access.Reveal():
		return res, nil // no other token to be had: the upstream's answer stands
	}
	discard(res)
	return c.authorized(replay(req), renewed)
}

// errNonce is no refusal: with the nonce that is known now, the same call will do.
var errNonce = errors.New("the upstream demands another DPoP nonce, and the body cannot be sent again")

// authorized sends the request with the access token of s, and once more when the
// upstream only wants a DPoP nonce (RFC 9449 9). A body that cannot be sent again is an
// error, since the upstream's 401 would look like the end of the session.
func (c *call) authorized(req *http.Request, s *session.Session) (*http.Response, error) {
	res, nonce, err := c.show(req, s, c.nonces.Of(req.URL))
	if err != nil || nonce == "" {
		return res, err
	}
	discard(res)
	if !replays(req) {
		return nil, errNonce
	}
	res, _, err = c.show(replay(req), s, nonce)
	return res, err
}

// show sends the request with the access token of s and a nonce. It returns the nonce
// that this very answer demands in its place, "" when it demands none: by the time of the
// next try, other calls may have used up those kept (RFC 9449 8).
func (c *call) show(req *http.Request, s *session.Session, nonce string) (res *http.Response, demanded string, err error) {
	if err := s.Grant.Tokens.Authorize(req, nonce, c.sessions.Now()); err != nil {
		return nil, "", err
	}
	if res, err = c.attempt(req); err != nil || s.Grant.Tokens.Key.Empty() {
		return res, "", err
	}
	fresh := c.nonces.Keep(req.URL, res.Header, nonce)
	if !rp.DemandsNonce(res.StatusCode, res.Header) {
		return res, "", nil
	}
	return res, fresh, nil
}

// replays reports whether a request can be sent a second time.
func replays(req *http.Request) bool { return req.Body == nil || req.GetBody != nil }

func replay(req *http.Request) *http.Request {
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		again.Body, _ = req.GetBody() // withBody's, which has no error
	}
	return again
}

// renewBrake is how long tokens that were renewed are not renewed again because an
// upstream refuses them: one that refuses everything would cost a token request a call.
const renewBrake = 10 * time.Second

func (c *call) renewedLately() bool {
	s := c.session
	return s.Renewed.After(s.Created) && c.sessions.Now().Sub(s.Renewed) < renewBrake
}

func tokenRefused(res *http.Response) bool {
	if res.StatusCode != http.StatusUnauthorized {
		return false
	}
	challenge := strings.ToLower(strings.Join(res.Header.Values("WWW-Authenticate"), ", "))
	return (strings.Contains(challenge, "bearer") || strings.Contains(challenge, "dpop")) &&
		(strings.Contains(challenge, `error="invalid_token"`) || strings.Contains(challenge, "error=invalid_token"))
}
