package devidp

import (
	"crypto/rsa"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Fault is one way for the provider to misbehave: a name for it, and the hooks that do
// it. A hook may be called by several requests at once.
type Fault struct {
	Name string
	// Times is how many requests are hit; 0 is all, until Heal.
	Times int

	// At is the endpoint of Answer and Body, like "/token". The others are
	// /.well-known/openid-configuration, /jwks, /authorize, /userinfo, /revoke, /logout.
	At string
	// Answer replaces the endpoint, which then does nothing.
	Answer http.HandlerFunc
	// Body changes a JSON answer after the endpoint has done its work. If it panics with
	// http.ErrAbortHandler, the answer is lost on the way.
	Body func(map[string]any)

	IDToken     func(*JWT)
	AccessToken func(*JWT)
	Redirect    func(url.Values) // parameters of the authorization response
}

// Inject adds a fault to those in force.
func (p *Provider) Inject(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, &f)
}

// Heal removes every fault.
func (p *Provider) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = nil
}

// take returns the faults that applies selects, and counts them as shown once.
func (p *Provider) take(applies func(*Fault) bool) []*Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	var hit []*Fault
	for _, f := range slices.Clone(p.faults) {
		if !applies(f) {
			continue
		}
		hit = append(hit, f)
		if f.Times == 1 {
			p.faults = slices.DeleteFunc(p.faults, func(other *Fault) bool { return other == f })
		}
		f.Times = max(0, f.Times-1)
	}
	return hit
}

// FaultNamed returns one of the faults that FaultNames lists.
func FaultNamed(name string) (Fault, error) {
	for _, f := range allFaults() {
		if f.Name == name {
			return f, nil
		}
	}
	return Fault{}, fmt.Errorf("devidp: no fault is called %q; there are %s", name, strings.Join(FaultNames(), ", "))
}

// FaultNames lists the faults that have a name, sorted. Those that begin with id- are of
// the ID token, the others of the endpoint they begin with.
func FaultNames() []string {
	var names []string
	for _, f := range allFaults() {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return names
}

func allFaults() []Fault {
	return slices.Concat(idTokenFaults(), tokenFaults(), redirectFaults(), metadataFaults(), keyFaults(), userInfoFaults())
}

// idClaim changes one claim of the ID token. The function gets the right value.
func idClaim(name, claim string, change func(any) any) Fault {
	return Fault{Name: name, IDToken: func(t *JWT) { t.Claims[claim] = change(t.Claims[claim]) }}
}

func idWithout(name, claim string) Fault {
	return Fault{Name: name, IDToken: func(t *JWT) { delete(t.Claims, claim) }}
}

func idHeader(name, member, value string) Fault {
	return Fault{Name: name, IDToken: func(t *JWT) { t.Header[member] = value }}
}

func idTokenFaults() []Fault {
	always := func(value any) func(any) any { return func(any) any { return value } }
	shift := func(seconds int64) func(any) any { return func(v any) any { return v.(int64) + seconds } }
	const day = 24 * 60 * 60
	return []Fault{
		idClaim("id-wrong-iss", "iss", func(v any) any { return v.(string) + "1" }),
		idClaim("id-wrong-aud", "aud", always("another-client")),
		idClaim("id-extra-aud", "aud", func(v any) any { return []any{v, "another-client"} }),
		idClaim("id-wrong-azp", "azp", always("another-client")),
		idClaim("id-wrong-nonce", "nonce", always("another-nonce")),
		idClaim("id-wrong-sub", "sub", always("another-user")),
		idClaim("id-wrong-acr", "acr", always("0")),
		idClaim("id-wrong-at-hash", "at_hash", always("AAAAAAAAAAAAAAAAAAAAAA")),
		idClaim("id-expired", "exp", shift(-day)),
		idClaim("id-future-iat", "iat", shift(day)),
		idClaim("id-future-nbf", "nbf", func(any) any { return int64(1) << 33 }), // the year 2242
		idClaim("id-old-auth-time", "auth_time", shift(-day)),
		idWithout("id-no-nonce", "nonce"), idWithout("id-no-iat", "iat"), idWithout("id-no-exp", "exp"),
		idWithout("id-no-sub", "sub"), idWithout("id-no-auth-time", "auth_time"), idWithout("id-no-at-hash", "at_hash"),
		idClaim("id-events", "events", always(map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}})),
		idHeader("id-typ-logout", "typ", "logout+jwt"), idHeader("id-typ-access", "typ", "at+jwt"),
		idHeader("id-unknown-kid", "kid", "no-such-key"),
		{Name: "id-no-kid", IDToken: func(t *JWT) { delete(t.Header, "kid") }},
		{Name: "id-alg-none", IDToken: unsigned},
		{Name: "id-alg-hs256", IDToken: signWithPublicKey},
		{Name: "id-bad-signature", IDToken: func(t *JWT) {
			t.Sign = func(key *rsa.PrivateKey, input []byte) ([]byte, error) {
				signature, err := signRS256(key, input)
				if err == nil {
					signature[7] ^= 1
				}
				return signature, err
			}
		}},
	}
}

func redirectFaults() []Fault {
	var faults []Fault
	for _, code := range []string{
		"access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required",
		"invalid_request", "invalid_scope", "unauthorized_client", "server_error", "temporarily_unavailable",
	} {
		faults = append(faults, Fault{Name: "authorize-" + code, Redirect: func(v url.Values) {
			v.Del("code")
			v.Set("error", code)
			v.Set("error_description", "a fault on demand <script>alert(1)</script>")
		}})
	}
	set := func(name, member, value string) Fault {
		return Fault{Name: name, Redirect: func(v url.Values) { v.Set(member, value) }}
	}
	without := func(name, member string) Fault {
		return Fault{Name: name, Redirect: func(v url.Values) { v.Del(member) }}
	}
	return append(faults,
		set("authorize-wrong-iss", "iss", "https://another-provider.example"), without("authorize-no-iss", "iss"),
		set("authorize-wrong-state", "state", "another-state"), without("authorize-no-state", "state"),
		without("authorize-no-code", "code"), set("authorize-code-and-error", "error", "access_denied"),
		Fault{Name: "authorize-extra", Redirect: func(v url.Values) {
			maps.Copy(v, url.Values{"session_state": {"x"}, "foo": {"bar"}})
		}},
		Fault{Name: "authorize-state-twice", Redirect: func(v url.Values) { v.Add("state", "another-state") }})
}
