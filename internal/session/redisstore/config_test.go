package redisstore

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseTakes(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		address string
		want    Config
	}{
		"a host":               {"redis://h", Config{kind: single, addresses: []string{"h:6379"}, prefix: "genkan"}},
		"a slash":              {"redis://h/", Config{kind: single, addresses: []string{"h:6379"}, prefix: "genkan"}},
		"port, database":       {"redis://h.example:7000/15", Config{kind: single, addresses: []string{"h.example:7000"}, database: 15, prefix: "genkan"}},
		"IPv6":                 {"redis://[::1]", Config{kind: single, addresses: []string{"[::1]:6379"}, prefix: "genkan"}},
		"IPv6, port":           {"redis://[::1]:1", Config{kind: single, addresses: []string{"[::1]:1"}, prefix: "genkan"}},
		"a password":           {"redis://:pw@h", Config{kind: single, addresses: []string{"h:6379"}, password: "pw", prefix: "genkan"}},
		"a user":               {"redis://u:p:w@h", Config{kind: single, addresses: []string{"h:6379"}, user: "u", password: "p:w", prefix: "genkan"}},
		"percent-encoding":     {"redis://u%40:%2F%3F%23%40%25+@h", Config{kind: single, addresses: []string{"h:6379"}, user: "u@", password: "/?#@%+", prefix: "genkan"}},
		"an @ in the password": {"redis://u:p@w@h", Config{kind: single, addresses: []string{"h:6379"}, user: "u", password: "p@w", prefix: "genkan"}},
		"TLS": {"rediss://h?ca_file=%2Fa%20b.pem&cert_file=c&key_file=k&server_name=n", Config{
			kind: single, addresses: []string{"h:6379"}, tls: true, prefix: "genkan", caFile: "/a b.pem", certFile: "c", keyFile: "k", serverName: "n",
		}},
		"a path unescaped": {"rediss://h?ca_file=/etc/ca+1.pem", Config{kind: single, addresses: []string{"h:6379"}, tls: true, prefix: "genkan", caFile: "/etc/ca+1.pem"}},
		"a Cluster":        {"redis+cluster://u:p@a,b:1,[::2]:3?prefix=x:y", Config{kind: cluster, addresses: []string{"a:6379", "b:1", "[::2]:3"}, user: "u", password: "p", prefix: "x:y"}},
		"a Cluster by TLS": {"rediss+cluster://a", Config{kind: cluster, addresses: []string{"a:6379"}, tls: true, prefix: "genkan"}},
		"sentinels": {"redis+sentinel://:p@a,b:1/my-master?db=2&sentinel_user=su&sentinel_password=s%26p", Config{
			kind: sentinel, addresses: []string{"a:26379", "b:1"}, master: "my-master", password: "p", database: 2,
			sentinelUser: "su", sentinelPassword: "s&p", prefix: "genkan",
		}},
		"sentinels by TLS": {"rediss+sentinel://a/m?ca_file=c", Config{kind: sentinel, addresses: []string{"a:26379"}, tls: true, master: "m", prefix: "genkan", caFile: "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse(row.address)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(Config{}, kind{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ address, want string }{
		"nothing":                                   {"", "must begin with"},
		"no scheme":                                 {":Secret1@h:1", "must begin with"},
		"another scheme":                            {"http://:Secret1@h", "must begin with"},
		"an upper-case scheme":                      {"REDIS://h", "must begin with"},
		"no host":                                   {"redis://:Secret1@", "a host is missing"},
		"an empty host":                             {"redis+cluster://a,,b", "a host is missing"},
		"two hosts":                                 {"redis://a,b", "several hosts need"},
		"33 hosts":                                  {"redis+cluster://" + strings.Repeat("a,", 32) + "a", "more than 32 hosts"},
		"port 0":                                    {"redis://h:0", "1 to 65535"},
		"a port with a zero":                        {"redis://h:06379", "1 to 65535"},
		"port 65536":                                {"redis://h:65536", "1 to 65535"},
		"a password for a port":                     {"redis://user:Secret1", "1 to 65535"},
		"a password with a slash":                   {"redis://:Sec/ret1@h", "percent-encoded"},
		"a password with a ?":                       {"redis://:Sec?ret1@h", "percent-encoded"},
		"a password with a #":                       {"redis://:Sec#ret1@h", "percent-encoded"},
		"a password with a %":                       {"redis://:Secret1%zz@h", "write it %25"},
		"a user without a password":                 {"redis://Secret1@h", "without a password"},
		"brackets and a name":                       {"redis://[h]", "IPv6"},
		"brackets left open":                        {"redis://[::1", "IPv6"},
		"a database by name":                        {"redis://h/Secret1", "0 to 65535"},
		"database 65536":                            {"redis://h/65536", "0 to 65535"},
		"a Cluster's database":                      {"redis+cluster://h/1", "no numbered databases"},
		"sentinels and no master":                   {"redis+sentinel://h", "name by which the sentinels know the master"},
		"a master of two words":                     {"redis+sentinel://h/a%20b", "name by which the sentinels know the master"},
		"an unknown option":                         {"redis://h?prefx=a", "there is no option prefx; there are prefix, "},
		"another unknown option":                    {"rediss://h?cafile=a", "there is no option cafile; there are prefix, "},
		"an improper option":                        {"redis://h?Secret1", "no proper name"},
		"an option twice":                           {"redis://h?prefix=a&prefix=b", "twice"},
		"an option without a value":                 {"redis://h?prefix", "no value"},
		"an option with a bad %":                    {"redis+sentinel://h/m?sentinel_password=Secret1%z", "write it %25"},
		"a prefix with a brace":                     {"redis://h?prefix={a}", "letters, digits"},
		"a prefix of 65":                            {"redis://h?prefix=" + strings.Repeat("a", 65), "at most 64"},
		"a CA without TLS":                          {"redis://h?ca_file=a", "write rediss"},
		"a certificate, no key":                     {"rediss://h?cert_file=a", "cert_file and key_file"},
		"a key, no certificate":                     {"rediss://h?key_file=a", "cert_file and key_file"},
		"db of a single server":                     {"redis://h?db=1", "the database follows the host"},
		"db of a Cluster":                           {"redis+cluster://h?db=1", "the database follows the host"},
		"db by name":                                {"redis+sentinel://h/m?db=Secret1", "0 to 65535"},
		"a sentinel's user alone":                   {"redis+sentinel://h/m?sentinel_user=u", "needs sentinel_password"},
		"a sentinel's password for a single server": {"redis://h?sentinel_password=Secret1", "redis+sentinel:// only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(row.address)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got %v, want %q", err, row.want)
			}
			for _, part := range []string{"Secret1", "Sec", "ret1"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("the error shows the password: %v", err)
				}
			}
		})
	}
}

func TestConfigPrintsNoPassword(t *testing.T) {
	t.Parallel()
	c, err := Parse("redis+sentinel://user:Secret1@a,b:1/m?sentinel_user=u&sentinel_password=Secret2")
	if err != nil {
		t.Fatal(err)
	}
	log := &journal{}
	log.logger().Info("x", "config", c)
	slog.New(slog.NewJSONHandler(log, nil)).Info("x", "config", c)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, c), fmt.Sprint(&c), log.String()} {
		if strings.Contains(text, "Secret") {
			t.Error(text)
		}
	}
	if got, want := c.String(), "redis+sentinel://a:26379,b:1/m"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestOpenRefusesFilesItCannotUse(t *testing.T) {
	t.Parallel()
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]string{
		"a missing CA": "ca_file=/nowhere/ca.pem", "a CA that is none": "ca_file=" + junk,
		"a missing certificate": "cert_file=/nowhere/c.pem&key_file=/nowhere/k.pem", "junk": "cert_file=" + junk + "&key_file=" + junk,
	} {
		c, err := Parse("rediss://127.0.0.1:1?" + options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), c, time.Now, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Open(t.Context(), Config{}, time.Now, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a zero Config: no error")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"redis://user:password@h:1/2?prefix=a", "rediss+sentinel://:p%40@a,[::1]:3/m?db=1&sentinel_password=x", "redis+cluster://a,b",
		"redis://:p?w@h", "redis://:p/w@h", "redis://h?prefix=%zz", "://@", "redis://[::1",
	} {
		f.Add(seed, "Sup3rSecret")
	}
	f.Fuzz(func(t *testing.T, address, password string) {
		c, err := Parse(address)
		if err == nil {
			if len(c.addresses) == 0 || c.prefix == "" || slices.Contains(c.addresses, "") || !strings.Contains(c.String(), "://") {
				t.Errorf("%q: %#v", address, c)
			}
			if again, err := Parse(c.String()); err != nil || !slices.Equal(again.addresses, c.addresses) || again.kind != c.kind || again.master != c.master {
				t.Errorf("%q: its own text %q gives %v, %v", address, c.String(), again, err)
			}
		}
		if len(password) < 8 || strings.Contains("redis://:@h", password) {
			return
		}
		// Whatever stands where the password does, it is taken or refused, never shown.
		for _, form := range []string{"redis://:%s@h", "redis://u:%s@h/1", "redis+sentinel://u:%s@h,i/m?sentinel_password=%[1]s", "redis://u:%s"} {
			got, err := Parse(fmt.Sprintf(form, password))
			shown := fmt.Sprintf("%v %+v %#v", got, got, got)
			if err != nil {
				shown = err.Error()
			}
			if strings.Contains(shown, password) && !strings.Contains(mayBeShown, password) {
				t.Errorf("%q is shown: %s", password, shown)
			}
		}
	})
}

// mayBeShown is text of our own that a fuzzer can find, and guess as a password.
const mayBeShown = "redisstore: address: prefix ca_file cert_file key_file server_name sentinel_user sentinel_password percent-encoded password a user or an option too"
