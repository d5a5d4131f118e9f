package backing

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// SentinelSet is one master with two replicas, watched by three sentinels of which two
// must agree. They call a master down after one second without an answer.
type SentinelSet struct {
	// Addrs are the sentinels' hosts and ports, Master the name they know the set by.
	Addrs  []string
	Master string
	// Nodes are the three servers, whichever is the master now; it was the first.
	Nodes []*RedisServer

	t         testing.TB
	sentinels []*RedisServer
}

// Sentinel starts the set and returns when all its parts know each other.
func Sentinel(t testing.TB) *SentinelSet {
	t.Helper()
	s := &SentinelSet{t: t, Master: "genkan-master"}
	master := Redis(t, RedisOptions{})
	follow := "replicaof 127.0.0.1 " + master.portText()
	s.Nodes = []*RedisServer{master, Redis(t, RedisOptions{Config: []string{follow}}), Redis(t, RedisOptions{Config: []string{follow}})}
	await(t, "two replicas follow the master", func() error { return answers(master, 2, "state=online", "info", "replication") })
	for range 3 {
		sentinel := &RedisServer{}
		sentinel.launch(t, tempDir(t), func() []string {
			monitor := "sentinel monitor " + s.Master + " 127.0.0.1 " + master.portText() + " 2"
			return []string{
				"port " + sentinel.portText(), monitor,
				"sentinel down-after-milliseconds " + s.Master + " 1000",
				"sentinel failover-timeout " + s.Master + " 5000",
			}
		}, "--sentinel")
		s.sentinels = append(s.sentinels, sentinel)
		s.Addrs = append(s.Addrs, sentinel.Addr)
	}
	s.awaitAcquaintance()
	return s
}

func (s *SentinelSet) awaitAcquaintance() {
	s.t.Helper()
	for _, sentinel := range s.sentinels {
		await(s.t, "the sentinels know each other and the replicas", func() error {
			return errors.Join(
				answers(sentinel, 1, "status=ok,address="+s.Nodes[0].Addr+",slaves=2,sentinels=3", "info", "sentinel"),
				answers(sentinel, 1, "OK 3 usable Sentinels", "sentinel", "ckquorum", s.Master))
		})
	}
}

// orderAgain is when a sentinel has given a fail-over up, for which it takes more than its
// failover-timeout: on a busy machine the replica it has chosen may answer late.
const orderAgain = 12 * time.Second

// CurrentMaster is the address that the first sentinel gives to clients now. After a
// death it is the dead one's until the sentinels have agreed on another.
func (s *SentinelSet) CurrentMaster() string {
	s.t.Helper()
	return strings.Replace(s.sentinels[0].CLI("sentinel", "get-master-addr-by-name", s.Master), "\n", ":", 1)
}

// Failover orders another master while the present one lives, and returns the new one's
// address when it takes writes. The old one becomes a replica.
func (s *SentinelSet) Failover() string {
	s.t.Helper()
	old := s.CurrentMaster()
	var ordered time.Time
	await(s.t, "a sentinel carries the order out", func() error {
		switch {
		case s.CurrentMaster() != old:
			return nil
		case time.Since(ordered) < orderAgain:
			return errors.New("it has given up, or takes long")
		}
		_, err := s.sentinels[0].cli("sentinel", "failover", s.Master)
		if err == nil {
			ordered = time.Now()
			err = errors.New("it has just been ordered")
		}
		return err
	})
	return s.AwaitMaster(old)
}

// KillMaster kills the present master with signal 9 and does not wait: the sentinels
// notice in about a second. Start of what it returns brings it back, as a replica.
func (s *SentinelSet) KillMaster() *RedisServer {
	s.t.Helper()
	addr := s.CurrentMaster()
	for _, node := range s.Nodes {
		if node.Addr == addr {
			node.Kill()
			return node
		}
	}
	s.t.Fatalf("the sentinels name a stranger, %s", addr)
	return nil
}

// AwaitMaster waits until all sentinels name one master, which is not old and takes
// writes, and returns its address.
func (s *SentinelSet) AwaitMaster(old string) string {
	s.t.Helper()
	var now string
	await(s.t, "the sentinels agree on another master than "+old, func() error {
		now = s.CurrentMaster()
		if now == old {
			return errors.New("it is the old one still")
		}
		for _, sentinel := range s.sentinels {
			host, port, _ := strings.Cut(now, ":")
			if err := answers(sentinel, 1, host+"\n"+port, "sentinel", "get-master-addr-by-name", s.Master); err != nil {
				return err
			}
		}
		for _, node := range s.Nodes {
			if node.Addr == now {
				return answers(node, 1, "role:master", "info", "replication")
			}
		}
		return fmt.Errorf("%s is a stranger", now)
	})
	return now
}

// answers tells why the answer to a command does not hold want so many times.
func answers(s *RedisServer, times int, want string, command ...string) error {
	got, err := s.cli(command...)
	got = strings.ReplaceAll(got, "\r", "")
	if err == nil && strings.Count(got, want) != times {
		err = fmt.Errorf("%s answers %v without %d times %q: %s", s.Addr, command, times, want, got)
	}
	return err
}
