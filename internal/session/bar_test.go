package session_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/rp"
	"genkan/internal/session"
)

// begin starts a session at replica i whose code was redeemed at redeemed.
func (f *fleet) begin(i int, redeemed time.Time, change ...func(*session.SignIn)) (cookies int, err error) {
	in := session.SignIn{Provider: "idp", Grant: grant(time.Now(), "first"), Redeemed: redeemed}
	for _, set := range change {
		set(&in)
	}
	w := httptest.NewRecorder()
	_, err = f.replicas[i].Start(w, f.request(), in)
	return len(w.Result().Cookies()), err
}

func (f *fleet) wantBarred(t *testing.T, cookies int, err error) {
	t.Helper()
	left, wrong := f.replicas[0].All(t.Context(), 10)
	if !errors.Is(err, session.ErrBarred) || cookies != 0 || len(left) != 0 || wrong != nil {
		t.Errorf("%v, %d cookies, %d sessions (%v); want ErrBarred and nothing", err, cookies, len(left), wrong)
	}
}

func TestAnEndAtTheProviderBarsSignInsUnderWay(t *testing.T) {
	t.Parallel()
	type change = []func(*session.SignIn)
	alice := change{as("alice"), of("sid-1"), claims("email", `"Alice@example.com"`)}
	nameless := change{as("alice"), of("")}
	rows := []struct {
		name     string
		who      change
		provider string
		whose    session.Whose
		barred   bool
	}{
		{"its sid", alice, "idp", session.Whose{SID: "sid-1"}, true},
		{"its sid and user", alice, "idp", session.Whose{SID: "sid-1", Subject: "alice"}, true},
		{"its user", alice, "idp", session.Whose{Subject: "alice"}, true},
		{"its address", alice, "idp", session.Whose{Email: "aLICE@example.com", Offline: true}, true},
		{"another sid", alice, "idp", session.Whose{SID: "sid-2"}, false},
		{"another sid of its user", alice, "idp", session.Whose{SID: "sid-2", Subject: "alice"}, false},
		{"another user", alice, "idp", session.Whose{Subject: "bob"}, false},
		{"another address", alice, "idp", session.Whose{Email: "bob@example.com"}, false},
		{"another provider", alice, "other", session.Whose{SID: "sid-1", Subject: "alice", Email: "alice@example.com"}, false},
		{"a sid named like its user", alice, "idp", session.Whose{SID: "alice"}, false},
		{"nothing", alice, "idp", session.Whose{}, false},
		{"no sid, by user", nameless, "idp", session.Whose{Subject: "alice"}, true},
		{"no sid, by sid and user", nameless, "idp", session.Whose{SID: "sid-2", Subject: "alice"}, true},
		{"no sid, by sid and another user", nameless, "idp", session.Whose{SID: "sid-2", Subject: "bob"}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				before := time.Now()
				pass(time.Second)
				if err := f.replicas[1].Bar(t.Context(), row.provider, row.whose); err != nil {
					t.Fatal(err)
				}
				pass(time.Second)
				cookies, err := f.begin(0, before, row.who...)
				synctest.Wait()
				if row.barred {
					f.wantBarred(t, cookies, err)
					if got := f.provider.gaveBack(); !slices.Equal(got, []string{"refresh_token refresh-first"}) {
						t.Errorf("gave back %v", got)
					}
				} else if err != nil || cookies != 1 {
					t.Errorf("%v, %d cookies, want a session", err, cookies)
				}
				if cookies, err := f.begin(0, time.Now(), row.who...); err != nil || cookies != 1 {
					t.Errorf("a later sign-in: %v, %d cookies", err, cookies)
				}
			})
		})
	}
}

// The whole logout happens between two steps of the sign-in.
func TestALogoutDuringASignInWins(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]string{"before it is saved": "save", "after it is saved": "load"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				told := false
				f.replicas[0].line.on(func(operation string) error {
					if operation != step || told {
						return nil
					}
					told = true
					if err := f.replicas[1].Bar(t.Context(), "idp", session.Whose{Subject: "alice"}); err != nil {
						t.Error(err)
					}
					list, err := f.replicas[1].OfUser(t.Context(), "idp", "alice")
					if err != nil || len(list) != map[string]int{"save": 0, "load": 1}[step] {
						t.Errorf("%d sessions, %v", len(list), err)
					}
					_, err = f.replicas[1].SignedOutThere(t.Context(), list)
					return err
				})
				cookies, err := f.begin(0, time.Now(), as("alice"))
				if !told {
					t.Fatal("the sign-in does not take that step")
				}
				f.wantBarred(t, cookies, err)
				synctest.Wait()
			})
		})
	}
}

func TestTokensOfABarredSignIn(t *testing.T) {
	t.Parallel()
	type told struct {
		replica int // the clock of 1 is a minute behind
		offline bool
	}
	for name, row := range map[string]struct {
		told    []told
		revoked int
	}{
		"a sign-out leaves offline access":     {[]told{{0, false}}, 0},
		"a revocation does not":                {[]told{{0, true}}, 1},
		"nor one that a sign-out comes after":  {[]told{{0, true}, {0, false}}, 1},
		"nor one by a clock that is behind it": {[]told{{0, false}, {1, true}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2, func(i int, c *session.Config) {
					c.Now = func() time.Time { return time.Now().Add(time.Duration(-i) * time.Minute) }
				})
				before := time.Now()
				for _, one := range row.told {
					pass(time.Second)
					if err := f.replicas[one.replica].Bar(t.Context(), "idp", session.Whose{Subject: "alice", Offline: one.offline}); err != nil {
						t.Fatal(err)
					}
				}
				cookies, err := f.begin(0, before, as("alice"), func(in *session.SignIn) { in.Grant.Tokens.Scope = []string{"offline_access"} })
				f.wantBarred(t, cookies, err)
				synctest.Wait()
				if got := f.provider.gaveBack(); len(got) != row.revoked {
					t.Errorf("gave back %v, want %d", got, row.revoked)
				}
			})
		})
	}
}

func TestTheLatestMarkCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, func(i int, c *session.Config) {
			c.Ring = ring(t, [][]string{{keyB, keyA}, {keyA, keyB}}[i]...) // between two steps of a rotation
			if i == 1 {
				c.Now = func() time.Time { return time.Now().Add(-time.Minute) } // its clock is behind
			}
		})
		bar := func(i int) {
			t.Helper()
			if err := f.replicas[i].Bar(t.Context(), "idp", session.Whose{Subject: "alice"}); err != nil {
				t.Fatal(err)
			}
		}
		bar(0)
		bar(1)
		pass(2 * time.Second)
		before := time.Now()
		pass(time.Second)
		bar(0)
		bar(1)
		for i := range f.replicas {
			cookies, err := f.begin(i, before, as("alice"))
			f.wantBarred(t, cookies, err)
		}
		pass(5*time.Minute + time.Second)
		if cookies, err := f.begin(0, before, as("alice")); err != nil || cookies != 1 {
			t.Errorf("five minutes later: %v, %d cookies", err, cookies)
		}
		synctest.Wait()
	})
}

func TestManyEndsOfOneNameAtOnceAreAllMarked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3)
		for _, r := range f.replicas {
			r.line.on(func(string) error { pass(time.Millisecond); return nil }) // so that they meet
		}
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				pass(time.Duration(i) * 10 * time.Microsecond)
				if err := f.replicas[i%3].Bar(t.Context(), "idp", session.Whose{SID: "sid-1"}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestAStoreThatFailsBetweenSaveAndMarksLeavesNoSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.replicas[0].line.on(func(operation string) error {
			if operation == "load" {
				return errCut
			}
			return nil
		})
		cookies, err := f.begin(0, time.Now())
		if !errors.Is(err, session.ErrStore) || cookies != 0 {
			t.Errorf("%v, %d cookies; want ErrStore and none", err, cookies)
		}
		if err := f.replicas[0].Bar(t.Context(), "idp", session.Whose{SID: "sid-1"}); !errors.Is(err, session.ErrStore) {
			t.Errorf("%v, want ErrStore", err)
		}
		f.replicas[0].line.mend()
		pass(time.Second)
	})
}

// TestNewTokensOfAnEndedSession: who is signed out at the provider while tokens are
// renewed keeps offline access; whose access is revoked does not.
func TestNewTokensOfAnEndedSession(t *testing.T) {
	t.Parallel()
	type end = func(context.Context, *session.Manager, []*session.Session) ([]*session.Session, error)
	there := func(ctx context.Context, m *session.Manager, list []*session.Session) ([]*session.Session, error) {
		return m.SignedOutThere(ctx, list)
	}
	all := func(ctx context.Context, m *session.Manager, list []*session.Session) ([]*session.Session, error) {
		return m.Terminate(ctx, list, session.ProviderEnded)
	}
	for name, row := range map[string]struct {
		scope   []string
		end     end
		revoked []string
	}{
		"signed out there, offline access": {[]string{"offline_access"}, there, nil},
		"signed out there":                 {[]string{"openid"}, there, []string{"refresh_token refresh-first", "refresh_token refresh-late"}},
		"revoked":                          {[]string{"offline_access"}, all, []string{"refresh_token refresh-first", "refresh_token refresh-late"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				f.provider.answer = func(prev rp.Grant) (rp.Grant, error) {
					pass(time.Second)
					next := grant(time.Now(), "late")
					next.Tokens.Scope = prev.Tokens.Scope
					return next, nil
				}
				cookie, s := f.signIn(t, 0, func(in *session.SignIn) { in.Grant.Tokens.Scope = row.scope })
				live := f.mustLoad(t, 0, cookie)
				go func() { _, _ = f.replicas[0].Renew(t.Context(), live) }()
				pass(500 * time.Millisecond)
				if _, err := row.end(t.Context(), f.replicas[0].Manager, []*session.Session{s}); err != nil {
					t.Fatal(err)
				}
				if err := f.replicas[0].Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := f.provider.gaveBack(); !slices.Equal(got, row.revoked) {
					t.Errorf("gave back %v, want %v", got, row.revoked)
				}
			})
		})
	}
}

// Whoever was granted offline access but no refresh token has nothing to keep.
func TestAccessThatNoRefreshTokenOutlivesIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		_, s := f.signIn(t, 0, func(in *session.SignIn) {
			in.Grant.Tokens.Scope, in.Grant.Tokens.Refresh = []string{"openid", "offline_access"}, rp.Tokens{}.Refresh
		})
		if _, err := f.replicas[0].SignedOutThere(t.Context(), []*session.Session{s}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := f.provider.gaveBack(); !slices.Equal(got, []string{"access_token access-first"}) {
			t.Errorf("gave back %v, want the access token", got)
		}
	})
}
