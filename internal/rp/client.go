package rp

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"time"
)

// Client speaks to one provider. It is safe for concurrent use; the metadata, keys
// and nonces it caches are its only state.
type Client struct {
	cfg    Config // validated, defaults filled in
	http   *http.Client
	mtls   *http.Client // presents the client's certificate; nil without one
	meta   *cache[metadata]
	keys   *keySet
	nonces Nonces // of the endpoints that authenticate the client
	shown  Nonces // of UserInfo, which is a resource server
	// revoker knows the keys of Config.RevocationIssuer: the client itself, or one that
	// is used for nothing else.
	revoker *Client
}

// New checks cfg and makes a client without asking the provider anything. Its error
// joins everything that is wrong, one line each.
func New(cfg Config) (*Client, error) {
	if err := validate(cfg); err != nil {
		return nil, err
	}
	cfg = withDefaults(cfg)
	c := &Client{cfg: cfg}
	var err error
	if c.http, err = newHTTP(cfg, nil); err != nil {
		return nil, err
	}
	if cfg.ClientCertificate != nil {
		if c.mtls, err = newHTTP(cfg, cfg.ClientCertificate); err != nil {
			return nil, err
		}
	}
	warn := func(err error) {
		cfg.Logger.Warn("provider cannot be read", "provider", cfg.ID, "error", err)
	}
	c.meta = &cache[metadata]{fetch: c.fetchMetadata, now: cfg.Now, warn: warn, ttl: time.Hour}
	algs := slices.Concat(cfg.SigningAlgs, cfg.AccessTokenAlgs) // each verifier holds its tokens to its own list
	if cfg.UserInfoAlg != "" {
		algs = append(algs, cfg.UserInfoAlg)
	}
	c.keys = &keySet{algs: signatureAlgorithms(algs), cache: &cache[[]verificationKey]{
		fetch: c.fetchKeys, now: cfg.Now, warn: warn, ttl: 15 * time.Minute,
	}}
	if c.revoker, err = newRevoker(c); err != nil {
		return nil, err
	}
	return c, nil
}

// ID is Config.ID.
func (c *Client) ID() string { return c.cfg.ID }

// Name is what the sign-in page calls the provider.
func (c *Client) Name() string { return c.cfg.Name }

// Issuer is the provider's issuer, to be compared byte for byte.
func (c *Client) Issuer() string { return c.cfg.Issuer }

// ResponseMode says how the callback is reached, and so which SameSite the
// transaction cookie needs.
func (c *Client) ResponseMode() ResponseMode { return c.cfg.ResponseMode }

// Warm reads the provider's metadata unless a copy is held: for start-up and
// readiness. A failure is no reason not to start.
func (c *Client) Warm(ctx context.Context) error {
	_, err := c.discover(ctx)
	return err
}

func withDefaults(cfg Config) Config {
	cfg.Name = cmp.Or(cfg.Name, cfg.ID)
	cfg.ClientAuth = cmp.Or(cfg.ClientAuth, AuthAuto)
	cfg.ResponseMode = cmp.Or(cfg.ResponseMode, ModeQuery)
	cfg.UserInfo = cmp.Or(cfg.UserInfo, UserInfoAuto)
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.PAR = cmp.Or(cfg.PAR, PARAuto)
	cfg.AssertionAudience = cmp.Or(cfg.AssertionAudience, AudienceIssuer)
	cfg.RevocationIssuer = cmp.Or(cfg.RevocationIssuer, cfg.Issuer)
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = []string{"openid", "profile", "email"}
	}
	if !slices.Contains(cfg.Scopes, "openid") {
		cfg.Scopes = append([]string{"openid"}, cfg.Scopes...)
	}
	if len(cfg.SigningAlgs) == 0 {
		cfg.SigningAlgs = []string{"RS256"}
	}
	if len(cfg.AccessTokenAlgs) == 0 {
		cfg.AccessTokenAlgs = cfg.SigningAlgs
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// newHTTP makes connections that no other client shares, so that one slow provider
// cannot use up what another needs. certificate, when not nil, is shown to servers that
// ask for one: a client of its own has it, so that no other endpoint sees it.
func newHTTP(cfg Config, certificate *tls.Certificate) (*http.Client, error) {
	client := &http.Client{Transport: cfg.Transport, Timeout: cfg.Timeout, CheckRedirect: sameOriginOnly}
	if cfg.Transport != nil {
		return client, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if certificate != nil {
		// Whatever CAs the server names: a self-signed certificate is of none of them, and
		// crypto/tls would send none.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	if cfg.CAFile != "" {
		roots, err := readRoots(cfg.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	client.Transport = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    cfg.Timeout,
		ResponseHeaderTimeout:  cfg.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    16,
		MaxConnsPerHost:        128,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
	}
	return client, nil
}

// readRoots adds the certificates of a PEM file to those of the system.
func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca_file: holds no certificate in PEM")
	}
	return pool, nil
}
