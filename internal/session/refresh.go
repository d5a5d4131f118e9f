package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"genkan/internal/rp"
)

const (
	// refreshLimit bounds one refresh, the provider's answer and the store's write
	// included.
	refreshLimit = 30 * time.Second
	// maxLeeway is how long before its expiry a token is renewed; short-lived
	// tokens use a tenth of their life.
	maxLeeway = 30 * time.Second
)

// Fresh returns the session with an access token that has not expired, renewing it
// if need be. ErrExpired: the session is over. ErrProvider: try later. A refresh
// runs once per session however many requests wait for it, and goes on when they
// hang up: a rotated refresh token is never lost to a closed tab.
func (m *Manager) Fresh(ctx context.Context, s *Session) (*Session, error) {
	if !m.due(s) {
		return s, nil
	}
	return m.renew(ctx, s, m.due)
}

// Renew asks the provider for new tokens now, unless another request got them
// after s was loaded.
func (m *Manager) Renew(ctx context.Context, s *Session) (*Session, error) {
	seen := s.row.Version
	return m.renew(ctx, s, func(now *Session) bool { return now.row.Version == seen })
}

// due reports whether the access token has expired or is about to.
func (m *Manager) due(s *Session) bool {
	expiry := s.Grant.Tokens.Expiry
	leeway := min(maxLeeway, expiry.Sub(s.Renewed)/10)
	return !m.Now().Before(expiry.Add(-leeway))
}

// renew shares one refresh among all waiters. needed is asked again after the row
// has been read anew, so that a late waiter takes the result that is there.
func (m *Manager) renew(ctx context.Context, s *Session, needed func(*Session) bool) (*Session, error) {
	key := s.row.Key
	result := m.refreshing.DoChan(string(key[:]), func() (now any, err error) {
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshLimit)
		defer cancel()
		defer func() {
			if v := recover(); v != nil { // singleflight would end the process
				m.Logger.ErrorContext(detached, "panic while renewing tokens", "type", fmt.Sprintf("%T", v)) // its text could hold a token
				err = errors.New("session: renewing the tokens panicked")
			}
		}()
		return m.reread(detached, key, needed)
	})
	select {
	case <-ctx.Done():
		m.abandoned.Go(func() { <-result })
		return nil, ctx.Err()
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		copied := *r.Val.(*Session)
		return &copied, nil
	}
}

// reread refreshes the session of key unless another request has done so.
func (m *Manager) reread(ctx context.Context, key Key, needed func(*Session) bool) (*Session, error) {
	now, err := m.load(ctx, key)
	if err != nil || !needed(now) {
		return now, err
	}
	return m.refresh(ctx, now)
}

// Drain waits for the refreshes under way whose callers have hung up, or for the end
// of ctx. Call it when no request is served any more, before the Store is closed.
func (m *Manager) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { m.abandoned.Wait(); close(done) }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		return nil
	}
}

// refresh makes the one token request and stores what came of it.
func (m *Manager) refresh(ctx context.Context, s *Session) (*Session, error) {
	provider, ok := m.Providers[s.Provider]
	if !ok || s.Grant.Tokens.Refresh.Empty() {
		if m.Now().Before(s.Grant.Tokens.Expiry) {
			return s, nil
		}
		return nil, ErrExpired
	}
	grant, err := provider.Refresh(ctx, s.Grant)
	if err != nil {
		return m.refused(ctx, s, err)
	}
	s.Grant, s.Renewed = grant, m.Now()
	err = m.persist(ctx, s)
	if errors.Is(err, ErrConflict) { // another process was faster, or an attempt of ours succeeded without our knowing
		return m.load(ctx, s.row.Key)
	}
	if err != nil {
		m.Logger.ErrorContext(ctx, "renewed tokens not stored", "session", s.ID, "error", err)
		if errors.Is(err, ErrNone) { // ended meanwhile: nobody may use the new tokens
			m.Revoke(ctx, s)
		}
		return nil, err
	}
	m.Logger.InfoContext(ctx, "tokens renewed", "session", s.ID, "provider", s.Provider)
	return s, nil
}

// refused settles a failed refresh (RFC 10017 6.1.2.2): a refusal or an ID token
// that is not ours ends the session; anything else keeps it, and the access token
// as long as that lives.
func (m *Manager) refused(ctx context.Context, s *Session, cause error) (*Session, error) {
	var failure *rp.Error
	if errors.As(cause, &failure) && (failure.Kind == rp.Refused || failure.Kind == rp.Invalid) {
		m.Logger.WarnContext(ctx, "session ended: the provider does not renew it", "session", s.ID, "provider", s.Provider, "error", cause)
		m.drop(ctx, s.row.Key)
		return nil, fmt.Errorf("%w: %w", ErrExpired, cause)
	}
	m.Logger.WarnContext(ctx, "tokens not renewed", "session", s.ID, "provider", s.Provider, "error", cause)
	if m.Now().Before(s.Grant.Tokens.Expiry) {
		return s, nil
	}
	return nil, fmt.Errorf("%w: %w", ErrProvider, cause)
}

// persist writes new tokens and does not give up at the first fault: the provider
// has rotated already, so what is not stored is lost.
func (m *Manager) persist(ctx context.Context, s *Session) error {
	for wait := 50 * time.Millisecond; ; wait *= 2 {
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

// load reads and opens the row of key: ErrNone or ErrStore.
func (m *Manager) load(ctx context.Context, key Key) (*Session, error) {
	row, err := m.Store.Load(ctx, key)
	if errors.Is(err, ErrNone) {
		return nil, ErrNone
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	plain, _, err := m.Ring.Open(purposeRecord, m.bind(key), row.Data)
	if err != nil {
		m.Logger.WarnContext(ctx, "a stored session cannot be opened and counts as none: its key is gone, or it was changed or moved")
		return nil, ErrNone
	}
	record, err := unmarshal(plain)
	if err != nil {
		m.Logger.WarnContext(ctx, "a stored session cannot be read and counts as none", "error", err)
		return nil, ErrNone
	}
	if !m.Now().Before(record.Expires) { // sealed, unlike the row's own times
		return nil, ErrNone
	}
	row.Data = nil
	return &Session{Record: record, Idle: row.Idle, row: row}, nil
}

// write seals and saves s; the store decides whether it is still the same row.
func (m *Manager) write(ctx context.Context, s *Session) error {
	plain, err := s.marshal()
	if err != nil {
		return fmt.Errorf("session: record: %w", err)
	}
	row := s.row
	row.Data = m.Ring.Seal(purposeRecord, m.bind(row.Key), plain)
	version, err := m.Store.Save(ctx, row)
	if errors.Is(err, ErrNone) || errors.Is(err, ErrConflict) || errors.Is(err, ErrTooLarge) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	s.row.Version = version
	return nil
}
