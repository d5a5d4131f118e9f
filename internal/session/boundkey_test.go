package session_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/keys"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// The key that tokens are bound to (RFC 9449) is as secret as they are, and without it they
// are of no use: it goes where they go.
func TestTheKeyOfBoundTokensIsKeptWithThemAndToldNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const key = "CANARY-private-key"
		f := newFleet(t, 2)
		cookie, s := f.signIn(t, 0, func(in *session.SignIn) { in.Grant.Tokens.Key = keys.NewSecret(key) })
		var asked []string
		f.provider.answer = func(prev rp.Grant) (rp.Grant, error) {
			asked = append(asked, prev.Tokens.Key.Reveal())
			next := grant(time.Now(), fmt.Sprint(len(asked)+1))
			next.Tokens.Key = prev.Tokens.Key
			return next, nil
		}
		held := func(when string) {
			for i := range f.replicas {
				now := f.mustLoad(t, i, cookie)
				if got := now.Grant.Tokens.Key.Reveal(); got != key {
					t.Errorf("%s replica %d holds the key %q", when, i, got)
				}
				if text := fmt.Sprintf("%v %+v %#v", now.Record, *now, now.Grant); strings.Contains(text, "CANARY") {
					t.Errorf("%s the session prints its key", when)
				}
			}
			if row := mustRow(t, f.store, s.Key()); bytes.Contains(row.Data, []byte("CANARY")) {
				t.Errorf("%s the row holds the key in the clear", when)
			}
		}
		held("at first,")
		for n := range 2 {
			pass(10 * time.Minute)
			if got, err := f.fresh(t.Context(), n, cookie); err != nil || got != fmt.Sprintf("access-%d", n+2) {
				t.Fatal(got, err)
			}
			held(fmt.Sprintf("after refresh %d,", n+1))
		}
		if len(asked) != 2 || asked[0] != key || asked[1] != key {
			t.Errorf("the provider was asked with the keys %q", asked)
		}
		f.refuse()
		pass(10 * time.Minute)
		if _, err := f.fresh(t.Context(), 0, cookie); err == nil {
			t.Fatal("the refusal is gone")
		}
		if f.log.lines("") == 0 || f.log.lines("CANARY") != 0 {
			t.Errorf("%d lines of the log, %d with the key", f.log.lines(""), f.log.lines("CANARY"))
		}
	})
}
