package pgstore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseFillsInWhatTheAddressLeavesOut(t *testing.T) {
	t.Parallel()
	type settings struct {
		Host, User, Password, Database, Name, Statement, Lock, Path string
		Port                                                        uint16
		Connections                                                 int32
		Connect                                                     time.Duration
	}
	plain := settings{
		Host: "db.example", Port: 5432, User: "genkan", Password: "hunter2", Database: "sessions",
		Name: "genkan", Statement: "5000", Lock: "5000", Connections: 10, Connect: 3 * time.Second,
	}
	for _, row := range []struct {
		name, address string
		change        func(*settings)
	}{
		{"nothing said", "postgres://genkan:hunter2@db.example/sessions", func(*settings) {}},
		{"the other scheme", "postgresql://genkan:hunter2@db.example/sessions", func(*settings) {}},
		{"a port", "postgres://genkan:hunter2@db.example:6432/sessions", func(s *settings) { s.Port = 6432 }},
		{"several hosts", "postgres://genkan:hunter2@db.example:6432,other:1/sessions", func(s *settings) { s.Port = 6432 }},
		{"a password of odd characters", "postgres://genkan:h%3A%2F%3F%40%25+2@db.example/sessions", func(s *settings) { s.Password = "h:/?@%+2" }},
		{"a password among the parameters", "postgres://genkan@db.example/sessions?password=hunter3", func(s *settings) { s.Password = "hunter3" }},
		{"a socket", "postgres://genkan:hunter2@/sessions?host=/run/postgresql", func(s *settings) { s.Host = "/run/postgresql" }},
		{"everything said", "postgres://genkan:hunter2@db.example/sessions?pool_max_conns=3&connect_timeout=9&statement_timeout=1&lock_timeout=2&application_name=x&search_path=y",
			func(s *settings) {
				s.Connections, s.Connect, s.Statement, s.Lock, s.Name, s.Path = 3, 9*time.Second, "1", "2", "x", "y"
			}},
		{"no limit is still one", "postgres://genkan:hunter2@db.example/sessions?connect_timeout=0", func(s *settings) { s.Connect = 5 * time.Second }},
	} {
		want := plain
		row.change(&want)
		config, err := Parse(row.address)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		c := config.pool.ConnConfig
		got := settings{
			Host: c.Host, Port: c.Port, User: c.User, Password: c.Password, Database: c.Database,
			Name: c.RuntimeParams["application_name"], Statement: c.RuntimeParams["statement_timeout"],
			Lock: c.RuntimeParams["lock_timeout"], Path: c.RuntimeParams["search_path"],
			Connections: config.pool.MaxConns, Connect: c.ConnectTimeout,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", row.name, diff)
		}
	}
}

func TestParseTellsWhatIsWrongButNotThePassword(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, address, want string }{
		{"another scheme", "mysql://u:hunter2@h/db", "postgres://"},
		{"no URL", "host=h password=hunter2", "postgres://"},
		{"nothing", "", "postgres://"},
		{"an @ in the password", "postgres://u:x@hunter2@h/db", "%40"},
		{"a slash in the password", "postgres://u:1/hunter2@h/db", "%2F"},
		{"a question mark in the password", "postgres://u:1?hunter2=3@h/db", "%3F"},
		{"a percent sign in the password", "postgres://u:%hunter2@h/db", "%25"},
		{"a zero byte in the password", "postgres://u:hunter2%00@h/db", "%25"},
		{"an ampersand in the password parameter", "postgres://u@h/db?password=x&hunter2", "%26"},
		{"a password in place of the port", "postgres://u:hunter2/db", "invalid port"},
		{"a port that is none", "postgres://u:hunter2@h:99999/db", "invalid port"},
		{"an sslmode that is none", "postgres://u:hunter2@h/db?sslmode=yes", "sslmode"},
		{"a file that is missing", "postgres://u:hunter2@h/db?sslmode=verify-full&sslrootcert=/no/such/file", "/no/such/file"},
		{"no connections", "postgres://u:hunter2@h/db?pool_max_conns=0", "pool_max_conns"},
		{"a time that is none", "postgres://u:hunter2@h/db?connect_timeout=soon", "connect_timeout"},
	} {
		_, err := Parse(row.address)
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %q, want one that contains %q", row.name, err, row.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("u", "", "", "h/db")
	f.Add("u:", "/", "@", "@h/db?sslmode=x")
	f.Add("", "?a=", "&b", "h?password=x")
	f.Add("u:%", "%zz", "`: ", "@[::1]:5432,h/db?pool_max_conns=-1")
	f.Fuzz(func(t *testing.T, before, in, after, rest string) {
		const secret = "hunter2"
		// Where the password belongs, whatever is in it.
		for _, address := range []string{
			"postgres://" + before + ":" + in + secret + after + "@" + rest,
			"postgres://" + before + "@" + rest + "?password=" + in + secret + after,
		} {
			config, err := Parse(address)
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("Parse(%q): %v", address, err)
			}
			if err == nil && strings.Contains(fmt.Sprintf("%v %+v", config, config), secret) {
				t.Errorf("Parse(%q) prints the password", address)
			}
		}
	})
}
