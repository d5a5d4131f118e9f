package keys_test

import (
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/keys"
)

// SHA-256 of "vector one" and of "vector two", and what Python's cryptography derives of
// them: HKDF-SHA-256 with the infos "genkan-assertion ES256 0" and "genkan-assertion EdDSA",
// the public key, and its thumbprint (RFC 7638).
const (
	vectorOne = "scs73urANTLVRJU7vaWV+YH/I9Jz/XFZlgqIEk3ehlc="
	vectorTwo = "qyKA8r12PRdksejognogz7u03AqtHK5krjtDx3MlKO4="
	es256One  = "W1fL_OriFmqoasF1vbHLiypANST66rGkArPE3S0ljz4"
	es256Two  = "F_7wiPnedgPB9S0c_si8LQAtFWm-p7LN_dic6oBkQeE"
	eddsaOne  = "zyvfpeq2FawPbbsjaKWes8_u5VyI-Iv4K3GZYXqRKVQ"
	eddsaTwo  = "eMFhMKDzS6pBPQmwLRJlqsH6F2u3-fM1gw0cofW5HYk"
)

func ids(signers []*keys.Signer) (all []string) {
	for _, s := range signers {
		all = append(all, s.KeyID())
	}
	return all
}

func TestAssertionKeysAreDerivedOfEachKeyOfTheRing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		alg  string
		want []string
		set  string
	}{
		{"ES256", []string{es256One, es256Two}, `{"keys":[` +
			`{"use":"sig","kty":"EC","kid":"` + es256One + `","crv":"P-256","alg":"ES256","x":"Th87Ug3qRGga-vQ7XDH0Le6xANvv2gqCy6lgtatDLg0","y":"bA5ypTh5DM8fTwrIGvB7UsamKMnpP_fY6ehCvHLhRFw"},` +
			`{"use":"sig","kty":"EC","kid":"` + es256Two + `","crv":"P-256","alg":"ES256","x":"EdgD2aJ4XHqQFwRMl_shlbtJARbzsNbH5JpD9erLImY","y":"Hre2b2_yvxrZmJ9TxzagpFZITBuunyOYJ7wn0V52yGY"}]}`},
		{"EdDSA", []string{eddsaOne, eddsaTwo}, `{"keys":[` +
			`{"use":"sig","kty":"OKP","kid":"` + eddsaOne + `","crv":"Ed25519","alg":"EdDSA","x":"T3JO7AY7jRN6BYz4xDVq7KCSrJslUB8CZerRHKezGvU"},` +
			`{"use":"sig","kty":"OKP","kid":"` + eddsaTwo + `","crv":"Ed25519","alg":"EdDSA","x":"mQWSTr2T3eZ56WtoF38KALuBot0BcdZuzP04sSoTbDQ"}]}`},
		{"RS256", nil, `{"keys":[]}`},
		{"", nil, `{"keys":[]}`},
	} {
		t.Run(tt.alg, func(t *testing.T) {
			t.Parallel()
			signers := ring(t, vectorOne, vectorTwo).Signers(tt.alg)
			if diff := cmp.Diff(tt.want, ids(signers)); diff != "" {
				t.Error(diff)
			}
			set, err := keys.Published(signers)
			if err != nil {
				t.Fatal(err)
			}
			var got, want any
			if json.Unmarshal(set, &got) != nil || json.Unmarshal([]byte(tt.set), &want) != nil {
				t.Fatal("no JSON")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			for _, s := range signers {
				if alg := s.Alg([]string{"ES256", "EdDSA"}); alg != tt.alg {
					t.Errorf("a key signs with %s", alg)
				}
			}
		})
	}
}

func TestTheAssertionKeyThatSignsIsOfTheKeyThatSeals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := ring(t, vectorOne)
		want := func(when string, all ...string) {
			t.Helper()
			if diff := cmp.Diff(all, ids(r.Signers("ES256"))); diff != "" {
				t.Errorf("%s: %s", when, diff)
			}
		}
		want("alone", es256One)
		r.Replace(ring(t, vectorTwo, vectorOne), 5*time.Minute)
		want("as soon as there is a new one, which does not sign yet", es256One, es256Two)
		time.Sleep(5*time.Minute - time.Nanosecond)
		want("just before it signs", es256One, es256Two)
		time.Sleep(time.Nanosecond)
		want("when it signs", es256Two, es256One)
		r.Replace(ring(t, vectorTwo), 5*time.Minute)
		want("without the old one", es256Two)
		r.Replace(ring(t, vectorOne), 5*time.Minute)
		want("after all were exchanged at once", es256One)
	})
}

func TestAnAssertionKeyIsDerivedOnce(t *testing.T) {
	t.Parallel()
	r := ring(t, vectorOne)
	var all sync.Map
	var askers sync.WaitGroup
	for range 8 {
		askers.Go(func() { all.Store(r.Signers("ES256")[0], true) })
	}
	askers.Wait()
	n := 0
	all.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d keys for eight who ask", n)
	}
}
