package keys_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"genkan/internal/keys"
)

// Private keys of RFC 7517 A.2 and of RFC 8037 A.1, and the thumbprints that RFC 7638 3.1
// and RFC 8037 A.3 give for them.
const (
	rfcRSA = `{"kty":"RSA","e":"AQAB","alg":"RS256","kid":"2011-04-29",
"n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
"d":"X4cTteJY_gn4FYPsXB8rdXix5vwsg1FLN5E3EaG6RJoVH-HLLKD9M7dx5oo7GURknchnrRweUkC7hT5fJLM0WbFAKNLWY2vv7B6NqXSzUvxT0_YSfqijwp3RTzlBaCxWp4doFk5N2o8Gy_nHNKroADIkJ46pRUohsXywbReAdYaMwFs9tv8d_cPVY3i07a3t8MN6TNwm0dSawm9v47UiCl3Sk5ZiG7xojPLu4sbg1U2jx4IBTNBznbJSzFHK66jT8bgkuqsk0GjskDJk19Z4qwjwbsnn4j2WBii3RL-Us2lGVkY8fkFzme1z0HbIkfz0Y6mqnOYtqc0X4jfcKoAC8Q",
"p":"83i-7IvMGXoMXCskv73TKr8637FiO7Z27zv8oj6pbWUQyLPQBQxtPVnwD20R-60eTDmD2ujnMt5PoqMrm8RfmNhVWDtjjMmCMjOpSXicFHj7XOuVIYQyqVWlWEh6dN36GVZYk93N8Bc9vY41xy8B9RzzOGVQzXvNEvn7O0nVbfs",
"q":"3dfOR9cuYq-0S-mkFLzgItgMEfFzB2q3hWehMuG0oCuqnb3vobLyumqjVZQO1dIrdwgTnCdpYzBcOfW5r370AFXjiWft_NGEiovonizhKpo9VVS78TzFgxkIdrecRezsZ-1kYd_s1qDbxtkDEgfAITAG9LUnADun4vIcb6yelxk"}`
	rfcRSAThumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

	rfcEd           = `{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	rfcEdThumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
)

var (
	rsaKey  = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	weakRSA = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(1024) })
	edKey   = sync.OnceValue(func() ed25519.PrivateKey {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return must(key, err)
	})
	p256 = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P256()) })
	p384 = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P384()) })
	p521 = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P521()) })
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func newRSA(bits int) *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, bits)) }
func newEC(curve elliptic.Curve) *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(curve, rand.Reader))
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(key any) string { return block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))) }
func pkcs1(key *rsa.PrivateKey) string {
	return block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}
func sec1(key *ecdsa.PrivateKey) string {
	return block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(key)))
}

// jwk is key as a JWK; change replaces and, with nil, removes members.
func jwk(key any, change map[string]any) string {
	var members map[string]any
	if err := json.Unmarshal(must(jose.JSONWebKey{Key: key}.MarshalJSON()), &members); err != nil {
		panic(err)
	}
	maps.Copy(members, change)
	maps.DeleteFunc(members, func(_ string, value any) bool { return value == nil })
	return string(must(json.Marshal(members)))
}

func jwkSet(all ...string) string { return `{"keys":[` + strings.Join(all, ",") + `]}` }

func TestParseSignersReads(t *testing.T) {
	t.Parallel()
	member := func(name string, value any) map[string]any { return map[string]any{name: value} }
	rows := []struct {
		name string
		data string
		algs []string // of Alg(nil), key by key
		ids  []string // "": the thumbprint
	}{
		{"PKCS #8 RSA", pkcs8(rsaKey()), []string{"RS256"}, []string{""}},
		{"PKCS #8 P-256", pkcs8(p256()), []string{"ES256"}, []string{""}},
		{"PKCS #8 P-384", pkcs8(p384()), []string{"ES384"}, []string{""}},
		{"PKCS #8 P-521", pkcs8(p521()), []string{"ES512"}, []string{""}},
		{"PKCS #8 Ed25519", pkcs8(edKey()), []string{"EdDSA"}, []string{""}},
		{"PKCS #1", pkcs1(rsaKey()), []string{"RS256"}, []string{""}},
		{"SEC 1", sec1(p256()), []string{"ES256"}, []string{""}},
		{"SEC 1 as openssl ecparam writes it", block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}) + sec1(p256()), []string{"ES256"}, []string{""}},
		{"text and a certificate before it", "Bag Attributes\n\n" + block("CERTIFICATE", []byte("x")) + pkcs8(p256()), []string{"ES256"}, []string{""}},
		{"line ends of Windows", strings.ReplaceAll(pkcs8(p256()), "\n", "\r\n"), []string{"ES256"}, []string{""}},
		{"several PEM keys, in order", pkcs8(p256()) + pkcs1(rsaKey()) + pkcs8(edKey()), []string{"ES256", "RS256", "EdDSA"}, []string{"", "", ""}},
		{"JWK", jwk(p256(), nil), []string{"ES256"}, []string{""}},
		{"JWK with white space around it", "\n\t " + jwk(p256(), nil) + "\n", []string{"ES256"}, []string{""}},
		{"JWK with kid", jwk(rsaKey(), member("kid", "2026-a")), []string{"RS256"}, []string{"2026-a"}},
		{"JWK with alg", jwk(rsaKey(), member("alg", "PS256")), []string{"PS256"}, []string{""}},
		{"JWK with use", jwk(edKey(), member("use", "sig")), []string{"EdDSA"}, []string{""}},
		{"JWK with unknown members", jwk(p384(), member("x-note", []int{1})), []string{"ES384"}, []string{""}},
		{"JWK set", jwkSet(jwk(p256(), member("kid", "new")), jwk(rsaKey(), member("alg", "RS512"))), []string{"ES256", "RS512"}, []string{"new", ""}},
		{"RFC 7517 A.2", rfcRSA, []string{"RS256"}, []string{"2011-04-29"}},
		{"RFC 8037 A.1", rfcEd, []string{"EdDSA"}, []string{rfcEdThumbprint}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			signers, err := keys.ParseSigners([]byte(row.data))
			if err != nil {
				t.Fatal(err)
			}
			if len(signers) != len(row.algs) {
				t.Fatalf("%d keys, want %d", len(signers), len(row.algs))
			}
			for i, s := range signers {
				want := row.ids[i]
				if want == "" {
					want = s.Thumbprint()
				}
				if s.KeyID() != want || s.Alg(nil) != row.algs[i] {
					t.Errorf("key %d is %q for %s, want %q for %s", i+1, s.KeyID(), s.Alg(nil), want, row.algs[i])
				}
			}
		})
	}
}

func TestParseSignersRefuses(t *testing.T) {
	t.Parallel()
	member := func(name string, value any) map[string]any { return map[string]any{name: value} }
	other := map[string]any{}
	if err := json.Unmarshal([]byte(jwk(newEC(elliptic.P256()), nil)), &other); err != nil {
		t.Fatal(err)
	}
	encrypted := pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: []byte("x"),
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"},
	})
	many := make([]string, 21)
	for i := range many {
		many[i] = jwk(p256(), member("kid", fmt.Sprint(i)))
	}
	rows := []struct{ name, data, says string }{
		{"nothing", "", "it must hold 1 to 20"},
		{"white space", " \n", "it must hold 1 to 20"},
		{"words", "not a key", "it must hold 1 to 20"},
		{"an empty set", `{"keys":[]}`, "it must hold 1 to 20"},
		{"only a certificate", block("CERTIFICATE", []byte("x")), "it must hold 1 to 20"},
		{"21 keys", jwkSet(many...), "it must hold 1 to 20"},
		{"an RSA key of 1024 bits in PEM", pkcs8(weakRSA()), "2048 bits"},
		{"an RSA key of 1024 bits in JWK", jwk(weakRSA(), nil), "2048 bits"},
		{"a weak key behind a good one", pkcs8(p256()) + pkcs1(weakRSA()), "key 2: an RSA key must have 2048 bits"},
		{"P-224", pkcs8(newEC(elliptic.P224())), "its curve is not P-256"},
		{"X25519", block("PRIVATE KEY", must(hex.DecodeString("302e020100300506032b656e04220420"+strings.Repeat("11", 32)))), "it is not RSA, EC or Ed25519"},
		{"encrypted PKCS #8", block("ENCRYPTED PRIVATE KEY", []byte("x")), "is encrypted"},
		{"encrypted as openssl genrsa once did", string(encrypted), "is encrypted"},
		{"a public key in PEM", block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(p256().Public()))), "no private key"},
		{"a private key of OpenSSH", block("OPENSSH PRIVATE KEY", []byte("x")), "no private key"},
		{"PEM around something else", block("PRIVATE KEY", []byte("CANARY")), "cannot be read"},
		{"PKCS #1 called PKCS #8", block("PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey())), "cannot be read"},
		{"the same key twice", pkcs8(p256()) + sec1(p256()), "key 2: its kid is that of another key"},
		{"two keys of one kid", jwkSet(jwk(p256(), member("kid", "a")), jwk(rsaKey(), member("kid", "a"))), "key 2: its kid is that of another key"},
		{"a public JWK", jwk(p256().Public(), nil), "key 1: it is no private key"},
		{"a public JWK behind a private one", jwkSet(jwk(p256(), nil), jwk(&rsaKey().PublicKey, nil)), "key 2: it is no private key"},
		{"oct", `{"kty":"oct","k":"Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZ"}`, "it is not RSA, EC or Ed25519"},
		{"a kty of nobody", `{"kty":"XYZ","d":"CANARY"}`, "no private key"},
		{"secp256k1", `{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA","d":"AA"}`, "no private key"},
		{"d of another EC key", jwk(p256(), member("d", other["d"])), "its public half is of another key"},
		{"d of another Ed25519 key", strings.Replace(rfcEd, "nWGx", "nWGy", 1), "no private key"},
		{"d of another RSA key", strings.Replace(rfcRSA, "X4cT", "X4cU", 1), "no private key"},
		{"an RSA key without its primes", jwk(rsaKey(), map[string]any{"p": nil, "q": nil}), "no private key"},
		{"use enc", jwk(p256(), member("use", "enc")), "its use is not sig"},
		{"alg of another curve", jwk(p256(), member("alg", "ES384")), "its alg does not fit"},
		{"alg of RSA on an EC key", jwk(p256(), member("alg", "RS384")), "its alg does not fit"},
		{"alg of RSA on an Ed25519 key", jwk(edKey(), member("alg", "PS512")), "its alg does not fit"},
		{"alg none", jwk(rsaKey(), member("alg", "none")), "its alg does not fit"},
		{"alg HS256", jwk(rsaKey(), member("alg", "HS256")), "its alg does not fit"},
		{"alg of encryption", jwk(rsaKey(), member("alg", "RSA-OAEP")), "its alg does not fit"},
		{"JSON cut short", jwk(p256(), nil)[:100], "it is not JSON"},
		{"two JSON documents", jwk(p256(), nil) + jwk(p384(), nil), "it is not JSON"},
		{"a set in a set", jwkSet(jwkSet(jwk(p256(), nil))), "key 1: it is no private key"},
		{"a set of words", `{"keys":["CANARY"]}`, "key 1: it is no private key"},
		{"keys is no list", `{"keys":"CANARY"}`, "it is not JSON"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			signers, err := keys.ParseSigners([]byte(row.data))
			if err == nil {
				t.Fatalf("read %d keys, want an error with %q", len(signers), row.says)
			}
			if !strings.Contains(err.Error(), row.says) {
				t.Errorf("error is %q, want %q in it", err, row.says)
			}
			tellsNothing(t, err.Error())
		})
	}
}

// privateParts are the secret numbers of the keys above, as text could show them.
var privateParts = sync.OnceValue(func() (parts []string) {
	var numbers []*big.Int
	for _, key := range []*rsa.PrivateKey{rsaKey(), weakRSA()} {
		numbers = append(append(numbers, key.D), key.Primes...)
	}
	for _, key := range []*ecdsa.PrivateKey{p256(), p384(), p521()} {
		numbers = append(numbers, new(big.Int).SetBytes(must(key.Bytes())))
	}
	numbers = append(numbers, new(big.Int).SetBytes(edKey().Seed()))
	for _, d := range numbers {
		raw := d.Bytes()
		parts = append(parts, d.String(), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
			base64.RawURLEncoding.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw), string(raw),
			strings.Trim(fmt.Sprint(raw), "[]"))
	}
	return append(parts, "CANARY", "X4cTteJY", "nWGxne_9")
})

func tellsNothing(t *testing.T, text string) {
	t.Helper()
	for _, part := range privateParts() {
		if strings.Contains(text, part) {
			t.Errorf("private %.12q… stands in %.60q…", part, text)
		}
	}
}

func TestThumbprintsOfTheRFCs(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{rfcRSA: rfcRSAThumbprint, rfcEd: rfcEdThumbprint} {
		signers, err := keys.ParseSigners([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		if got := signers[0].Thumbprint(); got != want {
			t.Errorf("thumbprint is %q, want %q", got, want)
		}
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(rfcRSA), &members); err != nil {
		t.Fatal(err)
	}
	delete(members, "kid")
	signers, err := keys.ParseSigners(must(json.Marshal(members)))
	if err != nil {
		t.Fatal(err)
	}
	if got := signers[0].KeyID(); got != rfcRSAThumbprint {
		t.Errorf("without a kid it is %q, want %q", got, rfcRSAThumbprint)
	}
}

func FuzzParseSigners(f *testing.F) {
	f.Add([]byte(pkcs8(p256()) + pkcs8(edKey())))
	f.Add([]byte(sec1(p384())))
	f.Add([]byte(pkcs1(rsaKey())))
	f.Add([]byte(rfcRSA))
	f.Add([]byte(jwkSet(rfcEd, jwk(p521(), nil))))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"","y":"","d":""}]}`))
	f.Add([]byte(`{"kty":"oct","k":"AAAA"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		signers, err := keys.ParseSigners(data)
		if err != nil {
			for _, r := range err.Error() {
				if r < ' ' || r > '~' {
					t.Errorf("the error holds %q", r)
				}
			}
			return
		}
		if len(signers) == 0 || len(signers) > 20 {
			t.Fatalf("%d keys", len(signers))
		}
		raw, err := keys.Published(signers)
		if err != nil {
			t.Fatal(err)
		}
		var set struct{ Keys []map[string]any }
		if json.Unmarshal(raw, &set) != nil || len(set.Keys) != len(signers) {
			t.Fatalf("%d keys are published of %d", len(set.Keys), len(signers))
		}
		for i, key := range set.Keys {
			for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
				if _, there := key[private]; there {
					t.Errorf("%s is published", private)
				}
			}
			if _, err := signers[i].Sign(signers[i].Alg(nil), "JWT", map[string]any{}); err != nil {
				t.Error("a key was read that cannot sign")
			}
		}
	})
}
