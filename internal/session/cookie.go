package session

import (
	"cmp"
	"encoding/hex"
	"errors"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/sessions"

	"genkan/internal/origin"
)

// Keys of a gorilla session's Values: the cookie's id, the *Session, the Reason of its end,
// and SignIn.Redeemed of one that begins.
type (
	idKey       struct{}
	valueKey    struct{}
	reasonKey   struct{}
	redeemedKey struct{}
)

const (
	purposeCookie = "session cookie"
	purposeRecord = "session record"
	// maxCookies bounds how many cookies of one name are tried: a sibling may toss
	// in others, ours still counts (rfc6265bis 8.6).
	maxCookies = 4
)

// Get implements sessions.Store: one load per request.
func (m *Manager) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(m, name)
}

// New implements sessions.Store. The session is always non-nil; it is new when no
// cookie of r leads to a live one, and the error is nil or ErrStore.
func (m *Manager) New(r *http.Request, name string) (*sessions.Session, error) {
	g := sessions.NewSession(m, name)
	g.Options, g.IsNew = &sessions.Options{}, true
	secret, s, err := m.ofCookie(r, name)
	switch {
	case errors.Is(err, ErrNone):
		return g, nil
	case err != nil:
		return g, err
	}
	own := *s
	g.IsNew, g.ID = false, s.ID
	g.Values[idKey{}], g.Values[valueKey{}] = secret, &own
	return g, nil
}

// Load returns the live session of the browser that sent r, ErrNone, or ErrStore. Until r
// is answered it is the one Session of r, which End brings up to date.
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

// Peek is Load for those who use the session and do not change it: it is shared by all who
// ask. It goes past the registry, which costs more than all the rest: every call to an upstream comes here.
func (m *Manager) Peek(r *http.Request) (*Session, error) {
	_, s, err := m.ofCookie(r, origin.SiteOf(r).Session().Name)
	return s, err
}

// ofCookie tries the cookies of that name.
func (m *Manager) ofCookie(r *http.Request, name string) (id, *Session, error) {
	tried := 0
	for value := range cookiesNamed(r, name) {
		if tried++; tried > maxCookies {
			break
		}
		plain, err := m.Ring.OpenText(purposeCookie, m.Deployment+" "+name, value)
		if err != nil || len(plain) != len(id{}) {
			continue
		}
		secret := id(plain)
		s, err := m.load(r.Context(), secret.key())
		if errors.Is(err, ErrNone) {
			continue
		}
		return secret, s, err
	}
	return id{}, nil, ErrNone
}

// cookiesNamed are the values of the cookies of that name (RFC 6265 5.4), as they were sent:
// what is none of ours does not open.
func cookiesNamed(r *http.Request, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range r.Header["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				if n, value, found := strings.Cut(strings.TrimSpace(pair), "="); found && n == name && !yield(value) {
					return
				}
			}
		}
	}
}

// Save implements sessions.Store: it writes the record and the cookie, or, with a
// negative MaxAge, ends both. When the store fails the cookie stays as it was, so
// that signing out can be tried again and really ends the session.
func (m *Manager) Save(r *http.Request, w http.ResponseWriter, g *sessions.Session) error {
	cookie := origin.SiteOf(r).Session()
	s, live := g.Values[valueKey{}].(*Session)
	if g.Options.MaxAge < 0 {
		if live {
			reason, _ := g.Values[reasonKey{}].(Reason)
			if err := m.remove(r.Context(), s, cmp.Or(reason, SignedOut)); err != nil {
				return err
			}
			m.everywhere(r.Context())
		}
		clear(g.Values)
		http.SetCookie(w, cookie.Clear())
		return nil
	}
	secret, ok := g.Values[idKey{}].(id)
	if !live || !ok {
		return errors.New("session: save without a record")
	}
	if err := m.write(r.Context(), s); err != nil {
		return err
	}
	if redeemed, begins := g.Values[redeemedKey{}].(time.Time); begins {
		if err := m.admit(r.Context(), s, redeemed); err != nil {
			return err
		}
	}
	value := m.Ring.SealText(purposeCookie, m.Deployment+" "+cookie.Name, secret[:])
	http.SetCookie(w, cookie.Set(value, s.Expires.Sub(m.Now())))
	return nil
}

// bind ties a sealed record to its row and deployment.
func (m *Manager) bind(key Key) string { return m.Deployment + " " + hex.EncodeToString(key[:]) }
