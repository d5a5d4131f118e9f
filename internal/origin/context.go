package origin

import (
	"context"
	"net/http"
)

type siteKey struct{}

// ContextWithSite returns a copy of ctx that remembers the public URL a request arrived at.
func ContextWithSite(ctx context.Context, s *Site) context.Context {
	return context.WithValue(ctx, siteKey{}, s)
}

// WithSite is ContextWithSite for a copy of r.
func WithSite(r *http.Request, s *Site) *http.Request {
	return r.WithContext(ContextWithSite(r.Context(), s))
}

// SiteOf returns the public URL that r arrived at. It panics when no WithSite came
// before: a handler that uses the session behind no host check is a programmer's
// error.
func SiteOf(r *http.Request) *Site { return r.Context().Value(siteKey{}).(*Site) }
