package sqlitestore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/session"
)

// TestMain is also the other process: the test binary, started with "child", a role
// and a path.
func TestMain(m *testing.M) {
	if len(os.Args) != 4 || os.Args[1] != "child" {
		os.Exit(m.Run())
	}
	if err := child(context.Background(), os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(ctx context.Context, role, path string) error {
	store, err := Open(ctx, path, time.Now)
	if err != nil {
		return err
	}
	switch role {
	case "write":
		return writeForever(ctx, store)
	case "obey":
		return obey(ctx, store)
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	return errors.Join(count(ctx, store), store.Close())
}

// process is another process and its pipes.
type process struct {
	*exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func start(t *testing.T, role, path string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0], "child", role, path)}
	p.Stderr = os.Stderr
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	return p
}

// kill is kill -9.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the other process ended with %v, want killed", err)
	}
}

// TestCommittedSessionsSurviveKill kills a writing process fifty times, each time at a
// random moment: what it has reported as written must be there, and what it has
// reported as deleted must not, in the file that it and its killed predecessors left.
func TestCommittedSessionsSurviveKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	all := map[session.Key]string{}
	for range 50 {
		after := 1 + rand.IntN(60)
		reported := killWriter(t, path, after)
		store := open(t, path, time.Now)
		wantIntegrity(t, store)
		wantReported(t, store, reported)
		saveOne(t, store)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("killed after %d reports", after)
		}
		maps.Copy(all, reported)
	}
	if len(all) < 200 {
		t.Errorf("only %d sessions were written", len(all))
	}
	store := open(t, path, time.Now)
	wantSound(t, store)
	wantReported(t, store, all)
}

// killWriter starts a writer, kills it after a number of reports, and returns the last
// report of each key, also of those that were still in the pipe.
func killWriter(t *testing.T, path string, after int) map[session.Key]string {
	t.Helper()
	writer := start(t, "write", path)
	reported := map[session.Key]string{}
	for n := 1; ; n++ {
		line, err := writer.out.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) || n <= after {
				t.Errorf("the writer ended after %d reports: %v", n, err)
			}
			break
		}
		name, state, _ := strings.Cut(strings.TrimSpace(line), " ")
		var key session.Key
		if _, err := hex.Decode(key[:], []byte(name)); err != nil {
			t.Fatalf("the writer said %q", line)
		}
		reported[key] = state
		if n == after {
			if err := writer.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := writer.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the writer ended with %v, want killed", err)
	}
	return reported
}

func wantReported(t *testing.T, store *Store, reported map[session.Key]string) {
	t.Helper()
	for key, state := range reported {
		if fault := checkReported(t.Context(), store, key, state); fault != "" {
			t.Errorf("reported %q, but %s", state, fault)
		}
		if _, ok := store.Stamp(key); !ok {
			t.Error("a stamp is not trusted after the restart")
		}
	}
}

func checkReported(ctx context.Context, store *Store, key session.Key, state string) (fault string) {
	row, err := store.Load(ctx, key)
	switch state {
	case "deleting":
		return "" // either is right
	case "deleted":
		if !errors.Is(err, session.ErrNone) {
			return fmt.Sprintf("it is there: %v", err)
		}
		return ""
	}
	version, _ := strconv.ParseUint(state, 10, 64)
	if err != nil || row.Version < version {
		return fmt.Sprintf("version %d, %v", row.Version, err)
	}
	if !bytes.Equal(row.Data, bytes.Repeat(key[:], 64)) {
		return "with other data"
	}
	found, err := store.Find(ctx, []session.Tag{session.Tag(key)}, 10)
	if err != nil || len(found) != 1 || found[0].Version != row.Version {
		return fmt.Sprintf("Find gives %d rows, %v", len(found), err)
	}
	return ""
}

// writeForever saves, replaces, touches and deletes sessions from four goroutines,
// and reports each step once it is done.
func writeForever(ctx context.Context, store *Store) error {
	fault := make(chan error)
	for range 4 {
		go func() {
			for {
				if err := writeOne(ctx, store); err != nil {
					fault <- err
				}
			}
		}()
	}
	return <-fault
}

func writeOne(ctx context.Context, store *Store) error {
	row := newRow()
	report := func(state any) { fmt.Printf("%x %v\n", row.Key, state) } // one write(2), so lines stay whole
	for i := range 1 + rand.IntN(3) {
		row.Tags = []session.Tag{session.Tag(row.Key), {31: byte(i)}}
		version, err := store.Save(ctx, row)
		if err != nil {
			return err
		}
		row.Version = version
		report(version)
	}
	if err := store.Touch(ctx, []session.Activity{{Key: row.Key, Seen: row.Seen, Idle: row.Idle.Add(time.Minute)}}); err != nil {
		return err
	}
	if rand.IntN(3) > 0 {
		return nil
	}
	report("deleting")
	if err := store.Delete(ctx, row.Key, 0); err != nil {
		return err
	}
	report("deleted")
	return nil
}

// TestTwoProcessesShareOneFile is a restart in which the old process still drains:
// neither may lose a change of the other.
func TestTwoProcessesShareOneFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	store := open(t, path, time.Now)
	if _, err := store.Save(t.Context(), counter()); err != nil {
		t.Fatal(err)
	}
	other := start(t, "count", path)
	if line, err := other.out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := count(t.Context(), store); err != nil {
			t.Error(err)
		}
	})
	fmt.Fprintln(other.in, "go")
	wait.Wait()
	if err := other.Wait(); err != nil {
		t.Fatalf("the other process: %v", err)
	}
	row, err := store.Load(t.Context(), counter().Key)
	if err != nil || row.Version != 201 || len(row.Data) != 200 {
		t.Errorf("version %d, counted %d, %v; want 201 and 200", row.Version, len(row.Data), err)
	}
	wantHealthy(t, store, 1)
}

func counter() session.Row {
	now := time.Now()
	return session.Row{Key: session.Key{1}, Seen: now, Idle: now.Add(time.Hour), Expires: now.Add(time.Hour)}
}

// count adds a byte to the counter's data a hundred times, as callers of a Store do:
// load, change, save, and again when somebody else was faster.
func count(ctx context.Context, store *Store) error {
	for done := 0; done < 100; {
		row, err := store.Load(ctx, counter().Key)
		if err != nil {
			return err
		}
		row.Data = append(row.Data, 'x')
		_, err = store.Save(ctx, row)
		switch {
		case err == nil:
			done++
		case !errors.Is(err, session.ErrConflict):
			return err
		}
	}
	return nil
}
