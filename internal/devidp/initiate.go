package devidp

import (
	"net/http"
	"net/url"
)

// initiate begins a sign-in from the provider's side (OpenID Connect Core 4). It sends
// the browser to the client's InitiateLoginURI with iss, and with target as
// target_link_uri and login_hint if given; by a form with method=post, else by redirect.
func (p *Provider) initiate(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	client, known := p.client(q.Get("client"))
	target, err := url.Parse(client.InitiateLoginURI)
	if !known || client.InitiateLoginURI == "" || err != nil {
		http.Error(w, "the client is unknown or has no InitiateLoginURI", http.StatusBadRequest)
		return
	}
	params := url.Values{"iss": {p.Issuer()}}
	for name, value := range map[string]string{"target_link_uri": q.Get("target"), "login_hint": q.Get("login_hint")} {
		if value != "" {
			params.Set(name, value)
		}
	}
	if q.Get("method") == "post" {
		p.page(w, http.StatusOK, "form-post", response{client.InitiateLoginURI, params})
		return
	}
	if target.RawQuery != "" { // kept as it is
		target.RawQuery += "&"
	}
	target.RawQuery += params.Encode()
	http.Redirect(w, r, target.String(), http.StatusFound)
}
