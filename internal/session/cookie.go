package session

import (
	"cmp"
	"encoding/hex"
	"errors"
	"net/http"
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
	cookies := r.CookiesNamed(name)
	for _, c := range cookies[:min(len(cookies), maxCookies)] {
		plain, err := m.Ring.OpenText(purposeCookie, m.Deployment+" "+name, c.Value)
		if err != nil || len(plain) != len(id{}) {
			continue
		}
		s, err := m.load(r.Context(), id(plain).key())
		switch {
		case errors.Is(err, ErrNone):
			continue
		case err != nil:
			return g, err
		}
		g.IsNew, g.ID = false, s.ID
		g.Values[idKey{}], g.Values[valueKey{}] = id(plain), s
		return g, nil
	}
	return g, nil
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
