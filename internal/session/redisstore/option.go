package redisstore

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// option is one that an address may carry.
type option struct {
	name string
	tls  bool  // only with TLS
	kind *kind // only with this; nil: with any
	set  func(c *Config, value string) error
}

var options = []option{
	{name: "prefix", set: func(c *Config, value string) error {
		if !prefixShape.MatchString(value) {
			return errors.New("at most 64 letters, digits and . _ : - are allowed")
		}
		c.prefix = value
		return nil
	}},
	{name: "ca_file", tls: true, set: text(func(c *Config) *string { return &c.caFile })},
	{name: "cert_file", tls: true, set: text(func(c *Config) *string { return &c.certFile })},
	{name: "key_file", tls: true, set: text(func(c *Config) *string { return &c.keyFile })},
	{name: "server_name", tls: true, set: text(func(c *Config) *string { return &c.serverName })},
	{name: "db", kind: sentinel, set: (*Config).takeDatabase},
	{name: "sentinel_user", kind: sentinel, set: text(func(c *Config) *string { return &c.sentinelUser })},
	{name: "sentinel_password", kind: sentinel, set: text(func(c *Config) *string { return &c.sentinelPassword })},
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		*field(c) = value
		return nil
	}
}

// optionShape is a name that can be shown: what else is there may be part of a password.
var optionShape = regexp.MustCompile(`^[a-z_]{1,24}$`)

func (c *Config) takeOptions(query string) error {
	met := map[string]bool{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		o, err := c.optionOf(name)
		if err != nil {
			return err
		}
		value, err = url.PathUnescape(value) // a + is a plus: this is no form
		switch {
		case err != nil:
			return fmt.Errorf("option %s: a %% does not begin a percent-encoding; write it %%25", name)
		case value == "":
			return fmt.Errorf("option %s: there is no value", name)
		case met[name]:
			return fmt.Errorf("option %s: it is there twice", name)
		}
		met[name] = true
		if err := o.set(c, value); err != nil {
			return fmt.Errorf("option %s: %w", name, err)
		}
	}
	switch {
	case (c.certFile == "") != (c.keyFile == ""):
		return errors.New("options cert_file and key_file: the one needs the other")
	case c.sentinelUser != "" && c.sentinelPassword == "":
		return errors.New("option sentinel_user: it needs sentinel_password")
	}
	return nil
}

func (c *Config) optionOf(name string) (option, error) {
	if !optionShape.MatchString(name) {
		return option{}, errors.New("an option has no proper name; the form is ?name=value&name=value")
	}
	i := slices.IndexFunc(options, func(o option) bool { return o.name == name })
	if i < 0 {
		var names []string
		for _, o := range options {
			names = append(names, o.name)
		}
		return option{}, fmt.Errorf("there is no option %s; there are %s", name, strings.Join(names, ", "))
	}
	found := options[i]
	switch {
	case found.tls && !c.tls:
		return option{}, fmt.Errorf("option %s is for TLS: write rediss in place of redis", name)
	case found.kind != nil && found.kind != c.kind && name == "db":
		return option{}, errors.New("option db is for redis+sentinel://; in redis:// the database follows the host, and a Cluster has none")
	case found.kind != nil && found.kind != c.kind:
		return option{}, fmt.Errorf("option %s is for redis+sentinel:// only", name)
	}
	return found, nil
}
