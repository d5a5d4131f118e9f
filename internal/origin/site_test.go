package origin_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"genkan/internal/origin"
)

const (
	local   = "http://localhost:8000"
	both    = "http://localhost:8000, https://app.example.com"
	unknown = "GK120 http://localhost:8000"
)

// arrivals are requests and the public URL they belong to, or what is said instead:
// the row's code, where to go, and whether a navigation is led there.
var arrivals = map[string]struct{ publics, alias, host, scheme, want string }{
	"exact":                         {local, "", "localhost:8000", "", local},
	"upper case":                    {local, "", "LocalHost:8000", "", local},
	"told http":                     {local, "", "localhost:8000", "http", local},
	"second URL":                    {both, "", "app.example.com", "https", "https://app.example.com"},
	"default port written out":      {both, "", "app.example.com:443", "https", "https://app.example.com"},
	"scheme not told":               {both, "", "app.example.com", "", "https://app.example.com"},
	"default port of http":          {"http://localhost", "", "localhost:80", "", "http://localhost"},
	"default port of http left out": {"http://localhost", "", "localhost", "", "http://localhost"},
	"IPv6":                          {"http://[::1]:8000", "", "[::1]:8000", "", "http://[::1]:8000"},
	"IPv6 without port":             {"http://[::1]", "", "[::1]", "", "http://[::1]"},

	"other port":                  {local, "", "localhost:8001", "", unknown},
	"port missing":                {local, "", "localhost", "", unknown},
	"port empty":                  {local, "", "localhost:", "", unknown},
	"port with a zero":            {local, "", "localhost:08000", "", unknown},
	"port of the other scheme":    {both, "", "app.example.com:80", "https", unknown},
	"foreign host":                {local, "", "evil.example", "", unknown},
	"foreign host, our port":      {local, "", "evil.example:8000", "", unknown},
	"our host as a prefix":        {local, "", "localhost.evil.example:8000", "", unknown},
	"name below localhost":        {local, "", "app.localhost:8000", "", unknown},
	"trailing dot":                {local, "", "localhost.:8000", "", unknown},
	"empty":                       {local, "", "", "", unknown},
	"space":                       {local, "", " localhost:8000", "", unknown},
	"user":                        {local, "", "a@localhost:8000", "", unknown},
	"our host as user":            {local, "", "localhost:8000@evil.example", "", unknown},
	"path":                        {local, "", "localhost:8000/a", "", unknown},
	"URL":                         {local, "", "http://localhost:8000", "", unknown},
	"two hosts":                   {local, "", "localhost:8000, evil.example", "", unknown},
	"backslash":                   {local, "", `localhost:8000\.evil.example`, "", unknown},
	"NUL":                         {local, "", "localhost\x00:8000", "", unknown},
	"Kelvin sign":                 {"https://kiosk.example.com", "", "\u212aiosk.example.com", "", "GK120 https://kiosk.example.com"},
	"very long":                   {local, "", strings.Repeat("a", 1<<20) + ":8000", "", unknown},
	"bracket left open":           {local, "", "[::1:8000", "", unknown},
	"other loopback address":      {local, "", "127.0.0.2:8000", "", unknown},
	"IPv6 without brackets":       {"http://[::1]", "reject", "::1", "", "GK121 http://[::1]"},
	"IPv4 in brackets":            {"http://127.0.0.1:8000", "reject", "[127.0.0.1]:8000", "", "GK121 http://127.0.0.1:8000"},
	"IPv6 of a domain's only URL": {"https://example.com", "", "[::1]", "", "GK120 https://example.com"},

	"https public, told http": {both, "", "app.example.com", "http", "GK122 https://app.example.com redirect"},
	"http public, told https": {local, "", "localhost:8000", "https", unknown},
	"both schemes, told http": {"http://localhost, https://localhost", "", "localhost", "http", "http://localhost"},
	"both schemes, told https": {
		"http://localhost, https://localhost", "", "localhost", "https", "https://localhost"},

	"alias IPv4":                      {local, "redirect", "127.0.0.1:8000", "", "GK121 http://localhost:8000 redirect"},
	"alias IPv6":                      {local, "redirect", "[::1]:8000", "", "GK121 http://localhost:8000 redirect"},
	"alias IPv6 written out":          {local, "redirect", "[0:0:0:0:0:0:0:1]:8000", "", "GK121 http://localhost:8000 redirect"},
	"alias IPv4 in IPv6":              {local, "redirect", "[::ffff:127.0.0.1]:8000", "", "GK121 http://localhost:8000 redirect"},
	"alias 0.0.0.0":                   {local, "redirect", "0.0.0.0:8000", "", "GK121 http://localhost:8000 redirect"},
	"alias localhost of IPv4":         {"http://127.0.0.1:8000", "redirect", "localhost:8000", "", "GK121 http://127.0.0.1:8000 redirect"},
	"own address as IPv4 in IPv6":     {"http://127.0.0.1:8000", "redirect", "[::ffff:7f00:1]:8000", "", "GK121 http://127.0.0.1:8000 redirect"},
	"alias, default mode":             {local, "", "127.0.0.1:8000", "", "GK121 http://localhost:8000 redirect"},
	"alias at another port":           {local, "redirect", "127.0.0.1:8001", "", unknown},
	"alias without port":              {local, "redirect", "127.0.0.1", "", unknown},
	"alias of a domain":               {"https://example.com", "redirect", "127.0.0.1", "", "GK120 https://example.com"},
	"alias from https to http":        {local, "redirect", "127.0.0.1:8000", "https", unknown},
	"alias of https":                  {"https://localhost:8443", "redirect", "127.0.0.1:8443", "https", "GK121 https://localhost:8443 redirect"},
	"alias of the URL with that port": {"http://localhost:8000, http://127.0.0.1:9000", "redirect", "localhost:9000", "", "GK121 http://127.0.0.1:9000 redirect"},

	"rejected alias":                  {local, "reject", "127.0.0.1:8000", "", "GK121 http://localhost:8000"},
	"rejected alias 0.0.0.0":          {local, "reject", "0.0.0.0:8000", "", "GK121 http://localhost:8000"},
	"reject leaves the public one be": {local, "reject", "localhost:8000", "", local},

	"allowed alias IPv4":                       {local, "allow", "127.0.0.1:8000", "", "http://127.0.0.1:8000"},
	"allowed alias IPv6":                       {local, "allow", "[::1]:8000", "", "http://[::1]:8000"},
	"allowed alias at another port":            {local, "allow", "127.0.0.1:8001", "", unknown},
	"0.0.0.0 is no allowed alias":              {local, "allow", "0.0.0.0:8000", "", "GK121 http://localhost:8000 redirect"},
	"IPv4 in IPv6 is no allowed alias":         {local, "allow", "[::ffff:127.0.0.1]:8000", "", "GK121 http://localhost:8000 redirect"},
	"alias allow opens no domain to localhost": {"https://app.example.com", "allow", "localhost", "https", "GK120 https://app.example.com"},
	"alias allow leaves domains closed":        {both, "allow", "evil.example", "https", unknown},
}

func TestPolicySite(t *testing.T) {
	t.Parallel()
	for name, tt := range arrivals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, found := origin.New(origin.Config{
				PublicURLs: origins(t, tt.publics), LoopbackAlias: origin.Alias(tt.alias), TrustedProxies: true,
			})
			if p == nil {
				t.Fatal(found)
			}
			if got := arrive(t, p, tt.host, tt.scheme); got != tt.want {
				t.Errorf("Host %.60q by %q: got %q, want %q", tt.host, tt.scheme, got, tt.want)
			}
		})
	}
}

func arrive(t *testing.T, p *origin.Policy, host, scheme string) string {
	t.Helper()
	s, err := p.Site(origin.Arrival{Host: host, Scheme: scheme})
	if err == nil {
		return s.Origin().String()
	}
	var m *origin.Misdirected
	if s != nil || !errors.As(err, &m) {
		t.Fatalf("got site %v and the error %v", s, err)
	}
	if strings.Contains(err.Error(), "evil") {
		t.Errorf("the error %q repeats what was sent", err)
	}
	got := m.Row.Code + " " + m.Canonical.String()
	if m.Redirect {
		got += " redirect"
	}
	return got
}

func TestCookieLifetime(t *testing.T) {
	t.Parallel()
	cookie := returnSite(t).Session()
	tests := map[string]struct {
		ttl  time.Duration
		want string
	}{
		"hours":                      {12 * time.Hour, "Max-Age=43200"},
		"a second":                   {time.Second, "Max-Age=1"},
		"part of a second":           {time.Millisecond, "Max-Age=1"},
		"a second and a part":        {1001 * time.Millisecond, "Max-Age=2"},
		"none: deletes, never stays": {0, "Max-Age=0"},
		"over":                       {-time.Minute, "Max-Age=0"},
		"over by part of a second":   {-time.Millisecond, "Max-Age=0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := "bff-8000=v; Path=/; " + tt.want + "; HttpOnly; SameSite=Strict"
			if got := cookie.Set("v", tt.ttl).String(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// TestClearRepeatsSet: browsers delete only what has the same name, path, domain and
// prefix, so value and age are all that may differ (rfc6265bis 5.7).
func TestClearRepeatsSet(t *testing.T) {
	t.Parallel()
	for name, public := range map[string]string{"https": "https://example.com", "loopback": "http://localhost:8000"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := origin.New(origin.Config{PublicURLs: origins(t, public), FormPost: true, TrustedProxies: true})
			for _, c := range []origin.Cookie{p.Canonical().Session(), p.Canonical().Transaction("a", false), p.Canonical().Transaction("a", true)} {
				set, cleared := c.Set("v", time.Hour), c.Clear()
				if cleared.MaxAge >= 0 || cleared.Value != "" {
					t.Errorf("%s does not delete", cleared)
				}
				cleared.MaxAge, cleared.Value = set.MaxAge, set.Value
				if set.String() != cleared.String() {
					t.Errorf("set %s but clear %s", set, cleared)
				}
			}
		})
	}
}

func TestTransactionCookiesAreOnePerAttempt(t *testing.T) {
	t.Parallel()
	s := returnSite(t)
	a, b := s.Transaction("a", false), s.Transaction("b", true)
	if a.Name == b.Name || !strings.HasPrefix(a.Name, s.TransactionPrefix()) || !strings.HasPrefix(b.Name, s.TransactionPrefix()) {
		t.Errorf("names %q and %q under %q", a.Name, b.Name, s.TransactionPrefix())
	}
	if strings.HasPrefix(s.Session().Name, s.TransactionPrefix()) {
		t.Errorf("the session's cookie %q counts as a transaction", s.Session().Name)
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	p, _ := origin.New(origin.Config{PublicURLs: origins(t, "https://example.com"), Prefix: "/auth", TrustedProxies: true})
	if got := p.Canonical().URL("/login?a=b"); got != "https://example.com/auth/login?a=b" || p.Prefix() != "/auth" {
		t.Errorf("got %s below %s", got, p.Prefix())
	}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		config origin.Config
		want   []origin.Decision
	}{
		"https": {
			origin.Config{PublicURLs: origins(t, "https://example.com"), TLS: true, Navigate: true},
			[]origin.Decision{
				{Subject: "session cookie", Attribute: "name", Value: "__Host-Http-bff"},
				{Subject: "session cookie", Attribute: "Secure", Value: "yes"},
				{Subject: "session cookie", Attribute: "SameSite", Value: "Lax"},
				{Subject: "transaction cookie", Attribute: "SameSite", Value: "Lax"},
			},
		},
		"loopback, form_post": {
			origin.Config{PublicURLs: origins(t, "http://localhost:8000"), FormPost: true},
			[]origin.Decision{
				{Subject: "session cookie", Attribute: "name", Value: "bff-8000"},
				{Subject: "session cookie", Attribute: "Secure", Value: "no"},
				{Subject: "session cookie", Attribute: "SameSite", Value: "Strict"},
				{Subject: "transaction cookie", Attribute: "SameSite", Value: "None"},
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := origin.New(tt.config)
			got := p.Canonical().Decisions()
			ignore := []cmp.Option{cmpopts.IgnoreUnexported(origin.Decision{}), cmpopts.IgnoreFields(origin.Decision{}, "Reason")}
			if diff := cmp.Diff(tt.want, got, ignore...); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, d := range got {
				if d.Reason == "" {
					t.Errorf("%s %s has no reason", d.Subject, d.Attribute)
				}
			}
		})
	}
}

func TestSiteOf(t *testing.T) {
	t.Parallel()
	s, r := returnSite(t), httptest.NewRequest("GET", "/", nil)
	if got := origin.SiteOf(origin.WithSite(r, s)); got != s {
		t.Errorf("got %v", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a request that passed no host check has a site")
		}
	}()
	origin.SiteOf(r)
}

// TestPolicyIsNotItsCallersSlices: what a caller does to its lists afterwards changes
// nothing.
func TestPolicyIsNotItsCallersSlices(t *testing.T) {
	t.Parallel()
	publics, apps := origins(t, "http://localhost:8000"), origins(t, "http://localhost:5173")
	p, _ := origin.New(origin.Config{PublicURLs: publics, SPAOrigins: apps})
	evil := origins(t, "http://evil.localhost:8000")[0]
	publics[0], apps[0] = evil, evil
	p.Sites()[0] = nil
	if got := p.Canonical().Origin().String(); got != "http://localhost:8000" {
		t.Errorf("the canonical URL became %s", got)
	}
	if got, _ := p.Canonical().Return(""); got != "http://localhost:5173/" {
		t.Errorf("the app's start became %s", got)
	}
}
