package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The services of docs/examples, run as their pages say, behind Genkan with the settings
// that stand beside them.

// exampleService is one of them.
type exampleService struct {
	folder, audience string
	documented       string   // its address in docs/examples/genkan.yaml
	program          []string // the first is looked for in what scripts/examples installed
	me               string   // the path that says who is calling
}

func exampleServices() []exampleService {
	return []exampleService{
		{"fastapi", "/api/fastapi/", "127.0.0.1:9201", []string{"python", "app.py"}, "/me"},
		{"flask", "/api/flask/", "127.0.0.1:9202", []string{"python", "app.py"}, "/me"},
		{"django", "/api/django/", "127.0.0.1:9203", []string{"python", "manage.py", "runserver", "--noreload"}, "/me"},
		{"express", "/api/express/", "127.0.0.1:9204", []string{"node", "app.js"}, "/me"},
	}
}

// The page, and the API behind it, share an audience.
func examplePage() exampleService {
	return exampleService{"flask-page", "internal", "127.0.0.1:9205", []string{"python", "app.py"}, "/"}
}

func exampleBehindPage() exampleService {
	return exampleService{"fastapi", "internal", "127.0.0.1:9206", []string{"python", "app.py"}, "/me"}
}

// runningExample is a service in its own process.
type runningExample struct {
	exampleService
	address string
	output  lockedBuffer
}

// startExample does not wait until it listens.
func startExample(t *testing.T, s exampleService, environ ...string) *runningExample {
	t.Helper()
	installed := os.Getenv("GENKAN_TEST_EXAMPLES")
	if installed == "" {
		t.Skip("the examples run by scripts/examples, which installs them")
	}
	program := filepath.Join(installed, s.folder, "bin", s.program[0])
	if s.program[0] == "node" {
		program = "node"
	}
	port := quietPort(t)
	e := &runningExample{exampleService: s, address: fmt.Sprintf("127.0.0.1:%d", port)}
	cmd := exec.Command(program, s.program[1:]...)
	cmd.Dir = filepath.Join("..", "..", "docs", "examples", s.folder)
	// Nothing else of this environment, in which a proxy could stand.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1",
		fmt.Sprintf("PORT=%d", port), "AUDIENCE=" + s.audience}, environ...)
	cmd.Stdout, cmd.Stderr = &e.output, &e.output
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", s.folder, e.output.String())
		}
	})
	return e
}

// exampleAnswer is what a service said.
type exampleAnswer struct {
	status    int
	challenge string // WWW-Authenticate
	body      string
}

// ask calls the service itself, with any number of Authorization headers.
func (e *runningExample) ask(t *testing.T, path string, authorization ...string) exampleAnswer {
	t.Helper()
	answer, err := e.tryAsk(path, authorization...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func (e *runningExample) tryAsk(path string, authorization ...string) (exampleAnswer, error) {
	r, err := http.NewRequest(http.MethodGet, "http://"+e.address+path, nil)
	if err != nil {
		return exampleAnswer{}, err
	}
	r.Header["Authorization"] = authorization
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return exampleAnswer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return exampleAnswer{resp.StatusCode, resp.Header.Get("WWW-Authenticate"), string(body)}, err
}

// awaitReady waits until it answers; that needs none of the keys.
func (e *runningExample) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, time.Minute, e.folder+" answers", func() bool {
		answer, err := e.tryAsk(e.me)
		return err == nil && answer.status == http.StatusUnauthorized
	})
}

// identity is what the services say of the caller.
type identity struct {
	Sub    string   `json:"sub"`
	Email  string   `json:"email"`
	Groups []string `json:"groups"`
}

var (
	exampleAlice = identity{"dev-user-alice-7f3a", "alice@example.com", []string{"staff", "admins"}}
	exampleBob   = identity{"dev-user-bob-19c4", "bob@example.com", []string{"staff"}}
)

func checkIdentity(t *testing.T, what, body string, want identity) {
	t.Helper()
	var got identity
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Errorf("%s: %v in %.300s", what, err, body)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// TestExamplesBehindGenkan signs two users in, and every service knows who they are.
func TestExamplesBehindGenkan(t *testing.T) {
	t.Parallel()
	r := newExampleRig(t)
	alice, bob := r.signIn("alice"), r.signIn("bob")
	stranger := &exampleUser{r, &http.Client{}}
	for _, e := range r.services {
		for _, row := range []struct {
			name, path string
			user       *exampleUser
			status     int
			who        identity
		}{
			{"alice", "me", alice, http.StatusOK, exampleAlice},
			{"alice, who is in the group", "admin", alice, http.StatusOK, exampleAlice},
			{"bob", "me", bob, http.StatusOK, exampleBob},
		} {
			t.Run(e.folder+" knows "+row.name, func(t *testing.T) {
				status, body := row.user.call(e.audience + row.path)
				if status != row.status {
					t.Fatalf("HTTP %d: %.300s", status, body)
				}
				checkIdentity(t, e.folder, body, row.who)
			})
		}
		t.Run(e.folder+" refuses who is not in the group", func(t *testing.T) {
			if status, body := bob.call(e.audience + "admin"); status != http.StatusForbidden || strings.Contains(body, exampleBob.Sub) {
				t.Errorf("HTTP %d: %.300s", status, body)
			}
		})
		t.Run(e.folder+" is not reached without a session", func(t *testing.T) {
			if status, body := stranger.call(e.audience + "me"); status != http.StatusUnauthorized || !strings.Contains(body, `"login_url"`) {
				t.Errorf("HTTP %d: %.300s", status, body)
			}
		})
	}
	t.Run("the page passes identity on", func(t *testing.T) { r.checkPage(t, alice) })
	t.Run("a real assertion is good for one audience", func(t *testing.T) { r.checkAudience(t, alice) })
	t.Run("the provider's tokens are refused", r.checkProviderTokens)
}

func (r *exampleRig) checkPage(t *testing.T, u *exampleUser) {
	page := u.open(r.url+"/page/", nil)
	for _, want := range []string{"Hello, alice@example.com", `<code id="sub">` + exampleAlice.Sub + `</code>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s: %s", want, page)
		}
	}
	status, body := u.call("/api/internal/me")
	if status != http.StatusOK {
		t.Errorf("the API behind the page: HTTP %d %.300s", status, body)
	}
	checkIdentity(t, "the API behind the page", body, exampleAlice)
}

// checkAudience presents an assertion for one service at all of them.
func (r *exampleRig) checkAudience(t *testing.T, u *exampleUser) {
	if status, body := u.call("/recorder/"); status != http.StatusOK {
		t.Fatalf("HTTP %d: %.300s", status, body)
	}
	r.mu.Lock()
	assertion := r.recorded[0]
	r.mu.Unlock()
	for _, e := range r.all() {
		want := http.StatusUnauthorized
		if e.audience == "/api/fastapi/" {
			want = http.StatusOK
		}
		if got := e.ask(t, e.me, assertion); got.status != want {
			t.Errorf("%s, which is %s: HTTP %d %.300s, want %d", e.folder, e.audience, got.status, got.body, want)
		}
	}
}

// checkProviderTokens presents ID tokens, and whatever else the provider issued.
func (r *exampleRig) checkProviderTokens(t *testing.T) {
	issued := r.idp.Issued()
	if len(issued) < 6 {
		t.Fatalf("the provider issued %d tokens, want three for each user", len(issued))
	}
	for _, e := range r.all() {
		for _, token := range issued {
			checkRefused(t, e.folder, e.ask(t, e.me, "Bearer "+token))
		}
	}
}

// checkRefused wants 401 with a challenge (RFC 6750 3) and nothing of the user.
func checkRefused(t *testing.T, what string, got exampleAnswer) {
	t.Helper()
	scheme, _, _ := strings.Cut(got.challenge, " ")
	if got.status != http.StatusUnauthorized || !strings.EqualFold(scheme, "Bearer") || strings.Contains(got.body, exampleAlice.Sub) {
		t.Errorf("%s: HTTP %d, WWW-Authenticate %q, %.300s", what, got.status, got.challenge, got.body)
	}
}

// TestExamplePagesShowTheTestedSettings: what a page says to write stands in the file that
// the services are run with.
func TestExamplePagesShowTheTestedSettings(t *testing.T) {
	t.Parallel()
	const examples = "../../docs/examples/"
	comment, block := regexp.MustCompile(`(?m) +#.*$`), regexp.MustCompile("(?s)```yaml\nupstreams:\n(.*?)```")
	read := func(name string) string {
		text, err := os.ReadFile(examples + name)
		if err != nil {
			t.Fatal(err)
		}
		return comment.ReplaceAllString(string(text), "")
	}
	settings := read("genkan.yaml")
	for _, s := range append(exampleServices(), examplePage()) {
		shown := block.FindStringSubmatch(read(s.folder + "/README.md"))
		if shown == nil || !strings.Contains(shown[1], s.documented) || !strings.Contains(settings, shown[1]) {
			t.Errorf("%s/README.md: %q is not what docs/examples/genkan.yaml has", s.folder, shown)
		}
	}
}
