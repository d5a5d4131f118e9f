package backing

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is one program that is started, ended and started again on the same data.
type server struct {
	t       testing.TB
	dir     string           // its data and its log
	command func() *exec.Cmd // a new one for each start
	ready   func() error     // nil as soon as it does its work
	stop    syscall.Signal   // asks for an orderly end

	mu      sync.Mutex
	process *process // nil while it is down
}

// process is one life of a server.
type process struct {
	*os.Process
	ended chan struct{}
}

var errTaken = errors.New("the port is taken")

// PID is the process that serves now, 0 while the server is down.
func (s *server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.Pid
}

// Start brings a server that was killed or stopped up again, on its port and its data,
// and waits until it serves.
func (s *server) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends the server and its children at once, as kill -9 and the kernel's
// out-of-memory killer do, and returns when they are gone.
func (s *server) Kill() {
	s.t.Helper()
	s.end(syscall.SIGKILL)
}

// Stop ends the server in its orderly way and returns when it is gone.
func (s *server) Stop() {
	s.t.Helper()
	s.end(s.stop)
}

func (s *server) start() error {
	if s.PID() != 0 {
		return errors.New("the server is up already")
	}
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command()
	cmd.Stdout, cmd.Stderr = log, log
	p, err := launch(cmd)
	if err != nil {
		return err
	}
	if err := s.awaitReady(p); err != nil {
		_ = p.kill()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
	return nil
}

func (s *server) awaitReady(p *process) error {
	deadline := time.Now().Add(patience)
	for {
		err := s.ready()
		select {
		case <-p.ended:
			tail := s.tail()
			if strings.Contains(tail, "Address already in use") {
				return errTaken
			}
			return fmt.Errorf("the server ended at its start; its log ends with:\n%s", tail)
		default:
		}
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not serve: %w; its log ends with:\n%s", err, s.tail())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// end fails the test when the server was not up: then it has crashed, or the test does
// not test what it believes.
func (s *server) end(with syscall.Signal) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.process
	s.process = nil
	if p == nil {
		s.t.Fatal("the server is down already")
	}
	select {
	case <-p.ended:
		s.t.Fatalf("the server has ended by itself; its log ends with:\n%s", s.tail())
	default:
	}
	if err := p.end(with); err != nil {
		s.t.Fatalf("%v; the log ends with:\n%s", err, s.tail())
	}
}

func (s *server) log() string { return filepath.Join(s.dir, "log") }

func (s *server) tail() string {
	const most = 3000
	log, err := os.ReadFile(s.log())
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-most):])
}

func (p *process) end(with syscall.Signal) error {
	if with == syscall.SIGKILL {
		return p.kill()
	}
	if err := p.Signal(with); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("%v did not end the server", with), p.kill())
	}
}

// kill stops the process first: else it could answer the death of a child, or have
// another one. It waits for the children too, since PostgreSQL starts again only when
// nobody is left who has its memory.
func (p *process) kill() error {
	if err := p.Signal(syscall.SIGSTOP); errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	below, err := children(p.Pid)
	if err != nil {
		return errors.Join(err, p.Process.Kill())
	}
	_ = p.Process.Kill()
	for _, child := range below {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	<-p.ended
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		below = slices.DeleteFunc(below, func(pid int) bool { return !alive(pid) })
		if len(below) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v survive kill -9", below)
		}
	}
}

// launches gives functions to the one thread that starts all servers. Linux ends a
// process with the thread that has started it (PR_SET_PDEATHSIG), so this thread has to
// live as long as the test binary, and is the only state of the package.
var launches = sync.OnceValue(func() chan<- func() {
	queue := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range queue {
			start()
		}
	}()
	return queue
})

// launch starts cmd so that it cannot outlive the test binary, where the system can
// promise that; elsewhere the test's cleanup has to do.
func launch(cmd *exec.Cmd) (*process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	dieWithUs(cmd.SysProcAttr)
	started := make(chan error)
	launches() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &process{Process: cmd.Process, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait()
	}()
	return p, nil
}
