// Package backing starts the servers that Genkan stores sessions in, so that tests meet
// the real Redis (or Valkey) and PostgreSQL: killed, restarted, failed over, resharded.
//
// It owns their processes, ports and files, all of which end with the test; it speaks
// to the servers by their own programs (redis-cli, psql) and knows nothing of what is
// stored. Only tests import it. Everything listens on 127.0.0.1 alone. Its methods fail
// the test themselves, so call them from the test's goroutine.
package backing

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is how long anything may take here, on a busy machine with a slow disk.
const patience = 60 * time.Second

// missing skips the test for want of a program, or fails it where scripts/test has
// promised that the programs are there.
func missing(t testing.TB, what, install string) {
	t.Helper()
	if os.Getenv("GENKAN_TEST_SERVERS") == "required" {
		t.Fatalf("%s was not found: %s", what, install)
	}
	t.Skipf("%s was not found: %s", what, install)
}

// tempDir is not t.TempDir, whose parents another user may not enter.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "genkan-backing-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// freePort finds a port that is free, and free again at port+10000, where a node of a
// Redis Cluster talks to its peers. It stays below the ports that systems give to
// outgoing connections: one of those could take the port of a server that is down, and
// a client that tries to reconnect would sooner or later connect to itself.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10240 + rand.IntN(12000)
		if canListen(port) && canListen(port+10000) {
			return port
		}
	}
	t.Fatal("no free port was found")
	return 0
}

func canListen(port int) bool {
	l, err := net.Listen("tcp", loopback(port))
	return err == nil && l.Close() == nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// await polls until check returns nil, and fails the test when patience is over.
func await(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting until %s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// output runs a program to its end and returns what it wrote to standard output,
// without the white space around it.
func output(prepare func(ctx context.Context) *exec.Cmd) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := prepare(ctx)
	out, err := cmd.Output()
	text := strings.TrimSpace(string(out))
	if err == nil {
		return text, nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s%s", err, text, exit.Stderr)
	}
	return "", fmt.Errorf("%s: %w", cmd.Path, err)
}

// majorVersion is the first number that a server prints about itself, 0 if it does not.
func majorVersion(program string) int {
	answer, err := output(func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, program, "--version") })
	if err != nil {
		return 0
	}
	version, err := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(answer))
	if err != nil {
		return 0
	}
	return version
}
