package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"genkan/internal/finding"
	"genkan/internal/origin"
	"genkan/internal/rp"
)

func (l *loader) checkKeys(c *Config, top outcomes) {
	if len(c.Session.Keys) == 0 && !top.refused("session.keys") && !l.reported("session.keys") {
		l.add(finding.KeysMissing.New(top.where("session.keys"), "", ""))
	}
}

// check judges settings that must fit each other.
func (l *loader) check(c *Config, top outcomes) {
	s := c.Session
	if !top.refused("session.idle_timeout", "session.absolute_timeout") && s.IdleTimeout > s.AbsoluteTimeout {
		l.add(finding.TimeoutInvalid.New(top.where("session.idle_timeout"),
			"it is "+top["session.idle_timeout"].text+", longer than session.absolute_timeout, which is "+top["session.absolute_timeout"].text,
			"Write "+top["session.absolute_timeout"].text+" or less, or raise session.absolute_timeout."))
	}
	_, port, _ := net.SplitHostPort(c.Server.Listen) // "" if it was refused
	bound := port != "" && port != "0"
	if bound && c.Server.Listen == c.Server.AdminListen {
		l.add(finding.SettingInvalid.New(top.where("server.admin_listen"), "it is the same as server.listen",
			"Choose another port: health and administration are not for the public."))
	}
	if public := c.Origin.PublicURLs; bound && !top.given("server.public_urls") && !strings.HasSuffix(public[0].String(), ":"+port) {
		l.add(finding.PublicURLPort.New(top.where("server.public_urls"), "it is "+public[0].String()+" by default, but Genkan listens on port "+port, ""))
	}
	if a := c.Server.AdminListen; a != "" && c.Server.AdminToken.Empty() && !localAddress(a) && !top.refused("server.admin_token") {
		l.add(finding.AdminTokenMissing.New(top.where("server.admin_listen"), "it is "+a+", and there is no server.admin_token", ""))
	}
	l.checkTLS(c, top)
	if l.src.Development {
		for _, o := range c.Origin.PublicURLs {
			if !o.Loopback() {
				l.add(finding.SettingInvalid.New(top.where("server.public_urls"), o.String()+" is not on this machine; development uses a client secret that everybody knows",
					"Run `genkan serve`, or remove it for `genkan dev`."))
			}
		}
	}
}

// localAddress reports whether only this machine can reach what listens there, as far
// as the text tells.
func localAddress(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, _ := netip.ParseAddr(host)
	return host == "localhost" || ip.IsLoopback()
}

func (l *loader) checkTLS(c *Config, top outcomes) {
	const cert, key = "server.tls.cert_file", "server.tls.key_file"
	c.Origin.TLS = c.Server.CertFile != ""
	switch {
	case c.Server.CertFile == "" && c.Server.KeyFile == "":
	case c.Server.KeyFile == "":
		l.add(finding.SettingInvalid.New(top.where(cert), "it is set without "+key, "Set "+key+" too."))
	case c.Server.CertFile == "":
		l.add(finding.SettingInvalid.New(top.where(key), "it is set without "+cert, "Set "+cert+" too."))
	default:
		if _, err := tls.LoadX509KeyPair(c.Server.CertFile, c.Server.KeyFile); err != nil {
			l.add(finding.SettingInvalid.New(top.where(cert), "the certificate and its key cannot be used: "+reason(err), "Name a PEM certificate chain and the private key that belongs to it."))
		}
	}
}

// checkOrigins lets package origin judge what browsers make of all this. What it
// finds is named as the operator wrote it.
func (l *loader) checkOrigins(c *Config, top outcomes) {
	c.Origin.TrustedProxies = len(c.Server.TrustedProxies) > 0
	for _, p := range c.Providers {
		c.Origin.FormPost = c.Origin.FormPost || p.ResponseMode == rp.ModeFormPost
	}
	for _, u := range c.Upstreams {
		c.Origin.Navigate = c.Origin.Navigate || u.Navigate
	}
	if top.refused("server.public_urls", "spa.origins", "server.loopback_alias", "server.trusted_proxies", "session.cookie.same_site") {
		return
	}
	_, found := origin.New(c.Origin)
	for _, f := range found {
		f.Where = top.where(f.Where)
		l.add(f)
	}
}

// assignFolder takes spa.dir: "off", or a folder that holds a built app.
func assignFolder(to *string, v value) refusals {
	if v.text == "off" {
		*to = "off"
		return nil
	}
	dir := under(v.dir, v.text)
	if _, err := os.Stat(filepath.Join(dir, "index.html")); err != nil {
		return refuse("Name the folder of the built app, or off.", "there is no index.html in %s: %s", quote(v.text), reason(err))
	}
	*to = dir
	return nil
}

// assignRoots takes a file of CA certificates.
func assignRoots(to *string, v value) refusals {
	path := under(v.dir, v.text)
	data, err := readBounded(path, maxFile)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
		err = errors.New("it holds no PEM certificate")
	}
	if err != nil {
		return refuse("Name a PEM file with the CA's certificates.", "%s: %s", quote(v.text), reason(err))
	}
	*to = path
	return nil
}
