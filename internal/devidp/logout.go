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
// The other clients of the session are told before the browser goes on.
func (p *Provider) logout(w http.ResponseWriter, r *http.Request) {
	q, wrong := p.parseLogout(r.Form)
	if wrong != nil {
		p.page(w, http.StatusBadRequest, "unredirectable", wrong)
		return
	}
	session, signedIn := p.session(r)
	switch {
	case q.hint.SID != "" && (!signedIn || session.user.Subject == q.hint.Subject):
		p.loggedOut(w, r, q, p.endFor(q.hint.SID))
	case !signedIn:
		p.loggedOut(w, r, q, nil)
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
	var left []participant
	if session, ok := p.session(r); ok {
		left = p.endFor(session.sid)
	}
	p.loggedOut(w, r, q, left)
}

// endFor ends the session of sid and sends the logout tokens. It returns the clients
// that took part.
func (p *Provider) endFor(sid string) []participant {
	left := p.leave(func(_, ofSID string) bool { return ofSID == sid })
	p.notifyLogout(left, false)
	return left
}

func (p *Provider) loggedOut(w http.ResponseWriter, r *http.Request, q logoutRequest, left []participant) {
	p.mu.Lock()
	cookie := p.cookie("")
	p.mu.Unlock()
	cookie.MaxAge = -1
	http.SetCookie(w, cookie)
	target := q.target()
	frames := p.frames(left)
	switch {
	case len(frames) > 0:
		p.frontchannel(w, frames, target)
	case target == "":
		p.page(w, http.StatusOK, "logged-out", nil)
	default:
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, target, http.StatusSeeOther)
	}
}

// target is where the browser goes on to, with state; empty is nowhere.
func (q logoutRequest) target() string {
	target, err := url.Parse(q.RedirectURI)
	if q.RedirectURI == "" || err != nil {
		return ""
	}
	if q.State != "" {
		query := target.Query()
		query.Set("state", q.State)
		target.RawQuery = query.Encode()
	}
	return target.String()
}

func (p *Provider) parseLogout(form url.Values) (logoutRequest, *unredirectable) {
	q := logoutRequest{Client: form.Get("client_id"), RedirectURI: form.Get("post_logout_redirect_uri"), State: form.Get("state")}
	if raw := form.Get("id_token_hint"); raw != "" {
		h, err := p.openHint(raw)
		if err != nil {
			return q, &unredirectable{Title: "Broken id_token_hint", Text: "The application sent an id_token_hint that is refused: " + err.Error() + "."}
		}
		if q.Client != "" && q.Client != string(h.Audience) {
			return q, &unredirectable{Title: "Contradiction", Text: "client_id is not the client that the id_token_hint was issued to.", Received: q.Client}
		}
		q.hint, q.Client = h, string(h.Audience)
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
