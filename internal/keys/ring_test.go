package keys_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"genkan/internal/keys"
)

// Three keys: SHA-256 of "genkan test key one", "… two", "… three".
const (
	keyOne   = "wxQarsmAShun4nj7t+DW52+wCBDoMRs6NYQH1HxDv4E="
	keyTwo   = "5gYQ5n6W4WgfUbWBEzmuZwJQLnDO+AN+Jsnd0daBbwg="
	keyThree = "pcqFFKP+lg6TuCSEjVAmKrX48PljgnQO/cn0S34NJ94="
)

// sealedElsewhere is "plain text" sealed with keyOne, purpose "session row", bound
// to "row 7", nonce 0…11, by another implementation of HKDF and AES-GCM (Python's
// cryptography). A change that cannot open it signs everybody out.
const sealedElsewhere = "ATUODz8AAQIDBAUGBwgJCgvSL3w4TU-XrtXDowWQWVWFk4zWaZOWCNEZ3w"

const purpose, bind = "session row", "row 7"

func secrets(texts ...string) []keys.Secret {
	var list []keys.Secret
	for _, text := range texts {
		list = append(list, keys.NewSecret(text))
	}
	return list
}

func ring(t testing.TB, texts ...string) *keys.Ring {
	t.Helper()
	r, err := keys.Parse(secrets(texts...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOpenReadsWhatAnotherImplementationSealed(t *testing.T) {
	t.Parallel()
	plain, err := ring(t, keyOne).OpenText(purpose, bind, sealedElsewhere)
	if err != nil || string(plain) != "plain text" {
		t.Errorf("got %q, %v", plain, err)
	}
}

func TestSealedValueRoundTrips(t *testing.T) {
	t.Parallel()
	r := ring(t, keyOne)
	for _, size := range []int{0, 1, 15, 16, 17, 4096, 256 << 10} {
		plain := bytes.Repeat([]byte{'p'}, size)
		sealed := r.Seal(purpose, bind, plain)
		if len(sealed) != size+33 {
			t.Errorf("%d bytes became %d, want 33 more", size, len(sealed))
		}
		before := bytes.Clone(sealed)
		got, err := r.Open(purpose, bind, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: error %v, equal %v", size, err, bytes.Equal(got, plain))
		}
		if !bytes.Equal(sealed, before) {
			t.Errorf("%d bytes: Open changed its input", size)
		}
	}
}

func TestSealNeverRepeatsItself(t *testing.T) {
	t.Parallel()
	r := ring(t, keyOne)
	nonces := map[string]bool{}
	for range 1000 {
		nonces[string(r.Seal(purpose, bind, []byte("same"))[5:17])] = true
	}
	if len(nonces) != 1000 {
		t.Errorf("%d different nonces in 1000 values", len(nonces))
	}
}

func TestOpenRefusesEveryFlippedBit(t *testing.T) {
	t.Parallel()
	r := ring(t, keyOne, keyTwo)
	sealed := r.Seal(purpose, bind, []byte("attack at dawn"))
	for i := range sealed {
		for bit := range 8 {
			forged := bytes.Clone(sealed)
			forged[i] ^= 1 << bit
			wantSealedError(t, fmt.Sprintf("byte %d bit %d", i, bit), func() ([]byte, error) {
				return r.Open(purpose, bind, forged)
			})
		}
	}
}

func TestOpenRefusesEveryOtherLength(t *testing.T) {
	t.Parallel()
	r := ring(t, keyOne)
	sealed := r.Seal(purpose, bind, []byte("attack at dawn"))
	for n := range sealed {
		wantSealedError(t, fmt.Sprintf("first %d bytes", n), func() ([]byte, error) {
			return r.Open(purpose, bind, sealed[:n])
		})
	}
	wantSealedError(t, "one byte more", func() ([]byte, error) {
		return r.Open(purpose, bind, append(bytes.Clone(sealed), 0))
	})
	wantSealedError(t, "nil", func() ([]byte, error) { return r.Open(purpose, bind, nil) })
}

func TestOpenTextRefusesEveryChangedCharacter(t *testing.T) {
	t.Parallel()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= \r\n\x00"
	r := ring(t, keyOne)
	text := r.SealText(purpose, bind, []byte("attack at dawn!")) // 48 bytes: no spare bits
	for _, sealed := range []string{text, r.SealText(purpose, bind, []byte("attack at dawn"))} {
		for i := range sealed {
			for _, c := range alphabet {
				if byte(c) == sealed[i] {
					continue
				}
				wantTextRefused(t, r, sealed[:i]+string(c)+sealed[i+1:])
			}
		}
	}
}

func TestOpenTextTakesOneSpellingOnly(t *testing.T) {
	t.Parallel()
	r := ring(t, keyOne)
	sealed := r.SealText(purpose, bind, []byte("attack at dawn"))
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal("SealText is not unpadded base64url")
	}
	for _, text := range []string{
		"", sealed + "=", sealed + "\n", sealed + "\r\n", "\n" + sealed, sealed[:9] + "\n" + sealed[9:], sealed + " ",
		sealed + "A", sealed[1:], sealed[:len(sealed)-1], sealed + sealed,
		base64.StdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw),
	} {
		wantTextRefused(t, r, text)
	}
}

func TestOpenRefusesAnotherPlace(t *testing.T) {
	t.Parallel()
	r := ring(t, keyOne)
	sealed := r.Seal(purpose, bind, []byte("x"))
	for _, row := range []struct{ name, purpose, bind string }{
		{"other purpose", "session cookie", bind},
		{"no purpose", "", bind},
		{"other bind", purpose, "row 8"},
		{"no bind", purpose, ""},
		{"longer bind", purpose, bind + "7"},
		{"swapped", bind, purpose},
		{"moved boundary", purpose + " ", "row 7"[1:]},
	} {
		wantSealedError(t, row.name, func() ([]byte, error) { return r.Open(row.purpose, row.bind, sealed) })
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	sealed := ring(t, keyOne).Seal(purpose, bind, []byte("x"))
	for _, row := range []struct {
		name    string
		ring    []string
		wantErr error
	}{
		{"same key", []string{keyOne}, nil},
		{"an older key is kept", []string{keyOne, keyTwo}, nil},
		{"a newer key came first", []string{keyTwo, keyOne}, nil},
		{"two newer keys", []string{keyThree, keyTwo, keyOne}, nil},
		{"key removed", []string{keyTwo, keyThree}, keys.ErrSealed},
	} {
		plain, err := ring(t, row.ring...).Open(purpose, bind, sealed)
		if !errors.Is(err, row.wantErr) || (err == nil) != (string(plain) == "x") {
			t.Errorf("%s: got %q, %v", row.name, plain, err)
		}
	}
}

func TestTheFirstKeySeals(t *testing.T) {
	t.Parallel()
	sealed := ring(t, keyTwo, keyOne).Seal(purpose, bind, []byte("x"))
	if _, err := ring(t, keyTwo).Open(purpose, bind, sealed); err != nil {
		t.Errorf("the first key alone does not open it: %v", err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	encode := func(raw string) string { return base64.StdEncoding.EncodeToString([]byte(raw)) }
	counted := make([]byte, 32)
	for i := range counted {
		counted[i] = byte(200 + i)
	}
	for _, row := range []struct {
		name  string
		keys  []string
		wants []error // of each key in turn; nil is a good one
	}{
		{"one", []string{keyOne}, []error{nil}},
		{"two", []string{keyOne, keyTwo}, []error{nil, nil}},
		{"no padding", []string{strings.TrimRight(keyOne, "=")}, []error{nil}},
		{"URL alphabet", []string{strings.NewReplacer("+", "-", "/", "_").Replace(keyTwo)}, []error{nil}},
		{"newline of a file", []string{keyOne + "\n"}, []error{nil}},
		{"none", nil, []error{keys.ErrKey}},
		{"empty", []string{""}, []error{keys.ErrKey}},
		{"31 bytes", []string{encode("0123456789abcdefghijklmnopqrstu")}, []error{keys.ErrKey}},
		{"33 bytes", []string{encode("0123456789abcdefghijklmnopqrstuvw")}, []error{keys.ErrKey}},
		{"hexadecimal", []string{strings.Repeat("0123456789abcdef", 4)}, []error{keys.ErrKey}},
		{"not base64", []string{"change me, please! change me, please! change"}, []error{keys.ErrKey}},
		{"zeros", []string{encode(strings.Repeat("\x00", 32))}, []error{keys.ErrWeakKey}},
		{"a repeated pattern", []string{encode(strings.Repeat("\x01\xfe\x80\x7f", 8))}, []error{keys.ErrWeakKey}},
		{"counted out", []string{encode(string(counted))}, []error{keys.ErrWeakKey}},
		{"32 typed characters", []string{encode("correct horse battery staple 42!")}, []error{keys.ErrWeakKey}},
		{"32 hexadecimal digits", []string{encode("9f86d081884c7d659a2feaa0c55ad015")}, []error{keys.ErrWeakKey}},
		{"twice", []string{keyOne, keyTwo, keyOne}, []error{nil, nil, keys.ErrDuplicate}},
		{"twice, spelled differently", []string{keyOne, strings.TrimRight(keyOne, "=")}, []error{nil, keys.ErrDuplicate}},
		{"every wrong one is named", []string{"x", keyOne, encode(strings.Repeat("a", 32)), keyOne}, []error{keys.ErrKey, nil, keys.ErrWeakKey, keys.ErrDuplicate}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := keys.Parse(secrets(row.keys...))
			for i, want := range row.wants {
				if got := errorOfKey(err, i); !errors.Is(got, want) {
					t.Errorf("key %d: got %v, want %v", i, got, want)
				}
			}
			for _, key := range row.keys {
				if err != nil && len(key) > 8 && strings.Contains(err.Error(), key) {
					t.Errorf("the error shows the key: %v", err)
				}
			}
		})
	}
}

// errorOfKey finds the *KeyError of one index among the joined ones.
func errorOfKey(err error, index int) error {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, one := range list {
		if of, ok := errors.AsType[*keys.KeyError](one); ok && of.Index == index {
			return of
		}
	}
	return nil
}

func TestGenerateMakesDifferentAcceptableKeys(t *testing.T) {
	t.Parallel()
	var list []string
	for range 500 {
		list = append(list, keys.Generate())
	}
	ring(t, list...) // which refuses weak ones and duplicates
}

func TestRingPrintsNoKey(t *testing.T) {
	t.Parallel()
	r := ring(t, keyOne)
	r.Seal(purpose, bind, nil)
	raw, _ := base64.StdEncoding.DecodeString(keyOne)
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "ring", r, "in", struct{ r *keys.Ring }{r})
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "ring", r, "in", struct{ R *keys.Ring }{r})
	inside := struct{ r *keys.Ring }{r}
	text := logged.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		text += fmt.Sprintf(verb+verb, r, inside)
	}
	for _, shape := range []string{"%d %d %d", "%#x, %#x, %#x", "%x%x%x", "%c%c%c"} {
		if part := fmt.Sprintf(shape, raw[0], raw[1], raw[2]); strings.Contains(text, part) {
			t.Errorf("%q is a part of the key, in %q", part, text)
		}
	}
}

func TestRingIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	r := ring(t, keyOne, keyTwo)
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			of := fmt.Sprint("purpose ", i%3)
			for range 50 {
				if _, err := r.Open(of, bind, r.Seal(of, bind, []byte("x"))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

// FuzzOpenText: nobody without the key makes a text that opens, except the ones
// that the key made.
func FuzzOpenText(f *testing.F) {
	r := ring(f, keyOne, keyTwo)
	for _, seed := range []string{"", "A", sealedElsewhere, sealedElsewhere + "\n", sealedElsewhere[:44], strings.Repeat("A", 8192), "ATUODz8", "\xff", "=", "AQ=="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		plain, err := r.OpenText(purpose, bind, text)
		switch {
		case text == sealedElsewhere:
			if string(plain) != "plain text" {
				t.Fatal("the genuine text does not open")
			}
		case !errors.Is(err, keys.ErrSealed) || plain != nil:
			t.Fatalf("forged %q: got %q, %v", text, plain, err)
		}
	})
}

func wantSealedError(t *testing.T, name string, open func() ([]byte, error)) {
	t.Helper()
	if plain, err := open(); !errors.Is(err, keys.ErrSealed) || plain != nil {
		t.Errorf("%s: got %q, %v", name, plain, err)
	}
}

func wantTextRefused(t *testing.T, r *keys.Ring, text string) {
	t.Helper()
	wantSealedError(t, fmt.Sprintf("%q", text), func() ([]byte, error) { return r.OpenText(purpose, bind, text) })
}

func BenchmarkRing(b *testing.B) {
	r := ring(b, keyOne)
	plain := make([]byte, 2<<10)
	sealed := r.Seal(purpose, bind, plain)
	b.Run("seal 2 KiB", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Seal(purpose, bind, plain)
		}
	})
	b.Run("open 2 KiB", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Open(purpose, bind, sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
}
