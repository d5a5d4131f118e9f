package main

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"genkan/internal/keys"
)

// rig is everything that runs beside what is measured.
type rig struct {
	options
	dir       string
	host      *host
	load      *loader
	key       string // session key of every Genkan
	upstream  *process
	plain     *target // the reverse proxy
	roomy     *target // the same, with as much room for the garbage collector as Genkan takes
	issuer    string  // of the development provider
	upstreams string  // URL of the upstream
	given     addresses
	spare     []string // addresses registered at the provider and not used yet
	databases int
	processes []*process
	failed    int // requests, in all
}

// target is a server under load.
type target struct {
	*process
	name    string
	base    string // http://host:port
	admin   string // of Genkan, likewise
	path    string // of the calls
	cookies []string
	next    int // cookie of the next load
}

// withRig starts what every benchmark needs and ends it when that is over.
func withRig(ctx context.Context, o options, benchmark func(context.Context, *rig) error) error {
	dir, err := os.MkdirTemp("", "genkan-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &rig{options: o, dir: dir, host: &host{}, key: keys.Generate(), given: addresses{}}
	defer r.close()
	if r.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	if r.load, err = newLoader(dir); err != nil {
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	r.say("%s, %d CPUs shared by all processes, %s", runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format("2006-01-02"))
	r.say("load: %s; CPU: %s\n", r.load, cpuSource())
	if err := benchmark(ctx, r); err != nil {
		return err
	}
	if r.failed > 0 {
		return fmt.Errorf("%d requests failed", r.failed)
	}
	return nil
}

func (r *rig) say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// begin starts the upstream, the reverse proxy and the provider.
func (r *rig) begin(ctx context.Context) error {
	for range 24 {
		address, err := r.given.free()
		if err != nil {
			return err
		}
		r.spare = append(r.spare, address)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	upstream, plain, provider := r.take(), r.take(), r.take()
	r.upstreams, r.issuer = "http://"+upstream, "http://"+provider
	if r.upstream, err = r.launch(ctx, "upstream", r.upstreams, self, "upstream", "--listen", upstream); err != nil {
		return err
	}
	r.plain = &target{name: "reverse proxy", base: "http://" + plain, path: "/17", cookies: []string{"bff-8000=" + strings.Repeat("x", 103)}}
	if r.plain.process, err = r.launch(ctx, "reverse-proxy", r.plain.base, self, "reverse-proxy", "--listen", plain, "--to", r.upstreams); err != nil {
		return err
	}
	roomy := r.take()
	r.roomy = &target{name: r.plain.name + ", GC as Genkan's", base: "http://" + roomy, path: r.plain.path, cookies: r.plain.cookies}
	if r.roomy.process, err = r.launch(ctx, "reverse-proxy-roomy", r.roomy.base, self, "reverse-proxy", "--listen", roomy, "--to", r.upstreams, "--headroom"); err != nil {
		return err
	}
	args := []string{"--listen", provider, "--skip-consent", "--access-lifetime", "12h"}
	for _, address := range r.spare {
		args = append(args, "--redirect-uri", "http://"+address+"/bff/callback")
	}
	_, err = r.launch(ctx, "devidp", r.issuer+"/.well-known/openid-configuration", filepath.Join(r.bin, "devidp"), args...)
	return err
}

// take returns an address that is registered at the provider.
func (r *rig) take() string {
	last := len(r.spare) - 1
	address := r.spare[last]
	r.spare = r.spare[:last]
	return address
}

// launch starts a program of the rig and waits until url answers.
func (r *rig) launch(ctx context.Context, name, url, program string, args ...string) (*process, error) {
	p, err := launch(r.dir, name, program, args...)
	if err != nil {
		return nil, err
	}
	r.processes = append(r.processes, p)
	return p, p.ready(ctx, url)
}

func (r *rig) close() {
	for _, p := range slices.Backward(r.processes) {
		p.stop()
	}
	r.host.close()
}

// genkan is what sets one Genkan apart.
type genkan struct {
	name, address, store string
	level                string // log.level; default info
	route                string // more of the route's settings, as YAML
}

// settings is the file a Genkan reads: an installation as the README has it.
const settings = `server: {listen: "%[1]s", admin_listen: "%[2]s", public_urls: ["http://%[1]s"]}
spa: {dir: "off"}
session: {store: "%[3]s", keys: ["%[4]s"]}
providers: [{id: dev, issuer: "%[5]s", client_id: genkan-dev, client_secret: genkan-dev-secret, scopes: [openid, profile, email, offline_access]}]
upstreams:
  - {path: /api/, url: "%[6]s/", auth: required, max_body: 2GiB, %[7]s}
log: {level: %[8]s, format: json}
`

// start runs a Genkan.
func (r *rig) start(ctx context.Context, g genkan) (*target, error) {
	admin, err := r.given.free()
	if err != nil {
		return nil, err
	}
	if g.level == "" {
		g.level = "info"
	}
	if g.route == "" {
		g.route = "token: relay"
	}
	file := filepath.Join(r.dir, "genkan-"+strings.ReplaceAll(g.address, ":", "-")+".yaml")
	text := fmt.Sprintf(settings, g.address, admin, g.store, r.key, r.issuer, r.upstreams, g.route, g.level)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	t := &target{name: g.name, base: "http://" + g.address, admin: "http://" + admin, path: "/api/17"}
	t.process, err = r.launch(ctx, "genkan-"+strings.ReplaceAll(g.address, ":", "-"), t.admin+"/readyz", filepath.Join(r.bin, "genkan"), "serve", "--config", file)
	return t, err
}

var requestField = regexp.MustCompile(`name="request" value="([^"]+)"`)

// signIn goes through the sign-in as a browser does and returns the session's cookie.
func (r *rig) signIn(ctx context.Context, t *target, user string) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	browser := &http.Client{Jar: jar, Timeout: 30 * time.Second}
	page, err := navigate(ctx, browser, t.base+"/bff/login", nil)
	if err != nil {
		return "", err
	}
	field := requestField.FindStringSubmatch(page)
	if field == nil {
		return "", fmt.Errorf("%s: the provider shows no sign-in page", t.name)
	}
	form := url.Values{"request": {html.UnescapeString(field[1])}, "username": {user}, "password": {"password"}}
	if _, err := navigate(ctx, browser, r.issuer+"/sign-in", form); err != nil {
		return "", err
	}
	home, err := url.Parse(t.base)
	if err != nil {
		return "", err
	}
	for _, c := range jar.Cookies(home) {
		if c.Name == "bff-"+home.Port() {
			return c.Name + "=" + c.Value, nil
		}
	}
	return "", fmt.Errorf("%s: there is no session after the sign-in", t.name)
}

// navigate is a page load, of a form when there is one.
func navigate(ctx context.Context, browser *http.Client, address string, form url.Values) (string, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	q, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return "", err
	}
	q.Header.Set("Accept", "text/html")
	q.Header.Set("Sec-Fetch-Mode", "navigate")
	q.Header.Set("Sec-Fetch-Dest", "document")
	if form != nil {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		q.Header.Set("Origin", q.URL.Scheme+"://"+q.URL.Host)
	}
	res, err := browser.Do(q)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return string(text), err
}

// callOnce fails unless the calls of t arrive at the upstream and come back whole.
func (t *target) callOnce(ctx context.Context) error {
	q, err := t.request(ctx, http.MethodGet, t.path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && (res.StatusCode != http.StatusOK || string(text) != answer) {
		err = fmt.Errorf("%s: a call is answered with HTTP %d: %s\n%s", t.name, res.StatusCode, text, t.tail())
	}
	return err
}

// request is what the app's fetch makes, with the first cookie.
func (t *target) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	q, err := http.NewRequestWithContext(ctx, method, t.base+path, body)
	if err != nil {
		return nil, err
	}
	for _, h := range headers {
		q.Header.Set(h[0], h[1])
	}
	q.Header.Set("Cookie", t.cookies[0])
	return q, nil
}
