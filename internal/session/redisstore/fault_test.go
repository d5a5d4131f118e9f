package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"genkan/internal/backing"
	"genkan/internal/session"
)

const (
	// limit is how long a test waits for anything.
	limit = 20 * time.Second
	// silence is for how long stamps may hold on a network that brings nothing, and what
	// the machine may add.
	silence = session.Lag + 100*time.Millisecond
)

func eventually(t *testing.T, within time.Duration, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func rowOf(key byte, tags ...session.Tag) session.Row {
	now := time.Now()
	return session.Row{
		Key: session.Key{key, 31: 0xee}, Data: []byte("data"), Tags: tags,
		Seen: now, Idle: now.Add(time.Hour), Expires: now.Add(12 * time.Hour),
	}
}

func save(t *testing.T, store *Store, row session.Row) session.Row {
	t.Helper()
	version, err := store.Save(t.Context(), row)
	if err != nil {
		t.Fatal(err)
	}
	row.Version = version
	return row
}

func isUp(store *Store) bool {
	_, ok := store.Stamp(session.Key{})
	return ok
}

func isFault(err error) bool {
	return err != nil && !errors.Is(err, session.ErrNone) && !errors.Is(err, session.ErrConflict) && !errors.Is(err, session.ErrTooLarge)
}

// wantNotices asserts that here hears of what there writes.
func wantNotices(t *testing.T, here, there *Store) {
	t.Helper()
	row := rowOf(77)
	_ = there.Delete(t.Context(), row.Key, 0)
	row = save(t, there, row)
	for range 3 {
		eventually(t, limit, "stamps", func() bool { return isUp(here) })
		stamp, _ := here.Stamp(row.Key)
		row = save(t, there, row)
		eventually(t, limit, "a notice", func() bool {
			now, ok := here.Stamp(row.Key)
			return ok && now != stamp
		})
	}
}

func TestAServerThatIsKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	store := opened(t, "redis://"+server.Addr)
	tag := session.Tag{1}
	row := save(t, store, rowOf(1, tag))
	stamp, ok := store.Stamp(row.Key)
	if !ok {
		t.Fatal("no stamps")
	}
	server.Kill()
	eventually(t, limit, "no stamps while it is down", func() bool { return !isUp(store) })
	for name, call := range map[string]func() error{
		"Load": func() error { _, err := store.Load(t.Context(), row.Key); return err },
		"Save": func() error { _, err := store.Save(t.Context(), row); return err },
		"Touch": func() error {
			return store.Touch(t.Context(), []session.Activity{{Key: row.Key, Seen: row.Seen, Idle: row.Idle}})
		},
		"Delete": func() error { return store.Delete(t.Context(), row.Key, 0) },
		"Find":   func() error { _, err := store.Find(t.Context(), []session.Tag{tag}, 1); return err },
		"Ping":   func() error { return store.Ping(t.Context()) },
	} {
		start := time.Now()
		if err := call(); !isFault(err) {
			t.Errorf("%s: got %v, want a fault", name, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s took %v to fail", name, took)
		}
	}
	server.Start()
	eventually(t, limit, "it is back", func() bool { return store.Ping(t.Context()) == nil })
	if _, err := store.Load(t.Context(), row.Key); err != nil {
		t.Errorf("Load: %v", err)
	}
	if found, err := store.Find(t.Context(), []session.Tag{tag}, 10); err != nil || len(found) != 1 {
		t.Errorf("Find: %d, %v", len(found), err)
	}
	eventually(t, limit, "stamps again", func() bool { return isUp(store) })
	if now, _ := store.Stamp(row.Key); now == stamp {
		t.Error("the stamp from before is valid again")
	}
	wantNotices(t, store, sibling(t, store))
}

func TestAnyEndOfTheConnectionThatBringsNoticesChangesEveryStamp(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	store := opened(t, "redis://"+server.Addr)
	for name, kill := range map[string][]string{
		"all clients":  {"client", "kill", "type", "normal"},
		"all sessions": {"flushall"},
	} {
		eventually(t, limit, "stamps", func() bool { return isUp(store) })
		stamp, _ := store.Stamp(session.Key{1})
		server.CLI(kill...)
		eventually(t, limit, "another stamp after "+name, func() bool {
			now, ok := store.Stamp(session.Key{1})
			return !ok || now != stamp
		})
	}
	wantNotices(t, store, sibling(t, store))
}

// TestASilentNetworkEndsTheStamps is the case that no error tells of: a machine or a
// firewall drops every packet.
func TestASilentNetworkEndsTheStamps(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	network := newRelay(t, server.Addr)
	store := opened(t, "redis://"+network.addr)
	row := save(t, store, rowOf(1))
	stamp, ok := store.Stamp(row.Key)
	if !ok {
		t.Fatal("no stamps")
	}
	network.freeze()
	start := time.Now()
	eventually(t, 5*time.Second, "no stamps", func() bool { return !isUp(store) })
	if took := time.Since(start); took > silence {
		t.Errorf("the stamps hold for %v, want %v at most", took, silence)
	}

	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start = time.Now()
	if _, err := store.Load(brief, row.Key); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
		t.Errorf("Load with a deadline: %v after %v", err, time.Since(start))
	}
	start = time.Now()
	if _, err := store.Save(context.WithoutCancel(t.Context()), row); !isFault(err) || time.Since(start) > 6*time.Second {
		t.Errorf("Save without a deadline: %v after %v", err, time.Since(start))
	}
	network.thaw()
	eventually(t, limit, "it is back", func() bool { return store.Ping(t.Context()) == nil && isUp(store) })
	if now, _ := store.Stamp(row.Key); now == stamp {
		t.Error("the stamp from before is valid again")
	}
	wantNotices(t, store, sibling(t, store))
}

// TestASaveWhoseAnswerIsLostIsAFaultAndDoneOnce: a client that repeated it would meet its
// own first try, and take that for somebody else's.
func TestASaveWhoseAnswerIsLostIsAFaultAndDoneOnce(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	network := newRelay(t, server.Addr)
	c, err := Parse("redis://" + network.addr + "?prefix=" + ownPrefix())
	if err != nil {
		t.Fatal(err)
	}
	store, err := Open(t.Context(), c, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	row := save(t, store, rowOf(1))
	for range 20 {
		network.loseAnswer()
		before, _ := store.Stamp(row.Key)
		_, saveErr := store.Save(t.Context(), row)
		if saveErr != nil && !isFault(saveErr) {
			t.Fatalf("Save: got %v, want a fault", saveErr)
		}
		if now, ok := store.Stamp(row.Key); ok && now == before {
			t.Error("the stamp is still valid")
		}
		var after session.Row
		eventually(t, limit, "Load", func() bool { after, err = store.Load(t.Context(), row.Key); return err == nil })
		if after.Version > row.Version+1 || saveErr == nil && after.Version != row.Version+1 {
			t.Fatalf("version %d after one Save of %d", after.Version, row.Version)
		}
		row.Version = after.Version
	}
	if row.Version < 2 {
		t.Error("no Save was done: the test tests nothing")
	}
}

func TestOpenSucceedsWhileTheServerIsDown(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	server.Stop()
	log := &journal{}
	start := time.Now()
	store := open(t, "redis://"+server.Addr, time.Now, log.logger())
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("Open took %v", took)
	}
	start = time.Now()
	_, err := store.Load(t.Context(), session.Key{})
	if !isFault(err) || time.Since(start) > 100*time.Millisecond {
		t.Errorf("Load: %v after %v, want a fault at once", err, time.Since(start))
	}
	if isUp(store) {
		t.Error("there are stamps")
	}
	server.Start()
	eventually(t, limit, "it works", func() bool { return store.Ping(t.Context()) == nil && isUp(store) })
	wantNotices(t, store, sibling(t, store))
	if text := log.String(); strings.Count(text, "no connection to Redis") != 1 || !strings.Contains(text, "check that the server runs") {
		t.Errorf("log:\n%s", text)
	}
}

func TestOpenAndCloseDoNotWaitForSilentServers(t *testing.T) {
	t.Parallel()
	network := newRelay(t, backing.Redis(t, backing.RedisOptions{}).Addr)
	network.freeze()
	for name, address := range map[string]string{
		"single":    "redis://" + network.addr,
		"sentinels": "redis+sentinel://" + strings.Repeat(network.addr+",", 7) + network.addr + "/m", // asked in turn
	} {
		start := time.Now()
		store := opened(t, address)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: Open took %v", name, took)
		}
		start = time.Now()
		if err := store.Close(); err != nil || time.Since(start) > time.Second {
			t.Errorf("%s: Close: %v after %v", name, err, time.Since(start))
		}
	}
	network.thaw()
	store := opened(t, "redis://"+network.addr)
	save(t, store, rowOf(1))
	network.freeze()
	defer network.thaw()
	start := time.Now()
	if err := store.Close(); err != nil || time.Since(start) > time.Second {
		t.Errorf("Close: %v after %v", err, time.Since(start))
	}
}

func TestWhatIsWrongIsLoggedOnceWithAHintAndNoPassword(t *testing.T) {
	t.Parallel()
	const password = "hunter2-and-more"
	closed := backing.Redis(t, backing.RedisOptions{ACL: &backing.ACL{User: "genkan", Password: "right", Rules: aclRules}})
	plain := backing.Redis(t, backing.RedisOptions{})
	secure := backing.Redis(t, backing.RedisOptions{TLS: true})
	nodes := backing.Redis(t, backing.RedisOptions{Config: []string{"cluster-enabled yes"}})
	watcher := backing.Sentinel(t)
	for name, row := range map[string]struct{ address, hint string }{
		"wrong password":      {"redis://genkan:" + password + "@" + closed.Addr, "check the user and the password"},
		"no password":         {"redis://" + closed.Addr, "give a user and a password"},
		"TLS to a plain port": {"rediss://:" + password + "@" + plain.Addr, "use redis in place of rediss"},
		"plain to a TLS port": {"redis://:" + password + "@" + secure.Addr, "use rediss in place of redis"},
		"unknown authority":   {"rediss://:" + password + "@" + secure.Addr, "check ca_file and server_name"},
		"another name":        {"rediss://:" + password + "@" + secure.Addr + "?server_name=redis.example&ca_file=" + secure.CAFile, "check ca_file and server_name"},
		"no such master":      {"redis+sentinel://" + watcher.Addrs[0] + "/other", "no master by the name"},
		"no Cluster":          {"redis+cluster://" + plain.Addr + "," + plain.Addr, "use redis://"},
		"a Cluster of no use": {"redis+cluster://" + nodes.Addr, "a Cluster has no slots yet"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &journal{}
			store := open(t, row.address, time.Now, log.logger())
			eventually(t, limit, "a line in the log", func() bool { return log.String() != "" })
			var faults []string
			for range 3 {
				_, err := store.Load(t.Context(), session.Key{})
				if !isFault(err) {
					t.Errorf("Load: got %v, want a fault", err)
				}
				faults = append(faults, fmt.Sprint(err))
			}
			text := log.String()
			if strings.Count(text, "\n") != 1 || !strings.Contains(text, row.hint) {
				t.Errorf("want one line with %q:\n%s", row.hint, text)
			}
			for _, secret := range []string{password, "hunter2"} {
				if strings.Contains(text+strings.Join(faults, ""), secret) {
					t.Errorf("the password is in the log or in an error:\n%s\n%s", text, faults)
				}
			}
		})
	}
}

func TestNoErrorRepeatsAPassword(t *testing.T) {
	t.Parallel()
	c, err := Parse("redis+sentinel://:first-one@h/m?sentinel_password=second-one")
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{config: c, secrets: c.secrets()}
	got := s.fault("load", errors.New("ERR unknown command `HELLO`, with args beginning with: `3` `AUTH` `default` `first-one`, second-one")).Error()
	if strings.Contains(got, "first-one") || strings.Contains(got, "second-one") || !strings.Contains(got, "unknown command") {
		t.Error(got)
	}
}

func TestWithoutTheRightToFollowChangesThereAreNoStamps(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{ACL: &backing.ACL{
		User: "genkan", Password: "right", Rules: strings.Replace(aclRules, "+client|tracking", "", 1),
	}})
	log := &journal{}
	store := open(t, "redis://genkan:right@"+server.Addr, time.Now, log.logger())
	row := save(t, store, rowOf(1))
	server.CLI("client", "kill", "type", "normal")
	eventually(t, limit, "it works", func() bool { _, err := store.Load(t.Context(), row.Key); return err == nil })
	if isUp(store) {
		t.Error("there are stamps")
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "CLIENT TRACKING") {
		t.Errorf("log:\n%s", text)
	}
}

// TestARightThatIsTakenAwayLater: a new connection may then not follow changes.
func TestARightThatIsTakenAwayLater(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{ACL: &backing.ACL{User: "genkan", Password: "right", Rules: aclRules}})
	store := opened(t, "redis://genkan:right@"+server.Addr)
	row := save(t, store, rowOf(1))
	if !isUp(store) {
		t.Fatal("no stamps")
	}
	server.CLI("acl", "setuser", "genkan", "-client|tracking")
	server.CLI("client", "kill", "type", "normal")
	eventually(t, limit, "no stamps, but rows", func() bool {
		_, err := store.Load(t.Context(), row.Key)
		return err == nil && !isUp(store)
	})
}

// startedSoon is a store that tries a refused CLIENT TRACKING again before long.
func startedSoon(t *testing.T, address string) (*Store, *journal) {
	t.Helper()
	c, err := Parse(query(address, "prefix="+ownPrefix()))
	if err != nil {
		t.Fatal(err)
	}
	log := &journal{}
	store := newStore(c, nil, time.Now, log.logger())
	store.again = 100 * time.Millisecond
	store.start(t.Context())
	t.Cleanup(func() { _ = store.Close() })
	return store, log
}

func TestARightThatIsGivenLater(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{ACL: &backing.ACL{
		User: "genkan", Password: "right", Rules: strings.Replace(aclRules, "+client|tracking", "", 1),
	}})
	store, log := startedSoon(t, "redis://genkan:right@"+server.Addr)
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err := store.Ping(t.Context()); err != nil {
			t.Fatalf("Ping while tracking is refused: %v", err)
		}
		if isUp(store) {
			t.Fatal("there are stamps")
		}
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "CLIENT TRACKING") {
		t.Errorf("log:\n%s", text)
	}
	server.CLI("acl", "setuser", "genkan", "+client|tracking")
	eventually(t, limit, "stamps", func() bool { return isUp(store) })
	wantNotices(t, store, sibling(t, store))
}

// TestABusyServerIsNotOneThatRefusesToBeFollowed: what it answers to CLIENT TRACKING then
// says nothing of what it will answer later.
func TestABusyServerIsNotOneThatRefusesToBeFollowed(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{Config: []string{"busy-reply-threshold 100"}})
	address := "redis://" + server.Addr
	before := opened(t, address)
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.CLI("eval", "local t = tonumber(redis.call('TIME')[1]) while tonumber(redis.call('TIME')[1]) - t < 3 do end", "0")
	}()
	eventually(t, limit, "it is busy", func() bool {
		err := before.Ping(t.Context())
		return err != nil && strings.Contains(err.Error(), "BUSY")
	})
	log := &journal{}
	store := open(t, address, time.Now, log.logger())
	<-done
	for _, s := range []*Store{before, store} {
		eventually(t, limit, "stamps", func() bool { return s.Ping(t.Context()) == nil && isUp(s) })
	}
	if text := log.String(); strings.Contains(text, "does not let Genkan follow") {
		t.Errorf("log:\n%s", text)
	}
}

func TestWhatRefusesToBeFollowed(t *testing.T) {
	t.Parallel()
	at := func(answer string) error { // as rueidis makes it
		return fmt.Errorf("node: %w", fmt.Errorf("%s: [CLIENT TRACKING ON]\n%w", answer, rueidis.ErrNoCache))
	}
	for name, row := range map[string]struct {
		err  error
		want bool
	}{
		"no permission":   {at("NOPERM this user has no permissions"), true},
		"unknown command": {at("ERR unknown command 'CLIENT'"), true},
		"an old protocol": {rueidis.ErrNoCache, true},
		"busy":            {at("BUSY Redis is busy running a script"), false},
		"loading":         {at("LOADING Redis is loading the dataset in memory"), false},
		"another fault":   {errors.New("ERR unknown command"), false},
	} {
		if got := isRefused(row.err); got != row.want {
			t.Errorf("%s: got %v, want %v", name, got, row.want)
		}
	}
}

func TestSettingsThatLoseSessionsAreLogged(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{Config: []string{"appendonly no", "maxmemory 100mb", "maxmemory-policy volatile-lru"}})
	log := &journal{}
	open(t, "redis://"+server.Addr, time.Now, log.logger())
	for _, want := range []string{"set appendonly yes", "set maxmemory-policy noeviction"} {
		if text := log.String(); strings.Count(text, want) != 1 {
			t.Errorf("want one line with %q:\n%s", want, text)
		}
	}
	good := &journal{}
	open(t, "redis://"+backing.Redis(t, backing.RedisOptions{}).Addr, time.Now, good.logger())
	if text := good.String(); text != "" {
		t.Errorf("want no line:\n%s", text)
	}
}
