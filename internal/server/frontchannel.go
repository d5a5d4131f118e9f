package server

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// One client may leave frameBurst marks at once, and then one in every frameInterval: it
// takes no more than a sid that anybody can make up.
const (
	frameBurst    = 100
	frameInterval = time.Second
)

// frontchannel ends the sessions of a sid in the frame of its provider's page (OpenID
// Connect Front-Channel Logout 1.0, 2). The frame is of another site, so no cookie of ours
// need come along, and none is needed: sid names the sessions, and whoever knows it may
// have them ended. Without sid nothing ends: any page could sign people out. iss may be
// missing only where the provider is known to send none.
func (s *Server) frontchannel(c *gin.Context) {
	if mode := c.GetHeader("Sec-Fetch-Mode"); mode != "" && mode != "navigate" { // no frame: an image, a fetch
		s.refuseFrame(c, "This is for a frame of the provider's page.")
		return
	}
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil || len(query["sid"]) != 1 || query.Get("sid") == "" || len(query["iss"]) > 1 || query.Has("iss") && query.Get("iss") == "" {
		s.refuseFrame(c, "It needs iss and sid, each once.")
		return
	}
	clients := rp.FrontchannelClients(s.Providers, query.Get("iss"))
	switch {
	case clients == nil && !query.Has("iss"):
		s.refuseFrame(c, "It needs iss and sid, each once.")
		return
	case clients == nil:
		s.refuseFrame(c, "iss is not the issuer of a configured provider.")
		return
	}
	if !s.enter(c, s.frontchannelGate) {
		return
	}
	defer s.frontchannelGate.leave()
	if err := s.endFramed(c, clients, query.Get("sid")); err != nil {
		s.failSession(c, err)
		return
	}
	c.Header("Content-Security-Policy", strings.Replace(apiPolicy, "frame-ancestors 'none'", "frame-ancestors "+framers(clients, query.Get("iss")), 1))
	c.Header("Cross-Origin-Resource-Policy", "cross-origin") // an embedder with COEP may frame nothing else
	c.Data(http.StatusOK, "text/html; charset=utf-8", []byte("<!doctype html><title>Signed out</title>\n"))
}

// endFramed ends the sessions of sid at clients, and clears the cookie that came along if
// it is of one of them.
func (s *Server) endFramed(c *gin.Context, clients []*rp.Client, sid string) error {
	live, err := s.Sessions.Load(c.Request)
	if err != nil && !errors.Is(err, session.ErrNone) {
		return err
	}
	if s.frames.allow(clientKey(c.Request), s.Now()) { // a mark is a row; whoever floods ends sessions without
		if err := s.bar(c.Request.Context(), clients, session.Whose{SID: sid}); err != nil {
			return err
		}
	}
	for _, client := range clients {
		find := func() ([]*session.Session, error) { return s.Sessions.OfSID(c.Request.Context(), client.ID(), sid) }
		if _, err := s.endFound(c.Request.Context(), "front-channel", find, s.Sessions.SignedOutThere); err != nil {
			return err
		}
		if live != nil && live.Provider == client.ID() && live.Grant.Identity.SID == sid {
			http.SetCookie(c.Writer, origin.SiteOf(c.Request).Session().Clear())
		}
	}
	return nil
}

// refuseFrame answers for what ends nothing. No page may frame the answer.
func (s *Server) refuseFrame(c *gin.Context, detail string) {
	s.complain(c.Request.Context(), finding.FrontchannelInvalid, "detail", detail)
	c.Abort()
	finding.FrontchannelInvalid.Problem(detail).Write(c.Writer)
}

// framers are the origins that may frame the answer: that of issuer, or those of the
// clients' issuers where a provider has sent none.
func framers(clients []*rp.Client, issuer string) string {
	if issuer != "" {
		return originOf(issuer)
	}
	var list []string
	for _, client := range clients {
		if one := originOf(client.Issuer()); !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	return strings.Join(list, " ")
}

// originOf is the origin of a configured URL as Content-Security-Policy names it.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "'none'"
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}
