package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"genkan/internal/app"
	"genkan/internal/config"
	"genkan/internal/devidp"
)

// A rig is several real processes of Genkan that share one store, a balancer that gives
// them requests in turn, a provider that rotates refresh tokens and detects reuse, and
// an upstream. A replica is this test's own binary, run again.

// replicaEnv marks a process as a replica.
const replicaEnv = "GENKAN_TEST_REPLICA"

func TestMain(m *testing.M) {
	if dir := os.Getenv(replicaEnv); dir != "" {
		if err := replica(dir); err != nil {
			fmt.Println("replica:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// replica runs Genkan until SIGTERM, as the environment says.
func replica(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, found := config.Load(config.Sources{Dir: dir, Files: []string{filepath.Join(dir, "genkan.yaml")}, Environ: genkanEnviron()})
	if found.Failed() {
		return found
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a, err := app.New(ctx, c, log)
	if err != nil {
		return err
	}
	return errors.Join(a.Run(ctx), a.Close())
}

func genkanEnviron() (own []string) {
	for _, entry := range os.Environ() {
		if strings.HasPrefix(entry, "GENKAN_") && !strings.HasPrefix(entry, "GENKAN_TEST_") {
			own = append(own, entry)
		}
	}
	return own
}

type rig struct {
	t        *testing.T
	url      string // of the balancer: what browsers open
	idp      *devidp.Provider
	gate     *gate
	replicas []*process
	keysFile string
	turn     atomic.Uint64
	upstream atomic.Pointer[http.HandlerFunc] // default: answers 200
}

// newRig starts count replicas on the store at address. Access tokens live for life.
func newRig(t *testing.T, count int, store string, life time.Duration) *rig {
	t.Helper()
	r := &rig{t: t}
	front := httptest.NewUnstartedServer(r.balancer())
	r.url = "http://localhost:" + portOf(front.Listener)
	idp, err := devidp.New(devidp.Config{
		AutoSignIn: "alice", SkipConsent: true, AccessLifetime: life,
		Clients: []devidp.Client{{
			ID: "genkan", Secret: "s3cret-canary", RedirectURIs: []string{r.url + "/bff/callback"},
			PostLogoutURIs: []string{r.url + "/bff/logout/callback"}, BackchannelURI: r.url + "/bff/backchannel",
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.idp, r.gate = idp, &gate{idp: idp, latency: 300 * time.Millisecond, asked: make(chan struct{}, 100)}
	provider := httptest.NewServer(r.gate)
	idp.SetIssuer(provider.URL)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if h := r.upstream.Load(); h != nil {
			(*h)(w, req)
			return
		}
		_, _ = io.WriteString(w, "ok")
	}))
	dir := t.TempDir()
	r.keysFile = filepath.Join(dir, "keys")
	write(t, r.keysFile, testKey+"\n")
	write(t, filepath.Join(dir, "genkan.yaml"), "upstreams:\n  - path: /api/\n    url: "+upstream.URL+"/\n    auth: required\n    token: relay\n")
	for range count {
		r.replicas = append(r.replicas, startProcess(t, dir, r.url, provider.URL, store, r.keysFile))
	}
	for _, p := range r.replicas {
		p.awaitReady()
	}
	front.Start()
	t.Cleanup(func() { front.Close(); provider.Close(); upstream.Close() })
	return r
}

func portOf(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// balancer gives requests to the replicas in turn. What can be sent again goes to the
// next one when a replica is gone.
func (r *rig) balancer() http.Handler {
	transport := &http.Transport{MaxIdleConnsPerHost: 300}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &httputil.ReverseProxy{
		Transport: roundTripper(func(req *http.Request) (resp *http.Response, err error) {
			first := int(r.turn.Add(1))
			for i := range r.replicas {
				p := r.replicas[(first+i)%len(r.replicas)]
				again := req.Clone(req.Context())
				again.URL.Host = p.address
				resp, err = transport.RoundTrip(again)
				if err == nil || req.Method != http.MethodGet || req.Context().Err() != nil {
					break
				}
			}
			return resp, err
		}),
		Rewrite:       func(p *httputil.ProxyRequest) { p.Out.URL.Scheme, p.Out.Host = "http", p.In.Host },
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		FlushInterval: -1,
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// gate stands before the provider: it counts refreshes and makes them slow.
type gate struct {
	idp     http.Handler
	latency time.Duration
	asked   chan struct{} // one for every refresh that has arrived
	count   atomic.Int64
	// gone makes the provider forget a refresh whose client has hung up before the
	// latency is over, instead of rotating for nobody.
	gone atomic.Bool
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/token") {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if form, _ := url.ParseQuery(string(body)); form.Get("grant_type") == "refresh_token" {
			g.count.Add(1)
			g.asked <- struct{}{}
			select {
			case <-time.After(g.latency):
			case <-r.Context().Done():
				if g.gone.Load() {
					return
				}
			}
			r = r.WithContext(context.WithoutCancel(r.Context()))
		}
	}
	g.idp.ServeHTTP(w, r)
}

// process is one replica.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	address, admin string
	output         lockedBuffer
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.text.String() }

func startProcess(t *testing.T, dir, public, issuer, store, keysFile string) *process {
	t.Helper()
	port, admin := quietPort(t), quietPort(t)
	p := &process{t: t, address: fmt.Sprintf("127.0.0.1:%d", port), admin: fmt.Sprintf("127.0.0.1:%d", admin)}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(),
		replicaEnv+"="+dir,
		fmt.Sprintf("GENKAN_LISTEN=localhost:%d", port), fmt.Sprintf("GENKAN_ADMIN_LISTEN=localhost:%d", admin),
		"GENKAN_PUBLIC_URLS="+public, "GENKAN_SPA_DIR=off", "GENKAN_SESSION_STORE="+store, "GENKAN_SESSION_KEYS_FILE="+keysFile,
		"GENKAN_OIDC_ISSUER="+issuer, "GENKAN_OIDC_CLIENT_ID=genkan", "GENKAN_OIDC_CLIENT_SECRET=s3cret-canary",
		"GENKAN_OIDC_SCOPES=openid,profile,email,offline_access")
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// quietPort is free on both families, and none that the system gives to outgoing
// connections, of which a rig has thousands.
func quietPort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		v4, err4 := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		v6, err6 := net.Listen("tcp6", fmt.Sprintf("[::1]:%d", port))
		if err4 == nil {
			_ = v4.Close()
		}
		if err6 == nil {
			_ = v6.Close()
		}
		if err4 == nil && err6 == nil {
			return port
		}
	}
	t.Fatal("no port is free on both families")
	return 0
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_, _ = p.cmd.Process.Wait()
}

func (p *process) awaitReady() {
	p.t.Helper()
	eventually(p.t, 30*time.Second, "the replica is ready: "+p.output.String(), func() bool {
		resp, err := http.Get("http://" + p.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// eventually waits until done reports true.
func eventually(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

// user is a browser that has signed in.
type user struct {
	r      *rig
	client *http.Client
}

// signIn opens the sign-in address and goes wherever that leads.
func (r *rig) signIn() *user {
	r.t.Helper()
	jar, _ := cookiejar.New(nil)
	transport := &http.Transport{MaxIdleConnsPerHost: 300}
	r.t.Cleanup(transport.CloseIdleConnections)
	u := &user{r: r, client: &http.Client{Jar: jar, Transport: transport, Timeout: 60 * time.Second,
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			next.Header = via[0].Header.Clone()
			return nil
		}}}
	status, body := u.send(r.t.Context(), http.MethodGet, "/bff/login?returnUrl=/bff/session", "Sec-Fetch-Mode: navigate", "Accept: text/html")
	if status != http.StatusOK || !strings.Contains(body, `"authenticated":true`) {
		r.t.Fatalf("sign-in ended with %d: %.500s", status, body)
	}
	return u
}

// send makes a request of the app's; a status of 0 is no answer.
func (u *user) send(ctx context.Context, method, path string, headers ...string) (status int, body string) {
	req, err := http.NewRequestWithContext(ctx, method, u.r.url+path, nil)
	if err != nil {
		u.r.t.Error(err)
		return 0, ""
	}
	req.Header.Set("X-CSRF", "1")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// crowd makes count calls of the API at once and counts the statuses.
func (u *user) crowd(ctx context.Context, count int) map[int]int {
	var mu sync.Mutex
	var wait sync.WaitGroup
	statuses := map[int]int{}
	for range count {
		wait.Go(func() {
			status, _ := u.send(ctx, http.MethodGet, "/api/x")
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	wait.Wait()
	return statuses
}

// copyJar is what somebody holds who has copied the cookies.
func copyJar(t *testing.T, from http.CookieJar, address string) http.CookieJar {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	jar, _ := cookiejar.New(nil)
	jar.SetCookies(u, from.Cookies(u))
	return jar
}

func (p *process) has(text string) bool { return strings.Contains(p.output.String(), text) }

// logged counts the lines of all replicas' logs that hold text.
func (r *rig) logged(text string) (lines int) {
	for _, p := range r.replicas {
		lines += strings.Count(p.output.String(), text)
	}
	return lines
}
