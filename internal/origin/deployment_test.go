package origin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"genkan/internal/origin"
)

// TestDeployments holds every file of testdata/deployments against the policy: in
// section config a deployment, in section want all that browsers will hold us to.
// The files are written by hand; nothing rewrites them.
func TestDeployments(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/deployments/*.txtar")
	if err != nil || len(files) < 25 {
		t.Fatalf("only %d deployments, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) != 2 || archive.Files[0].Name != "config" || archive.Files[1].Name != "want" {
				t.Fatal("the file needs the sections config and want, nothing else")
			}
			c, ask := readDeployment(t, string(archive.Files[0].Data))
			if diff := cmp.Diff(string(archive.Files[1].Data), describe(c, ask)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// readDeployment reads "key: value" lines; ask are the origins to try CORS with.
func readDeployment(t *testing.T, text string) (c origin.Config, ask []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "public_urls":
			c.PublicURLs = origins(t, value)
		case "spa_origins":
			c.SPAOrigins = origins(t, value)
		case "loopback_alias":
			c.LoopbackAlias = origin.Alias(value)
		case "same_site":
			c.SameSite = origin.SameSiteMode(value)
		case "prefix":
			c.Prefix = value
		case "with":
			c.Navigate = strings.Contains(value, "navigate")
			c.FormPost = strings.Contains(value, "form_post")
			c.TLS = strings.Contains(value, "tls")
			c.TrustedProxies = strings.Contains(value, "trusted_proxies")
		case "ask":
			ask = strings.Split(value, ", ")
		default:
			t.Fatalf("unknown key %q", key)
		}
	}
	return c, ask
}

func origins(t testing.TB, list string) (all []origin.Origin) {
	t.Helper()
	for text := range strings.SplitSeq(list, ", ") {
		o, err := origin.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		all = append(all, o)
	}
	return all
}

// describe writes a deployment's outcome the way the want sections have it.
func describe(c origin.Config, ask []string) string {
	var b strings.Builder
	p, found := origin.New(c)
	for _, f := range found {
		fmt.Fprintf(&b, "%s %s %s\n  %s\n  %s\n", f.Severity, f.Code, f.Where, f.Detail, f.Fix)
	}
	if p == nil {
		return b.String() + "refused\n"
	}
	for _, s := range p.Sites() {
		session, tx := s.Session(), s.Transaction("1", c.FormPost)
		fmt.Fprintf(&b, "site %s\n", s.Origin())
		for _, c := range []*http.Cookie{session.Set("v", time.Hour), session.Clear(), tx.Set("v", 10*time.Minute), tx.Clear()} {
			fmt.Fprintf(&b, "  Set-Cookie: %s\n", c)
		}
		fmt.Fprintf(&b, "  redirect_uri: %s\n  post_logout_redirect_uri: %s\n", s.RedirectURI(), s.PostLogoutRedirectURI())
	}
	for _, from := range ask {
		fmt.Fprintf(&b, "Origin: %s\n", from)
		for _, method := range []string{"GET", "OPTIONS"} {
			fmt.Fprintf(&b, "  %s: %s\n", method, corsAnswer(p, method, from))
		}
	}
	return b.String()
}

// corsAnswer is what an answer to a request from an origin carries for browsers.
func corsAnswer(p *origin.Policy, method, from string) string {
	r := httptest.NewRequest(method, "http://genkan.test/", nil)
	r.Header.Set("Origin", from)
	if method == http.MethodOptions {
		r.Header.Set("Access-Control-Request-Method", "POST")
	}
	w := httptest.NewRecorder()
	p.CORS(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
	allowed := w.Header().Get("Access-Control-Allow-Origin")
	if allowed == "" && w.Header().Get("Access-Control-Allow-Credentials") == "" {
		return "nothing"
	}
	return "allow " + allowed + ", credentials " + w.Header().Get("Access-Control-Allow-Credentials")
}
