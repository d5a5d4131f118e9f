package server

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/session"
)

// signedOut is the body of /session without a session.
type signedOut struct {
	Authenticated bool           `json:"authenticated"` // false
	Providers     []providerInfo `json:"providers"`
}

type providerInfo struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	LoginURL string `json:"login_url"`
}

// signedIn is the body of /session with one.
type signedIn struct {
	Authenticated bool                       `json:"authenticated"` // true
	User          map[string]json.RawMessage `json:"user"`
	Session       sessionInfo                `json:"session"`
	LogoutURL     string                     `json:"logout_url"`
}

// sessionInfo tells a program when the session ends, in seconds from now: clocks of
// browsers are wrong too often for times of day.
type sessionInfo struct {
	ID                string     `json:"id"`
	Provider          string     `json:"provider"`
	CreatedAt         time.Time  `json:"created_at"`
	IdleExpiresIn     int64      `json:"idle_expires_in"`
	AbsoluteExpiresIn int64      `json:"absolute_expires_in"`
	AuthTime          *time.Time `json:"auth_time,omitempty"` // when the user last authenticated at the provider
	ACR               string     `json:"acr,omitempty"`
}

// showSession answers who is signed in and when that ends; never a token.
func (s *Server) showSession(c *gin.Context) {
	live, err := s.live(c)
	switch {
	case errors.Is(err, session.ErrNone):
		c.JSON(http.StatusOK, s.signedOut(c))
	case err != nil:
		s.failSession(c, err)
	default:
		c.JSON(http.StatusOK, s.signedIn(c, live))
	}
}

// showUser is showSession in the shape of Duende's BFF, for apps that come from it.
func (s *Server) showUser(c *gin.Context) {
	live, err := s.live(c)
	if err != nil {
		s.failSession(c, err)
		return
	}
	type claim struct {
		Type  string `json:"type"`
		Value any    `json:"value"`
	}
	claims := []claim{}
	user := live.Grant.Identity.Claims
	for _, name := range slices.Sorted(maps.Keys(user)) {
		for _, value := range flatten(user[name]) {
			claims = append(claims, claim{name, value})
		}
	}
	view := s.signedIn(c, live)
	claims = append(claims,
		claim{"bff:logout_url", view.LogoutURL},
		claim{"bff:session_expires_in", min(view.Session.IdleExpiresIn, view.Session.AbsoluteExpiresIn)},
		claim{"bff:session_state", live.Grant.Identity.SID})
	c.JSON(http.StatusOK, claims)
}

// flatten makes a list of a claim that is one, as Duende does.
func flatten(raw json.RawMessage) []any {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return []any{raw}
	}
	values := make([]any, len(list))
	for i, v := range list {
		values[i] = v
	}
	return values
}

// refresh renews the tokens now.
func (s *Server) refresh(c *gin.Context) {
	live, err := s.live(c)
	if err == nil {
		live, err = s.Sessions.Renew(c.Request.Context(), live)
	}
	if err != nil {
		s.failSession(c, err)
		return
	}
	c.JSON(http.StatusOK, s.signedIn(c, live))
}

// live loads the session of the request and counts it as activity, unless asked not
// to.
func (s *Server) live(c *gin.Context) (*session.Session, error) {
	live, err := s.Sessions.Load(c.Request)
	if err == nil && c.Query("slide") != "false" {
		live = s.Sessions.Active(live)
	}
	return live, err
}

// failSession answers a session error. Only "none" and "expired" say signed out.
func (s *Server) failSession(c *gin.Context, err error) {
	switch {
	case errors.Is(err, session.ErrNone):
		s.fail(c, finding.Unauthenticated, "")
	case errors.Is(err, session.ErrExpired):
		if err := s.Sessions.End(c.Writer, c.Request, session.Expired); err != nil {
			s.Logger.WarnContext(c.Request.Context(), "a session that is over was not deleted", "error", err)
		}
		s.fail(c, finding.SessionExpired, "")
	case errors.Is(err, session.ErrProvider):
		s.fail(c, finding.ProviderUnavailable, "", "error", err)
	case errors.Is(err, session.ErrTooLarge):
		s.fail(c, finding.SessionTooLarge, "")
	case errors.Is(err, session.ErrStore):
		s.fail(c, finding.StoreUnavailable, "", "error", err)
	default:
		s.fail(c, finding.Internal, "", "error", err)
	}
}

func (s *Server) signedOut(c *gin.Context) signedOut {
	out := signedOut{Providers: []providerInfo{}}
	site := origin.SiteOf(c.Request)
	for i, p := range s.Providers {
		location := site.URL("/login")
		if i > 0 {
			location += "?provider=" + p.ID()
		}
		out.Providers = append(out.Providers, providerInfo{p.ID(), p.Name(), location})
	}
	return out
}

func (s *Server) signedIn(c *gin.Context, live *session.Session) signedIn {
	return signedIn{true, live.Grant.Identity.Claims, s.sessionInfo(live), s.logoutURL(c, live)}
}

func (s *Server) sessionInfo(live *session.Session) sessionInfo {
	now := s.Now()
	who := live.Grant.Identity
	info := sessionInfo{
		ID: live.ID, Provider: live.Provider, CreatedAt: live.Created.UTC().Truncate(time.Second), ACR: who.ACR,
		IdleExpiresIn: seconds(live.Idle.Sub(now)), AbsoluteExpiresIn: seconds(live.Expires.Sub(now)),
	}
	if !who.AuthTime.IsZero() {
		at := who.AuthTime.UTC()
		info.AuthTime = &at
	}
	return info
}

func seconds(d time.Duration) int64 { return max(0, int64(d/time.Second)) }
