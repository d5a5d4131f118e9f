// Package session is the signed-in browser: its record, its lifetimes, its cookie,
// and the refresh of its tokens.
//
// A browser holds one random id, sealed; the store holds the id's hash and a record
// sealed to that row. So neither a copy of the store nor a copy of the cookie jar's
// format is enough to become somebody. A store that fails is never "no session":
// the two are different errors, and only the second may sign anybody out.
//
// The package knows nothing of pages, redirects or upstreams.
package session

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/sessions"
	"golang.org/x/sync/singleflight"

	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/rp"
)

// Errors of a Manager beside ErrNone.
var (
	// ErrStore: the store failed; whether there is a session is unknown.
	ErrStore = errors.New("session: store unavailable")
	// ErrExpired: the session is over, or has no way to renew its tokens.
	ErrExpired = errors.New("session: expired")
	// ErrProvider: the tokens have expired and the provider cannot renew them now;
	// the session lives on.
	ErrProvider = errors.New("session: provider unavailable")
)

// Provider is the part of a relying party that a session needs; *rp.Client is one.
type Provider interface {
	Refresh(ctx context.Context, prev rp.Grant) (rp.Grant, error)
	Revoke(ctx context.Context, token keys.Secret, hint string) error
}

// Config is a Manager's. Store, Ring and Deployment are required.
type Config struct {
	Store Store
	Ring  *keys.Ring
	// Deployment is bound into everything sealed, so that a cookie or a row of
	// another deployment with the same key is not accepted. The canonical public URL.
	Deployment      string
	Providers       map[string]Provider
	IdleTimeout     time.Duration // default 1 h
	AbsoluteTimeout time.Duration // default 12 h
	Now             func() time.Time
	Logger          *slog.Logger
}

// Manager loads, starts, renews and ends sessions. It is a gorilla sessions.Store,
// whose registry makes one request load its session once.
type Manager struct {
	Config
	refreshing singleflight.Group
	abandoned  sync.WaitGroup // refreshes whose callers have hung up
}

var _ sessions.Store = (*Manager)(nil)

// New makes a Manager.
func New(c Config) *Manager {
	c.IdleTimeout = cmp.Or(c.IdleTimeout, time.Hour)
	c.AbsoluteTimeout = cmp.Or(c.AbsoluteTimeout, 12*time.Hour)
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return &Manager{Config: c}
}

// Load returns the live session of the browser that sent r, ErrNone, or ErrStore.
func (m *Manager) Load(r *http.Request) (*Session, error) {
	g, err := m.Get(r, origin.SiteOf(r).Session().Name)
	if err != nil {
		return nil, err
	}
	if s, ok := g.Values[valueKey{}].(*Session); ok {
		return s, nil
	}
	return nil, ErrNone
}

// touchEvery bounds how often activity is written.
const touchEvery = time.Minute

// Active counts r as activity: it moves the idle limit, at most once a minute. A
// store that fails here costs only the extension.
func (m *Manager) Active(ctx context.Context, s *Session) {
	now := m.Now()
	if now.Sub(s.row.Seen) < min(touchEvery, m.IdleTimeout/10) {
		return
	}
	idle := m.idleLimit(now, s.Expires)
	if err := m.Store.Touch(ctx, s.row.Key, now, idle); err != nil && !errors.Is(err, ErrNone) {
		m.Logger.WarnContext(ctx, "activity not written", "session", s.ID, "error", err)
		return
	}
	s.row.Seen, s.row.Idle, s.Idle = now, idle, idle
}

func (m *Manager) idleLimit(now, expires time.Time) time.Time {
	if idle := now.Add(m.IdleTimeout); idle.Before(expires) {
		return idle
	}
	return expires
}

// SignIn is a finished sign-in.
type SignIn struct {
	Provider string
	Grant    rp.Grant
	Trips    []time.Time
	// Replaces are the rows of sessions that this one takes the place of.
	Replaces []Key
}

// Start begins a session with a new id (ASVS 7.2.4) and sets its cookie. What this
// browser had before is ended here, not at the provider: there both sign-ins may be
// one grant, and revoking the old tokens would take the new ones along.
func (m *Manager) Start(w http.ResponseWriter, r *http.Request, in SignIn) (*Session, error) {
	if old, err := m.Load(r); err == nil {
		in.Replaces = append(in.Replaces, old.Key())
	}
	now := m.Now()
	expires := now.Add(m.AbsoluteTimeout)
	fresh := newID()
	s := &Session{
		Record: Record{
			ID: rand.Text(), Provider: in.Provider, Grant: in.Grant, Trips: in.Trips,
			Created: now, Expires: expires, Renewed: now,
		},
		Idle: m.idleLimit(now, expires),
	}
	s.row = Row{Key: fresh.key(), Seen: now, Idle: s.Idle, Expires: expires}
	g, _ := m.Get(r, origin.SiteOf(r).Session().Name)
	g.Values[idKey{}], g.Values[valueKey{}] = fresh, s
	if err := m.Save(r, w, g); err != nil {
		return nil, err
	}
	for _, key := range in.Replaces {
		m.drop(r.Context(), key)
	}
	return s, nil
}

// End ends the session of r's browser and clears its cookie. The caller tells the
// provider; see Revoke.
func (m *Manager) End(w http.ResponseWriter, r *http.Request) error {
	g, err := m.Get(r, origin.SiteOf(r).Session().Name)
	if err != nil {
		return err
	}
	g.Options.MaxAge = -1
	return m.Save(r, w, g)
}

// Revoke gives the session's refresh token back to the provider (RFC 7009), or the
// access token where there is none. It tries once, bounded by ctx.
func (m *Manager) Revoke(ctx context.Context, s *Session) {
	provider, ok := m.Providers[s.Provider]
	if !ok {
		return
	}
	token, hint := s.Grant.Tokens.Refresh, "refresh_token"
	if token.Empty() {
		token, hint = s.Grant.Tokens.Access, "access_token"
	}
	if err := provider.Revoke(ctx, token, hint); err != nil {
		m.Logger.WarnContext(ctx, "tokens not revoked at the provider", "session", s.ID, "provider", s.Provider, "error", err)
	}
}

// Once reports whether value is seen for the first time within ttl, on whatever
// replica. It makes an authorization code be redeemed once, however often a callback
// is loaded.
func (m *Manager) Once(ctx context.Context, value string, ttl time.Duration) (bool, error) {
	switch err := m.keep(ctx, sha256.Sum256([]byte("once\x00"+value)), []byte{0}, ttl); {
	case errors.Is(err, ErrConflict):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return true, nil
}

const purposeHeld = "held value"

// Hold keeps value sealed in the store for ttl and returns a ticket to Take it with.
// It is for what must outlive a request but not reach the browser.
func (m *Manager) Hold(ctx context.Context, value string, ttl time.Duration) (ticket string, err error) {
	ticket = rand.Text()
	key := heldKey(ticket)
	if err := m.keep(ctx, key, m.Ring.Seal(purposeHeld, m.bind(key), []byte(value)), ttl); err != nil {
		return "", fmt.Errorf("%w: %w", ErrStore, err)
	}
	return ticket, nil
}

// Take returns what Hold kept and forgets it; ErrNone if there is no such ticket.
func (m *Manager) Take(ctx context.Context, ticket string) (string, error) {
	key := heldKey(ticket)
	row, err := m.Store.Load(ctx, key)
	if errors.Is(err, ErrNone) {
		return "", ErrNone
	} else if err != nil {
		return "", fmt.Errorf("%w: %w", ErrStore, err)
	}
	m.drop(ctx, key)
	plain, _, err := m.Ring.Open(purposeHeld, m.bind(key), row.Data)
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

func (m *Manager) drop(ctx context.Context, key Key) {
	if err := m.Store.Delete(ctx, key); err != nil {
		m.Logger.WarnContext(ctx, "a row was not deleted; it ends by its time-out", "error", err)
	}
}
