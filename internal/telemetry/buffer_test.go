package telemetry_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/telemetry"
)

// counted is a log file that counts what is written to it.
type counted struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
}

func (c *counted) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	return c.text.Write(p)
}

func (c *counted) state() (text string, writes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String(), c.writes
}

func TestLinesAreWrittenTogetherWithinATenthOfASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out counted
		b := telemetry.NewBuffer(&out)
		defer b.Close()
		for round := range 3 { // the timer is set anew each time
			for i := range 100 {
				_, _ = fmt.Fprintf(b, "%d.%d\n", round, i)
			}
			time.Sleep(99 * time.Millisecond)
			if _, writes := out.state(); writes != round {
				t.Fatalf("round %d: %d writes before the time", round, writes)
			}
			time.Sleep(2 * time.Millisecond)
			text, writes := out.state()
			if writes != round+1 || strings.Count(text, "\n") != 100*(round+1) || !strings.HasSuffix(text, fmt.Sprintf("%d.99\n", round)) {
				t.Fatalf("round %d: %d writes, %d lines", round, writes, strings.Count(text, "\n"))
			}
		}
	})
}

func TestWarningsAreWrittenAtOnceWithAllBeforeThem(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		level slog.Level
		lines int
	}{{slog.LevelInfo, 0}, {slog.LevelWarn, 2}, {slog.LevelError, 2}} {
		synctest.Test(t, func(t *testing.T) {
			var out counted
			b := telemetry.NewBuffer(&out)
			defer b.Close()
			l := telemetry.New(b, telemetry.Options{Format: "json"}).With("a", 1).WithGroup("g")
			l.Info("first")
			l.Log(t.Context(), row.level, "second")
			if text, _ := out.state(); strings.Count(text, "\n") != row.lines {
				t.Errorf("%v: %q is written", row.level, text)
			}
		})
	}
}

func TestNothingIsLostOrTornAtTheEnd(t *testing.T) {
	t.Parallel()
	var out counted
	b := telemetry.NewBuffer(&out)
	line := strings.Repeat("x", 1000) + "\n" // 2,000 of them fill the buffer many times
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 500 {
				if n, err := io.WriteString(b, line); n != 1001 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			}
		})
	}
	writers.Wait()
	b.Close()
	text, writes := out.state()
	if text != strings.Repeat(line, 2000) || writes < 5 || writes > 200 {
		t.Errorf("%d bytes in %d writes", len(text), writes)
	}
	_, _ = io.WriteString(b, "after the end\n")
	if text, _ := out.state(); !strings.HasSuffix(text, "after the end\n") {
		t.Error("a line after Close is lost")
	}
}

func TestAHangingLogHoldsItsWritersBackAndIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		var out counted
		b := telemetry.NewBuffer(writerFunc(func(p []byte) (int, error) { <-hang; return out.Write(p) }))
		written := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 2000 {
				_, _ = b.Write(make([]byte, 1000))
				written += 1000
			}
		}()
		synctest.Wait()
		if written > 600_000 {
			t.Errorf("%d bytes wait", written)
		}
		close(hang)
		<-done
		b.Close()
		if text, _ := out.state(); len(text) != 2_000_000 {
			t.Errorf("%d bytes came out", len(text))
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
