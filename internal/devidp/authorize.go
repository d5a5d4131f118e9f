package devidp

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// stage is how far the person at the browser has come with one request.
type stage int

const (
	arrived   stage = iota
	signedIn        // has just signed in for it
	consented       // has just allowed it
)

// pageLife is how long a consent page may stay open after the sign-in it followed.
const pageLife = 10 * time.Minute

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	if q := p.request(w, r, r.Form, true); q != nil {
		session, ok := p.session(r)
		if user, auto := userNamed(p.cfg.Users, p.cfg.AutoSignIn); auto {
			session, ok = *p.newSession(user, q.acr), true
		}
		p.proceed(w, r, q, visit{session, ok, arrived})
	}
}

// authorizePost turns the request into a GET: a POST from the client's site carries no
// SameSite=Lax cookie, the navigation that follows it does.
func (p *Provider) authorizePost(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, p.endpoint("/authorize?"+r.Form.Encode()), http.StatusSeeOther)
}

// request checks form and answers itself, with nil, when something is wrong with it. A
// browser arrives with it, or one of our pages carried it along.
func (p *Provider) request(w http.ResponseWriter, r *http.Request, form url.Values, arrives bool) *authRequest {
	var q *authRequest
	var failure *oauthError
	entry, carried, extra, page := p.resolve(r, form, arrives)
	if page == nil {
		q, page, failure = p.parseRequest(carried, entry, extra)
	}
	switch {
	case page != nil:
		p.page(w, http.StatusBadRequest, "unredirectable", page)
	case failure != nil:
		p.respondError(w, r, q, *failure)
	default:
		return q
	}
	return nil
}

// carried is the request that one of our pages carried along. It is checked like a new
// one, so that the page need not be trusted.
func (p *Provider) carried(w http.ResponseWriter, r *http.Request) *authRequest {
	form, err := url.ParseQuery(r.PostForm.Get("request"))
	if err != nil {
		http.Error(w, "the form is broken", http.StatusBadRequest)
		return nil
	}
	return p.request(w, r, form, false)
}

type visit struct {
	session ssoSession
	ok      bool // there is a session
	stage   stage
}

// proceed shows the next page, or answers the request.
func (p *Provider) proceed(w http.ResponseWriter, r *http.Request, q *authRequest, v visit) {
	silent := slices.Contains(q.prompt, "none")
	switch {
	case !v.ok || p.mustSignIn(q, v):
		if silent {
			p.respondError(w, r, q, oauthError{"login_required", "nobody is signed in who fits the request"})
			return
		}
		p.page(w, http.StatusOK, "sign-in", signInPage{q.raw, q.client.ID, q.loginHint, q.acr == acrMulti, "", p.cfg.Users})
	case q.subject != "" && q.subject != v.session.user.Subject:
		p.respondError(w, r, q, oauthError{"login_required", "another user than the one of id_token_hint signed in"})
	case p.mustConsent(q, v):
		if silent {
			p.respondError(w, r, q, oauthError{"consent_required", "the user has not consented to every scope"})
			return
		}
		p.page(w, http.StatusOK, "consent", consentPage{q.raw, q.client.ID, v.session.user, scopeRows(q.scopes)})
	default:
		p.respond(w, r, q, url.Values{"code": {p.newCode(q, v.session)}})
	}
}

// mustSignIn holds the session against what the request demands of it.
func (p *Provider) mustSignIn(q *authRequest, v visit) bool {
	if p.cfg.AutoSignIn != "" && v.stage == arrived {
		return false
	}
	user, age := v.session.user, p.cfg.Now().Sub(v.session.authTime)
	if q.acr == acrMulti && v.session.acr != acrMulti {
		return true
	}
	if v.stage != arrived && age <= pageLife {
		return false // who signed in is for the person to choose, and it was just now
	}
	return slices.Contains(q.prompt, "login") || slices.Contains(q.prompt, "select_account") ||
		q.maxAge >= 0 && age > q.maxAge || q.maxAge == 0 ||
		q.loginHint != "" && q.loginHint != user.Username && q.loginHint != user.Email ||
		q.subject != "" && q.subject != user.Subject
}

func (p *Provider) mustConsent(q *authRequest, v visit) bool {
	switch {
	case v.stage == consented:
		return false
	case slices.Contains(q.prompt, "consent"):
		return true
	}
	return !p.cfg.SkipConsent && !p.consented(v.session, q.client.ID, q.scopes)
}

// signIn receives the sign-in form.
func (p *Provider) signIn(w http.ResponseWriter, r *http.Request) {
	q := p.carried(w, r)
	if q == nil {
		return
	}
	user, ok := p.checkPassword(r.PostForm)
	if !ok {
		p.page(w, http.StatusForbidden, "sign-in", signInPage{
			q.raw, q.client.ID, r.PostForm.Get("username"), q.acr == acrMulti, "Wrong username or password.", p.cfg.Users,
		})
		return
	}
	session := p.begin(w, r, user, q.acr)
	p.proceed(w, r, q, visit{session, true, signedIn})
}

// checkPassword also knows the page's buttons that sign in as one of the users, whose
// passwords the page shows anyway.
func (p *Provider) checkPassword(form url.Values) (User, bool) {
	if name := form.Get("as"); name != "" {
		return userNamed(p.cfg.Users, name)
	}
	user, ok := userNamed(p.cfg.Users, form.Get("username"))
	return user, ok && subtle.ConstantTimeCompare([]byte(form.Get("password")), []byte(user.Password)) == 1
}

// consent receives the consent form.
func (p *Provider) consent(w http.ResponseWriter, r *http.Request) {
	q := p.carried(w, r)
	if q == nil {
		return
	}
	session, ok := p.session(r)
	switch {
	case r.PostForm.Get("decision") != "allow":
		p.respondError(w, r, q, oauthError{"access_denied", "the user did not consent"})
	case !ok:
		p.proceed(w, r, q, visit{})
	default:
		p.rememberConsent(session, q.client.ID, q.scopes)
		p.proceed(w, r, q, visit{session, true, consented})
	}
}

func (p *Provider) newCode(q *authRequest, s ssoSession) string {
	g := &grant{
		client: q.client.ID, user: s.user, sid: s.sid, scopes: q.scopes, nonce: q.nonce, acr: cmp.Or(q.acr, s.acr), amr: s.amr(),
		authTime: s.authTime, redirectURI: q.redirectURI, challenge: q.challenge, access: q.access, family: rand.Text(),
		codeExpires: p.cfg.Now().Add(codeLifetime), jkt: q.jkt, resources: q.resources,
		userInfoClaims: names(q.claims.UserInfo), idClaims: names(q.claims.IDToken),
	}
	code := rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes.put(code, g, codeMemory)
	return code
}
