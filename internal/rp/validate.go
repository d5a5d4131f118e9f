package rp

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

var (
	idForm = regexp.MustCompile(`^[a-z0-9-]+$`)
	// scopeForm is scope-token of RFC 6749 3.3; acr values are taken the same way.
	scopeForm = regexp.MustCompile(`^[!#-\[\]-~]+$`)
)

// ownParams are the authorization parameters that this package sends or whose answer
// it checks: an operator's fixed value would undo that. claims is among them because
// an essential acr asked for there would go unchecked (OpenID Connect Core 5.5.1.1).
var ownParams = []string{
	"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
	"code_challenge_method", "max_age", "acr_values", "claims", "request", "request_uri",
}

// validate reports everything that is wrong with cfg, named by configuration key.
func validate(cfg Config) error {
	var errs []error
	wrong := func(bad bool, key, text string) {
		if bad {
			errs = append(errs, fmt.Errorf("%s: %s", key, text))
		}
	}
	wrong(!idForm.MatchString(cfg.ID), "id", "must be of a-z, 0-9 and -")
	if err := checkIssuer(cfg.Issuer); err != nil {
		errs = append(errs, fmt.Errorf("issuer: %w", err))
	}
	wrong(cfg.ClientID == "", "client_id", "is missing")
	wrong(!oneOf(cfg.ClientAuth, "", AuthAuto, AuthBasic, AuthPost, AuthPublic), "client_auth", "is not a known method")
	wrong(oneOf(cfg.ClientAuth, AuthBasic, AuthPost) && cfg.ClientSecret.Empty(), "client_secret", "is missing, but client_auth needs it")
	wrong(cfg.ClientAuth == AuthPublic && !cfg.ClientSecret.Empty(), "client_auth", "is none, but there is a client_secret")
	wrong(!oneOf(cfg.ResponseMode, "", ModeQuery, ModeFormPost), "response_mode", "must be query or form_post")
	wrong(!oneOf(cfg.UserInfo, "", UserInfoAuto, UserInfoOn, UserInfoOff), "userinfo", "must be auto, on or off")
	wrong(!allMatch(cfg.Scopes), "scopes", "each must be one word of printable ASCII")
	wrong(!allMatch(cfg.ACRValues), "acr_values", "each must be one word of printable ASCII")
	wrong(cfg.MaxAge < 0, "max_age", "must not be negative")
	wrong(cfg.Timeout < 0, "timeout", "must not be negative")
	wrong(slices.Contains(cfg.TrustedAudiences, ""), "trusted_audiences", "holds an empty value")
	for _, alg := range cfg.SigningAlgs {
		// none and the MAC algorithms are not in the list and cannot be allowed
		// (RFC 8725 3.1, 3.2).
		wrong(!slices.Contains(asymmetric, jose.SignatureAlgorithm(alg)), "id_token_signing_algs", alg+" is not an algorithm for ID tokens here")
	}
	for name, value := range cfg.AuthorizeParams {
		wrong(name == "" || slices.Contains(ownParams, name), "authorize_params", name+" is set by Genkan itself")
		if name == "prompt" {
			_, err := promptValues(value)
			wrong(err != nil, "authorize_params", "prompt holds a value that cannot be used")
		}
	}
	return errors.Join(errs...)
}

// checkIssuer holds the form of an issuer to OpenID Connect Discovery 3: https,
// no query, no fragment. Plain http is for loopback.
func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case issuer == "":
		return errors.New("is missing")
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("must be a URL like https://idp.example/path")
	case strings.ContainsAny(issuer, "?#"):
		return errors.New("must have no query and no fragment")
	case u.User != nil:
		return errors.New("must hold no user name")
	case u.Scheme == "http" && !loopback(u):
		return errors.New("must be https; http is for loopback only")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("must begin with https://")
	case strings.HasSuffix(issuer, wellKnown):
		return errors.New("must be the issuer, not the address of its metadata")
	}
	return nil
}

func loopback(u *url.URL) bool {
	if u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

func oneOf[T comparable](value T, allowed ...T) bool { return slices.Contains(allowed, value) }

func allMatch(words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !scopeForm.MatchString(w) })
}
