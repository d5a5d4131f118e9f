package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Reason is why a session ended.
type Reason string

// Reasons.
const (
	SignedOut Reason = "signed_out" // by its user, in its browser
	Revoked   Reason = "revoked"    // by its user elsewhere, by an administrator
	Limit     Reason = "limit"      // session.max_per_user: it was the oldest
	Refused   Reason = "refused"    // the provider does not renew it
	Expired   Reason = "expired"    // a time-out
	Ended     Reason = "ended"      // not known
	// ProviderEnded: the provider says that it is over there.
	ProviderEnded Reason = "provider"
	// replaced: its browser has signed in again. To whoever watches it is Ended.
	replaced Reason = "replaced"
	// leftThere: ProviderEnded, and access that was to outlive a sign-out lives on.
	leftThere Reason = "left there"
)

const (
	// noteLife is how long it is known why a session ended, for those who watch it.
	noteLife = 2 * time.Minute
	// endingAtOnce is how many rows one call deletes side by side.
	endingAtOnce = 8
	// revokeLimit bounds the revocation of one session's tokens at the provider, and the
	// wait for it to begin; revoking is how many are under way.
	revokeLimit = 5 * time.Second
	revoking    = 32
)

const purposeNote = "reason of an end"

// Terminate ends sessions, and returns those it has ended when no replica takes a
// request of theirs any more. Then, without waiting, it gives their tokens back to the
// providers (RFC 7009); when a provider does not answer, not all of them. The error is
// ErrStore: what is not returned may live on. The caller knows who ended them, and says so
// in the log.
func (m *Manager) Terminate(ctx context.Context, list []*Session, reason Reason) (ended []*Session, err error) {
	if ended, err = m.removeAll(ctx, list, reason); len(ended) > 0 {
		m.giveBack(ctx, ended)
	}
	return ended, err
}

// SignedOutThere is Terminate for sessions whose user has signed out at the provider, with
// ProviderEnded. Refresh tokens for offline access are to outlive that, and are not given
// back (OpenID Connect Back-Channel Logout 1.0, 2.7).
func (m *Manager) SignedOutThere(ctx context.Context, list []*Session) (ended []*Session, err error) {
	ended, err = m.removeAll(ctx, list, leftThere)
	if online := slices.DeleteFunc(slices.Clone(ended), offline); len(online) > 0 {
		m.giveBack(ctx, online)
	}
	return ended, err
}

// offline reports whether s has a refresh token that is to outlive a sign-out.
func offline(s *Session) bool {
	return !s.Grant.Tokens.Refresh.Empty() && slices.Contains(s.Grant.Tokens.Scope, "offline_access")
}

// removeAll deletes the rows of list side by side and waits until every replica knows.
func (m *Manager) removeAll(ctx context.Context, list []*Session, reason Reason) (ended []*Session, err error) {
	var mu sync.Mutex
	group, ending := errgroup.WithContext(ctx)
	group.SetLimit(endingAtOnce)
	for _, s := range list {
		group.Go(func() error {
			if ending.Err() != nil {
				return fmt.Errorf("%w: %w", ErrStore, ending.Err())
			}
			if err := m.remove(ctx, s, reason); err != nil { // ctx: what another one's fault cancels would have begun
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, s)
			return nil
		})
	}
	err = group.Wait()
	if len(ended) > 0 {
		m.everywhere(ctx)
	}
	return ended, err
}

// everywhere waits until every replica takes a write that has returned into account.
func (m *Manager) everywhere(ctx context.Context) {
	lag := m.Store.Lag()
	if lag == 0 {
		return
	}
	select {
	case <-time.After(lag):
	case <-ctx.Done(): // the caller no longer waits for it
	}
}

// giveBack begins to revoke the tokens of ended sessions and keeps nobody waiting.
func (m *Manager) giveBack(ctx context.Context, ended []*Session) {
	m.busy.Add(1)
	go func() {
		defer m.busy.Add(-1)
		m.revokeAll(context.WithoutCancel(ctx), ended)
	}()
}

// revokeAll revokes a bounded number at a time, and gives up when no place gets free.
func (m *Manager) revokeAll(ctx context.Context, ended []*Session) {
	place := time.NewTimer(revokeLimit)
	defer place.Stop()
	for i, s := range ended {
		select {
		case m.revocations <- struct{}{}:
			place.Reset(revokeLimit)
		case <-place.C:
			m.Logger.WarnContext(ctx, "tokens not revoked: the provider does not answer", "provider", s.Provider, "sessions", len(ended)-i)
			return
		}
		m.busy.Add(1)
		go func() {
			defer m.busy.Add(-1)
			defer func() { <-m.revocations }()
			revoking, cancel := context.WithTimeout(ctx, revokeLimit)
			defer cancel()
			m.Revoke(revoking, s)
		}()
	}
}

// remove deletes the row of s as it is now, and makes s that, so that the tokens that
// are revoked are the last ones.
func (m *Manager) remove(ctx context.Context, s *Session, reason Reason) error {
	m.note(ctx, s.row.Key, reason)
	for range 3 {
		err := m.Store.Delete(ctx, s.row.Key, s.row.Version)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		now, err := m.read(ctx, s.row.Key)
		if errors.Is(err, ErrNone) { // gone, or sealed with a key that is not here
			break
		} else if err != nil {
			return err
		}
		*s = *now
	}
	return m.Store.Delete(ctx, s.row.Key, 0)
}

// note leaves word why the session of key is about to end. Without it the reason is
// unknown, the end is the same.
func (m *Manager) note(ctx context.Context, key Key, reason Reason) {
	row := noteKey(key)
	err := m.keep(ctx, row, m.Ring.Seal(purposeNote, m.bind(row), []byte(reason)), noteLife)
	if err != nil && !errors.Is(err, ErrConflict) {
		m.Logger.DebugContext(ctx, "the reason of an end was not kept", "error", err)
	}
}

// reason is what note left, else Ended.
func (m *Manager) reason(ctx context.Context, key Key) Reason {
	row, err := m.Store.Load(ctx, noteKey(key))
	if err != nil {
		return Ended
	}
	plain, err := m.Ring.Open(purposeNote, m.bind(row.Key), row.Data)
	if err != nil {
		return Ended
	}
	return Reason(plain)
}

func noteKey(key Key) Key { return sha256.Sum256(append([]byte("ended\x00"), key[:]...)) }
