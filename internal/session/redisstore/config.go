package redisstore

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Config is an address that Parse has read: where the servers are and how to get in.
// Printing it shows no password.
type Config struct {
	kind      *kind
	addresses []string // host:port
	tls       bool
	database  int
	master    string // the name the sentinels know it by

	user, password                 string
	sentinelUser, sentinelPassword string

	prefix                                string
	caFile, certFile, keyFile, serverName string
}

// kind is one of the ways in which Redis is run. Its name is the scheme's, after any
// "+", its port the default one.
type kind struct{ name, port string }

var (
	single   = &kind{"", "6379"}
	cluster  = &kind{"cluster", "6379"}
	sentinel = &kind{"sentinel", "26379"}
)

// schemes are what an address may begin with.
var schemes = []string{"redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"}

const (
	defaultPrefix = "genkan"
	mostAddresses = 32
)

var (
	hostShape   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,253}$`)
	prefixShape = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)
	masterShape = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
)

// Parse reads an address of one of the forms
//
//	redis://[user:password@]host[:6379][/database]
//	redis+cluster://[user:password@]host[:6379],host...
//	redis+sentinel://[user:password@]host[:26379],host.../master
//
// or of the same with rediss, which is TLS (for sentinels too). What is special in a user
// or password is percent-encoded. Options follow a question mark: prefix (of all keys,
// default "genkan"); ca_file, cert_file, key_file (PEM) and server_name for TLS; db,
// sentinel_user and sentinel_password for sentinels. No error shows what may be a password.
func Parse(address string) (Config, error) {
	c, err := parse(address)
	if err != nil {
		return Config{}, fmt.Errorf("redisstore: address: %w", err)
	}
	return c, nil
}

// String is the address without user, password and options.
func (c Config) String() string {
	if c.kind == nil {
		return ""
	}
	text := c.scheme() + "://" + strings.Join(c.addresses, ",")
	if c.kind == sentinel {
		text += "/" + c.master
	}
	return text
}

// GoString is String, so that %#v shows no password either.
func (c Config) GoString() string { return c.String() }

func (c Config) scheme() string {
	scheme := "redis"
	if c.tls {
		scheme = "rediss"
	}
	if c.kind.name != "" {
		scheme += "+" + c.kind.name
	}
	return scheme
}

func parse(address string) (Config, error) {
	scheme, rest, found := strings.Cut(address, "://")
	if !found || !slices.Contains(schemes, scheme) {
		return Config{}, fmt.Errorf("it must begin with one of %s, and ://", strings.Join(schemes, ", "))
	}
	c := Config{prefix: defaultPrefix, kind: single}
	family, mode, _ := strings.Cut(scheme, "+")
	c.tls = family == "rediss"
	for _, k := range []*kind{cluster, sentinel} {
		if mode == k.name {
			c.kind = k
		}
	}
	rest, options, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(path+options, "@#") || strings.Contains(authority, "#") {
		return Config{}, errors.New("a / ? # or @ in a user or password must be percent-encoded (%2F %3F %23 %40), in an option too")
	}
	for _, step := range []func() error{
		func() error { return c.takeAuthority(authority) },
		func() error { return c.takePath(path) },
		func() error { return c.takeOptions(options) },
	} {
		if err := step(); err != nil {
			return Config{}, err
		}
	}
	return c, nil
}

func (c *Config) takeAuthority(authority string) (err error) {
	hosts := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, password, _ := strings.Cut(authority[:at], ":")
		hosts = authority[at+1:]
		if c.user, err = url.PathUnescape(user); err == nil {
			c.password, err = url.PathUnescape(password)
		}
		switch {
		case err != nil:
			return errors.New("the user or the password has a % that does not begin a percent-encoding; write it %25")
		case c.password == "":
			return errors.New("there is a user without a password: redis://user:password@host, or redis://:password@host")
		}
	}
	for host := range strings.SplitSeq(hosts, ",") {
		address, err := c.withPort(host)
		if err != nil {
			return err
		}
		c.addresses = append(c.addresses, address)
	}
	switch {
	case c.kind == single && len(c.addresses) > 1:
		return errors.New("several hosts need redis+cluster:// or redis+sentinel://")
	case len(c.addresses) > mostAddresses:
		return fmt.Errorf("more than %d hosts", mostAddresses)
	}
	return nil
}

// withPort does not quote what it refuses: it may be a password whose @ is missing.
func (c *Config) withPort(text string) (string, error) {
	host, port := text, c.kind.port
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
		host, port = text[:i], text[i+1:]
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || port[0] == '0' {
		return "", errors.New("a host's port is not a number from 1 to 65535")
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		if !closed || net.ParseIP(inner) == nil {
			return "", errors.New("what is in brackets is not an IPv6 address")
		}
		return net.JoinHostPort(inner, port), nil
	}
	if !hostShape.MatchString(host) {
		return "", errors.New("a host is missing, or is neither a name nor an address (an IPv6 one is in brackets)")
	}
	return net.JoinHostPort(host, port), nil
}

func (c *Config) takePath(path string) error {
	switch c.kind {
	case sentinel:
		if !masterShape.MatchString(path) {
			return errors.New("the name by which the sentinels know the master is missing: redis+sentinel://host1,host2/name")
		}
		c.master = path
		return nil
	case cluster:
		if path != "" {
			return errors.New("a Cluster has no numbered databases: nothing may follow the hosts but options")
		}
		return nil
	}
	if path == "" {
		return nil
	}
	return c.takeDatabase(path)
}

func (c *Config) takeDatabase(text string) error {
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return errors.New("the database is not a number from 0 to 65535")
	}
	c.database = int(number)
	return nil
}
