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

// Client speaks to one provider. It is safe for concurrent use; the metadata and keys
// it caches are its only state.
type Client struct {
	cfg  Config // validated, defaults filled in
	http *http.Client
	meta *cache[metadata]
	keys *keySet
}

// New checks cfg and makes a client without asking the provider anything. Its error
// joins everything that is wrong, one line each.
func New(cfg Config) (*Client, error) {
	if err := validate(cfg); err != nil {
		return nil, err
	}
	cfg = withDefaults(cfg)
	if cfg.Transport == nil {
		transport, err := newTransport(cfg.CAFile, cfg.Timeout)
		if err != nil {
			return nil, err
		}
		cfg.Transport = transport
	}
	c := &Client{cfg: cfg, http: &http.Client{
		Transport: cfg.Transport, Timeout: cfg.Timeout, CheckRedirect: sameOriginOnly,
	}}
	warn := func(err error) {
		cfg.Logger.Warn("provider cannot be read", "provider", cfg.ID, "error", err)
	}
	c.meta = &cache[metadata]{fetch: c.fetchMetadata, now: cfg.Now, warn: warn, ttl: time.Hour}
	c.keys = &keySet{algs: signatureAlgorithms(cfg.SigningAlgs), cache: &cache[[]verificationKey]{
		fetch: c.fetchKeys, now: cfg.Now, warn: warn, ttl: 15 * time.Minute,
	}}
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
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = []string{"openid", "profile", "email"}
	}
	if !slices.Contains(cfg.Scopes, "openid") {
		cfg.Scopes = append([]string{"openid"}, cfg.Scopes...)
	}
	if len(cfg.SigningAlgs) == 0 {
		cfg.SigningAlgs = []string{"RS256"}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// newTransport makes connections that no other client shares, so that one slow
// provider cannot use up what another needs.
func newTransport(caFile string, timeout time.Duration) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
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
		config.RootCAs = pool
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    timeout,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    16,
		MaxConnsPerHost:        128,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
	}, nil
}
