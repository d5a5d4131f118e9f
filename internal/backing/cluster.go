package backing

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ClusterSet is a Redis Cluster of three masters with one replica each, which calls a
// node dead after two seconds.
type ClusterSet struct {
	// Addrs are the hosts and ports of all six nodes.
	Addrs []string
	// Nodes are the servers, in the order of Addrs.
	Nodes []*RedisServer

	t testing.TB
}

// member is a node as CLUSTER NODES shows it.
type member struct {
	id, addr, master string // master is the id of a replica's master, else "-"
	up               bool
	slots            int
}

// Cluster starts the nodes, joins them and returns when every one of them serves.
func Cluster(t testing.TB) *ClusterSet {
	t.Helper()
	c := &ClusterSet{t: t}
	for range 6 {
		node := Redis(t, RedisOptions{Config: []string{
			"cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 2000",
			"cluster-replica-validity-factor 0", // on a busy machine a replica is late, and has to take over all the same
		}})
		c.Nodes = append(c.Nodes, node)
		c.Addrs = append(c.Addrs, node.Addr)
	}
	c.manage(append([]string{"create"}, append(c.Addrs, "--cluster-replicas", "1", "--cluster-yes")...)...)
	c.AwaitWhole()
	return c
}

// AwaitWhole waits until all six nodes are up and agree on who serves the slots, and
// every master has its replica again.
func (c *ClusterSet) AwaitWhole() {
	c.t.Helper()
	for _, node := range c.Nodes {
		await(c.t, "every node sees the whole cluster", func() error {
			members, err := c.members(node)
			if err != nil {
				return err
			}
			for _, m := range members {
				if !m.up {
					return fmt.Errorf("%s takes %s for dead", node.Addr, m.addr)
				}
			}
			link := "master_link_status:up"
			if mine := members[node.Addr]; mine.master == "-" && mine.slots > 0 {
				link = "state=online"
			}
			return errors.Join(serves(node), answers(node, 1, link, "info", "replication"))
		})
	}
}

// Masters are the addresses of those who serve slots now, in the order of Addrs.
func (c *ClusterSet) Masters() []string {
	c.t.Helper()
	members := c.view()
	return slices.DeleteFunc(slices.Clone(c.Addrs), func(addr string) bool { return members[addr].slots == 0 })
}

// MoveSlots moves n slots with their keys from the master who has the most to the one
// who has the fewest, while both serve. It returns when they have moved.
func (c *ClusterSet) MoveSlots(n int) {
	c.t.Helper()
	members := c.view()
	masters := c.Masters()
	bySlots := func(a, b string) int { return members[a].slots - members[b].slots }
	from, to := slices.MaxFunc(masters, bySlots), slices.MinFunc(masters, bySlots)
	if from == to {
		from, to = masters[0], masters[1]
	}
	c.manage("reshard", to, "--cluster-from", members[from].id, "--cluster-to", members[to].id,
		"--cluster-slots", strconv.Itoa(n), "--cluster-yes")
}

// KillMaster kills the master with index i in Masters with signal 9 and does not wait.
// Start of what it returns brings it back, as a replica.
func (c *ClusterSet) KillMaster(i int) *RedisServer {
	c.t.Helper()
	node := c.Nodes[slices.Index(c.Addrs, c.Masters()[i])]
	await(c.t, "the replicas have all that the master has", func() error { return copied(node.CLI("info", "replication")) })
	node.Kill()
	return node
}

var (
	masterOffset  = regexp.MustCompile(`master_repl_offset:(\d+)`)
	replicaOffset = regexp.MustCompile(`slave\d+:.*,offset=(\d+)`)
)

// copied reports what of a master's INFO says that a replica lags: Redis confirms a write
// before any replica has it.
func copied(info string) error {
	own, replicas := masterOffset.FindStringSubmatch(info), replicaOffset.FindAllStringSubmatch(info, -1)
	if own == nil || len(replicas) == 0 {
		return fmt.Errorf("no replica: %s", info)
	}
	for _, r := range replicas {
		if r[1] != own[1] {
			return fmt.Errorf("a replica is at %s of %s", r[1], own[1])
		}
	}
	return nil
}

// AwaitPromotion waits until every living node knows that a replica serves the slots of
// the master that was killed.
func (c *ClusterSet) AwaitPromotion(killed *RedisServer) {
	c.t.Helper()
	for _, node := range c.Nodes {
		if node.PID() == 0 {
			continue
		}
		await(c.t, "a replica takes over from "+killed.Addr, func() error {
			members, err := c.members(node)
			if err == nil && members[killed.Addr].slots > 0 {
				err = fmt.Errorf("%s still gives %s its slots", node.Addr, killed.Addr)
			}
			return errors.Join(err, serves(node))
		})
	}
}

func serves(node *RedisServer) error {
	return errors.Join(answers(node, 1, "cluster_state:ok", "cluster", "info"),
		answers(node, 1, "cluster_slots_ok:16384", "cluster", "info"))
}

// view is the cluster as its first living node sees it, by address.
func (c *ClusterSet) view() map[string]member {
	c.t.Helper()
	for _, node := range c.Nodes {
		if node.PID() == 0 {
			continue
		}
		members, err := c.members(node)
		if err != nil {
			c.t.Fatal(err)
		}
		return members
	}
	c.t.Fatal("no node is up")
	return nil
}

// members parses CLUSTER NODES: id, address@busport, flags, master's id, two times, an
// epoch, the link's state, and then the slots, of which those in brackets are on their way.
func (c *ClusterSet) members(node *RedisServer) (map[string]member, error) {
	list, err := node.cli("cluster", "nodes")
	if err != nil {
		return nil, err
	}
	members := map[string]member{}
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			return nil, fmt.Errorf("cluster nodes: %q", line)
		}
		addr, _, _ := strings.Cut(fields[1], "@")
		m := member{id: fields[0], addr: addr, master: fields[3], up: !strings.Contains(fields[2], "fail")}
		for _, slots := range fields[8:] {
			m.slots += slotCount(slots)
		}
		members[addr] = m
	}
	if len(members) != len(c.Nodes) {
		return nil, fmt.Errorf("%s knows %d nodes", node.Addr, len(members))
	}
	return members, nil
}

// slotCount is 1 for "7", 3 for "7-9", and 0 for anything else.
func slotCount(slots string) int {
	first, last, span := strings.Cut(slots, "-")
	if !span {
		last = first
	}
	a, err1 := strconv.Atoi(first)
	b, err2 := strconv.Atoi(last)
	if err1 != nil || err2 != nil {
		return 0
	}
	return b - a + 1
}

func (c *ClusterSet) manage(args ...string) {
	c.t.Helper()
	_, err := output(func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, c.Nodes[0].client, append([]string{"--cluster"}, args...)...)
	})
	if err != nil {
		c.t.Fatal(err)
	}
}
