package redisstore

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"genkan/internal/backing"
	"genkan/internal/session"
)

func keysFound(t *testing.T, store *Store, limit int, tags ...session.Tag) map[session.Key]bool {
	t.Helper()
	rows, err := store.Find(t.Context(), tags, limit)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[session.Key]bool{}
	for _, row := range rows {
		keys[row.Key] = true
	}
	if len(keys) != len(rows) {
		t.Errorf("%d rows of %d keys", len(rows), len(keys))
	}
	return keys
}

// TestMembersWithoutRows is what crashes between the two halves of a Save leave behind.
func TestMembersWithoutRows(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	store := opened(t, "redis://"+server.Addr)
	tag := session.Tag{1}
	live := save(t, store, rowOf(1, tag))
	late := rowOf(2, tag)
	late.Expires = late.Expires.Add(time.Hour)
	late = save(t, store, late)
	for name, score := range map[string]time.Time{"before": live.Expires.Add(-time.Minute), "at": live.Expires, "between": live.Expires.Add(time.Minute)} {
		// 2,500 of one score: more than a page.
		server.CLI("eval", `for i = 1, 2500 do redis.call('ZADD', KEYS[1], ARGV[1], string.format('%032d', i) .. ARGV[2]) end`,
			"1", store.tagKey(tag), strconv.FormatInt(score.UnixMilli(), 10), name)
	}
	server.CLI("zadd", store.tagKey(tag), strconv.FormatInt(live.Expires.UnixMilli(), 10), "short")
	if got := keysFound(t, store, 100, tag); len(got) != 2 || !got[live.Key] || !got[late.Key] {
		t.Errorf("found %d rows", len(got))
	}
	if got := keysFound(t, store, 1, tag); len(got) != 1 {
		t.Errorf("limit 1: found %d rows", len(got))
	}
}

// TestFindReadsLittleOfWhatHasIdledOut: its members stay until their sessions would have
// ended in any case.
func TestFindReadsLittleOfWhatHasIdledOut(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	store := opened(t, "redis://"+server.Addr)
	tag := session.Tag{1}
	live := save(t, store, rowOf(1, tag))
	server.CLI("eval", `for i = 1, 2500 do redis.call('ZADD', KEYS[1], ARGV[1], string.format('%040d', i)) end`,
		"1", store.tagKey(tag), strconv.FormatInt(live.Expires.Add(-time.Minute).UnixMilli(), 10))
	before := calls(t, server, "get")
	if got := keysFound(t, store, 1, tag); !got[live.Key] {
		t.Error("the row is not found")
	}
	if got := calls(t, server, "get") - before; got > 16 {
		t.Errorf("%d rows are read for one", got)
	}
}

func TestARowIsFoundByItsOwnTagsOnly(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	store := opened(t, "redis://"+server.Addr)
	mine, other := session.Tag{1}, session.Tag{2}
	row := save(t, store, rowOf(1, mine))
	server.CLI("zunionstore", store.tagKey(other), "1", store.tagKey(mine))
	if got := keysFound(t, store, 10, other); len(got) != 0 {
		t.Error("a member of a tag is found that its row does not carry")
	}
	if got := keysFound(t, store, 10, mine); !got[row.Key] {
		t.Error("the row is not found")
	}
}

func TestTagsAreCleanedAndEnd(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	store := opened(t, "redis://"+server.Addr)
	tag, other := session.Tag{1}, session.Tag{2}
	members := func(tag session.Tag) string { return server.CLI("zcard", store.tagKey(tag)) }
	want := func(when string, tag session.Tag, count string) {
		t.Helper()
		if got := members(tag); got != count {
			t.Errorf("%s: %s members, want %s", when, got, count)
		}
	}
	row := save(t, store, rowOf(1, tag))
	for range 5 {
		row = save(t, store, row)
	}
	want("after Saves", tag, "1")
	row.Tags = []session.Tag{other}
	row = save(t, store, row)
	want("after a Save without the tag", tag, "0")
	stale := row
	stale.Version, stale.Tags = 1, []session.Tag{tag}
	if _, err := store.Save(t.Context(), stale); err == nil {
		t.Fatal("no conflict")
	}
	want("after a conflict", tag, "0")
	stale.Version = 0
	if _, err := store.Save(t.Context(), stale); err == nil {
		t.Fatal("no conflict")
	}
	want("after an insert over another", tag, "0")
	if err := store.Delete(t.Context(), row.Key, row.Version); err != nil {
		t.Fatal(err)
	}
	want("after Delete", other, "0")

	// A member that is over goes with the next one, and the whole set an hour after the last.
	long, brief := rowOf(1, tag), rowOf(2, tag)
	brief.Expires = brief.Seen.Add(time.Minute)
	save(t, store, long)
	save(t, store, brief)
	ends, err := strconv.ParseInt(server.CLI("pexpiretime", store.tagKey(tag)), 10, 64)
	if least := long.Expires.UnixMilli(); err != nil || ends < least || ends > least+2*time.Hour.Milliseconds() {
		t.Errorf("the tag ends at %d, want about an hour after %d", ends, least)
	}
	server.CLI("zadd", store.tagKey(tag), strconv.FormatInt(time.Now().Add(-2*time.Hour).UnixMilli(), 10), "over")
	save(t, store, rowOf(3, tag))
	want("after one that is over", tag, "3")
}

// TestARenewalIsOneScript: Saves that leave the tags are nearly all Saves.
func TestARenewalIsOneScript(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	store := opened(t, "redis://"+server.Addr)
	row := save(t, store, rowOf(1, session.Tag{1}, session.Tag{2}))
	row = save(t, store, row)
	before := calls(t, server, "evalsha")
	row.Tags = []session.Tag{{2}, {1}, {2}}
	save(t, store, row)
	if got := calls(t, server, "evalsha") - before; got != 1 {
		t.Errorf("%d scripts, want 1", got)
	}
}

// calls is how often a command was called.
func calls(t *testing.T, server *backing.RedisServer, command string) int {
	t.Helper()
	for line := range strings.Lines(server.CLI("info", "commandstats")) {
		var count int
		if _, err := fmt.Sscanf(line, "cmdstat_"+command+":calls=%d", &count); err == nil {
			return count
		}
	}
	return 0
}

func TestARowThatWasSpoiledIsNoSession(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	tag := session.Tag{1}
	for name, spoil := range map[string]string{
		"emptied":             `redis.call('SET', KEYS[1], '')`,
		"cut":                 `redis.call('SET', KEYS[1], redis.call('GETRANGE', KEYS[1], 0, 60))`,
		"another version":     `redis.call('SETRANGE', KEYS[1], 3, 'x')`,
		"another time":        `redis.call('SETRANGE', KEYS[1], 60, 'x')`,
		"more tags than fit":  `redis.call('SETRANGE', KEYS[1], 76, '8')`,
		"tags without number": `redis.call('SETRANGE', KEYS[1], 76, 'x')`,
		"overwritten":         `redis.call('SET', KEYS[1], string.rep('z', 200))`,
		"too high a version":  `redis.call('SETRANGE', KEYS[1], 0, string.rep('9', 20))`,
		"a signed time":       `redis.call('SETRANGE', KEYS[1], 52, '+')`,
		"of another type":     `redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[1], 'z')`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &journal{}
			store := open(t, "redis://"+server.Addr+"?prefix="+ownPrefix(), time.Now, log.logger())
			row := save(t, store, rowOf(1, tag))
			server.CLI("eval", spoil, "1", store.prefix+":s:"+hex.EncodeToString(row.Key[:]))
			if _, err := store.Load(t.Context(), row.Key); err != session.ErrNone {
				t.Errorf("Load: got %v, want ErrNone", err)
			}
			if got := keysFound(t, store, 10, tag); len(got) != 0 {
				t.Error("Find gives it")
			}
			if !strings.Contains(log.String(), "counts as none") {
				t.Errorf("it is not logged: %s", log.String())
			}
			if err := store.Touch(t.Context(), []session.Activity{{Key: row.Key, Seen: row.Seen, Idle: row.Idle}}); err != nil {
				t.Errorf("Touch: %v", err)
			}
			if _, err := store.Save(t.Context(), row); err != session.ErrNone {
				t.Errorf("Save: got %v, want ErrNone", err)
			}
			row.Version = 0
			row = save(t, store, row)
			if got := keysFound(t, store, 10, tag); !got[row.Key] {
				t.Error("Find does not give what was inserted over it")
			}
			server.CLI("eval", spoil, "1", store.rowKey(row.Key))
			if err := store.Delete(t.Context(), row.Key, 0); err != nil {
				t.Errorf("Delete: %v", err)
			}
			if got := server.CLI("exists", store.rowKey(row.Key)); got != "0" {
				t.Error("Delete leaves it")
			}
		})
	}
}

func TestALeaseOrTagThatWasSpoiledIsNone(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	store := opened(t, "redis://"+server.Addr)
	row, tag := rowOf(1), session.Tag{1}
	for name, spoil := range map[string][]string{
		"text": {"set", "garbage"},
		"long": {"set", strings.Repeat("z", 200)},
		"list": {"lpush", "garbage"},
	} {
		for _, key := range []string{store.leaseKey(row.Key), store.tagKey(tag)} {
			server.CLI("del", key)
			server.CLI(spoil[0], key, spoil[1])
		}
		if err := store.Release(t.Context(), row.Key, session.Owner{1}); err != nil {
			t.Errorf("%s: Release: %v", name, err)
		}
		if lease, err := store.Lease(t.Context(), row.Key, session.Owner{1}, time.Second); err != nil || !lease.Held {
			t.Errorf("%s: Lease: %+v, %v", name, lease, err)
		}
		if got := keysFound(t, store, 10, tag); len(got) != 0 {
			t.Errorf("%s: found %d rows", name, len(got))
		}
		row.Version, row.Tags = 0, []session.Tag{tag}
		row = save(t, store, row)
		if got := keysFound(t, store, 10, tag); !got[row.Key] {
			t.Errorf("%s: the row is not found", name)
		}
		if err := store.Delete(t.Context(), row.Key, 0); err != nil {
			t.Errorf("%s: Delete: %v", name, err)
		}
	}
}

func TestWhatIsOverLeavesTheServer(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	store := opened(t, "redis://"+server.Addr)
	row := rowOf(1)
	row = save(t, store, row)
	ends := func() string { return server.CLI("pexpiretime", store.rowKey(row.Key)) }
	if got, want := ends(), strconv.FormatInt(row.Idle.Add(skew).UnixMilli(), 10); got != want {
		t.Errorf("after Save: %s, want an hour after Idle, %s", got, want)
	}
	if err := store.Touch(t.Context(), []session.Activity{{Key: row.Key, Seen: row.Seen, Idle: row.Expires.Add(time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	if got, want := ends(), strconv.FormatInt(row.Expires.Add(skew).UnixMilli(), 10); got != want {
		t.Errorf("after Touch: %s, want an hour after Expires, %s", got, want)
	}
	if _, err := store.Lease(t.Context(), row.Key, session.Owner{1}, time.Minute); err != nil {
		t.Fatal(err)
	}
	left, err := strconv.ParseInt(server.CLI("pttl", store.leaseKey(row.Key)), 10, 64)
	if most := (11 * time.Minute).Milliseconds(); err != nil || left > most || left < most-10_000 {
		t.Errorf("a lease of a minute leaves after %d ms, want 11 minutes", left)
	}
}

// TestRedisClockMayBeAhead: a row that ended too early could be inserted a second time,
// and what may be done once would be done twice.
func TestRedisClockMayBeAhead(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	now := time.Now().Add(-30 * time.Minute)
	store := open(t, "redis://"+server.Addr, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	row := rowOf(1)
	row.Seen, row.Idle, row.Expires = now, now.Add(time.Minute), now.Add(9*time.Minute)
	save(t, store, row)
	if _, err := store.Save(t.Context(), row); err != session.ErrConflict {
		t.Errorf("a second insert: got %v, want ErrConflict", err)
	}
	if err := store.Touch(t.Context(), []session.Activity{{Key: row.Key, Seen: now, Idle: row.Expires}}); err != nil {
		t.Errorf("Touch: %v", err)
	}
	now = now.Add(8 * time.Minute)
	if _, err := store.Load(t.Context(), row.Key); err != nil {
		t.Errorf("Load: %v", err)
	}
	now = now.Add(time.Minute)
	if _, err := store.Load(t.Context(), row.Key); err != session.ErrNone {
		t.Errorf("Load of a row that is over: got %v, want ErrNone", err)
	}
	row.Idle, row.Expires = now.Add(time.Minute), now.Add(time.Minute)
	if got := server.CLI("exists", store.rowKey(row.Key)); got != "1" {
		t.Fatal("the row has gone: the test tests nothing")
	}
	save(t, store, row)
}

// FuzzDecodeRow: whoever can write to the server must not be able to stop Genkan.
func FuzzDecodeRow(f *testing.F) {
	e := entry{nonce: "12345678", tags: []session.Tag{{1}, {2}}}
	moment := momentText(time.UnixMilli(1_900_000_000_000))
	f.Add([]byte(versionText(7) + moment + moment + moment + e.nonce + tagsText(e.tags) + "data"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		row, tags, err := decodeRow(session.Key{}, raw)
		if err == nil && len(row.Data)+32*len(tags)+77 != len(raw) {
			t.Errorf("%d bytes, %d tags, %d of data", len(raw), len(tags), len(row.Data))
		}
	})
}

func TestMomentsSortAsText(t *testing.T) {
	t.Parallel()
	last := ""
	for _, moment := range []time.Time{
		{}, time.UnixMilli(-1), time.UnixMilli(0), time.UnixMilli(1), time.UnixMilli(999_999_999_999),
		time.UnixMilli(1_000_000_000_000), time.Date(2191, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(290_000, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		text := momentText(moment)
		if len(text) != 16 || text <= last {
			t.Errorf("%v is %q after %q", moment, text, last)
		}
		last = text
	}
}

// TestARowIsNeverWrittenBeforeItsTags: whoever is stopped in between leaves members
// without a row, and not a session that signing out everywhere would miss.
func TestARowIsNeverWrittenBeforeItsTags(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{ACL: &backing.ACL{
		User: "genkan", Password: "right", Rules: strings.Replace(aclRules, "+zadd", "", 1),
	}})
	store := opened(t, "redis://genkan:right@"+server.Addr)
	row := rowOf(1, session.Tag{1})
	if _, err := store.Save(t.Context(), row); !isFault(err) {
		t.Errorf("Save: got %v, want a fault", err)
	}
	if _, err := store.Load(t.Context(), row.Key); err != session.ErrNone {
		t.Errorf("Load: got %v, want ErrNone", err)
	}
}

// TestALateRemovalHarmsNobody: one Save takes a row's old tag away only after another has
// given it back.
func TestALateRemovalHarmsNobody(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	store := opened(t, "redis://"+server.Addr)
	tag := session.Tag{1}
	row := save(t, store, rowOf(1, tag))
	c := *store.client.Load()
	members, err := c.Do(t.Context(), c.B().Zrange().Key(store.tagKey(tag)).Min("0").Max("-1").Build()).AsStrSlice()
	if err != nil || len(members) != 1 {
		t.Fatal(members, err)
	}
	first := entry{nonce: members[0][len(row.Key):], tags: []session.Tag{tag}}
	row.Tags = nil
	row = save(t, store, row)
	row.Tags = []session.Tag{tag}
	row = save(t, store, row)
	store.leave(t.Context(), c, row.Key, first)
	if got := keysFound(t, store, 10, tag); !got[row.Key] {
		t.Error("the row is not found")
	}
}
