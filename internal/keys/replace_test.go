package keys_test

import (
	"encoding/hex"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

// The first four bytes of SHA-256 of "genkan key id", a zero byte and the key, and the
// HMAC-SHA-256 of "alice" under HKDF-SHA-256 of the key with the info "genkan-tag tag of
// a user", both made with Python.
const (
	idOne, idTwo = "350e0f3f", "fb440382"
	tagOne       = "bbd63891fca8ac20841433623628dbdb7443c0a3b110adae931d4c21ef6eeee5"
	tagTwo       = "21962aacf2c8fe97502e1a78c47a4a60f5273c0a411539f780ec3033b0e4700b"
)

// sealedBy tells which key seals now: a ring of it alone opens what r seals.
func sealedBy(t *testing.T, r *keys.Ring) string {
	t.Helper()
	sealed := r.Seal(purpose, bind, []byte("x"))
	if _, err := r.Open(purpose, bind, sealed); err != nil {
		t.Errorf("what it has just sealed: %v", err)
	}
	for _, key := range []string{keyOne, keyTwo, keyThree} {
		if _, err := ring(t, key).Open(purpose, bind, sealed); err == nil {
			return key
		}
	}
	t.Fatal("no key opens it")
	return ""
}

func TestReplace(t *testing.T) {
	t.Parallel()
	type step struct {
		next    []string
		wait    time.Duration
		sealing string
	}
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"at once the old key goes on", []step{{[]string{keyTwo, keyOne}, 0, keyOne}}},
		{"just before the end of the delay", []step{{[]string{keyTwo, keyOne}, time.Minute - 1, keyOne}}},
		{"at its end the new one seals", []step{{[]string{keyTwo, keyOne}, time.Minute, keyTwo}}},
		{"the old key is gone", []step{{[]string{keyTwo}, 0, keyTwo}}},
		{"a new one only opens", []step{{[]string{keyOne, keyTwo}, time.Hour, keyOne}}},
		{"nothing has changed", []step{{[]string{keyOne}, 0, keyOne}}},
		{"again during the delay: it begins anew", []step{
			{[]string{keyTwo, keyOne}, 30 * time.Second, keyOne}, {[]string{keyThree, keyTwo, keyOne}, 59 * time.Second, keyOne}}},
		{"again during the delay, and after it", []step{
			{[]string{keyTwo, keyOne}, 30 * time.Second, keyOne}, {[]string{keyThree, keyTwo, keyOne}, time.Minute, keyThree}}},
		{"the old key goes during the delay", []step{
			{[]string{keyTwo, keyOne}, 30 * time.Second, keyOne}, {[]string{keyTwo}, 0, keyTwo}}},
		{"back during the delay", []step{
			{[]string{keyTwo, keyOne}, 30 * time.Second, keyOne}, {[]string{keyOne, keyTwo}, time.Hour, keyOne}}},
		{"back after the delay", []step{
			{[]string{keyTwo, keyOne}, time.Hour, keyTwo}, {[]string{keyOne, keyTwo}, 0, keyTwo}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := ring(t, keyOne)
				for _, s := range row.steps {
					r.Replace(ring(t, s.next...), time.Minute)
					time.Sleep(s.wait)
					if got := sealedBy(t, r); got != s.sealing {
						t.Errorf("after Replace with %v and %v, %s seals, want %s", s.next, s.wait, got, s.sealing)
					}
				}
			})
		})
	}
}

// Replica A reads the new list first; whatever either seals, both can open.
func TestReplicasThatReplaceOneAfterTheOtherOpenEachOthersValues(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := ring(t, keyOne), ring(t, keyOne)
		opens := func(when string) {
			t.Helper()
			for name, pair := range map[string][2]*keys.Ring{"a's": {a, b}, "b's": {b, a}} {
				if _, err := pair[1].Open(purpose, bind, pair[0].Seal(purpose, bind, nil)); err != nil {
					t.Errorf("%s: %s value does not open", when, name)
				}
			}
		}
		a.Replace(ring(t, keyTwo, keyOne), 2*time.Minute)
		opens("only a has the new key")
		time.Sleep(119 * time.Second)
		b.Replace(ring(t, keyTwo, keyOne), 2*time.Minute)
		opens("b has it, too")
		time.Sleep(time.Second)
		opens("a seals with it")
		time.Sleep(2 * time.Minute)
		opens("b seals with it")
	})
}

func TestTagsAreOfTheKeyThatSealsAndBothKeysOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := ring(t, keyOne)
		byOne, byTwo := r.Seal(purpose, bind, nil), ring(t, keyTwo).Seal(purpose, bind, nil)
		r.Replace(ring(t, keyTwo, keyOne), time.Minute)
		for _, row := range []struct {
			when         string
			wait         time.Duration
			newestTagged string
		}{
			{"during the delay", 0, tagOne},
			{"after it", time.Minute, tagTwo},
		} {
			time.Sleep(row.wait)
			_, errOne := r.Open(purpose, bind, byOne)
			_, errTwo := r.Open(purpose, bind, byTwo)
			if errOne != nil || errTwo != nil {
				t.Errorf("%s: %v and %v", row.when, errOne, errTwo)
			}
			tag := r.Tag("tag of a user", "alice")
			if got := hex.EncodeToString(tag[:]); got != row.newestTagged {
				t.Errorf("%s: tag %s, want %s", row.when, got, row.newestTagged)
			}
		}
	})
}

func TestReplaceLeavesTheOtherRingAsItIs(t *testing.T) {
	t.Parallel()
	r, next := ring(t, keyOne), ring(t, keyTwo, keyOne)
	r.Replace(next, time.Hour)
	if diff := cmp.Diff([]string{idTwo, idOne}, r.IDs()); diff != "" {
		t.Error(diff)
	}
	if sealedBy(t, r) != keyOne || sealedBy(t, next) != keyTwo {
		t.Error("the delay of one is the delay of the other")
	}
}

func TestTagIsWhatAnotherImplementationMakes(t *testing.T) {
	t.Parallel()
	r := ring(t, keyTwo, keyOne)
	var got []string
	for _, tag := range append(r.Tags("tag of a user", "alice"), r.Tag("tag of a user", "alice")) {
		got = append(got, hex.EncodeToString(tag[:]))
	}
	if diff := cmp.Diff([]string{tagTwo, tagOne, tagTwo}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTagsOfDifferentThingsDiffer(t *testing.T) {
	t.Parallel()
	one, two := ring(t, keyOne), ring(t, keyTwo)
	seen := map[[32]byte]string{}
	for name, tag := range map[string][32]byte{
		"a user": one.Tag("user", "alice"), "another user": one.Tag("user", "bob"), "another purpose": one.Tag("sid", "alice"),
		"another key": two.Tag("user", "alice"), "moved boundary": one.Tag("user a", "lice"), "nothing": one.Tag("", ""),
	} {
		if other, twice := seen[tag]; twice {
			t.Errorf("%s and %s have one tag", name, other)
		}
		seen[tag] = name
	}
}

func TestReplaceUnderUse(t *testing.T) {
	t.Parallel()
	r := ring(t, keyOne)
	next := []*keys.Ring{ring(t, keyTwo, keyOne), ring(t, keyThree, keyTwo, keyOne), ring(t, keyOne, keyTwo, keyThree)}
	done := make(chan struct{})
	var users, replacer sync.WaitGroup
	replacer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				r.Replace(next[i%len(next)], time.Duration(i%2)*time.Microsecond)
			}
		}
	})
	for range 8 {
		users.Go(func() {
			for range 300 {
				// A key that one list lacks is no matter here: keyOne is in all of them.
				sealed := ring(t, keyOne).Seal(purpose, bind, []byte("x"))
				if _, err := r.Open(purpose, bind, sealed); err != nil {
					t.Error(err)
				}
				if len(r.Seal(purpose, bind, nil)) == 0 || len(r.Tags("user", "alice")) == 0 || r.Tag("user", "alice") == [32]byte{} {
					t.Error("nothing was made")
				}
			}
		})
	}
	users.Wait()
	close(done)
	replacer.Wait()
}
