package origin

import (
	"context"
	"net/http"
)

type siteKey struct{}

// WithSite returns a copy of r that remembers the public URL it arrived at.
func WithSite(r *http.Request, s *Site) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), siteKey{}, s))
}

// SiteOf returns the public URL that r arrived at. It panics when no WithSite came
// before: a handler that uses the session behind no host check is a programmer's
// error.
func SiteOf(r *http.Request) *Site { return r.Context().Value(siteKey{}).(*Site) }
