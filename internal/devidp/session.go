package devidp

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const sessionCookie = "devidp_session"

// The authentication contexts: what a sign-in with acr_values reaches. The second
// factor is pretended.
const (
	acrPassword = "pwd"
	acrMulti    = "mfa"
)

// ssoSession is a browser that is signed in at the provider.
type ssoSession struct {
	sid      string
	user     User
	acr      string
	authTime time.Time
	consents map[string][]string // client id → scopes; copies of the session share it
}

func (s *ssoSession) amr() []string {
	if s.acr == acrMulti {
		return []string{"pwd", "otp", "mfa"} // RFC 8176
	}
	return []string{"pwd"}
}

// session returns a copy of the browser's session.
func (p *Provider) session(r *http.Request) (ssoSession, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.held(r)
	if s == nil {
		return ssoSession{}, false
	}
	return *s, true
}

// held needs the lock.
func (p *Provider) held(r *http.Request) *ssoSession {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	s, _ := p.sessions.get(cookie.Value)
	return s
}

func (p *Provider) newSession(user User, acr string) *ssoSession {
	return &ssoSession{
		sid: rand.Text(), user: user, acr: cmp.Or(acr, acrPassword), authTime: p.cfg.Now(), consents: map[string][]string{},
	}
}

// begin signs user in under a new cookie value. The same user's session goes on with
// its sid and consents; another user's ends.
func (p *Provider) begin(w http.ResponseWriter, r *http.Request, user User, acr string) ssoSession {
	s := p.newSession(user, acr)
	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.held(r); old != nil && old.user.Subject == user.Subject {
		s.sid, s.consents = old.sid, old.consents
	}
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		p.sessions.drop(cookie.Value)
	}
	value := rand.Text()
	p.sessions.put(value, s, sessionLifetime)
	http.SetCookie(w, p.cookie(value))
	return *s
}

// cookie needs the lock.
func (p *Provider) cookie(value string) *http.Cookie {
	u, _ := url.Parse(p.issuer) // ServeHTTP has parsed it before
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: strings.TrimSuffix(u.Path, "/") + "/",
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: u.Scheme == "https",
	}
}

// rememberConsent keeps what the user allowed for as long as the session lives.
func (p *Provider) rememberConsent(s ssoSession, client string, scopes []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := slices.Concat(s.consents[client], scopes)
	slices.Sort(known)
	s.consents[client] = slices.Compact(known)
}

func (p *Provider) consented(s ssoSession, client string, scopes []string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return subset(scopes, s.consents[client])
}

func subset(part, whole []string) bool {
	return !slices.ContainsFunc(part, func(x string) bool { return !slices.Contains(whole, x) })
}
