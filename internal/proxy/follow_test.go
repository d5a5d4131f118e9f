package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"testing"

	"genkan/internal/access"
	"genkan/internal/rp"
)

// frameEnds reads a whole stream as RFC 6455 5.2 writes frames, and returns where each
// frame ends, and the first one of opcode 8.
func frameEnds(stream []byte) (ends []int, closing int) {
	closing = -1
	for at := 0; ; {
		if len(stream)-at < 2 {
			return ends, closing
		}
		head, length := 2, uint64(stream[at+1]&0x7f)
		switch {
		case length == 126 && len(stream)-at >= 4:
			head, length = 4, uint64(binary.BigEndian.Uint16(stream[at+2:]))
		case length == 127 && len(stream)-at >= 10:
			head, length = 10, binary.BigEndian.Uint64(stream[at+2:])
		case length >= 126:
			return ends, closing
		}
		if stream[at+1]&0x80 != 0 {
			head += 4
		}
		if len(stream)-at < head {
			return ends, closing
		}
		if stream[at]&0x0f == 8 && closing < 0 {
			closing = len(ends)
		}
		if uint64(len(stream)-at-head) < length {
			return ends, closing
		}
		at += head + int(length)
		ends = append(ends, at)
	}
}

func FuzzFramesEndWhereTheStandardSays(f *testing.F) {
	long := append([]byte{0x82, 0x7e, 0x00, 0x80}, make([]byte, 128)...)
	for _, seed := range [][]byte{
		{0x81, 0x02, 'h', 'i'}, {0x81, 0x82, 1, 2, 3, 4, 'h', 'i', 0x89, 0x00}, {0x01, 0x01, 'a', 0x8a, 0x80, 9, 9, 9, 9, 0x80, 0x01, 'b'},
		{0x88, 0x02, 0x03, 0xe8}, {0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3}, {0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, long, []byte("ping\n"),
	} {
		f.Add(seed, uint8(1))
		f.Add(bytes.Repeat(seed, 3), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		want, closing := frameEnds(stream)
		var follower frames
		var got []int
		if !follower.between() {
			t.Error("a frame is under way before the first byte")
		}
		for at := 0; at < len(stream); { // in pieces, as they arrive
			piece := stream[at:min(len(stream), at+max(1, int(step)))]
			for len(piece) > 0 {
				n := follower.next(piece)
				if n <= 0 || n > len(piece) || n < len(piece) && !follower.between() {
					t.Fatalf("took %d of %d bytes", n, len(piece))
				}
				piece, at = piece[n:], at+n
				if follower.between() {
					got = append(got, at)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("frames of %x end at %v, want %v", stream, got, want)
		}
		if follower.closed != (closing >= 0) {
			t.Errorf("a close frame in %x: %v", stream, follower.closed)
		}
	})
}

// eventEnds finds the ends by the grammar: lines, then what blank lines divide. The LF of a
// CRLF that ends an event may come after it.
var line = regexp.MustCompile(`(?s)^([^\r\n]*)(\r\n|\r|\n)`)

func eventEnds(stream []byte) (ends []int) {
	pending := false
	for at := 0; ; {
		found := line.FindSubmatch(stream[at:])
		if found == nil {
			return ends
		}
		at += len(found[0])
		switch {
		case len(found[1]) == 0:
			pending = false
		case found[1][0] != ':':
			pending = true
		}
		if !pending {
			end := at
			if string(found[2]) == "\r\n" {
				end--
			}
			ends = append(ends, end)
		}
	}
}

func FuzzEventsEndWhereTheStandardSays(f *testing.F) {
	for _, seed := range []string{
		"data: 1\n\n", "data: 1\r\rdata: 2\r\n\r\n", ":beat\n\n:beat\n", "id: 1\n:comment\ndata: x\n\n", "\n\n\n", "data: x\r\n\n", "data\n\r\n", "\r\n\r\n", ":a\r\ndata: b\r\n\r\n", "data: half",
	} {
		f.Add([]byte(seed), uint8(1))
		f.Add([]byte(seed+seed), uint8(4))
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		var follower lines
		var got []int
		for at := 0; at < len(stream); {
			piece := stream[at:min(len(stream), at+max(1, int(step)))]
			for len(piece) > 0 {
				n := follower.next(piece)
				if n <= 0 || n > len(piece) || n < len(piece) && !follower.between() {
					t.Fatalf("took %d of %d bytes", n, len(piece))
				}
				lf := n == 1 && piece[0] == '\n' && at > 0 && stream[at-1] == '\r'
				piece, at = piece[n:], at+n
				if follower.between() && !lf {
					got = append(got, at)
				}
			}
		}
		if want := eventEnds(stream); !slices.Equal(got, want) {
			t.Errorf("events of %q end at %v, want %v", stream, got, want)
		}
	})
}

func TestPlacesForStreams(t *testing.T) {
	t.Parallel()
	h := &Handler{}
	enter := func(program string) (*stream, error) {
		s := &stream{call: &call{Handler: h, in: requestOf(t), caller: callerOf(program)}}
		return s, s.enter("events")
	}
	refused := func(program, want string) {
		t.Helper()
		if _, err := enter(program); err == nil || err.Error() != want {
			t.Errorf("one more of %q: %v, want %s", program, err, want)
		}
	}
	var all []*stream
	fill := func(program string, count int) {
		t.Helper()
		for i := range count {
			s, err := enter(program)
			if err != nil {
				t.Fatalf("%q, stream %d: %v", program, i+1, err)
			}
			all = append(all, s)
		}
	}
	fill("", 5000)
	refused("", "streams_exhausted")
	for i := range 78 {
		fill(string(rune('a'+i)), 64)
	}
	refused("a", "too_many_streams")
	fill("another", 8) // 10,000 in all
	refused("yet another", "streams_exhausted")
	for _, s := range all {
		s.leave()
	}
	if h.streams.places != 0 || len(h.streams.of) != 0 || len(h.streams.open) != 0 {
		t.Errorf("%d places of %d callers are left", h.streams.places, len(h.streams.of))
	}
	fill("a", 64)
}

// meanwhile is a body that gives text, and something happens before.
type meanwhile struct {
	do   func()
	text string
}

func (m meanwhile) Read(p []byte) (int, error) { m.do(); return copy(p, m.text), io.EOF }
func (m meanwhile) Close() error               { return nil }

// The end comes while a read is under way, which no cancelling may catch.
func TestWhatArrivesWithTheEndIsDropped(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, first, late string
		want              string
		whole             bool
	}{
		{"between two events", "data: 1\n\n", "data: late\n\n", "data: 1\n\nlast", true},
		{"in an event", "data: 1", "2\n\ndata: late\n\n", "data: 12\n\nlast", true},
		{"in an event that does not go on", "data: 1", "2", "data: 12", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := &feed{stream: &stream{}}
			f.lines.follow([]byte(tt.first))
			f.ReadCloser = meanwhile{func() { f.mu.Lock(); f.over, f.last = true, []byte("last"); f.mu.Unlock() }, tt.late}
			rest, err := io.ReadAll(f)
			if got := tt.first + string(rest); got != tt.want || (err == nil) != tt.whole {
				t.Errorf("%q %v, want %q", got, err, tt.want)
			}
		})
	}
	w := httptest.NewRecorder()
	c := &call{Handler: &Handler{}, w: w, in: requestOf(t), ctx: t.Context()}
	body := meanwhile{func() { c.stream.over.Store(&ending{}) }, "late"}
	if err := c.copyBody(&http.Response{Body: body, ContentLength: 4}); w.Body.Len() > 0 || !errors.Is(err, errBrokenOff) {
		t.Errorf("a long answer ended with %q %v", w.Body, err)
	}
}

func requestOf(t *testing.T) *http.Request {
	return httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
}

func callerOf(program string) *access.Caller {
	if program == "" {
		return nil
	}
	return &access.Caller{Provider: "idp", Identity: rp.Identity{Subject: program}}
}
