package session_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"genkan/internal/keys"
	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
)

// bench is a Manager with everything around it under the test's control.
type bench struct {
	*session.Manager
	store    *spyStore
	provider *fakeProvider
	site     *origin.Site
	mu       sync.Mutex
	now      time.Time
}

func newBench(t *testing.T, ringKeys ...string) *bench {
	t.Helper()
	b := &bench{now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC), provider: &fakeProvider{}}
	b.store = &spyStore{Store: session.NewMemory(b.clock)}
	b.site = site(t, "http://localhost:8000")
	b.Manager = b.manager(t, "http://localhost:8000", ringKeys...)
	return b
}

// written has the store learn of all activity so far.
func (b *bench) written(t *testing.T) {
	t.Helper()
	if err := b.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) manager(t *testing.T, deployment string, ringKeys ...string) *session.Manager {
	t.Helper()
	if len(ringKeys) == 0 {
		ringKeys = []string{keyA}
	}
	secrets := []keys.Secret{}
	for _, k := range ringKeys {
		secrets = append(secrets, keys.NewSecret(k))
	}
	ring, err := keys.Parse(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return session.New(session.Config{
		Store: b.store, Ring: ring, Deployment: deployment, Now: b.clock,
		Providers: map[string]session.Provider{"idp": b.provider},
	})
}

const (
	keyA = "rv6wWm8XcXWn2hIE5wDmjcPLGzO0uxBTtJ7o5ZrJ0pQ="
	keyB = "0YXaQ1h2cN0cVwq0c5l9mV3jW8m1u2RrXo7ZkT4bE6s="
)

func site(t *testing.T, public string) *origin.Site {
	t.Helper()
	o, err := origin.Parse(public)
	if err != nil {
		t.Fatal(err)
	}
	p, found := origin.New(origin.Config{PublicURLs: []origin.Origin{o}})
	if p == nil {
		t.Fatal(found)
	}
	return p.Canonical()
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// request is one of a browser that holds cookies.
func (b *bench) request(cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://localhost:8000/", nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return origin.WithSite(r, b.site)
}

func (b *bench) signIn(t *testing.T, held ...*http.Cookie) (*http.Cookie, *session.Session) {
	t.Helper()
	w := httptest.NewRecorder()
	s, err := b.Start(w, b.request(held...), session.SignIn{Provider: "idp", Grant: grant(b.clock(), "first")})
	if err != nil {
		t.Fatal(err)
	}
	cookies := w.Result().Cookies()
	if len(cookies) != 1 {
		t.Fatalf("sign-in set %d cookies, want 1", len(cookies))
	}
	return cookies[0], s
}

func grant(now time.Time, name string) rp.Grant {
	return rp.Grant{
		Tokens: rp.Tokens{
			Access: keys.NewSecret("access-" + name), Refresh: keys.NewSecret("refresh-" + name), ID: keys.NewSecret("id-" + name),
			Expiry: now.Add(5 * time.Minute),
		},
		Identity: rp.Identity{Issuer: "https://idp.example", Subject: "subject-alice"},
	}
}

func TestASessionIsFoundByItsCookie(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, started := b.signIn(t)
	got, err := b.Load(b.request(cookie))
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != started.ID || got.Provider != "idp" || got.Grant.Tokens.Access.Reveal() != "access-first" ||
		got.Grant.Tokens.Refresh.Reveal() != "refresh-first" || got.Grant.Tokens.ID.Reveal() != "id-first" ||
		got.Grant.Identity.Subject != "subject-alice" {
		t.Errorf("loaded another record than was stored: %+v", got.Record)
	}
	if cookie.Name != "bff-8000" || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" || cookie.MaxAge != 12*3600 {
		t.Errorf("cookie %s", cookie)
	}
}

func TestTheStoreSeesNeitherIdNorTokensNorWhoItIs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, _ := b.signIn(t)
	for _, row := range b.store.saved() {
		for _, word := range []string{"access-first", "refresh-first", "id-first", "subject-alice", "idp.example", cookie.Value} {
			if bytes.Contains(row.Data, []byte(word)) || bytes.Contains(row.Key[:], []byte(word)) {
				t.Errorf("the row holds %q in the clear", word)
			}
		}
	}
}

func TestABrokenCookieIsNoSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good, _ := b.signIn(t)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range len(good.Value) {
		changed := []byte(good.Value)
		changed[i] = alphabet[(strings.IndexByte(alphabet, changed[i])+1)%len(alphabet)]
		if _, err := b.Load(b.request(&http.Cookie{Name: good.Name, Value: string(changed)})); !errors.Is(err, session.ErrNone) {
			t.Errorf("byte %d changed: %v, want ErrNone", i, err)
		}
	}
	for name, value := range map[string]string{
		"empty": "", "truncated": good.Value[:len(good.Value)-4], "doubled": good.Value + good.Value,
		"padded": good.Value + "=", "the id of another session": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "huge": strings.Repeat("A", 5000),
	} {
		if _, err := b.Load(b.request(&http.Cookie{Name: good.Name, Value: value})); !errors.Is(err, session.ErrNone) {
			t.Errorf("%s: %v, want ErrNone", name, err)
		}
	}
}

func TestTossedCookiesDoNotHideTheSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good, _ := b.signIn(t)
	junk := &http.Cookie{Name: good.Name, Value: "junk"}
	for name, cookies := range map[string][]*http.Cookie{"junk first": {junk, good}, "junk last": {good, junk}} {
		if _, err := b.Load(b.request(cookies...)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := slices.Concat(slices.Repeat([]*http.Cookie{junk}, 10), []*http.Cookie{good})
	if _, err := b.Load(b.request(many...)); !errors.Is(err, session.ErrNone) {
		t.Errorf("after ten others: %v, want ErrNone", err)
	}
}

func TestACookieOfAnotherKeyOrDeploymentIsNoSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, _ := b.signIn(t)
	if _, err := b.manager(t, "http://localhost:8000", keyB).Load(b.request(cookie)); !errors.Is(err, session.ErrNone) {
		t.Errorf("other key: %v", err)
	}
	if _, err := b.manager(t, "http://localhost:9999", keyA).Load(b.request(cookie)); !errors.Is(err, session.ErrNone) {
		t.Errorf("other deployment: %v", err)
	}
	if _, err := b.manager(t, "http://localhost:8000", keyB, keyA).Load(b.request(cookie)); err != nil {
		t.Errorf("key rotated, the old one kept: %v", err)
	}
}

func TestEverySignInGetsANewIdAndEndsTheOld(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first, _ := b.signIn(t)
	second, _ := b.signIn(t, first)
	if first.Value == second.Value {
		t.Error("the cookie is the same")
	}
	if _, err := b.Load(b.request(first)); !errors.Is(err, session.ErrNone) {
		t.Errorf("the old cookie: %v, want ErrNone", err)
	}
	if _, err := b.Load(b.request(second)); err != nil {
		t.Errorf("the new cookie: %v", err)
	}
	planted := &http.Cookie{Name: "bff-8000", Value: "planted"}
	if third, _ := b.signIn(t, planted); third.Value == planted.Value {
		t.Error("a planted value was adopted")
	}
}

func TestASessionNamedAsReplacedEndsThoughItsCookieDidNotCome(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old, s := b.signIn(t)
	w := httptest.NewRecorder()
	if _, err := b.Start(w, b.request(), session.SignIn{Provider: "idp", Grant: grant(b.clock(), "x"), Replaces: []session.Key{s.Key()}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Load(b.request(old)); !errors.Is(err, session.ErrNone) {
		t.Errorf("%v, want ErrNone", err)
	}
}

func TestIdleAndAbsoluteLimits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, _ := b.signIn(t)
	b.pass(time.Hour + time.Second)
	if _, err := b.Load(b.request(cookie)); !errors.Is(err, session.ErrNone) {
		t.Errorf("idle for an hour and a second: %v, want ErrNone", err)
	}
	cookie, _ = b.signIn(t)
	for range 23 {
		b.pass(31 * time.Minute)
		s, err := b.Load(b.request(cookie))
		if err != nil {
			t.Fatalf("active session ended early: %v", err)
		}
		b.Active(s)
		b.written(t)
		if s.Idle.After(s.Expires) {
			t.Fatal("the idle limit is after the absolute one")
		}
	}
	b.pass(8 * time.Minute) // 12 h and 1 min since sign-in
	if _, err := b.Load(b.request(cookie)); !errors.Is(err, session.ErrNone) {
		t.Errorf("after twelve hours: %v, want ErrNone", err)
	}
}

// TestTheAbsoluteLimitIsSealed: who can write to the store cannot give a stolen cookie
// a longer life.
func TestTheAbsoluteLimitIsSealed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, s := b.signIn(t)
	row, err := b.store.Load(t.Context(), s.Key())
	if err != nil {
		t.Fatal(err)
	}
	row.Idle, row.Expires = b.clock().Add(99*time.Hour), b.clock().Add(99*time.Hour)
	if _, err := b.store.Save(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	b.pass(12 * time.Hour)
	if _, err := b.Load(b.request(cookie)); !errors.Is(err, session.ErrNone) {
		t.Errorf("after twelve hours: %v, want ErrNone", err)
	}
}

func TestReadingWithoutActivityDoesNotExtend(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, _ := b.signIn(t)
	for range 4 {
		b.pass(14 * time.Minute)
		if _, err := b.Load(b.request(cookie)); err != nil {
			t.Fatal(err)
		}
	}
	b.pass(5 * time.Minute)
	if _, err := b.Load(b.request(cookie)); !errors.Is(err, session.ErrNone) {
		t.Errorf("%v, want ErrNone", err)
	}
}

func TestActivityIsWrittenAtMostOnceAMinute(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, _ := b.signIn(t)
	for range 120 {
		b.pass(time.Second)
		s, err := b.Load(b.request(cookie))
		if err != nil {
			t.Fatal(err)
		}
		b.Active(s)
		b.written(t)
	}
	if got := b.store.count("touch"); got != 2 {
		t.Errorf("%d writes in two minutes, want 2", got)
	}
}

func TestAStoreThatFailsIsNotSignedOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, _ := b.signIn(t)
	b.store.fail(errors.New("disk on fire"))
	_, err := b.Load(b.request(cookie))
	if !errors.Is(err, session.ErrStore) || errors.Is(err, session.ErrNone) {
		t.Errorf("load: %v, want ErrStore", err)
	}
	b.store.fail(nil)
	r, w := b.request(cookie), httptest.NewRecorder()
	if _, err := b.Load(r); err != nil {
		t.Fatal(err)
	}
	b.store.fail(errors.New("disk on fire"))
	if err := b.End(w, r, session.SignedOut); !errors.Is(err, session.ErrStore) {
		t.Errorf("end: %v, want ErrStore", err)
	}
	if len(w.Result().Cookies()) != 0 {
		t.Error("the cookie was cleared although the session lives on: signing out cannot be tried again")
	}
}

func TestEndClearsCookieAndRow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie, _ := b.signIn(t)
	w := httptest.NewRecorder()
	if err := b.End(w, b.request(cookie), session.SignedOut); err != nil {
		t.Fatal(err)
	}
	cleared := w.Result().Cookies()
	if len(cleared) != 1 || cleared[0].Name != cookie.Name || cleared[0].MaxAge >= 0 || cleared[0].Path != "/" {
		t.Errorf("clearing cookie: %v", cleared)
	}
	if _, err := b.Load(b.request(cookie)); !errors.Is(err, session.ErrNone) {
		t.Errorf("the old cookie still opens: %v", err)
	}
}

func TestOfTwoWhoHoldATicketOneGetsWhatItStandsFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		ticket, err := f.replicas[0].Hold(t.Context(), "the value", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		f.replicas[0].line.Store = &afterwards{f.store, time.Millisecond} // both have read it before one writes
		f.replicas[0].line.on(func(operation string) error {
			if operation == "delete" {
				pass(time.Millisecond) // and both write before one deletes
			}
			return nil
		})
		var got, none atomic.Int32
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				switch value, err := f.replicas[0].Take(t.Context(), ticket); {
				case err == nil && value == "the value":
					got.Add(1)
				case errors.Is(err, session.ErrNone) && value == "":
					none.Add(1)
				}
			})
		}
		wg.Wait()
		if got.Load() != 1 || none.Load() != 1 {
			t.Errorf("%d got it and %d ErrNone, want 1 and 1", got.Load(), none.Load())
		}
	})
}

// A row that nobody has the cookie of would count as one of the user's sessions.
func TestASignInWhoseAnswerFromTheStoreIsLostLeavesNoSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.store.loseAnswer(errors.New("connection reset"))
	w := httptest.NewRecorder()
	if _, err := b.Start(w, b.request(), session.SignIn{Provider: "idp", Grant: grant(b.clock(), "first")}); !errors.Is(err, session.ErrStore) {
		t.Fatalf("%v, want ErrStore", err)
	}
	if got := w.Result().Cookies(); len(got) != 0 {
		t.Errorf("cookies %v, want none", got)
	}
	for _, row := range b.store.saved() {
		if _, err := b.store.Store.Load(t.Context(), row.Key); !errors.Is(err, session.ErrNone) {
			t.Errorf("a row is left: %v", err)
		}
	}
	if len(b.store.saved()) == 0 {
		t.Error("nothing was saved")
	}
}

func TestOnceIsOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var wins, faults sync.Map
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			first, err := b.Once(t.Context(), "state", time.Minute)
			if err != nil {
				faults.Store(i, err)
			} else if first {
				wins.Store(i, true)
			}
		})
	}
	wg.Wait()
	count := func(m *sync.Map) (n int) { m.Range(func(any, any) bool { n++; return true }); return n }
	if count(&wins) != 1 || count(&faults) != 0 {
		t.Errorf("%d first times and %d faults, want 1 and 0", count(&wins), count(&faults))
	}
	b.store.fail(errors.New("down"))
	if first, err := b.Once(t.Context(), "other", time.Minute); first || !errors.Is(err, session.ErrStore) {
		t.Errorf("store down: %v %v, want false and ErrStore", first, err)
	}
}
