package app

import (
	"math"
	"testing"
	"testing/fstest"
)

func TestMemoryLimitIsTheLeastThatIsTold(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	const meminfo = "MemTotal:       16777216 kB\nMemFree:         1000 kB\n"
	for _, row := range []struct {
		name  string
		files fstest.MapFS
		told  int64
		want  int64
	}{
		{"nothing tells", fstest.MapFS{}, math.MaxInt64, math.MaxInt64},
		{"the machine", fstest.MapFS{"proc/meminfo": file(meminfo)}, math.MaxInt64, 16 * gib},
		{"a container without a limit", fstest.MapFS{"proc/meminfo": file(meminfo), "sys/fs/cgroup/memory.max": file("max\n")}, math.MaxInt64, 16 * gib},
		{"a container", fstest.MapFS{"proc/meminfo": file(meminfo), "sys/fs/cgroup/memory.max": file("536870912\n")}, math.MaxInt64, gib / 2},
		{"an old container", fstest.MapFS{"sys/fs/cgroup/memory/memory.limit_in_bytes": file("1073741824\n")}, math.MaxInt64, gib},
		{"an old container without a limit", fstest.MapFS{"proc/meminfo": file(meminfo), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, math.MaxInt64, 16 * gib},
		{"a service", fstest.MapFS{
			"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/system.slice/genkan.service\n"),
			"sys/fs/cgroup/system.slice/genkan.service/memory.max": file("268435456\n"), "sys/fs/cgroup/system.slice/memory.max": file("max\n"),
		}, math.MaxInt64, gib / 4},
		{"a service in a smaller slice", fstest.MapFS{
			"proc/meminfo": file(meminfo), "proc/self/cgroup": file("12:cpu:/other\n0::/a.slice/b.slice/genkan.service\n"),
			"sys/fs/cgroup/a.slice/b.slice/genkan.service/memory.max": file("max\n"), "sys/fs/cgroup/a.slice/memory.max": file("1073741824\n"),
		}, math.MaxInt64, gib},
		{"a container that knows its path outside", fstest.MapFS{
			"proc/self/cgroup": file("0::/docker/4f1d\n"), "sys/fs/cgroup/memory.max": file("536870912\n"),
		}, math.MaxInt64, gib / 2},
		{"a group outside of what is seen", fstest.MapFS{
			"proc/self/cgroup": file("0::/../../other\n"), "sys/fs/cgroup/memory.max": file("536870912\n"),
		}, math.MaxInt64, gib / 2},
		{"another's group", fstest.MapFS{
			"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/mine\n"), "sys/fs/cgroup/other/memory.max": file("1073741824\n"),
		}, math.MaxInt64, 16 * gib},
		{"GOMEMLIMIT", fstest.MapFS{"proc/meminfo": file(meminfo)}, gib, gib},
		{"nonsense", fstest.MapFS{"proc/meminfo": file("MemTotal: 99999999999999999999 kB\n"), "sys/fs/cgroup/memory.max": file("-1\n")}, gib, gib},
	} {
		if got := memoryLimit(row.files, row.told); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
}

func TestWhatIsKeptFitsIntoTheMemory(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, row := range []struct {
		limit   int64
		cache   uint64
		ballast int
	}{
		{64 * mib, 8 * mib, 0},
		{256 * mib, 32 * mib, 0},
		{511 * mib, 32 * mib, 0},
		{512 * mib, 32 * mib, 32 * mib},
		{1024 * mib, 64 * mib, 32 * mib},
		{8192 * mib, 512 * mib, 32 * mib},
		{65536 * mib, 512 * mib, 32 * mib},
		{math.MaxInt64, 0, 32 * mib}, // the default
	} {
		if cache, ballast := cacheSize(row.limit), len(ballast(row.limit)); cache != row.cache || ballast != row.ballast {
			t.Errorf("of %d MiB: cache %d, ballast %d; want %d and %d", row.limit/mib, cache, ballast, row.cache, row.ballast)
		}
	}
}
