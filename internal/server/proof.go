package server

import (
	"errors"

	"genkan/internal/rp"
)

// proof is a token as one of the clients that it is for has verified it.
type proof[T any] struct {
	client *rp.Client
	token  T
}

// prove has each client verify a token by its own rules. It counts for those that take it;
// the error, and whose it is, is there when none does. An outage at one of them is an error
// in any case: the token may come again, and is to end everything then.
func prove[T any](clients []*rp.Client, verify func(*rp.Client) (T, error)) (good []proof[T], by *rp.Client, err error) {
	for _, client := range clients {
		token, wrong := verify(client)
		var failure *rp.Error
		switch {
		case wrong == nil:
			good = append(good, proof[T]{client, token})
		case !errors.As(wrong, &failure) || failure.Kind != rp.Invalid:
			return nil, client, wrong
		case err == nil:
			by, err = client, wrong
		}
	}
	if len(good) > 0 {
		return good, nil, nil
	}
	return nil, by, err
}
