package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/proxy"
)

func TestWhatABrowserSaysAboutTheUserIsCut(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Cookie", "Authorization", "Proxy-Authorization", "X-CSRF", "Forwarded", "X-Forwarded-User", "X-Forwarded-Prefix", "X-Forwarded-Uri",
		"X-Original-URL", "X-Original-Method", "X-Rewrite-URL", "X-User", "X-User-Id", "X-Username", "X-Email", "X-Auth-Request-User",
		"X-Auth-Request-Groups", "Remote-User", "X-Remote-User", "X-Remote-Groups", "X-SSL-Client-Cert", "X-Client-Cert", "X-Client-Cert-Dn",
		"X-Real-Ip", "X_User", "X_forwarded_For", "REMOTE_USER", "X.User", "X-Team", "X_Team", "x-team", "X-Request-Id",
		"X-Http-Method-Override", "X-Method-Override", "Proxy",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, up := newBench(t), newUpstream(t, nil)
			limited := func(r *proxy.Route) { r.Methods = []string{"GET"} }
			other := up.route("/other/", func(r *proxy.Route) { r.Headers = map[string]string{"X-Team": "team"} })
			front := b.front(t, up.route("/api/", limited), other, up.route("/public/", auth(proxy.AuthNone), token(proxy.TokenNone), limited))
			for _, path := range []string{"/api/x", "/public/x"} {
				r := b.call(t, "GET", front.URL+path, nil)
				r.Header[name] = append(r.Header[name], "spoofed")
				if res := send(t, r); res.StatusCode != 200 {
					t.Fatalf("%d %s", res.StatusCode, res.text)
				}
			}
			for _, got := range up.seen() {
				for k, v := range got.header {
					if strings.Contains(strings.Join(v, " "), "spoofed") {
						t.Errorf("%s: %s: %q arrived", got.uri, k, v)
					}
				}
			}
			if len(up.seen()) != 2 {
				t.Errorf("%d calls", len(up.seen()))
			}
		})
	}
}

func TestWhatAServiceGets(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newUpstream(t, nil)
	route := up.route("/api/", func(r *proxy.Route) {
		r.Headers = map[string]string{
			"X-User": "sub", "X-Email": "email", "X-Groups": "groups", "X-Verified": "email_verified", "X-Level": "level", "X-Issuer": "iss",
			"X-Name": "name", "X-Evil": "evil", "X-Tricky": "tricky", "X-Padded": "padded", "X-Nested": "nested", "X-Empty": "empty",
			"X-Nothing": "nothing", "X-Absent": "absent", "X-Mixed": "mixed",
		}
	})
	front := b.front(t, route)
	var id string
	for range 2 {
		r := b.call(t, "GET", front.URL+"/api/x", nil)
		for k, v := range map[string]string{
			"X-User": "mallory", "X-Absent": "spoofed", "Authorization": "Bearer theirs", "Accept": "application/json", "If-None-Match": `"e1"`, "Accept-Encoding": "br",
			"Te": "trailers", "Connection": "X-Forwarded-For, Accept", "X-User-Agent": "grpc-web", "Traceparent": "00-a-b-01", "User-Agent": "UA",
		} {
			r.Header.Set(k, v)
		}
		id = send(t, r).Header.Get("X-Request-Id")
	}
	want := http.Header{
		"Authorization": {"Bearer at-1"}, "X-Request-Id": {id},
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"localhost:8000"}, "X-Forwarded-Proto": {"http"},
		"X-User": {"alice"}, "X-Email": {"alice@example.com"}, "X-Groups": {"staff,ops"}, "X-Verified": {"true"},
		"X-Level": {"12345678901234567890"}, "X-Issuer": {"https://idp.example"},
		"If-None-Match": {`"e1"`}, "Accept-Encoding": {"br"}, "Te": {"trailers"}, "User-Agent": {"UA"}, "Origin": {"http://localhost:5173"},
		"Sec-Fetch-Mode": {"cors"}, "X-User-Agent": {"grpc-web"}, "Traceparent": {"00-a-b-01"},
	}
	list := up.seen()
	if diff := cmp.Diff(want, list[len(list)-1].header); diff != "" {
		t.Error(diff)
	}
	for name, times := range map[string]int{"X-Name": 1, "X-Evil": 1, "X-Tricky": 1, "X-Padded": 1, "X-Nested": 1, "X-Mixed": 1, "X-Empty": 0, "X-Absent": 0, "X-User": 0} {
		if n := b.log.count(`"header":"` + name + `"`); n != times {
			t.Errorf("%s: logged %d times, want %d", name, n, times)
		}
	}
}

func TestWithoutRelayThereIsNoToken(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newUpstream(t, nil)
	route := up.route("/api/", token(proxy.TokenNone), func(r *proxy.Route) { r.Headers = map[string]string{"X-Sub": "sub"} })
	send(t, b.call(t, "GET", b.front(t, route).URL+"/api/x", nil))
	if got := up.only(t).header; got.Get("Authorization") != "" || got.Get("X-Sub") != "alice" {
		t.Errorf("%v", got)
	}
}

const sandbox = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"

func TestWhatABrowserGets(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		auth     proxy.Auth
		navigate bool
		answer   http.Header
		want     map[string]string // "" means absent; several values are joined by |
	}{
		{"orders to the browser's origin are cut", proxy.AuthRequired, false, http.Header{
			"Set-Cookie": {"bff-8000=forged", "a=b"}, "Access-Control-Allow-Origin": {"*"}, "Access-Control-Allow-Credentials": {"true"},
			"Strict-Transport-Security": {"max-age=1"}, "Clear-Site-Data": {`"cookies"`}, "Alt-Svc": {`h3="evil:443"`}, "Service-Worker-Allowed": {"/"},
			"X-Accel-Redirect": {"/etc"}, "Server": {"Apache/1.3"}, "X-Powered-By": {"PHP"}, "X-Request-Id": {"theirs"}, "Keep-Alive": {"timeout=5"},
			"Proxy-Authenticate": {"Basic"}, "X-Custom": {"kept"}, "Etag": {`"e1"`}, "Link": {"</2>; rel=next"},
		}, map[string]string{
			"Set-Cookie": "", "Access-Control-Allow-Origin": "http://localhost:5173", "Access-Control-Allow-Credentials": "",
			"Strict-Transport-Security": "", "Clear-Site-Data": "", "Alt-Svc": "", "Service-Worker-Allowed": "", "X-Accel-Redirect": "", "Server": "", "X-Powered-By": "",
			"Keep-Alive": "", "Proxy-Authenticate": "", "X-Custom": "kept", "Etag": `"e1"`, "Link": "</2>; rel=next",
		}},
		{"HTML cannot run", proxy.AuthRequired, false, http.Header{
			"Content-Type": {"text/html"}, "Content-Security-Policy": {"script-src *"}, "Content-Security-Policy-Report-Only": {"default-src *"}, "X-Content-Type-Options": {"sniff"}, "Referrer-Policy": {"unsafe-url"},
		}, map[string]string{
			"Content-Type": "text/html", "Content-Security-Policy": sandbox, "Content-Security-Policy-Report-Only": "", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
		}},
		{"a page of a navigate route has its own policy", proxy.AuthRequired, true, http.Header{
			"Content-Security-Policy": {"script-src 'self'"}, "Referrer-Policy": {"no-referrer"}, "X-Content-Type-Options": {"sniff"}, "Set-Cookie": {"a=b"},
		}, map[string]string{"Content-Security-Policy": "script-src 'self'", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Set-Cookie": ""}},
		{"or at least is not framed", proxy.AuthRequired, true, http.Header{}, map[string]string{"Content-Security-Policy": "frame-ancestors 'self'", "Referrer-Policy": "same-origin"}},
		{"no type is never guessed", proxy.AuthRequired, false, http.Header{"Content-Type": nil}, map[string]string{"Content-Type": "application/octet-stream"}},
		{"nothing said about caches", proxy.AuthRequired, false, http.Header{}, map[string]string{"Cache-Control": "no-store"}},
		{"nothing said, public route", proxy.AuthNone, false, http.Header{}, map[string]string{"Cache-Control": "no-store"}},
		{"cacheable answers become private", proxy.AuthRequired, false, http.Header{"Cache-Control": {"max-age=60"}}, map[string]string{"Cache-Control": "max-age=60|private", "Vary": "Origin|Cookie"}},
		{"optional ones too", proxy.AuthOptional, false, http.Header{"Cache-Control": {"max-age=60"}}, map[string]string{"Cache-Control": "max-age=60|private"}},
		{"explicitly public stays", proxy.AuthRequired, false, http.Header{"Cache-Control": {"Public, max-age=60"}}, map[string]string{"Cache-Control": "Public, max-age=60", "Vary": "Origin|Cookie"}},
		{"a public route stays cacheable", proxy.AuthNone, false, http.Header{"Cache-Control": {"max-age=60"}, "Vary": {"Accept"}}, map[string]string{"Cache-Control": "max-age=60", "Vary": "Origin|Accept"}},
		{"a password prompt is cut", proxy.AuthRequired, false, http.Header{"Www-Authenticate": {`Basic realm="x"`, `Bearer realm="y"`}}, map[string]string{"Www-Authenticate": `Bearer realm="y"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range tt.answer {
					w.Header()[k] = v
				}
				_, _ = io.WriteString(w, "<script>alert(1)</script>")
			})
			route := up.route("/api/", auth(tt.auth), func(r *proxy.Route) { r.Navigate = tt.navigate })
			res := send(t, b.call(t, "GET", b.front(t, route).URL+"/api/x", nil))
			if res.StatusCode != 200 || res.text != "<script>alert(1)</script>" || len(res.Header["X-Request-Id"]) != 1 || res.Header.Get("X-Request-Id") == "theirs" {
				t.Errorf("%d %q %v", res.StatusCode, res.text, res.Header)
			}
			for name, want := range tt.want {
				if got := strings.Join(res.Header[name], "|"); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestInformationalAnswersTakeNothingAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "early=1")
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Set-Cookie")
		_, _ = io.WriteString(w, "ok")
	})
	res := send(t, b.call(t, "GET", b.front(t, up.route("/api/")).URL+"/api/x", nil))
	if res.StatusCode != 200 || res.text != "ok" || res.Header.Get("X-Request-Id") == "" || res.Header.Get("Access-Control-Allow-Origin") == "" ||
		len(res.Cookies()) != 0 {
		t.Errorf("%d %v %v", res.StatusCode, res.Header, res.Trailer)
	}
}
