package devidp

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

const wellKnown = "/.well-known/openid-configuration"

// answer sends text as it is.
func answer(status int, contentType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// refuse sends an OAuth error.
func refuse(status int, code string) http.HandlerFunc {
	return answer(status, "application/json", `{"error":"`+code+`","error_description":"a fault on demand"}`)
}

// slow keeps the client waiting until it hangs up.
func slow(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func huge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"padding":"`)
	chunk := strings.Repeat("x", 64<<10)
	for range 256 { // 16 MiB
		if _, err := io.WriteString(w, chunk); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, `"}`)
}

// outages are what can happen to every endpoint that answers with JSON.
func outages(prefix, path string) []Fault {
	return []Fault{
		{Name: prefix + "-500", At: path, Answer: answer(http.StatusInternalServerError, "text/plain", "broken on demand")},
		{Name: prefix + "-503", At: path, Answer: answer(http.StatusServiceUnavailable, "text/plain", "broken on demand")},
		{Name: prefix + "-html", At: path, Answer: answer(http.StatusOK, "text/html", "<!doctype html><title>Portal</title><p>Sign in to the network")},
		{Name: prefix + "-huge", At: path, Answer: huge},
		{Name: prefix + "-slow", At: path, Answer: slow},
		{Name: prefix + "-redirect", At: path, Answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		}},
		{Name: prefix + "-lost", At: path, Body: func(map[string]any) { panic(http.ErrAbortHandler) }},
	}
}

func bodySet(name, at, member string, value any) Fault {
	return Fault{Name: name, At: at, Body: func(b map[string]any) { b[member] = value }}
}

func bodyWithout(name, at, member string) Fault {
	return Fault{Name: name, At: at, Body: func(b map[string]any) { delete(b, member) }}
}

func tokenFaults() []Fault {
	const at = "/token"
	return append(outages("token", at),
		Fault{Name: "token-empty", At: at, Answer: answer(http.StatusOK, "application/json", "")},
		Fault{Name: "token-array", At: at, Answer: answer(http.StatusOK, "application/json", "[]")},
		Fault{Name: "token-null", At: at, Answer: answer(http.StatusOK, "application/json", "null")},
		Fault{Name: "token-429", At: at, Answer: answer(http.StatusTooManyRequests, "text/plain", "too many")},
		Fault{Name: "token-invalid-grant", At: at, Answer: refuse(http.StatusBadRequest, "invalid_grant")},
		Fault{Name: "token-invalid-client", At: at, Answer: refuse(http.StatusUnauthorized, "invalid_client")},
		Fault{Name: "token-unauthorized-client", At: at, Answer: refuse(http.StatusBadRequest, "unauthorized_client")},
		Fault{Name: "token-error-200", At: at, Answer: refuse(http.StatusOK, "invalid_grant")},
		Fault{Name: "token-truncated", At: at, Answer: answer(http.StatusOK, "application/json", `{"access_token":"x","token_ty`)},
		bodyWithout("token-no-id-token", at, "id_token"),
		bodyWithout("token-no-access-token", at, "access_token"),
		bodyWithout("token-no-refresh-token", at, "refresh_token"),
		bodyWithout("token-no-expires-in", at, "expires_in"),
		bodySet("token-string-expires-in", at, "expires_in", "3600"),
		bodySet("token-negative-expires-in", at, "expires_in", -1),
		bodySet("token-zero-expires-in", at, "expires_in", 0),
		bodySet("token-huge-expires-in", at, "expires_in", int64(1e12)),
		bodySet("token-number-access-token", at, "access_token", 42),
		bodySet("token-number-id-token", at, "id_token", 42),
		bodySet("token-empty-id-token", at, "id_token", ""),
		bodyWithout("token-no-type", at, "token_type"),
		bodySet("token-dpop-type", at, "token_type", "DPoP"),
		bodySet("token-wrong-type", at, "token_type", "mac"),
		bodySet("token-odd-case-type", at, "token_type", "bEaReR"),
		bodySet("token-narrow-scope", at, "scope", "openid"),
		bodySet("token-extra", at, "foo", map[string]any{"bar": []any{1, nil}}),
		Fault{Name: "token-text", At: at, Header: func(h http.Header) { h.Set("Content-Type", "text/plain") }},
		replayed())
}

// replayed gives the answer of the first sign-in to every later one, once more.
func replayed() Fault {
	var mu sync.Mutex
	var first map[string]any
	return Fault{Name: "token-replay", At: "/token", Grant: "authorization_code", Body: func(b map[string]any) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = maps.Clone(b)
		}
		clear(b)
		maps.Copy(b, first)
	}}
}

func metadataFaults() []Fault {
	const at = wellKnown
	return append(outages("discovery", at),
		Fault{Name: "discovery-truncated", At: at, Answer: answer(http.StatusOK, "application/json", `{"issuer":"http`)},
		Fault{Name: "discovery-array", At: at, Answer: answer(http.StatusOK, "application/json", "[]")},
		suffixed("discovery-issuer-slash", "issuer", "/"), suffixed("discovery-issuer-suffix", "issuer", "INVALID"),
		suffixed("discovery-authorize-query", "authorization_endpoint", "?tenant=x"), // which is allowed
		bodyWithout("discovery-no-issuer", at, "issuer"),
		bodySet("discovery-number-endpoint", at, "token_endpoint", 42),
		bodySet("discovery-http-authorize", at, "authorization_endpoint", "http://provider.example/authorize"),
		bodySet("discovery-http-jwks", at, "jwks_uri", "http://provider.example/jwks"),
		bodySet("discovery-http-userinfo", at, "userinfo_endpoint", "http://provider.example/userinfo"),
		bodySet("discovery-weak-algs", at, "id_token_signing_alg_values_supported", []string{"none", "HS256", "RS256"}),
		bodySet("discovery-extra", at, "foo", map[string]any{"bar": []any{1, nil}}),
		bodyWithout("discovery-no-pkce", at, "code_challenge_methods_supported"),
		bodyWithout("discovery-no-iss", at, "authorization_response_iss_parameter_supported"),
		Fault{Name: "discovery-minimal", At: at, Body: func(b map[string]any) {
			required := []string{"issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"}
			maps.DeleteFunc(b, func(member string, _ any) bool { return !slices.Contains(required, member) })
		}},
		bodySet("discovery-wrong-issuer", at, "issuer", "https://another-provider.example"),
		bodySet("discovery-http-endpoint", at, "token_endpoint", "http://provider.example/token"),
		bodySet("discovery-plain-pkce", at, "code_challenge_methods_supported", []string{"plain"}),
		bodyWithout("discovery-no-authorize", at, "authorization_endpoint"),
		bodyWithout("discovery-no-token", at, "token_endpoint"),
		bodyWithout("discovery-no-jwks", at, "jwks_uri"),
		bodyWithout("discovery-no-userinfo", at, "userinfo_endpoint"),
		bodyWithout("discovery-no-logout", at, "end_session_endpoint"),
		bodyWithout("discovery-no-revocation", at, "revocation_endpoint"))
}

// suffixed adds to a member of the metadata that is a string.
func suffixed(name, member, suffix string) Fault {
	return Fault{Name: name, At: wellKnown, Body: func(b map[string]any) { b[member] = b[member].(string) + suffix }}
}
