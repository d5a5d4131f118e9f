package app_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"genkan/internal/app"
	"genkan/internal/config"
	"genkan/internal/devidp"
)

// upstreamRig is the whole program as an operator configures it, between browsers and
// programs on one side and the development provider and services on the other. When the
// test ends, no token and no key may stand in its log or in any of its answers.
type upstreamRig struct {
	t        *testing.T
	url      string
	issuer   string
	idp      *devidp.Provider
	services map[string]*service
	keysFile string
	warned   string // by the settings
	log      lockedBuffer
	answers  lockedBuffer // all that came back to browsers and programs, headers too
}

// upstreamPlan is what differs from rig to rig.
type upstreamPlan struct {
	provider string                                     // more settings of the provider
	settings string                                     // the others; $NAME is the address of a service, $DIR a folder
	services map[string]func(*upstreamRig) http.Handler // nil: it answers 200
	files    map[string]string                          // in that folder
	idp      func(*devidp.Config)
	config   func(*config.Config) // what no setting says
	app      func(*app.App)
}

const (
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
	clientGrant   = "client_credentials"
	aliceSubject  = "dev-user-alice-7f3a"
	bobSubject    = "dev-user-bob-19c4"
	// ownAudience is of the access tokens of sign-ins.
	ownAudience = "http://127.0.0.1:9100"
)

func newUpstreamRig(t *testing.T, p upstreamPlan) *upstreamRig {
	t.Helper()
	port, dir := quietPort(t), t.TempDir()
	r := &upstreamRig{t: t, url: fmt.Sprintf("http://localhost:%d", port), services: map[string]*service{}, keysFile: filepath.Join(dir, "keys")}
	t.Cleanup(r.canary)
	r.startProvider(p.idp)
	addresses := map[string]string{"DIR": dir, "ISSUER": r.issuer}
	for name, handler := range p.services {
		s := &service{next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })}
		if handler != nil {
			s.next = handler(r)
		}
		server := httptest.NewServer(s)
		t.Cleanup(server.Close)
		r.services[name], addresses[name] = s, server.URL+"/"
	}
	for name, text := range p.files {
		write(t, filepath.Join(dir, name), text)
	}
	write(t, r.keysFile, testKey+"\n")
	text := "providers:\n  - id: idp\n    issuer: $ISSUER\n    client_id: genkan\n    client_secret: s3cret-canary\n" +
		"    scopes: [openid, profile, email, groups, offline_access]\n    " + p.provider + "\n" + p.settings
	write(t, filepath.Join(dir, "genkan.yaml"), os.Expand(text, func(name string) string { return addresses[name] }))
	c, found := config.Load(config.Sources{Dir: dir, Files: []string{filepath.Join(dir, "genkan.yaml")}, Environ: []string{
		fmt.Sprintf("GENKAN_LISTEN=localhost:%d", port), fmt.Sprintf("GENKAN_ADMIN_LISTEN=localhost:%d", quietPort(t)), "GENKAN_PUBLIC_URLS=" + r.url,
		"GENKAN_SPA_DIR=off", "GENKAN_SESSION_STORE=memory:", "GENKAN_SESSION_KEYS_FILE=" + r.keysFile,
	}})
	if found.Failed() {
		t.Fatal(found)
	}
	if p.config != nil {
		p.config(c)
	}
	r.warned = found.Error()
	r.start(c, p.app)
	return r
}

// startProvider starts one that is strict, asks for no consent, and knows three programs
// beside Genkan, one of them with tokens that are opaque.
func (r *upstreamRig) startProvider(adapt func(*devidp.Config)) {
	r.t.Helper()
	c := devidp.Config{
		SkipConsent: true, Targets: []string{"orders", "stock", "reports"}, Scopes: []string{"reports.read"},
		NewKey: func() (*rsa.PrivateKey, error) { return suiteKeys()[0], nil },
		Clients: []devidp.Client{
			{ID: "genkan", Secret: "s3cret-canary", RedirectURIs: []string{r.url + "/bff/callback"}, TokenExchange: true, Audiences: []string{ownAudience, "reports"}},
			{ID: "robot", Secret: "robot-canary"}, {ID: "android", Secret: "robot-canary"}, {ID: "obscure", Secret: "robot-canary", OpaqueAccessTokens: true},
		},
	}
	if adapt != nil {
		adapt(&c)
	}
	idp, err := devidp.New(c)
	if err != nil {
		r.t.Fatal(err)
	}
	server := httptest.NewServer(idp)
	r.t.Cleanup(server.Close)
	idp.SetIssuer(server.URL)
	r.idp, r.issuer = idp, server.URL
}

func (r *upstreamRig) start(c *config.Config, adapt func(*app.App)) {
	r.t.Helper()
	a, err := app.New(r.t.Context(), c, slog.New(slog.NewJSONHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		r.t.Fatal(err)
	}
	if adapt != nil {
		adapt(a)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); <-ended; _ = a.Close() })
	eventually(r.t, readyLimit, "it listens", func() bool { return strings.Contains(r.log.String(), `"msg":"ready"`) })
}

// service is an upstream that keeps the credentials it gets.
type service struct {
	next http.Handler
	mu   sync.Mutex
	got  []string
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.got = append(s.got, r.Header.Get("Authorization"))
	s.mu.Unlock()
	s.next.ServeHTTP(w, r)
}

// credentials are those of all calls, in order.
func (s *service) credentials() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *service) distinct() []string {
	return slices.Compact(slices.Sorted(slices.Values(s.credentials())))
}

func (s *service) last() string {
	all := s.credentials()
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// api is the demo API, which verifies what it gets.
func api(audience string) func(*upstreamRig) http.Handler {
	return func(r *upstreamRig) http.Handler {
		return devidp.NewDemoAPI(devidp.DemoAPIConfig{Issuer: r.issuer, Audience: audience})
	}
}

// caller is a browser, or a program, which keeps no cookies.
type caller struct {
	r      *upstreamRig
	client *http.Client
	page   page // the last one it navigated to
}

func (r *upstreamRig) browser() *caller {
	c := &caller{r: r, client: newBrowser(r.t).client}
	answered := c.client.Transport
	c.client.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := answered.RoundTrip(req)
		if err != nil || "http://"+req.URL.Host != r.url {
			return resp, err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
		_, _ = fmt.Fprintln(&r.answers, resp.Status, resp.Header, string(body))
		return resp, err
	})
	return c
}

func (r *upstreamRig) program() *caller {
	c := r.browser()
	c.client.Jar = nil
	return c
}

func (r *upstreamRig) signIn(username string) *caller {
	r.t.Helper()
	c := r.browser()
	c.navigate(r.url+"/bff/login?returnUrl=/bff/session", username)
	if !strings.Contains(c.page.body, `"authenticated":true`) {
		r.t.Fatalf("sign-in ended with %s", c.page)
	}
	return c
}

// navigate opens a page. If that is the provider's sign-in page, username signs in there;
// it reports whether that was asked for.
func (c *caller) navigate(address, username string) (asked bool) {
	c.r.t.Helper()
	c.page = c.send(http.MethodGet, address, "", "Sec-Fetch-Mode: navigate", "Accept: text/html")
	action := formAction.FindStringSubmatch(c.page.body)
	if action == nil {
		return false
	}
	form := url.Values{"username": {username}, "password": {"password"}}
	for _, input := range responseInput.FindAllStringSubmatch(c.page.body, -1) {
		form.Set(html.UnescapeString(input[1]), html.UnescapeString(input[2]))
	}
	c.page = c.send(http.MethodPost, html.UnescapeString(action[1]), form.Encode(),
		"Sec-Fetch-Mode: navigate", "Accept: text/html", "Content-Type: application/x-www-form-urlencoded")
	return true
}

// call is what a script of the app sends; a program says nothing of where it comes from.
func (c *caller) call(method, path string, headers ...string) page {
	if c.client.Jar != nil {
		headers = append([]string{"X-CSRF: 1", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"}, headers...)
	}
	return c.send(method, c.r.url+path, "", headers...)
}

// send has status 0 when there is no answer. A header without a value is not sent.
func (c *caller) send(method, address, body string, headers ...string) page {
	req, err := http.NewRequestWithContext(c.r.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		return page{body: err.Error()}
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if req.Header.Set(name, value); value == "" {
			req.Header.Del(name)
		}
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return page{body: err.Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return page{body: err.Error()}
	}
	return page{resp.StatusCode, resp.Request.URL.String(), resp.Header, string(text)}
}

// said is an answer in short: its status, and the code of a problem.
func (p page) said() string {
	var problem struct{ Code string }
	_ = json.Unmarshal([]byte(p.body), &problem) // what is none has no code
	return strings.TrimSpace(fmt.Sprint(p.status, " ", problem.Code))
}

// read is a member of an answer of JSON, nil when there is none.
func (p page) read(name string) any {
	var members map[string]any
	_ = json.Unmarshal([]byte(p.body), &members)
	return members[name]
}

// claimsOf reads a JWT as it comes in Authorization, and checks nothing; nil when it is
// none.
func claimsOf(authorization string) (claims map[string]any) {
	_, token, _ := strings.Cut(authorization, " ")
	if parts := strings.Split(token, "."); len(parts) == 3 {
		text, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(text, &claims)
	}
	return claims
}

// got counts the token requests of a grant.
func (r *upstreamRig) got(grant string) int { return r.idp.Stats().Token[grant] }

// obtain is a token that the provider gives a program for itself.
func (r *upstreamRig) obtain(client string, form url.Values) (token string) {
	r.t.Helper()
	form = url.Values{"client_id": {client}, "client_secret": {"robot-canary"}, "grant_type": {clientGrant}, "audience": form["audience"], "scope": form["scope"]}
	p := r.program().send(http.MethodPost, r.issuer+"/token", form.Encode(), "Content-Type: application/x-www-form-urlencoded")
	token, _ = p.read("access_token").(string)
	if token == "" {
		r.t.Fatalf("no token: %s", p)
	}
	return token
}

var jwtForm = regexp.MustCompile(`eyJ[\w-]{8,}\.[\w-]{8,}`)

// canary looks for what may never leave.
func (r *upstreamRig) canary() {
	r.t.Helper()
	secrets := append(r.idp.Issued(), "s3cret-canary", "robot-canary", testKey, secondKey, "opaque-")
	for _, s := range r.services {
		for _, credential := range s.distinct() {
			_, token, _ := strings.Cut(credential, " ")
			secrets = append(secrets, token)
		}
	}
	for place, text := range map[string]string{"the log": r.log.String(), "an answer": r.answers.String()} {
		if len(text) < 200 {
			r.t.Errorf("%s is empty: there is nothing to look at", place)
		}
		for _, secret := range secrets {
			if len(secret) > 6 && strings.Contains(text, secret) {
				r.t.Errorf("%s holds the secret that begins with %.6s", place, secret)
			}
		}
		if found := jwtForm.FindString(text); found != "" {
			r.t.Errorf("%s holds a JWT: %.20s", place, found)
		}
		if strings.Contains(text, "PRIVATE KEY") || regexp.MustCompile(`"d":\s*"`).MatchString(text) {
			r.t.Errorf("%s holds a private key", place)
		}
	}
}
