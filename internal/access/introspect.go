package access

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"genkan/internal/keys"
	"genkan/internal/rp"
)

const (
	// keepGood and keepBad are how long a provider's answer about a token counts. The
	// first is how long a revoked token still works here (RFC 7662 4).
	keepGood = 30 * time.Second
	keepBad  = 5 * time.Second
	// maxAnswers bounds what the answers take of the memory, in bytes as counted by weigh.
	maxAnswers = 16 << 20
	// maxAsked bounds the questions under way at one provider, whoever waits: anybody can
	// send tokens.
	maxAsked = 64
)

type introspector struct {
	provider Provider
	places   chan struct{} // of its own: a slow provider keeps nobody else waiting
	*answers
}

// answers are what providers have said about tokens. A token is never kept, only its hash.
type answers struct {
	now    func() time.Time
	kept   *otter.Cache[answerKey, answer]
	flight singleflight.Group
}

type answerKey [sha256.Size]byte

type answer struct {
	access rp.Access
	err    error // an ErrBearer, or nil
	until  time.Time
}

func newAnswers(now func() time.Time) *answers {
	return &answers{now: now, kept: otter.Must(&otter.Options[answerKey, answer]{
		MaximumWeight: maxAnswers,
		Weigher:       func(_ answerKey, a answer) uint32 { return a.weigh() },
	})}
}

// introspect returns what the provider says or has lately said about token. One question
// about it is under way at a time, and outlives a caller that gives up, for the others'
// sake. What is no answer is not kept.
func (i *introspector) introspect(ctx context.Context, token string, audiences []string) (rp.Access, error) {
	key := keyOf(i.provider.ID(), token, audiences)
	if a, ok := i.kept.GetIfPresent(key); ok && i.now().Before(a.until) {
		return a.access, a.err
	}
	done := i.flight.DoChan(string(key[:]), func() (got any, err error) {
		defer func() {
			// singleflight would end the process: nobody above it can recover.
			if cause := recover(); cause != nil {
				got, err = nil, fmt.Errorf("%w: panic of type %T", ErrUnavailable, cause)
			}
		}()
		return i.ask(context.WithoutCancel(ctx), key, token, audiences)
	})
	select {
	case result := <-done:
		if result.Err != nil {
			return rp.Access{}, result.Err
		}
		return result.Val.(rp.Access), nil
	case <-ctx.Done():
		return rp.Access{}, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (i *introspector) ask(ctx context.Context, key answerKey, token string, audiences []string) (rp.Access, error) {
	select {
	case i.places <- struct{}{}:
		defer func() { <-i.places }()
	default:
		return rp.Access{}, fmt.Errorf("%w: too many are being asked about", ErrUnavailable)
	}
	now := i.now()
	access, err := i.provider.Introspect(ctx, keys.NewSecret(token), audiences)
	err = classify(err)
	switch {
	case err == nil:
		until := now.Add(keepGood)
		if !access.Expires.IsZero() && access.Expires.Before(until) {
			until = access.Expires
		}
		i.kept.Set(key, answer{access: access, until: until})
	case errors.Is(err, ErrBearer):
		i.kept.Set(key, answer{err: err, until: now.Add(keepBad)})
	}
	return access, err
}

// keyOf hashes every part with its length, or two of them could be read as one.
func keyOf(provider, token string, audiences []string) (key answerKey) {
	h := sha256.New()
	for _, part := range append([]string{provider, token}, audiences...) {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part))) // a hash takes everything
		_, _ = io.WriteString(h, part)
	}
	return answerKey(h.Sum(nil))
}

// weigh estimates the bytes that a takes in memory.
func (a answer) weigh() uint32 {
	const fixed = 512 // structs, times, map headers
	n := fixed
	for name, value := range a.access.Identity.Claims {
		n += len(name) + len(value) + 64
	}
	for _, scope := range a.access.Scope {
		n += len(scope) + 16
	}
	return uint32(n)
}
