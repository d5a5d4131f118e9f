package redisstore

import (
	"io"
	"net"
	"sync"
	"testing"
)

// relay stands between a store and its server and can be the network when it fails.
type relay struct {
	addr   string
	target string

	mu     sync.Mutex
	frozen chan struct{} // closed when bytes may flow
	deaf   bool          // the next answer ends the connection in place of passing
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := &relay{addr: l.Addr().String(), target: target, frozen: make(chan struct{})}
	close(r.frozen)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(t, conn)
		}
	}()
	return r
}

// freeze stops all bytes without ending a connection, as a pulled cable does. Call thaw.
func (r *relay) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = make(chan struct{})
}

func (r *relay) thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.frozen)
}

// loseAnswer lets the server do what it is told next and ends the connection before the
// answer passes.
func (r *relay) loseAnswer() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaf = true
}

func (r *relay) gate() (flows <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frozen
}

func (r *relay) isLost() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost := r.deaf
	r.deaf = false
	return lost
}

func (r *relay) serve(t *testing.T, client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{}, 2)
	pass := func(to io.Writer, from io.Reader, lost func() bool) {
		defer func() { done <- struct{}{} }()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			select {
			case <-r.gate():
			case <-t.Context().Done():
				return
			}
			if err != nil || lost() {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	go pass(server, client, func() bool { return false })
	go pass(client, server, r.isLost)
	<-done
}
