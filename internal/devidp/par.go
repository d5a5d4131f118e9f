package devidp

import (
	"crypto/rand"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	requestURN = "urn:ietf:params:oauth:request_uri:" // RFC 9126 2.2
	pushedLife = time.Minute
	// visitLife is how long a person may take over the pages of one request.
	visitLife = time.Hour
)

// pushed is an authorization request that is kept here while the browser carries its
// request_uri.
type pushed struct {
	form    url.Values // what counts
	par     bool       // it came to /par
	object  bool       // it came as a signed request object
	jkt     string     // of the DPoP header at /par (RFC 9449 10.1)
	visited bool       // a browser has come with it; guarded by the provider's lock
}

// par is the pushed authorization request endpoint (RFC 9126 2).
func (p *Provider) par(w http.ResponseWriter, r *http.Request) {
	entry, failure := p.push(r)
	if failure != nil {
		p.tokenError(w, r, *failure)
		return
	}
	p.json(w, r, http.StatusCreated, map[string]any{
		"request_uri": p.keep(entry, pushedLife), "expires_in": int(pushedLife / time.Second),
	})
}

// keep stores entry under a new request_uri.
func (p *Provider) keep(entry *pushed, life time.Duration) string {
	uri := requestURN + rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushed.put(uri, entry, life)
	return uri
}

// push checks everything that /authorize would, so that the client learns of it here.
func (p *Provider) push(r *http.Request) (*pushed, *oauthError) {
	c, failure := p.authenticate(r)
	if failure != nil {
		return nil, failure
	}
	jkt, failure := p.proof(r, "")
	if failure != nil {
		return nil, failure
	}
	form := maps.Clone(r.PostForm)
	for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		form.Del(name)
	}
	entry := &pushed{form: form, par: true, jkt: jkt}
	switch {
	case len(r.URL.Query()) > 0:
		return nil, &oauthError{"invalid_request", "the parameters belong into the body"}
	case form.Has("request_uri"):
		return nil, &oauthError{"invalid_request", "request_uri must not be pushed"} // RFC 9126 2.1
	case form.Get("client_id") != c.ID:
		return nil, &oauthError{"invalid_request", "client_id is not the client that authenticated"}
	case form.Has("request"):
		if name := besides(form, "client_id", "request"); name != "" {
			return nil, &oauthError{"invalid_request", "what belongs into the request object stands beside it: " + name}
		}
		if entry.form, failure = p.openObject(r, c.Client, form.Get("request")); failure != nil {
			return nil, failure
		}
		entry.object = true
	}
	q, wrong, failure := p.parseRequest(form, entry, "")
	switch {
	case wrong != nil:
		return nil, &oauthError{"invalid_request", wrong.Title}
	case failure == nil && jkt != "" && q.jkt != jkt:
		failure = invalidProof("dpop_jkt is not the key of the proof")
	}
	return entry, failure
}

// besides names a parameter of form that is none of names, the first by the alphabet.
func besides(form url.Values, names ...string) string {
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if !slices.Contains(names, name) {
			return name
		}
	}
	return ""
}

// resolve finds the parameters that count, which may be pushed or in a request object,
// and those that our pages carry along. Extra is a parameter too many.
func (p *Provider) resolve(r *http.Request, form url.Values, arrives bool) (entry *pushed, carried url.Values, extra string, wrong *unredirectable) {
	client, known := p.client(form.Get("client_id"))
	switch uri := form.Get("request_uri"); {
	case strings.HasPrefix(uri, requestURN):
		entry, wrong = p.visit(form, arrives)
		return entry, form, besides(form, "client_id", "request_uri"), wrong
	case !known || client.JWKS == nil || !form.Has("request") || form.Has("request_uri"):
		return &pushed{form: form}, form, "", nil
	}
	parameters, failure := p.openObject(r, client, form.Get("request"))
	if failure != nil {
		return nil, nil, "", &unredirectable{Title: "Request object refused", Text: "The application sent a request object that is refused: " + failure.text + "."}
	}
	// Kept, as the object may expire while somebody types a password.
	entry = &pushed{form: parameters, object: true, visited: true}
	return entry, url.Values{"client_id": {client.ID}, "request_uri": {p.keep(entry, visitLife)}}, "", nil
}

// visit takes what was pushed. A browser may arrive with a request_uri once; after that
// only our own pages go on with it.
func (p *Provider) visit(form url.Values, arrives bool) (*pushed, *unredirectable) {
	uri := form.Get("request_uri")
	p.mu.Lock()
	defer p.mu.Unlock()
	entry, known := p.pushed.get(uri)
	if !known || entry.form.Get("client_id") != form.Get("client_id") || arrives == entry.visited {
		return nil, &unredirectable{
			Title: "Unknown request_uri", Text: "The application sent a request_uri that is unknown, has expired, was used before or is of another client.", Received: uri,
		}
	}
	entry.visited = true
	p.pushed.put(uri, entry, visitLife)
	return entry, nil
}
