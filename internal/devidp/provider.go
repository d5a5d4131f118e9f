// Package devidp is an OpenID provider for development and tests: code flow with PKCE,
// pushed and signed requests, every kind of client authentication, DPoP, rotating refresh
// tokens, token exchange, client credentials, UserInfo, introspection, revocation,
// RP-Initiated Logout, key roll, and faults on demand.
//
// It knows nothing of Genkan, which reaches it by HTTP like any other provider, and
// it is never linked into Genkan. It keeps everything in memory, publishes its users'
// passwords on the sign-in page and records every token it issues: nothing here may
// ever face a network. What it does keep to is the protocol, strictly, so that a
// client's mistake shows here and not first at a real provider.
package devidp

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// User is somebody who can sign in. The claims go out by scope: Name, Username and Claims
// with profile, Email and EmailVerified with email, Groups with groups. Access tokens have
// Groups, Roles and Claims of these, Roles with groups.
type User struct {
	Username, Password string
	Subject            string
	Name               string
	Email              string
	EmailVerified      bool
	Groups, Roles      []string
	Claims             map[string]any // of any name, like department
}

// Client is a registered relying party.
type Client struct {
	ID     string
	Secret string // empty: a public client
	// RedirectURIs and PostLogoutURIs are compared byte for byte (RFC 9700 2.1).
	RedirectURIs, PostLogoutURIs []string
	// AuthMethods are allowed at the token endpoint; default private_key_jwt with JWKS,
	// else client_secret_basic and client_secret_post, or none for a public client.
	AuthMethods []string
	// JWKS holds the public keys of assertions and request objects (RFC 7517 5).
	JWKS json.RawMessage
	// TLSSubject is the certificate's subject by RFC 4514, for tls_client_auth;
	// TLSThumbprint its SHA-256 in base64url, for self_signed_tls_client_auth.
	TLSSubject, TLSThumbprint string

	RequirePAR           bool // RFC 9126 6
	RequireRequestObject bool // RFC 9101 10.5
	RequireDPoP          bool // RFC 9449 5.2

	TokenExchange bool // it may exchange access tokens (RFC 8693)
	// Audiences are the services that the client stands for. Access tokens for them are its
	// to exchange and to introspect, as are its own and those for its ID.
	Audiences []string
	// OpaqueAccessTokens gives it access tokens that only introspection tells the meaning
	// of (RFC 7662).
	OpaqueAccessTokens bool

	// IDTokenAlg signs ID, access and logout tokens; default RS256. UserInfoAlg makes
	// UserInfo a signed JWT; default plain JSON.
	IDTokenAlg, UserInfoAlg string
	// The addresses that are told when a session ends; empty is not at all.
	BackchannelURI, FrontchannelURI, GlobalRevocationURI string
	// BackchannelSessionRequired has every logout token carry a sid.
	BackchannelSessionRequired bool
	InitiateLoginURI           string // OpenID Connect Core 4
}

// Config is a Provider's. The zero value of every field is its default.
type Config struct {
	// Issuer is where the provider is reached, a path included. Left empty, SetIssuer has
	// to be called before the first request.
	Issuer   string
	Users    []User   // default alice and bob, password "password"
	Clients  []Client // default DevClient
	Scopes   []string // known beside openid, profile, email, groups and offline_access
	Audience string   // of access tokens; default http://127.0.0.1:9100
	// Targets are the other audiences and resources for which there are access tokens by
	// exchange and by client credentials.
	Targets []string

	// AuthMethods are what metadata lists for the token endpoint; default
	// client_secret_basic, client_secret_post, private_key_jwt and none. What a client
	// may use is in Client.AuthMethods.
	AuthMethods []string
	RequirePAR  bool // of every client (RFC 9126 5)
	// DPoPNonce demands a nonce of the provider's in every DPoP proof (RFC 9449 8).
	DPoPNonce bool
	// MTLSBase is the https URL, with the issuer's path, of a second listener that asks
	// for client certificates. Metadata then has mtls_endpoint_aliases (RFC 8705 5).
	MTLSBase string
	// ClientCAs sign the certificates of tls_client_auth. Without them the subject alone
	// counts, whoever signed it.
	ClientCAs *x509.CertPool

	AccessLifetime  time.Duration // default 5 minutes
	IDLifetime      time.Duration // default 5 minutes
	RefreshLifetime time.Duration // of each refresh token; default 24 hours

	SkipConsent bool   // never ask for consent, except for prompt=consent
	AutoSignIn  string // a username: signed in without a page, for tests without a browser
	ThinIDToken bool   // the user's claims only in UserInfo

	Transport http.RoundTripper // of logout notices to clients; default without proxy

	Now    func() time.Time
	NewKey func() (*rsa.PrivateKey, error) // default a new RSA key of 2048 bits
}

const (
	codeLifetime    = time.Minute
	codeMemory      = time.Hour // how long a second use of a code is recognised as one
	sessionLifetime = 12 * time.Hour
	maxSessions     = 1000
	maxGrants       = 10_000
	maxSpent        = 100_000
	maxBody         = 1 << 20
)

// Provider is the http.Handler. It is safe for concurrent use.
type Provider struct {
	cfg   Config
	mux   *http.ServeMux
	pages *template.Template

	mu       sync.Mutex // guards everything below, and what the shelves hold
	issuer   string
	access   time.Duration
	keys     []signingKey        // the newest first
	sessions *shelf[*ssoSession] // by cookie value
	codes    *shelf[*grant]
	families *shelf[*grant]  // of refresh tokens
	accesses *shelf[issue]   // by access token
	pushed   *shelf[*pushed] // by request_uri
	spent    *shelf[bool]    // jti of assertions and proofs
	mtlsBase string
	asNonces nonces // of /token and /par
	rsNonces nonces // of /userinfo
	seen     []*Seen
	faults   []*Fault
	stats    Stats
	issued   []string
	out      outgoing
}

// New makes a Provider, which takes a moment for its key. The error names what is wrong
// in c.
func New(c Config) (*Provider, error) {
	c.Audience = cmp.Or(c.Audience, "http://127.0.0.1:9100")
	c.AccessLifetime = cmp.Or(c.AccessLifetime, 5*time.Minute)
	c.IDLifetime = cmp.Or(c.IDLifetime, 5*time.Minute)
	c.RefreshLifetime = cmp.Or(c.RefreshLifetime, 24*time.Hour)
	if c.AuthMethods == nil {
		c.AuthMethods = []string{authBasic, authPost, authPrivateKey, authNone}
	}
	c.Scopes = append(userScopes(), c.Scopes...)
	if c.Users == nil {
		c.Users = devUsers()
	}
	if c.Clients == nil {
		c.Clients = []Client{DevClient()}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewKey == nil {
		c.NewKey = func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("devidp: %w", err)
	}
	pages, err := template.ParseFS(assets, "assets/*.html")
	if err != nil {
		return nil, fmt.Errorf("devidp: pages: %w", err)
	}
	p := &Provider{
		cfg: c, pages: pages, issuer: c.Issuer, access: c.AccessLifetime,
		sessions: newShelf[*ssoSession](c.Now, maxSessions), codes: newShelf[*grant](c.Now, maxGrants),
		families: newShelf[*grant](c.Now, maxGrants), accesses: newShelf[issue](c.Now, maxGrants),
		pushed: newShelf[*pushed](c.Now, maxGrants), spent: newShelf[bool](c.Now, maxSpent), mtlsBase: c.MTLSBase,
		out: newOutgoing(c),
	}
	p.mux = p.routes()
	return p, p.RollKey()
}

func (c *Config) validate() error {
	var errs []error
	if c.Issuer != "" {
		errs = append(errs, checkIssuer(c.Issuer))
	}
	if c.MTLSBase != "" {
		errs = append(errs, checkIssuer(c.MTLSBase))
	}
	if !subset(c.AuthMethods, authMethods()) {
		errs = append(errs, errors.New("AuthMethods names an unknown method"))
	}
	for i, client := range c.Clients {
		if client.ID == "" {
			errs = append(errs, errors.New("a client has no id"))
		}
		if slices.ContainsFunc(c.Clients[:i], func(other Client) bool { return other.ID == client.ID }) {
			errs = append(errs, fmt.Errorf("client %q stands in the list twice", client.ID))
		}
		errs = append(errs, client.check(), client.checkAlgorithms())
	}
	for _, user := range c.Users {
		if user.Username == "" || user.Subject == "" {
			errs = append(errs, errors.New("a user has no name or no subject"))
		}
	}
	if _, known := userNamed(c.Users, c.AutoSignIn); c.AutoSignIn != "" && !known {
		errs = append(errs, fmt.Errorf("there is no user %q to sign in", c.AutoSignIn))
	}
	if min(c.AccessLifetime, c.IDLifetime, c.RefreshLifetime) < time.Second {
		errs = append(errs, errors.New("a lifetime is below one second"))
	}
	return errors.Join(errs...)
}

func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.ContainsAny(issuer, "?#") {
		return fmt.Errorf("issuer %q is not an http or https URL without query", issuer)
	}
	return nil
}

// DevClient is the client that Genkan uses in development: genkan-dev, with the secret
// genkan-dev-secret, on ports 8000 (Genkan) and 5173 (the SPA's server). It may exchange
// tokens, and stands for the demo API.
func DevClient() Client {
	c := Client{ID: "genkan-dev", Secret: "genkan-dev-secret", TokenExchange: true, Audiences: []string{"http://127.0.0.1:9100"}}
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]"} {
		for _, port := range []string{"8000", "5173"} {
			base := "http://" + host + ":" + port + "/bff"
			c.RedirectURIs = append(c.RedirectURIs, base+"/callback")
			c.PostLogoutURIs = append(c.PostLogoutURIs, base+"/logout/callback")
		}
	}
	return c
}

func devUsers() []User {
	return []User{
		{
			Username: "alice", Password: "password", Subject: "dev-user-alice-7f3a", Name: "Alice Arai",
			Email: "alice@example.com", EmailVerified: true, Groups: []string{"staff", "admins"},
		},
		{
			Username: "bob", Password: "password", Subject: "dev-user-bob-19c4", Name: "Bob Baker",
			Email: "bob@example.com", Groups: []string{"staff"},
		},
	}
}

func userNamed(users []User, name string) (User, bool) {
	i := slices.IndexFunc(users, func(u User) bool { return u.Username == name })
	if i < 0 {
		return User{}, false
	}
	return users[i], true
}

func (p *Provider) client(id string) (Client, bool) {
	i := slices.IndexFunc(p.cfg.Clients, func(c Client) bool { return c.ID == id })
	if i < 0 {
		return Client{}, false
	}
	return p.cfg.Clients[i], true
}

// Issuer is the provider's own name and address.
func (p *Provider) Issuer() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issuer
}

// SetIssuer is for tests, which learn the address only when their server listens.
func (p *Provider) SetIssuer(issuer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.issuer = issuer
}

// SetMTLSBase is Config.MTLSBase for tests, which learn the address late.
func (p *Provider) SetMTLSBase(base string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mtlsBase = base
}

// SetAccessLifetime changes how long access tokens issued from now on are good.
func (p *Provider) SetAccessLifetime(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.access = d
}

// endpoint is the absolute URL of path.
func (p *Provider) endpoint(path string) string {
	return strings.TrimSuffix(p.Issuer(), "/") + path
}

func (p *Provider) routes() *http.ServeMux {
	// A form of our own pages may be sent from our own pages only. Everything else is
	// open to other sites by design.
	own := http.NewCrossOriginProtection()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.home)
	mux.HandleFunc("GET /assets/{name}", p.asset)
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /.well-known/openid-configuration/{$}", p.discovery) // for quirk-dot-discovery
	mux.HandleFunc("GET /jwks", p.jwks)
	mux.HandleFunc("/recorded/{name}", p.recorded)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /authorize", p.authorizePost)
	mux.Handle("POST /sign-in", own.Handler(http.HandlerFunc(p.signIn)))
	mux.Handle("POST /consent", own.Handler(http.HandlerFunc(p.consent)))
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /par", p.par)
	mux.HandleFunc("GET /userinfo", p.userInfo)
	mux.HandleFunc("POST /userinfo", p.userInfo)
	mux.HandleFunc("POST /introspect", p.introspect)
	mux.HandleFunc("POST /revoke", p.revoke)
	mux.HandleFunc("GET /logout", p.logout)
	mux.HandleFunc("POST /logout", p.logout)
	mux.Handle("POST /logout/confirmed", own.Handler(http.HandlerFunc(p.logoutConfirmed)))
	return mux
}

// ServeHTTP answers below the issuer's path.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	issuer, err := url.Parse(p.Issuer())
	if err != nil || issuer.Host == "" {
		http.Error(w, "the provider's issuer is not set", http.StatusInternalServerError)
		return
	}
	http.StripPrefix(strings.TrimSuffix(issuer.Path, "/"), http.HandlerFunc(p.serve)).ServeHTTP(w, r)
}

func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	// The whole form is read here also for faults that answer at once: a handler learns
	// that its client hung up only when the body has been read.
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	p.record(r)
	r = p.look(r)
	p.offerNonce(w, r)
	for _, f := range p.take(func(f *Fault) bool { return f.Answer != nil && f.at(r) }) {
		f.Answer(w, r)
		return
	}
	p.mux.ServeHTTP(w, r)
}

// json sends body, changed by the faults of this endpoint.
func (p *Provider) json(w http.ResponseWriter, r *http.Request, status int, body map[string]any) {
	for _, f := range p.take(func(f *Fault) bool { return f.Body != nil && f.at(r) }) {
		f.Body(body)
	}
	w.Header().Set("Content-Type", "application/json")
	p.spoilHeader(w, r)
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "no-store") // RFC 6749 5.1
	}
	p.see(r, func(s *Seen) { s.Status = status })
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
