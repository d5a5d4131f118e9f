package rp

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestAPanicWhileFetchingIsAnErrorAndNotTheEndOfTheProcess(t *testing.T) {
	t.Parallel()
	broken := true
	c := &cache[string]{
		now: time.Now, warn: func(error) {}, ttl: time.Hour,
		fetch: func(context.Context) (string, error) {
			if broken {
				panic("a secret text")
			}
			return "whole", nil
		},
	}
	_, err := c.get(t.Context())
	var failure *Error
	if !errors.As(err, &failure) || failure.Kind != Fault || failure.Code != "panic" {
		t.Fatalf("%v, want a fault", err)
	}
	broken = false
	if got, err := c.get(t.Context()); err != nil || got.value != "whole" {
		t.Errorf("afterwards: %v %v", got, err)
	}
}
