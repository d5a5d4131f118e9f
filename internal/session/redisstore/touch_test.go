package redisstore

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"genkan/internal/backing"
	"genkan/internal/session"
)

// activityOf is a list of count, three of whose rows are there.
func activityOf(t *testing.T, store *Store, count int) (all []session.Activity, there []session.Row) {
	t.Helper()
	for i := range count {
		row := rowOf(byte(i))
		row.Key[1] = byte(i >> 8)
		if i%(count/2-1) == 0 {
			there = append(there, save(t, store, row))
		}
		all = append(all, session.Activity{Key: row.Key, Seen: row.Seen.Add(time.Minute), Idle: row.Idle.Add(time.Minute)})
	}
	return all, there
}

func wantTouched(t *testing.T, store *Store, all []session.Activity, there []session.Row) {
	t.Helper()
	if err := store.Touch(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for _, row := range there {
		after, err := store.Load(t.Context(), row.Key)
		if err != nil || after.Seen.Sub(row.Seen).Round(time.Second) != time.Minute {
			t.Errorf("moved by %v, %v", after.Seen.Sub(row.Seen), err)
		}
	}
}

// stat is a number in what a server says of itself.
func stat(t *testing.T, server *backing.RedisServer, section, name string) int {
	t.Helper()
	_, rest, ok := strings.Cut(server.CLI("info", section), name)
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	n, err := strconv.Atoi(rest[:digits])
	if !ok {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAServerThatForgotTheScriptIsToldOnceForAllActivity(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	store := opened(t, "redis://"+server.Addr)
	all, there := activityOf(t, store, session.MaxTouched)
	server.CLI("script", "flush")
	server.CLI("config", "resetstat")
	wantTouched(t, store, all, there)
	if got := stat(t, server, "commandstats", "cmdstat_eval:calls="); got != 1 {
		t.Errorf("told %d times", got)
	}
	if got := stat(t, server, "stats", "total_reads_processed:"); got > session.MaxTouched/2 {
		t.Errorf("%d rows took the server %d reads: they did not come together", len(all), got)
	}
}

func TestEachMasterOfAClusterIsToldTheScriptOnce(t *testing.T) {
	t.Parallel()
	set := backing.Cluster(t)
	store := opened(t, clusterAddress(set, 3))
	all, there := activityOf(t, store, session.MaxTouched)
	for _, node := range set.Nodes {
		node.CLI("script", "flush")
		node.CLI("config", "resetstat")
	}
	wantTouched(t, store, all, there)
	told := 0
	for _, node := range set.Nodes {
		told += stat(t, node, "commandstats", "cmdstat_eval:calls=")
	}
	if told != 3 {
		t.Errorf("three masters were told %d times", told)
	}
}

func TestAFaultOfAnyRowIsOneOfTouch(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{ACL: &backing.ACL{User: "genkan", Password: "right", Rules: aclRules}})
	store := opened(t, "redis://genkan:right@"+server.Addr)
	all, _ := activityOf(t, store, 4)
	for i, refused := range all {
		rights := []string{"acl", "setuser", "genkan", "resetkeys"}
		for _, a := range all {
			if a != refused {
				rights = append(rights, "~"+store.rowKey(a.Key))
			}
		}
		server.CLI(rights...)
		if err := store.Touch(t.Context(), all); !isFault(err) || !strings.Contains(fmt.Sprint(err), "NOPERM") {
			t.Errorf("row %d is refused: %v", i, err)
		}
	}
}
