package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"genkan/internal/backing"
)

// missing is why a store is not measured.
type missing struct{ why string }

func (m *missing) Error() string { return m.why }

// host stands in for a test, which package backing wants: it starts real servers.
type host struct {
	testing.TB // never called: all that backing uses is below
	cleanups   []func()
	why        error
}

func (h *host) Helper()                   {}
func (h *host) Cleanup(f func())          { h.cleanups = append(h.cleanups, f) }
func (h *host) Error(args ...any)         { h.why = errors.Join(h.why, errors.New(fmt.Sprint(args...))) }
func (h *host) Errorf(f string, a ...any) { h.why = errors.Join(h.why, fmt.Errorf(f, a...)) }
func (h *host) Logf(string, ...any)       {}
func (h *host) Log(...any)                {}
func (h *host) Fatal(args ...any)         { h.Error(args...); runtime.Goexit() }
func (h *host) Fatalf(f string, a ...any) { h.Errorf(f, a...); runtime.Goexit() }
func (h *host) Skipf(f string, args ...any) {
	h.why = &missing{fmt.Sprintf(f, args...)}
	runtime.Goexit()
}

// start runs f, which ends its goroutine when it fails.
func (h *host) start(f func() string) (address string, err error) {
	done := make(chan struct{})
	h.why = nil
	go func() {
		defer close(done)
		address = f()
	}()
	<-done
	return address, h.why
}

// close ends what was started, the latest first.
func (h *host) close() {
	for _, end := range slices.Backward(h.cleanups) {
		_, _ = h.start(func() string { end(); return "" })
	}
}

// storeNames are the values of --stores.
var storeNames = []string{"memory", "sqlite", "redis", "postgres"}

// store makes an empty one and returns its address as session.store has it. The error is
// a *missing when this machine lacks the server.
func (r *rig) store(name string) (string, error) {
	switch name {
	case "memory":
		return "memory:", nil
	case "sqlite":
		r.databases++
		return "sqlite:" + filepath.Join(r.dir, fmt.Sprintf("sessions-%d.db", r.databases)), nil
	case "redis":
		return r.host.start(func() string { return "redis://" + backing.Redis(r.host, backing.RedisOptions{}).Addr + "/0" })
	case "postgres":
		return r.host.start(func() string { return backing.Postgres(r.host).URL() })
	}
	return "", fmt.Errorf("%w: there is no store %q, only %s", errUsage, name, strings.Join(storeNames, ", "))
}

// stores makes those that are asked for and says which are left out.
func (r *rig) stores(names []string) (map[string]string, error) {
	made := map[string]string{}
	for _, name := range names {
		address, err := r.store(name)
		var lacking *missing
		switch {
		case errors.As(err, &lacking):
			r.say("%s: skipped: %s", name, lacking.why)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		default:
			made[name] = address
		}
	}
	return made, nil
}
