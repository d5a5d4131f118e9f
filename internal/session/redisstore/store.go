package redisstore

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"genkan/internal/session"
)

const (
	// wait bounds every operation, also one whose context has no deadline.
	wait = 5 * time.Second
	// abandoned is how long after its end a lease nobody has released is kept.
	abandoned = 10 * time.Minute
)

var errClosed = errors.New("the store is closed")

// Store is a session.Store in Redis.
type Store struct {
	now     func() time.Time
	config  Config
	prefix  string
	scripts scripts
	herald  *herald
	secrets *strings.Replacer // of what no error may show

	client atomic.Pointer[rueidis.Client] // nil while there has been no connection
	down   atomic.Pointer[error]          // why, then
	stamps session.Stamps
	last   atomic.Pointer[sight]
	lost   chan struct{}       // a connection was: look at once
	missed [slots]atomic.Int64 // by master, when an acknowledgement was, in Unix nanoseconds
	secure *tls.Config         // nil without TLS
	again  time.Duration       // after which CLIENT TRACKING, once refused, is tried again

	context context.Context // over when the store is closed
	close   context.CancelFunc
	ended   sync.WaitGroup
}

var _ session.Store = (*Store)(nil)

// scripts are what must happen at once on the server.
type scripts struct{ save, touch, delete, enter, lease, release script }

type script struct {
	text, sum string // its name at the server is its SHA-1
	*rueidis.Lua
}

//go:embed script/read.lua
var readText string

//go:embed script/save.lua
var saveText string

//go:embed script/touch.lua
var touchText string

//go:embed script/delete.lua
var deleteText string

//go:embed script/enter.lua
var enterText string

//go:embed script/lease.lua
var leaseText string

//go:embed script/release.lua
var releaseText string

func newScripts() scripts {
	of := func(text string) script {
		text = readText + text
		sum := sha1.Sum([]byte(text)) // Redis's choice, and no secret
		return script{text, hex.EncodeToString(sum[:]), rueidis.NewLuaScript(text)}
	}
	return scripts{of(saveText), of(touchText), of(deleteText), of(enterText), of(leaseText), of(releaseText)}
}

// Load implements session.Store. A row that cannot be read counts as none, and is logged.
func (s *Store) Load(ctx context.Context, key session.Key) (session.Row, error) {
	return do(ctx, s, "load", func(ctx context.Context, c rueidis.Client) (session.Row, error) {
		raw, err := c.Do(ctx, c.B().Get().Key(s.rowKey(key)).Build().Pin()).AsBytes()
		if s.isNone(err) {
			return session.Row{}, session.ErrNone
		} else if err != nil {
			return session.Row{}, err
		}
		row, _, ok := s.decode(key, raw)
		if !ok || isOver(row, s.now()) {
			return session.Row{}, session.ErrNone
		}
		return row, nil
	})
}

// Save implements session.Store. A row whose tags stay, as in the renewal of tokens, is
// replaced in one round trip.
func (s *Store) Save(ctx context.Context, row session.Row) (uint64, error) {
	if len(row.Data) > session.MaxData || len(row.Tags) > session.MaxTags {
		return 0, session.ErrTooLarge
	}
	defer s.stamps.Changed(row.Key)
	return do(ctx, s, "save", func(ctx context.Context, c rueidis.Client) (uint64, error) {
		if err := s.save(ctx, c, row); err != nil {
			return 0, err
		}
		return row.Version + 1, nil
	})
}

// errTags: the row cannot be replaced without a change of its tags.
var errTags = errors.New("redisstore: other tags")

func (s *Store) save(ctx context.Context, c rueidis.Client, row session.Row) error {
	e := entry{tags: setOf(row.Tags)}
	if row.Version > 0 {
		if _, err := s.put(ctx, c, row, e); !errors.Is(err, errTags) {
			return err
		}
	}
	e.nonce = newNonce()
	if err := s.enter(ctx, c, row, e); err != nil {
		return err
	}
	before, err := s.put(ctx, c, row, e)
	switch {
	case err == nil:
		s.leave(ctx, c, row.Key, before)
	case errors.Is(err, session.ErrConflict), errors.Is(err, session.ErrNone):
		s.leave(ctx, c, row.Key, e)
	}
	return err
}

// put writes the row and returns what the one before was found by.
func (s *Store) put(ctx context.Context, c rueidis.Client, row session.Row, e entry) (before entry, err error) {
	expected := ""
	if row.Version > 0 {
		expected = versionText(row.Version)
	}
	return verdict(s.write(ctx, c, s.scripts.save, s.rowKey(row.Key),
		momentText(s.now()), expected, milliseconds(skew), versionText(row.Version+1), momentText(row.Seen),
		momentText(row.Idle), momentText(row.Expires), e.nonce, tagsText(e.tags), rueidis.BinaryString(row.Data)))
}

// Touch implements session.Store: one pipeline. After a restart or a fail-over a server does
// not know the script; it is told by one row, and the others go in one pipeline again.
func (s *Store) Touch(ctx context.Context, all []session.Activity) error {
	_, err := do(ctx, s, "touch", func(ctx context.Context, c rueidis.Client) (entry, error) {
		for {
			unknown, err := s.touch(ctx, c, all)
			if err != nil || len(unknown) == 0 {
				return entry{}, err
			}
			first := unknown[0]
			if err := touched(s.scripts.touch.Exec(ctx, c, []string{s.rowKey(first.Key)}, s.touching(first))); err != nil {
				return entry{}, err
			}
			all = unknown[1:]
		}
	})
	return err
}

// touch returns those whose server does not know the script.
func (s *Store) touch(ctx context.Context, c rueidis.Client, all []session.Activity) (unknown []session.Activity, err error) {
	commands := make(rueidis.Commands, len(all))
	for i, a := range all {
		commands[i] = c.B().Evalsha().Sha1(s.scripts.touch.sum).Numkeys(1).Key(s.rowKey(a.Key)).Arg(s.touching(a)...).Build()
	}
	for i, result := range c.DoMulti(ctx, commands...) {
		err := touched(result)
		if fault, ok := rueidis.IsRedisErr(err); ok && fault.IsNoScript() {
			unknown = append(unknown, all[i])
		} else if err != nil {
			return nil, err
		}
	}
	return unknown, nil
}

// touched is the fault in an answer; a row that is not there is none.
func touched(result rueidis.RedisResult) error {
	if _, err := verdict(result); !errors.Is(err, session.ErrNone) {
		return err
	}
	return nil
}

// touching are the arguments of the script that moves a row.
func (s *Store) touching(a session.Activity) []string {
	return []string{momentText(s.now()), milliseconds(skew), momentText(a.Seen), momentText(a.Idle)}
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, key session.Key, version uint64) error {
	expected := ""
	if version > 0 {
		expected = versionText(version)
	}
	defer s.stamps.Changed(key)
	_, err := do(ctx, s, "delete", func(ctx context.Context, c rueidis.Client) (entry, error) {
		before, err := verdict(s.write(ctx, c, s.scripts.delete, s.rowKey(key), momentText(s.now()), expected))
		if err == nil {
			s.leave(ctx, c, key, before)
		}
		return before, err
	})
	return err
}

// Stamp implements session.Store.
func (s *Store) Stamp(key session.Key) (stamp uint64, ok bool) { return s.stamps.Of(key) }

// Lag implements session.Store.
func (s *Store) Lag() time.Duration { return session.Lag }

// Lease implements session.Store.
func (s *Store) Lease(ctx context.Context, key session.Key, owner session.Owner, ttl time.Duration) (session.Lease, error) {
	return do(ctx, s, "lease", func(ctx context.Context, c rueidis.Client) (session.Lease, error) {
		answer, err := s.write(ctx, c, s.scripts.lease, s.leaseKey(key),
			string(owner[:]), milliseconds(max(ttl, 0)), milliseconds(abandoned)).AsStrSlice()
		if err == nil && len(answer) != 1 {
			err = errAnswer
		}
		if err != nil {
			return session.Lease{}, err
		}
		return session.Lease{Held: answer[0] != "refused", Inherited: answer[0] == "inherited"}, nil
	})
}

// Release implements session.Store.
func (s *Store) Release(ctx context.Context, key session.Key, owner session.Owner) error {
	_, err := do(ctx, s, "release", func(ctx context.Context, c rueidis.Client) (entry, error) {
		return verdict(s.scripts.release.Exec(ctx, c, []string{s.leaseKey(key)}, []string{string(owner[:])}))
	})
	return err
}

// Sweep implements session.Store: Redis removes rows and leases by itself.
func (s *Store) Sweep(ctx context.Context, _ int) (int, error) {
	return do(ctx, s, "sweep", func(context.Context, rueidis.Client) (int, error) { return 0, nil })
}

// pings is how many keys Ping asks for in a Cluster, so that every master is among those
// who have to answer.
const pings = 32

// Ping implements session.Store with a write that changes nothing and a read, at every
// server that holds rows.
func (s *Store) Ping(ctx context.Context) error {
	count := 1
	if s.config.kind == cluster {
		count = pings
	}
	_, err := do(ctx, s, "ping", func(ctx context.Context, c rueidis.Client) (none struct{}, err error) {
		var commands rueidis.Commands
		for i := range count {
			key := s.prefix + ":ping:" + strconv.Itoa(i) // never there, so XX sets nothing
			commands = append(commands, c.B().Set().Key(key).Value("").Xx().Build(), c.B().Get().Key(key).Build().Pin())
		}
		for _, result := range c.DoMulti(ctx, commands...) {
			if err := result.Error(); err != nil && !rueidis.IsRedisNil(err) {
				return none, err
			}
		}
		return none, nil
	})
	return err
}

func (s *Store) rowKey(key session.Key) string { return s.prefix + ":s:" + hex.EncodeToString(key[:]) }
func (s *Store) leaseKey(key session.Key) string {
	return s.prefix + ":l:" + hex.EncodeToString(key[:])
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// isNone reports whether an answer says that a key is not there, or that it holds nothing
// of ours: one bad key is no fault of the server.
func (s *Store) isNone(err error) bool {
	if rueidis.IsRedisNil(err) {
		return true
	}
	if fault, ok := rueidis.IsRedisErr(err); !ok || !strings.HasPrefix(fault.Error(), "WRONGTYPE") {
		return false
	}
	s.herald.say(slog.LevelWarn, "a key in Redis is of another type than Genkan made it, and counts as none", "error", err)
	return true
}

func (s *Store) decode(key session.Key, raw []byte) (session.Row, []session.Tag, bool) {
	row, tags, err := decodeRow(key, raw)
	if err != nil {
		s.herald.say(slog.LevelWarn, "a stored session cannot be read and counts as none", "error", err)
	}
	return row, tags, err == nil
}

var errAnswer = errors.New("a script gave an answer that this program does not know")

// verdict reads what a script answers.
func verdict(result rueidis.RedisResult) (entry, error) {
	answer, err := result.AsStrSlice()
	if err != nil {
		return entry{}, err
	}
	if len(answer) == 0 {
		return entry{}, errAnswer
	}
	switch answer[0] {
	case "ok":
		if len(answer) < 2 || answer[1] == "" {
			return entry{}, nil
		}
		before, err := decodeEntry([]byte(answer[1]))
		if err != nil { // of a row that is gone now
			before = entry{}
		}
		return before, nil
	case "none":
		return entry{}, session.ErrNone
	case "conflict":
		return entry{}, session.ErrConflict
	case "tags":
		return entry{}, errTags
	}
	return entry{}, errAnswer
}

// do runs one operation and says which it was when the store is at fault. The operation
// runs on although its caller has gone: a connection that it makes serves others too, and
// a write that is on its way cannot be called back.
func do[T any](ctx context.Context, s *Store, name string, operation func(context.Context, rueidis.Client) (T, error)) (T, error) {
	var none T
	client := s.client.Load()
	switch {
	case ctx.Err() != nil:
		return none, s.fault(name, ctx.Err())
	case s.context.Err() != nil:
		return none, s.fault(name, errClosed)
	case client == nil:
		return none, s.fault(name, *s.down.Load())
	}
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
		defer cancel()
		value, err := operation(ctx, *client)
		done <- outcome{value, err}
	}()
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-limited.Done():
		return none, s.fault(name, limited.Err())
	case o := <-done:
		if o.err != nil {
			return none, s.fault(name, o.err)
		}
		return o.value, nil
	}
}

// fault leaves what the contract names as it is, and no password in the rest.
func (s *Store) fault(name string, err error) error {
	if errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrConflict) {
		return err
	}
	return fmt.Errorf("redisstore: %s: %w", name, s.clean(err))
}
