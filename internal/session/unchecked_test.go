package session_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/devidp"
	"genkan/internal/keys"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// The provider has rotated, and its answer cannot be checked: its keys were rolled, and are
// not to be had.
func TestTheRefreshTokenOfAnAnswerThatCannotBeCheckedIsStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		cookie, s := f.signIn(t, 0)
		down := &rp.Error{Op: "keys", Kind: rp.Fault, Code: "status", Status: 503}
		var sent []string
		f.provider.answer = func(prev rp.Grant) (rp.Grant, error) {
			sent = append(sent, prev.Tokens.Refresh.Reveal())
			if len(sent) < 3 {
				prev.Tokens.Refresh = keys.NewSecret(fmt.Sprintf("refresh-%d", len(sent)+1))
				return prev, down
			}
			return grant(time.Now(), "last"), nil
		}
		pass(time.Until(s.Grant.Tokens.Expiry) - 10*time.Second)
		if got, err := f.fresh(t.Context(), 0, cookie); err != nil || got != "access-first" {
			t.Errorf("while the old access token lives: %s %v", got, err)
		}
		pass(10 * time.Second)
		if _, err := f.fresh(t.Context(), 1, cookie); !errors.Is(err, session.ErrProvider) || !errors.Is(err, down) {
			t.Errorf("afterwards: %v, want ErrProvider and its cause", err)
		}
		pass(10 * time.Second)
		for i := range f.replicas {
			if got, err := f.fresh(t.Context(), i, cookie); err != nil || got != "access-last" {
				t.Errorf("when there are keys again, replica %d: %s %v", i, got, err)
			}
		}
		if want := []string{"refresh-first", "refresh-2", "refresh-3"}; !slices.Equal(sent, want) {
			t.Errorf("sent %v, want %v", sent, want)
		}
		if f.log.lines("GK331") != 0 {
			t.Error("tokens that are there were reported as lost")
		}
	})
}

// The same with a real client at a provider that ends everything when an old token comes.
func TestASessionOutlivesAKeyRollWithoutKeysAtAProviderThatRotates(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	idp, client := atDevidp(t, b.clock)
	ring := ring(t, keyA)
	b.Manager = session.New(session.Config{
		Store: b.store, Ring: ring, Deployment: "http://localhost:8000", Now: b.clock,
		Providers: map[string]session.Provider{"idp": client},
	})
	w := httptest.NewRecorder()
	if _, err := b.Start(w, b.request(), session.SignIn{Provider: "idp", Grant: signInAt(t, client)}); err != nil {
		t.Fatal(err)
	}
	cookie := w.Result().Cookies()[0]
	fresh := func() (*session.Session, error) {
		s, err := b.Load(b.request(cookie))
		if err != nil {
			t.Fatal(err)
		}
		return b.Fresh(t.Context(), s)
	}
	first, err := fresh()
	if err != nil {
		t.Fatal(err)
	}
	if err := idp.RollKey(); err != nil {
		t.Fatal(err)
	}
	idp.Inject(devidp.Fault{Name: "no keys", At: "/jwks", Answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }})
	b.pass(6 * time.Minute)
	if _, err := fresh(); !errors.Is(err, session.ErrProvider) {
		t.Fatalf("without keys: %v, want ErrProvider", err)
	}
	idp.Heal()
	b.pass(time.Minute)
	last, err := fresh()
	if err != nil {
		t.Fatalf("with keys again: %v", err)
	}
	if n := idp.Stats().Token["refresh_token"]; n != 2 {
		t.Errorf("%d refreshes, want 2", n)
	}
	if last.ID != first.ID || last.Grant.Tokens.Access.Reveal() == first.Grant.Tokens.Access.Reveal() || last.Grant.Tokens.Refresh.Reveal() == first.Grant.Tokens.Refresh.Reveal() {
		t.Error("the session is another one, or has its old tokens")
	}
}

const callback = "http://localhost:8000/bff/callback"

// atDevidp is a provider that asks the person nothing, and a client of it.
func atDevidp(t *testing.T, now func() time.Time) (*devidp.Provider, *rp.Client) {
	t.Helper()
	idp, err := devidp.New(devidp.Config{AutoSignIn: "alice", SkipConsent: true, Now: now, NewKey: func() (*rsa.PrivateKey, error) {
		return rsa.GenerateKey(rand.Reader, 2048)
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(idp)
	t.Cleanup(server.Close)
	idp.SetIssuer(server.URL)
	client, err := rp.New(rp.Config{
		ID: "idp", Issuer: server.URL, ClientID: "genkan-dev", ClientSecret: keys.NewSecret("genkan-dev-secret"),
		Scopes: []string{"openid", "offline_access"}, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return idp, client
}

func signInAt(t *testing.T, client *rp.Client) rp.Grant {
	t.Helper()
	address, login, err := client.Begin(t.Context(), rp.AuthRequest{RedirectURI: callback, State: "state-of-at-least-128-bits"})
	if err != nil {
		t.Fatal(err)
	}
	browser := http.Client{CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	res, err := browser.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	back, err := url.Parse(res.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	grant, err := client.Finish(context.WithoutCancel(t.Context()), login, back.Query(), rp.ModeQuery)
	if err != nil {
		t.Fatal(err)
	}
	return grant
}
