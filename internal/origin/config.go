package origin

// Alias says what a request gets that came to another spelling of the loopback
// address than the public one.
type Alias string

// The aliases of server.loopback_alias.
const (
	AliasRedirect Alias = "redirect" // navigations 307 to the canonical spelling, anything else 421
	AliasAllow    Alias = "allow"    // each spelling is a public URL of its own
	AliasReject   Alias = "reject"   // 421
)

// SameSiteMode is session.cookie.same_site.
type SameSiteMode string

// SameSiteAuto picks strict, or lax when a navigation must carry the session, or
// none when the origins are two sites over https.
const (
	SameSiteAuto   SameSiteMode = "auto"
	SameSiteStrict SameSiteMode = "strict"
	SameSiteLax    SameSiteMode = "lax"
	SameSiteNone   SameSiteMode = "none"
)

// Config is everything that decides what browsers hold Genkan to.
type Config struct {
	PublicURLs    []Origin // where browsers reach Genkan; the first is canonical
	SPAOrigins    []Origin // browser apps served elsewhere
	LoopbackAlias Alias    // default AliasRedirect
	Prefix        string   // of Genkan's own endpoints, default /bff
	SameSite      SameSiteMode
	// Navigate: some upstream is opened by navigations, so the session cookie must
	// come with them.
	Navigate bool
	// FormPost: some provider answers by a cross-site POST, so the transaction
	// cookie must be SameSite=None; Secure.
	FormPost bool
	// TLS: Genkan terminates TLS itself.
	TLS bool
	// TrustedProxies: some proxy's X-Forwarded-Proto and -Host count.
	TrustedProxies bool
}
