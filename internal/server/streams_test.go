package server

import (
	"strconv"
	"testing"
)

func TestStreamsAreCountedPerSessionAndInAll(t *testing.T) {
	t.Parallel()
	s := newStreams()
	for i := range 10_000 {
		if row := s.enter(strconv.Itoa(i / 16)); row != nil {
			t.Fatalf("stream %d: %s", i, row.Name)
		}
	}
	if row := s.enter("another"); row == nil || row.Name != "streams_exhausted" || row.Status != 503 {
		t.Errorf("one more of all: %v", row)
	}
	if row := s.enter("0"); row == nil || row.Name != "too_many_streams" || row.Status != 429 {
		t.Errorf("one more of a session: %v", row)
	}
	for i := range 10_000 {
		s.leave(strconv.Itoa(i / 16))
	}
	if s.all != 0 || len(s.of) != 0 {
		t.Errorf("%d streams of %d sessions are left", s.all, len(s.of))
	}
}
