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
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
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
	// ErrBarred: the provider has ended the session before it began; see Bar.
	ErrBarred = errors.New("session: signed out at the provider meanwhile")
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
	CacheSize       uint64        // estimated bytes of opened sessions to keep in memory; default 128 MiB, some 30,000 sessions
	MaxPerUser      int           // sessions of one user at one provider; the oldest ends; 0 for no limit
	Now             func() time.Time
	Logger          *slog.Logger
}

// Manager loads, starts, renews and ends sessions. It is a gorilla sessions.Store,
// whose registry makes one request load its session once.
type Manager struct {
	Config
	cache       *cache
	activity    activity
	reading     singleflight.Group
	refreshing  singleflight.Group
	brakes      *brakes
	revocations chan struct{} // a place for each that is under way
	vigils      vigils
	busy        atomic.Int64 // reads, refreshes and revocations under way, whoever waits
}

var _ sessions.Store = (*Manager)(nil)

// New makes a Manager.
func New(c Config) *Manager {
	c.IdleTimeout = cmp.Or(c.IdleTimeout, time.Hour)
	c.AbsoluteTimeout = cmp.Or(c.AbsoluteTimeout, 12*time.Hour)
	if c.Now == nil {
		c.Now = time.Now
	}
	c.CacheSize = cmp.Or(c.CacheSize, defaultCacheSize)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Store = newGuard(c.Store, c.Logger)
	return &Manager{Config: c, cache: newCache(c.CacheSize), brakes: newBrakes(), revocations: make(chan struct{}, revoking)}
}

func (s *Session) active(seen, idle time.Time) {
	s.row.Seen, s.row.Idle, s.Idle = seen, idle, idle
}

// Seen is the last activity, as exact as a minute.
func (s *Session) Seen() time.Time { return s.row.Seen }

func (m *Manager) idleLimit(now, expires time.Time) time.Time {
	return earlier(now.Add(m.IdleTimeout), expires)
}

// maxAgent bounds what is kept of a User-Agent, in bytes.
const maxAgent = 256

// SignIn is a finished sign-in.
type SignIn struct {
	Provider string
	Grant    rp.Grant
	Redeemed time.Time // before the first request that Grant comes of; what Bar has marked since then counts
	Trips    []time.Time
	Agent    string // User-Agent; what is over 256 bytes is cut
	Address  string // client's IP address
	// Replaces are the rows of sessions that this one takes the place of.
	Replaces []Key
}

// Start begins a session with a new id (ASVS 7.2.4) and sets its cookie. What this
// browser had before is ended here, not at the provider: there both sign-ins may be
// one grant, and revoking the old tokens would take the new ones along. ErrBarred: there is
// no session and no new cookie.
func (m *Manager) Start(w http.ResponseWriter, r *http.Request, in SignIn) (*Session, error) {
	if old, err := m.Load(r); err == nil {
		in.Replaces = append(in.Replaces, old.Key())
	}
	now := m.Now()
	expires := now.Add(m.AbsoluteTimeout)
	fresh := newID()
	key := fresh.key()
	s := &Session{
		Record: Record{
			ID: newHandle(key), Provider: in.Provider, Grant: in.Grant, Trips: in.Trips,
			Created: now, Expires: expires, Renewed: now,
			Agent: in.Agent[:min(len(in.Agent), maxAgent)], Address: in.Address,
		},
		Idle: m.idleLimit(now, expires),
	}
	s.row = Row{Key: key, Seen: now, Idle: s.Idle, Expires: expires}
	g, _ := m.Get(r, origin.SiteOf(r).Session().Name)
	g.Values[idKey{}], g.Values[valueKey{}], g.Values[redeemedKey{}] = fresh, s, in.Redeemed
	if err := m.Save(r, w, g); err != nil {
		if errors.Is(err, ErrStore) { // it may be there all the same, and nobody would have its cookie
			m.drop(context.WithoutCancel(r.Context()), key)
		}
		return nil, err
	}
	for _, key := range in.Replaces {
		m.note(r.Context(), key, replaced)
		m.drop(r.Context(), key)
	}
	m.limit(r.Context(), s)
	return s, nil
}

// limit ends the oldest sessions of the user of s above MaxPerUser. A store that fails
// here leaves one too many, which the next sign-in ends.
func (m *Manager) limit(ctx context.Context, s *Session) {
	if m.MaxPerUser <= 0 {
		return
	}
	err := m.alone(ctx, sha256.Sum256([]byte("limit\x00"+m.name(s.Provider, s.Grant.Identity.Subject))), func() error {
		all, err := m.OfUser(ctx, s.Provider, s.Grant.Identity.Subject)
		if err != nil {
			return err
		}
		mine := func(one *Session) bool { return one.row.Key == s.row.Key }
		if !slices.ContainsFunc(all, mine) { // a later sign-in has ended it already
			return nil
		}
		// s counts, but is never the oldest: its clock may run behind another replica's.
		others := slices.DeleteFunc(all, mine)
		ended, err := m.Terminate(ctx, others[min(len(others), m.MaxPerUser-1):], Limit)
		for _, one := range ended {
			m.Logger.InfoContext(ctx, "session ended: its user has signed in too often", "session", one.ID, "provider", one.Provider, "reason", string(Limit))
		}
		return err
	})
	if err != nil {
		m.Logger.WarnContext(ctx, "the user's sessions could not be held to session.max_per_user", "session", s.ID, "error", err)
	}
}

// End ends the session of r's browser, if there is one, and clears its cookie. The caller
// tells the provider; see Revoke.
func (m *Manager) End(w http.ResponseWriter, r *http.Request, reason Reason) error {
	g, err := m.Get(r, origin.SiteOf(r).Session().Name)
	if err != nil {
		return err
	}
	g.Options.MaxAge = -1
	g.Values[reasonKey{}] = reason
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

// Sweep removes at most limit rows that are over, and the opened sessions among them
// from memory. It returns how many rows.
func (m *Manager) Sweep(ctx context.Context, limit int) (int, error) {
	m.cache.purge(m.Store.Stamp, m.Now())
	m.brakes.purge(m.Now())
	return m.Store.Sweep(ctx, limit)
}

func (m *Manager) drop(ctx context.Context, key Key) {
	if err := m.Store.Delete(ctx, key, 0); err != nil {
		m.Logger.WarnContext(ctx, "a row was not deleted; it ends by its time-out", "error", err)
	}
}
