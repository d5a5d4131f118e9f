package session_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/session"
)

// claims adds to what the provider says of the user.
func claims(pairs ...string) func(*session.SignIn) {
	return func(in *session.SignIn) {
		in.Grant.Identity.Claims = map[string]json.RawMessage{}
		for i := 0; i < len(pairs); i += 2 {
			in.Grant.Identity.Claims[pairs[i]] = json.RawMessage(pairs[i+1])
		}
	}
}

func TestOfEmail(t *testing.T) {
	t.Parallel()
	const mail = `"Alice@Example.com"`
	rows := []struct {
		name  string
		who   []func(*session.SignIn)
		found bool
	}{
		{"verified", []func(*session.SignIn){claims("email", mail, "email_verified", "true")}, true},
		{"verified, as Cognito says it", []func(*session.SignIn){claims("email", mail, "email_verified", `"true"`)}, true},
		{"the provider does not say", []func(*session.SignIn){claims("email", mail)}, true},
		{"in another case", []func(*session.SignIn){claims("email", `"aLICE@eXAMPLE.COM"`)}, true},
		{"not verified", []func(*session.SignIn){claims("email", mail, "email_verified", "false")}, true},
		{"not verified, in a string", []func(*session.SignIn){claims("email", mail, "email_verified", `"false"`)}, true},
		{"another address", []func(*session.SignIn){claims("email", `"alice@example.co"`)}, false},
		{"none", []func(*session.SignIn){claims()}, false},
		{"an empty one", []func(*session.SignIn){claims("email", `""`)}, false},
		{"no string", []func(*session.SignIn){claims("email", `["alice@example.com"]`)}, false},
		{"at another provider", []func(*session.SignIn){claims("email", mail), at("other")}, false},
		{"a subject of that name", []func(*session.SignIn){as("alice@example.com"), of("alice@example.com")}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 1)
			_, s := f.signIn(t, 0, row.who...)
			var want []string
			if row.found {
				want = []string{s.ID}
			}
			got, err := f.replicas[0].OfEmail(t.Context(), "idp", "alice@EXAMPLE.com")
			if err != nil || !slices.Equal(ids(got), want) {
				t.Errorf("%v %v, want %v", ids(got), err, want)
			}
			if got, err := f.replicas[0].OfEmail(t.Context(), "idp", ""); err != nil || len(got) != 0 {
				t.Errorf("no address: %v %v", ids(got), err)
			}
		})
	}
}

func TestAStoreThatIsDownIsNoUnknownAddress(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	f.replicas[0].line.cut()
	if _, err := f.replicas[0].OfEmail(t.Context(), "idp", "alice@example.com"); !errors.Is(err, session.ErrStore) {
		t.Errorf("OfEmail: %v, want ErrStore", err)
	}
	if seen, err := f.replicas[0].Seen(t.Context(), "x"); seen || !errors.Is(err, session.ErrStore) {
		t.Errorf("Seen: %v %v, want ErrStore", seen, err)
	}
}

func TestSeenKnowsWhatOnceWasGivenElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		if seen, err := f.replicas[1].Seen(t.Context(), "x"); seen || err != nil {
			t.Fatalf("before: %v %v", seen, err)
		}
		if first, err := f.replicas[0].Once(t.Context(), "x", time.Minute); !first || err != nil {
			t.Fatal(first, err)
		}
		if seen, err := f.replicas[1].Seen(t.Context(), "x"); !seen || err != nil {
			t.Errorf("after: %v %v", seen, err)
		}
		if first, err := f.replicas[1].Once(t.Context(), "x", time.Minute); first || err != nil {
			t.Errorf("a second time: %v %v", first, err)
		}
		pass(time.Minute)
		if seen, err := f.replicas[1].Seen(t.Context(), "x"); seen || err != nil {
			t.Errorf("a minute later: %v %v", seen, err)
		}
	})
}

// TestWhoSignsOutThereKeepsOfflineAccess: 266.
func TestWhoSignsOutThereKeepsOfflineAccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		var list []*session.Session
		for _, scope := range [][]string{{"openid"}, {"openid", "offline_access"}, nil} {
			_, s := f.signIn(t, 0, func(in *session.SignIn) { in.Grant.Tokens.Scope = scope })
			list = append(list, s)
		}
		watched := f.replicas[1].Watch(t.Context(), list[1])
		ended, err := f.replicas[0].SignedOutThere(t.Context(), list)
		if err != nil || len(ended) != 3 {
			t.Fatalf("%d ended, %v", len(ended), err)
		}
		if e := expect(t, watched, session.EventEnded, time.Second); e.Reason != "provider" {
			t.Errorf("the reason is %q, want provider", e.Reason)
		}
		synctest.Wait()
		if got := f.provider.gaveBack(); len(got) != 2 {
			t.Errorf("revoked %v, want the two without offline_access", got)
		}
		if left, err := f.replicas[1].All(t.Context(), 10); err != nil || len(left) != 0 {
			t.Errorf("%d are left, %v", len(left), err)
		}
		_, s := f.signIn(t, 0, func(in *session.SignIn) { in.Grant.Tokens.Scope = []string{"offline_access"} })
		if _, err := f.replicas[0].Terminate(t.Context(), []*session.Session{s}, session.ProviderEnded); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := f.provider.gaveBack(); len(got) != 3 {
			t.Errorf("revoked %v: Terminate gives back all", got)
		}
	})
}
