package backing

import (
	"crypto/tls"
	"strings"
	"testing"
)

func TestRedisKeepsDataWhenKilledAndWhenStopped(t *testing.T) {
	t.Parallel()
	s := Redis(t, RedisOptions{})
	for name, end := range map[string]func(){"kill": s.Kill, "stop": s.Stop} {
		s.CLI("set", name, "here")
		before := s.PID()
		end()
		if alive(before) || s.PID() != 0 {
			t.Fatalf("%s: process %d lives on", name, before)
		}
		s.Start()
		if got := s.CLI("get", name); got != "here" {
			t.Errorf("%s: the value is %q after the start", name, got)
		}
		if s.PID() == before {
			t.Errorf("%s: process %d again", name, before)
		}
	}
}

func TestRedisTakesMoreConfiguration(t *testing.T) {
	t.Parallel()
	s := Redis(t, RedisOptions{Config: []string{"appendfsync always", "maxmemory 10mb"}})
	for name, want := range map[string]string{"appendfsync": "always", "maxmemory": "10485760", "appendonly": "yes"} {
		if got := s.CLI("config", "get", name); got != name+"\n"+want {
			t.Errorf("config get answers %q", got)
		}
	}
}

func TestRedisSpeaksOnlyTLS(t *testing.T) {
	t.Parallel()
	s := Redis(t, RedisOptions{TLS: true})
	if got := s.CLI("ping"); got != "PONG" {
		t.Errorf("ping: %q", got)
	}
	if _, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile); err != nil {
		t.Error(err)
	}
	plain := &RedisServer{server: s.server, port: s.port, client: s.client}
	if answer, err := plain.cli("ping"); err == nil {
		t.Errorf("without TLS the answer is %q", answer)
	}
}

func TestRedisHoldsItsUserToTheRules(t *testing.T) {
	t.Parallel()
	s := Redis(t, RedisOptions{ACL: &ACL{User: "genkan", Password: "correct-horse", Rules: "~genkan:* +get +set"}})
	rows := []struct {
		name, user, password, key, want string
	}{
		{"own key", "genkan", "correct-horse", "genkan:1", "OK"},
		{"another key", "genkan", "correct-horse", "other:1", "NOPERM"},
		{"wrong password", "genkan", "wrong", "genkan:1", "WRONGPASS"},
		{"default user without password", "default", "", "genkan:1", "WRONGPASS"},
	}
	for _, row := range rows {
		got, err := s.as(row.user, row.password, "set", row.key, "x")
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, row.want) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
	if got := s.CLI("acl", "whoami"); got != "default" {
		t.Errorf("CLI is %q", got)
	}
}

func (s *RedisServer) as(user, password string, args ...string) (string, error) {
	return (&RedisServer{server: s.server, port: s.port, client: s.client, admin: "x"}).cli(append([]string{"--user", user, "--pass", password, "--no-auth-warning"}, args...)...)
}
