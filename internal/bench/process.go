package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long a server may take to start, on a busy machine.
const patience = 60 * time.Second

// process is a server under measurement.
type process struct {
	name    string
	command *exec.Cmd
	log     string // file of its output
	ended   chan struct{}
}

// launch starts a program with an empty environment but for PATH's default, so that no
// setting of the caller's takes part. Its output goes to a file, as a service's does.
func launch(dir, name, program string, args ...string) (*process, error) {
	p := &process{name: name, command: exec.Command(program, args...), log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.command.Stdout, p.command.Stderr, p.command.Dir = out, out, dir
	p.command.Env = []string{"HOME=" + dir}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// ready waits until url answers at all.
func (p *process) ready(ctx context.Context, url string) error {
	client := &http.Client{Timeout: time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for deadline := time.Now().Add(patience); ; {
		res, err := client.Get(url)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode < http.StatusInternalServerError {
				return nil
			}
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended at its start:\n%s", p.name, p.tail())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not serve: %v\n%s", p.name, err, p.tail())
		}
	}
}

func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// stop ends the process in its orderly way, and hard when that takes too long.
func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(15 * time.Second):
		_ = p.command.Process.Kill()
		<-p.ended
	}
}

// usage is what a process has taken so far.
type usage struct {
	cpu time.Duration // user and system
	rss int64         // bytes
}

// cpuSource says where usage comes from, for the reader of the figures.
func cpuSource() string {
	if _, err := os.Stat("/proc/self/stat"); err == nil {
		return "utime+stime of /proc/PID/stat"
	}
	return "ps -o time, in steps of 10 ms"
}

// used reads the CPU time and the resident memory of the process.
func (p *process) used() (usage, error) {
	if u, err := fromProc(p.command.Process.Pid); err == nil {
		return u, nil
	}
	return fromPS(p.command.Process.Pid)
}

// fromProc reads /proc as proc(5) describes it. A tick is 10 ms on every Linux that Go
// runs on.
func fromProc(pid int) (u usage, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return u, err
	}
	_, rest, ok := strings.Cut(string(text), ") ") // the name may hold anything else
	fields := strings.Fields(rest)
	if !ok || len(fields) < 22 {
		return u, errors.New("/proc/PID/stat is not as expected")
	}
	number := func(i int) int64 { n, _ := strconv.ParseInt(fields[i], 10, 64); return n }
	u.cpu = time.Duration(number(11)+number(12)) * 10 * time.Millisecond
	u.rss = number(21) * int64(os.Getpagesize())
	return u, nil
}

// fromPS is for macOS: [[dd-]hh:]mm:ss.ff and KiB.
func fromPS(pid int) (u usage, err error) {
	out, err := exec.Command("ps", "-o", "time=,rss=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return u, fmt.Errorf("neither /proc nor ps tells the CPU time: %w", err)
	}
	fields := strings.Fields(string(out))
	if len(fields) != 2 {
		return u, errors.New("ps answers in another form than expected")
	}
	seconds := 0.0
	for part := range strings.SplitSeq(fields[0], ":") {
		n, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return u, fmt.Errorf("ps: %w", err)
		}
		seconds = seconds*60 + n
	}
	kib, err := strconv.ParseInt(fields[1], 10, 64)
	return usage{time.Duration(seconds * float64(time.Second)), kib << 10}, err
}

// addresses gives out loopback addresses, each once.
type addresses map[string]bool

// free is one that nobody listens on now, and none that the system gives to outgoing
// connections, of which a load has many.
func (given addresses) free() (string, error) {
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000)))
		if given[address] {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			given[address] = true
			return address, l.Close()
		}
	}
	return "", errors.New("no port is free")
}
