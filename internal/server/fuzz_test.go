package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzCookies: whatever a browser, a neighbour or an attacker puts into the Cookie
// header, nobody is signed in by it, and nothing breaks.
func FuzzCookies(f *testing.F) {
	s, b := newSystem(f, nil), newBrowser(f)
	s.login(b, "/")
	ended := b.cookies("localhost")["bff-"+s.port].Value
	logoutURL, _ := s.session(f, b)["logout_url"].(string)
	b.open(logoutURL, s.app+"/")
	callback := b.parse(s.answered(f, b, ""))
	callback.RawQuery = url.Values{"code": {"x"}, "state": {callback.Query().Get("state")}}.Encode() // a cookie that fits is no finding
	name := "bff-" + s.port
	f.Add("")
	f.Add(name + "=" + ended)
	f.Add(name + "=" + ended + "; " + name + "=junk; " + name)
	f.Add(strings.ToUpper(name) + "=" + ended)
	f.Add(name + `="` + ended + `"; $Version=1; ` + name + "-tx-=x; " + name + "-tx-00=" + ended)
	f.Add(strings.Repeat(name+"-tx-aa="+ended+"; ", 50))
	f.Add("=; ;;,\x00\xff" + name + "=\r\n")
	for tx, c := range b.cookies("localhost") {
		f.Add(tx + "=" + c.Value[:len(c.Value)-1] + "; " + name + "=" + c.Value)
	}
	calls := []struct {
		method, target string
		headers        []string
	}{
		{http.MethodGet, s.url + "/bff/session", fetchSame},
		{http.MethodGet, s.url + "/bff/user", fetchSame},
		{http.MethodPost, s.url + "/bff/refresh", []string{"X-CSRF: 1", "Origin: " + s.app}},
		{http.MethodPost, s.url + "/bff/logout", []string{"X-CSRF: 1", "Origin: " + s.app}},
		{http.MethodGet, s.url + "/bff/sessions", fetchSame},
		{http.MethodDelete, s.url + "/bff/sessions?others=true", []string{"X-CSRF: 1", "Origin: " + s.app}},
		{http.MethodGet, s.url + "/bff/events", fetchSame},
		{http.MethodGet, s.url + "/bff/logout", navigate},
		{http.MethodGet, s.url + "/bff/login", navigate},
		{http.MethodGet, callback.String(), navigate},
	}
	f.Fuzz(func(t *testing.T, header string) {
		s.log.Reset()
		for _, call := range calls {
			r := httptest.NewRequest(call.method, call.target, nil)
			r.Header["Cookie"] = []string{header}
			s.wantNobody(t, s.send(r, call.headers...))
		}
	})
}

// FuzzCallback: whatever comes to the callback without a state that this browser began
// signs nobody in, redeems nothing and leads nowhere else.
func FuzzCallback(f *testing.F) {
	s, b := newSystem(f, nil), newBrowser(f)
	used := s.answered(f, b, "returnUrl=%2Fprofile")
	b.open(used, s.issuer+"/")
	redeemed := s.idp.Stats().Token["authorization_code"]
	b.forget("localhost")
	s.answered(f, b, "") // a sign-in is under way, but its state is not known to the fuzzer
	query := b.parse(used).RawQuery
	state := b.parse(used).Query().Get("state")
	f.Add(query)
	f.Add("resume=" + url.QueryEscape(state))
	f.Add("resume=" + url.QueryEscape(state) + "&" + query)
	f.Add(query + "&" + query)
	f.Add("error=access_denied&error_description=%3Cscript%3E&state=" + url.QueryEscape(state))
	f.Add("code=x&state=" + url.QueryEscape(state[:len(state)-1]))
	f.Add("code=&state=.&iss=" + url.QueryEscape(s.issuer))
	f.Add("%zz&;=&state=%00%0d%0aSet-Cookie:a=b")
	f.Fuzz(func(t *testing.T, query string) {
		s.log.Reset()
		get := httptest.NewRequest(http.MethodGet, s.url+"/bff/callback", nil)
		get.URL.RawQuery = query
		post := httptest.NewRequest(http.MethodPost, s.url+"/bff/callback", strings.NewReader(query))
		post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		post.Header.Set("Origin", s.issuer)
		for _, r := range []*http.Request{get, post} {
			b.attach(r, false, false)
			s.wantNobody(t, s.send(r, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: cross-site"))
		}
		if got := s.idp.Stats().Token["authorization_code"]; got != redeemed {
			t.Fatalf("a code was redeemed for %q", query)
		}
	})
}

// wantNobody checks that an answer signs nobody in, shows nobody, is no fault of ours
// and leads nowhere but to our own addresses.
func (s *system) wantNobody(t *testing.T, r *http.Response) {
	t.Helper()
	body := bodyOf(t, r)
	if r.StatusCode >= 500 || strings.Contains(body, `"authenticated":true`) || strings.Contains(body, "alice") {
		t.Errorf("%d %.300s", r.StatusCode, body)
	}
	for _, c := range r.Cookies() {
		if c.MaxAge >= 0 && !strings.HasPrefix(c.Name, "bff-"+s.port+"-tx-") {
			t.Errorf("a session cookie was set: %s", c)
		}
	}
	location, err := r.Location()
	if err == http.ErrNoLocation {
		return
	}
	if err != nil || location.Host != "" && "http://"+location.Host != s.url && "http://"+location.Host != s.app && "http://"+location.Host != s.issuer {
		t.Errorf("it leads to %v %v", location, err)
	}
}
