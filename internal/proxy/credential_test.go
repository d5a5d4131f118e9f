package proxy_test

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"genkan/internal/keys"
	"genkan/internal/rp"
)

// proof is a DPoP proof as a resource server reads it (RFC 9449 4.3).
type proof struct {
	HTM, HTU, JTI, ATH, Nonce string
	IAT                       int64
	thumb, typ                string
}

func readProof(t *testing.T, header http.Header) (p proof) {
	t.Helper()
	jws, err := jose.ParseSignedCompact(header.Get("DPoP"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatalf("the proof %q: %v", header.Get("DPoP"), err)
	}
	key := jws.Signatures[0].Protected.JSONWebKey
	payload, err := jws.Verify(key)
	if err != nil || json.Unmarshal(payload, &p) != nil || !key.IsPublic() {
		t.Fatalf("the proof %s: %v", payload, err)
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	p.thumb = base64.RawURLEncoding.EncodeToString(sum)
	p.typ, _ = jws.Signatures[0].Protected.ExtraHeaders["typ"].(string)
	return p
}

// bound is a grant whose access token is bound to a key.
func bound(t *testing.T, b *bench, access string) (rp.Grant, *keys.Signer) {
	t.Helper()
	key := keys.NewSigner()
	private, err := key.Private()
	if err != nil {
		t.Fatal(err)
	}
	g := grant(b.clock().Add(time.Hour), access, "rt-1")
	g.Tokens.Key = private
	return g, key
}

func TestABoundTokenGoesWithAProofOfEachCall(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newUpstream(t, nil)
	g, key := bound(t, b, "at-bound")
	b.cookie = b.signIn(t, g)
	front := b.front(t, up.route("/api/"))
	seen := map[string]bool{}
	for _, method := range []string{"GET", "POST"} {
		r := b.call(t, method, front.URL+"/api/orders/a%20b?x=1", nil)
		r.Header.Set("DPoP", "theirs")
		if res := send(t, r); res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, res.text)
		}
	}
	for i, s := range up.seen() {
		p := readProof(t, s.header)
		sum := sha256.Sum256([]byte("at-bound"))
		if s.header.Get("Authorization") != "DPoP at-bound" || len(s.header.Values("DPoP")) != 1 {
			t.Errorf("headers %v", s.header)
		}
		if p.HTM != []string{"GET", "POST"}[i] || p.HTU != up.URL+"/orders/a%20b" || p.typ != "dpop+jwt" || p.IAT != b.clock().Unix() ||
			p.ATH != base64.RawURLEncoding.EncodeToString(sum[:]) || p.thumb != key.Thumbprint() || p.Nonce != "" {
			t.Errorf("proof %+v", p)
		}
		if p.JTI == "" || seen[p.JTI] {
			t.Error("a jti was used twice, or is empty")
		}
		seen[p.JTI] = true
	}
	if text := b.log.String(); strings.Contains(text, "at-bound") || strings.Contains(text, g.Tokens.Key.Reveal()) {
		t.Error("the log holds a token or its key")
	}
}

// nonceDemander takes a call only with its newest nonce, which changes with every answer.
type nonceDemander struct {
	mu    sync.Mutex
	count int
	never bool // no nonce is ever good
}

func (d *nonceDemander) serve(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		wanted := "nonce-" + strconv.Itoa(d.count)
		d.count++
		w.Header().Set("DPoP-Nonce", "nonce-"+strconv.Itoa(d.count))
		if p := readProof(t, r.Header); d.never || p.Nonce != wanted {
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce", error_description="a nonce, please"`)
			w.WriteHeader(401)
			return
		}
		_, _ = io.WriteString(w, "ok")
	}
}

func TestANonceThatIsDemandedIsSentOnce(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("l", 64<<10+1)
	tests := []struct {
		name   string
		never  bool
		bodies []string // one call after the other
		status []int
		calls  int // at the upstream
	}{
		{"learnt with the first call, sent with the next", false, []string{"", "", ""}, []int{200, 200, 200}, 4},
		{"a small body is sent again", false, []string{"small"}, []int{200}, 2},
		{"a streamed one is not, but the next call knows", false, []string{large, large}, []int{503, 200}, 2},
		{"endless demands", true, []string{""}, []int{401}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			up := newUpstream(t, (&nonceDemander{never: tt.never}).serve(t))
			g, _ := bound(t, b, "at-bound")
			b.cookie = b.signIn(t, g)
			front := b.front(t, up.route("/api/"))
			var got []int
			for _, body := range tt.bodies {
				res := send(t, b.call(t, "POST", front.URL+"/api/x", strings.NewReader(body)))
				got = append(got, res.StatusCode)
				if res.Header.Get("DPoP-Nonce") != "" {
					t.Error("a nonce reached the browser")
				}
				if code, _ := res.problem(); res.StatusCode == 503 && (code != "upstream_nonce" || res.Header.Get("Retry-After") == "" || len(res.Cookies()) > 0) {
					t.Errorf("the 503 is %q with %v", res.text, res.Header)
				}
			}
			if !slices.Equal(got, tt.status) || len(up.seen()) != tt.calls {
				t.Errorf("answers %v after %d calls, want %v after %d", got, len(up.seen()), tt.status, tt.calls)
			}
			if b.provider.count() != 0 {
				t.Error("a nonce cost a token request")
			}
		})
	}
}

func TestEachUpstreamHasItsOwnNonce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	one, two := newUpstream(t, (&nonceDemander{}).serve(t)), newUpstream(t, nil)
	g, _ := bound(t, b, "at-bound")
	b.cookie = b.signIn(t, g)
	front := b.front(t, one.route("/one/"), two.route("/two/"))
	for _, path := range []string{"/one/x", "/two/x"} {
		if res := send(t, b.call(t, "GET", front.URL+path, nil)); res.StatusCode != 200 {
			t.Fatalf("%s: %d", path, res.StatusCode)
		}
	}
	if p := readProof(t, two.only(t).header); p.Nonce != "" {
		t.Errorf("the second got the first one's nonce %q", p.Nonce)
	}
}

func TestARefusedBoundTokenIsRenewedWithItsKey(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "DPoP at-2" {
			return
		}
		w.Header().Set("WWW-Authenticate", `DPoP error="invalid_token"`)
		w.WriteHeader(401)
	})
	g, key := bound(t, b, "at-1")
	b.cookie = b.signIn(t, g)
	b.provider.renewing(func(prev rp.Grant) (rp.Grant, error) {
		next := grant(b.clock().Add(time.Hour), "at-2", "rt-2")
		next.Tokens.Key = prev.Tokens.Key
		return next, nil
	})
	if res := send(t, b.call(t, "GET", b.front(t, up.route("/api/")).URL+"/api/x", nil)); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, res.text)
	}
	if last := up.seen()[1]; readProof(t, last.header).thumb != key.Thumbprint() {
		t.Error("the new token went with another key")
	}
}

func TestARouteWithoutATokenGetsNoProof(t *testing.T) {
	t.Parallel()
	b, up := newBench(t), newUpstream(t, nil)
	g, _ := bound(t, b, "at-bound")
	b.cookie = b.signIn(t, g)
	r := b.call(t, "GET", b.front(t, up.route("/api/", token("none"))).URL+"/api/x", nil)
	r.Header.Set("DPoP", "theirs")
	if res := send(t, r); res.StatusCode != 200 {
		t.Fatalf("%d", res.StatusCode)
	}
	if h := up.only(t).header; h.Get("DPoP") != "" || h.Get("Authorization") != "" {
		t.Errorf("headers %v", h)
	}
}
