package access_test

import (
	"encoding/json"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"genkan/internal/access"
	"genkan/internal/rp"
	"genkan/internal/session"
)

var now = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// caller signed in five minutes ago; claims is a JSON object.
func caller(t testing.TB, claims string) *access.Caller {
	t.Helper()
	c := &access.Caller{
		Provider: "idp", Scope: []string{"openid", "orders.read"},
		Identity: rp.Identity{Issuer: "https://idp.example", Subject: "u1", SID: "s1", ACR: "gold", AuthTime: now.Add(-5 * time.Minute)},
	}
	if err := json.Unmarshal([]byte(claims), &c.Identity.Claims); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRulesAllow(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rules  access.Rules
		claims string
	}{
		"no rule":                        {access.Rules{}, `{}`},
		"one scope":                      {access.Rules{Scopes: []string{"orders.read"}}, `{}`},
		"every scope":                    {access.Rules{Scopes: []string{"orders.read", "openid"}}, `{}`},
		"one of the groups":              {access.Rules{Groups: []string{"ops", "sales"}}, `{"groups": ["all", "sales"]}`},
		"groups as a string":             {access.Rules{Groups: []string{"sales"}}, `{"groups": "sales"}`},
		"claim":                          {claim("department", "sales"), `{"department": "sales"}`},
		"claim, second value":            {claim("department", "ops", "sales"), `{"department": "sales"}`},
		"claim in a list":                {claim("department", "sales"), `{"department": ["ops", "sales"]}`},
		"claim is a number":              {claim("level", "3"), `{"level": 3}`},
		"claim is a large number":        {claim("tenant", "12345678901234567890"), `{"tenant": 12345678901234567890}`},
		"claim is a boolean":             {claim("staff", "true"), `{"staff": true}`},
		"claim is false":                 {claim("guest", "false"), `{"guest": false}`},
		"claim in a mixed list":          {claim("x", "3"), `{"x": ["a", 3, true]}`},
		"claim whose name is a URL":      {claim("https://example.com/team", "a"), `{"https://example.com/team": "a"}`},
		"claim with escapes":             {claim("department", "Käse"), `{"department": "K\u00e4se"}`},
		"sub":                            {claim("sub", "u1"), `{}`},
		"iss":                            {claim("iss", "https://idp.example"), `{}`},
		"sid":                            {claim("sid", "s1"), `{}`},
		"acr as a claim":                 {claim("acr", "gold"), `{}`},
		"verified e-mail":                {claim("email", "a@example.com"), `{"email": "a@example.com", "email_verified": true}`},
		"verified e-mail, Cognito":       {claim("email", "a@example.com"), `{"email": "a@example.com", "email_verified": "true"}`},
		"verified phone number":          {claim("phone_number", "+1"), `{"phone_number": "+1", "phone_number_verified": true}`},
		"acr":                            {access.Rules{ACR: []string{"silver", "gold"}}, `{}`},
		"max_age":                        {access.Rules{MaxAge: 10 * time.Minute}, `{}`},
		"max_age to the second":          {access.Rules{MaxAge: 5 * time.Minute}, `{}`},
		"every kind of rule, every time": {everyRule(), `{"groups": ["sales"], "department": "sales"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if refusal := tt.rules.Check(caller(t, tt.claims), now); refusal != nil {
				t.Errorf("refused: %v", refusal)
			}
		})
	}
}

func claim(name string, values ...string) access.Rules {
	return access.Rules{Claims: map[string][]string{name: values}}
}

func everyRule() access.Rules {
	return access.Rules{
		Scopes: []string{"orders.read"}, Groups: []string{"sales"}, Claims: map[string][]string{"department": {"sales"}},
		ACR: []string{"gold"}, MaxAge: 10 * time.Minute,
	}
}

func TestRulesRefuse(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rules  access.Rules
		claims string
		code   string
		status int
		rule   string
	}{
		"one scope missing":         {access.Rules{Scopes: []string{"orders.read", "orders.write"}}, `{}`, "insufficient_scope", 403, "scopes"},
		"scope in another case":     {access.Rules{Scopes: []string{"Orders.read"}}, `{}`, "insufficient_scope", 403, "scopes"},
		"scope only as a claim":     {access.Rules{Scopes: []string{"admin"}}, `{"scope": "admin"}`, "insufficient_scope", 403, "scopes"},
		"no groups":                 {access.Rules{Groups: []string{"sales"}}, `{}`, "insufficient_groups", 403, "groups"},
		"empty groups":              {access.Rules{Groups: []string{"sales"}}, `{"groups": []}`, "insufficient_groups", 403, "groups"},
		"other groups":              {access.Rules{Groups: []string{"sales"}}, `{"groups": ["ops"]}`, "insufficient_groups", 403, "groups"},
		"groups are null":           {access.Rules{Groups: []string{"null", ""}}, `{"groups": null}`, "insufficient_groups", 403, "groups"},
		"groups hold a null":        {access.Rules{Groups: []string{"sales"}}, `{"groups": ["sales", null]}`, "insufficient_groups", 403, "groups"},
		"groups hold a number":      {access.Rules{Groups: []string{"sales", "3"}}, `{"groups": ["sales", 3]}`, "insufficient_groups", 403, "groups"},
		"groups are a number":       {access.Rules{Groups: []string{"3"}}, `{"groups": 3}`, "insufficient_groups", 403, "groups"},
		"groups are true":           {access.Rules{Groups: []string{"true"}}, `{"groups": true}`, "insufficient_groups", 403, "groups"},
		"groups are an object":      {access.Rules{Groups: []string{"sales"}}, `{"groups": {"sales": true}}`, "insufficient_groups", 403, "groups"},
		"groups with commas":        {access.Rules{Groups: []string{"sales"}}, `{"groups": "ops,sales"}`, "insufficient_groups", 403, "groups"},
		"groups in another case":    {access.Rules{Groups: []string{"sales"}}, `{"Groups": ["sales"]}`, "insufficient_groups", 403, "groups"},
		"claim missing":             {claim("department", "sales"), `{}`, "insufficient_claims", 403, "claims.department"},
		"claim with no value asked": {claim("department"), `{"department": "sales"}`, "insufficient_claims", 403, "claims.department"},
		"claim differs in case":     {claim("department", "sales"), `{"department": "Sales"}`, "insufficient_claims", 403, "claims.department"},
		"claim begins alike":        {claim("department", "sales"), `{"department": "sales-external"}`, "insufficient_claims", 403, "claims.department"},
		"claim is null":             {claim("x", "null", ""), `{"x": null}`, "insufficient_claims", 403, "claims.x"},
		"claim is an object":        {claim("x", "a", `{"a":"a"}`, ""), `{"x": {"a": "a"}}`, "insufficient_claims", 403, "claims.x"},
		"claim in a nested list":    {claim("x", "a"), `{"x": [["a"]]}`, "insufficient_claims", 403, "claims.x"},
		"claim beside an object":    {claim("x", "a"), `{"x": ["a", {}]}`, "insufficient_claims", 403, "claims.x"},
		"claim beside a null":       {claim("x", "a"), `{"x": ["a", null]}`, "insufficient_claims", 403, "claims.x"},
		"empty list":                {claim("x", ""), `{"x": []}`, "insufficient_claims", 403, "claims.x"},
		"number written otherwise":  {claim("x", "3"), `{"x": 3.0}`, "insufficient_claims", 403, "claims.x"},
		"1 is not true":             {claim("x", "true"), `{"x": 1}`, "insufficient_claims", 403, "claims.x"},
		"member of an object":       {claim("a.b", "x"), `{"a": {"b": "x"}}`, "insufficient_claims", 403, "claims.a.b"},
		"the first in order":        {access.Rules{Claims: map[string][]string{"b": {"1"}, "a": {"1"}, "c": {"1"}}}, `{}`, "insufficient_claims", 403, "claims.a"},
		"sub only as a claim":       {claim("sub", "admin"), `{"sub": "admin"}`, "insufficient_claims", 403, "claims.sub"},
		"iss only as a claim":       {claim("iss", "evil"), `{"iss": "evil"}`, "insufficient_claims", 403, "claims.iss"},
		"sid only as a claim":       {claim("sid", "x"), `{"sid": "x"}`, "insufficient_claims", 403, "claims.sid"},
		"acr only as a claim":       {claim("acr", "x"), `{"acr": "x"}`, "insufficient_claims", 403, "claims.acr"},
		"e-mail, nothing verified":  {claim("email", "a@example.com"), `{"email": "a@example.com"}`, "insufficient_claims", 403, "claims.email"},
		"e-mail, not verified":      {claim("email", "a@example.com"), `{"email": "a@example.com", "email_verified": false}`, "insufficient_claims", 403, "claims.email"},
		"e-mail, verified 1":        {claim("email", "a@example.com"), `{"email": "a@example.com", "email_verified": 1}`, "insufficient_claims", 403, "claims.email"},
		"e-mail, verified yes":      {claim("email", "a@example.com"), `{"email": "a@example.com", "email_verified": "TRUE"}`, "insufficient_claims", 403, "claims.email"},
		"e-mail, verified in list":  {claim("email", "a@example.com"), `{"email": "a@example.com", "email_verified": [true]}`, "insufficient_claims", 403, "claims.email"},
		"e-mail, verified missing":  {claim("email", "a@example.com"), `{"email_verified": true}`, "insufficient_claims", 403, "claims.email"},
		"phone, e-mail verified":    {claim("phone_number", "+1"), `{"phone_number": "+1", "email_verified": true}`, "insufficient_claims", 403, "claims.phone_number"},
		"another acr":               {access.Rules{ACR: []string{"silver"}}, `{}`, "insufficient_user_authentication", 401, "acr"},
		"too old":                   {access.Rules{MaxAge: 5*time.Minute - time.Second}, `{}`, "insufficient_user_authentication", 401, "max_age"},
		"negative max_age":          {access.Rules{MaxAge: -time.Second}, `{}`, "insufficient_user_authentication", 401, "max_age"},
		"403 before 401":            {access.Rules{Groups: []string{"sales"}, ACR: []string{"silver"}, MaxAge: time.Second}, `{}`, "insufficient_groups", 403, "groups"},
		"claims before 401":         {access.Rules{Claims: map[string][]string{"x": {"1"}}, MaxAge: time.Second}, `{}`, "insufficient_claims", 403, "claims.x"},
		"scopes before 401":         {access.Rules{Scopes: []string{"x"}, ACR: []string{"silver"}}, `{}`, "insufficient_scope", 403, "scopes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refusal := tt.rules.Check(caller(t, tt.claims), now)
			if refusal == nil {
				t.Fatal("allowed")
			}
			if refusal.Row.Name != tt.code || refusal.Row.Status != tt.status || refusal.Rule != tt.rule {
				t.Errorf("got %s %d by rule %s, want %s %d by rule %s", refusal.Row.Name, refusal.Row.Status, refusal.Rule, tt.code, tt.status, tt.rule)
			}
		})
	}
}

func TestSignInThatIsNotToldIsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rules  access.Rules
		change func(*rp.Identity)
	}{
		"no acr":                     {access.Rules{ACR: []string{"gold", ""}}, func(id *rp.Identity) { id.ACR = "" }},
		"no auth_time":               {access.Rules{MaxAge: math.MaxInt64}, func(id *rp.Identity) { id.AuthTime = time.Time{} }},
		"auth_time in the future":    {access.Rules{MaxAge: time.Hour}, func(id *rp.Identity) { id.AuthTime = now.Add(61 * time.Second) }},
		"auth_time in a far future":  {access.Rules{MaxAge: time.Hour}, func(id *rp.Identity) { id.AuthTime = now.AddDate(900, 0, 0) }},
		"auth_time in a distant age": {access.Rules{MaxAge: 1 << 62}, func(id *rp.Identity) { id.AuthTime = now.AddDate(-900, 0, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := caller(t, `{}`)
			tt.change(&c.Identity)
			refusal := tt.rules.Check(c, now)
			if refusal == nil || refusal.Row.Name != "insufficient_user_authentication" {
				t.Errorf("got %v", refusal)
			}
		})
	}
}

func TestWhatIsNotToldIsNotEmpty(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sub", "iss", "sid", "acr", "email", "x"} {
		if refusal := claim(name, "").Check(&access.Caller{}, now); refusal == nil || refusal.Row.Name != "insufficient_claims" {
			t.Errorf("%s: got %v", name, refusal)
		}
	}
}

func TestClockOfTheProviderMayBeAMinuteAhead(t *testing.T) {
	t.Parallel()
	c := caller(t, `{}`)
	c.Identity.AuthTime = now.Add(time.Minute)
	if refusal := (access.Rules{MaxAge: time.Second}).Check(c, now); refusal != nil {
		t.Error(refusal)
	}
}

func TestNobodyPassesARule(t *testing.T) {
	t.Parallel()
	if refusal := (access.Rules{}).Check(nil, now); refusal != nil {
		t.Errorf("without rules: %v", refusal)
	}
	refusal := access.Rules{ACR: []string{"gold"}}.Check(nil, now)
	if refusal == nil || refusal.Row.Status != 401 || refusal.Row.Name != "unauthenticated" {
		t.Fatalf("got %v", refusal)
	}
	if got := refusal.StepUp("/bff/login"); got != "/bff/login" {
		t.Errorf("step-up of nobody: %s", got)
	}
}

func TestEmptyRules(t *testing.T) {
	t.Parallel()
	if !(access.Rules{}).Empty() || !(access.Rules{Claims: map[string][]string{}, Groups: []string{}}).Empty() {
		t.Error("no rule counts as one")
	}
	for name, r := range map[string]access.Rules{
		"scopes": {Scopes: []string{"a"}}, "groups": {Groups: []string{"a"}}, "claims": claim("a"), "acr": {ACR: []string{"a"}},
		"max_age": {MaxAge: 1}, "negative max_age": {MaxAge: -1},
	} {
		if r.Empty() {
			t.Errorf("%s alone counts as no rule", name)
		}
	}
}

func TestChallengeAndStepUp(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rules             access.Rules
		login             string
		challenge, stepUp string
	}{
		"RFC 6750 3.1": {access.Rules{Scopes: []string{"orders.read", "orders.write"}}, "/login",
			`Bearer error="insufficient_scope", scope="orders.read orders.write"`, "/login"},
		"groups": {access.Rules{Groups: []string{"ops"}}, "/login", "", "/login"},
		"claims": {claim("x", "1"), "/login", "", "/login"},
		"RFC 9470 3, acr_values": {access.Rules{ACR: []string{"myACR"}}, "/login",
			`Bearer error="insufficient_user_authentication", acr_values="myACR"`, "/login?acr_values=myACR"},
		"RFC 9470 3, max_age": {access.Rules{MaxAge: 5 * time.Second}, "/login",
			`Bearer error="insufficient_user_authentication", max_age="5"`, "/login?max_age=5"},
		"both though one is unmet": {access.Rules{ACR: []string{"gold"}, MaxAge: time.Minute}, "https://app.example/bff/login?returnUrl=%2Fa",
			`Bearer error="insufficient_user_authentication", acr_values="gold", max_age="60"`, "https://app.example/bff/login?returnUrl=%2Fa&acr_values=gold&max_age=60"},
		"in the configuration's order": {access.Rules{ACR: []string{"z", "urn:example:a", "b&c=d"}}, "/login",
			`Bearer error="insufficient_user_authentication", acr_values="z urn:example:a b&c=d"`, "/login?acr_values=z+urn%3Aexample%3Aa+b%26c%3Dd"},
		"part of a second": {access.Rules{MaxAge: 1500 * time.Millisecond}, "/login",
			`Bearer error="insufficient_user_authentication", max_age="1"`, "/login?max_age=1"},
		"less than a second": {access.Rules{MaxAge: time.Millisecond}, "/login",
			`Bearer error="insufficient_user_authentication", max_age="0"`, "/login?max_age=0"},
		"nothing leaves the quotes": {access.Rules{ACR: []string{"a\"b\\c\r\nSet-Cookie: x\x7fé"}}, "/login",
			`Bearer error="insufficient_user_authentication", acr_values="a\"b\\c??Set-Cookie: x??"`, "/login?acr_values=a%22b%5Cc%0D%0ASet-Cookie%3A+x%7F%C3%A9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refusal := tt.rules.Check(caller(t, `{}`), now)
			if refusal == nil {
				t.Fatal("allowed")
			}
			if got := refusal.Challenge(); got != tt.challenge {
				t.Errorf("challenge:\n%s, want\n%s", got, tt.challenge)
			}
			if got := refusal.StepUp(tt.login); got != tt.stepUp {
				t.Errorf("login URL:\n%s, want\n%s", got, tt.stepUp)
			}
		})
	}
}

func TestOfIsTheSessionsUser(t *testing.T) {
	t.Parallel()
	s := &session.Session{Record: session.Record{ID: "handle", Provider: "idp", Grant: rp.Grant{
		Tokens:   rp.Tokens{Scope: []string{"orders.read"}},
		Identity: rp.Identity{Subject: "u1", Claims: map[string]json.RawMessage{"groups": json.RawMessage(`["sales"]`)}},
	}}}
	c := access.Of(s)
	if c.Session != s || c.Provider != "idp" || !c.Token.Empty() || c.Identity.Subject != "u1" || !c.Expires.IsZero() {
		t.Errorf("got %+v", c)
	}
	if refusal := (access.Rules{Scopes: []string{"orders.read"}, Groups: []string{"sales"}}).Check(c, now); refusal != nil {
		t.Error(refusal)
	}
}

// FuzzCheck holds rules about claims to what can be said without reading JSON the way the
// package does.
func FuzzCheck(f *testing.F) {
	for _, claims := range []string{
		`{}`, `{"x": "a"}`, `{"x": ["a", 3]}`, `{"x": {"x": "a"}}`, `{"x": null, "x": "a"}`, `{"x": 1e400}`, `{"X": "a"}`,
		`{"x": [[[["a"]]]]}`, `{"x": "\ud800"}`, `{"email": "a", "email_verified": true}`, `{"groups": ["a", "b"]}`, `"a" "b"`,
	} {
		f.Add(claims, "x", "a")
		f.Add(claims, "email", "a")
		f.Add(claims, "groups", "b")
	}
	f.Fuzz(func(t *testing.T, text, name, want string) {
		c := &access.Caller{}
		if json.Unmarshal([]byte(text), &c.Identity.Claims) != nil {
			c.Identity.Claims = map[string]json.RawMessage{name: json.RawMessage(text)} // what never was valid JSON
		}
		raw, there := c.Identity.Claims[name]
		if claim(name, want).Check(c, now) == nil {
			if !there || !holds(raw, want) {
				t.Errorf("allowed %q of %q", want, raw)
			}
			if name == "email" && !slices.Contains([]string{"true", `"true"`}, string(c.Identity.Claims["email_verified"])) {
				t.Errorf("allowed an e-mail address whose verification is %q", c.Identity.Claims["email_verified"])
			}
		}
		if (access.Rules{Groups: []string{want}}).Check(c, now) == nil && !holds(c.Identity.Claims["groups"], want) {
			t.Errorf("allowed group %q of %q", want, c.Identity.Claims["groups"])
		}
		if refusal := claim(name, want).Check(c, now); refusal != nil && refusal.Rule != "claims."+name {
			t.Errorf("rule %q", refusal.Rule)
		}
	})
}

// holds reports whether want is raw or one element of it, as a string or as it is written.
func holds(raw json.RawMessage, want string) bool {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	return slices.ContainsFunc(list, func(one json.RawMessage) bool {
		var text string
		plain := strings.TrimSpace(string(one))
		return json.Unmarshal(one, &text) == nil && text == want && plain != "null" ||
			plain == want && plain != "null" && !strings.ContainsAny(plain[:1], `{["`)
	})
}

func FuzzStepUp(f *testing.F) {
	f.Add("/login", "a b", int64(5))
	f.Add("/login?x=1", "\"\r\n&max_age=9", int64(0))
	f.Fuzz(func(t *testing.T, login, acr string, seconds int64) {
		if acr == "" || strings.ContainsAny(login, "#") {
			return
		}
		age := time.Duration(seconds%(1<<30)) * time.Second
		refusal := access.Rules{ACR: []string{acr}, MaxAge: age}.Check(&access.Caller{}, now)
		if strings.ContainsFunc(refusal.Challenge(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("challenge %q", refusal.Challenge())
		}
		added, ok := strings.CutPrefix(refusal.StepUp(login), login)
		query, err := url.ParseQuery(strings.TrimLeft(added, "?&"))
		if !ok || err != nil || query.Get("acr_values") != acr || len(query["max_age"]) > 1 || len(query) > 2 {
			t.Errorf("%q became %q", login, refusal.StepUp(login))
		}
	})
}
