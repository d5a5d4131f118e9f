package backing

import (
	"strings"
	"testing"
)

func TestPostgresKeepsDataWhenKilledAndWhenStopped(t *testing.T) {
	t.Parallel()
	s := Postgres(t)
	db := s.URL()
	query(t, s, db, "CREATE TABLE kept (how text)")
	for name, end := range map[string]func(){"kill": s.Kill, "stop": s.Stop} {
		query(t, s, db, "INSERT INTO kept VALUES ('"+name+"')")
		family, err := children(s.PID())
		if err != nil || len(family) < 3 {
			t.Fatalf("children %v, %v: PostgreSQL has several", family, err)
		}
		family = append(family, s.PID())
		end()
		for _, pid := range family {
			if alive(pid) {
				t.Errorf("%s: process %d lives on", name, pid)
			}
		}
		s.Start()
		if got := query(t, s, db, "SELECT count(*) FROM kept WHERE how = '"+name+"'"); got != "1" {
			t.Errorf("%s: %s rows after the start", name, got)
		}
	}
}

func TestPostgresDatabasesAreFreshAndTheUsersOwn(t *testing.T) {
	t.Parallel()
	s := Postgres(t)
	first, second := s.URL(), s.NewDatabase(t)
	query(t, s, first, "CREATE TABLE only_in_first (a int)")
	query(t, s, first, "INSERT INTO only_in_first VALUES (4711)")
	const tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
	if got := query(t, s, second, tables); got != "0" {
		t.Errorf("the second database has %s tables", got)
	}
	if got := query(t, s, first, "SELECT usesuper FROM pg_user WHERE usename = current_user"); got != "f" {
		t.Errorf("superuser: %s", got)
	}
	if dump := string(s.Dump(first)); !strings.Contains(dump, "only_in_first") || !strings.Contains(dump, "4711") {
		t.Errorf("the dump lacks the row:\n%s", dump)
	}
	for name, want := range map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": "200"} {
		if got := query(t, s, first, "SHOW "+name); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
}

func query(t *testing.T, s *PostgresServer, db, statement string) string {
	t.Helper()
	answer, err := s.query(db, statement)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}
