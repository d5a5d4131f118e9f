package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// connections is how many calls are under way at a time.
const connections = 16

// load is calls without a pause over a fixed number of connections.
type load struct {
	url     string
	cookies []string // used in turn
	first   int      // where the turn begins
	length  time.Duration
	count   int // calls, where length is 0
}

// result is what a load has met.
type result struct {
	Requests int           `json:"requests"`
	Failed   int           `json:"failed"` // no answer, or another status than 2xx
	Elapsed  time.Duration `json:"elapsed"`
	P50      time.Duration `json:"p50"`
	P99      time.Duration `json:"p99"`
}

// headers are what an app's fetch sends beside its cookie.
var headers = [][2]string{
	{"Accept", "application/json"}, {"Accept-Language", "en-GB,en;q=0.8"}, {"Accept-Encoding", "gzip, deflate, br"},
	{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"},
	{"X-CSRF", "1"}, {"Sec-Fetch-Dest", "empty"}, {"Sec-Fetch-Mode", "cors"}, {"Sec-Fetch-Site", "same-origin"},
}

// loader makes a load: wrk where it is installed, else this program itself.
type loader struct {
	wrk string // the program, "" without one
	dir string // for its script and cookies
}

func newLoader(dir string) (*loader, error) {
	l := &loader{dir: dir}
	l.wrk, _ = exec.LookPath("wrk")
	return l, os.WriteFile(filepath.Join(dir, "calls.lua"), wrkScript, 0o600)
}

func (l *loader) String() string {
	if l.wrk != "" {
		return "wrk, " + strconv.Itoa(connections) + " connections"
	}
	return "the loader built in (wrk is not installed), " + strconv.Itoa(connections) + " connections"
}

//go:embed calls.lua
var wrkScript []byte

// run makes the load. It returns an error only when there was no load at all.
func (l *loader) run(ctx context.Context, job load) (result, error) {
	if l.wrk == "" || job.length == 0 {
		return job.run(ctx)
	}
	cookies := filepath.Join(l.dir, "cookies")
	if err := os.WriteFile(cookies, []byte(strings.Join(job.cookies, "\n")+"\n"), 0o600); err != nil {
		return result{}, err
	}
	args := []string{"-t1", "-c" + strconv.Itoa(connections), "-d" + strconv.Itoa(int(job.length/time.Second)) + "s", "-s", filepath.Join(l.dir, "calls.lua")}
	for _, h := range headers {
		args = append(args, "-H", h[0]+": "+h[1])
	}
	out, err := exec.CommandContext(ctx, l.wrk, append(args, job.url, "--", cookies, strconv.Itoa(job.first%len(job.cookies)))...).Output()
	if err != nil {
		return result{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	var r result
	at := bytes.LastIndexByte(out, '{')
	if err := json.Unmarshal(out[max(at, 0):], &r); err != nil {
		return result{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	return r, nil
}

// run makes the load from within this process.
func (job load) run(ctx context.Context) (result, error) {
	target, err := url.Parse(job.url)
	if err != nil {
		return result{}, err
	}
	var next, failed atomic.Int64
	next.Store(int64(job.first))
	began := time.Now()
	over := func(n int64) bool {
		if job.length > 0 {
			return time.Since(began) >= job.length || ctx.Err() != nil
		}
		return n >= int64(job.first+job.count) || ctx.Err() != nil
	}
	times := make([][]time.Duration, connections)
	var all sync.WaitGroup
	for i := range times {
		all.Go(func() {
			c := &caller{target: target}
			defer c.close()
			for n := next.Add(1) - 1; !over(n); n = next.Add(1) - 1 {
				at := time.Now()
				if !c.call(job.cookies[n%int64(len(job.cookies))]) {
					failed.Add(1)
				}
				times[i] = append(times[i], time.Since(at))
			}
		})
	}
	all.Wait()
	took := slices.Concat(times...)
	slices.Sort(took)
	return result{len(took), int(failed.Load()), time.Since(began), quantile(took, 0.5), quantile(took, 0.99)}, ctx.Err()
}

// caller is one connection.
type caller struct {
	target *url.URL
	conn   net.Conn
	reader *bufio.Reader
	buffer []byte
}

// call reports whether the answer was 2xx and whole.
func (c *caller) call(cookie string) bool {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.target.Host, 5*time.Second)
		if err != nil {
			return false
		}
		c.conn, c.reader = conn, bufio.NewReader(conn)
	}
	b := append(c.buffer[:0], "GET "+c.target.RequestURI()+" HTTP/1.1\r\nHost: "+c.target.Host+"\r\nCookie: "+cookie+"\r\n"...)
	for _, h := range headers {
		b = append(append(append(append(b, h[0]...), ": "...), h[1]...), "\r\n"...)
	}
	c.buffer = append(b, "\r\n"...)
	_ = c.conn.SetDeadline(time.Now().Add(30 * time.Second)) // a dead connection shows below
	if _, err := c.conn.Write(c.buffer); err != nil {
		c.close()
		return false
	}
	res, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		c.close()
		return false
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if err != nil || res.Close {
		c.close()
	}
	return err == nil && res.StatusCode/100 == 2
}

func (c *caller) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// quantile of sorted values; 0 without any.
func quantile[T int | float64 | time.Duration](sorted []T, q float64) (v T) {
	if len(sorted) == 0 {
		return v
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func median[T int | float64 | time.Duration](values []T) T {
	return quantile(slices.Sorted(slices.Values(values)), 0.5)
}
