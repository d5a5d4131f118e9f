package devidp

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// authRequest is a checked authentication request (OpenID Connect Core 3.1.2.1).
type authRequest struct {
	raw         string // as received, to be carried through our pages
	client      Client
	redirectURI string
	state       string
	formPost    bool
	nonce       string
	challenge   string // PKCE, always S256
	scopes      []string
	prompt      []string
	maxAge      time.Duration // -1: not asked for
	loginHint   string
	subject     string // of id_token_hint
	acr         string // of acr_values, the first that is known; may be empty
	access      time.Duration
	resources   []string // RFC 8707
	jkt         string   // of the DPoP key that the code is bound to; may be empty
	claims      claimsRequest
	pushed      *pushed
	extra       string // a parameter beside request_uri
}

// oauthError is an error that goes to the client.
type oauthError struct{ code, text string }

// unredirectable is an error that only the person at the browser may see, since the
// place to send it to is not trusted (RFC 6749 4.1.2.1).
type unredirectable struct {
	Title, Text string
	Received    string
	Registered  []string
	Flag        string // of cmd/devidp, that would register it
}

var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

const maxAccessLifetime = 24 * time.Hour

// parseRequest checks entry, which our pages carry along as the form carried. With an
// *oauthError the request names at least where to send it.
func (p *Provider) parseRequest(carried url.Values, entry *pushed, extra string) (*authRequest, *unredirectable, *oauthError) {
	form, refused := p.spoilRequest("/authorize", entry.form)
	client, wrong := p.requestClient(form)
	if wrong != nil {
		return nil, wrong, nil
	}
	q := &authRequest{
		raw: carried.Encode(), client: client, redirectURI: form.Get("redirect_uri"), state: form.Get("state"),
		formPost: form.Get("response_mode") == "form_post", nonce: form.Get("nonce"), challenge: form.Get("code_challenge"),
		scopes: strings.Fields(form.Get("scope")), prompt: strings.Fields(form.Get("prompt")), maxAge: -1,
		loginHint: form.Get("login_hint"), resources: form["resource"], jkt: cmp.Or(form.Get("dpop_jkt"), entry.jkt),
		pushed: entry, extra: extra,
	}
	for _, acr := range strings.Fields(form.Get("acr_values")) {
		if acr == acrPassword || acr == acrMulti {
			q.acr = acr
			break
		}
	}
	if refused != nil {
		return q, nil, refused
	}
	return q, nil, p.checkRequest(q, form)
}

func (p *Provider) requestClient(form url.Values) (Client, *unredirectable) {
	id := form.Get("client_id")
	client, known := p.client(id)
	if !known || len(form["client_id"]) != 1 {
		var ids []string
		for _, c := range p.cfg.Clients {
			ids = append(ids, c.ID)
		}
		return Client{}, &unredirectable{"Unknown client", "The application sent a client_id that is not registered here.", id, ids, "--client ID:SECRET"}
	}
	uri := form.Get("redirect_uri")
	if len(form["redirect_uri"]) != 1 || !slices.Contains(client.RedirectURIs, uri) {
		return Client{}, &unredirectable{
			"Redirect URI not registered", "The application sent a redirect_uri that is not registered for client " + id + ". The two are compared byte for byte: scheme, host (localhost is not 127.0.0.1), port, path, and a slash at the end.",
			uri, client.RedirectURIs, "--redirect-uri URI",
		}
	}
	return client, nil
}

// checkRequest is what can be said to the client. Everything is strict on purpose.
func (p *Provider) checkRequest(q *authRequest, form url.Values) *oauthError {
	if twice := repeated(form); twice != "" {
		return &oauthError{"invalid_request", "a parameter is sent twice: " + twice}
	}
	switch {
	case q.extra != "": // RFC 9126 4, RFC 9101 5
		return &oauthError{"invalid_request", "a parameter stands beside client_id and request_uri: " + q.extra}
	case !q.pushed.par && (p.cfg.RequirePAR || q.client.RequirePAR):
		return &oauthError{"invalid_request", "this client has to push its requests (RFC 9126)"}
	case form.Has("request") && form.Has("request_uri"):
		return &oauthError{"invalid_request", "request and request_uri exclude each other"}
	case form.Has("request"):
		return &oauthError{"request_not_supported", "request objects are not supported"}
	case form.Has("request_uri"):
		return &oauthError{"request_uri_not_supported", "request_uri is not supported, but for pushed requests"}
	case !q.pushed.object && q.client.RequireRequestObject:
		return &oauthError{"invalid_request", "this client has to send request objects (RFC 9101)"}
	case form.Get("response_type") != "code":
		return &oauthError{"unsupported_response_type", "response_type must be code"}
	case !slices.Contains([]string{"", "query", "form_post"}, form.Get("response_mode")):
		return &oauthError{"invalid_request", "response_mode must be query or form_post"}
	case !slices.Contains(q.scopes, "openid"):
		return &oauthError{"invalid_scope", "scope must hold openid"}
	case !subset(q.scopes, p.cfg.Scopes):
		return &oauthError{"invalid_scope", "scope must be of: " + strings.Join(p.cfg.Scopes, " ")}
	case form.Get("code_challenge_method") != "S256":
		return &oauthError{"invalid_request", "code_challenge_method must be S256 (PKCE is required)"}
	case !challengeForm.MatchString(q.challenge):
		return &oauthError{"invalid_request", "code_challenge must be a SHA-256 hash in base64url (RFC 7636 4.2)"}
	case !subset(q.prompt, []string{"none", "login", "consent", "select_account"}):
		return &oauthError{"invalid_request", "prompt holds an unknown value"}
	case slices.Contains(q.prompt, "none") && len(q.prompt) > 1:
		return &oauthError{"invalid_request", "prompt=none must stand alone"}
	case q.jkt != "" && !challengeForm.MatchString(q.jkt):
		return &oauthError{"invalid_request", "dpop_jkt must be a SHA-256 hash in base64url (RFC 9449 10)"}
	}
	if failure := checkResources(q.resources); failure != nil {
		return failure
	}
	return p.checkValues(q, form)
}

// checkValues reads the parameters that are not plain text.
func (p *Provider) checkValues(q *authRequest, form url.Values) *oauthError {
	if text := form.Get("max_age"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return &oauthError{"invalid_request", "max_age must be a number of seconds"}
		}
		q.maxAge = time.Duration(seconds) * time.Second
	}
	if text := form.Get("access_token_lifetime"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		q.access = time.Duration(seconds) * time.Second
		if err != nil || q.access < time.Second || q.access > maxAccessLifetime {
			return &oauthError{"invalid_request", "access_token_lifetime must be 1 to 86400 seconds"}
		}
	}
	if raw := form.Get("id_token_hint"); raw != "" {
		h, err := p.openHint(raw)
		if err != nil {
			return &oauthError{"invalid_request", "id_token_hint: " + err.Error()}
		}
		q.subject = h.Subject
	}
	return q.readClaims(form.Get("claims"))
}

// response is where the browser goes with the answer to q.
type response struct {
	Target string
	Params url.Values
}

// respond sends params to the client, with state and iss (RFC 9207 2).
func (p *Provider) respond(w http.ResponseWriter, r *http.Request, q *authRequest, params url.Values) {
	if q.state != "" {
		params.Set("state", q.state)
	}
	params.Set("iss", p.Issuer())
	for _, f := range p.take(func(f *Fault) bool { return f.Redirect != nil }) {
		f.Redirect(params)
	}
	if q.formPost {
		p.page(w, http.StatusOK, "form-post", response{q.redirectURI, params})
		return
	}
	target, err := url.Parse(q.redirectURI)
	if err != nil {
		http.Error(w, "the registered redirect URI is not a URL", http.StatusInternalServerError)
		return
	}
	if target.RawQuery != "" { // kept as it is (RFC 6749 3.1.2)
		target.RawQuery += "&"
	}
	target.RawQuery += params.Encode()
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, target.String(), http.StatusSeeOther)
}

func (p *Provider) respondError(w http.ResponseWriter, r *http.Request, q *authRequest, e oauthError) {
	p.respond(w, r, q, url.Values{"error": {e.code}, "error_description": {e.text}})
}
