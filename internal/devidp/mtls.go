package devidp

import (
	"crypto/sha256"
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
)

// thumbprint is the x5t#S256 of the certificate that r came with, empty without one. TLS
// has proved that the peer holds its key.
func thumbprint(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	return base64url(sum[:])
}

// byCertificate is RFC 8705 2.1 and 2.2.
func (p *Provider) byCertificate(r *http.Request, client Client) (caller, string, *oauthError) {
	refused := func(text string) (caller, string, *oauthError) {
		return caller{}, "", &oauthError{"invalid_client", text}
	}
	sum := thumbprint(r)
	if sum == "" {
		return refused("the client has to show its certificate")
	}
	p.see(r, func(s *Seen) { s.Certificate = sum })
	leaf := r.TLS.PeerCertificates[0]
	if now := p.cfg.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return refused("the certificate has expired, or is not yet good")
	}
	methods := client.methods()
	switch {
	case slices.Contains(methods, authSelfSigned) && sum == client.TLSThumbprint:
		return caller{Client: client, certificate: sum}, authSelfSigned, nil
	case !slices.Contains(methods, authTLS):
		return refused("the certificate is not the registered one")
	case leaf.Subject.String() != client.TLSSubject:
		return refused("the certificate's subject is " + leaf.Subject.String())
	case p.cfg.ClientCAs != nil && !p.chained(r.TLS.PeerCertificates):
		return refused("the certificate is not signed by a known authority")
	}
	return caller{Client: client, certificate: sum}, authTLS, nil
}

func (p *Provider) chained(chain []*x509.Certificate) bool {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: p.cfg.ClientCAs, Intermediates: between, CurrentTime: p.cfg.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

func join(base, path string) string { return strings.TrimSuffix(base, "/") + path }
