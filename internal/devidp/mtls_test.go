package devidp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"genkan/internal/devidp"
)

// authority signs clients' certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// issue makes a certificate, by itself when a is nil.
func (a *authority) issue(t *testing.T, name string, expires time.Time) (*authority, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}},
		NotBefore: expires.Add(-100 * 24 * time.Hour), NotAfter: expires,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, IsCA: a == nil,
	}
	if a == nil {
		a = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{leaf, key}, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// withTLS is a second listener of handler's, which asks for client certificates.
func withTLS(t *testing.T, handler http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// showing is a client that shows its certificate.
func showing(server *httptest.Server, certificates ...tls.Certificate) *http.Client {
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.Certificates = certificates
	return &http.Client{Transport: transport}
}

func sendBy(t *testing.T, client *http.Client, r *http.Request) (int, string, http.Header) {
	t.Helper()
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body), response.Header
}

func post(t *testing.T, address string, form url.Values) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	expires := time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC)
	ca, _ := (*authority)(nil).issue(t, "authority", expires)
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	_, signed := ca.issue(t, "client", expires)
	_, otherName := ca.issue(t, "other", expires)
	_, expired := ca.issue(t, "client", expires.Add(-60*24*time.Hour))
	_, self := (*authority)(nil).issue(t, "client", expires)
	_, otherSelf := (*authority)(nil).issue(t, "client", expires)
	bySubject := devidp.Client{ID: "m", AuthMethods: []string{"tls_client_auth"}, TLSSubject: "CN=client,O=Example"}
	byThumbprint := devidp.Client{ID: "m", AuthMethods: []string{"self_signed_tls_client_auth"}, TLSThumbprint: hash(string(self.Certificate[0]))}
	for _, row := range []struct {
		name   string
		client devidp.Client
		cas    *x509.CertPool
		shown  []tls.Certificate
		method string // empty: refused
	}{
		{"subject, signed", bySubject, pool, []tls.Certificate{signed}, "tls_client_auth"},
		{"subject, signed by whomever", bySubject, nil, []tls.Certificate{self}, "tls_client_auth"},
		{"subject, not signed", bySubject, pool, []tls.Certificate{self}, ""},
		{"another subject", bySubject, pool, []tls.Certificate{otherName}, ""},
		{"expired", bySubject, nil, []tls.Certificate{expired}, ""},
		{"nothing shown", bySubject, pool, nil, ""},
		{"thumbprint", byThumbprint, nil, []tls.Certificate{self}, "self_signed_tls_client_auth"},
		{"another thumbprint", byThumbprint, nil, []tls.Certificate{otherSelf}, ""},
		{"no certificate for the thumbprint", byThumbprint, nil, nil, ""},
		{"a certificate of a client without one", devidp.Client{ID: "m", Secret: "s"}, nil, []tls.Certificate{self}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := register(t, devidp.Config{ClientCAs: row.cas}, row.client)
			server := withTLS(t, w.idp)
			w.idp.SetMTLSBase(server.URL)
			form := refresh("x", "client_id", "m")
			status, text, _ := sendBy(t, showing(server, row.shown...), post(t, server.URL+"/token", form))
			want, wantStatus := "invalid_client", 401
			if row.method != "" {
				want, wantStatus = "invalid_grant", 400
			}
			if body := object(t, text); body["error"] != want || status != wantStatus {
				t.Errorf("HTTP %d: %v", status, body)
			}
			if got := w.last(); got.AuthMethod != row.method || row.method != "" && got.Certificate != hash(string(row.shown[0].Certificate[0])) {
				t.Errorf("seen %+v", got)
			}
		})
	}
}

// Without TLS there is no certificate, whatever headers say.
func TestMutualTLSNeedsTLS(t *testing.T) {
	t.Parallel()
	w := register(t, devidp.Config{}, devidp.Client{ID: "m", AuthMethods: []string{"tls_client_auth"}, TLSSubject: "CN=client"})
	r := w.request(http.MethodPost, "/token", refresh("x", "client_id", "m"))
	r.Header.Set("X-Ssl-Client-S-Dn", "CN=client")
	if got := w.do(r); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("HTTP %d", got.StatusCode)
	}
}

func TestCertificateBoundTokens(t *testing.T) {
	t.Parallel()
	expires := time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC)
	_, mine := (*authority)(nil).issue(t, "client", expires)
	_, other := (*authority)(nil).issue(t, "client", expires)
	w := register(t, devidp.Config{}, devidp.Client{
		ID: "m", AuthMethods: []string{"self_signed_tls_client_auth"}, TLSThumbprint: hash(string(mine.Certificate[0])),
	})
	server := withTLS(t, w.idp)
	w.idp.SetMTLSBase(server.URL)
	_, text, _ := sendBy(t, showing(server, mine), post(t, server.URL+"/token", exchange(w.code("client_id", "m"), "client_id", "m")))
	body := object(t, text)
	_, claims := decode(t, body["access_token"])
	if cnf, _ := claims["cnf"].(map[string]any); body["token_type"] != "Bearer" || cnf["x5t#S256"] != hash(string(mine.Certificate[0])) {
		t.Fatalf("%v in %v", claims, body)
	}
	api := withTLS(t, devidp.NewDemoAPI(devidp.DemoAPIConfig{Issuer: w.issuer, Now: w.clock.Now}))
	for _, row := range []struct {
		name    string
		client  func(*httptest.Server) *http.Client
		address string
		server  *httptest.Server
		want    int
	}{
		{"with it", func(s *httptest.Server) *http.Client { return showing(s, mine) }, "/userinfo", server, 200},
		{"without", func(s *httptest.Server) *http.Client { return showing(s) }, "/userinfo", server, 401},
		{"with another", func(s *httptest.Server) *http.Client { return showing(s, other) }, "/userinfo", server, 401},
		{"with it at the API", func(s *httptest.Server) *http.Client { return showing(s, mine) }, "/hello", api, 200},
		{"without at the API", func(s *httptest.Server) *http.Client { return showing(s) }, "/hello", api, 401},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, row.server.URL+row.address, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+body["access_token"].(string))
		if status, text, _ := sendBy(t, row.client(row.server), r); status != row.want {
			t.Errorf("%s: HTTP %d: %s", row.name, status, text)
		}
	}
	if status, _ := w.userInfo(body["access_token"]); status != http.StatusUnauthorized {
		t.Errorf("without TLS: HTTP %d", status)
	}
}

// At the second listener a proof names its address.
func TestProofsAtTheSecondListener(t *testing.T) {
	t.Parallel()
	w, key := bound(t, devidp.Config{})
	server := withTLS(t, w.idp)
	w.idp.SetMTLSBase(server.URL)
	for base, want := range map[string]string{server.URL: "invalid_grant", w.issuer: "invalid_dpop_proof"} {
		r := post(t, server.URL+"/token", refresh("x", "client_id", "p"))
		r.Header.Set("DPoP", w.proofFor(key, "POST", base+"/token", nil))
		if _, text, _ := sendBy(t, showing(server), r); object(t, text)["error"] != want {
			t.Errorf("proof for %s: %s", base, text)
		}
	}
}
