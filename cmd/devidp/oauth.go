package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"time"

	"genkan/internal/devidp"
)

// oauthFlags are what the provider demands of its clients.
func oauthFlags(flags *flag.FlagSet, o *options) {
	p := &o.provider
	flags.BoolVar(&p.RequirePAR, "require-par", false, "every client has to push its requests (RFC 9126)")
	flags.BoolVar(&p.DPoPNonce, "dpop-nonce", false, "DPoP proofs need nonces, of the provider and of the demo API (RFC 9449)")
	list(flags, "auth-method", "`method` that metadata lists for the token endpoint, instead of the default ones (repeatable)", &p.AuthMethods)
	flags.StringVar(&o.mtlsListen, "mtls-listen", "", "`address` of a second listener, with TLS and client certificates (RFC 8705), loopback only")
	flags.StringVar(&o.mtlsCA, "mtls-ca", "", "`file` to write the certificate of that listener to, made anew at each start")
	flags.Func("mtls-client-ca", "`file` of the authorities of client certificates (default any, for tls_client_auth the subject counts)", func(name string) error {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		p.ClientCAs = x509.NewCertPool()
		if !p.ClientCAs.AppendCertsFromPEM(data) {
			return errors.New("it holds no certificate in PEM")
		}
		return nil
	})
	flags.Func("client-file", "JSON `file` with a list of clients, with the fields of devidp.Client; genkan-dev may be one of them (repeatable)", func(name string) error {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var clients []devidp.Client
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&clients); err != nil {
			return err
		}
		o.filed = append(o.filed, clients...)
		return nil
	})
}

// listenMTLS asks every client for a certificate and takes any: what it is good for is
// for the provider to tell.
func listenMTLS(o options) (net.Listener, string, error) {
	if o.mtlsCA == "" {
		return nil, "", errors.New("--mtls-listen needs --mtls-ca, or nobody could trust it")
	}
	plain, err := listen(o.mtlsListen)
	if err != nil {
		return nil, "", err
	}
	certificate, err := newCertificate()
	if err == nil {
		err = os.WriteFile(o.mtlsCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o644)
	}
	if err != nil {
		_ = plain.Close()
		return nil, "", fmt.Errorf("mtls: %w", err)
	}
	base := url.URL{Scheme: "https", Host: plain.Addr().String()}
	if issuer, err := url.Parse(o.provider.Issuer); err == nil {
		base.Path = issuer.Path
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	return tls.NewListener(plain, config), base.String(), nil
}

// newCertificate is good for this machine's own addresses.
func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "devidp"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(30 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
