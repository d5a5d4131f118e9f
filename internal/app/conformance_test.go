package app_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"genkan/internal/app"
	"genkan/internal/config"
	"genkan/internal/devidp"
)

// The relying-party modules of the OpenID Foundation's conformance suite, reproduced:
// the whole program over https, configured as an operator does it, a browser, and a
// provider that does what the suite's does. A subtest has its module's name.
// docs/conformance.md says what this is worth.

// plan is a test plan of the suite.
type plan struct {
	settings string // YAML of the provider's entry
	others   string // YAML of entries of other providers, before it
	more     string // YAML after the providers
	// idp adapts the provider, where Clients[0] is Genkan at its public URL.
	idp      func(c *devidp.Config, public string)
	faults   []devidp.Fault              // what makes the provider the suite's
	keys     keySet                      // nil: devidp's own
	resource func(s *suite) http.Handler // the resource server; nil: none
	calls    []string                    // what a whole sign-in asks of the provider, keys and metadata aside
	modules  []module
}

// module is a module of the suite.
type module struct {
	name string
	// These go after the plan's, keys and resource in their place.
	settings string
	idp      func(c *devidp.Config, public string)
	faults   []devidp.Fault
	keys     keySet
	resource func(s *suite) http.Handler

	// refused is the code on the page that ends the sign-in; "" means that it is accepted.
	refused string
	verdict string       // on what comes after the sign-in, for the documentation; default accepted
	last    string       // of the plan's calls, the last one that a refused sign-in makes; "" is none
	enter   string       // path that begins the sign-in, in which ISSUER is replaced; default /bff/login
	before  func(*trial) // what happens before the sign-in
	also    func(*trial) // what else is looked at when the sign-in is over
}

// plans are the suite's, by its names.
func plans() map[string]plan {
	return map[string]plan{
		"oidcc-client-basic-certification-test-plan":          basicPlan(),
		"oidcc-client-formpost-basic-certification-test-plan": formPostPlan(),
		"oidcc-client-config-certification-test-plan":         configPlan(),
		"oidcc-client-test-3rd-party-init-login-test-plan":    thirdPartyPlan(),
		"oidcc-client-rp-initiated-logout-rp-basic":           rpInitiatedPlan(),
		"oidcc-client-back-channel-logout-rp-basic":           backChannelPlan(),
		"oidcc-client-front-channel-logout-rp-basic":          frontChannelPlan(),
		"fapi2-security-profile-final-client-test-plan":       fapiPlan(),
		// These certify nothing.
		"oidcc-client-test-plan":              furtherPlan(),
		"oidcc-client-refreshtoken-test-plan": refreshPlan(),
		"oidcc-client-logout-test-plan":       furtherLogoutPlan(),
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, p := range plans() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, m := range p.modules {
				t.Run(m.name, func(t *testing.T) {
					t.Parallel()
					p.try(t, m)
				})
			}
		})
	}
}

// try runs one module.
func (p plan) try(t *testing.T, m module) {
	x := newTrial(t, p, m)
	if m.before != nil {
		m.before(x)
	}
	enter := strings.ReplaceAll(cmp.Or(m.enter, "/bff/login"), "ISSUER", url.QueryEscape(x.suite.issuer))
	x.browser.follow(http.MethodGet, x.base+enter, nil)
	x.judge(p, m)
	if m.also != nil {
		m.also(x)
	}
}

// The page that compares Genkan with the suite has a line for each module, with the
// verdict that is tested, below the name of its plan.
func TestConformanceIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{} // plan, module and verdict
	plan := ""
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			_, plan, _ = strings.Cut(strings.TrimRight(line, "`\n"), "`")
		}
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			verdict, _, _ := strings.Cut(strings.Trim(cells[2], " "), ":")
			documented[plan+" "+strings.Trim(cells[1], " `")+" "+strings.ReplaceAll(verdict, "`", "")] = true
		}
	}
	for name, p := range plans() {
		for _, m := range p.modules {
			verdict := cmp.Or(m.verdict, "accepted")
			if m.refused != "" {
				verdict = "refused, " + m.refused
			}
			if !documented[name+" "+m.name+" "+verdict] {
				t.Errorf("not there: %s, %s, %s", name, m.name, verdict)
			}
		}
	}
}

// trial is one Genkan at one suite.
type trial struct {
	t       *testing.T
	suite   *suite
	base    string // Genkan's public URL
	browser *browser
	frames  int // that the browser has loaded
}

func newTrial(t *testing.T, p plan, m module) *trial {
	t.Helper()
	port, admin, dir := quietPort(t), quietPort(t), t.TempDir()
	x := &trial{t: t, base: fmt.Sprintf("https://localhost:%d", port)}
	x.suite = newSuite(t, p, m, x.base)
	x.browser = newBrowser(t)
	file := filepath.Join(dir, "genkan.yaml")
	write(t, filepath.Join(dir, "tls.crt"), suiteCert().certPEM)
	write(t, filepath.Join(dir, "tls.key"), suiteCert().keyPEM)
	write(t, filepath.Join(dir, "client.jwk"), clientKey().private)
	app := filepath.Join(dir, "app")
	if err := os.Mkdir(app, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(app, "index.html"), "<!doctype html><title>the app</title>")
	write(t, file, strings.NewReplacer("PORT", fmt.Sprint(port), "ADMIN", fmt.Sprint(admin),
		"ISSUER", x.suite.issuer, "RESOURCE", x.suite.resource).Replace(operatorYAML+p.others+providerYAML+indent(p.settings+m.settings)+p.more))
	c, found := config.Load(config.Sources{Dir: dir, Files: []string{file}, Environ: []string{"GENKAN_SESSION_KEYS=" + testKey}})
	if found.Failed() {
		t.Fatal(found)
	}
	x.start(c)
	return x
}

const operatorYAML = `server:
  listen: localhost:PORT
  admin_listen: localhost:ADMIN
  public_urls: ["https://localhost:PORT"]
  tls: {cert_file: tls.crt, key_file: tls.key}
spa: {dir: app}
session: {store: "memory:"}
providers:
`

const providerYAML = `  - id: suite
    issuer: ISSUER
    client_id: genkan
    ca_file: tls.crt
`

func indent(settings string) string {
	var b strings.Builder
	for line := range strings.Lines(settings) {
		b.WriteString("    " + line)
	}
	return b.String()
}

// start runs the program and waits until it is ready. Its log is shown when the test
// fails.
func (x *trial) start(c *config.Config) {
	x.t.Helper()
	log := &lockedBuffer{}
	a, err := app.New(x.t.Context(), c, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo})))
	if err != nil {
		x.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(x.t.Context()) }()
	x.t.Cleanup(func() {
		<-ended
		_ = a.Close()
		if x.t.Failed() {
			x.t.Log(log.String())
		}
	})
	eventually(x.t, 30*time.Second, "Genkan is ready", func() bool {
		resp, err := http.Get("http://" + c.Server.AdminListen + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// judge holds the end of a sign-in against the module's verdict.
func (x *trial) judge(p plan, m module) {
	x.t.Helper()
	calls := p.calls
	if m.refused != "" {
		calls = p.calls[:slices.Index(p.calls, m.last)+1]
	}
	if got := x.suite.called(); !slices.Equal(got, calls) {
		x.t.Errorf("the provider was asked for %v, want %v", got, calls)
	}
	page, signedIn := x.browser.page, x.session().Authenticated
	if accepted := m.refused == ""; signedIn != accepted {
		x.t.Errorf("signed in: %v, want %v; the last page is %s", signedIn, accepted, page)
	}
	if m.refused != "" && (page.status < 400 || !strings.Contains(page.body, m.refused)) {
		x.t.Errorf("the last page is %s, want %s", page, m.refused)
	}
	x.suite.judge()
}

// signIn is a sign-in that must succeed.
func (x *trial) signIn(b *browser) session {
	x.t.Helper()
	b.follow(http.MethodGet, x.base+"/bff/login", nil)
	s := x.sessionOf(b)
	if !s.Authenticated {
		x.t.Fatalf("the sign-in ended with %s", b.page)
	}
	return s
}

// session is what /bff/session says.
type session struct {
	Authenticated bool
	User          map[string]any
	LogoutURL     string `json:"logout_url"`
}

func (x *trial) session() session { x.t.Helper(); return x.sessionOf(x.browser) }

func (x *trial) sessionOf(b *browser) (s session) {
	x.t.Helper()
	status, body := b.fetch(http.MethodGet, x.base+"/bff/session")
	if err := json.Unmarshal([]byte(body), &s); err != nil || status != http.StatusOK {
		x.t.Fatalf("session: %d %v %.300s", status, err, body)
	}
	return s
}

// browser is one, as far as these tests need it.
type browser struct {
	t      *testing.T
	client *http.Client
	page   page // the last one
}

type page struct {
	status int
	url    string
	header http.Header
	body   string
}

var errorCode = regexp.MustCompile(`<dd>GK\d+ [a-z_]+</dd>`)

// String is what a person would say of the page.
func (p page) String() string {
	return fmt.Sprintf("%d %s %s", p.status, p.url, cmp.Or(errorCode.FindString(p.body), fmt.Sprintf("%.300s", p.body)))
}

func newBrowser(t *testing.T) *browser {
	jar, _ := cookiejar.New(nil)
	transport := &http.Transport{TLSClientConfig: suiteCert().trust}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, client: &http.Client{Jar: jar, Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			next.Header = maps.Clone(via[0].Header)
			next.Header.Del("Content-Type")
			if len(via) > 20 {
				return fmt.Errorf("twenty redirects, the last to %s", next.URL.Redacted())
			}
			return nil
		}}}
}

var (
	responseForm  = regexp.MustCompile(`<form method="post" action="([^"]*)" id="response">`)
	responseInput = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// follow navigates, and sends the form of the form_post response mode as its script does.
func (b *browser) follow(method, address string, form url.Values) {
	b.t.Helper()
	b.navigate(method, address, form)
	target := responseForm.FindStringSubmatch(b.page.body)
	if target == nil {
		return
	}
	answer := url.Values{}
	for _, input := range responseInput.FindAllStringSubmatch(b.page.body, -1) {
		answer.Add(html.UnescapeString(input[1]), html.UnescapeString(input[2]))
	}
	b.navigate(http.MethodPost, html.UnescapeString(target[1]), answer)
}

func (b *browser) navigate(method, address string, form url.Values) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {"cross-site"}}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	b.page = b.do(r)
}

// fetch calls as a script of the app does.
func (b *browser) fetch(method, address string) (status int, body string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = http.Header{"Accept": {"application/json"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Site": {"same-origin"}, "X-Csrf": {"1"}}
	p := b.do(r)
	return p.status, p.body
}

func (b *browser) do(r *http.Request) page {
	b.t.Helper()
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	if _, err := io.Copy(&body, io.LimitReader(resp.Body, 1<<20)); err != nil {
		b.t.Fatal(err)
	}
	return page{resp.StatusCode, resp.Request.URL.String(), resp.Header, body.String()}
}
