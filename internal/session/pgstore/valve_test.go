package pgstore

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// valve stands between a store and its server. While its lock is held nothing passes,
// and no connection ends: a network that has gone silent, or a server that hangs.
type valve struct {
	sync.RWMutex
	target string
}

// newValve returns a valve and the address of the same database through it.
func newValve(t testing.TB, address string) (*valve, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	v := &valve{target: u.Host}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go v.serve(client)
		}
	}()
	u.Host = listener.Addr().String()
	return v, u.String()
}

func (v *valve) serve(client net.Conn) {
	server, err := net.Dial("tcp", v.target)
	if err != nil {
		_ = client.Close()
		return
	}
	go v.pass(server, client)
	v.pass(client, server)
}

func (v *valve) pass(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		v.RLock()
		if n > 0 && err == nil {
			_, err = to.Write(buffer[:n])
		} else if err == io.EOF {
			_ = to.Close()
		}
		v.RUnlock()
		if err != nil {
			_ = from.Close()
			return
		}
	}
}
