package backing

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// RedisOptions says what is special about a server; the zero value is one without TLS,
// users and passwords.
type RedisOptions struct {
	// Config are more lines for redis.conf. They come last, so they win.
	Config []string
	// TLS closes the plain port. A client certificate may be shown, and need not.
	TLS bool
	// ACL adds a user; the default user then needs a password that only CLI knows.
	ACL *ACL
}

// ACL is a Redis user.
type ACL struct {
	User, Password string
	// Rules as in ACL SETUSER, for example "~genkan:* +@all -@dangerous".
	Rules string
}

// RedisServer is a Redis or Valkey server of the test's own. Every write that it has
// answered is in its file, so Kill and Start lose none.
type RedisServer struct {
	*server
	// Addr is host and port.
	Addr string
	// CAFile has signed the certificate of the server and the one in CertFile and
	// KeyFile, which a client may use. All are empty without TLS.
	CAFile, CertFile, KeyFile string

	port   int
	client string // redis-cli
	admin  string // password of the default user
}

// Redis starts a server in a directory of its own and on a free port. It skips the test,
// or fails it when GENKAN_TEST_SERVERS is "required", if there is no such program.
func Redis(t testing.TB, o RedisOptions) *RedisServer {
	t.Helper()
	s := &RedisServer{}
	dir := tempDir(t)
	if o.TLS {
		s.CAFile, s.CertFile, s.KeyFile = certificates(t, dir)
	}
	if o.ACL != nil {
		s.admin = rand.Text()
	}
	s.launch(t, dir, func() []string { return s.config(o) })
	return s
}

// config appends to a file and leaves fsync to the system: a killed process loses
// nothing by that, only a machine without power does. With "everysec" Redis may hold an
// answered write back for two seconds while the disk is busy, and lose it when killed.
func (s *RedisServer) config(o RedisOptions) []string {
	lines := []string{
		"appendonly yes", "appendfsync no", `save ""`,
		"repl-diskless-sync-delay 0", // default: 5 s for more replicas to come
	}
	if o.TLS {
		lines = append(lines, "port 0", "tls-port "+s.portText(), "tls-auth-clients optional",
			"tls-ca-cert-file "+s.CAFile, "tls-cert-file "+s.CertFile, "tls-key-file "+s.KeyFile)
	} else {
		lines = append(lines, "port "+s.portText())
	}
	if o.ACL != nil {
		lines = append(lines, "requirepass "+s.admin,
			fmt.Sprintf("user %s on >%s %s", o.ACL.User, o.ACL.Password, o.ACL.Rules))
	}
	return append(lines, o.Config...)
}

// launch starts the program with the configuration that config makes for s.port, and
// takes another port when somebody was faster. The file is written once: Redis
// Sentinel and the servers under it keep their roles there.
func (s *RedisServer) launch(t testing.TB, dir string, config func() []string, args ...string) {
	t.Helper()
	program, client := redisPrograms(t)
	s.client = client
	file := filepath.Join(dir, "redis.conf")
	s.server = &server{
		t: t, dir: dir, stop: syscall.SIGTERM,
		command: func() *exec.Cmd { return exec.Command(program, append([]string{file}, args...)...) },
		ready: func() error {
			_, err := s.cli("ping")
			return err
		},
	}
	t.Cleanup(func() {
		if s.PID() != 0 {
			s.Kill()
		}
	})
	for range 5 {
		s.port = freePort(t)
		s.Addr = loopback(s.port)
		lines := append([]string{"bind 127.0.0.1", "dir " + dir, "daemonize no"}, config()...)
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := s.start()
		if err == nil {
			return
		}
		if !errors.Is(err, errTaken) {
			t.Fatal(err)
		}
	}
	t.Fatal(errTaken)
}

// AwaitSync waits until the server is a replica that has all that its master has. A
// fail-over before that would bring back what it had when it was stopped.
func (s *RedisServer) AwaitSync() {
	s.t.Helper()
	await(s.t, s.Addr+" has what its master has", func() error { return answers(s, 1, "master_link_status:up", "info", "replication") })
}

// CLI runs a command as the user who may do everything, by redis-cli, and returns its
// answer as redis-cli prints it into a pipe. An error answer fails the test.
func (s *RedisServer) CLI(args ...string) string {
	s.t.Helper()
	answer, err := s.cli(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer
}

func (s *RedisServer) cli(args ...string) (string, error) {
	return output(func(ctx context.Context) *exec.Cmd {
		all := []string{"-e", "-h", "127.0.0.1", "-p", s.portText()}
		if s.CAFile != "" {
			all = append(all, "--tls", "--cacert", s.CAFile)
		}
		cmd := exec.CommandContext(ctx, s.client, append(all, args...)...)
		cmd.Env = []string{"LC_ALL=C", "HOME=" + s.dir}
		if s.admin != "" {
			cmd.Env = append(cmd.Env, "REDISCLI_AUTH="+s.admin)
		}
		return cmd
	})
}

// redisPrograms finds a server and its client.
func redisPrograms(t testing.TB) (server, client string) {
	t.Helper()
	for _, family := range []string{"redis-", "valkey-"} {
		server, err1 := exec.LookPath(family + "server")
		client, err2 := exec.LookPath(family + "cli")
		if err1 == nil && err2 == nil && majorVersion(server) >= 7 {
			return server, client
		}
	}
	missing(t, "Redis 7 or newer, or Valkey,", "on Debian or Ubuntu install redis-server, on macOS: brew install redis")
	return "", ""
}

func (s *RedisServer) portText() string { return strconv.Itoa(s.port) }
