package server

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// maxNotice bounds the body of what a provider sends, in bytes.
const maxNotice = 64 << 10

// errContradiction is a logout token whose sid belongs to somebody else than its sub.
var errContradiction = errors.New("sid is of another user than sub")

// backchannel ends the sessions that a logout token names (OpenID Connect Back-Channel
// Logout 1.0). The token is all the proof there is: no cookie is looked at. As 2.8 has it,
// the answer to whatever fails is 400, outages of the keys and of the store included; the
// error member tells them apart, and the same token may come again. What has succeeded
// once is 200 again and ends nothing.
func (s *Server) backchannel(c *gin.Context) {
	raw, wrong := readLogoutToken(c)
	if wrong != "" {
		s.refuseLogout(c, finding.LogoutTokenInvalid, wrong)
		return
	}
	clients := rp.LogoutClients(s.Providers, raw)
	if clients == nil {
		s.refuseLogout(c, finding.LogoutTokenInvalid, "It is of no configured issuer.")
		return
	}
	gate := s.backchannelGates[clients[0].ID()]
	if !s.enter(c, gate) {
		return
	}
	proofs, by, err := prove(clients, func(p *rp.Client) (rp.Logout, error) { return p.VerifyLogout(c.Request.Context(), raw) })
	gate.leave()
	if err != nil {
		row, detail := verdict(err, finding.LogoutTokenInvalid)
		s.refuseLogout(c, row, detail, "provider", by.ID(), "error", err)
		return
	}
	for _, one := range proofs {
		switch err := s.endTold(c.Request.Context(), one.client, one.token); {
		case errors.Is(err, errContradiction):
			s.refuseLogout(c, finding.LogoutTokenInvalid, "sid and sub contradict each other.", "provider", one.client.ID())
			return
		case err != nil:
			s.refuseLogout(c, finding.StoreUnavailable, "", "error", err)
			return
		}
	}
	c.Status(http.StatusOK)
}

// readLogoutToken takes the one parameter that there is, from the body alone (2.5).
func readLogoutToken(c *gin.Context) (raw, wrong string) {
	body, unread := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxNotice))
	form, malformed := url.ParseQuery(string(body))
	if mediaType(c.Request) != "application/x-www-form-urlencoded" || unread != nil || malformed != nil {
		return "", "The body is no form, or longer than 64 KiB."
	}
	tokens := form["logout_token"]
	if len(tokens) != 1 {
		return "", "The form needs logout_token, once."
	}
	return tokens[0], ""
}

// mediaType is the body's, in lower case and without parameters, which may be anything.
func mediaType(r *http.Request) string {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // "" with every error but one of the parameters
	return kind
}

// endTold ends what a verified logout token names: the sessions of its sid, or all of its
// user's (2.7). It is remembered when that is done, so that a failure can be tried again.
func (s *Server) endTold(ctx context.Context, client *rp.Client, logout rp.Logout) error {
	name := "logout token " + client.ID() + "\x00" + logout.ID
	if seen, err := s.Sessions.Seen(ctx, name); err != nil || seen {
		return err
	}
	if err := s.bar(ctx, []*rp.Client{client}, session.Whose{SID: logout.SID, Subject: logout.Subject}); err != nil {
		return err
	}
	find := func() ([]*session.Session, error) { return s.Sessions.OfUser(ctx, client.ID(), logout.Subject) }
	if logout.SID != "" {
		find = func() ([]*session.Session, error) { return s.ofSID(ctx, client.ID(), logout) }
	}
	if _, err := s.endFound(ctx, "back-channel", find, s.Sessions.SignedOutThere); err != nil {
		return err
	}
	_, err := s.Sessions.Once(ctx, name, logout.Expires.Sub(s.Now()))
	return err
}

// bar goes before every search for the sessions that a provider ends: a sign-in at one of
// clients that is under way becomes none of them afterwards.
func (s *Server) bar(ctx context.Context, clients []*rp.Client, whose session.Whose) error {
	for _, client := range clients {
		if err := s.Sessions.Bar(ctx, client.ID(), whose); err != nil {
			return err
		}
	}
	return nil
}

// ofSID are the sessions of a sid, and those of a sub beside it that know no sid. The sub
// must be that of the sid (2.6, step 10).
func (s *Server) ofSID(ctx context.Context, provider string, logout rp.Logout) ([]*session.Session, error) {
	found, err := s.Sessions.OfSID(ctx, provider, logout.SID)
	if err != nil || logout.Subject == "" {
		return found, err
	}
	if slices.ContainsFunc(found, func(one *session.Session) bool { return one.Grant.Identity.Subject != logout.Subject }) {
		return nil, errContradiction
	}
	all, err := s.Sessions.OfUser(ctx, provider, logout.Subject)
	nameless := slices.DeleteFunc(all, func(one *session.Session) bool { return one.Grant.Identity.SID != "" })
	return append(found, nameless...), err
}

// ending ends sessions, and returns those that it has ended.
type ending func(context.Context, []*session.Session) ([]*session.Session, error)

// endFound ends what find finds until there is nothing left, says so in the log, and
// returns how many.
func (s *Server) endFound(ctx context.Context, by string, find func() ([]*session.Session, error), end ending) (n int, err error) {
	for range maxRounds {
		found, err := find()
		if err != nil || len(found) == 0 {
			return n, err
		}
		ended, err := end(ctx, found)
		for _, one := range ended {
			s.Logger.InfoContext(ctx, "session ended by its provider", append(audit(one), "reason", string(session.ProviderEnded), "by", by)...)
		}
		n += len(ended)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// refuseLogout answers as 2.8 recommends. detail holds nothing of the token.
func (s *Server) refuseLogout(c *gin.Context, row finding.Row, detail string, attrs ...any) {
	s.complain(c.Request.Context(), row, append(attrs, "detail", detail)...)
	code := "invalid_request"
	if row.Code != finding.LogoutTokenInvalid.Code {
		code, detail = "temporarily_unavailable", row.Title
	}
	c.AbortWithStatusJSON(http.StatusBadRequest, gin.H{"error": code, "error_description": detail})
}

// verdict is what a failed verification means: invalid when the token is bad, which the
// caller is told with the rule; else the row of the outage.
func verdict(err error, invalid finding.Row) (row finding.Row, detail string) {
	var failure *rp.Error
	if errors.As(err, &failure) && failure.Kind == rp.Invalid {
		return invalid, "The token failed the check of " + failure.Code + "."
	}
	return finding.ProviderUnavailable, ""
}

const (
	// judgedAtOnce and waitingToBe bound how many calls are judged before anything proves
	// that a provider has sent them; queueLimit is how long one waits for its turn.
	judgedAtOnce = 32
	waitingToBe  = 1000
	queueLimit   = 3 * time.Second
)

// gate bounds the work on calls that may be anybody's. What has proved to be a provider's
// is past it.
type gate struct{ places, queue chan struct{} }

func newGate() gate { return gate{make(chan struct{}, judgedAtOnce), make(chan struct{}, waitingToBe)} }

func (g gate) leave() { <-g.places }

// enter waits for a place, and reports whether there was one in time.
func (g gate) enter(ctx context.Context) bool {
	waiting, cancel := context.WithTimeout(ctx, queueLimit)
	defer cancel()
	select {
	case g.queue <- struct{}{}:
		defer func() { <-g.queue }()
	default:
		return false
	}
	select {
	case g.places <- struct{}{}:
		return true
	case <-waiting.Done():
		return false
	}
}

// gates are those of clients, by id.
type gates map[string]gate

func newGates(clients []*rp.Client) gates {
	all := gates{}
	for _, client := range clients {
		all[client.ID()] = newGate()
	}
	return all
}

// enter lets the call through g, or answers for it. Bodies are read before, so that nobody
// holds a place by sending slowly.
func (s *Server) enter(c *gin.Context, g gate) bool {
	if g.enter(c.Request.Context()) {
		return true
	}
	s.complain(c.Request.Context(), finding.LogoutBusy)
	c.Abort()
	c.Header("Retry-After", s.retryAfter())
	finding.LogoutBusy.Problem("").Write(c.Writer)
	return false
}

// complaints bounds the lines about refused calls: whoever floods an endpoint that is open
// to everybody is not to fill the log.
type complaints struct {
	mu             sync.Mutex
	since          time.Time
	lines, skipped int
}

const (
	complaintsEvery = 10 * time.Second
	complaintsMost  = 10
)

// next reports whether there is room for one more line, and how many had none before it.
func (l *complaints) next(now time.Time) (skipped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if age := now.Sub(l.since); age < 0 || age >= complaintsEvery {
		l.since, l.lines = now, 0
	}
	if l.lines >= complaintsMost {
		l.skipped++
		return 0, false
	}
	l.lines++
	skipped, l.skipped = l.skipped, 0
	return skipped, true
}

// complain logs a refused call.
func (s *Server) complain(ctx context.Context, row finding.Row, attrs ...any) {
	if skipped, ok := s.complaints.next(s.Now()); ok {
		s.Logger.Log(ctx, level(row), "request of a provider refused",
			append([]any{"finding", row.Code, "problem", row.Name, "not_logged_before", skipped}, attrs...)...)
	}
}
