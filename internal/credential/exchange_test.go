package credential_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"genkan/internal/access"
	"genkan/internal/credential"
	"genkan/internal/rp"
)

var orders = rp.ExchangeRequest{Audience: "orders"}

// traded answers with a token that tells what it was got with, for life.
func (b *bench) traded(life time.Duration) func(context.Context, rp.Tokens, rp.ExchangeRequest) (rp.Tokens, error) {
	return func(_ context.Context, subject rp.Tokens, what rp.ExchangeRequest) (rp.Tokens, error) {
		text := fmt.Sprintf("%s for %s %s %s %q #%d", subject.Access.Reveal(), what.Audience, what.Scope, what.RequestedTokenType, what.Resource, b.provider.count())
		return token(text, b.clock().Add(life)), nil
	}
}

func TestATokenIsExchangedOncePerCallerAndPurpose(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.exchanges(b.traded(time.Hour))
	alice, again, bob := b.signIn(t, "alice"), b.signIn(t, "alice"), b.signIn(t, "bob")
	batch := program("at-alice", time.Time{}) // the very token of a session
	other := access.Of(alice)
	other.Provider = "bound"
	renewed := access.Of(b.renew(t, bob))
	for _, tt := range []struct {
		name string
		c    *access.Caller
		what rp.ExchangeRequest
		want string
	}{
		{"a session", access.Of(alice), orders, `at-alice for orders   [] #1`},
		{"another session of the user", access.Of(again), orders, `at-alice for orders   [] #2`},
		{"another user", access.Of(bob), orders, `at-bob for orders   [] #3`},
		{"a program", batch, orders, `at-alice for orders   [] #4`},
		{"another program", program("at-bob", time.Time{}), orders, `at-bob for orders   [] #5`},
		{"after a refresh at the same instant", renewed, orders, `at-bob-2 for orders   [] #6`},
		{"another provider", other, orders, `at-alice for orders   [] #7`},
		{"another audience", access.Of(alice), rp.ExchangeRequest{Audience: "bills"}, `at-alice for bills   [] #8`},
		{"another scope", access.Of(alice), rp.ExchangeRequest{Audience: "orders", Scope: "read"}, `at-alice for orders read  [] #9`},
		{"the same words elsewhere", access.Of(alice), rp.ExchangeRequest{Scope: "orders"}, `at-alice for  orders  [] #10`},
		{"another type", access.Of(alice), rp.ExchangeRequest{Audience: "orders", RequestedTokenType: "jwt"}, `at-alice for orders  jwt [] #11`},
		{"another resource", access.Of(alice), rp.ExchangeRequest{Audience: "orders", Resource: []string{"https://a", "https://b"}}, `at-alice for orders   ["https://a" "https://b"] #12`},
	} {
		for range 2 {
			got, err := b.Exchanged(t.Context(), tt.c, tt.what)
			if err != nil || got.Access.Reveal() != tt.want {
				t.Errorf("%s: %q %v, want %q", tt.name, got.Access.Reveal(), err, tt.want)
			}
		}
	}
	if got := b.provider.count(); got != 12 {
		t.Errorf("%d exchanges", got)
	}
}

func TestAnExchangedTokenIsUsedUntilShortlyBeforeItsEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		life, session time.Duration // of the token; of a program's token in place of a session
		used          time.Duration
	}{
		{"half a minute before", 5 * time.Minute, 0, 4*time.Minute + 30*time.Second},
		{"a tenth before, when it lives shortly", time.Minute, 0, 54 * time.Second},
		{"ten minutes at most", time.Hour, 0, 10 * time.Minute},
		{"not after its caller's end", time.Hour, 3 * time.Minute, 3 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.provider.exchanges(b.traded(tt.life))
			c := access.Of(b.signIn(t, "alice"))
			if tt.session > 0 {
				c = program("at", b.clock().Add(tt.session))
			}
			for _, step := range []struct {
				wait time.Duration
				want int
			}{{0, 1}, {tt.used - time.Nanosecond, 1}, {time.Nanosecond, 2}} {
				b.pass(step.wait)
				if _, err := b.Exchanged(t.Context(), c, orders); err != nil || b.provider.count() != step.want {
					t.Errorf("after %s: %d exchanges, want %d; %v", step.wait, b.provider.count(), step.want, err)
				}
			}
		})
	}
}

func TestAnExchangedTokenIsNotUsedAfterItsSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.exchanges(b.traded(time.Hour))
	s := b.signIn(t, "alice")
	b.pass(s.Expires.Sub(b.clock()) - time.Minute)
	for i, want := range []int{1, 1, 2} {
		if i == 2 {
			b.pass(time.Minute)
		}
		if _, err := b.Exchanged(t.Context(), access.Of(s), orders); err != nil || b.provider.count() != want {
			t.Errorf("call %d: %d exchanges, want %d; %v", i, b.provider.count(), want, err)
		}
	}
}

// Every one of many calls of two users gets what was got for its own user, and the provider
// is asked once for each.
func TestUsersInParallelNeverGetEachOthersTokens(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	trade := b.traded(time.Hour)
	var onTheirWay sync.WaitGroup
	b.provider.exchanges(func(ctx context.Context, subject rp.Tokens, what rp.ExchangeRequest) (rp.Tokens, error) {
		onTheirWay.Wait()
		return trade(ctx, subject, what)
	})
	callers := map[string]*access.Caller{"at-alice ": access.Of(b.signIn(t, "alice")), "at-bob ": access.Of(b.signIn(t, "bob")), "at-batch ": program("at-batch", time.Time{})}
	var all sync.WaitGroup
	onTheirWay.Add(len(callers) * 50)
	for mine, c := range callers {
		for range 50 {
			all.Go(func() {
				onTheirWay.Done()
				got, err := b.Exchanged(t.Context(), c, orders)
				if err != nil || !strings.HasPrefix(got.Access.Reveal(), mine) {
					t.Errorf("%s got %q %v", mine, got.Access.Reveal(), err)
				}
			})
		}
	}
	all.Wait()
	if got := b.provider.count(); got != 3 {
		t.Errorf("%d exchanges", got)
	}
}

// Who finds nothing kept and comes just after the request that was under way takes what
// that brought.
func TestLateComersDoNotAskAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.exchanges(b.traded(time.Hour))
	for round := range 300 {
		c, start := program(fmt.Sprint("at-", round), time.Time{}), make(chan bool)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				<-start
				if _, err := b.Exchanged(t.Context(), c, orders); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		all.Wait()
		if got := b.provider.count(); got != round+1 {
			t.Fatalf("%d exchanges for %d callers", got, round+1)
		}
	}
}

func TestARefreshDoesNotWaitForTheExchangeOfTheTokenBefore(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	begun, let := make(chan bool, 2), make(chan bool)
	trade := b.traded(time.Hour)
	b.provider.exchanges(func(ctx context.Context, subject rp.Tokens, what rp.ExchangeRequest) (rp.Tokens, error) {
		if subject.Access.Reveal() == "at-alice" {
			begun <- true
			<-let
		}
		return trade(ctx, subject, what)
	})
	s := b.signIn(t, "alice")
	var first sync.WaitGroup
	first.Go(func() { _, _ = b.Exchanged(t.Context(), access.Of(s), orders) })
	<-begun
	got, err := b.Exchanged(t.Context(), access.Of(b.renew(t, s)), orders)
	if err != nil || !strings.HasPrefix(got.Access.Reveal(), "at-alice-2 ") {
		t.Errorf("%q %v", got.Access.Reveal(), err)
	}
	close(let)
	first.Wait()
}

func TestABrowserThatHangsUpFailsNobodyElse(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	begun, let := make(chan bool), make(chan bool)
	trade := b.traded(time.Hour)
	b.provider.exchanges(func(ctx context.Context, subject rp.Tokens, what rp.ExchangeRequest) (rp.Tokens, error) {
		begun <- true
		<-let
		if ctx.Err() != nil {
			return rp.Tokens{}, ctx.Err()
		}
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("the request may take for ever")
		}
		return trade(ctx, subject, what)
	})
	c := access.Of(b.signIn(t, "alice"))
	ctx, hangUp := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := b.Exchanged(ctx, c, orders); !errors.Is(err, credential.ErrProvider) || !errors.Is(err, context.Canceled) {
			t.Errorf("who hung up: %v", err)
		}
	})
	<-begun
	all.Go(func() {
		if got, err := b.Exchanged(t.Context(), c, orders); err != nil || got.Access.Empty() {
			t.Errorf("who waits: %v", err)
		}
	})
	hangUp()
	let <- true
	all.Wait()
	if got := b.provider.count(); got != 1 {
		t.Errorf("%d exchanges", got)
	}
}

func TestFailuresAreToldApartAndCostNoRequestEach(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		cause error
		want  error
		brake time.Duration
	}{
		{"the token is refused", &rp.Error{Op: "exchange", Kind: rp.Refused, Code: "invalid_grant"}, credential.ErrRefused, 5 * time.Second},
		{"the audience is refused", &rp.Error{Op: "exchange", Kind: rp.Misconfigured, Code: "invalid_target"}, credential.ErrMisconfigured, 5 * time.Second},
		{"the provider is down", &rp.Error{Op: "exchange", Kind: rp.Fault, Status: 503}, credential.ErrProvider, 2 * time.Second},
		{"the answer is no good", &rp.Error{Op: "exchange", Kind: rp.Invalid}, credential.ErrProvider, 2 * time.Second},
		{"discovery refuses", &rp.Error{Op: "discovery", Kind: rp.Refused}, credential.ErrMisconfigured, 5 * time.Second},
		{"anything else", errors.New("odd"), credential.ErrProvider, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.provider.exchanges(func(context.Context, rp.Tokens, rp.ExchangeRequest) (rp.Tokens, error) { return rp.Tokens{}, tt.cause })
			c := access.Of(b.signIn(t, "alice"))
			for _, step := range []struct {
				wait time.Duration
				want int
			}{{0, 1}, {0, 1}, {tt.brake - time.Nanosecond, 1}, {time.Nanosecond, 2}} {
				b.pass(step.wait)
				b.Sweep() // forgets no failure too soon
				got, err := b.Exchanged(t.Context(), c, orders)
				if !errors.Is(err, tt.want) || !errors.Is(err, tt.cause) || !got.Access.Empty() || b.provider.count() != step.want {
					t.Errorf("after %s: %v with %d requests, want %v with %d", step.wait, err, b.provider.count(), tt.want, step.want)
				}
				for _, other := range []error{credential.ErrRefused, credential.ErrMisconfigured, credential.ErrProvider} {
					if other != tt.want && errors.Is(err, other) {
						t.Errorf("it is %v too", other)
					}
				}
			}
			b.provider.exchanges(b.traded(time.Hour))
			if _, err := b.Exchanged(t.Context(), access.Of(b.signIn(t, "bob")), orders); err != nil {
				t.Errorf("another user: %v", err)
			}
			b.pass(tt.brake)
			if _, err := b.Exchanged(t.Context(), c, orders); err != nil {
				t.Errorf("when it works again: %v", err)
			}
			if n := b.failures(); n != 2 || strings.Contains(b.log.String(), "at-alice") {
				t.Errorf("%d lines, %s", n, b.log.String())
			}
		})
	}
}

func TestAPanicFailsTheCallAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.exchanges(func(context.Context, rp.Tokens, rp.ExchangeRequest) (rp.Tokens, error) { panic("at-alice") })
	_, err := b.Exchanged(t.Context(), access.Of(b.signIn(t, "alice")), orders)
	if !errors.Is(err, credential.ErrProvider) || strings.Contains(err.Error(), "at-alice") {
		t.Error(err)
	}
}

func TestAProviderThatIsNotThereIsAMisconfiguration(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := access.Of(b.signIn(t, "alice"))
	c.Provider = "gone"
	if _, err := b.Exchanged(t.Context(), c, orders); !errors.Is(err, credential.ErrMisconfigured) {
		t.Error(err)
	}
	if _, err := b.Client(t.Context(), "gone", rp.ClientCredentials{}); !errors.Is(err, credential.ErrMisconfigured) {
		t.Error(err)
	}
}

func TestARefusedTokenIsDroppedOnceInTenSeconds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.exchanges(b.traded(time.Hour))
	c := access.Of(b.signIn(t, "alice"))
	get := func() rp.Tokens {
		t.Helper()
		got, err := b.Exchanged(t.Context(), c, orders)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := get()
	if !b.DropExchanged(c, orders, first) {
		t.Error("the first one was not dropped")
	}
	b.Sweep() // takes no brake off
	if !b.DropExchanged(c, orders, first) {
		t.Error("who comes second is not sent to ask again, although the token has gone")
	}
	second := get()
	if second.Access.Reveal() == first.Access.Reveal() {
		t.Error("it is given again")
	}
	if !b.DropExchanged(c, orders, first) || get().Access.Reveal() != second.Access.Reveal() {
		t.Error("who was refused with the first one does not get the second")
	}
	b.pass(10*time.Second - time.Nanosecond)
	if b.DropExchanged(c, orders, second) || get().Access.Reveal() != second.Access.Reveal() {
		t.Error("the second was dropped too soon")
	}
	b.pass(time.Nanosecond)
	if !b.DropExchanged(c, orders, second) || get().Access.Reveal() == second.Access.Reveal() {
		t.Error("the second was never dropped")
	}
	if got := b.provider.count(); got != 3 {
		t.Errorf("%d exchanges", got)
	}
}

func TestTheTokensOfAnEndedSessionGoAtTheNextSweep(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.exchanges(b.traded(time.Hour))
	alice, bob, batch := b.signIn(t, "alice"), b.signIn(t, "bob"), program("at", b.clock().Add(time.Minute))
	exchanges := func(c *access.Caller) bool {
		before := b.provider.count()
		if _, err := b.Exchanged(t.Context(), c, orders); err != nil {
			t.Error(err)
		}
		return b.provider.count() > before
	}
	for _, c := range []*access.Caller{access.Of(alice), access.Of(bob), batch} {
		exchanges(c)
	}
	b.Sweep()
	if exchanges(access.Of(alice)) || exchanges(access.Of(bob)) || exchanges(batch) {
		t.Error("a sweep took what is good")
	}
	if err := b.sessions.Store.Delete(t.Context(), alice.Key(), 0); err != nil {
		t.Fatal(err)
	}
	b.Sweep()
	if !exchanges(access.Of(alice)) || exchanges(access.Of(bob)) || exchanges(batch) {
		t.Error("the tokens of the ended session are still there, or others' are not")
	}
}
