package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"genkan/internal/finding"
	"genkan/internal/rp"
)

const (
	// refreshLimit bounds how long a request waits for new tokens, whichever replica
	// asks for them.
	refreshLimit = 30 * time.Second
	// maxLeeway is how long before its expiry a token is renewed; short-lived
	// tokens use a tenth of their life.
	maxLeeway = 30 * time.Second
	// persistLimit is how long new tokens wait for a store that is down. After a
	// rotation they are the only copy.
	persistLimit = 2 * time.Minute
)

// Fresh returns the session with an access token that has not expired, renewing it
// if need be. ErrExpired: the session is over. ErrProvider: try later. A refresh
// runs once per session, over all replicas and however many requests wait for it, and
// goes on when they hang up: a rotated refresh token is never lost to a closed tab.
func (m *Manager) Fresh(ctx context.Context, s *Session) (*Session, error) {
	if !m.due(s) {
		return s, nil
	}
	return m.renew(ctx, s, demand{name: "due", needed: m.due, or: m.alive})
}

// Renew asks the provider for new tokens now, unless another request got them
// after s was loaded.
func (m *Manager) Renew(ctx context.Context, s *Session) (*Session, error) {
	seen := s.row.Version
	return m.renew(ctx, s, demand{
		name:   "newer than " + strconv.FormatUint(seen, 10),
		needed: func(now *Session) bool { return now.row.Version == seen },
		or:     func(*Session) bool { return false },
	})
}

// demand is what a caller wants of a session.
type demand struct {
	name   string              // of all that are the same
	needed func(*Session) bool // its tokens have to be renewed
	or     func(*Session) bool // but they will do while another replica renews them
}

// due reports whether the access token has expired or, where it can be renewed, is
// about to.
func (m *Manager) due(s *Session) bool {
	expiry := s.Grant.Tokens.Expiry
	leeway := min(maxLeeway, expiry.Sub(s.Renewed)/10)
	if s.Grant.Tokens.Refresh.Empty() {
		leeway = 0
	}
	return !m.Now().Before(expiry.Add(-leeway))
}

// renew shares one refresh among all waiters of this replica. Whether it is needed is
// asked again after the row has been read anew, so that a late waiter takes the result
// that is there.
func (m *Manager) renew(ctx context.Context, s *Session, d demand) (*Session, error) {
	key := s.row.Key
	result := m.share(&m.refreshing, string(key[:])+d.name, func() (*Session, error) {
		return m.settle(context.WithoutCancel(ctx), key, d)
	})
	waiting, cancel := context.WithTimeout(ctx, refreshLimit)
	defer cancel()
	select {
	case <-waiting.Done():
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: no new tokens in time", ErrProvider)
	case r := <-result:
		return ownOf(r)
	}
}

// settle makes one replica renew the tokens of key and gives every replica the result:
// whoever holds the lease asks the provider, the others wait for the row to change.
func (m *Manager) settle(ctx context.Context, key Key, d demand) (*Session, error) {
	waiting, cancel := context.WithTimeout(ctx, refreshLimit)
	defer cancel()
	owner := newOwner()
	for {
		stamp, _ := m.Store.Stamp(key) // from before the read
		now, err := m.read(ctx, key)
		if err != nil || !d.needed(now) {
			return now, err
		}
		if cause := m.brakes.on(key, m.Now()); cause != nil {
			return d.keepOn(now, cause)
		}
		asked := time.Now()
		lease, err := m.Store.Lease(ctx, key, owner, leaseLife)
		switch {
		case lease.Held:
			return m.lead(ctx, key, turn{owner: owner, asked: asked, inherited: lease.Inherited}, d)
		case d.or(now):
			return now, nil
		case err != nil:
			return nil, fmt.Errorf("lease: %w", err)
		}
		if err := m.change(waiting, key, stamp); err != nil {
			return nil, fmt.Errorf("%w: another replica has not renewed the tokens: %w", ErrProvider, err)
		}
	}
}

// lead renews the tokens under the lease, after it has read the row again: who held the
// lease before may have done it.
func (m *Manager) lead(ctx context.Context, key Key, t turn, d demand) (s *Session, err error) {
	t.held = m.hold(ctx, key, t)
	settled := false
	// What a replica that stopped has begun stays in doubt until a provider or the row has
	// told: the next one inherits it again.
	defer func() { t.held.end(settled || !t.inherited) }()
	if t.inherited {
		m.Logger.WarnContext(ctx, "a replica stopped while it renewed tokens; this one goes on", "finding", finding.RefreshInherited.Code)
		time.Sleep(inheritGrace)
	}
	now, err := m.read(ctx, key)
	if err != nil || !d.needed(now) {
		settled = !errors.Is(err, ErrStore)
		return now, err
	}
	before := now.row.Version
	s, err = m.refresh(ctx, now, t, d)
	settled = errors.Is(err, ErrExpired) || errors.Is(err, ErrNone) || err == nil && s.row.Version != before
	return s, err
}

// alive reports whether the access token can still be used.
func (m *Manager) alive(s *Session) bool { return m.Now().Before(s.Grant.Tokens.Expiry) }

// refresh makes the one token request and stores what came of it.
func (m *Manager) refresh(ctx context.Context, s *Session, t turn, d demand) (*Session, error) {
	provider, ok := m.Providers[s.Provider]
	if !ok || s.Grant.Tokens.Refresh.Empty() {
		if m.alive(s) {
			return s, nil
		}
		return nil, ErrExpired
	}
	if !t.held.still() {
		return d.keepOn(s, errLeaseLost)
	}
	m.Logger.DebugContext(ctx, "asking the provider for new tokens", "session", s.ID, "provider", s.Provider)
	asking, cancel := context.WithTimeout(ctx, refreshLimit)
	grant, err := provider.Refresh(asking, s.Grant)
	cancel()
	if err != nil && grant.Tokens.Refresh.Empty() {
		return m.refused(ctx, s, refusal{t, d, err})
	}
	unchecked := err // the answer could not be checked, but the provider has rotated
	s.Grant = grant
	if unchecked == nil {
		s.Renewed = m.Now()
	}
	err = m.persist(ctx, s)
	if errors.Is(err, ErrConflict) { // another process was faster, or an attempt of ours succeeded without our knowing
		return m.read(ctx, s.row.Key)
	}
	if err != nil {
		m.unstored(ctx, s, err)
		return nil, err
	}
	if unchecked != nil {
		return m.refused(ctx, s, refusal{t, d, unchecked})
	}
	m.Logger.InfoContext(ctx, "tokens renewed", "session", s.ID, "provider", s.Provider)
	return s, nil
}

// unstored settles new tokens that no row has. Those of a session that was ended
// meanwhile are nobody's to use.
func (m *Manager) unstored(ctx context.Context, s *Session, cause error) {
	if !errors.Is(cause, ErrNone) {
		m.Logger.ErrorContext(ctx, "renewed tokens were lost: if the provider rotates refresh tokens, the session ends at its next renewal",
			"finding", finding.RefreshLost.Code, "session", s.ID, "error", cause)
		m.brakes.pull(s.row.Key, m.Now(), cause, true)
		return
	}
	reason := m.reason(ctx, s.row.Key)
	if reason == replaced { // its new tokens may be of one grant with its successor's
		return
	}
	m.Logger.InfoContext(ctx, "the session ended while its tokens were renewed", "session", s.ID)
	if reason == leftThere && offline(s) { // see SignedOutThere
		return
	}
	revoking, cancel := context.WithTimeout(ctx, revokeLimit)
	defer cancel()
	m.Revoke(revoking, s)
}

// refusal is a refresh that failed.
type refusal struct {
	turn
	demand
	cause error
}

// refused settles a failed refresh (RFC 10017 6.1.2.2): a refusal or an ID token
// that is not ours ends the session; anything else keeps it, and the access token
// as long as that lives.
func (m *Manager) refused(ctx context.Context, s *Session, r refusal) (*Session, error) {
	var failure *rp.Error
	known := errors.As(r.cause, &failure)
	if !known || (failure.Kind != rp.Refused && failure.Kind != rp.Invalid) {
		m.Logger.WarnContext(ctx, "tokens not renewed", "session", s.ID, "provider", s.Provider, "error", r.cause)
		m.brakes.pull(s.row.Key, m.Now(), r.cause, !known || failure.Kind == rp.Fault && failure.Status == 0)
		return r.keepOn(s, r.cause)
	}
	if !r.held.still() { // another replica asks with the same refresh token: the row will tell who was served
		return r.keepOn(s, errLeaseLost)
	}
	m.note(ctx, s.row.Key, Refused)
	switch err := m.Store.Delete(ctx, s.row.Key, s.row.Version); {
	case errors.Is(err, ErrConflict): // a replica that took the lease from us was not refused: its tokens count
		m.drop(ctx, noteKey(s.row.Key))
		return m.read(ctx, s.row.Key)
	case err != nil:
		return nil, err
	}
	attrs := []any{"session", s.ID, "provider", s.Provider, "reason", string(Refused), "error", r.cause}
	if r.inherited || m.brakes.doubtful(s.row.Key) {
		attrs = append(attrs, "finding", finding.RefreshLost.Code)
	}
	m.Logger.WarnContext(ctx, "session ended: the provider does not renew it", attrs...)
	return nil, fmt.Errorf("%w: %w", ErrExpired, r.cause)
}

// keepOn is the session without new tokens: its access token may do.
func (d demand) keepOn(s *Session, cause error) (*Session, error) {
	if d.or(s) {
		return s, nil
	}
	return nil, fmt.Errorf("%w: %w", ErrProvider, cause)
}

// persist writes new tokens and does not give up at the first fault: the provider
// has rotated already, so what is not stored is lost.
func (m *Manager) persist(ctx context.Context, s *Session) error {
	ctx, cancel := context.WithTimeout(ctx, persistLimit)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, persistEvery) {
		err := m.write(ctx, s)
		if err == nil || !errors.Is(err, ErrStore) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// Drain waits for the refreshes and revocations under way, or for the end of ctx. Call it
// when no request is served any more, before the Store is closed.
func (m *Manager) Drain(ctx context.Context) error {
	m.writeActivity(ctx)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for m.busy.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
