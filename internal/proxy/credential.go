package proxy

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"genkan/internal/access"
	"genkan/internal/credential"
	"genkan/internal/keys"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// send sends the request with what the route says goes along, and once more with
// another token when the upstream says that this one is not valid (RFC 6750 3.1) and the
// body can be sent again.
func (c *call) send(req *http.Request) (*http.Response, error) {
	if c.route.Token == TokenNone || c.caller == nil && c.route.Token != TokenClient {
		return c.attempt(req)
	}
	tokens, err := c.tokens(c.ctx)
	if err != nil {
		return nil, err
	}
	res, err := c.authorized(req, tokens)
	if err != nil || !tokenRefused(res) || !replays(req) {
		return res, err
	}
	c.patience.stop() // it waits for upstreams, not for providers
	others, err := c.others(c.ctx, tokens)
	c.patience.begin()
	if err != nil && !errors.Is(err, errNoOther) {
		discard(res)
		return nil, err
	}
	if err != nil || others.Access.Reveal() == tokens.Access.Reveal() {
		return res, nil // no other token to be had: the upstream's answer stands
	}
	discard(res)
	return c.authorized(c.replay(req), others)
}

// renews reports whether another token may be had when the upstream refuses the first.
func (c *call) renews() bool {
	switch c.route.Token {
	case TokenRelay:
		return c.live() != nil
	case TokenExchange:
		return c.caller != nil
	}
	return c.route.Token == TokenClient
}

// tokens is what goes along with the call.
func (c *call) tokens(ctx context.Context) (rp.Tokens, error) {
	switch c.route.Token {
	case TokenExchange:
		return c.exchanged(ctx)
	case TokenClient:
		return c.credentials.Client(ctx, c.route.Provider, c.route.Client)
	case TokenAssertion:
		assertion, err := c.credentials.Assertion(c.caller, c.route.Audience)
		return rp.Tokens{Access: keys.NewSecret(assertion)}, err
	}
	return relayed(c.caller), nil
}

// relayed is the caller's own access token.
func relayed(caller *access.Caller) rp.Tokens {
	if caller.Session != nil {
		return caller.Session.Grant.Tokens
	}
	return rp.Tokens{Access: caller.Token, Expiry: caller.Expires}
}

// exchanged is a token for this service alone. A provider that does not take the session's
// token any more may take a renewed one, once.
func (c *call) exchanged(ctx context.Context) (rp.Tokens, error) {
	tokens, err := c.credentials.Exchanged(ctx, c.caller, c.route.Exchange)
	if !errors.Is(err, credential.ErrRefused) || c.live() == nil || c.renewedLately() {
		return tokens, err
	}
	if renewal := c.renew(ctx); renewal != nil {
		return rp.Tokens{}, cmpErr(renewal, err)
	}
	return c.credentials.Exchanged(ctx, c.caller, c.route.Exchange)
}

// cmpErr is why a renewal failed, or otherwise where there was just nothing to renew.
func cmpErr(renewal, otherwise error) error {
	if errors.Is(renewal, errNoOther) {
		return otherwise
	}
	return renewal
}

var errNoOther = errors.New("there is no other token")

// others are tokens in place of some that the upstream refused; errNoOther when there are
// none. None of them is had again at once: an upstream that refuses everything would cost
// a token request a call.
func (c *call) others(ctx context.Context, refused rp.Tokens) (rp.Tokens, error) {
	again := false
	switch c.route.Token {
	case TokenRelay:
		if c.live() == nil || c.renewedLately() {
			return rp.Tokens{}, errNoOther
		}
		err := c.renew(ctx)
		return relayed(c.caller), err
	case TokenExchange:
		again = c.credentials.DropExchanged(c.caller, c.route.Exchange, refused)
	case TokenClient:
		again = c.credentials.DropClient(c.route.Provider, c.route.Client, refused)
	}
	if !again {
		return rp.Tokens{}, errNoOther
	}
	return c.tokens(ctx)
}

// renew gives the session new tokens. errNoOther: there are none, but the session lives.
func (c *call) renew(ctx context.Context) error {
	renewed, err := c.sessions.Renew(ctx, c.live())
	switch {
	case errors.Is(err, session.ErrExpired) || errors.Is(err, session.ErrNone):
		return err
	case err != nil:
		return errNoOther
	}
	c.caller = access.Of(renewed)
	return c.allowed(c.in, c.route, c.caller) // the provider may say other things of the user now
}

// errNonce is no refusal: with the nonce that is known now, the same call will do.
var errNonce = errors.New("the upstream demands another DPoP nonce, and the body cannot be sent again")

// authorized sends the request with tokens, and once more when the upstream only wants a
// DPoP nonce (RFC 9449 9). A body that cannot be sent again is an error, since the
// upstream's 401 would look like the end of the session.
func (c *call) authorized(req *http.Request, tokens rp.Tokens) (*http.Response, error) {
	res, nonce, err := c.show(req, tokens, c.nonces.Of(req.URL))
	if err != nil || nonce == "" {
		return res, err
	}
	discard(res)
	if !replays(req) {
		return nil, errNonce
	}
	res, _, err = c.show(c.replay(req), tokens, nonce)
	return res, err
}

// show sends the request with tokens and a nonce. It returns the nonce that this very
// answer demands in its place, "" when it demands none: by the time of the next try, other
// calls may have used up those kept (RFC 9449 8).
func (c *call) show(req *http.Request, tokens rp.Tokens, nonce string) (res *http.Response, demanded string, err error) {
	if err := tokens.Authorize(req, nonce, c.sessions.Now()); err != nil {
		return nil, "", err
	}
	if res, err = c.attempt(req); err != nil || tokens.Key.Empty() {
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

// replay is req to be sent a second time, with the headers of the caller as it is now.
func (c *call) replay(req *http.Request) *http.Request {
	again := req.Clone(req.Context())
	c.identify(again.Header)
	if req.GetBody != nil {
		again.Body, _ = req.GetBody() // withBody's, which has no error
	}
	return again
}

// renewBrake is how long tokens that were renewed are not renewed again because an
// upstream refuses them: one that refuses everything would cost a token request a call.
const renewBrake = 10 * time.Second

func (c *call) renewedLately() bool {
	s := c.live()
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

// credentialFailed reports that there was nothing to send along, or that a renewal showed a
// caller who may not, which the upstream never
// heard of.
func credentialFailed(err error) bool {
	return errors.As(err, new(*forbidden)) || errors.Is(err, credential.ErrMisconfigured) || errors.Is(err, credential.ErrRefused) || errors.Is(err, credential.ErrProvider)
}
