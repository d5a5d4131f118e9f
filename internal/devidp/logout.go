package devidp

import (
	"net/http"
	"net/url"
	"slices"
)

// logoutRequest is RP-Initiated Logout 1.0 section 2, as far as it is good.
type logoutRequest struct {
	Client, RedirectURI, State string
	hint                       hint
}

// logout is the end_session_endpoint. A hint names the session by its sid, so that no
// cookie is needed; without one the person is asked, as anybody can send a browser here.
func (p *Provider) logout(w http.ResponseWriter, r *http.Request) {
	q, wrong := p.parseLogout(r.Form)
	if wrong != nil {
		p.page(w, http.StatusBadRequest, "unredirectable", wrong)
		return
	}
	session, signedIn := p.session(r)
	switch {
	case q.hint.SID != "" && (!signedIn || session.user.Subject == q.hint.Subject):
		p.end(func(s *ssoSession) bool { return s.sid == q.hint.SID })
		p.loggedOut(w, r, q)
	case !signedIn:
		p.loggedOut(w, r, q)
	default:
		p.page(w, http.StatusOK, "logout", logoutPage{q, session.user})
	}
}

// logoutConfirmed receives the form of the page that asks.
func (p *Provider) logoutConfirmed(w http.ResponseWriter, r *http.Request) {
	q, wrong := p.parseLogout(r.PostForm)
	if wrong != nil {
		p.page(w, http.StatusBadRequest, "unredirectable", wrong)
		return
	}
	if session, ok := p.session(r); ok {
		p.end(func(s *ssoSession) bool { return s.sid == session.sid })
	}
	p.loggedOut(w, r, q)
}

func (p *Provider) loggedOut(w http.ResponseWriter, r *http.Request, q logoutRequest) {
	p.mu.Lock()
	cookie := p.cookie("")
	p.mu.Unlock()
	cookie.MaxAge = -1
	http.SetCookie(w, cookie)
	target, err := url.Parse(q.RedirectURI)
	if q.RedirectURI == "" || err != nil {
		p.page(w, http.StatusOK, "logged-out", nil)
		return
	}
	if q.State != "" {
		query := target.Query()
		query.Set("state", q.State)
		target.RawQuery = query.Encode()
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, target.String(), http.StatusSeeOther)
}

func (p *Provider) parseLogout(form url.Values) (logoutRequest, *unredirectable) {
	q := logoutRequest{Client: form.Get("client_id"), RedirectURI: form.Get("post_logout_redirect_uri"), State: form.Get("state")}
	if raw := form.Get("id_token_hint"); raw != "" {
		h, err := p.openHint(raw)
		if err != nil {
			return q, &unredirectable{Title: "Broken id_token_hint", Text: "The application sent an id_token_hint that is refused: " + err.Error() + "."}
		}
		if q.Client != "" && q.Client != h.Audience {
			return q, &unredirectable{Title: "Contradiction", Text: "client_id is not the client that the id_token_hint was issued to.", Received: q.Client}
		}
		q.hint, q.Client = h, h.Audience
	}
	client, known := p.client(q.Client)
	if q.RedirectURI != "" && (!known || !slices.Contains(client.PostLogoutURIs, q.RedirectURI)) {
		return q, &unredirectable{
			"Post-logout redirect URI not registered",
			"The application sent a post_logout_redirect_uri that is not registered, or neither id_token_hint nor client_id to tell whose it is. The comparison is byte for byte.",
			q.RedirectURI, client.PostLogoutURIs, "--post-logout-uri URI",
		}
	}
	return q, nil
}
