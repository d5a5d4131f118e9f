package devidp

import (
	"bytes"
	"embed"
	"mime"
	"net/http"
	"path"
)

//go:embed assets
var assets embed.FS

// pagePolicy has no form-action: browsers hold it against every redirect that follows
// a form, and where the client sends its user next is not ours to know.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"

type signInPage struct {
	Request, Client, Username string
	Strong                    bool // a second factor is asked for, and pretended
	Failure                   string
	Users                     []User
}

type consentPage struct {
	Request, Client string
	User            User
	Scopes          []scopeRow
}

type scopeRow struct{ Name, Meaning string }

type logoutPage struct {
	Request logoutRequest
	User    User
}

// view is what every page template gets.
type view struct {
	Base string // of our own URLs, without a slash at the end
	Page any
}

func (p *Provider) page(w http.ResponseWriter, status int, name string, content any) {
	var out bytes.Buffer
	if err := p.pages.ExecuteTemplate(&out, name, view{p.endpoint(""), content}); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	if h.Get("Content-Security-Policy") == "" {
		h.Set("Content-Security-Policy", pagePolicy)
	}
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes())
}

func (p *Provider) home(w http.ResponseWriter, _ *http.Request) {
	p.page(w, http.StatusOK, "home", p.cfg.Users)
}

func (p *Provider) asset(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.PathValue("name"))
	data, err := assets.ReadFile("assets/" + name)
	if err != nil || path.Ext(name) == ".html" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(data)
}

func scopeRows(scopes []string) []scopeRow {
	meanings := map[string]string{
		"openid": "who you are, as an identifier", "profile": "your name and username", "email": "your e-mail address",
		"groups": "the groups you are in", "offline_access": "stay signed in while you are away",
	}
	var rows []scopeRow
	for _, scope := range scopes {
		rows = append(rows, scopeRow{scope, meanings[scope]})
	}
	return rows
}
