package rp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

// clientCertificate makes a self-signed certificate.
func clientCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "genkan"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// tlsServer answers as p on a socket of its own, asks everybody for a certificate, and
// keeps what it was shown, by path.
type tlsServer struct {
	*httptest.Server
	name  string
	mu    *sync.Mutex
	shown map[string]string // "ordinary /token": subject, or "nobody"
}

// mtlsProvider puts p on two TLS servers: one for everything, one that only the aliases of
// RFC 8705 5 name. acceptable, when not nil, are the CAs they say they take.
func mtlsProvider(t *testing.T, p *provider, acceptable *x509.CertPool) (ordinary, alias *tlsServer) {
	t.Helper()
	mu, shown := &sync.Mutex{}, map[string]string{}
	run := func(name string) *tlsServer {
		s := &tlsServer{name: name, mu: mu, shown: shown}
		s.Server = httptest.NewUnstartedServer(s.serve(p))
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, ClientCAs: acceptable}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	ordinary, alias = run("ordinary"), run("alias")
	p.issuer, p.claims["iss"] = ordinary.URL, ordinary.URL
	p.requirePAR()
	for name, value := range p.metadata {
		if address, ok := value.(string); ok {
			p.metadata[name] = strings.Replace(address, issuer, ordinary.URL, 1)
		}
	}
	return ordinary, alias
}

func (s *tlsServer) serve(p *provider) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if peers := r.TLS.PeerCertificates; len(peers) > 0 {
			who = peers[0].Subject.CommonName
		}
		_ = r.ParseForm()
		s.mu.Lock()
		s.shown[s.name+" "+r.URL.Path] = who
		s.mu.Unlock()
		p.mu.Lock()
		p.calls = append(p.calls, call{r.Method, r.URL.Path, r.Header.Clone(), r.URL.Query(), r.PostForm})
		p.mu.Unlock()
		p.usual(r.PostForm)(w, r)
	}
}

// trusting is a configuration that reaches server and shows certificate.
func trusting(t *testing.T, server *tlsServer, certificate *tls.Certificate) func(*Config) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *Config) {
		c.Transport, c.CAFile, c.ClientSecret, c.ClientCertificate = nil, file, keys.Secret{}, certificate
		c.UserInfo = UserInfoOn
	}
}

// TestMutualTLS: 188 to 190 and 305: the certificate goes to those who authenticate the
// client or take its tokens, at the aliases where there are any, and to nobody else.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	const metadata, jwks = "/.well-known/openid-configuration", "/keys"
	aliases := func(url string) object {
		return object{"token_endpoint": url + "/token", "userinfo_endpoint": url + "/userinfo",
			"revocation_endpoint": url + "/revoke", "pushed_authorization_request_endpoint": url + "/par"}
	}
	rows := []struct {
		name    string
		method  AuthMethod
		aliases func(url string) object // nil: none
		want    map[string]string
	}{
		{"no aliases", AuthTLS, nil, map[string]string{
			"ordinary " + metadata: "nobody", "ordinary " + jwks: "nobody",
			"ordinary /par": "genkan", "ordinary /token": "genkan", "ordinary /userinfo": "genkan", "ordinary /revoke": "genkan"}},
		{"aliases", AuthTLS, aliases, map[string]string{
			"ordinary " + metadata: "nobody", "ordinary " + jwks: "nobody",
			"alias /par": "genkan", "alias /token": "genkan", "alias /userinfo": "genkan", "alias /revoke": "genkan"}},
		{"aliases, self-signed", AuthSelfSignedTLS, aliases, map[string]string{
			"ordinary " + metadata: "nobody", "ordinary " + jwks: "nobody",
			"alias /par": "genkan", "alias /token": "genkan", "alias /userinfo": "genkan", "alias /revoke": "genkan"}},
		{"an alias of the token endpoint alone", AuthTLS, func(url string) object { return object{"token_endpoint": url + "/token"} }, map[string]string{
			"ordinary " + metadata: "nobody", "ordinary " + jwks: "nobody",
			"ordinary /par": "genkan", "alias /token": "genkan", "ordinary /userinfo": "genkan", "ordinary /revoke": "genkan"}},
		{"another method leaves aliases and certificate alone", AuthPrivateKeyJWT, aliases, map[string]string{
			"ordinary " + metadata: "nobody", "ordinary " + jwks: "nobody",
			"ordinary /par": "nobody", "ordinary /token": "nobody", "ordinary /userinfo": "nobody", "ordinary /revoke": "nobody"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			certificate := clientCertificate(t)
			p := newProvider(t)
			ordinary, alias := mtlsProvider(t, p, nil)
			if row.aliases != nil {
				p.metadata["mtls_endpoint_aliases"] = row.aliases(alias.URL)
			}
			c := p.client(trusting(t, ordinary, &certificate), func(cfg *Config) {
				cfg.ClientAuth, cfg.Signers = row.method, signersOf(t, ecKey())
			})
			for _, call := range p.everyCall(c) {
				if got := call.form["client_id"]; len(got) != 1 || got[0] != clientID {
					t.Errorf("%s: client_id is %v", call.path, got)
				}
				if call.form.Has("client_secret") || call.header.Get("Authorization") != "" || call.form.Has("client_assertion") != (row.method == AuthPrivateKeyJWT) {
					t.Errorf("%s: other credentials go along", call.path)
				}
			}
			ordinary.mu.Lock()
			defer ordinary.mu.Unlock()
			if diff := cmp.Diff(row.want, ordinary.shown); diff != "" {
				t.Errorf("certificates shown (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCertificateIsShownWhateverCAsAreNamed: a server names the CAs of others, as a
// gateway for several clients does; a self-signed certificate is of none of them.
func TestCertificateIsShownWhateverCAsAreNamed(t *testing.T) {
	t.Parallel()
	certificate := clientCertificate(t)
	p := newProvider(t)
	pool := x509.NewCertPool()
	ordinary, _ := mtlsProvider(t, p, pool)
	pool.AddCert(ordinary.Certificate())
	c := p.client(trusting(t, ordinary, &certificate), func(cfg *Config) { cfg.ClientAuth = AuthSelfSignedTLS })
	p.mustSignIn(c)
	ordinary.mu.Lock()
	defer ordinary.mu.Unlock()
	if got := ordinary.shown["ordinary /token"]; got != "genkan" {
		t.Errorf("%s was shown at the token endpoint", got)
	}
}

// TestCertificateOfTheProviderIsChecked: 89, 107: also by the client that shows its own.
func TestCertificateOfTheProviderIsChecked(t *testing.T) {
	t.Parallel()
	certificate := clientCertificate(t)
	p := newProvider(t)
	ordinary, alias := mtlsProvider(t, p, nil)
	other := httptest.NewUnstartedServer(alias.Config.Handler)
	foreign := clientCertificate(t)
	other.TLS = &tls.Config{Certificates: []tls.Certificate{foreign}}
	other.Config.ErrorLog = log.New(io.Discard, "", 0)
	other.StartTLS()
	t.Cleanup(other.Close)
	p.metadata["mtls_endpoint_aliases"] = object{"token_endpoint": other.URL + "/token"}
	c := p.client(trusting(t, ordinary, &certificate), func(cfg *Config) { cfg.ClientAuth = AuthTLS })
	_, err := p.signIn(c)
	wantError(t, err, Fault, "provider_unavailable", "unreachable")
	if p.count("/token") != 0 {
		t.Error("the code was sent to a server of another certificate")
	}
}

func TestAliasesMustBeHTTPS(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"token_endpoint", "userinfo_endpoint", "revocation_endpoint", "pushed_authorization_request_endpoint"} {
		p := newProvider(t)
		p.metadata["mtls_endpoint_aliases"] = object{name: "http://idp.example/x"}
		err := p.client().Warm(t.Context())
		wantError(t, err, Misconfigured, "provider_metadata", "metadata")
		if !strings.Contains(err.Error(), "mtls_endpoint_aliases."+name+" is not https") {
			t.Error(err)
		}
	}
}
