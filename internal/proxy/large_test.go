package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"genkan/internal/proxy"
)

// counted is an endless source, which knows how much was taken.
type counted struct{ taken atomic.Int64 }

func (c *counted) Read(p []byte) (int, error) {
	c.taken.Add(int64(len(p)))
	return len(p), nil
}

func TestLargeBodiesTakeNoMemory(t *testing.T) { // alone: it measures memory
	const size, most = 64 << 20, 16 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	for _, side := range []struct {
		name  string
		http2 bool
	}{{"HTTP/1.1", false}, {"HTTP/2", true}} {
		b := newBench(t)
		front, client := b.between(t, side.http2, side.http2, func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			w.Header().Set("X-Got", fmt.Sprint(n))
			_, _ = io.CopyN(w, &counted{}, size)
		}, func(r *proxy.Route) { r.MaxBody = size })
		heap := func() int64 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		runtime.GC()
		before, peak := heap(), int64(0)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for done := false; !done; peak = max(peak, heap()) {
				select {
				case <-stop:
					done = true
				case <-time.After(10 * time.Millisecond):
				}
			}
		}()
		r := b.call(t, "PUT", front.URL+"/api/x", io.LimitReader(&counted{}, size))
		r.ContentLength = size
		res, err := client.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		close(stop)
		<-stopped
		t.Logf("%s: at most %d KiB more", side.name, (peak-before)>>10)
		if err != nil || n != size || res.Header.Get("X-Got") != fmt.Sprint(size) || peak-before > most {
			t.Errorf("%s: %d bytes back, %s there, %v; %d bytes of memory", side.name, n, res.Header.Get("X-Got"), err, peak-before)
		}
	}
}

// A service that does not read holds the browser back, and a browser that does not read the
// service: nothing is collected between them.
func TestNothingIsCollectedForWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	const most = 32 << 20 // in the buffers of two connections
	for _, side := range sides {
		for _, up := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, up: %v", side.name, up), func(t *testing.T) {
				t.Parallel()
				b, source := newBench(t), &counted{}
				over, stop := make(chan struct{}), make(chan struct{})
				front, client := b.between(t, side.browser, side.heard, func(w http.ResponseWriter, _ *http.Request) {
					if !up {
						_, _ = io.Copy(w, source)
						return
					}
					<-stop
				}, func(r *proxy.Route) { r.MaxBody = 1 << 40 })
				method, body := "GET", io.Reader(nil)
				if up {
					method, body = "PUT", source
				}
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					defer close(over)
					if res, err := client.RoundTrip(b.call(t, method, front.URL+"/api/x", body).WithContext(ctx)); err == nil {
						defer res.Body.Close()
						<-ctx.Done()
					}
				}()
				for last := int64(-1); last <= 0 || last != source.taken.Load(); time.Sleep(300 * time.Millisecond) { // until it stands still
					if last = source.taken.Load(); last > most {
						t.Errorf("%d bytes were taken that nobody reads", last)
						break
					}
				}
				close(stop)
				cancel()
				<-over
			})
		}
	}
}

func TestIdleWebSocketsTakeLittle(t *testing.T) { // alone: it counts goroutines and memory
	const count = 60 // of one session
	b, up := newBench(t), newUpstream(t, rawSocket(func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }))
	front := b.front(t, up.route("/api/"))
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	b.upgrade(t, front, "") // what is there once for all of them
	goroutines, before := runtime.NumGoroutine(), memory()
	for range count {
		b.upgrade(t, front, "")
	}
	perSocket, each := float64(runtime.NumGoroutine()-goroutines)/count, int64(memory()-before)/count
	t.Logf("%.1f goroutines and %d KiB for each, the browser's and the service's sides among them", perSocket, each>>10)
	if perSocket > 6.5 || each > 100<<10 {
		t.Errorf("%.1f goroutines and %d bytes for each", perSocket, each)
	}
}
