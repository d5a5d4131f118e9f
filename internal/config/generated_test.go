package config

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the generated files")

func TestGeneratedFilesAreFresh(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{".env.example": envExample(), "docs/configuration.md": markdown()} {
		path := filepath.Join("../..", name)
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		stored, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(stored), text); diff != "" {
			t.Errorf("%s is not what the rows say; run go test ./internal/config -update\n%s", name, diff)
		}
	}
}

// TestEnvironmentIsTheContracts compares with the contract's table, not with the rows.
func TestEnvironmentIsTheContracts(t *testing.T) {
	t.Parallel()
	want := []string{
		"GENKAN_LISTEN", "GENKAN_ADMIN_LISTEN", "GENKAN_ADMIN_TOKEN", "GENKAN_PUBLIC_URLS", "GENKAN_LOOPBACK_ALIAS", "GENKAN_TRUSTED_PROXIES",
		"GENKAN_PREFIX", "GENKAN_TLS_CERT_FILE", "GENKAN_TLS_KEY_FILE", "GENKAN_SPA_ORIGINS", "GENKAN_SPA_DIR", "GENKAN_SESSION_STORE",
		"GENKAN_SESSION_KEYS", "GENKAN_SESSION_IDLE_TIMEOUT", "GENKAN_SESSION_ABSOLUTE_TIMEOUT", "GENKAN_SESSION_COOKIE_SAME_SITE", "GENKAN_SESSION_MAX_PER_USER",
		"GENKAN_LOG_LEVEL", "GENKAN_LOG_FORMAT",
		"GENKAN_OIDC_PRESET", "GENKAN_OIDC_ISSUER", "GENKAN_OIDC_CLIENT_ID", "GENKAN_OIDC_CLIENT_SECRET", "GENKAN_OIDC_CLIENT_AUTH", "GENKAN_OIDC_SCOPES",
	}
	stored, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^#?([A-Z_]+)=`).FindAllStringSubmatch(string(stored), -1) {
		got = append(got, m[1])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestExampleEnvironmentChangesNothingUntilFilledIn(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t, map[string]string{".env": string(example)})
	values, _ := Effective(Sources{Dir: dir})
	plain, _ := Effective(Sources{Dir: folder(t, nil)})
	if diff := cmp.Diff(plain, values); diff != "" {
		t.Error(diff)
	}
	// and with the marks taken away every default there is one that is accepted
	uncommented := regexp.MustCompile(`(?m)^#(GENKAN_)`).ReplaceAllString(string(example), "$1")
	mustLoad(t, Sources{Dir: folder(t, map[string]string{".env": uncommented}), Environ: sound})
}

func TestSampleFileIsSound(t *testing.T) {
	t.Parallel()
	sample, err := os.ReadFile("../../config/genkan.yaml")
	if err != nil {
		t.Fatal(err)
	}
	mustLoad(t, Sources{Dir: folder(t, map[string]string{"config/genkan.yaml": string(sample)}), Environ: sound})
	// and so are the examples in it
	uncommented := regexp.MustCompile(`(?m)^# (upstreams:|providers:|  )`).ReplaceAllString(string(sample), "$1")
	c := mustLoad(t, Sources{Dir: folder(t, map[string]string{"config/genkan.yaml": uncommented}), Environ: []string{
		"GENKAN_SESSION_KEYS=" + keyOne, "OKTA_CLIENT_SECRET=x",
	}})
	if len(c.Upstreams) != 3 || len(c.Providers) != 1 {
		t.Errorf("%d upstreams, %d providers", len(c.Upstreams), len(c.Providers))
	}
}

func TestSchemaKnowsWhatTheLoaderKnows(t *testing.T) {
	t.Parallel()
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	if root["$schema"] != "https://json-schema.org/draft/2020-12/schema" || root["additionalProperties"] != false {
		t.Errorf("head of the schema: %v, additionalProperties %v", root["$schema"], root["additionalProperties"])
	}
	at := func(node map[string]any, keys ...string) map[string]any {
		for _, key := range keys {
			next, ok := node[key].(map[string]any)
			if !ok {
				t.Fatalf("%v: nothing at %s", keys, key)
			}
			node = next
		}
		return node
	}
	const p = "properties"
	provider, upstream := at(root, p, "providers", "items"), at(root, p, "upstreams", "items")
	at(root, p, "server", p, "tls", p, "cert_file")
	at(root, p, "session", p, "keys_file")
	at(provider, p, "client_secret_file")
	at(upstream, p, "headers", "additionalProperties")
	got := []any{
		at(root, p, "session", p, "cookie", p, "same_site")["default"], at(root, p, "server", p, "public_urls")["default"],
		at(upstream, p, "keep_prefix")["default"], provider["required"], upstream["required"], provider["additionalProperties"],
		at(root, p, "session", p, "max_per_user")["anyOf"].([]any)[0].(map[string]any)["maximum"],
	}
	want := []any{"auto", []any{"http://localhost:8000"}, false, []any{"id"}, []any{"path", "url"}, false, 1000.0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
