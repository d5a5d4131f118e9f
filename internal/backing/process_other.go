//go:build !linux

package backing

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

func dieWithUs(*syscall.SysProcAttr) {}

func children(parent int) ([]int, error) {
	list, err := output(func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, "ps", "-A", "-o", "pid=", "-o", "ppid=")
	})
	if err != nil {
		return nil, err
	}
	var found []int
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(fields[0]); err == nil {
			found = append(found, pid)
		}
	}
	return found, nil
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
