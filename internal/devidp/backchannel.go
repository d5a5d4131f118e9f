package devidp

import (
	"cmp"
	"crypto/rand"
	"net/url"
	"slices"
	"time"
)

const (
	logoutEvent         = "http://schemas.openid.net/event/backchannel-logout"
	logoutTokenLifetime = 2 * time.Minute // Back-Channel Logout 1.0, 4
)

// participant is a client that a user signed in to during an SSO session.
type participant struct{ client, sub, sid string }

// participate needs the lock.
func (p *Provider) participate(g *grant) {
	p.out.parties.put(g.sid+" "+g.client, participant{g.client, g.user.Subject, g.sid}, sessionLifetime)
}

// leave ends the SSO sessions that are selected and returns their clients, in a fixed
// order.
func (p *Provider) leave(selected func(sub, sid string) bool) []participant {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions.dropIf(func(s *ssoSession) bool { return selected(s.user.Subject, s.sid) })
	var left []participant
	p.out.parties.dropIf(func(x participant) bool {
		gone := selected(x.sub, x.sid)
		if gone {
			left = append(left, x)
		}
		return gone
	})
	slices.SortFunc(left, func(a, b participant) int { return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.sid, b.sid)) })
	return left
}

// EndSession ends the SSO session of sid, or without sid every session of the user sub,
// and sends logout tokens to the clients that took part. It returns when all have
// answered or their time is over.
func (p *Provider) EndSession(sub, sid string) []Notice {
	left := p.leave(func(ofSub, ofSID string) bool {
		return (sub != "" || sid != "") && (sub == "" || sub == ofSub) && (sid == "" || sid == ofSID)
	})
	return p.notifyLogout(left, sid == "")
}

// notifyLogout sends the logout tokens (Back-Channel Logout 1.0, 2.5). When the whole
// user is meant, a client gets one token without sid, unless it must have a sid.
func (p *Provider) notifyLogout(left []participant, wholeUser bool) []Notice {
	var messages []message
	told := map[participant]bool{}
	for _, x := range left {
		client, _ := p.client(x.client)
		if wholeUser && !client.BackchannelSessionRequired {
			x.sid = ""
		}
		if client.BackchannelURI == "" || told[x] {
			continue
		}
		told[x] = true
		token, err := p.LogoutToken(x.client, x.sub, x.sid)
		if err != nil {
			continue // only a fault of somebody's own making cannot be signed
		}
		messages = append(messages, message{
			client: x.client, uri: client.BackchannelURI, contentType: "application/x-www-form-urlencoded",
			body: []byte(url.Values{"logout_token": {token}}.Encode()),
		})
	}
	return p.send(messages)
}

// LogoutToken makes a logout token (Back-Channel Logout 1.0, 2.4) for the client with
// that id; an empty sub or sid is left out. The faults in force change it first, then
// changes.
func (p *Provider) LogoutToken(client, sub, sid string, changes ...func(*JWT)) (string, error) {
	now := p.cfg.Now()
	claims := map[string]any{
		"iss": p.Issuer(), "aud": client, "iat": now.Unix(), "exp": now.Add(logoutTokenLifetime).Unix(),
		"jti": rand.Text(), "events": map[string]any{logoutEvent: map[string]any{}},
	}
	if sub != "" {
		claims["sub"] = sub
	}
	if sid != "" {
		claims["sid"] = sid
	}
	token := p.newJWT("logout+jwt", p.idTokenAlg(client), claims)
	for _, f := range p.take(func(f *Fault) bool { return f.LogoutToken != nil }) {
		f.LogoutToken(token)
	}
	for _, change := range changes {
		change(token)
	}
	return token.token()
}
