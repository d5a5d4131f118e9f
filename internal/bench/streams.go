package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// streams measures what goes on for long: large bodies, idle WebSockets, and an upstream
// that is slow on purpose.
func streams(ctx context.Context, r *rig) error {
	for _, part := range []func(context.Context, *target) error{r.large, r.trickle, r.sockets} {
		store, err := r.store("sqlite")
		if err != nil {
			return err
		}
		t, err := r.start(ctx, genkan{name: "genkan", store: store, address: r.take()}) // a new one, whose memory nothing has used
		if err != nil {
			return err
		}
		for _, user := range []string{"alice", "bob"} {
			cookie, err := r.signIn(ctx, t, user)
			if err != nil {
				return err
			}
			t.cookies = append(t.cookies, cookie)
		}
		if err := part(ctx, t); err != nil {
			return err
		}
		t.stop()
	}
	return nil
}

// watch samples the resident memory of a process until its result is called.
func (t *target) watch() func() (before, peak, after int64) {
	first, _ := t.used()
	peak, stop, stopped := first.rss, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				now, _ := t.used()
				peak = max(peak, now.rss)
			case <-stop:
				return
			}
		}
	}()
	return func() (int64, int64, int64) {
		close(stop)
		<-stopped
		last, _ := t.used()
		return first.rss, max(peak, last.rss), last.rss
	}
}

// zeros is a body of that many bytes.
type zeros int64

func (z *zeros) Read(p []byte) (int, error) {
	if *z == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), int64(*z))
	clear(p[:n])
	*z -= zeros(n)
	return int(n), nil
}

// large sends a lot down and up.
func (r *rig) large(ctx context.Context, t *target) error {
	size := int64(1) << 30
	if r.quick {
		size >>= 3
	}
	for _, way := range []string{"down", "up"} {
		method, path, body := http.MethodGet, "/api/download?bytes="+strconv.FormatInt(size, 10), io.Reader(nil)
		if way == "up" {
			z := zeros(size)
			method, path, body = http.MethodPost, "/api/upload", &z
		}
		q, err := t.request(ctx, method, path, body)
		if err != nil {
			return err
		}
		if body != nil {
			q.ContentLength = size
		}
		ended, used, began := t.watch(), t.cpu(), time.Now()
		moved, err := exchange(q, way == "up")
		before, peak, after := ended()
		if err == nil && moved != size {
			err = fmt.Errorf("%d bytes instead of %d", moved, size)
		}
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", way, err, t.tail())
		}
		took := time.Since(began).Seconds()
		r.say("%4d MiB %-4s  RSS before %d MiB, peak %d MiB, after %d MiB; %.0f MiB/s, %.2f s CPU of Genkan",
			size>>20, way, before>>20, peak>>20, after>>20, float64(size>>20)/took, (t.cpu() - used).Seconds())
	}
	return nil
}

func (t *target) cpu() time.Duration {
	u, _ := t.used()
	return u.cpu
}

// exchange sends q and returns how many bytes went up or down.
func exchange(q *http.Request, up bool) (moved int64, err error) {
	res, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("HTTP %d", res.StatusCode)
	case up:
		return moved, json.NewDecoder(res.Body).Decode(&moved)
	}
	return io.Copy(io.Discard, res.Body)
}

// trickle measures bob's calls, alone and while alice has many calls stuck at an upstream
// that sends one byte a second: half of them within the header, half within the body.
func (r *rig) trickle(ctx context.Context, t *target) error {
	const stuck = 200
	bob := load{url: t.base + t.path, cookies: t.cookies[1:], length: r.seconds}
	alone, err := r.load.run(ctx, bob)
	if err != nil {
		return err
	}
	slow, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	client := &http.Transport{MaxConnsPerHost: stuck}
	for i := range stuck {
		q, err := t.request(slow, http.MethodGet, [2]string{"/api/drip", "/api/dripheader"}[i%2], nil)
		if err != nil {
			return err
		}
		all.Go(func() {
			if res, err := client.RoundTrip(q); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
	if err := r.await(ctx, stuck); err != nil {
		return err
	}
	beside, err := r.load.run(ctx, bob)
	if err != nil {
		return err
	}
	r.failed += alone.Failed + beside.Failed
	r.say("slow upstream: p50 %v, p99 %v alone; p50 %v, p99 %v beside %d calls that get a byte a second; %d failed",
		alone.P50, alone.P99, beside.P50, beside.P99, stuck, alone.Failed+beside.Failed)
	return nil
}

// await waits until that many calls are stuck at the upstream.
func (r *rig) await(ctx context.Context, count int) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		res, err := http.Get(r.upstreams + "/stuck")
		if err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(res.Body, 20))
		_ = res.Body.Close()
		switch n, _ := strconv.Atoi(string(text)); {
		case err != nil:
			return err
		case n >= count:
			return nil
		case time.Now().After(deadline) || ctx.Err() != nil:
			return fmt.Errorf("only %d of %d slow calls have arrived", n, count)
		}
	}
}

// sockets opens many WebSockets, leaves them idle, and ends alice's session: then all of
// them have to be cut.
func (r *rig) sockets(ctx context.Context, t *target) error {
	count := 1000
	if r.quick {
		count = 200
	}
	var sessions []string // 50 WebSockets each: a session may have 64
	for range (count + 49) / 50 {
		cookie, err := r.signIn(ctx, t, "alice")
		if err != nil {
			return err
		}
		sessions = append(sessions, cookie)
	}
	before, err := t.used()
	if err != nil {
		return err
	}
	ends := make(chan cut, count)
	for i := range count {
		conn, _, err := websocket.Dial(ctx, t.base+"/api/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {sessions[i/50]}, "Origin": {t.base}}})
		if err != nil {
			return fmt.Errorf("WebSocket %d: %w\n%s", i, err, t.tail())
		}
		defer conn.CloseNow()
		go func() {
			_, _, err := conn.Read(ctx)
			ends <- cut{time.Now(), websocket.CloseStatus(err), err}
		}()
	}
	open, err := t.used()
	if err != nil {
		return err
	}
	idle := 10 * time.Second
	if r.quick {
		idle = 3 * time.Second
	}
	select {
	case <-time.After(idle):
	case <-ctx.Done():
		return ctx.Err()
	}
	r.say("%d idle WebSockets: RSS %.1f KiB each (both sides of Genkan), %.1f ms CPU a second for all",
		count, float64(open.rss-before.rss)/1024/float64(count), (t.cpu()-open.cpu).Seconds()*1000/idle.Seconds())
	return r.revoke(ctx, t, ends, count)
}

// cut is the end of one WebSocket.
type cut struct {
	at   time.Time
	code websocket.StatusCode
	err  error
}

// revoke ends alice's sessions by the command line and waits for the ends of all her
// WebSockets.
func (r *rig) revoke(ctx context.Context, t *target, ends <-chan cut, count int) error {
	subject, err := t.subject(ctx)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, filepath.Join(r.bin, "genkan"), "sessions", "revoke", "--sub", subject, "--url", t.admin)
	command.Dir, command.Env = r.dir, []string{"HOME=" + r.dir}
	began := time.Now()
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("genkan sessions revoke: %w: %s", err, out)
	}
	returned := time.Since(began)
	var took []time.Duration
	late := time.After(patience)
	for range count {
		select {
		case end := <-ends:
			if end.code != 4001 {
				r.failed++
				r.say("a WebSocket ended with %v", end.err)
			}
			took = append(took, end.at.Sub(began))
		case <-late:
			return errors.Join(fmt.Errorf("%d of %d WebSockets are still open", count-len(took), count), ctx.Err())
		}
	}
	slices.Sort(took)
	r.say("after genkan sessions revoke, which took %v: cut after p50 %v, last %v, all with code 4001: %t",
		returned.Round(time.Millisecond), quantile(took, 0.5).Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), r.failed == 0)
	return nil
}

// subject is alice's at the provider.
func (t *target) subject(ctx context.Context) (string, error) {
	q, err := t.request(ctx, http.MethodGet, "/bff/session", nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var body struct{ User struct{ Sub string } }
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil || body.User.Sub == "" {
		return "", fmt.Errorf("/bff/session: HTTP %d, no subject: %w", res.StatusCode, err)
	}
	return body.User.Sub, nil
}
