package backing

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
)

// PostgresServer is a PostgreSQL server of the test's own, with PostgreSQL's default
// settings for durability.
type PostgresServer struct {
	*server
	// Addr is host and port.
	Addr string

	bin       string // the folder of its programs
	owner     *syscall.Credential
	password  string // of all its users
	databases atomic.Int64
}

// Postgres starts a server with a cluster of its own on a free port; as root it runs as
// the user postgres, since PostgreSQL refuses root. It skips the test, or fails it when
// GENKAN_TEST_SERVERS is "required", if PostgreSQL 14 or newer is not there. It takes a
// second, so let subtests share one and give each its own URL.
func Postgres(t testing.TB) *PostgresServer {
	t.Helper()
	s := &PostgresServer{bin: postgresPrograms(t), owner: postgresUser(t), password: rand.Text()}
	s.server = &server{t: t, dir: tempDir(t), stop: syscall.SIGINT}
	s.initialize()
	s.ready = func() error {
		_, err := s.sql("SELECT 1")
		return err
	}
	t.Cleanup(s.cleanUp)
	for range 5 {
		port := freePort(t)
		s.Addr = loopback(port)
		s.command = func() *exec.Cmd { return s.postgres(port) }
		err := s.start()
		if err == nil {
			break
		}
		if !errors.Is(err, errTaken) {
			t.Fatal(err)
		}
	}
	// A store has to do without a superuser, so no test gets one.
	if _, err := s.sql(fmt.Sprintf("CREATE ROLE genkan LOGIN PASSWORD '%s'", s.password)); err != nil {
		t.Fatal(err)
	}
	return s
}

// initialize makes the cluster. It leaves it to the system when that reaches the disk:
// nothing here outlives a failure of power.
func (s *PostgresServer) initialize() {
	s.t.Helper()
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(s.password), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if s.owner != nil {
		for _, path := range []string{s.dir, secret} {
			if err := os.Chown(path, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	_, err := output(func(ctx context.Context) *exec.Cmd {
		return s.program(ctx, "initdb", "--no-sync", "--username=postgres", "--auth=scram-sha-256",
			"--pwfile="+secret, "--encoding=UTF8", "--locale=C", "--pgdata="+s.data())
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *PostgresServer) data() string { return filepath.Join(s.dir, "data") }

func (s *PostgresServer) postgres(port int) *exec.Cmd {
	return s.program(context.Background(), "postgres", "-D", s.data(), "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+s.dir, "-c", "max_connections=200",
		"-c", "dynamic_shared_memory_type=mmap") // in s.dir, so a kill leaves nothing in /dev/shm
}

// program runs as the server's user and without the PG* variables of the environment.
func (s *PostgresServer) program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "HOME=" + s.dir, "PATH=" + os.Getenv("PATH"), "PGPASSWORD=" + s.password}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	return cmd
}

// sql runs one statement as the superuser, by psql.
func (s *PostgresServer) sql(statement string) (string, error) {
	return s.query(s.url("postgres", "postgres"), statement)
}

func (s *PostgresServer) query(dbURL, statement string) (string, error) {
	return output(func(ctx context.Context) *exec.Cmd {
		return s.program(ctx, "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, dbURL)
	})
}

func (s *PostgresServer) url(role, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, s.password), Host: s.Addr, Path: "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// URL makes an empty database and returns its URL, password included, for a user who
// owns the database and is no superuser.
func (s *PostgresServer) URL() string {
	s.t.Helper()
	return s.NewDatabase(s.t)
}

// NewDatabase is URL for a subtest: t is the one that fails.
func (s *PostgresServer) NewDatabase(t testing.TB) string {
	t.Helper()
	name := "test" + strconv.FormatInt(s.databases.Add(1), 10)
	// From template0, as nobody else can be connected to it, which CREATE DATABASE demands.
	if _, err := s.sql("CREATE DATABASE " + name + " OWNER genkan TEMPLATE template0"); err != nil {
		t.Fatal(err)
	}
	return s.url("genkan", name)
}

// Dump returns everything in a database as SQL text, by pg_dump.
func (s *PostgresServer) Dump(dbURL string) []byte {
	s.t.Helper()
	dump, err := output(func(ctx context.Context) *exec.Cmd { return s.program(ctx, "pg_dump", "--dbname="+dbURL) })
	if err != nil {
		s.t.Fatal(err)
	}
	return []byte(dump)
}

func (s *PostgresServer) cleanUp() {
	if s.PID() == 0 {
		if err := s.release(); err != nil {
			s.t.Error(err)
		}
		return
	}
	s.end(syscall.SIGQUIT) // "immediate shutdown": the data are not needed any more
}

// release gives back the System V shared memory of a server that was killed, which only
// a later one on the same data can do, and of which macOS has little.
func (s *PostgresServer) release() error {
	_, err := output(func(ctx context.Context) *exec.Cmd {
		return s.program(ctx, "postgres", "--single", "-D", s.data(), "postgres")
	})
	return err
}

// postgresPrograms finds the newest PostgreSQL; Debian and Homebrew keep theirs outside PATH.
func postgresPrograms(t testing.TB) string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/postgres", "/opt/homebrew/opt/postgresql@*/bin/postgres", "/usr/local/opt/postgresql@*/bin/postgres"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, paths...)
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		found = append(found, path)
	}
	best, newest := "", 13
	for _, path := range found {
		if version := postgresVersion(path); version > newest {
			best, newest = filepath.Dir(path), version
		}
	}
	if best == "" {
		missing(t, "PostgreSQL 14 or newer", "on Debian or Ubuntu install postgresql, on macOS: brew install postgresql@17")
	}
	return best
}

// postgresVersion is the major version, 0 unless every program that is needed is there.
func postgresVersion(path string) int {
	for _, program := range []string{"initdb", "psql", "pg_dump"} {
		if _, err := exec.LookPath(filepath.Join(filepath.Dir(path), program)); err != nil {
			return 0
		}
	}
	return majorVersion(path)
}

// postgresUser is who the server runs as, nil for whoever runs the test.
func postgresUser(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		missing(t, "the user postgres, as whom PostgreSQL runs for root", "on Debian or Ubuntu install postgresql")
	}
	uid, err1 := strconv.ParseUint(account.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
