package app

import (
	"io/fs"
	"math"
	"os"
	"path"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
)

// cacheSize is how many bytes of opened sessions to keep in memory: a sixteenth of what
// this process may have, between 32 MiB, or an eighth where that is less, and 512 MiB, since
// the garbage collector doubles it.
// 512 MiB are some 100,000 sessions, with which no call waits for the store. Where nothing
// tells, 0 for the default.
func cacheSize(limit int64) uint64 {
	if limit == math.MaxInt64 {
		return 0
	}
	return uint64(min(max(limit/16, min(32<<20, limit/8)), 512<<20))
}

// ballast is memory that nobody touches, so that the system gives none for it. The garbage
// collector counts it, and so begins its work at 64 MiB instead of 4: with the little that
// Genkan keeps it would else be busy thirty times a second: scripts/bench shows what that
// costs a reverse proxy. There is none where memory is short.
func ballast(limit int64) []byte {
	if limit < 512<<20 {
		return nil
	}
	return make([]byte, 32<<20)
}

var memTotal = regexp.MustCompile(`(?m)^MemTotal:\s+(\d+) kB$`)

// memory is memoryLimit of this process.
func memory() int64 { return memoryLimit(os.DirFS("/"), debug.SetMemoryLimit(-1)) }

// memoryLimit is the least of what Go was told (GOMEMLIMIT), what the container or the
// service may have, and what the machine has, in bytes. It reads Linux's files; elsewhere
// Go's is the only one.
func memoryLimit(root fs.FS, told int64) int64 {
	limit := told
	for _, name := range append(controlGroups(root), "sys/fs/cgroup/memory/memory.limit_in_bytes") {
		text, err := fs.ReadFile(root, name)
		if n, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && bad == nil && n > 0 {
			limit = min(limit, n)
		}
	}
	text, err := fs.ReadFile(root, "proc/meminfo")
	if m := memTotal.FindSubmatch(text); err == nil && m != nil {
		if n, err := strconv.ParseInt(string(m[1]), 10, 64); err == nil && n < math.MaxInt64>>10 {
			limit = min(limit, n<<10)
		}
	}
	return limit
}

var ownGroup = regexp.MustCompile(`(?m)^0::(/.*)$`)

// controlGroups are the files that limit the control group of this process (version 2) and
// those around it: a service of systemd has one of its own, a container sees but the root.
func controlGroups(root fs.FS) (files []string) {
	group := "/"
	if text, err := fs.ReadFile(root, "proc/self/cgroup"); err == nil {
		if m := ownGroup.FindSubmatch(text); m != nil {
			group = path.Clean(string(m[1]))
		}
	}
	for ; ; group = path.Dir(group) {
		files = append(files, path.Join("sys/fs/cgroup", group, "memory.max"))
		if group == "/" {
			return files
		}
	}
}
