package app_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/app"
	"genkan/internal/keys"
)

const (
	secondKey = "zaQrMCw2YHQsEfJLWTRFKk9Cuw2dzv3uHThnzbJpr80="
	thirdKey  = "Hx0P1rXhMYwLlJwq6bH1rzjwB8CZ1ZlZCf9qJgk3u3I="
)

// keyed is a running program whose keys stand in a file.
type keyed struct {
	t    *testing.T
	base string
	file string
	log  lockedBuffer
}

func startKeyed(t *testing.T, sealAfter time.Duration) *keyed {
	t.Helper()
	port := freePort(t)
	idp := newProvider(t, port)
	k := &keyed{t: t, base: fmt.Sprintf("http://localhost:%d", port), file: filepath.Join(t.TempDir(), "keys")}
	k.put(testKey)
	c := settings(t, port, freePort(t), "GENKAN_SESSION_KEYS=", "GENKAN_SESSION_KEYS_FILE="+k.file, "GENKAN_OIDC_ISSUER="+idp.issuer)
	a, err := app.New(t.Context(), c, slog.New(slog.NewTextHandler(&k.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	a.SetKeyWatch(10*time.Millisecond, sealAfter)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; _ = a.Close() })
	eventually(t, 20*time.Second, "it listens", func() bool { return strings.Contains(k.log.String(), "msg=ready") })
	return k
}

// put replaces the file in one step, as genkan keys rotate does.
func (k *keyed) put(list ...string) {
	k.t.Helper()
	write(k.t, k.file+".new", strings.Join(list, "\n")+"\n")
	if err := os.Rename(k.file+".new", k.file); err != nil {
		k.t.Fatal(err)
	}
}

// rotate puts the list and waits until it was read.
func (k *keyed) rotate(list ...string) {
	k.t.Helper()
	before := strings.Count(k.log.String(), "session keys read again")
	k.put(list...)
	eventually(k.t, 20*time.Second, "the keys are read again", func() bool {
		return strings.Count(k.log.String(), "session keys read again") > before
	})
}

func (k *keyed) signIn() *http.Client {
	k.t.Helper()
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{}}
	k.t.Cleanup(browser.CloseIdleConnections)
	if status, body := k.get(browser, "/bff/login?returnUrl=/bff/session", "navigate"); status != 200 || !strings.Contains(body, `"authenticated":true`) {
		k.t.Fatalf("sign-in: %d %s", status, body)
	}
	return browser
}

func (k *keyed) get(browser *http.Client, path, mode string) (int, string) {
	r, err := http.NewRequest(http.MethodGet, k.base+path, nil)
	if err != nil {
		k.t.Error(err)
		return 0, ""
	}
	r.Header.Set("Sec-Fetch-Mode", mode)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("X-CSRF", "1")
	resp, err := browser.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func (k *keyed) signedIn(browser *http.Client) bool {
	k.t.Helper()
	status, body := k.get(browser, "/bff/session", "cors")
	if status != 200 {
		k.t.Errorf("%d %s", status, body)
	}
	return strings.Contains(body, `"authenticated":true`)
}

// sealedWith is the id of the key that sealed the browser's cookie: the four bytes after
// the first.
func (k *keyed) sealedWith(browser *http.Client) string {
	k.t.Helper()
	at, _ := url.Parse(k.base)
	for _, c := range browser.Jar.Cookies(at) {
		if sealed, err := base64.RawURLEncoding.DecodeString(c.Value); err == nil && len(sealed) > 5 {
			return hex.EncodeToString(sealed[1:5])
		}
	}
	k.t.Fatal("no cookie")
	return ""
}

func keyID(t *testing.T, key string) string {
	t.Helper()
	ring, err := keys.Parse([]keys.Secret{keys.NewSecret(key)})
	if err != nil {
		t.Fatal(err)
	}
	return ring.IDs()[0]
}

func TestRotatingKeysUnderLoadFailsNoRequest(t *testing.T) {
	t.Parallel()
	k := startKeyed(t, 200*time.Millisecond)
	first := k.signIn()
	over := make(chan struct{})
	var load sync.WaitGroup
	for i := range 6 {
		browser := first
		if i%2 == 1 {
			browser = k.signIn()
		}
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					if n < 3 {
						t.Errorf("only %d requests were made", n)
					}
					return
				default:
				}
				if !k.signedIn(browser) {
					t.Error("a session was gone")
				}
			}
		})
	}
	sealsWith := func(key string) {
		t.Helper()
		eventually(t, 20*time.Second, "a new key seals", func() bool { return k.sealedWith(k.signIn()) == keyID(t, key) })
	}
	k.rotate(secondKey, testKey)
	sealsWith(secondKey)
	k.rotate(thirdKey, secondKey, testKey)
	sealsWith(thirdKey)
	close(over)
	load.Wait()
	if text := k.log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "level=WARN") {
		t.Errorf("the log complains: %s", text)
	}
}

func TestTheOldKeySealsUntilEveryReplicaHasTheNewOne(t *testing.T) {
	t.Parallel()
	k := startKeyed(t, time.Hour)
	k.rotate(secondKey, testKey)
	if got, want := k.sealedWith(k.signIn()), keyID(t, testKey); got != want {
		t.Errorf("%s seals, want %s", got, want)
	}
}

func TestAKeyThatWasRemovedEndsItsSessions(t *testing.T) {
	t.Parallel()
	k := startKeyed(t, 0)
	old := k.signIn()
	k.rotate(secondKey, testKey)
	fresh := k.signIn()
	if !k.signedIn(old) || !k.signedIn(fresh) {
		t.Fatal("with both keys there are both sessions")
	}
	k.rotate(secondKey)
	if k.signedIn(old) {
		t.Error("the session of the removed key lives on")
	}
	if status, body := k.get(old, "/bff/user", "cors"); status != 401 {
		t.Errorf("%d %s, want 401", status, body)
	}
	if !k.signedIn(fresh) {
		t.Error("the session of the new key is gone")
	}
	if text := k.log.String(); !strings.Contains(text, "removed=["+keyID(t, testKey)+"]") {
		t.Errorf("the log does not name the removed key: %s", text)
	}
}

func TestAWrongListOfKeysKeepsTheOldOne(t *testing.T) {
	t.Parallel()
	k := startKeyed(t, 0)
	browser := k.signIn()
	k.put("canary")
	eventually(t, 20*time.Second, "the log says so", func() bool { return strings.Contains(k.log.String(), "GK302") })
	if !k.signedIn(browser) || k.sealedWith(k.signIn()) != keyID(t, testKey) {
		t.Error("the old key is not what counts")
	}
	k.rotate(secondKey, testKey)
	if text := k.log.String(); strings.Count(text, "GK302") != 1 || strings.Contains(text, "canary") {
		t.Errorf("want one line without the value: %s", text)
	}
}
