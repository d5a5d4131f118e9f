package server

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/session"
)

// listed is one session in a list: what its user needs to tell it from the others,
// and nothing that could be used as it.
type listed struct {
	ID                string    `json:"id"`
	Provider          string    `json:"provider"`
	CreatedAt         time.Time `json:"created_at"`
	LastSeenAt        time.Time `json:"last_seen_at"`
	Browser           string    `json:"browser"`
	IP                string    `json:"ip"`
	IdleExpiresIn     int64     `json:"idle_expires_in"`
	AbsoluteExpiresIn int64     `json:"absolute_expires_in"`
}

// ownSession is a session in the list of its own user.
type ownSession struct {
	listed
	Current bool `json:"current"` // of the browser that asks
}

func (s *Server) listed(of *session.Session) listed {
	now := s.Now()
	return listed{
		ID: of.ID, Provider: of.Provider, Browser: browserLabel(of.Agent), IP: of.Address,
		CreatedAt: of.Created.UTC().Truncate(time.Second), LastSeenAt: of.Seen().UTC().Truncate(time.Second),
		IdleExpiresIn: seconds(of.Idle.Sub(now)), AbsoluteExpiresIn: seconds(of.Expires.Sub(now)),
	}
}

// own returns the session of the request and all of its user, which are never those of
// the same subject at another provider.
func (s *Server) own(c *gin.Context) (live *session.Session, all []*session.Session, err error) {
	if live, err = s.live(c); err == nil {
		all, err = s.Sessions.OfUser(c.Request.Context(), live.Provider, live.Grant.Identity.Subject)
	}
	return live, all, err
}

// listSessions shows users where they are signed in.
func (s *Server) listSessions(c *gin.Context) {
	live, all, err := s.own(c)
	if err != nil {
		s.failSession(c, err)
		return
	}
	list := make([]ownSession, 0, len(all))
	for _, one := range all {
		list = append(list, ownSession{s.listed(one), one.ID == live.ID})
	}
	c.JSON(http.StatusOK, gin.H{"sessions": list})
}

// endSession ends one of the user's sessions. Only those are looked through, so that
// an id of somebody else is not told from one that does not exist, by the answer or by
// the time it takes.
func (s *Server) endSession(c *gin.Context) {
	live, all, err := s.own(c)
	id := c.Param("id")
	switch {
	case err != nil:
	case live.ID == id:
		err = s.end(c, live)
	default:
		var one []*session.Session
		for _, other := range all {
			if other.ID == id {
				one = append(one, other)
			}
		}
		if len(one) == 0 {
			s.fail(c, finding.NotFound, "No live session of this user has this id.")
			return
		}
		_, err = s.endAll(c.Request.Context(), one, "session ended by its user")
	}
	if err != nil {
		s.failSession(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

// endOthers ends every session of the user but the one that asks.
func (s *Server) endOthers(c *gin.Context) {
	if c.Query("others") != "true" {
		s.fail(c, finding.ParameterInvalid, "Write ?others=true to end every session of this user but this one, or name one: "+s.Policy.Prefix()+"/sessions/{id}.")
		return
	}
	ended := 0
	for range maxRounds {
		live, all, err := s.own(c)
		var n int
		if err == nil {
			others := slices.DeleteFunc(all, func(one *session.Session) bool { return one.ID == live.ID })
			n, err = s.endAll(c.Request.Context(), others, "session ended by its user")
			ended += n
		}
		if err != nil {
			s.failSession(c, err)
			return
		}
		if n == 0 {
			break
		}
	}
	c.JSON(http.StatusOK, gin.H{"ended": ended})
}

// endAll ends sessions on every replica and says in the log who did. It returns how many
// have ended, with an error of the store too.
func (s *Server) endAll(ctx context.Context, all []*session.Session, event string) (int, error) {
	ended, err := s.Sessions.Terminate(ctx, all, session.Revoked)
	for _, one := range ended {
		s.Logger.InfoContext(ctx, event, append(audit(one), "reason", string(session.Revoked))...)
	}
	return len(ended), err
}
