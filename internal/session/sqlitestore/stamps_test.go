package sqlitestore

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"genkan/internal/session"
)

// obey is a process that does what it is told, line by line, with the counter.
func obey(ctx context.Context, store *Store) error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		key := counter().Key
		switch order := lines.Text(); order {
		case "stamp":
			fmt.Println(store.Stamp(key))
			continue
		case "begin": // a write that comes no further
			store.stamps.change(key)
		case "delete":
			if err := store.Delete(ctx, key, 0); err != nil {
				return err
			}
		case "insert":
			if _, err := store.Save(ctx, counter()); err != nil {
				return err
			}
		}
		fmt.Println("done")
	}
	return store.Close()
}

// tell gives an order and returns the answer.
func (p *process) tell(t *testing.T, order string) string {
	t.Helper()
	fmt.Fprintln(p.in, order)
	answer, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", order, err)
	}
	return strings.TrimSpace(answer)
}

func wantStamp(t *testing.T, store *Store, want uint64, trusted bool) {
	t.Helper()
	if stamp, ok := store.Stamp(counter().Key); ok != trusted || trusted && stamp != want {
		t.Errorf("stamp %d, %v; want %d, %v", stamp, ok, want, trusted)
	}
}

func TestAWriteOfAnotherProcessChangesTheStampAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	store := open(t, path, time.Now)
	other := start(t, "obey", path)
	if got := other.tell(t, "stamp"); got != "0 true" {
		t.Errorf("the other process has stamp %s", got)
	}
	wantStamp(t, store, 0, true)
	other.tell(t, "insert")
	wantStamp(t, store, 1, true)
	other.tell(t, "delete")
	wantStamp(t, store, 2, true)
	if err := store.Delete(t.Context(), counter().Key, 0); err != nil {
		t.Fatal(err)
	}
	if got := other.tell(t, "stamp"); got != "3 true" {
		t.Errorf("after a write here the other process has stamp %s", got)
	}
	other.kill(t)
	wantStamp(t, store, 3, true)
}

// Nobody can tell whether a write that was killed has happened. The next to find
// itself alone starts anew: nobody is left who has loaded anything.
func TestAProcessKilledInAWriteLeavesItsStampUntrusted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	store := open(t, path, time.Now)
	other := start(t, "obey", path)
	other.tell(t, "begin")
	wantStamp(t, store, 0, false)
	other.kill(t)
	wantStamp(t, store, 0, false)
	if _, err := store.Save(t.Context(), counter()); err != nil {
		t.Fatal(err)
	}
	wantStamp(t, store, 0, false)
	wantStamp(t, again(t, store), 0, false)
	if _, ok := store.Stamp(session.Key{2}); !ok {
		t.Error("the stamps of other rows are not trusted either")
	}

	third := start(t, "obey", path)
	if got := third.tell(t, "stamp"); !strings.HasSuffix(got, "false") {
		t.Errorf("who has come later has stamp %s", got)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	third.kill(t)
}

// This test runs alone: a process that another test is just starting holds copies of all
// open files, and with them their locks, so the one who was closed would still be there.
func TestStampsStartAnewWhenNobodyElseIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	killed := start(t, "obey", path)
	killed.tell(t, "insert")
	killed.tell(t, "begin")
	killed.kill(t)
	for range 2 { // the second finds what an orderly end left
		store := open(t, path, time.Now)
		wantStamp(t, store, 0, true)
		saveOne(t, store)
		wantHealthyStamps(t, path, store)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, content := range []string{"", "short", strings.Repeat("x", 1<<20)} {
		if err := os.WriteFile(path+"-stamps", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		store := open(t, path, time.Now)
		wantStamp(t, store, 0, true)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// wantHealthyStamps asserts that the file has all its blocks: a disk that is full when
// a hole must be filled kills the process.
func wantHealthyStamps(t *testing.T, path string, store *Store) {
	t.Helper()
	info, err := store.stamps.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if blocks := info.Sys().(*syscall.Stat_t).Blocks; info.Size() != 524288 || blocks*512 < 524288 {
		t.Errorf("%s-stamps: %d bytes, %d blocks", path, info.Size(), blocks)
	}
}

func TestAStampIsNotTrustedWhileAWriteIsUnderWay(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	store, other := open(t, path, time.Now), open(t, path, time.Now)
	lock, err := other.write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	saved := make(chan error)
	go func() {
		_, err := store.Save(t.Context(), counter())
		saved <- err
	}()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, ok := other.Stamp(counter().Key); !ok {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the stamp is trusted")
		}
	}
	wantStamp(t, store, 0, false)
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-saved; err != nil {
		t.Fatal(err)
	}
	wantStamp(t, store, 1, true)
	wantStamp(t, other, 1, true)
}

func TestTouchLeavesTheStamp(t *testing.T) {
	t.Parallel()
	store := open(t, filepath.Join(t.TempDir(), "sessions.db"), time.Now)
	row := counter()
	if _, err := store.Save(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	if err := store.Touch(t.Context(), []session.Activity{{Key: row.Key, Seen: row.Seen.Add(time.Minute), Idle: row.Idle.Add(time.Minute)}}); err != nil {
		t.Fatal(err)
	}
	wantStamp(t, store, 1, true)
}

func TestALinkIsTheSameFile(t *testing.T) {
	t.Parallel()
	path, link := filepath.Join(t.TempDir(), "sessions.db"), filepath.Join(t.TempDir(), "link.db")
	store := open(t, path, time.Now)
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, link, time.Now).Save(t.Context(), counter()); err != nil {
		t.Fatal(err)
	}
	wantStamp(t, store, 1, true)
}

// A file cut short in use cannot be trusted, and touching what is missing of it would
// kill the process.
func TestOpenRefusesStampsThatAreCutShortInUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	file, err := os.Create(path + "-stamps")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	wantOpenError(t, path, "stamps: 0 bytes, want 524288")
}

func TestOpenWaitsForStampsThatAreMadeAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	file, err := os.Create(path + "-stamps")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, path, time.Now); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("Open under the other's lock: %v", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	wantStamp(t, open(t, path, time.Now), 0, true)
}

// What is mapped into memory must not be touched once it is gone.
func TestCloseAtTheTimeOfOtherCalls(t *testing.T) {
	t.Parallel()
	for range 20 {
		store := open(t, filepath.Join(t.TempDir(), "sessions.db"), time.Now)
		var wait sync.WaitGroup
		for i := range 4 {
			wait.Go(func() {
				row := counter()
				row.Key[31] = byte(i)
				for {
					store.Stamp(row.Key)
					version, err := store.Save(t.Context(), row)
					if err != nil {
						return
					}
					row.Version = version
				}
			})
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		wait.Wait()
		wantStamp(t, store, 0, false)
	}
}

func TestSweepForgetsTagsWithTheirRowsAndLeasesAfterTenMinutes(t *testing.T) {
	t.Parallel()
	now := time.Now()
	store := open(t, filepath.Join(t.TempDir(), "sessions.db"), func() time.Time { return now })
	row := newRow()
	row.Tags = []session.Tag{{1}, {2}}
	if _, err := store.Save(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	for i := range byte(3) {
		if _, err := store.Lease(t.Context(), session.Key{i}, session.Owner{1}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		after               time.Duration
		limit, tags, leases int
	}{
		{time.Hour - time.Second, 10, 2, 3},
		{time.Hour, 10, 0, 3},
		{70*time.Minute - time.Second, 10, 0, 3},
		{70 * time.Minute, 0, 0, 3},
		{70 * time.Minute, 2, 0, 1},
		{70 * time.Minute, 2, 0, 0},
	} {
		now = row.Seen.Add(step.after)
		if _, err := store.Sweep(t.Context(), step.limit); err != nil {
			t.Fatal(err)
		}
		wantCount(t, store, "FROM session_tag", step.tags)
		wantCount(t, store, "FROM lease", step.leases)
	}
}
