package app_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/config"
	"genkan/internal/devidp"
)

// The snippets of docs/forward-auth.md, run by the web servers that they are for: each
// stands before Genkan and an app, and browsers know nobody else.

// guarded is such a web server.
type guarded struct {
	t      *testing.T
	url    string
	port   int
	dir    string // with app.crt and app.key
	genkan string // host and port
	app    *recordingApp
	behind string // the app's host and port
	client *http.Client
	stop   func() error // Genkan
}

// recordingApp is the app behind. It remembers what reaches it.
type recordingApp struct {
	mu   sync.Mutex
	seen []*http.Request
}

func (a *recordingApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, r.Clone(context.Background()))
	_, _ = io.WriteString(w, "the app's "+r.Method+" "+r.URL.RequestURI())
}

// take returns what has arrived since it was last asked.
func (a *recordingApp) take() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = nil
	return seen
}

// snippet is a fenced block of the document, found by its language, with the test's own
// values for the examples in it. Each example must be there.
func snippet(t *testing.T, language string, examples ...string) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/forward-auth.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "\n```"+language+"\n")
	text, _, closed := strings.Cut(rest, "\n```\n")
	if !ok || !closed {
		t.Fatalf("the document has no block %s", language)
	}
	for i := 0; i < len(examples); i += 2 {
		if !strings.Contains(text, examples[i]) {
			t.Fatalf("the block %s does not contain %q", language, examples[i])
		}
		text = strings.ReplaceAll(text, examples[i], examples[i+1])
	}
	return text + "\n"
}

// alicesGroups are in a header of nearly the 4 KiB that one may have.
var alicesGroups = append([]string{"staff", "admins"}, slices.Repeat([]string{strings.Repeat("g", 99)}, 40)...)

// newGuarded starts Genkan, a provider and the app; the web server is still to come.
func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{t: t, port: quietPort(t), dir: t.TempDir(), app: &recordingApp{}}
	g.url = fmt.Sprintf("https://localhost:%d", g.port)
	behind := httptest.NewServer(g.app)
	idp, err := devidp.New(devidp.Config{AutoSignIn: "alice", SkipConsent: true, Users: []devidp.User{{
		Username: "alice", Subject: "dev-user-alice-7f3a", Email: "alice@example.com", EmailVerified: true, Groups: alicesGroups,
	}}, Clients: []devidp.Client{{
		ID: "genkan", Secret: "secret", RedirectURIs: []string{g.url + "/bff/callback"}, PostLogoutURIs: []string{g.url + "/bff/logout/callback"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	provider := httptest.NewServer(idp)
	idp.SetIssuer(provider.URL)
	t.Cleanup(func() { behind.Close(); provider.Close() })
	port := quietPort(t)
	c, found := config.Load(config.Sources{Dir: g.dir, Environ: []string{
		fmt.Sprintf("GENKAN_LISTEN=localhost:%d", port), fmt.Sprintf("GENKAN_ADMIN_LISTEN=localhost:%d", quietPort(t)),
		"GENKAN_PUBLIC_URLS=" + g.url, "GENKAN_TRUSTED_PROXIES=127.0.0.1/32,::1/128", "GENKAN_SESSION_COOKIE_SAME_SITE=lax", "GENKAN_SPA_DIR=off",
		"GENKAN_SESSION_KEYS=" + testKey, "GENKAN_SESSION_STORE=memory:", "GENKAN_OIDC_SCOPES=openid,profile,email,groups",
		"GENKAN_OIDC_ISSUER=" + provider.URL, "GENKAN_OIDC_CLIENT_ID=genkan", "GENKAN_OIDC_CLIENT_SECRET=secret",
	}})
	if found.Failed() {
		t.Fatal(found)
	}
	g.stop = run(t, c)
	g.genkan, g.behind = fmt.Sprintf("127.0.0.1:%d", port), behind.Listener.Addr().String()
	jar, _ := cookiejar.New(nil)
	g.client = &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: g.certify()}},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			next.Header = via[0].Header.Clone()
			return nil
		}}
	t.Cleanup(g.client.CloseIdleConnections)
	return g
}

// certify writes a certificate for localhost.
func (g *guarded) certify() *x509.CertPool {
	g.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		g.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		g.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		g.t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(g.t, filepath.Join(g.dir, "app.crt"), string(certificate))
	write(g.t, filepath.Join(g.dir, "app.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return pool
}

// program finds a web server, or skips the test; scripts/test promises that it is there.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name} { // where Debian has nginx, which not every PATH knows
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	if os.Getenv("GENKAN_TEST_SERVERS") == "required" {
		t.Fatalf("%s was not found: on Debian or Ubuntu install %s, on macOS: brew install %s", name, name, name)
	}
	t.Skipf("%s was not found: on Debian or Ubuntu install %s, on macOS: brew install %s", name, name, name)
	return ""
}

// serve runs the web server until the test ends.
func (g *guarded) serve(path string, args ...string) {
	g.t.Helper()
	var output lockedBuffer
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = g.dir, &output, &output
	cmd.Env = append(os.Environ(), "HOME="+g.dir, "XDG_DATA_HOME="+g.dir, "XDG_CONFIG_HOME="+g.dir)
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if g.t.Failed() {
			g.t.Logf("%s says: %s", filepath.Base(path), output.String())
		}
	})
	eventually(g.t, 30*time.Second, path+" serves", func() bool {
		resp, err := g.client.Get(g.url + "/bff/session")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return true
	})
}

func TestForwardAuthByNginx(t *testing.T) {
	t.Parallel()
	nginx := program(t, "nginx")
	g := newGuarded(t)
	app := filepath.Join(g.dir, "genkan-app.conf")
	write(t, app, snippet(t, "nginx-include"))
	block := snippet(t, "nginx",
		"127.0.0.1:8000", g.genkan, "127.0.0.1:3000", g.behind, "listen 443 ssl", fmt.Sprintf("listen 127.0.0.1:%d ssl", g.port),
		"app.example.com", "localhost", "/etc/ssl/app", filepath.Join(g.dir, "app"), "/etc/nginx/genkan-app.conf", app)
	file := filepath.Join(g.dir, "nginx.conf")
	write(t, file, "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\nclient_body_temp_path body;\n"+
		"proxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n"+block+"}\n")
	g.serve(nginx, "-p", g.dir, "-c", file, "-e", "stderr")
	g.check(http.StatusInternalServerError)
}

func TestForwardAuthByCaddy(t *testing.T) {
	t.Parallel()
	caddy := program(t, "caddy")
	g := newGuarded(t)
	block := snippet(t, "caddy",
		"127.0.0.1:8000", g.genkan, "127.0.0.1:3000", g.behind, "app.example.com", fmt.Sprintf("localhost:%d", g.port), "/etc/ssl/app", filepath.Join(g.dir, "app"))
	file := filepath.Join(g.dir, "Caddyfile")
	write(t, file, "{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n}\n"+block)
	g.serve(caddy, "run", "--adapter", "caddyfile", "--config", file)
	g.check(http.StatusBadGateway)
}

// Header sets as browsers send them.
var (
	pageLoad = []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: none", "Accept: text/html"}
	ownFetch = []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin", "Accept: application/json", "X-CSRF: 1"}
	foreign  = []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}
)

// send goes where redirects lead and returns the answer with its body read.
func (g *guarded) send(method, path string, headers []string, more ...string) (resp *http.Response, body string) {
	g.t.Helper()
	req, err := http.NewRequest(method, g.url+path, strings.NewReader(""))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, line := range append(append([]string{}, headers...), more...) {
		name, value, _ := strings.Cut(line, ": ")
		req.Header[name] = append(req.Header[name], value) // as written: X_Auth is not X-Auth
	}
	if resp, err = g.client.Do(req); err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp, string(text)
}

// passes sends a call that reaches the app, and returns what did.
func (g *guarded) passes(name, method, path string, headers []string, more ...string) *http.Request {
	g.t.Helper()
	resp, body := g.send(method, path, headers, more...)
	seen := g.app.take()
	if resp.StatusCode != http.StatusOK || len(seen) != 1 || !strings.HasPrefix(body, "the app's "+method+" ") {
		g.t.Fatalf("%s: %d, %d calls of the app, %.300s", name, resp.StatusCode, len(seen), body)
	}
	return seen[0]
}

// stops sends a call that must not reach the app.
func (g *guarded) stops(name string, status int, method, path string, headers []string, more ...string) {
	g.t.Helper()
	resp, body := g.send(method, path, headers, more...)
	if seen := g.app.take(); resp.StatusCode != status || len(seen) > 0 {
		g.t.Errorf("%s: %d, %d calls of the app, %.300s", name, resp.StatusCode, len(seen), body)
	}
	if resp.Request.URL.Path != path {
		g.t.Errorf("%s: led to %s", name, resp.Request.URL)
	}
}

// check is everything that the document promises. outage is what the web server makes of a
// Genkan that is down.
func (g *guarded) check(outage int) {
	g.stops("fetch of somebody signed out", 401, "GET", "/api/x", ownFetch)
	g.stops("a write of somebody signed out", 401, "POST", "/api/x", ownFetch)
	g.stops("a claim to be somebody", 401, "GET", "/api/x", ownFetch, "X-Auth-Request-User: mallory", "Authorization: Bearer x")

	link := "/page?x=1&groups=operators&redirect=false&long=" + strings.Repeat("(", 1200) // %28 on the way
	first := g.passes("a page, by way of the provider", "GET", link, pageLoad)
	if got := first.URL.RequestURI(); got != link {
		g.t.Errorf("sign-in led to %q", got)
	}
	g.wantAlice("a page", first)
	g.wantAlice("a spoofed identity", g.passes("a spoofed identity", "GET", "/page", ownFetch,
		"X-Auth-Request-User: mallory", "X-Auth-Request-Groups: mallory,operators", "X-Auth-Request-Email: mallory@evil.example", "X-Auth-Request-Preferred-Username: root",
		"X_Auth_Request_User: mallory", "X-Auth_Request-User: mallory", "X-Auth-Request_User: mallory", "x_auth-request-user: mallory"))
	g.wantAlice("a write", g.passes("a write", "POST", "/page", ownFetch))
	g.checkCookies()

	g.stops("a foreign write", 403, "POST", "/page", foreign)
	g.stops("a foreign write with our header", 403, "POST", "/page", foreign, "X-CSRF: 1")
	g.stops("a foreign write that says to be a read", 403, "POST", "/page", foreign, "X-Forwarded-Method: GET", "X-Original-Method: GET", "X-HTTP-Method-Override: GET")
	g.stops("a foreign page load that writes", 403, "POST", "/page", pageLoad, "Origin: https://evil.example")
	g.stops("a foreign WebSocket", 403, "GET", "/socket", nil, "Upgrade: websocket", "Connection: Upgrade", "Origin: https://evil.example")
	socket := g.passes("a WebSocket", "GET", "/socket", nil, "Upgrade: websocket", "Connection: Upgrade", "Origin: "+g.url)
	if got := socket.Header.Get("Upgrade"); got != "websocket" {
		g.t.Errorf("a WebSocket arrives as %q", got)
	}
	g.stops("two credentials", 403, "GET", "/page", ownFetch, "Authorization: Bearer x")
	g.stops("what operators alone may", 403, "GET", "/admin/users", ownFetch)
	g.stops("a page that operators alone may", 403, "GET", "/admin/users", pageLoad)
	g.stops("the question itself", 404, "GET", "/bff/auth", ownFetch, "X-Original-Method: GET")
	g.stops("the question itself in Envoy's form", 404, "GET", "/bff/auth/-/x", ownFetch)

	if resp, body := g.send("POST", "/bff/logout", ownFetch); resp.StatusCode != http.StatusOK {
		g.t.Fatalf("sign-out: %d %s", resp.StatusCode, body)
	}
	g.stops("fetch after signing out", 401, "GET", "/api/x", ownFetch)
	if err := g.stop(); err != nil {
		g.t.Error(err)
	}
	g.stops("an outage", outage, "GET", "/api/x", ownFetch)
	g.stops("an outage, to a person", outage, "GET", "/page", pageLoad)
}

// wantAlice checks that the app learns who calls from Genkan alone, and no secret.
func (g *guarded) wantAlice(name string, r *http.Request) {
	g.t.Helper()
	want := map[string]string{
		"X-Auth-Request-User": "dev-user-alice-7f3a", "X-Auth-Request-Email": "alice@example.com", "X-Auth-Request-Preferred-Username": "alice", "X-Auth-Request-Groups": strings.Join(alicesGroups, ","),
	}
	for header, value := range want {
		if got := r.Header.Values(header); len(got) != 1 || got[0] != value {
			g.t.Errorf("%s: %s is %q, want %q alone", name, header, got, value)
		}
	}
	for header, values := range r.Header {
		all := strings.Join(values, " ")
		if strings.Contains(all, "mallory") || strings.Contains(header, "_") || strings.Contains(all, "bff") || header == "Authorization" {
			g.t.Errorf("%s: the app sees %s: %s", name, header, all)
		}
	}
}

// checkCookies checks that the app has its own cookies, and none of Genkan's.
func (g *guarded) checkCookies() {
	g.t.Helper()
	address, err := url.Parse(g.url)
	if err != nil {
		g.t.Fatal(err)
	}
	cookies := g.client.Jar.Cookies(address)
	if len(cookies) != 1 || cookies[0].Name != "__Host-Http-bff" {
		g.t.Fatalf("the browser has %v", cookies)
	}
	session, jar := cookies[0].String(), g.client.Jar
	g.client.Jar = nil
	defer func() { g.client.Jar = jar }()
	for _, tt := range []struct{ sent, want string }{
		{session, ""},
		{session + "; a=1", "a=1"},
		{"a=1; " + session, "a=1"},
		{"a=1; b=x=y; " + session + "; __Host-Http-bff-tx-0a=z; c=3", "a=1; b=x=y; c=3"},
		{"a=1; __Host-Http-bff-tx-0a=z; b=2; " + session + "; c=3; __Host-Http-bff-tx-0b=z", "a=1; b=2; c=3"},
		{"not__Host-Http-bff=1; " + session + ";d=4", "not__Host-Http-bff=1; d=4"},
	} {
		r := g.passes(tt.sent, "GET", "/page", ownFetch, "Cookie: "+tt.sent)
		if got := strings.Join(r.Header.Values("Cookie"), "; "); strings.Trim(strings.ReplaceAll(got, "; ", ";"), "; ") != strings.ReplaceAll(tt.want, "; ", ";") {
			g.t.Errorf("of %q the app sees %q", tt.sent, got)
		}
	}
}
