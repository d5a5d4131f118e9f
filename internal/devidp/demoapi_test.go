package devidp_test

import (
	"crypto"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/devidp"
)

func (w *world) api(t *testing.T) *httptest.Server {
	t.Helper()
	api := httptest.NewServer(devidp.NewDemoAPI(devidp.DemoAPIConfig{Issuer: w.issuer, Now: w.clock.Now, Pause: time.Millisecond}))
	t.Cleanup(api.Close)
	return api
}

func call(t *testing.T, method, address string, token any, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := token.(string); ok {
		r.Header.Set("Authorization", "Bearer "+text)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response, string(data)}
}

func TestDemoAPI(t *testing.T) {
	t.Parallel()
	w := quick(t)
	api, token := w.api(t), w.tokens()["access_token"]
	w.clock.advance(time.Minute)
	for _, row := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"hello", "GET", "/hello", "", 200, `"sub":"dev-user-alice-7f3a"`},
		{"time left", "GET", "/hello", "", 200, `"token_expires_in":240`},
		{"names of headers", "GET", "/hello", "", 200, `"request_headers":["Accept-Encoding","Authorization","User-Agent"]`},
		{"items", "GET", "/items", "", 200, `"lantern"`},
		{"echo", "POST", "/items", `{"a":[1,null]}`, 201, `{"a":[1,null]}`},
		{"no JSON", "POST", "/items", `{"a`, 400, "error"},
		{"too long", "POST", "/items", `"` + strings.Repeat("x", 2<<20) + `"`, 400, "error"},
		{"slow", "GET", "/slow?ms=1", "", 200, `"waited_ms":1`},
		{"slow for ever", "GET", "/slow?ms=99999999", "", 400, "error"},
		{"no such thing", "GET", "/else", "", 404, ""},
	} {
		got := call(t, row.method, api.URL+row.path, token, row.body)
		if got.StatusCode != row.status || !strings.Contains(got.body, row.want) {
			t.Errorf("%s: HTTP %d: %s", row.name, got.StatusCode, got.body)
		}
		if strings.Contains(got.body, token.(string)) {
			t.Errorf("%s: shows the token", row.name)
		}
	}
	stream := call(t, "GET", api.URL+"/stream", token, "")
	want := "id: 1\nevent: tick\ndata: {\"n\":1}\n\nid: 2\nevent: tick\ndata: {\"n\":2}\n\nid: 3\nevent: tick\ndata: {\"n\":3}\n\n"
	if stream.Header.Get("Content-Type") != "text/event-stream" || stream.body != want {
		t.Errorf("stream: %s", cmp.Diff(want, stream.body))
	}
}

func TestDemoAPIRefuses(t *testing.T) {
	t.Parallel()
	claim := func(name string, value any) func(*devidp.JWT) {
		return func(token *devidp.JWT) { token.Claims[name] = value }
	}
	for _, row := range []struct {
		name   string
		change func(*devidp.JWT)
		want   string // of WWW-Authenticate
	}{
		{"other audience", claim("aud", "http://127.0.0.1:9200"), "another audience"},
		{"no audience", claim("aud", nil), "another audience"},
		{"other issuer", claim("iss", "http://127.0.0.1:1"), "another issuer"},
		{"expired", claim("exp", 1795251600), "expired"},
		{"no expiry", claim("exp", nil), "expired"},
		{"no subject", claim("sub", ""), "no subject"},
		{"alg none", func(j *devidp.JWT) {
			j.Header["alg"] = "none"
			j.Sign = func(crypto.Signer, []byte) ([]byte, error) { return nil, nil }
		}, "known algorithm"},
		{"alg HS256", func(j *devidp.JWT) { j.Header["alg"] = "HS256" }, "known algorithm"},
		{"a signature of zeros", func(j *devidp.JWT) {
			j.Sign = func(crypto.Signer, []byte) ([]byte, error) { return make([]byte, 256), nil }
		}, "signature is wrong"},
		{"no signature", func(j *devidp.JWT) {
			j.Sign = func(crypto.Signer, []byte) ([]byte, error) { return nil, nil }
		}, "signature is wrong"},
		{"another key", func(j *devidp.JWT) {
			for _, key := range rsaKeys() {
				if !key.Equal(j.Key) {
					j.Key = key
					return
				}
			}
		}, "signature is wrong"},
		{"unknown kid", func(j *devidp.JWT) { j.Header["kid"] = "x" }, "key is unknown"},
		{"no kid", func(j *devidp.JWT) { delete(j.Header, "kid") }, "key is unknown"},
		{"ID token's typ", func(j *devidp.JWT) { j.Header["typ"] = "JWT" }, "not an access token"},
		{"no typ", func(j *devidp.JWT) { delete(j.Header, "typ") }, "not an access token"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := quick(t)
			w.idp.Inject(devidp.Fault{AccessToken: row.change})
			refused(t, call(t, "GET", w.api(t).URL+"/hello", w.tokens()["access_token"], ""), row.want)
		})
	}
}

func refused(t *testing.T, got answer, want string) {
	t.Helper()
	header := got.Header.Get("WWW-Authenticate")
	if got.StatusCode != http.StatusUnauthorized || !strings.Contains(header, `error="invalid_token"`) || !strings.Contains(header, want) {
		t.Errorf("HTTP %d, %s", got.StatusCode, header)
	}
}

func TestDemoAPIRefusesOtherTokens(t *testing.T) {
	t.Parallel()
	w := quick(t)
	body, api := w.tokens(), w.api(t)
	refused(t, call(t, "GET", api.URL+"/hello", body["id_token"], ""), "not an access token")
	refused(t, call(t, "GET", api.URL+"/hello", body["refresh_token"], ""), "not a JWT")
	if got := call(t, "GET", api.URL+"/hello", nil, ""); got.StatusCode != 401 || got.Header.Get("WWW-Authenticate") != `Bearer realm="devidp"` {
		t.Errorf("no token: HTTP %d, %s", got.StatusCode, got.Header.Get("WWW-Authenticate"))
	}
	w.clock.advance(5 * time.Minute)
	refused(t, call(t, "GET", api.URL+"/hello", body["access_token"], ""), "expired")
}

func TestDemoAPIFollowsTheKeys(t *testing.T) {
	t.Parallel()
	w := quick(t)
	api := w.api(t)
	w.inject("keys-junk")
	for range 3 {
		if got := call(t, "GET", api.URL+"/hello", w.tokens()["access_token"], ""); got.StatusCode != http.StatusOK {
			t.Errorf("HTTP %d: %s", got.StatusCode, got.body)
		}
		if err := w.idp.RollKey(); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.idp.Stats().Keys; n != 3 {
		t.Errorf("%d fetches for 3 keys", n)
	}
	w.idp.Inject(devidp.Fault{AccessToken: func(j *devidp.JWT) { j.Header["kid"] = "forged" }})
	forged := w.tokens()["access_token"]
	for range 40 {
		call(t, "GET", api.URL+"/hello", forged, "")
	}
	if n := w.idp.Stats().Keys; n != 20 {
		t.Errorf("%d fetches in a minute", n)
	}
}

func TestDemoAPIWithoutItsProvider(t *testing.T) {
	t.Parallel()
	w := quick(t)
	token := w.tokens()["access_token"]
	w.inject("discovery-500")
	refused(t, call(t, "GET", w.api(t).URL+"/hello", token, ""), "not JSON")
}
