package redisstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"golang.org/x/sync/errgroup"

	"genkan/internal/session"
)

// Stamps rest on Redis' client tracking in broadcast mode. rueidis turns it on for every
// connection before it sends anything else, so the notices of a row come over the very
// connection that the row was read over, behind the row. When that connection ends,
// rueidis says so (a notice of nil), and every stamp changes: nothing that was read over
// it is used again. What is left is a connection that lives and brings no notices: to a
// server that hangs, or that has lost its office to another one. So all servers are asked
// every second for their role and their slots; an answer that is late or other than the
// last one changes every stamp too, and with no master there are none. And the masters
// are asked for nothing every few milliseconds: the answer comes behind every notice of
// what was done before, which proves the stamps for a moment. A server that rows may be
// read from and that has not said what it is leaves them without proof.
const (
	lookEvery = time.Second
	lookLimit = 1500 * time.Millisecond
	// lookPause keeps connections that end again and again from asking without pause.
	lookPause = 20 * time.Millisecond

	slots = 1 << 14
)

var errNoMaster = errors.New("no master is among the servers")

// sight is what a look at the servers has shown.
type sight struct {
	masters  int
	answers  map[string]string // of each server, "" for none
	leads    map[string]bool   // of each server that has ever answered, whether as a master
	silent   int
	replicas *owners
	err      error // why one was silent
}

// owners are the masters of the slots that have replicas, each by a number of its own;
// 0 is a slot without any.
type owners [slots]uint16

// noticed takes the notices of one connection; nil is its end, or of all rows.
func (s *Store) noticed(keys []rueidis.RedisMessage) {
	if keys == nil {
		s.stamps.Down()
		s.hurry()
		return
	}
	for i := range keys {
		name, _ := keys[i].ToString()
		var key session.Key
		text, ours := strings.CutPrefix(name, s.prefix+":s:")
		if ours && len(text) == hex.EncodedLen(len(key)) {
			if _, err := hex.Decode(key[:], []byte(text)); err == nil {
				s.stamps.Changed(key)
			}
		}
	}
}

// hurry makes the next look come at once.
func (s *Store) hurry() {
	select {
	case s.lost <- struct{}{}:
	default: // somebody has said so already
	}
}

// watch looks after a client until the store is closed, or until the client turns out to
// need what the servers do not have. It calls first after the first look.
func (s *Store) watch(client rueidis.Client, tracking bool, first func()) error {
	last := &sight{}
	inspected := false
	var again <-chan time.Time
	if tracking {
		proving, stop := context.WithCancel(s.context)
		defer stop()
		s.ended.Go(func() { s.prove(proving, client) })
	} else {
		tick := time.NewTicker(s.again)
		defer tick.Stop()
		again = tick.C
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		now := s.look(client, last)
		s.last.Store(now)
		if tracking && isRefused(now.err) {
			return now.err
		}
		if now.err != nil {
			s.herald.say(slog.LevelWarn, "not all Redis servers answer as they should", "error", s.clean(now.err), "hint", hint(now.err))
		}
		if tracking {
			s.judge(last, now)
			s.beat(s.context, client)
		}
		last = now
		if !inspected && now.silent == 0 {
			inspected = true
			s.inspect(client)
		}
		first()
		select {
		case <-s.context.Done():
			return s.context.Err()
		case <-tick.C:
		case <-again:
			if s.mayFollow() {
				return errAgain
			}
		case <-s.lost:
			select {
			case <-s.context.Done():
			case <-time.After(lookPause):
			}
		}
	}
}

// prove keeps the stamps proved until ctx ends.
func (s *Store) prove(ctx context.Context, client rueidis.Client) {
	tick := time.NewTicker(session.Lag / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.beat(ctx, client)
	}
}

// beat proves the stamps when all masters answer, over the connections that rows are
// read over. An answer later than Lag would prove nothing. Connections are left to others
// to make, who have more time for it: it asks nobody while there are no stamps.
func (s *Store) beat(ctx context.Context, client rueidis.Client) {
	last := s.last.Load()
	if last == nil || !s.stamps.IsUp() {
		return
	}
	asked := time.Now()
	var masters []rueidis.Client
	for node, c := range client.Nodes() {
		answer, met := last.answers[node]
		leads, known := last.leads[node]
		switch {
		case !met:
			s.hurry()
			return
		case known && !leads:
		case answer == "":
			return
		default:
			masters = append(masters, c)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, session.Lag)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range masters {
		group.Go(func() error { return c.Do(ctx, c.B().Ping().Build().Pin()).Error() })
	}
	if len(masters) > 0 && group.Wait() == nil {
		s.stamps.Proved(asked)
	}
}

// judge decides what a look means for the stamps.
func (s *Store) judge(last, now *sight) {
	switch {
	case now.masters == 0:
		s.stamps.Down()
	case !s.stamps.IsUp(), now.silent > 0, !maps.Equal(last.answers, now.answers):
		s.stamps.Up() // and every stamp is another one
	}
}

// look asks all servers that the client knows.
func (s *Store) look(client rueidis.Client, last *sight) *sight {
	ctx, cancel := context.WithTimeout(s.context, lookLimit)
	defer cancel()
	type answer struct {
		node string
		face
		err error
	}
	nodes := client.Nodes()
	given := make(chan answer, len(nodes))
	for node, c := range nodes {
		go func() {
			face, err := s.ask(ctx, c)
			given <- answer{node, face, err}
		}()
	}
	seen := &sight{answers: map[string]string{}, leads: map[string]bool{}, replicas: &owners{}}
	for node := range nodes {
		seen.answers[node] = ""
		if leads, known := last.leads[node]; known {
			seen.leads[node] = leads
		}
	}
	for range nodes {
		var a answer
		select {
		case a = <-given:
		case <-ctx.Done():
			// A connection that is being made does not know of ctx.
			seen.silent++
			seen.err = errors.Join(seen.err, ctx.Err())
			continue
		}
		seen.answers[a.node] = a.text
		if a.err != nil {
			seen.silent++
			seen.err = errors.Join(seen.err, fmt.Errorf("%s: %w", a.node, a.err))
			continue
		}
		seen.leads[a.node] = a.master
		if a.master {
			seen.masters++
			seen.replicas = a.replicas
		}
	}
	if seen.masters == 0 && seen.err == nil {
		seen.err = errNoMaster
	}
	return seen
}

// face is what one server says of itself.
type face struct {
	text     string
	master   bool
	replicas *owners
}

func (s *Store) ask(ctx context.Context, c rueidis.Client) (face, error) {
	commands := rueidis.Commands{c.B().Role().Build().Pin()}
	if s.config.kind == cluster {
		commands = append(commands, c.B().ClusterSlots().Build().Pin())
	}
	results := c.DoMulti(ctx, commands...)
	role, err := results[0].ToArray()
	if err != nil {
		return face{}, err
	}
	if len(role) < 3 {
		return face{}, errAnswer
	}
	name, _ := role[0].ToString()
	f := face{text: name, master: name == "master", replicas: &owners{}}
	if s.config.kind == cluster {
		ranges, err := results[1].ToArray()
		if err != nil {
			return face{}, err
		}
		numbers := map[string]uint16{}
		for _, r := range ranges {
			f.text += r.String()
			f.mark(r, numbers)
		}
	} else if connected, _ := role[2].ToArray(); f.master && len(connected) > 0 {
		for i := range f.replicas {
			f.replicas[i] = 1
		}
	}
	return f, nil
}

// mark notes the replicas of a range: first and last slot, the master, and its replicas.
// The number of a master is that of the first slot it was met at, and one.
func (f *face) mark(r rueidis.RedisMessage, numbers map[string]uint16) {
	parts, _ := r.ToArray()
	if len(parts) < 4 {
		return
	}
	first, err1 := parts[0].AsInt64()
	last, err2 := parts[1].AsInt64()
	if err1 != nil || err2 != nil || first < 0 || last >= slots {
		return
	}
	master := parts[2].String()
	if numbers[master] == 0 {
		numbers[master] = uint16(first) + 1
	}
	for slot := first; slot <= last; slot++ {
		f.replicas[slot] = numbers[master]
	}
}

// inspect warns of settings that lose sessions, where INFO is allowed.
func (s *Store) inspect(client rueidis.Client) {
	ctx, cancel := context.WithTimeout(s.context, lookLimit)
	defer cancel()
	for node, c := range client.Nodes() {
		text, err := c.Do(ctx, c.B().Info().Section("server", "memory", "persistence").Build().Pin()).ToString()
		if err != nil {
			continue
		}
		info := map[string]string{}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			info[name] = value
		}
		if major, _, _ := strings.Cut(info["redis_version"], "."); atoi(major) < 7 {
			s.herald.say(slog.LevelError, "Redis is older than version 7; sessions cannot be kept in it", "node", node, "version", info["redis_version"])
		}
		if atoi(info["maxmemory"]) > 0 && info["maxmemory_policy"] != "noeviction" {
			s.herald.say(slog.LevelWarn, "Redis may evict sessions when its memory is full, and their users are signed out; set maxmemory-policy noeviction",
				"node", node, "maxmemory_policy", info["maxmemory_policy"])
		}
		if info["aof_enabled"] == "0" {
			s.herald.say(slog.LevelWarn, "Redis keeps no log of its writes: a restart loses sessions, or brings back what has ended; set appendonly yes", "node", node)
		}
	}
}

func atoi(text string) int64 {
	number, _ := strconv.ParseInt(text, 10, 64)
	return number
}
