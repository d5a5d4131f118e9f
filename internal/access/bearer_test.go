package access_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/access"
	"genkan/internal/keys"
	"genkan/internal/rp"
)

var _ access.Provider = (*rp.Client)(nil)

// provider answers as told and remembers what it was asked.
type provider struct {
	id, issuer string
	answer     func() (rp.Access, error)

	mu         sync.Mutex
	verified   []string // tokens
	introspect []string
	audiences  [][]string
}

func (p *provider) ID() string     { return p.id }
func (p *provider) Issuer() string { return p.issuer }

func (p *provider) VerifyAccess(_ context.Context, raw string, audiences []string) (rp.Access, error) {
	return p.note(&p.verified, raw, audiences)
}

func (p *provider) Introspect(_ context.Context, token keys.Secret, audiences []string) (rp.Access, error) {
	return p.note(&p.introspect, token.Reveal(), audiences)
}

func (p *provider) note(list *[]string, token string, audiences []string) (rp.Access, error) {
	p.mu.Lock()
	*list = append(*list, token)
	p.audiences = append(p.audiences, audiences)
	p.mu.Unlock()
	return p.answer()
}

func (p *provider) asked() (verified, introspected int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.verified), len(p.introspect)
}

func good() (rp.Access, error) {
	return rp.Access{Identity: rp.Identity{Subject: "u1"}, Scope: []string{"orders.read"}, ClientID: "batch", Expires: now.Add(time.Hour)}, nil
}

func clock() time.Time { return now }

// two is a Bearer of two providers, and a second client at the first one.
func two() (b *access.Bearer, first, again, second *provider) {
	first = &provider{id: "first", issuer: "https://first.example", answer: good}
	again = &provider{id: "again", issuer: "https://first.example", answer: good}
	second = &provider{id: "second", issuer: "https://second.example/", answer: good}
	return access.NewBearer([]access.Provider{first, again, second}, clock), first, again, second
}

func carrying(authorization ...string) *http.Request {
	r := httptest.NewRequest("GET", "/api/orders/1", nil)
	for _, value := range authorization {
		r.Header.Add("Authorization", value)
	}
	return r
}

func segment(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func jwt(claims string) string {
	return segment(`{"alg":"RS256","typ":"at+jwt"}`) + "." + segment(claims) + ".c2lnbmF0dXJl"
}

var orders = access.BearerRule{Audiences: []string{"api://orders"}, Introspection: "second"}

func TestProgramWithAJWT(t *testing.T) {
	t.Parallel()
	b, first, again, second := two()
	token := jwt(`{"iss":"https://first.example"}`)
	c, err := b.Authenticate(t.Context(), carrying("Bearer "+token), orders)
	if err != nil {
		t.Fatal(err)
	}
	if c.Session != nil || c.Token.Reveal() != token || c.Provider != "first" || c.ClientID != "batch" || c.Identity.Subject != "u1" ||
		!slices.Equal(c.Scope, []string{"orders.read"}) || !c.Expires.Equal(now.Add(time.Hour)) {
		t.Errorf("got %+v", c)
	}
	if diff := cmp.Diff([][]string{{"api://orders"}}, first.audiences); diff != "" {
		t.Error(diff)
	}
	for _, p := range []*provider{again, second} {
		if verified, introspected := p.asked(); verified+introspected > 0 {
			t.Errorf("%s was asked", p.id)
		}
	}
}

// What is asked of whom is all that decides whether a token leaves this process.
func TestWhoJudgesAToken(t *testing.T) {
	t.Parallel()
	const from2 = `{"iss":"https://second.example/"}`
	padded := base64.StdEncoding.EncodeToString([]byte(`{"alg":"RS256" }`))
	for name, tt := range map[string]struct {
		token              string
		rule               access.BearerRule
		verifies, inspects string // provider ids
	}{
		"JWT":                             {jwt(from2), orders, "second", ""},
		"JWT with spaces before":          {segment(" \n{\"alg\":\"RS256\"}") + "." + segment(from2) + ".x", orders, "second", ""},
		"iss twice, the last counts":      {jwt(`{"iss":"https://first.example","iss":"https://second.example/"}`), orders, "second", ""},
		"JWT of nobody":                   {jwt(`{"iss":"https://evil.example"}`), orders, "", ""},
		"JWT of nearly somebody":          {jwt(`{"iss":"https://second.example"}`), orders, "", ""},
		"JWT with iss in another case":    {jwt(`{"ISS":"https://second.example/"}`), orders, "", ""},
		"JWT without iss":                 {jwt(`{}`), orders, "", ""},
		"JWT whose iss is a list":         {jwt(`{"iss":["https://second.example/"]}`), orders, "", ""},
		"JWT whose iss is null":           {jwt(`{"iss":null}`), orders, "", ""},
		"JWT with a broken payload":       {segment(`{"alg":"RS256"}`) + ".e30" + "x!." + "x", orders, "", ""},
		"JWT that is no object":           {jwt(`"https://second.example/"`), orders, "", ""},
		"JWT of two parts":                {segment(`{"alg":"none"}`) + "." + segment(from2), orders, "", ""},
		"JWT of four parts":               {jwt(from2) + ".x", orders, "", ""},
		"encrypted JWT":                   {segment(`{"alg":"dir","enc":"A256GCM"}`) + "..aaaa.bbbb.cccc", orders, "", ""},
		"JWT in the other alphabet":       {padded + "." + segment(from2) + ".x", orders, "", ""},
		"JWT whose header has a minus":    {segment(`{"~":0,"alg":"RS256"}`) + "." + segment(from2) + ".x", orders, "second", ""},
		"JWT header that breaks off":      {segment(`{"alg":"RS256"}`) + "+/." + segment(from2) + ".x", orders, "second", ""},
		"opaque":                          {"2YotnFZFEjr1zCsicMWpAA", orders, "", "second"},
		"opaque with dots":                {"v1.2YotnFZF.Ejr1zCsicMWpAA", orders, "", "second"},
		"opaque that begins as JSON":      {segment(`{"id":1}`), orders, "", "second"},
		"opaque, nobody to ask":           {"2YotnFZF", access.BearerRule{Audiences: []string{"a"}}, "", ""},
		"opaque, unknown provider to ask": {"2YotnFZF", access.BearerRule{Audiences: []string{"a"}, Introspection: "x"}, "", ""},
		"JWT, route without audience":     {jwt(from2), access.BearerRule{Introspection: "second"}, "", ""},
		"opaque, route without audience":  {"2YotnFZF", access.BearerRule{Introspection: "second"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, first, again, second := two()
			c, err := b.Authenticate(t.Context(), carrying("Bearer "+tt.token), tt.rule)
			if want := tt.verifies + tt.inspects; want == "" && !errors.Is(err, access.ErrBearer) || want != "" && (err != nil || c.Provider != want) {
				t.Errorf("got %+v, %v", c, err)
			}
			for _, p := range []*provider{first, again, second} {
				verified, introspected := p.asked()
				if verified > 0 != (p.id == tt.verifies) || introspected > 0 != (p.id == tt.inspects) {
					t.Errorf("%s verified %d, was asked about %d", p.id, verified, introspected)
				}
			}
		})
	}
}

func TestWhatAProvidersErrorMeans(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ err, want error }{
		"invalid":         {&rp.Error{Op: "access_token", Kind: rp.Invalid, Code: "exp"}, access.ErrBearer},
		"refused":         {&rp.Error{Op: "introspection", Kind: rp.Refused, Code: "inactive"}, access.ErrBearer},
		"no keys":         {&rp.Error{Op: "keys", Kind: rp.Fault}, access.ErrUnavailable},
		"our credentials": {&rp.Error{Op: "introspection", Kind: rp.Misconfigured, Code: "invalid_client"}, access.ErrUnavailable},
		"anything else":   {context.DeadlineExceeded, access.ErrUnavailable},
	} {
		for _, token := range []string{"opaque-token", jwt(`{"iss":"https://second.example/"}`)} {
			b, _, _, second := two()
			second.answer = func() (rp.Access, error) { a, _ := good(); return a, tt.err }
			c, err := b.Authenticate(t.Context(), carrying("Bearer "+token), orders)
			if c != nil || !errors.Is(err, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("%s: got %v, %v", name, c, err)
			}
			if err != nil && strings.Contains(err.Error(), token) {
				t.Errorf("%s: the token is in the error", name)
			}
		}
	}
}

func TestAuthorizationHeader(t *testing.T) {
	t.Parallel()
	const invalid, plain = `Bearer error="invalid_token"`, `Bearer realm="genkan"`
	for name, tt := range map[string]struct {
		headers   []string
		presented access.Presentation
		challenge string
		token     string // "": refused
	}{
		"none":                    {nil, access.Nothing, plain, ""},
		"RFC 6750 2.1":            {[]string{"Bearer mF_9.B5f-4.1JqM"}, access.BearerToken, invalid, "mF_9.B5f-4.1JqM"},
		"scheme in another case":  {[]string{"bEARER abc"}, access.BearerToken, invalid, "abc"},
		"several spaces":          {[]string{"Bearer   abc"}, access.BearerToken, invalid, "abc"},
		"padding":                 {[]string{"Bearer ab/+~==="}, access.BearerToken, invalid, "ab/+~==="},
		"16 KiB":                  {[]string{"Bearer " + strings.Repeat("a", 16384)}, access.BearerToken, invalid, strings.Repeat("a", 16384)},
		"more than 16 KiB":        {[]string{"Bearer " + strings.Repeat("a", 16385)}, access.BearerToken, invalid, ""},
		"scheme alone":            {[]string{"Bearer"}, access.BearerToken, invalid, ""},
		"no token":                {[]string{"Bearer "}, access.BearerToken, invalid, ""},
		"padding alone":           {[]string{"Bearer =="}, access.BearerToken, invalid, ""},
		"padding within":          {[]string{"Bearer a=b"}, access.BearerToken, invalid, ""},
		"two tokens":              {[]string{"Bearer abc def"}, access.BearerToken, invalid, ""},
		"two credentials in one":  {[]string{"Bearer abc, Basic eDp5"}, access.BearerToken, invalid, ""},
		"comma":                   {[]string{"Bearer abc,def"}, access.BearerToken, invalid, ""},
		"quotes":                  {[]string{`Bearer "abc"`}, access.BearerToken, invalid, ""},
		"tab":                     {[]string{"Bearer \tabc"}, access.BearerToken, invalid, ""},
		"space after":             {[]string{"Bearer abc "}, access.BearerToken, invalid, ""},
		"control character":       {[]string{"Bearer abc\x00"}, access.BearerToken, invalid, ""},
		"no ASCII":                {[]string{"Bearer abcé"}, access.BearerToken, invalid, ""},
		"empty":                   {[]string{""}, access.OtherScheme, plain, ""},
		"space before":            {[]string{" Bearer abc"}, access.OtherScheme, plain, ""},
		"tab for the space":       {[]string{"Bearer\tabc"}, access.OtherScheme, plain, ""},
		"no scheme":               {[]string{"abc"}, access.OtherScheme, plain, ""},
		"DPoP":                    {[]string{"DPoP abc"}, access.OtherScheme, plain, ""},
		"Basic":                   {[]string{"Basic eDp5"}, access.OtherScheme, plain, ""},
		"begins like Bearer":      {[]string{"BearerX abc"}, access.OtherScheme, plain, ""},
		"twice":                   {[]string{"Bearer abc", "Bearer abc"}, access.Several, `Bearer error="invalid_request"`, ""},
		"twice, one of them none": {[]string{"", "Bearer abc"}, access.Several, `Bearer error="invalid_request"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := carrying(tt.headers...)
			got := access.Presented(r)
			if got != tt.presented || got.Challenge() != tt.challenge {
				t.Errorf("presented %d, challenge %s", got, got.Challenge())
			}
			b, _, _, second := two()
			c, err := b.Authenticate(t.Context(), r, orders)
			if tt.token == "" && (c != nil || !errors.Is(err, access.ErrBearer) || len(second.introspect) > 0) {
				t.Errorf("got %v, %v", c, err)
			}
			if tt.token != "" && (err != nil || c.Token.Reveal() != tt.token || !slices.Equal(second.introspect, []string{tt.token})) {
				t.Errorf("got %v, %v", c, err)
			}
		})
	}
}

func TestTokenElsewhereThanInTheHeaderIsNotRead(t *testing.T) {
	t.Parallel()
	b, _, _, second := two()
	r := httptest.NewRequest("POST", "/api/orders/?access_token=abc", strings.NewReader("access_token=abc"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, err := b.Authenticate(t.Context(), r, orders); !errors.Is(err, access.ErrBearer) || len(second.introspect) > 0 {
		t.Errorf("got %v", err)
	}
}

func FuzzAuthorization(f *testing.F) {
	for _, header := range []string{
		"", "Bearer", "Bearer abc", "bearer  abc==", "Bearer a=b", "Basic eDp5", "Bearer a, Bearer b", "DPoP abc",
		"Bearer " + jwt(`{"iss":"https://first.example"}`),
	} {
		f.Add(header, false)
		f.Add(header, true)
	}
	form := regexp.MustCompile(`^(?i:Bearer) +([A-Za-z0-9._~+/-]+=*)$`)
	f.Fuzz(func(t *testing.T, header string, twice bool) {
		b, first, again, second := two()
		r := carrying(header)
		if twice {
			r.Header.Add("Authorization", header)
		}
		c, err := b.Authenticate(t.Context(), r, orders)
		match := form.FindStringSubmatch(header)
		if twice || match == nil || len(match[1]) > 16384 {
			if c != nil || !errors.Is(err, access.ErrBearer) || len(first.audiences)+len(again.audiences)+len(second.audiences) > 0 {
				t.Errorf("%q was taken: %v", header, err)
			}
			return
		}
		if err == nil && c.Token.Reveal() != match[1] || err != nil && len(match[1]) > 20 && strings.Contains(err.Error(), match[1]) {
			t.Errorf("%q: %v", header, err)
		}
		if len(again.audiences) > 0 || len(first.introspect) > 0 || len(first.verified)+len(second.verified)+len(second.introspect) > 1 {
			t.Error("more were asked than one")
		}
	})
}

func FuzzIssuerOfAToken(f *testing.F) {
	for _, claims := range []string{`{"iss":"https://first.example"}`, `{"iss":"https://second.example/","ISS":"x"}`, `{"iss":1}`, `null`, `[`, ``} {
		f.Add(segment(`{"alg":"ES256"}`), []byte(claims))
	}
	f.Add("bm9uZQ", []byte(`{"iss":"https://first.example"}`))
	f.Fuzz(func(t *testing.T, header string, payload []byte) {
		b, first, again, second := two()
		_, err := b.Authenticate(t.Context(), carrying("Bearer "+header+"."+segment(string(payload))+".x"), orders)
		if err != nil && !errors.Is(err, access.ErrBearer) {
			t.Fatal(err)
		}
		var claims map[string]any
		_ = json.Unmarshal(payload, &claims)
		for _, p := range []*provider{first, second} {
			if len(p.verified) > 0 && claims["iss"] != p.issuer {
				t.Errorf("%s judges %s", p.id, payload)
			}
		}
		object := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(header)), new(map[string]any)) == nil
		if object && len(second.introspect) > 0 {
			t.Errorf("a JWT was sent away, header %q", header)
		}
		if len(again.audiences)+len(first.introspect) > 0 {
			t.Error("others were asked")
		}
	})
}

// must is what could be decoded, for comparison.
func must(text []byte, err error) []byte {
	if err != nil {
		return nil
	}
	return text
}
