package devidp

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// objectLife is how long a request object may be good (FAPI 2.0 Message Signing 5.3.1).
const objectLife = time.Hour

// openObject checks a request object and returns the parameters in it (RFC 9101 6).
func (p *Provider) openObject(r *http.Request, client Client, raw string) (url.Values, *oauthError) {
	j, err := parseClientJWT(raw, asymmetricAlgs()...)
	if err == nil {
		p.see(r, func(s *Seen) { s.RequestObject = &SeenJWT{j.Header, j.Claims} })
		if err = j.verify(client.JWKS); err == nil {
			err = p.checkObject(j, client)
		}
	}
	var form url.Values
	if err == nil {
		form, err = j.parameters()
	}
	if err != nil {
		return nil, &oauthError{"invalid_request_object", err.Error()}
	}
	return form, nil
}

func (p *Provider) checkObject(j *clientJWT, client Client) error {
	for _, name := range []string{"sub", "request", "request_uri"} { // RFC 9101 4 and 10.8
		if _, has := j.Claims[name]; has {
			return errors.New(name + " must not be in it")
		}
	}
	switch {
	case j.typ() != "oauth-authz-req+jwt":
		return errors.New("typ is not oauth-authz-req+jwt")
	case j.text("iss") != client.ID:
		return errors.New("iss is not the client's id")
	case j.text("client_id") != client.ID:
		return errors.New("client_id differs from the one outside")
	case !slices.Contains(listed(j.Claims["aud"]), p.Issuer()):
		return errors.New("aud does not hold the issuer")
	}
	return j.current(p.cfg.Now(), objectLife)
}

// oneOrList is the aud of all (RFC 7519 4.1.3).
func oneOrList(all []string) any {
	if len(all) == 1 {
		return all[0]
	}
	return all
}

// listed reads a string or a list of them.
func listed(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

// parameters turns the claims into a form: numbers to text, objects to JSON.
func (j *clientJWT) parameters() (url.Values, error) {
	form := url.Values{}
	for name, value := range j.Claims {
		if slices.Contains([]string{"iss", "aud", "exp", "iat", "nbf", "jti"}, name) {
			continue
		}
		switch v := value.(type) {
		case string:
			form.Set(name, v)
		case float64:
			form.Set(name, strconv.FormatFloat(v, 'f', -1, 64))
		case []any:
			if name != "resource" {
				return nil, errors.New(name + " must not be a list")
			}
			form[name] = listed(v)
		case map[string]any:
			text, err := json.Marshal(v)
			if err != nil {
				return nil, errors.New(name + " cannot be read")
			}
			form.Set(name, string(text))
		default:
			return nil, errors.New(name + " is neither text, number nor object")
		}
	}
	return form, nil
}

// checkResources is RFC 8707 2.
func checkResources(resources []string) *oauthError {
	for _, resource := range resources {
		u, err := url.Parse(resource)
		if err != nil || !u.IsAbs() || u.Host == "" && u.Opaque == "" || strings.Contains(resource, "#") {
			return &oauthError{"invalid_target", "resource must be an absolute URI without a fragment"}
		}
	}
	return nil
}

// targets is the audience of what a token request gets: of what was authorized, all or
// the part that it asks for (RFC 8707 2.2).
func (p *Provider) targets(g *grant, asked []string) ([]string, *oauthError) {
	whole := g.resources
	if len(whole) == 0 {
		whole = []string{p.cfg.Audience}
	}
	if failure := checkResources(asked); failure != nil {
		return nil, failure
	}
	switch {
	case !subset(asked, whole):
		return nil, &oauthError{"invalid_target", "resource goes beyond what was authorized"}
	case len(asked) > 0:
		return asked, nil
	}
	return whole, nil
}
