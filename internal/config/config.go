// Package config turns defaults, YAML files, a .env file and the environment into
// one checked Config, and explains every setting it knows.
//
// One row per setting (settings.go, provider.go, upstream.go) feeds the loader, the
// hints for misspelt keys, what `genkan config` prints, the JSON Schema,
// .env.example and docs/configuration.md. It starts nothing and keeps no state. A
// setting decides who is trusted, so anything unknown, doubtful or given twice is
// refused, everything at once, and no finding ever holds a secret's value.
package config

import (
	"log/slog"
	"net/netip"
	"time"

	"genkan/internal/finding"
	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/proxy"
	"genkan/internal/rp"
)

// Config is every setting, parsed and checked. Only Load makes one.
type Config struct {
	Server    Server
	Origin    origin.Config // server.public_urls, spa.origins and what follows from the rest
	SPADir    string        // spa.dir: "" the embedded build, "off" none, else a folder
	Session   Session
	Providers []rp.Config
	Upstreams []proxy.Route
	// Assertions is how identity assertions for upstreams are signed.
	Assertions Assertions
	Log        Log
}

// Server is where Genkan listens.
type Server struct {
	Listen         string // host:port
	AdminListen    string
	AdminToken     keys.Secret
	TrustedProxies []netip.Prefix
	CertFile       string
	KeyFile        string
}

// Session is where and for how long sessions live.
type Session struct {
	Store keys.Secret // an address; it may hold a password
	Keys  []keys.Secret
	// ReadKeys reads Keys again from where they were read. It is nil when that is the
	// environment, which does not change.
	ReadKeys        func() ([]keys.Secret, finding.Findings)
	IdleTimeout     time.Duration
	AbsoluteTimeout time.Duration
	MaxPerUser      int // 0: no limit
}

// Assertions is how Genkan signs identity assertions.
type Assertions struct {
	// Keys are the operator's: the first signs, all are published. None: keys for Alg are
	// derived from session.keys.
	Keys []*keys.Signer
	Alg  string // ES256, EdDSA
}

// Log is how the program logs.
type Log struct {
	Level  slog.Level
	Format string // auto, text, json
}
