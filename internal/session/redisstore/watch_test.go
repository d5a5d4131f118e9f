package redisstore

import (
	"maps"
	"testing"

	"github.com/redis/rueidis"

	"genkan/internal/backing"
	"genkan/internal/session"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	healthy := sight{answers: map[string]string{"a": "master0-1", "b": "slave0-1"}, masters: 1}
	with := func(change func(*sight)) sight {
		s := healthy
		s.answers = maps.Clone(healthy.answers)
		change(&s)
		return s
	}
	for name, row := range map[string]struct {
		last, now sight
		ok, same  bool // of a stamp that was valid
	}{
		"nothing new":     {healthy, healthy, true, true},
		"the first look":  {sight{}, healthy, true, false},
		"no master":       {healthy, with(func(s *sight) { s.masters = 0 }), false, false},
		"a silent server": {healthy, with(func(s *sight) { s.silent, s.answers["b"] = 1, "" }), true, false},
		"silent for long": {with(func(s *sight) { s.silent = 1 }), with(func(s *sight) { s.silent = 1 }), true, false},
		"another role":    {healthy, with(func(s *sight) { s.answers["a"], s.answers["b"] = "slave0-1", "master0-1" }), true, false},
		"other slots":     {healthy, with(func(s *sight) { s.answers["a"] = "master0-0" }), true, false},
		"a server more":   {healthy, with(func(s *sight) { s.answers["c"] = "slave0-1" }), true, false},
		"a server less":   {healthy, with(func(s *sight) { delete(s.answers, "b") }), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &Store{}
			s.stamps.Up()
			before, _ := s.stamps.Of(session.Key{})
			s.judge(&row.last, &row.now)
			if after, ok := s.stamps.Of(session.Key{}); ok != row.ok || (after == before) != row.same {
				t.Errorf("ok %v, same stamp %v; want %v, %v", ok, after == before, row.ok, row.same)
			}
		})
	}
	t.Run("up again after a loss", func(t *testing.T) {
		t.Parallel()
		s := &Store{}
		s.stamps.Down()
		s.judge(&healthy, &healthy)
		if _, ok := s.stamps.Of(session.Key{}); !ok {
			t.Error("no stamps")
		}
	})
}

// network is a client that knows other servers than the one it is connected to.
type network struct {
	rueidis.Client
	nodes map[string]rueidis.Client
}

func (n network) Nodes() map[string]rueidis.Client { return n.nodes }

func TestAllServersThatRowsMayBeReadFromHaveToProve(t *testing.T) {
	t.Parallel()
	client := *opened(t, "redis://"+backing.Redis(t, backing.RedisOptions{}).Addr).client.Load()
	pair := network{client, map[string]rueidis.Client{"a": client, "b": client}}
	for name, row := range map[string]struct {
		answers       map[string]string
		leads         map[string]bool
		up            bool
		proven, hurry bool
	}{
		"two masters":        {map[string]string{"a": "master", "b": "master"}, map[string]bool{"a": true, "b": true}, true, true, false},
		"a replica":          {map[string]string{"a": "master", "b": "slave"}, map[string]bool{"a": true, "b": false}, true, true, false},
		"a silent replica":   {map[string]string{"a": "master", "b": ""}, map[string]bool{"a": true, "b": false}, true, true, false},
		"a silent master":    {map[string]string{"a": "master", "b": ""}, map[string]bool{"a": true, "b": true}, true, false, false},
		"never heard of":     {map[string]string{"a": "master", "b": ""}, map[string]bool{"a": true}, true, false, false},
		"a new server":       {map[string]string{"a": "master"}, map[string]bool{"a": true}, true, false, true},
		"replicas only":      {map[string]string{"a": "slave", "b": "slave"}, map[string]bool{"a": false, "b": false}, true, false, false},
		"no stamps to prove": {map[string]string{"a": "master", "b": "master"}, map[string]bool{"a": true, "b": true}, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Store{lost: make(chan struct{}, 1)}
			s.stamps.Proofs = true
			s.last.Store(&sight{answers: row.answers, leads: row.leads})
			if row.up {
				s.stamps.Up()
			}
			s.beat(t.Context(), pair)
			s.stamps.Up()
			if _, proven := s.stamps.Of(session.Key{}); proven != row.proven || len(s.lost) == 1 != row.hurry {
				t.Errorf("proven %v, look at once %v; want %v, %v", proven, len(s.lost) == 1, row.proven, row.hurry)
			}
		})
	}
}
