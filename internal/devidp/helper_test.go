package devidp_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/devidp"
)

// From RFC 7636, appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

const (
	callback   = "http://localhost:8000/bff/callback"
	postLogout = "http://localhost:8000/bff/logout/callback"
)

// rsaKeys makes the few keys that all tests share, as making one takes a while.
var rsaKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	var keys []*rsa.PrivateKey
	for range 2 {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	return keys
})

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a provider behind a listener and a browser in front of it.
type world struct {
	t       *testing.T
	idp     *devidp.Provider
	clock   *clock
	issuer  string
	browser *http.Client // keeps cookies, follows redirects within the provider only
}

func start(t *testing.T, c devidp.Config) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)}}
	c.Now = w.clock.Now
	next := 0
	c.NewKey = func() (*rsa.PrivateKey, error) { next++; return rsaKeys()[next%2], nil }
	idp, err := devidp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(idp)
	t.Cleanup(server.Close)
	w.idp, w.issuer = idp, server.URL
	idp.SetIssuer(server.URL)
	w.browser = newBrowser(server.URL)
	return w
}

// quick is a provider that asks the person nothing.
func quick(t *testing.T) *world {
	return start(t, devidp.Config{AutoSignIn: "alice", SkipConsent: true})
}

func newBrowser(home string) *http.Client {
	jar, _ := cookiejar.New(nil)
	return &http.Client{
		Jar: jar, Timeout: 20 * time.Second,
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if "http://"+r.URL.Host != home {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (w *world) do(r *http.Request) answer {
	w.t.Helper()
	response, err := w.browser.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{response, string(body)}
}

func (w *world) request(method, path string, form url.Values) *http.Request {
	w.t.Helper()
	body, target := "", w.issuer+path
	if method == http.MethodPost {
		body = form.Encode()
	} else if len(form) > 0 {
		target += "?" + form.Encode()
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func (w *world) get(path string, form url.Values) answer {
	w.t.Helper()
	return w.do(w.request(http.MethodGet, path, form))
}

func (w *world) post(path string, form url.Values) answer {
	w.t.Helper()
	return w.do(w.request(http.MethodPost, path, form))
}

// params is a good authentication request, with changes in pairs; an empty value takes
// the parameter out.
func params(changes ...string) url.Values {
	v := url.Values{
		"response_type": {"code"}, "client_id": {"genkan-dev"}, "redirect_uri": {callback},
		"scope": {"openid profile email groups offline_access"}, "state": {"the-state"}, "nonce": {"the-nonce"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	return change(v, changes)
}

func change(v url.Values, changes []string) url.Values {
	for i := 0; i < len(changes); i += 2 {
		if v.Del(changes[i]); changes[i+1] != "" {
			v.Set(changes[i], changes[i+1])
		}
	}
	return v
}

// location is the redirect's target without and with its parameters.
func (a answer) location(t *testing.T) (string, url.Values) {
	t.Helper()
	u, err := a.Location()
	if err != nil {
		t.Fatalf("HTTP %d is no redirect: %s", a.StatusCode, a.body)
	}
	base, _, _ := strings.Cut(u.String(), "?")
	return base, u.Query()
}

var hiddenRequest = regexp.MustCompile(`name="request" value="([^"]*)"`)

// carried is the hidden field of the provider's page.
func (a answer) carried(t *testing.T) string {
	t.Helper()
	found := hiddenRequest.FindStringSubmatch(a.body)
	if found == nil {
		t.Fatalf("HTTP %d is no page with a form: %s", a.StatusCode, a.body)
	}
	return html.UnescapeString(found[1])
}

// signIn fills in the sign-in page.
func (w *world) signIn(page answer, user, password string) answer {
	w.t.Helper()
	return w.post("/sign-in", url.Values{"request": {page.carried(w.t)}, "username": {user}, "password": {password}})
}

func (w *world) decide(page answer, decision string) answer {
	w.t.Helper()
	return w.post("/consent", url.Values{"request": {page.carried(w.t)}, "decision": {decision}})
}

// code runs an authentication request at a quick provider.
func (w *world) code(changes ...string) string {
	w.t.Helper()
	_, got := w.get("/authorize", params(changes...)).location(w.t)
	if !got.Has("code") {
		w.t.Fatalf("no code but %v", got)
	}
	return got.Get("code")
}

// token asks the token endpoint as genkan-dev.
func (w *world) token(form url.Values) (int, map[string]any) {
	w.t.Helper()
	r := w.request(http.MethodPost, "/token", form)
	r.SetBasicAuth("genkan-dev", "genkan-dev-secret")
	a := w.do(r)
	return a.StatusCode, object(w.t, a.body)
}

func exchange(code string, changes ...string) url.Values {
	return change(url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
	}, changes)
}

func refresh(token any, changes ...string) url.Values {
	text, _ := token.(string)
	return change(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {text}}, changes)
}

// tokens signs alice in at a quick provider.
func (w *world) tokens(changes ...string) map[string]any {
	w.t.Helper()
	status, body := w.token(exchange(w.code(changes...)))
	if status != http.StatusOK {
		w.t.Fatalf("HTTP %d: %v", status, body)
	}
	return body
}

func (w *world) userInfo(access any) (int, map[string]any) {
	w.t.Helper()
	r := w.request(http.MethodGet, "/userinfo", nil)
	text, _ := access.(string)
	r.Header.Set("Authorization", "Bearer "+text)
	a := w.do(r)
	return a.StatusCode, object(w.t, a.body)
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatalf("no JSON object: %q", text)
	}
	return body
}

// decode reads a JWT without checking it.
func decode(t *testing.T, token any) (header, claims map[string]any) {
	t.Helper()
	text, _ := token.(string)
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", text)
	}
	var read []map[string]any
	for _, part := range parts[:2] {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, object(t, string(raw)))
	}
	return read[0], read[1]
}
