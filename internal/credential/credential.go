// Package credential gets what goes along with a call to an upstream in place of the
// user's own token: tokens exchanged for it (RFC 8693), Genkan's own tokens (RFC 6749 4.4),
// and identity assertions, JWTs that Genkan signs.
//
// It keeps them in memory alone, and says what to send, not to whom: that is for package
// proxy. A token that was got for one session is never given to another: the name under
// which it is kept holds the session and the very tokens that it was got with.
package credential

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"hash/maphash"
	"log/slog"
	"strings"
	"time"

	"genkan/internal/access"
	"genkan/internal/keys"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// Errors of Exchanged and Client. Each wraps its cause, which holds no token.
var (
	// ErrRefused: the provider does not take the user's token. Another one may do: a
	// session can be renewed, once. Only Exchanged returns it.
	ErrRefused = errors.New("credential: the provider does not take the user's token")
	// ErrMisconfigured: the provider refuses what is asked for, or Genkan as the one who
	// asks. It is the operator's to mend.
	ErrMisconfigured = errors.New("credential: the provider refuses to give this token")
	// ErrProvider: no answer that counts. Try later.
	ErrProvider = errors.New("credential: provider unavailable")
)

// Endpoint is where a provider gives tokens; *rp.Client is one. It bounds its own waits.
type Endpoint interface {
	Exchange(ctx context.Context, subject rp.Tokens, what rp.ExchangeRequest) (rp.Tokens, error)
	ClientTokens(ctx context.Context, key keys.Secret, what rp.ClientCredentials) (rp.Tokens, error)
}

// Provider is one that tokens come from.
type Provider struct {
	Endpoint Endpoint
	DPoP     bool // bind Genkan's own tokens to a key of this process (RFC 9449)
}

// Config is a Source's.
type Config struct {
	Providers map[string]Provider // by rp.Config.ID
	// Issuer is iss of assertions: the canonical public URL.
	Issuer string
	// Signers are the keys of assertions: the first signs. It is called often.
	Signers func() []*keys.Signer
	// Stamp is Store.Stamp of the sessions, by which Sweep knows those that have ended;
	// nil: tokens of ended sessions are kept for their life, ten minutes at most.
	Stamp  func(session.Key) (stamp uint64, ok bool)
	Now    func() time.Time
	Logger *slog.Logger
}

const (
	// maxLife bounds for how long an exchanged token is used without the provider being
	// asked again whether the user may have it.
	maxLife = 10 * time.Minute
	// maxLeeway is how long before its expiry a token is renewed; short-lived tokens use a
	// tenth of their life.
	maxLeeway = 30 * time.Second
	// The bounds of what is kept, in bytes as counted by weigh.
	exchangedSize, ownSize, assertionSize = 64 << 20, 4 << 20, 32 << 20
)

// Source gets tokens and assertions and keeps them while they are good. It is safe for
// concurrent use.
type Source struct {
	Config
	exchanged  *kept[exchangedKey]
	own        *kept[ownKey]
	assertions *assertions
	seed       maphash.Seed
	key        keys.Secret // that Genkan's own tokens are bound to
}

// New makes a Source.
func New(c Config) *Source {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	s := &Source{
		Config: c, seed: maphash.MakeSeed(), assertions: newAssertions(),
		exchanged: newKept[exchangedKey](exchangedSize, c), own: newKept[ownKey](ownSize, c),
	}
	s.key, _ = keys.NewSigner().Private() // it is of the kind that can be kept
	return s
}

// grant names what a caller is known by at one time: a session with the tokens it has
// now, or a program's token. A refresh makes another one of it, and so does a new sign-in.
type grant struct {
	caller [sha256.Size]byte // key of the session's row, or hash of a program's token
	// renewed and token tell the few tokens of one session apart, so 64 bits will do.
	renewed int64
	token   uint64
}

func (s *Source) grant(c *access.Caller) grant {
	if c.Session == nil {
		return grant{caller: sha256.Sum256([]byte(c.Provider + "\x00" + c.Token.Reveal()))}
	}
	return grant{c.Session.Key(), c.Session.Renewed.UnixNano(), maphash.String(s.seed, c.Session.Grant.Tokens.Access.Reveal())}
}

// exchangedKey is what an exchanged token is kept by.
type exchangedKey struct {
	grant
	provider, audience, scope, kind, resource string
}

func (s *Source) exchangedKey(c *access.Caller, what rp.ExchangeRequest) exchangedKey {
	return exchangedKey{s.grant(c), c.Provider, what.Audience, what.Scope, what.RequestedTokenType, strings.Join(what.Resource, " ")}
}

// Exchanged is a token for what, got with the token of c at the provider that it is from.
// It is kept until shortly before it expires, ten minutes at most, and not after c ends.
// All who want it at a time wait for one request, which goes on when they hang up. The
// errors are ErrRefused, ErrMisconfigured and ErrProvider; one that was got is given for
// some seconds, so that a call that cannot succeed costs no request each time.
func (s *Source) Exchanged(ctx context.Context, c *access.Caller, what rp.ExchangeRequest) (rp.Tokens, error) {
	key := s.exchangedKey(c, what)
	if tokens, ok := s.exchanged.ready(key); ok {
		return tokens, nil
	}
	o, subject, end := order{provider: c.Provider, kind: "exchange"}, rp.Tokens{Access: c.Token, Expiry: c.Expires}, c.Expires
	if c.Session != nil {
		subject, end = c.Session.Grant.Tokens, c.Session.Expires
		o.session = c.Session.ID
		o.stamp, o.stamped = s.stamp(c.Session.Key())
	}
	o.ask = func(ctx context.Context) (rp.Tokens, error) {
		p, ok := s.Providers[c.Provider]
		if !ok {
			return rp.Tokens{}, errNoProvider
		}
		return p.Endpoint.Exchange(ctx, subject, what)
	}
	o.life = func(tokens rp.Tokens, asked time.Time) (renew, until time.Time) {
		until = earliest(tokens.Expiry.Add(-leeway(tokens, asked)), asked.Add(maxLife), end)
		return until, until
	}
	return s.exchanged.get(ctx, key, o)
}

// ownKey is what a token of Genkan's own is kept by.
type ownKey struct{ provider, audience, scope, resource string }

func ownKeyOf(provider string, what rp.ClientCredentials) ownKey {
	return ownKey{provider, what.Audience, what.Scope, strings.Join(what.Resource, " ")}
}

// Client is a token of Genkan's own for what. All calls share it. It is renewed shortly
// before it expires, and nobody waits for that: until it does, the old one is given, also
// when the provider is down. The errors are ErrMisconfigured and ErrProvider, remembered
// as those of Exchanged are.
func (s *Source) Client(ctx context.Context, provider string, what rp.ClientCredentials) (rp.Tokens, error) {
	key := ownKeyOf(provider, what)
	if tokens, ok := s.own.ready(key); ok {
		return tokens, nil
	}
	return s.own.get(ctx, key, order{
		provider: provider, kind: "client_credentials",
		ask: func(ctx context.Context) (rp.Tokens, error) {
			p, ok := s.Providers[provider]
			if !ok {
				return rp.Tokens{}, errNoProvider
			}
			var bound keys.Secret
			if p.DPoP {
				bound = s.key
			}
			return p.Endpoint.ClientTokens(ctx, bound, what)
		},
		life: func(tokens rp.Tokens, asked time.Time) (renew, until time.Time) {
			return tokens.Expiry.Add(-leeway(tokens, asked)), tokens.Expiry
		},
	})
}

// DropExchanged forgets refused, which Exchanged gave for c and what, since an upstream
// says that it is not valid (RFC 6750 3.1). It reports whether asking again is worth it:
// Exchanged may then give another one. At most once in ten seconds it is, so that an
// upstream that refuses every token does not cost a token request per call.
func (s *Source) DropExchanged(c *access.Caller, what rp.ExchangeRequest, refused rp.Tokens) bool {
	return s.exchanged.drop(s.exchangedKey(c, what), refused, false)
}

// DropClient is DropExchanged for a token that Client gave. Until another one is there, that
// one is still given: an upstream that refuses it speaks for itself alone.
func (s *Source) DropClient(provider string, what rp.ClientCredentials, refused rp.Tokens) bool {
	return s.own.drop(ownKeyOf(provider, what), refused, true)
}

// Sweep forgets what is over, and the tokens of sessions that have ended or changed, so
// that they do not stay in memory. Call it every few minutes.
func (s *Source) Sweep() {
	now := s.Now()
	s.exchanged.sweep(func(key exchangedKey, e *entry) bool {
		if !e.stamped {
			return e.over(now)
		}
		stamp, ok := s.Stamp(key.caller)
		return e.over(now) || ok && stamp != e.stamp
	})
	s.own.sweep(func(_ ownKey, e *entry) bool { return e.over(now) })
	s.assertions.sweep(now)
}

func (s *Source) stamp(key session.Key) (stamp uint64, ok bool) {
	if s.Stamp == nil {
		return 0, false
	}
	return s.Stamp(key)
}

func leeway(tokens rp.Tokens, asked time.Time) time.Duration {
	return min(maxLeeway, tokens.Expiry.Sub(asked)/10)
}

// earliest is the first of the times that are known.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}
