package session_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/session"
)

func ids(list []*session.Session) (ids []string) {
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}

func TestLists(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		signIn := func(change ...func(*session.SignIn)) *session.Session {
			_, s := f.signIn(t, 0, change...)
			pass(time.Second)
			return s
		}
		one, two := signIn(of("sid-1")), signIn(of("sid-1"))
		three := signIn(of("sid-2"))
		bob := signIn(as("subject-bob"), of("sid-3"))
		elsewhere := signIn(at("other"), of("sid-1"))
		_, over := f.signIn(t, 0)
		if _, err := f.replicas[0].Terminate(t.Context(), []*session.Session{over}, session.Revoked); err != nil {
			t.Fatal(err)
		}
		m := f.replicas[1]
		for _, tt := range []struct {
			name string
			find func() ([]*session.Session, error)
			want []*session.Session
		}{
			{"a user", func() ([]*session.Session, error) { return m.OfUser(t.Context(), "idp", "subject-alice") }, []*session.Session{three, two, one}},
			{"another user", func() ([]*session.Session, error) { return m.OfUser(t.Context(), "idp", "subject-bob") }, []*session.Session{bob}},
			{"the same subject at another provider", func() ([]*session.Session, error) { return m.OfUser(t.Context(), "other", "subject-alice") }, []*session.Session{elsewhere}},
			{"at any provider", func() ([]*session.Session, error) { return m.OfUser(t.Context(), "", "subject-alice") }, []*session.Session{elsewhere, three, two, one}},
			{"an unknown user", func() ([]*session.Session, error) { return m.OfUser(t.Context(), "", "subject-carol") }, nil},
			{"an unknown provider", func() ([]*session.Session, error) { return m.OfUser(t.Context(), "none", "subject-alice") }, nil},
			{"no subject", func() ([]*session.Session, error) { return m.OfUser(t.Context(), "", "") }, nil},
			{"a sid", func() ([]*session.Session, error) { return m.OfSID(t.Context(), "idp", "sid-1") }, []*session.Session{two, one}},
			{"the same sid at another provider", func() ([]*session.Session, error) { return m.OfSID(t.Context(), "other", "sid-1") }, []*session.Session{elsewhere}},
			{"an unknown sid", func() ([]*session.Session, error) { return m.OfSID(t.Context(), "idp", "sid-9") }, nil},
			{"no sid", func() ([]*session.Session, error) { return m.OfSID(t.Context(), "idp", "") }, nil},
			{"all", func() ([]*session.Session, error) { return m.All(t.Context(), 100) }, []*session.Session{elsewhere, bob, three, two, one}},
		} {
			got, err := tt.find()
			if err != nil || !slices.Equal(ids(got), ids(tt.want)) {
				t.Errorf("%s: %v %v, want %v", tt.name, ids(got), err, ids(tt.want))
			}
		}
		for limit := range 7 {
			if got, err := m.All(t.Context(), limit); err != nil || len(got) != min(limit, 5) {
				t.Errorf("all, limit %d: %d %v", limit, len(got), err)
			}
		}
	})
}

func TestAListIsOfTheWholeSession(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	_, started := f.signIn(t, 0, func(in *session.SignIn) { in.Agent, in.Address = "Browser/1", "192.0.2.7" })
	got, err := f.replicas[0].ByID(t.Context(), started.ID)
	if err != nil || got.Agent != "Browser/1" || got.Address != "192.0.2.7" || got.Grant.Identity.Subject != "subject-alice" || got.Key() != started.Key() || got.Seen().IsZero() {
		t.Errorf("%+v %v", got, err)
	}
}

func TestByID(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	var known []*session.Session
	for range 50 {
		_, s := f.signIn(t, 0)
		known = append(known, s)
	}
	for _, s := range known {
		if got, err := f.replicas[0].ByID(t.Context(), s.ID); err != nil || got.ID != s.ID {
			t.Errorf("%v %v, want %s", got, err, s.ID)
		}
	}
	id := known[0].ID
	for _, unknown := range []string{"", "0", "00", "zz", "é", id + "A", id[:len(id)-1], id[:2], "00" + id[2:] + "x", "\x00\x00"} {
		if got, err := f.replicas[0].ByID(t.Context(), unknown); !errors.Is(err, session.ErrNone) {
			t.Errorf("%q: %v %v, want ErrNone", unknown, got, err)
		}
	}
}

func TestAListOfAStoreThatIsDownIsNotEmpty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		_, s := f.signIn(t, 0)
		m := f.replicas[0]
		m.line.cut()
		for name, find := range map[string]func() error{
			"OfUser": func() error { _, err := m.OfUser(t.Context(), "", "subject-alice"); return err },
			"OfSID":  func() error { _, err := m.OfSID(t.Context(), "idp", "sid"); return err },
			"ByID":   func() error { _, err := m.ByID(t.Context(), s.ID); return err },
			"All":    func() error { _, err := m.All(t.Context(), 10); return err },
		} {
			if err := find(); !errors.Is(err, session.ErrStore) || errors.Is(err, session.ErrNone) {
				t.Errorf("%s: %v, want ErrStore", name, err)
			}
		}
		m.line.mend()
		pass(time.Second)
	})
}

func TestAListHasAtMostAThousand(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	for range 1003 {
		f.signIn(t, 0)
	}
	got, err := f.replicas[0].OfUser(t.Context(), "idp", "subject-alice")
	if err != nil || len(got) != 1000 {
		t.Errorf("%d %v, want 1000", len(got), err)
	}
	all, err := f.replicas[0].All(t.Context(), 5000)
	if err != nil || len(all) != 1003 {
		t.Errorf("all: %d %v, want 1003", len(all), err)
	}
}

func TestARotatedKeyLosesNobodyFromTheList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rings := [][]string{{keyA}, {keyB, keyA}, {keyB}}
		f := newFleet(t, 3, func(i int, c *session.Config) { c.Ring = ring(t, rings[i]...) })
		f.rotate(0)
		_, s := f.signIn(t, 0, of("sid-1"))
		old, both, next := f.replicas[0], f.replicas[1], f.replicas[2]
		lists := func(r *replica) (n int) {
			byUser, err1 := r.OfUser(t.Context(), "", "subject-alice")
			bySID, err2 := r.OfSID(t.Context(), "idp", "sid-1")
			if err1 != nil || err2 != nil || len(byUser) != len(bySID) {
				t.Errorf("%d by user, %d by sid, %v %v", len(byUser), len(bySID), err1, err2)
			}
			return len(byUser)
		}
		if lists(old) != 1 || lists(both) != 1 || lists(next) != 0 {
			t.Errorf("saved with the old key, found with the old %d, both %d, the new %d; want 1, 1, 0", lists(old), lists(both), lists(next))
		}
		found, err := both.ByID(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := both.Renew(t.Context(), found); err != nil {
			t.Fatal(err)
		}
		if lists(old) != 0 || lists(both) != 1 || lists(next) != 1 {
			t.Errorf("saved anew, found with the old %d, both %d, the new %d; want 0, 1, 1", lists(old), lists(both), lists(next))
		}
		if _, err := old.ByID(t.Context(), s.ID); !errors.Is(err, session.ErrNone) {
			t.Errorf("the new record opens with the old key: %v", err)
		}
	})
}

// Whoever can write to the store can put anything into Tags; what is sealed counts.
func TestACopiedTagShowsNobodyElsesSession(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	spy := &spyStore{Store: f.store}
	f.replicas[0].line.Store = spy
	_, alice := f.signIn(t, 0, of("sid-alice"), claims("email", `"alice@example.com"`))
	_, bob := f.signIn(t, 0, as("subject-bob"), of("sid-bob"), claims("email", `"bob@example.com"`))
	f.signIn(t, 0, at("other"), of("sid-alice"), claims("email", `"alice@example.com"`))
	rows := spy.saved()
	for _, copied := range rows[1:3] {
		copied.Version, copied.Tags = 1, append(slices.Clone(rows[0].Tags), copied.Tags...)
		if _, err := f.store.Save(t.Context(), copied); err != nil {
			t.Fatal(err)
		}
	}
	m := f.replicas[0]
	for name, tt := range map[string]struct {
		find func() ([]*session.Session, error)
		want string
	}{
		"alice's list": {func() ([]*session.Session, error) { return m.OfUser(t.Context(), "idp", "subject-alice") }, alice.ID},
		"alice's sid":  {func() ([]*session.Session, error) { return m.OfSID(t.Context(), "idp", "sid-alice") }, alice.ID},
		"alice's mail": {func() ([]*session.Session, error) { return m.OfEmail(t.Context(), "idp", "alice@example.com") }, alice.ID},
		"bob's list":   {func() ([]*session.Session, error) { return m.OfUser(t.Context(), "idp", "subject-bob") }, bob.ID},
	} {
		if got, err := tt.find(); err != nil || !slices.Equal(ids(got), []string{tt.want}) {
			t.Errorf("%s: %v %v, want %s alone", name, ids(got), err, tt.want)
		}
	}
	found, err := f.store.Find(t.Context(), rows[0].Tags, 10)
	if err != nil || len(found) != 3 {
		t.Fatalf("the store finds %d rows (%v), so nothing was tested", len(found), err)
	}
}

func TestTagsDifferByProviderKeyAndDeployment(t *testing.T) {
	t.Parallel()
	seen := map[session.Tag]int{}
	for i, tt := range []struct {
		provider string
		set      func(*session.Config)
	}{
		{"idp", func(*session.Config) {}},
		{"other", func(*session.Config) {}},
		{"idp", func(c *session.Config) { c.Ring = ring(t, keyB) }},
		{"idp", func(c *session.Config) { c.Deployment = "http://localhost:9999" }},
	} {
		f := newFleet(t, 1, func(_ int, c *session.Config) { tt.set(c) })
		spy := &spyStore{Store: f.store}
		f.replicas[0].line.Store = spy
		f.signIn(t, 0, at(tt.provider), of("subject-alice")) // a sid like the subject
		tags := spy.saved()[0].Tags
		if len(tags) != 3 {
			t.Fatalf("%d tags, want 3", len(tags))
		}
		for _, tag := range tags[1:] { // the first tells of a part of all sessions
			if other, ok := seen[tag]; ok {
				t.Errorf("%d and %d have a tag of a user or sid in common", i, other)
			}
			seen[tag] = i
		}
	}
}

func TestAllGoesOnAfterRowsThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	spy := &spyStore{Store: f.store}
	f.replicas[0].line.Store = spy
	_, broken := f.signIn(t, 0)
	_, good := f.signIn(t, 0)
	row := spy.saved()[0]
	row.Version, row.Data = 1, []byte("garbage")
	if _, err := f.store.Save(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	if got, err := f.replicas[0].All(t.Context(), 10); err != nil || !slices.Equal(ids(got), []string{good.ID}) {
		t.Errorf("%v %v, want %s alone", ids(got), err, good.ID)
	}
	if _, err := f.replicas[0].ByID(t.Context(), broken.ID); !errors.Is(err, session.ErrNone) {
		t.Errorf("by id: %v, want ErrNone", err)
	}
}
