package backing

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestSentinelsElectAnotherMaster(t *testing.T) {
	t.Parallel()
	s := Sentinel(t)
	first := s.CurrentMaster()
	if first != s.Nodes[0].Addr {
		t.Fatalf("the master is %s, not the first node", first)
	}
	s.Nodes[0].CLI("set", "key", "value")
	if n := s.Nodes[0].CLI("wait", "2", "30000"); n != "2" {
		t.Fatalf("%s replicas have the value", n)
	}

	killed := s.KillMaster()
	second := s.AwaitMaster(first)
	if killed.Addr != first || second == first {
		t.Fatalf("killed %s, was %s, is %s", killed.Addr, first, second)
	}
	if got := s.node(t, second).CLI("get", "key"); got != "value" {
		t.Errorf("the new master has %q", got)
	}
	killed.Start()
	await(t, "the killed one follows", func() error {
		return answers(killed, 1, "master_link_status:up", "info", "replication")
	})

	if third := s.Failover(); third == second {
		t.Errorf("the master is still %s", third)
	}
}

func (s *SentinelSet) node(t *testing.T, addr string) *RedisServer {
	t.Helper()
	i := slices.IndexFunc(s.Nodes, func(n *RedisServer) bool { return n.Addr == addr })
	if i < 0 {
		t.Fatalf("%s is none of the nodes", addr)
	}
	return s.Nodes[i]
}

func TestClusterMovesSlotsAndReplacesMasters(t *testing.T) {
	t.Parallel()
	c := Cluster(t)
	before := c.view()
	masters := c.Masters()
	if want := c.Addrs[:3]; !slices.Equal(masters, want) {
		t.Fatalf("masters %v, want %v", masters, want)
	}
	for i := range 20 {
		c.Nodes[0].CLI("-c", "set", fmt.Sprint("key", i), fmt.Sprint(i))
	}

	c.MoveSlots(50)
	c.AwaitWhole()
	moved := 0
	for addr, m := range c.view() {
		moved += max(0, m.slots-before[addr].slots)
	}
	if moved != 50 {
		t.Errorf("%d slots have moved, want 50", moved)
	}

	killed := c.KillMaster(1)
	c.AwaitPromotion(killed)
	now := c.Masters()
	if killed.Addr != masters[1] || len(now) != 3 || slices.Contains(now, killed.Addr) {
		t.Errorf("%s was killed, of %v; now %v", killed.Addr, masters, now)
	}
	killed.Start()
	c.AwaitWhole()
	for i := range 20 {
		if got := c.Nodes[0].CLI("-c", "get", fmt.Sprint("key", i)); !strings.HasSuffix(got, fmt.Sprint(i)) {
			t.Errorf("key%d is %q", i, got)
		}
	}
}

func TestSlotCount(t *testing.T) {
	t.Parallel()
	for slots, want := range map[string]int{"7": 1, "0-5460": 5461, "16383": 1, "[93-<-292f8b365bb7]": 0, "[77->-e7d1eecce10f]": 0, "": 0} {
		if got := slotCount(slots); got != want {
			t.Errorf("%q: %d, want %d", slots, got, want)
		}
	}
}
