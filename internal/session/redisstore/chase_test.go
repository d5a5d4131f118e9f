package redisstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/backing"
	"genkan/internal/session"
)

// hunt is rows that one store writes without pause while another one reads them as a
// session.Manager does: what it has loaded it uses for as long as the stamp is the same.
type hunt struct {
	t           *testing.T
	here, there *Store
	rows        []*prey
	over        chan struct{}
}

// prey is one row of a hunt.
type prey struct {
	mu    sync.Mutex
	row   session.Row
	acked []time.Time // when the Save that made version i+1 had returned
	back  int         // versions that were acknowledged and are gone
	stale time.Duration
	used  int // from memory
}

// chase runs disturb amid a hunt and returns its rows.
func chase(t *testing.T, here, there *Store, disturb func()) *hunt {
	t.Helper()
	h := &hunt{t: t, here: here, there: there, over: make(chan struct{})}
	for i := range 16 {
		if err := there.Delete(t.Context(), rowOf(byte(i*16)).Key, 0); err != nil {
			t.Fatal(err)
		}
		h.rows = append(h.rows, &prey{row: save(t, there, rowOf(byte(i*16), session.Tag{byte(i)})), acked: []time.Time{time.Now()}})
	}
	var wait sync.WaitGroup
	for _, p := range h.rows {
		wait.Go(func() { h.write(p) })
		wait.Go(func() { h.read(p) })
	}
	end := sync.OnceFunc(func() { close(h.over); wait.Wait() })
	defer end() // also of a test that has failed
	disturb()
	time.Sleep(300 * time.Millisecond) // of undisturbed life
	end()
	h.settle()
	return h
}

func (h *hunt) isOver() bool {
	select {
	case <-h.over:
		return true
	default:
		return false
	}
}

func (h *hunt) write(p *prey) {
	for !h.isOver() {
		time.Sleep(5 * time.Millisecond)
		version, err := h.there.Save(h.t.Context(), p.row)
		switch {
		case err == nil:
			p.note(version)
		case isFault(err):
			h.reload(p, 1)
		case errors.Is(err, session.ErrConflict):
			h.reload(p, 0) // a fail-over has brought back an older version, or it is our own success
		default:
			h.t.Errorf("Save: %v", err)
			return
		}
	}
}

func (p *prey) note(version uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.row.Version = version
	p.acked = append(p.acked[:min(uint64(len(p.acked)), version-1)], time.Now())
}

// reload finds out what a Save that failed has left: at most ahead versions more.
func (h *hunt) reload(p *prey, ahead uint64) {
	for !h.isOver() {
		row, err := h.there.Load(h.t.Context(), p.row.Key)
		switch {
		case isFault(err):
			time.Sleep(5 * time.Millisecond)
			continue
		case err != nil:
			h.t.Errorf("a session is lost: %v", err)
		case row.Version < p.row.Version:
			p.back += int(p.row.Version - row.Version)
			p.note(row.Version)
		case row.Version > p.row.Version+ahead:
			h.t.Errorf("version %d after a Save of %d", row.Version, p.row.Version)
		case row.Version > p.row.Version:
			p.note(row.Version)
		}
		return
	}
}

func (h *hunt) read(p *prey) {
	var version, under uint64
	for !h.isOver() {
		stamp, ok := h.here.Stamp(p.row.Key)
		if version > 0 && ok && stamp == under {
			p.use(version)
			time.Sleep(time.Millisecond)
			continue
		}
		under, version = stamp, 0
		if row, err := h.here.Load(h.t.Context(), p.row.Key); err == nil && ok {
			version = row.Version
		} else if errors.Is(err, session.ErrNone) {
			h.t.Errorf("a session is lost: %v", err)
		}
	}
}

// use notes for how long a version is used after the Save of the next one.
func (p *prey) use(version uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used++
	if version < uint64(len(p.acked)) {
		p.stale = max(p.stale, time.Since(p.acked[version]))
	}
}

// settle asserts that all rows are there and found, as they were left.
func (h *hunt) settle() {
	h.t.Helper()
	for i, p := range h.rows {
		eventually(h.t, limit, "all rows are found", func() bool {
			row, err := h.there.Load(h.t.Context(), p.row.Key)
			rows, findErr := h.here.Find(h.t.Context(), []session.Tag{{byte(i)}}, 10)
			return err == nil && findErr == nil && len(rows) == 1 && rows[0].Key == row.Key && rows[0].Version == row.Version
		})
	}
}

// want asserts how old what was used may have been, and returns how many acknowledged
// versions are gone.
func (h *hunt) want(stale time.Duration) (back int) {
	h.t.Helper()
	var most time.Duration
	var used, versions int
	for _, p := range h.rows {
		most = max(most, p.stale)
		back += p.back
		used += p.used
		versions += len(p.acked)
	}
	h.t.Logf("%d versions, %d uses without a load, at most %v old; %d versions gone", versions, used, most, back)
	if most > stale {
		h.t.Errorf("a version was used for %v after the next one was there, want %v at most", most, stale)
	}
	if used == 0 {
		h.t.Error("nothing was used without a load: the test tests nothing")
	}
	return back
}

func TestNothingOldIsUsedAmidBrokenConnections(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	here := opened(t, "redis://"+server.Addr)
	there := sibling(t, here)
	h := chase(t, here, there, func() {
		for range 20 {
			time.Sleep(50 * time.Millisecond)
			server.CLI("client", "kill", "type", "normal")
		}
	})
	if back := h.want(time.Second); back > 0 {
		t.Errorf("%d versions are gone", back)
	}
}

func TestNothingOldIsUsedForLongOnASilentNetwork(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	network := newRelay(t, server.Addr)
	prefix := "?prefix=" + ownPrefix()
	here := open(t, "redis://"+network.addr+prefix, time.Now, (&journal{}).logger())
	there := open(t, "redis://"+server.Addr+prefix, time.Now, (&journal{}).logger())
	h := chase(t, here, there, func() {
		time.Sleep(100 * time.Millisecond)
		network.freeze()
		eventually(t, 5*time.Second, "no stamps", func() bool { return !isUp(here) })
		time.Sleep(silence)
		network.thaw()
	})
	h.want(silence)
}

func TestAServerThatIsKilledUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	here := opened(t, "redis://"+server.Addr)
	h := chase(t, here, sibling(t, here), func() {
		for range 3 {
			time.Sleep(100 * time.Millisecond)
			server.Kill()
			server.Start()
			eventually(t, limit, "it is back", func() bool { return here.Ping(t.Context()) == nil && isUp(here) })
		}
	})
	if back := h.want(time.Second); back > 0 {
		t.Errorf("%d versions are gone", back)
	}
}

func TestSentinelFailOverUnderLoad(t *testing.T) {
	t.Parallel()
	set := backing.Sentinel(t)
	here := opened(t, sentinelAddress(t, set))
	log := &journal{}
	there, err := Open(t.Context(), here.config, time.Now, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	t.Run("by death", func(t *testing.T) {
		h := chase(t, here, there, func() {
			old := set.CurrentMaster()
			time.Sleep(300 * time.Millisecond) // of acknowledged writes
			killed := set.KillMaster()
			set.AwaitMaster(old)
			awaitWork(t, here, there)
			comeBack(t, killed)
		})
		if back := h.want(4 * time.Second); back > 0 && !strings.Contains(log.String(), "no replica of Redis has acknowledged") {
			t.Errorf("%d versions are gone that a replica had acknowledged", back)
		}
	})
	// The old master takes writes for a moment after the new one does, and they are lost:
	// so Redis Sentinel is made. No session is.
	t.Run("by order", func(t *testing.T) {
		h := chase(t, here, there, func() {
			set.Failover()
			awaitWork(t, here, there)
		})
		h.want(4 * time.Second)
	})
	eventually(t, limit, "one master is left", func() bool {
		masters := 0
		for _, node := range set.Nodes {
			if strings.Contains(node.CLI("info", "replication"), "role:master") {
				masters++
			}
		}
		return masters == 1
	})
	awaitWork(t, here, there)
	wantNotices(t, here, there)
}

func TestClusterChangesUnderLoad(t *testing.T) {
	t.Parallel()
	set := backing.Cluster(t)
	here := opened(t, clusterAddress(set, 3))
	there := sibling(t, here)
	eventually(t, limit, "each of three masters has a replica", func() bool {
		masters := map[uint16]bool{}
		for _, master := range here.last.Load().replicas {
			masters[master] = true
		}
		return len(masters) == 3 && !masters[0]
	})
	t.Run("slots move", func(t *testing.T) {
		h := chase(t, here, there, func() { set.MoveSlots(1000) })
		if back := h.want(4 * time.Second); back > 0 {
			t.Errorf("%d versions are gone", back)
		}
	})
	t.Run("a master dies", func(t *testing.T) {
		h := chase(t, here, there, func() {
			killed := set.KillMaster(1)
			set.AwaitPromotion(killed)
			awaitWork(t, here, there)
			comeBack(t, killed)
		})
		h.want(4 * time.Second)
	})
	wantNotices(t, here, there)
}

// comeBack starts a server again, with its users, and waits until it is a replica that
// has what its master has: else the next fail-over could be to what it had when it died.
func comeBack(t *testing.T, killed *backing.RedisServer) {
	t.Helper()
	killed.Start()
	killed.AwaitSync()
	allow(killed)
}

// awaitWork waits until both stores work on all servers.
func awaitWork(t *testing.T, stores ...*Store) {
	t.Helper()
	start := time.Now()
	for _, store := range stores {
		eventually(t, limit, "it works again", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return store.Ping(ctx) == nil && isUp(store)
		})
	}
	t.Logf("both work %v after the servers do", time.Since(start))
}

// TestASaveWaitsForAReplica, as a lease does, and for a dead one only once in a while.
func TestASaveWaitsForAReplica(t *testing.T) {
	t.Parallel()
	set := backing.Sentinel(t)
	log := &journal{}
	store := open(t, "redis+sentinel://"+set.Addrs[0]+"/"+set.Master, time.Now, log.logger())
	row := save(t, store, rowOf(1))
	master := set.Nodes[0]
	if got := calls(t, master, "wait"); got != 1 {
		t.Errorf("%d calls of WAIT, want 1", got)
	}
	if _, err := store.Lease(t.Context(), row.Key, session.Owner{1}, time.Second); err != nil {
		t.Fatal(err)
	}
	if got := calls(t, master, "wait"); got != 2 {
		t.Errorf("after a lease %d calls of WAIT, want 2", got)
	}
	if got := set.Nodes[1].CLI("get", store.rowKey(row.Key)); !strings.HasSuffix(got, "data") {
		if got = set.Nodes[2].CLI("get", store.rowKey(row.Key)); !strings.HasSuffix(got, "data") {
			t.Error("no replica has the row")
		}
	}
	for _, replica := range set.Nodes[1:] {
		replica.CLI("client", "pause", "3000", "all") // its own master counts as a client
	}
	start := time.Now()
	for range 20 {
		row = save(t, store, row)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("20 Saves take %v while the replicas are silent", took)
	}
	if text := log.String(); strings.Count(text, "no replica of Redis has acknowledged") != 1 {
		t.Errorf("log:\n%s", text)
	}
}

// TestAReplicaThatIsLateHoldsUpItsOwnMasterOnly, and the others go on to be waited for.
func TestAReplicaThatIsLateHoldsUpItsOwnMasterOnly(t *testing.T) {
	t.Parallel()
	s := &Store{}
	s.last.Store(&sight{replicas: &owners{0, 1, 1, 4, 4}})
	s.missed[0].Store(time.Now().UnixNano())
	for slot, want := range []uint16{0, 0, 0, 4, 4} {
		if got := s.awaited(uint16(slot)); got != want {
			t.Errorf("slot %d: master %d, want %d", slot, got, want)
		}
	}
	s.missed[0].Store(time.Now().Add(-2 * ackPause).UnixNano())
	if got := s.awaited(2); got != 1 {
		t.Errorf("after the pause: master %d, want 1", got)
	}
}

func TestAReplicaOfASingleServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	_, port, _ := strings.Cut(server.Addr, ":")
	backing.Redis(t, backing.RedisOptions{Config: []string{"replicaof 127.0.0.1 " + port}})
	eventually(t, limit, "a replica", func() bool { return strings.Contains(server.CLI("info", "replication"), "state=online") })
	store := opened(t, "redis://"+server.Addr)
	save(t, store, rowOf(1))
	if got := calls(t, server, "wait"); got != 1 {
		t.Errorf("%d calls of WAIT, want 1", got)
	}
}

func TestASingleServerIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	server := backing.Redis(t, backing.RedisOptions{})
	store := opened(t, "redis://"+server.Addr)
	save(t, store, rowOf(1))
	if got := calls(t, server, "wait"); got != 0 {
		t.Errorf("%d calls of WAIT, want 0", got)
	}
}
