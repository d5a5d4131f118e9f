package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"genkan/internal/config"
	"genkan/internal/origin"
	"genkan/internal/rp"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheReadmesOktaSettingsAreSound(t *testing.T) {
	t.Parallel()
	block := regexp.MustCompile("(?s)```\n(GENKAN_OIDC_ISSUER.*?)```").FindStringSubmatch(readme(t))
	if block == nil {
		t.Fatal("the README has no block of GENKAN_OIDC settings")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(block[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	c, found := config.Load(config.Sources{Dir: dir, Development: true})
	if len(found) > 0 {
		t.Fatalf("copied as it stands: %v", found)
	}
	if len(c.Providers) != 1 || c.Providers[0].Issuer != "https://YOUR-ORG.okta.com/oauth2/default" {
		t.Errorf("providers %+v", c.Providers)
	}
	if _, err := rp.New(c.Providers[0]); err != nil {
		t.Error(err)
	}
	policy, found := origin.New(c.Origin)
	if policy == nil {
		t.Fatal(found)
	}
	for _, uri := range []string{policy.Canonical().RedirectURI(), policy.Canonical().PostLogoutRedirectURI()} {
		if !strings.Contains(readme(t), "`"+uri+"`") {
			t.Errorf("the README does not say to register %s", uri)
		}
	}
}

func TestWhatTheReadmeNamesIsThere(t *testing.T) {
	t.Parallel()
	text := readme(t)
	for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat("../../" + link[1]); err != nil {
			t.Errorf("link: %v", err)
		}
	}
	for _, script := range regexp.MustCompile(`\./scripts/[a-z]+`).FindAllString(text, -1) {
		if info, err := os.Stat("../../" + script); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s cannot be run: %v", script, err)
		}
	}
	for _, command := range regexp.MustCompile("`genkan ([a-z ]+)").FindAllStringSubmatch(text, -1) {
		var out, errs bytes.Buffer
		if code := run(append(strings.Fields(command[1]), "-h"), nil, strings.NewReader(""), &out, &errs); code != 0 {
			t.Errorf("genkan %s: exit %d: %s", command[1], code, errs.String())
		}
	}
	layout := text[strings.Index(text, "## The layout"):]
	folders, err := os.ReadDir("../../internal")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if !strings.Contains(layout, " "+folder.Name()+" ") {
			t.Errorf("the layout does not name internal/%s", folder.Name())
		}
	}
}
