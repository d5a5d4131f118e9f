package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"
)

// Once reports whether value is seen for the first time within ttl, on whatever
// replica. It makes an authorization code be redeemed once, however often a callback
// is loaded.
func (m *Manager) Once(ctx context.Context, value string, ttl time.Duration) (bool, error) {
	switch err := m.keep(ctx, onceKey(value), []byte{0}, ttl); {
	case errors.Is(err, ErrConflict):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, nil
}

// Seen reports whether Once has been given value and still knows it. It is for what counts
// as seen only when all that follows from it is done.
func (m *Manager) Seen(ctx context.Context, value string) (bool, error) {
	_, err := m.Store.Load(ctx, onceKey(value))
	if errors.Is(err, ErrNone) {
		return false, nil
	}
	return err == nil, err
}

func onceKey(value string) Key { return sha256.Sum256([]byte("once\x00" + value)) }

const purposeHeld = "held value"

// Hold keeps value sealed in the store for ttl and returns a ticket to Take it with.
// It is for what must outlive a request but not reach the browser.
func (m *Manager) Hold(ctx context.Context, value string, ttl time.Duration) (ticket string, err error) {
	ticket = rand.Text()
	key := heldKey(ticket)
	if err := m.keep(ctx, key, m.Ring.Seal(purposeHeld, m.bind(key), []byte(value)), ttl); err != nil {
		return "", err
	}
	return ticket, nil
}

// Take returns what Hold kept and forgets it; ErrNone if there is no such ticket.
func (m *Manager) Take(ctx context.Context, ticket string) (string, error) {
	key := heldKey(ticket)
	row, err := m.Store.Load(ctx, key)
	if err != nil {
		return "", err
	}
	// Of two who hold the ticket the one that changes the row gets what it stands for.
	used := row
	used.Data = []byte{0}
	if _, err := m.Store.Save(ctx, used); errors.Is(err, ErrConflict) {
		return "", ErrNone
	} else if err != nil {
		return "", err
	}
	m.drop(ctx, key)
	plain, err := m.Ring.Open(purposeHeld, m.bind(key), row.Data)
	if err != nil {
		return "", ErrNone
	}
	return string(plain), nil
}

func heldKey(ticket string) Key { return sha256.Sum256([]byte("held\x00" + ticket)) }

// keep inserts a row that is no session.
func (m *Manager) keep(ctx context.Context, key Key, data []byte, ttl time.Duration) error {
	now := m.Now()
	_, err := m.Store.Save(ctx, Row{Key: key, Data: data, Seen: now, Idle: now.Add(ttl), Expires: now.Add(ttl)})
	return err
}
