package server

import (
	"bytes"
	"embed"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"

	"github.com/gin-gonic/gin"
	"golang.org/x/net/html"

	"genkan/internal/finding"
)

//go:embed assets
var assets embed.FS

// pagePolicy is the Content-Security-Policy of Genkan's own pages: their own files,
// nothing inline, no frame.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// formPolicy is pagePolicy for a page whose form goes to a provider. Chromium holds every
// redirect that follows to form-action too, back to our callback, on to the app and
// whatever lies between at the provider: nothing narrower lets sign-out come to its end.
const formPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action *; frame-ancestors 'none'"

// page sends one of Genkan's own pages.
func (s *Server) page(w http.ResponseWriter, status int, body ...*html.Node) {
	s.pageUnder(w, status, pagePolicy, body...)
}

// pageUnder sends a page under a Content-Security-Policy of its own. Pages are built as nodes and rendered by
// x/net/html, so that every text and attribute is escaped by construction.
func (s *Server) pageUnder(w http.ResponseWriter, status int, policy string, body ...*html.Node) {
	base := s.Policy.Prefix() + "/assets/"
	head := element("head", nil,
		element("meta", attrs{"charset": "utf-8"}),
		element("meta", attrs{"name": "viewport", "content": "width=device-width, initial-scale=1"}),
		element("meta", attrs{"name": "color-scheme", "content": "light dark"}),
		element("title", nil, text("Sign-in")),
		element("link", attrs{"rel": "stylesheet", "href": base + "page.css"}),
		element("script", attrs{"src": base + "page.js", "defer": ""}))
	main := element("main", nil, body...)
	doc := element("html", attrs{"lang": "en"}, head, element("body", nil, main))
	var out bytes.Buffer
	out.WriteString("<!doctype html>\n")
	if err := html.Render(&out, doc); err != nil {
		panic(err) // only for a node tree that cannot be
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes())
}

// link is a button of a page.
type link struct{ label, href string }

// errorPage says what went wrong, what to do, and where to go on.
func errorPage(row finding.Row, detail, requestID string, next link) *html.Node {
	if detail == "" {
		detail = row.Cause
	}
	return element("section", attrs{"aria-labelledby": "title"},
		element("h1", attrs{"id": "title"}, text(row.Title)),
		element("p", nil, text(detail)),
		element("p", attrs{"class": "fix"}, text(row.Fix)),
		element("p", nil, element("a", attrs{"class": "button", "href": next.href}, text(next.label))),
		element("dl", nil,
			element("dt", nil, text("Code")), element("dd", nil, text(row.Code+" "+row.Name)),
			element("dt", nil, text("Request id")), element("dd", nil, text(requestID))))
}

// resumePage goes on to next by script, so that the request comes from our own
// origin and carries a Strict cookie; the link is for browsers without script.
func resumePage(next string) *html.Node {
	return element("section", nil,
		element("h1", nil, text("One moment")),
		element("p", nil, text("Your sign-in goes on.")),
		element("p", nil, element("a", attrs{"class": "button", "id": "continue", "href": next}, text("Continue"))))
}

// confirmPage asks before signing out.
func confirmPage(next string) *html.Node {
	return element("section", nil,
		element("h1", nil, text("Sign out?")),
		element("p", nil, text("This ends your session in this browser.")),
		element("p", nil, element("a", attrs{"class": "button", "href": next}, text("Sign out"))))
}

// formPage posts fields to action by script; the button is for browsers without script.
func formPage(action string, fields url.Values) *html.Node {
	form := element("form", attrs{"id": "send", "method": "post", "action": action})
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		for _, value := range fields[name] {
			form.AppendChild(element("input", attrs{"type": "hidden", "name": name, "value": value}))
		}
	}
	form.AppendChild(element("button", attrs{"class": "button"}, text("Continue")))
	return element("section", nil,
		element("h1", nil, text("One moment")),
		element("p", nil, text("You are signed out here. Your provider is told, too.")),
		form)
}

type attrs map[string]string

func element(name string, a attrs, children ...*html.Node) *html.Node {
	n := &html.Node{Type: html.ElementNode, Data: name}
	for _, key := range slices.Sorted(maps.Keys(a)) {
		n.Attr = append(n.Attr, html.Attribute{Key: key, Val: a[key]})
	}
	for _, child := range children {
		n.AppendChild(child)
	}
	return n
}

func text(s string) *html.Node { return &html.Node{Type: html.TextNode, Data: s} }

// asset serves a file of Genkan's own pages.
func (s *Server) asset(c *gin.Context) {
	name := c.Param("name")
	data, err := assets.ReadFile("assets/" + path.Base(name))
	if err != nil {
		s.fail(c, finding.NotFound, "")
		return
	}
	c.Header("Cache-Control", "public, max-age=300")
	// Open to every site: an app on a foreign origin tells by it that Genkan is up.
	c.Header("Cross-Origin-Resource-Policy", "cross-origin")
	c.Data(http.StatusOK, mime.TypeByExtension(path.Ext(name)), data)
}
