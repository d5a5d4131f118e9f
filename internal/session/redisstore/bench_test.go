package redisstore

import (
	"strconv"
	"strings"
	"testing"

	"genkan/internal/backing"
	"genkan/internal/session/storetest"
)

func BenchmarkStore(b *testing.B) {
	server := backing.Redis(b, backing.RedisOptions{})
	memory := func() int64 {
		for line := range strings.Lines(server.CLI("info", "memory")) {
			if text, ok := strings.CutPrefix(line, "used_memory:"); ok {
				bytes, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
				if err != nil {
					b.Fatal(err)
				}
				return bytes
			}
		}
		b.Fatal("no used_memory")
		return 0
	}
	store := opened(b, "redis://"+server.Addr)
	empty := memory()
	storetest.Bench(b, store, func() int64 { return memory() - empty })
}
