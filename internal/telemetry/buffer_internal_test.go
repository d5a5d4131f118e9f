package telemetry

import (
	"io"
	"testing"
)

func TestTheMemoryOfALongLineIsGivenBack(t *testing.T) {
	t.Parallel()
	b := NewBuffer(io.Discard)
	defer b.Close()
	for _, size := range []int{8 << 20, 100, 8 << 20, 100, 100} {
		_, _ = b.Write(make([]byte, size))
		b.Flush()
		if kept := cap(b.waiting) + cap(b.spare); kept > 1<<20 {
			t.Errorf("after a line of %d bytes %d are kept", size, kept)
		}
	}
}
