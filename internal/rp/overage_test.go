package rp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// graph is Microsoft Graph, behind the transport that the provider has. Requests to any
// other host but these two fail the test.
type graph struct {
	*provider
	page func(w http.ResponseWriter, r *http.Request, number int)
	seen []*http.Request
}

func (g *graph) RoundTrip(req *http.Request) (*http.Response, error) {
	switch req.URL.Host {
	case "idp.example":
		return g.provider.RoundTrip(req)
	case "graph.microsoft.com":
		g.seen = append(g.seen, req)
		recorder := httptest.NewRecorder()
		g.page(recorder, req, len(g.seen))
		if err := req.Context().Err(); err != nil {
			return nil, err
		}
		resp := recorder.Result()
		resp.Request = req
		return resp, nil
	}
	g.t.Errorf("a request went to %s", req.URL.Host)
	return nil, fmt.Errorf("no such host")
}

// overflowing are the claims of an ID token that Entra left groups out of.
func overflowing() object {
	return object{
		"_claim_names":   object{"groups": "src1"},
		"_claim_sources": object{"src1": object{"endpoint": "http://169.254.169.254/users/1/getMemberObjects"}},
	}
}

func groupList(w http.ResponseWriter, next string, ids ...string) {
	value := []object{}
	for _, id := range ids {
		value = append(value, object{"id": id, "@odata.type": "#microsoft.graph.group"})
	}
	page := object{"value": value, "@odata.count": len(ids)}
	if next != "" {
		page["@odata.nextLink"] = next
	}
	reply(w, http.StatusOK, page)
}

// ofCloud makes the tests' issuer one of the first cloud of q.
func ofCloud(q Quirks) Quirks {
	if endpoints := q.Overage.Endpoints; len(endpoints) > 0 {
		q.Overage.Endpoints = []GroupEndpoint{{`^https://idp\.example$`, endpoints[0].First}}
	}
	return q
}

// signInAtEntra returns the groups after a sign-in, and what was logged.
func (g *graph) signInAtEntra(t *testing.T, change func(*Config)) (groups, logged string, id Identity) {
	t.Helper()
	var log bytes.Buffer
	known := preset(t, "entra")
	c := g.client(func(c *Config) {
		c.Transport, c.Quirks, c.Claims, c.Logger = g, ofCloud(known.Quirks), known.Claims, slog.New(slog.NewTextHandler(&log, nil))
		if change != nil {
			change(c)
		}
	})
	id = g.mustSignIn(c).Identity
	return string(id.Claims["groups"]), log.String(), id
}

func TestGroupsOverage(t *testing.T) {
	t.Parallel()
	g := &graph{provider: newProvider(t)}
	maps.Copy(g.claims, overflowing())
	const next = "https://graph.microsoft.com/v1.0/me/transitiveMemberOf/microsoft.graph.group?$select=id&$top=999&$skiptoken=abc"
	g.page = func(w http.ResponseWriter, _ *http.Request, number int) {
		if number == 1 {
			groupList(w, next, "g1", "g2")
			return
		}
		groupList(w, "", "g3")
	}
	groups, logged, id := g.signInAtEntra(t, nil)
	if groups != `["g1","g2","g3"]` || strings.Contains(logged, "WARN") {
		t.Errorf("groups %s; logged %s", groups, logged)
	}
	var asked []string
	for _, r := range g.seen {
		asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization")+" "+r.Header.Get("ConsistencyLevel"))
	}
	want := []string{
		"GET https://graph.microsoft.com/v1.0/me/transitiveMemberOf/microsoft.graph.group?$count=true&$select=id&$top=999 Bearer access-1 eventual",
		"GET " + next + " Bearer access-1 eventual",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"_claim_names", "_claim_sources", "hasgroups"} {
		if raw, ok := id.Claims[name]; ok {
			t.Errorf("%s is still there: %s", name, raw)
		}
	}
}

// TestGroupsOverageIsAskedForWhenItIsOne: and at no other time.
func TestGroupsOverageIsAskedForWhenItIsOne(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		claims object
		preset string
		groups string
		asked  int
	}{
		{"named", overflowing(), "entra", `["g"]`, 1},
		{"flagged", object{"hasgroups": true}, "entra", `["g"]`, 1},
		{"flagged false", object{"hasgroups": false}, "entra", "", 0},
		{"another claim is elsewhere", object{"_claim_names": object{"address": "s"}, "_claim_sources": object{"s": object{"endpoint": "http://169.254.169.254/"}}}, "entra", "", 0},
		{"groups are there", with(overflowing(), object{"groups": []string{"t"}}), "entra", `["t"]`, 0},
		{"no groups at all", nil, "entra", "", 0},
		{"76 another provider", overflowing(), "generic", "", 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			g := &graph{provider: newProvider(t), page: func(w http.ResponseWriter, _ *http.Request, _ int) { groupList(w, "", "g") }}
			maps.Copy(g.claims, row.claims)
			groups, _, _ := g.signInAtEntra(t, func(c *Config) { c.Quirks = ofCloud(preset(t, row.preset).Quirks) })
			if groups != row.groups || len(g.seen) != row.asked {
				t.Errorf("groups %s after %d questions, want %s after %d", groups, len(g.seen), row.groups, row.asked)
			}
		})
	}
}

// TestGroupsOverageFails: whatever happens there, the user is signed in, without groups,
// and the log says why, once.
func TestGroupsOverageFails(t *testing.T) {
	t.Parallel()
	answer := func(status int, contentType, body string) func(http.ResponseWriter, *http.Request, int) {
		return func(w http.ResponseWriter, r *http.Request, _ int) { text(status, contentType, body)(w, r) }
	}
	leading := func(next string) func(http.ResponseWriter, *http.Request, int) {
		return func(w http.ResponseWriter, _ *http.Request, _ int) { groupList(w, next, "g") }
	}
	const self = "https://graph.microsoft.com/v1.0/me"
	rows := []struct {
		name  string
		page  func(http.ResponseWriter, *http.Request, int)
		cfg   func(*Config)
		asked int
		said  string
	}{
		{"no permission", answer(403, "application/json", `{"error":{"code":"Authorization_RequestDenied","message":"CANARY"}}`), nil, 1, "HTTP 403"},
		{"not for it", answer(401, "application/json", `{"error":"CANARY"}`), nil, 1, "HTTP 401"},
		{"down", answer(503, "text/html", "CANARY"), nil, 1, "HTTP 503"},
		{"a page", answer(200, "text/html", "CANARY"), nil, 1, "text/html"},
		{"no list", answer(200, "application/json", `{"value":{"id":"CANARY"}}`), nil, 1, "not a list"},
		{"null", answer(200, "application/json", `null`), nil, 1, "not a list"},
		{"elsewhere", leading("https://evil.example/v1.0/me"), nil, 1, "not on graph.microsoft.com"},
		{"by plain http", leading("http://graph.microsoft.com/v1.0/me"), nil, 1, "not on graph.microsoft.com"},
		{"on another port", leading("https://graph.microsoft.com:8443/v1.0/me"), nil, 1, "not on graph.microsoft.com"},
		{"to a user of that host", leading("https://u@graph.microsoft.com/v1.0/me"), nil, 1, "not on graph.microsoft.com"},
		{"to no address", leading("/v1.0/me"), nil, 1, "not on graph.microsoft.com"},
		{"without end", leading(self), nil, 20, "more than 20 pages"},
		{"then a failure", func(w http.ResponseWriter, r *http.Request, number int) {
			if number == 3 {
				text(500, "text/html", "CANARY")(w, r)
				return
			}
			groupList(w, self, "g")
		}, nil, 3, "HTTP 500"},
		{"redirected away", func(w http.ResponseWriter, r *http.Request, _ int) {
			http.Redirect(w, r, "https://evil.example/", http.StatusFound)
		}, nil, 1, "HTTP 302"},
		{"larger than an answer may be", func(w http.ResponseWriter, _ *http.Request, _ int) { _, _ = w.Write(make([]byte, 1<<20+1)) }, nil, 1, "larger than 1 MiB"},
		{"larger together", func(w http.ResponseWriter, _ *http.Request, _ int) {
			reply(w, 200, object{"value": []object{}, "@odata.nextLink": self, "padding": strings.Repeat("x", 1<<20-200)})
		}, nil, 5, "too large"},
		{"a token for an API of one's own", leading(""), func(c *Config) { c.Scopes = []string{"openid", "api://orders/read"} }, 0, "API of your own"},
		{"a token for an API by GUID", leading(""), func(c *Config) { c.Scopes = []string{"0a1b/.default"} }, 0, "API of your own"},
		{"a token for a look-alike", leading(""), func(c *Config) { c.Scopes = []string{"https://graph.microsoft.com.evil.example/x"} }, 0, "API of your own"},
		{"a resource of one's own", leading(""), func(c *Config) { c.Resource = []string{"https://api.example"} }, 0, "API of your own"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			g := &graph{provider: newProvider(t), page: row.page}
			maps.Copy(g.claims, overflowing())
			groups, logged, id := g.signInAtEntra(t, row.cfg)
			if groups != "" || id.Subject != "alice" || len(g.seen) != row.asked {
				t.Errorf("groups %s of %s after %d questions, want %d", groups, id.Subject, len(g.seen), row.asked)
			}
			if strings.Count(logged, "finding=groups_overage") != 1 || !strings.Contains(logged, row.said) {
				t.Errorf("logged %s, want %q in it", logged, row.said)
			}
			for _, secret := range []string{"CANARY", "access-1"} {
				if strings.Contains(logged, secret) {
					t.Errorf("the log tells %q: %s", secret, logged)
				}
			}
		})
	}
}

// TestScopesOfGraphItselfAreNoOther: Graph's own scopes, short or long, make a token for it.
func TestScopesOfGraphItselfAreNoOther(t *testing.T) {
	t.Parallel()
	g := &graph{provider: newProvider(t), page: func(w http.ResponseWriter, _ *http.Request, _ int) { groupList(w, "", "g") }}
	maps.Copy(g.claims, overflowing())
	groups, _, _ := g.signInAtEntra(t, func(c *Config) {
		c.Scopes = []string{"openid", "User.Read", "https://graph.microsoft.com/GroupMember.Read.All"}
	})
	if groups != `["g"]` {
		t.Errorf("groups %s", groups)
	}
}

// TestGroupsOverageIsBounded: neither a slow Graph nor a long list holds a sign-in up.
func TestGroupsOverageIsBounded(t *testing.T) {
	t.Parallel()
	long := &graph{provider: newProvider(t), page: func(w http.ResponseWriter, _ *http.Request, number int) {
		ids := make([]string, 999)
		for i := range ids {
			ids[i] = fmt.Sprintf("g%d-%d", number, i)
		}
		groupList(w, "https://graph.microsoft.com/more", ids...)
	}}
	maps.Copy(long.claims, overflowing())
	groups, _, _ := long.signInAtEntra(t, nil)
	var list []string
	if err := json.Unmarshal([]byte(groups), &list); err != nil || len(list) != 2000 || len(long.seen) != 3 {
		t.Errorf("%d groups of %d pages, %v", len(list), len(long.seen), err)
	}
}

// TestGroupsOverageHasOneTimeOut: it is of all pages together, not of each.
func TestGroupsOverageHasOneTimeOut(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name  string
		each  time.Duration
		asked int
	}{
		{"one page without end", time.Hour, 1},
		{"three slow pages", 4 * time.Second, 3},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			rsaKey() // made outside of the bubble's clock
			synctest.Test(t, func(t *testing.T) {
				g := &graph{provider: newProvider(t), page: func(w http.ResponseWriter, r *http.Request, _ int) {
					select {
					case <-time.After(row.each):
						groupList(w, "https://graph.microsoft.com/more", "g")
					case <-r.Context().Done():
					}
				}}
				maps.Copy(g.claims, overflowing())
				begun := time.Now()
				groups, logged, _ := g.signInAtEntra(t, func(c *Config) { c.Timeout = 10 * time.Second })
				if groups != "" || !strings.Contains(logged, "no answer in time") {
					t.Errorf("groups %s; logged %s", groups, logged)
				}
				if took := time.Since(begun); took != 10*time.Second || len(g.seen) != row.asked {
					t.Errorf("it took %s and %d pages, want 10s and %d", took, len(g.seen), row.asked)
				}
			})
		})
	}
}

// TestGroupsAreReadInTheIssuersCloud: an access token of one cloud goes to no other.
func TestGroupsAreReadInTheIssuersCloud(t *testing.T) {
	t.Parallel()
	const path = "/v1.0/me/transitiveMemberOf/microsoft.graph.group?$count=true&$select=id&$top=999"
	for issuer, want := range map[string]string{
		"https://login.microsoftonline.com/" + tenant + "/v2.0":         "https://graph.microsoft.com" + path,
		"https://" + tenant + ".ciamlogin.com/" + tenant + "/v2.0":      "https://graph.microsoft.com" + path,
		"https://login.microsoftonline.us/" + tenant + "/v2.0":          "https://graph.microsoft.us" + path,
		"https://login.partner.microsoftonline.cn/" + tenant + "/v2.0":  "https://microsoftgraph.chinacloudapi.cn" + path,
		"https://login.microsoftonline.de/" + tenant + "/v2.0":          "",
		"https://login.microsoftonline.com.evil.example/" + tenant:      "",
		"https://evil.example/https://login.microsoftonline.com/":       "",
		"https://loginxmicrosoftonline.com/" + tenant + "/v2.0":         "",
		"http://login.microsoftonline.com/" + tenant + "/v2.0":          "",
		"https://evil.example/.ciamlogin.com/" + tenant + "/v2.0":       "",
		"https://login.microsoftonline.us.ciamlogin.com/" + tenant + "": "",
	} {
		got, err := preset(t, "entra").Quirks.Overage.first(issuer)
		if want == "" && err == nil || want != "" && (err != nil || got.String() != want) {
			t.Errorf("%s: %v, %v; want %q", issuer, got, err, want)
		}
	}
	g := &graph{provider: newProvider(t)}
	maps.Copy(g.claims, overflowing())
	groups, logged, _ := g.signInAtEntra(t, func(c *Config) { c.Quirks = preset(t, "entra").Quirks })
	if groups != "" || len(g.seen) > 0 || strings.Count(logged, "finding=groups_overage") != 1 {
		t.Errorf("of a cloud that is not known: groups %s after %d questions; logged %s", groups, len(g.seen), logged)
	}
}

// TestGroupsOfAnOverageAtRefresh: they are as fresh as an ID token's would be, and gone
// when that cannot be told.
func TestGroupsOfAnOverageAtRefresh(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name    string
		refresh []object // what each refresh has beside the usual claims; nil: it has no ID token
		fails   int      // the question to Graph that fails
		groups  string
		asked   int
	}{
		{"without an ID token they stay", []object{nil}, 0, `["g1"]`, 1},
		{"too many again", []object{overflowing()}, 0, `["g2"]`, 2},
		{"too many again, and Graph is down", []object{overflowing()}, 2, `[]`, 2},
		{"Graph is there again", []object{overflowing(), overflowing()}, 2, `["g3"]`, 3},
		{"few enough", []object{{"groups": []string{"t"}}}, 0, `["t"]`, 1},
		{"taken away", []object{{}}, 0, `[]`, 1},
		{"taken away later", []object{overflowing(), {}}, 0, `[]`, 2},
		{"taken away after an answer without ID token", []object{nil, {}}, 0, `[]`, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			g := &graph{provider: newProvider(t)}
			g.page = func(w http.ResponseWriter, _ *http.Request, number int) {
				if number == row.fails {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				groupList(w, "", fmt.Sprint("g", number))
			}
			base := maps.Clone(g.claims)
			maps.Copy(g.claims, overflowing())
			c := g.client(func(c *Config) { c.Transport, c.Quirks = g, ofCloud(preset(t, "entra").Quirks) })
			grant := g.mustSignIn(c)
			base["nonce"] = g.claims["nonce"]
			for _, more := range row.refresh {
				delete(g.token, "id_token")
				if g.claims = with(base, more); more == nil {
					g.token["id_token"] = nil
				}
				var err error
				if grant, err = c.Refresh(t.Context(), grant); err != nil {
					t.Fatal(err)
				}
			}
			if got := string(grant.Identity.Claims["groups"]); got != row.groups || len(g.seen) != row.asked {
				t.Errorf("groups %s after %d questions, want %s after %d", got, len(g.seen), row.groups, row.asked)
			}
			if _, there := grant.Identity.Claims["_claim_names"]; there {
				t.Error("the refreshed identity names where claims are")
			}
		})
	}
}

// Where the operator takes groups from another claim, group ids of Graph must not land
// in it.
func TestGroupsOfAnOverageGoToNoOtherClaim(t *testing.T) {
	t.Parallel()
	g := &graph{provider: newProvider(t), page: func(w http.ResponseWriter, _ *http.Request, _ int) { groupList(w, "", "g") }}
	maps.Copy(g.claims, overflowing())
	g.claims["roles"] = []string{"Reader"}
	groups, _, id := g.signInAtEntra(t, func(c *Config) { c.Claims = map[string]string{"groups": "roles"} })
	if groups != `["Reader"]` || string(id.Claims["roles"]) != `["Reader"]` || len(g.seen) != 0 {
		t.Errorf("groups %s, roles %s, %d requests", groups, id.Claims["roles"], len(g.seen))
	}
}
