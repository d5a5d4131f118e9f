package redisstore

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"genkan/internal/backing"
	"genkan/internal/session"
	"genkan/internal/session/storetest"
)

// aclRules are the ones that the package comment gives.
const aclRules = "resetchannels -@all ~genkan:* +get +set +getrange +setrange +del +pexpireat +pexpiretime" +
	" +zadd +zrem +zrange +eval +evalsha +time +wait +role +info +ping +asking +select" +
	" +client|tracking +cluster|slots +cluster|shards"

var prefixes atomic.Int64

// ownPrefix makes the keys of one store apart from those of any other.
func ownPrefix() string { return fmt.Sprintf("genkan:%d", prefixes.Add(1)) }

func query(address, option string) string {
	if strings.Contains(address, "?") {
		return address + "&" + option
	}
	return address + "?" + option
}

// journal is a log to be read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func open(t testing.TB, address string, now func() time.Time, log *slog.Logger) *Store {
	t.Helper()
	c, err := Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	store, err := Open(t.Context(), c, now, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// opened is an empty store of its own.
func opened(t testing.TB, address string) *Store {
	t.Helper()
	return open(t, query(address, "prefix="+ownPrefix()), time.Now, slog.New(slog.DiscardHandler))
}

func sibling(t testing.TB, store *Store) *Store {
	t.Helper()
	again, err := Open(t.Context(), store.config, store.now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	return again
}

func conform(t *testing.T, address string) {
	t.Helper()
	storetest.Run(t, storetest.Options{
		SelfSweeping: true,
		Open: func(t *testing.T, now func() time.Time) session.Store {
			return open(t, query(address, "prefix="+ownPrefix()), now, slog.New(slog.DiscardHandler))
		},
		Sibling: func(t *testing.T, store session.Store) session.Store { return sibling(t, store.(*Store)) },
	})
}

func TestRedisKeepsTheContract(t *testing.T) {
	t.Parallel()
	conform(t, "redis://"+backing.Redis(t, backing.RedisOptions{}).Addr+"/3")
}

func TestRedisWithTLSAndAClientCertificateKeepsTheContract(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{TLS: true})
	server.CLI("config", "set", "tls-auth-clients", "yes")
	conform(t, fmt.Sprintf("rediss://%s?ca_file=%s&cert_file=%s&key_file=%s", server.Addr, server.CAFile, server.CertFile, server.KeyFile))
}

func TestAUserWithTheDocumentedPermissionsKeepsTheContract(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{ACL: &backing.ACL{User: "genkan", Password: "p%40ss", Rules: aclRules}})
	conform(t, "redis://genkan:p%2540ss@"+server.Addr+"/1")
}

func TestClusterKeepsTheContract(t *testing.T) {
	t.Parallel()
	conform(t, clusterAddress(backing.Cluster(t), 2))
}

func TestSentinelKeepsTheContract(t *testing.T) {
	t.Parallel()
	conform(t, sentinelAddress(t, backing.Sentinel(t)))
}

// clusterAddress names the first count nodes, and the user that the package comment gives.
func clusterAddress(set *backing.ClusterSet, count int) string {
	for _, node := range set.Nodes {
		allow(node)
	}
	return "redis+cluster://genkan:right@" + strings.Join(set.Addrs[:count], ",")
}

func allow(node *backing.RedisServer) {
	node.CLI(append([]string{"acl", "setuser", "genkan", "on", ">right"}, strings.Fields(aclRules)...)...)
}

// sentinelAddress has the users that the package comment gives, at servers and sentinels.
func sentinelAddress(t *testing.T, set *backing.SentinelSet) string {
	t.Helper()
	for _, node := range set.Nodes {
		allow(node)
	}
	for _, address := range set.Addrs {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, ForceSingleClient: true, DisableCache: true})
		if err != nil {
			t.Fatal(err)
		}
		rules := strings.Fields("on >watching resetchannels &* -@all +sentinel|get-master-addr-by-name +sentinel|sentinels" +
			" +subscribe +unsubscribe +ping +client|tracking")
		err = c.Do(t.Context(), c.B().AclSetuser().Username("watcher").Rule(rules...).Build()).Error()
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return "redis+sentinel://genkan:right@" + strings.Join(set.Addrs, ",") + "/" + set.Master +
		"?sentinel_user=watcher&sentinel_password=watching"
}
