package rp

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func withClaims(text string) func(*Config) {
	return func(c *Config) { c.AuthorizeParams = map[string]string{"claims": text} }
}

// TestClaimsParameter: 17: sent as configured, and only then.
func TestClaimsParameter(t *testing.T) {
	t.Parallel()
	const wanted = `{"userinfo":{"groups":null},"id_token":{"auth_time":{"essential":true}}}`
	p := newProvider(t)
	if u, _ := p.begin(p.client(), AuthRequest{}); u.Query().Has("claims") {
		t.Error("claims is sent although nobody asked for it")
	}
	u, _ := p.begin(p.client(withClaims(wanted)), AuthRequest{})
	if got := u.Query()["claims"]; len(got) != 1 || got[0] != wanted {
		t.Errorf("claims is %q", got)
	}
}

func TestEssentialACR(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name, text string
		want       []string
		bad        bool
	}{
		{"none", "", nil, false},
		{"an empty object", `{}`, nil, false},
		{"empty members", `{"userinfo":{},"id_token":{}}`, nil, false},
		{"null members", `{"userinfo":null,"id_token":null}`, nil, false},
		{"a claim by default", `{"id_token":{"acr":null,"email":null}}`, nil, false},
		{"a voluntary acr", `{"id_token":{"acr":{"values":["a"]}}}`, nil, false},
		{"an acr said to be voluntary", `{"id_token":{"acr":{"essential":false,"value":"a"}}}`, nil, false},
		{"an essential acr of any value", `{"id_token":{"acr":{"essential":true}}}`, nil, false},
		{"an essential value", `{"id_token":{"acr":{"essential":true,"value":"a"}}}`, []string{"a"}, false},
		{"essential values", `{"id_token":{"acr":{"essential":true,"values":["a","urn:b c"]}}}`, []string{"a", "urn:b c"}, false},
		{"an essential acr of UserInfo", `{"userinfo":{"acr":{"essential":true,"value":"a"}}}`, nil, false},
		{"other members of a claim", `{"id_token":{"sub":{"value":"x","purpose":7}}}`, nil, false},
		{"names in other languages", `{"userinfo":{"name#ja-Kana-JP":null}}`, nil, false},
		{"null", `null`, nil, true},
		{"a list", `[]`, nil, true},
		{"a word", `"x"`, nil, true},
		{"no JSON", `{`, nil, true},
		{"two documents", `{}{}`, nil, true},
		{"an unknown member", `{"access_token":{}}`, nil, true},
		{"a member in capitals", `{"ID_TOKEN":{}}`, nil, true},
		{"a member that is a list", `{"id_token":["acr"]}`, nil, true},
		{"a claim that is true", `{"id_token":{"acr":true}}`, nil, true},
		{"essential as a string", `{"id_token":{"acr":{"essential":"true"}}}`, nil, true},
		{"values as a string", `{"id_token":{"acr":{"values":"a"}}}`, nil, true},
		{"an essential value that is a number", `{"id_token":{"acr":{"essential":true,"value":3}}}`, nil, true},
		{"an essential value that is empty", `{"id_token":{"acr":{"essential":true,"values":["a",""]}}}`, nil, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			found, err := readClaims(row.text)
			got := found.acr
			if (err != nil) != row.bad || !slices.Equal(got, row.want) {
				t.Errorf("%q, %v; want %q, an error: %v", got, err, row.want, row.bad)
			}
			cfg := Config{ID: "a", Issuer: issuer, ClientID: "c"}
			withClaims(row.text)(&cfg)
			if _, err := New(cfg); row.bad && (err == nil || !strings.HasPrefix(err.Error(), "authorize_params: claims")) || !row.bad && err != nil {
				t.Errorf("New: %v", err)
			}
		})
	}
}

// TestEssentialACRMustComeBack: 18.
func TestEssentialACRMustComeBack(t *testing.T) {
	t.Parallel()
	const wanted = `{"id_token":{"acr":{"essential":true,"values":["urn:mfa","urn:hw"]}}}`
	rows := []struct {
		name   string
		claims string
		asked  string // acr_values of this sign-in
		acr    any    // of the ID token; nil: none
		ok     bool
	}{
		{"the first", wanted, "", "urn:mfa", true},
		{"the second", wanted, "", "urn:hw", true},
		{"another", wanted, "", "urn:pwd", false},
		{"in capitals", wanted, "", "URN:MFA", false},
		{"none", wanted, "", nil, false},
		{"a list", wanted, "", []string{"urn:mfa"}, false},
		{"both of them in one", wanted, "", "urn:mfa urn:hw", false},
		{"what the browser asked for does not replace it", wanted, "urn:pwd", "urn:pwd", false},
		{"what the browser asked for comes on top", wanted, "urn:hw", "urn:mfa", false},
		{"both are satisfied", wanted, "urn:hw", "urn:hw", true},
		{"voluntary, another", `{"id_token":{"acr":{"values":["urn:mfa"]}}}`, "", "urn:pwd", true},
		{"essential of any value, none", `{"id_token":{"acr":{"essential":true}}}`, "", nil, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.claims = with(p.claims, object{"acr": row.acr})
			c := p.client(withClaims(row.claims))
			_, login := p.begin(c, AuthRequest{ACRValues: row.asked})
			raw, err := json.Marshal(login) // as the transaction cookie keeps it
			if err != nil {
				t.Fatal(err)
			}
			var kept Login
			if err := json.Unmarshal(raw, &kept); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(login, kept); diff != "" {
				t.Errorf("not kept (-want +got):\n%s", diff)
			}
			grant, err := c.Finish(t.Context(), kept, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
			if row.ok && err != nil {
				t.Error(err)
			}
			if !row.ok {
				wantError(t, err, Invalid, "id_token_invalid", "acr")
				if !grant.Tokens.Access.Empty() || grant.Identity.Subject != "" {
					t.Error("there is a grant all the same")
				}
			}
		})
	}
}

func FuzzEssentialACR(f *testing.F) {
	f.Add(`{"userinfo":{"name":null},"id_token":{"acr":{"essential":true,"values":["a"]}}}`)
	f.Add(`{"id_token":{"acr":{"essential":true,"value":{"a":[1]}}}}`)
	f.Add(`{"id_token":{"acr":{"essential":true}},"id_token":{"acr":{"value":"x"}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		found, err := readClaims(text)
		values := found.acr
		if err != nil {
			if len(values) > 0 {
				t.Error("values beside an error")
			}
			return
		}
		if slices.Contains(values, "") {
			t.Error("an empty value")
		}
		if text == "" {
			return
		}
		var members map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &members) != nil || members == nil {
			t.Fatalf("%q is no object", text)
		}
		for name := range members {
			if name != "userinfo" && name != "id_token" {
				t.Errorf("%q is sent", name)
			}
		}
	})
}

// TestEssentialAuthTimeMustComeBack: OpenID Connect Core 3.1.3.7 rule 13.
func TestEssentialAuthTimeMustComeBack(t *testing.T) {
	t.Parallel()
	const essential = `{"id_token":{"auth_time":{"essential":true}}}`
	rows := []struct {
		name   string
		claims string
		time   any // auth_time of the ID token; nil: none
		ok     bool
	}{
		{"there", essential, start.Add(-time.Hour).Unix(), true},
		{"none", essential, nil, false},
		{"no number", essential, "yesterday", false},
		{"voluntary, none", `{"id_token":{"auth_time":null}}`, nil, true},
		{"essential of UserInfo alone, none", `{"userinfo":{"auth_time":{"essential":true}}}`, nil, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.claims = with(p.claims, object{"auth_time": row.time})
			c := p.client(withClaims(row.claims))
			_, login := p.begin(c, AuthRequest{})
			raw, err := json.Marshal(login) // as the transaction cookie keeps it
			if err != nil {
				t.Fatal(err)
			}
			var kept Login
			if err := json.Unmarshal(raw, &kept); err != nil {
				t.Fatal(err)
			}
			_, err = c.Finish(t.Context(), kept, url.Values{"code": {"code-1"}, "state": {state}}, ModeQuery)
			if row.ok && err != nil {
				t.Error(err)
			}
			if !row.ok {
				wantError(t, err, Invalid, "id_token_invalid", "auth_time")
			}
		})
	}
}
