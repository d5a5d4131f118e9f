package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"genkan/internal/backing"
	"genkan/internal/keys"
)

// Whoever steals the store's data gets no token, no cookie, nobody's name.
func TestADumpOfTheStoreTellsNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(t *testing.T) (address string, dump func() []byte)
		// proof is what every dump of this kind holds, so that an empty one fails.
		proof string
	}{
		{"redis", func(t *testing.T) (string, func() []byte) {
			s := backing.Redis(t, backing.RedisOptions{Config: []string{"rdbcompression no"}})
			return "redis://" + s.Addr, func() []byte {
				file := filepath.Join(t.TempDir(), "dump.rdb")
				s.CLI("--rdb", file)
				return read(t, file)
			}
		}, "genkan:s:"},
		{"postgres", func(t *testing.T) (string, func() []byte) {
			s := backing.Postgres(t)
			address := s.URL()
			return address, func() []byte { return unhex(s.Dump(address)) }
		}, "COPY public.genkan_session"},
		{"sqlite", func(t *testing.T) (string, func() []byte) {
			dir := t.TempDir()
			return "sqlite:" + filepath.Join(dir, "sessions.db"), func() []byte {
				var all []byte
				for _, suffix := range []string{"", "-wal"} {
					all = append(all, read(t, filepath.Join(dir, "sessions.db")+suffix)...)
				}
				return all
			}
		}, "CREATE TABLE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address, dump := tt.open(t)
			r := newRig(t, 1, address, 2*time.Second)
			u := r.signIn()
			eventually(t, 20*time.Second, "the tokens are renewed", func() bool {
				u.send(t.Context(), http.MethodGet, "/api/x")
				return r.gate.count.Load() > 0
			})
			got := dump()
			if !bytes.Contains(got, []byte(tt.proof)) || len(got) < 2000 {
				t.Fatalf("the dump is none: %d bytes", len(got))
			}
			for what, secret := range r.secrets(u) {
				for form, text := range map[string]string{
					"as it is": secret, "in hex": hex.EncodeToString([]byte(secret)),
					"in base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="),
				} {
					if bytes.Contains(got, []byte(text)) {
						t.Errorf("the dump holds %s, %s", what, form)
					}
				}
			}
		})
	}
}

// secrets are what a dump must not hold.
func (r *rig) secrets(u *user) map[string]string {
	r.t.Helper()
	all := map[string]string{
		"the e-mail address": "alice@example.com", "the subject": "dev-user-alice-7f3a", "the name": "Alice Arai",
		"the client's secret": "s3cret-canary", "the key": testKey, "the User-Agent": "Go-http-client",
	}
	for i, token := range r.idp.Issued() {
		all["token "+string(rune('a'+i))] = token
	}
	front, err := url.Parse(r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	ring, err := keys.Parse([]keys.Secret{keys.NewSecret(testKey)})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range u.client.Jar.Cookies(front) {
		id, err := ring.OpenText("session cookie", r.url+" "+c.Name, c.Value)
		if err != nil {
			r.t.Fatal("the cookie's id cannot be looked for: ", err)
		}
		all["the cookie"], all["the id"] = c.Value, string(id)
	}
	_, body := u.send(r.t.Context(), http.MethodGet, "/bff/session")
	_, rest, _ := strings.Cut(body, `"session":{"id":"`)
	all["the session's handle"], _, _ = strings.Cut(rest, `"`)
	for what, secret := range all {
		if len(secret) < 8 {
			r.t.Fatalf("%s is %q: nothing to look for", what, secret)
		}
	}
	return all
}

// unhex adds to a dump what its hexadecimal columns (\\x…) stand for.
func unhex(dump []byte) []byte {
	for _, field := range bytes.FieldsFunc(dump, func(c rune) bool { return c == '\t' || c == '\n' }) {
		if text, ok := bytes.CutPrefix(field, []byte(`\\x`)); ok {
			raw := make([]byte, hex.DecodedLen(len(text)))
			if _, err := hex.Decode(raw, text); err == nil {
				dump = append(dump, raw...)
			}
		}
	}
	return dump
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
