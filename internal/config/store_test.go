package config

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestAddressesOfStores(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ address, printed string }{
		{"memory:", "memory:"},
		{"sqlite:/var/lib/genkan/s@p.db", "sqlite:/var/lib/genkan/s@p.db"},
		{"postgres://genkan:canary@db:5432/genkan?sslmode=disable", "postgres://genkan:***@db:5432/genkan?sslmode=disable"},
		{"postgresql://genkan@db/genkan?sslmode=disable&pass%77ord=canary", "postgresql://genkan@db/genkan?sslmode=disable&pass%77ord=***"},
		{"postgres://genkan:ca%40nary%3Acanary@h1,h2/genkan", "postgres://genkan:***@h1,h2/genkan"},
		{"redis://localhost:6379", "redis://localhost:6379"},
		{"redis://:canary@localhost:6379/1", "redis://:***@localhost:6379/1"},
		{"rediss://genkan:canary@redis.example:6380", "rediss://genkan:***@redis.example:6380"},
		{"redis+cluster://genkan:canary@h1:1,h2:2", "redis+cluster://genkan:***@h1:1,h2:2"},
		{"rediss+cluster://h1,h2", "rediss+cluster://h1,h2"},
		{"redis+sentinel://genkan:canary@h1,h2/master", "redis+sentinel://genkan:***@h1,h2/master"},
		{"rediss+sentinel://h1,h2/master", "rediss+sentinel://h1,h2/master"},
	} {
		src := Sources{Dir: folder(t, nil), Environ: append([]string{"GENKAN_SESSION_STORE=" + row.address}, sound...)}
		if got := mustLoad(t, src).Session.Store.Reveal(); got != row.address {
			t.Errorf("%s became %q", row.address, got)
		}
		values, _ := Effective(src)
		for _, v := range values {
			if v.Key == "session.store" && v.Text != row.printed {
				t.Errorf("%s is printed as %q, want %q", row.address, v.Text, row.printed)
			}
		}
	}
}

func TestTheStoreFromAFile(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"address": "redis://:canary@localhost\n", "relative": "sqlite:a.db"})
	for _, row := range []struct{ file, want, printed, from string }{
		{"address", "redis://:canary@localhost", "redis://:***@localhost", "environment, file address"},
		{"relative", "sqlite:" + filepath.Join(dir, "a.db"), "sqlite:a.db", "environment, file relative"},
	} {
		src := Sources{Dir: dir, Environ: append([]string{"GENKAN_SESSION_STORE_FILE=" + row.file}, sound...)}
		if got := mustLoad(t, src).Session.Store.Reveal(); got != row.want {
			t.Errorf("%s: %q, want %q", row.file, got, row.want)
		}
		values, _ := Effective(src)
		for _, v := range values {
			if v.Key == "session.store" && (v.Text != row.printed || v.From != row.from) {
				t.Errorf("%s: printed as %q from %q", row.file, v.Text, v.From)
			}
		}
	}
}

// FuzzStore: whatever stands where a password may, no finding and no print shows it.
func FuzzStore(f *testing.F) {
	for _, scheme := range append([]string{"", "mysql://", "redis+", "postgres:"}, storeSchemes...) {
		for _, around := range [][2]string{
			{"", ""}, {"u:", "@h/d"}, {":", "@h"}, {"u:x@", "@h/d"}, {"u:/", "@h"}, {"u:#", "@h"}, {"u:?", "@h"}, {"u:%zz", "@h"}, {"u:[", "@h"}, {"u:p", ":1@h:x/d"},
			{"h/d?password=", ""}, {"h/d?sslpassword=", "&sslmode=x"}, {"h/d?a=b&PASSWORD=%zz", ""}, {"h/d?password=", "@h:1"}, {"u:p?", "@h1,h2/m"}, {"u:p;", "@h/d;password=x"},
		} {
			f.Add(scheme, around[0], around[1])
		}
	}
	f.Fuzz(func(t *testing.T, scheme, before, after string) {
		const canary = "c4n4ry"
		if strings.Contains(scheme+before+after, "c4") || strings.Contains(scheme+before+after, "\x00") {
			t.Skip()
		}
		holdsPassword := !strings.HasPrefix(scheme, "sqlite:") && (strings.Contains(before, ":") && strings.Contains(after, "@") && !strings.Contains(before, "?") ||
			strings.HasSuffix(strings.ToLower(before), "password="))
		src := Sources{Dir: t.TempDir(), Environ: append([]string{"GENKAN_SESSION_STORE=" + scheme + before + canary + after}, sound...)}
		values, found := Effective(src)
		orderly(t, found)
		for _, f := range found {
			if strings.Contains(f.Error()+f.Fix, canary) {
				t.Errorf("%s%s…%s: a finding shows the password: %v", scheme, before, after, f)
			}
		}
		for _, v := range values {
			if v.Key == "session.store" && holdsPassword && strings.Contains(v.Text, canary) {
				t.Errorf("%s%s…%s: printed as %q", scheme, before, after, v.Text)
			}
		}
	})
}
