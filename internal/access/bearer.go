package access

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"genkan/internal/keys"
	"genkan/internal/rp"
)

// Errors of Bearer.Authenticate. What they wrap is for the log and holds no token.
var (
	// ErrBearer: there is no token, or it is not good here; 401.
	ErrBearer = errors.New("access: no good bearer token")
	// ErrUnavailable: whether the token is good cannot be told now; 503.
	ErrUnavailable = errors.New("access: the token cannot be checked now")
)

// Provider is the part of a relying party that judges access tokens; *rp.Client is one.
// An error of kind rp.Invalid or rp.Refused is about the token, every other one says
// nothing about it. Both calls are bounded in time, hold a token to its audiences, and
// refuse one that is bound to a key, since all that is known here is that somebody bears it.
type Provider interface {
	ID() string
	Issuer() string
	// VerifyAccess applies RFC 9068 4 to a JWT.
	VerifyAccess(ctx context.Context, raw string, audiences []string) (rp.Access, error)
	// Introspect asks the provider about any token (RFC 7662).
	Introspect(ctx context.Context, token keys.Secret, audiences []string) (rp.Access, error)
}

// BearerRule is which tokens a route takes.
type BearerRule struct {
	Audiences     []string // one of them must be in the token's; none: no token is taken
	Introspection string   // Provider.ID of who is asked about tokens that are no JWT; "": they are not taken
}

// Bearer finds out who sends an access token.
type Bearer struct {
	byIssuer map[string]Provider
	asked    map[string]*introspector // by Provider.ID
}

// NewBearer makes a Bearer. Of several providers with one issuer the first judges its
// JWTs: they are client registrations at the same place, whose keys are the same.
func NewBearer(providers []Provider, now func() time.Time) *Bearer {
	b := &Bearer{byIssuer: map[string]Provider{}, asked: map[string]*introspector{}}
	answers := newAnswers(now)
	for _, p := range providers {
		if _, taken := b.byIssuer[p.Issuer()]; !taken {
			b.byIssuer[p.Issuer()] = p
		}
		b.asked[p.ID()] = &introspector{p, make(chan struct{}, maxAsked), answers}
	}
	return b
}

// Authenticate returns the program that sends r, ErrBearer or ErrUnavailable. The token
// is read from the one Authorization header and from nowhere else. A JWT is verified here
// by the keys of its issuer and is sent nowhere; an encrypted one, which only a
// provider could read, is not taken.
func (b *Bearer) Authenticate(ctx context.Context, r *http.Request, want BearerRule) (*Caller, error) {
	token, ok := bearerToken(r)
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: Authorization is not one token of the scheme Bearer", ErrBearer)
	case len(want.Audiences) == 0:
		return nil, fmt.Errorf("%w: the route has no audience", ErrBearer)
	}
	judge := b.introspect
	if looksLikeJWT(token) {
		judge = b.verify
	}
	provider, access, err := judge(ctx, token, want)
	if err != nil {
		return nil, err
	}
	return &Caller{
		Token: keys.NewSecret(token), ClientID: access.ClientID, Provider: provider,
		Identity: access.Identity, Scope: access.Scope, Expires: access.Expires,
	}, nil
}

func (b *Bearer) verify(ctx context.Context, token string, want BearerRule) (string, rp.Access, error) {
	p, ok := b.byIssuer[unverifiedIssuer(token)]
	if !ok {
		return "", rp.Access{}, fmt.Errorf("%w: it is a JWT of no configured provider", ErrBearer)
	}
	access, err := p.VerifyAccess(ctx, token, want.Audiences)
	return p.ID(), access, classify(err)
}

func (b *Bearer) introspect(ctx context.Context, token string, want BearerRule) (string, rp.Access, error) {
	asked, ok := b.asked[want.Introspection]
	if !ok {
		return "", rp.Access{}, fmt.Errorf("%w: it is no JWT, and the route asks no provider about such", ErrBearer)
	}
	access, err := asked.introspect(ctx, token, want.Audiences)
	return want.Introspection, access, err
}

// classify says what a provider's error means for the token.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if failure, ok := errors.AsType[*rp.Error](err); ok && (failure.Kind == rp.Invalid || failure.Kind == rp.Refused) {
		return fmt.Errorf("%w: %w", ErrBearer, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// looksLikeJWT reports whether a token begins as JWTs do, with a JSON object and a dot.
// It errs on their side, in either alphabet: they are not to be sent anywhere.
func looksLikeJWT(token string) bool {
	first, _, dotted := strings.Cut(token, ".")
	if !dotted {
		return false
	}
	first = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(first), "=")
	text, _ := base64.RawStdEncoding.DecodeString(first) // what it could read, on an error
	return strings.HasPrefix(strings.TrimLeft(string(text), " \t\r\n"), "{")
}

// unverifiedIssuer reads who a JWT claims to be from, only to pick whose rules apply; ""
// when it does not say.
func unverifiedIssuer(token string) (issuer string) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]json.RawMessage // a struct would take "ISS", too
	if err != nil || json.Unmarshal(text, &claims) != nil || json.Unmarshal(claims["iss"], &issuer) != nil {
		return ""
	}
	return issuer
}
