package backing

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestNothingIsLeftAfterCleanup(t *testing.T) {
	t.Parallel()
	var pids []int
	var dirs []string
	t.Run("with servers", func(t *testing.T) {
		redis, postgres, killed := Redis(t, RedisOptions{}), Postgres(t), Postgres(t)
		for _, s := range []*server{redis.server, postgres.server, killed.server} {
			below, err := children(s.PID())
			if err != nil {
				t.Fatal(err)
			}
			pids = append(append(pids, s.PID()), below...)
			dirs = append(dirs, s.dir)
		}
		killed.Kill()
	})
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
}

// TestServersDieWithTheTestBinary runs this binary a second time and kills it.
func TestServersDieWithTheTestBinary(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux promises it")
	}
	temporary := tempDir(t)
	if err := os.Chmod(temporary, 0o711); err != nil { // for PostgreSQL's user
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestServersUntilKilled$")
	child.Env = append(os.Environ(), "GENKAN_BACKING_CHILD=1", "TMPDIR="+temporary)
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var redis, postgres int
	var dir string
	_, scanned := fmt.Fscanln(stdout, &redis, &postgres, &dir)
	below, err := children(postgres)
	_ = child.Process.Kill()
	_ = child.Wait()
	if err := errors.Join(scanned, err); err != nil {
		t.Fatal(err)
	}
	for _, pid := range append(below, redis, postgres) {
		await(t, fmt.Sprintf("process %d ends", pid), func() error {
			if alive(pid) {
				return errors.New("it lives")
			}
			return nil
		})
	}
	// In a container nobody may collect the dead, and PostgreSQL takes a zombie for alive.
	if err := os.Remove(filepath.Join(dir, "data", "postmaster.pid")); err != nil {
		t.Error(err)
	}
	orphan := &PostgresServer{server: &server{dir: dir}, bin: postgresPrograms(t), owner: postgresUser(t)}
	if err := orphan.release(); err != nil {
		t.Error(err)
	}
}

func TestServersUntilKilled(t *testing.T) {
	if os.Getenv("GENKAN_BACKING_CHILD") == "" {
		t.Skip("this is for the test above")
	}
	redis, postgres := Redis(t, RedisOptions{}), Postgres(t)
	fmt.Println(redis.PID(), postgres.PID(), postgres.dir)
	select {}
}

func TestAServerThatDoesNotComeUpShowsItsLog(t *testing.T) {
	t.Parallel()
	s := Redis(t, RedisOptions{})
	s.Stop()
	file := filepath.Join(s.dir, "redis.conf")
	if err := os.WriteFile(file, []byte("no-such-directive 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.start(); err == nil || !strings.Contains(err.Error(), "no-such-directive") {
		t.Errorf("the error is %v", err)
	}
}

func TestTakenPortIsRecognised(t *testing.T) {
	t.Parallel()
	taken := Redis(t, RedisOptions{})
	redis := Redis(t, RedisOptions{})
	redis.Stop()
	if err := os.WriteFile(filepath.Join(redis.dir, "redis.conf"), []byte("bind 127.0.0.1\nport "+taken.portText()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := redis.start(); !errors.Is(err, errTaken) {
		t.Errorf("Redis: %v", err)
	}
	postgres := Postgres(t)
	postgres.Stop()
	postgres.command = func() *exec.Cmd { return postgres.postgres(taken.port) }
	if err := postgres.start(); !errors.Is(err, errTaken) {
		t.Errorf("PostgreSQL: %v", err)
	}
}
