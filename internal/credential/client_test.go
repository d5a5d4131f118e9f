package credential_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"genkan/internal/credential"
	"genkan/internal/keys"
	"genkan/internal/rp"
)

var read = rp.ClientCredentials{Scope: "read"}

func (b *bench) given(life time.Duration) func(context.Context, keys.Secret, rp.ClientCredentials) (rp.Tokens, error) {
	return func(_ context.Context, key keys.Secret, what rp.ClientCredentials) (rp.Tokens, error) {
		tokens := token(fmt.Sprintf("%s %s %q #%d", what.Audience, what.Scope, what.Resource, b.provider.count()), b.clock().Add(life))
		tokens.Key = key
		return tokens, nil
	}
}

func TestOneClientTokenServesEverybody(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	give := b.given(time.Hour)
	var onTheirWay sync.WaitGroup
	b.provider.gives(func(ctx context.Context, key keys.Secret, what rp.ClientCredentials) (rp.Tokens, error) {
		onTheirWay.Wait()
		return give(ctx, key, what)
	})
	for i, what := range []rp.ClientCredentials{read, {Scope: "write"}, {Audience: "read"}, {Resource: []string{"https://a"}}} {
		var all sync.WaitGroup
		onTheirWay.Add(50)
		for range 50 {
			all.Go(func() {
				onTheirWay.Done()
				want := fmt.Sprintf("%s %s %q #%d", what.Audience, what.Scope, what.Resource, i+1)
				if got, err := b.Client(t.Context(), "idp", what); err != nil || got.Access.Reveal() != want {
					t.Errorf("%q %v, want %q", got.Access.Reveal(), err, want)
				}
			})
		}
		all.Wait()
	}
	if _, err := b.Client(t.Context(), "bound", read); err != nil || b.provider.count() != 5 {
		t.Errorf("another provider: %d requests, %v", b.provider.count(), err)
	}
}

func TestClientTokensAreBoundToOneKeyOfTheProcessWhereTheProviderWantsIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.gives(b.given(time.Hour))
	key := func(provider, scope string) string {
		t.Helper()
		got, err := b.Client(t.Context(), provider, rp.ClientCredentials{Scope: scope})
		if err != nil {
			t.Fatal(err)
		}
		return got.Key.Reveal()
	}
	if got := key("idp", "read"); got != "" {
		t.Error("a key for a provider without DPoP")
	}
	first, second := key("bound", "read"), key("bound", "write")
	if first == "" || first != second {
		t.Errorf("two keys, or none: %t", first == "")
	}
	if _, err := keys.OpenSigner(keys.NewSecret(first)); err != nil {
		t.Error(err)
	}
}

func TestAClientTokenIsRenewedBeforeItExpiresAndNobodyWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.gives(b.given(10 * time.Minute))
	get := func() string {
		t.Helper()
		got, err := b.Client(t.Context(), "idp", read)
		if err != nil {
			t.Fatal(err)
		}
		return got.Access.Reveal()
	}
	const first, second = ` read [] #1`, ` read [] #2`
	get()
	b.pass(9*time.Minute + 30*time.Second - time.Nanosecond)
	if got := get(); got != first || b.provider.count() != 1 {
		t.Errorf("%s after %d requests", got, b.provider.count())
	}
	let := make(chan bool)
	give := b.given(10 * time.Minute)
	b.provider.gives(func(ctx context.Context, key keys.Secret, what rp.ClientCredentials) (rp.Tokens, error) {
		<-let
		return give(ctx, key, what)
	})
	b.pass(time.Nanosecond)
	for range 3 {
		if got := get(); got != first {
			t.Errorf("%s while the provider is slow", got)
		}
	}
	close(let)
	eventually(t, "the new token", func() bool { return get() == second })
	if got := b.provider.count(); got != 2 {
		t.Errorf("%d requests", got)
	}
}

func TestWhileTheProviderIsDownTheClientTokenServesUntilItExpires(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.gives(b.given(10 * time.Minute))
	if _, err := b.Client(t.Context(), "idp", read); err != nil {
		t.Fatal(err)
	}
	down := &rp.Error{Op: "client_credentials", Kind: rp.Fault}
	b.provider.gives(func(context.Context, keys.Secret, rp.ClientCredentials) (rp.Tokens, error) { return rp.Tokens{}, down })
	b.pass(9*time.Minute + 30*time.Second)
	for _, step := range []struct {
		wait time.Duration
		want int
	}{{0, 2}, {time.Second, 2}, {time.Second, 3}, {28*time.Second - time.Nanosecond, 4}} {
		b.pass(step.wait)
		got, err := b.Client(t.Context(), "idp", read)
		if err != nil || got.Access.Reveal() != ` read [] #1` {
			t.Errorf("%q %v", got.Access.Reveal(), err)
		}
		eventually(t, fmt.Sprintf("%d requests", step.want), func() bool { return b.provider.count() == step.want })
		eventually(t, "the failure is noted", func() bool { return b.failures() == step.want-1 })
	}
	b.pass(2 * time.Second)
	if got, err := b.Client(t.Context(), "idp", read); !errors.Is(err, credential.ErrProvider) || !got.Access.Empty() {
		t.Errorf("after its expiry: %q %v", got.Access.Reveal(), err)
	}
}

func TestARefusedClientIsAMisconfiguration(t *testing.T) {
	t.Parallel()
	for _, kind := range []rp.Kind{rp.Refused, rp.Misconfigured} {
		b := newBench(t)
		b.provider.gives(func(context.Context, keys.Secret, rp.ClientCredentials) (rp.Tokens, error) {
			return rp.Tokens{}, &rp.Error{Op: "client_credentials", Kind: kind}
		})
		for range 3 {
			if _, err := b.Client(t.Context(), "idp", read); !errors.Is(err, credential.ErrMisconfigured) || errors.Is(err, credential.ErrRefused) || b.provider.count() != 1 {
				t.Errorf("%v after %d requests", err, b.provider.count())
			}
		}
	}
}

func TestARefusedClientTokenIsDroppedOnceInTenSeconds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.gives(b.given(time.Hour))
	first, _ := b.Client(t.Context(), "idp", read)
	if !b.DropClient("idp", read, first) {
		t.Error("the first one was not dropped")
	}
	second, _ := b.Client(t.Context(), "idp", read)
	if b.DropClient("idp", read, second) || b.provider.count() != 2 {
		t.Errorf("the second was dropped too soon, after %d requests", b.provider.count())
	}
	b.pass(10 * time.Second)
	if !b.DropClient("idp", read, second) {
		t.Error("the second was never dropped")
	}
}

func TestOneServiceTakesTheClientTokenFromNobody(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provider.gives(b.given(time.Hour))
	first, _ := b.Client(t.Context(), "idp", read)
	b.provider.gives(func(context.Context, keys.Secret, rp.ClientCredentials) (rp.Tokens, error) {
		return rp.Tokens{}, &rp.Error{Kind: rp.Fault, Err: errors.New("down")}
	})
	if !b.DropClient("idp", read, first) {
		t.Fatal("it was not dropped")
	}
	for range 2 { // asked for in vain, and while that is remembered
		if got, err := b.Client(t.Context(), "idp", read); err != nil || got.Access.Reveal() != first.Access.Reveal() {
			t.Errorf("the others get %q, %v", got.Access.Reveal(), err)
		}
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
