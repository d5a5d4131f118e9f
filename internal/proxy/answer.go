package proxy

import "net/http"

const (
	// apiPolicy keeps an answer opened as a document from doing anything (ASVS 3.2.1).
	apiPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
	// pagePolicy is for pages and downloads of a Navigate route that bring no policy.
	pagePolicy = "frame-ancestors 'self'"
)

// answer collects the upstream's header and joins it with what the middlewares
// before have set: theirs win, and an informational answer (1xx), for which the
// reverse proxy would clear the header, is dropped.
type answer struct {
	http.ResponseWriter
	header   http.Header
	navigate bool
	begin    func() // called before the header is written
	started  bool
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.started || status < 200 {
		return
	}
	a.started = true
	a.begin()
	ours := a.ResponseWriter.Header()
	a.settlePolicy(ours)
	for name, values := range a.header {
		switch _, taken := ours[name]; {
		case name == "Trailer":
		case name == "Vary":
			ours[name] = append(ours[name], values...)
		case !taken:
			ours[name] = values
		}
	}
	ours.Set("X-Content-Type-Options", "nosniff")
	a.ResponseWriter.WriteHeader(status)
}

// settlePolicy decides which security headers of a page count. On a Navigate route
// the page is the service's own and so are its policies; anywhere else no answer may
// act as a page.
func (a *answer) settlePolicy(ours http.Header) {
	if !a.navigate {
		a.header.Del("Content-Security-Policy-Report-Only")
		ours.Set("Content-Security-Policy", apiPolicy)
		return
	}
	if a.header.Get("Content-Security-Policy") == "" {
		a.header.Set("Content-Security-Policy", pagePolicy)
	}
	for _, name := range []string{
		"Content-Security-Policy", "Referrer-Policy", "Permissions-Policy", "X-Frame-Options",
		"Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy", "Cross-Origin-Resource-Policy",
	} {
		if len(a.header[name]) > 0 {
			ours.Del(name)
		}
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController flush and hijack.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
