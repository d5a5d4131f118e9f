package app_test

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"genkan/internal/config"
	"genkan/internal/devidp"
)

// exampleRig is Genkan with the documented upstreams and one more, which keeps the
// assertions it gets.
type exampleRig struct {
	t        *testing.T
	url      string
	idp      *devidp.Provider
	services []*runningExample
	page     *runningExample
	behind   *runningExample

	mu       sync.Mutex
	recorded []string
}

func newExampleRig(t *testing.T) *exampleRig {
	t.Helper()
	port := freePort(t)
	r := &exampleRig{t: t, url: fmt.Sprintf("http://localhost:%d", port)}
	issuer := "GENKAN_ISSUER=" + r.url
	for _, s := range exampleServices() {
		r.services = append(r.services, startExample(t, s, issuer))
	}
	r.behind = startExample(t, exampleBehindPage(), issuer)
	r.page = startExample(t, examplePage(), issuer, "API_URL=http://"+r.behind.address)
	settings, provider := r.settings(), r.provider()
	c, found := config.Load(config.Sources{Dir: t.TempDir(), Files: []string{settings}, Environ: []string{
		fmt.Sprintf("GENKAN_LISTEN=localhost:%d", port), fmt.Sprintf("GENKAN_ADMIN_LISTEN=localhost:%d", freePort(t)),
		"GENKAN_PUBLIC_URLS=" + r.url, "GENKAN_SPA_DIR=off", "GENKAN_SESSION_KEYS=" + testKey, "GENKAN_SESSION_STORE=memory:",
		"GENKAN_OIDC_ISSUER=" + provider, "GENKAN_OIDC_CLIENT_ID=genkan", "GENKAN_OIDC_CLIENT_SECRET=s3cret",
		"GENKAN_OIDC_SCOPES=openid,profile,email,groups,offline_access",
	}})
	if found.Failed() {
		t.Fatal(found)
	}
	run(t, c)
	for _, e := range r.all() {
		e.awaitReady(t)
	}
	return r
}

func (r *exampleRig) all() []*runningExample {
	return slices.Concat(r.services, []*runningExample{r.page, r.behind})
}

// settings is the documented file, with the ports on which the services really listen.
func (r *exampleRig) settings() string {
	r.t.Helper()
	text, err := os.ReadFile("../../docs/examples/genkan.yaml")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range r.all() {
		if bytes.Count(text, []byte(e.documented)) != 1 {
			r.t.Fatalf("docs/examples/genkan.yaml does not have %s once", e.documented)
		}
		text = bytes.ReplaceAll(text, []byte(e.documented), []byte(e.address))
	}
	recorder := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.recorded = append(r.recorded, req.Header.Get("Authorization"))
	}))
	r.t.Cleanup(recorder.Close)
	text = fmt.Appendf(text, "  - path: /recorder/\n    url: %s/\n    token: assertion\n    audience: /api/fastapi/\n", recorder.URL)
	file := filepath.Join(r.t.TempDir(), "genkan.yaml")
	write(r.t, file, string(text))
	return file
}

func (r *exampleRig) provider() (issuer string) {
	r.t.Helper()
	idp, err := devidp.New(devidp.Config{Clients: []devidp.Client{{
		ID: "genkan", Secret: "s3cret", RedirectURIs: []string{r.url + "/bff/callback"},
	}}})
	if err != nil {
		r.t.Fatal(err)
	}
	server := httptest.NewServer(idp)
	r.t.Cleanup(server.Close)
	idp.SetIssuer(server.URL)
	r.idp = idp
	return server.URL
}

// exampleUser is a browser.
type exampleUser struct {
	r      *exampleRig
	client *http.Client
}

var formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)

// signIn fills in the provider's forms: who it is, and that Genkan may know.
func (r *exampleRig) signIn(username string) *exampleUser {
	r.t.Helper()
	u := &exampleUser{r, &http.Client{CheckRedirect: func(next *http.Request, via []*http.Request) error {
		next.Header = via[0].Header.Clone()
		return nil
	}}}
	u.client.Jar, _ = cookiejar.New(nil)
	r.t.Cleanup(u.client.CloseIdleConnections)
	page := u.open(r.url+"/bff/login?returnUrl=/bff/session", nil)
	for _, filled := range []url.Values{{"username": {username}, "password": {"password"}}, {"decision": {"allow"}}} {
		action := formAction.FindStringSubmatch(page)
		for _, input := range responseInput.FindAllStringSubmatch(page, -1) {
			filled.Set(html.UnescapeString(input[1]), html.UnescapeString(input[2]))
		}
		if action == nil {
			r.t.Fatalf("there is no form in %.500s", page)
		}
		page = u.open(html.UnescapeString(action[1]), filled)
	}
	if !strings.Contains(page, `"authenticated":true`) {
		r.t.Fatalf("sign-in ended with %.500s", page)
	}
	return u
}

// open navigates, with a form when there is one.
func (u *exampleUser) open(target string, form url.Values) (body string) {
	u.r.t.Helper()
	method, headers := http.MethodGet, []string{"Sec-Fetch-Mode: navigate", "Accept: text/html"}
	if form != nil {
		method, headers = http.MethodPost, append(headers, "Content-Type: application/x-www-form-urlencoded")
	}
	_, body = u.send(method, target, form.Encode(), headers...)
	return body
}

// call is the app's.
func (u *exampleUser) call(path string) (status int, body string) {
	u.r.t.Helper()
	return u.send(http.MethodGet, u.r.url+path, "", "X-CSRF: 1", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors")
}

func (u *exampleUser) send(method, target, body string, headers ...string) (int, string) {
	u.r.t.Helper()
	req, err := http.NewRequestWithContext(u.r.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		u.r.t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := u.client.Do(req)
	if err != nil {
		u.r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		u.r.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
