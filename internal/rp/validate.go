package rp

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

var (
	idForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	// scopeForm is scope-token of RFC 6749 3.3; acr values are taken the same way.
	scopeForm = regexp.MustCompile(`^[!#-\[\]-~]+$`)
	// issuerEnds are the paths of endpoints that are taken for the issuer.
	issuerEnds = regexp.MustCompile(`/(\.well-known/(openid-configuration|oauth-authorization-server)|v1/(authorize|token|keys|userinfo))/?$`)
)

// ownParams are the authorization parameters that this package sends or whose answer
// it checks: an operator's fixed value would undo that.
var ownParams = []string{
	"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
	"code_challenge_method", "max_age", "acr_values", "resource", "dpop_jkt", "request", "request_uri",
	"client_secret", "client_assertion", "client_assertion_type", // never in an address (RFC 6749 2.3.1)
}

// objectClaims are the claims of a request object that are not parameters (RFC 9101 4,
// 10.8).
var objectClaims = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

// Problem is one thing that is wrong with a Config. As an error it is key and text.
type Problem struct {
	Key  string // of providers[] in the settings
	Text string // no secret is in it
	Fix  string // a sentence, with the right value where that can be told
}

func (p Problem) Error() string { return p.Key + ": " + p.Text }

// Check returns everything for which New would refuse cfg but files that cannot be read.
// It is the one place that decides: package config only shows what it says.
func Check(cfg Config) []Problem {
	found := slices.Concat(checkParties(cfg), checkCredentials(cfg), checkChoices(cfg),
		checkWords("scopes", cfg.Scopes), checkWords("acr_values", cfg.ACRValues), checkResources(cfg.Resource), checkParams(cfg))
	add := func(bad bool, key, text, fix string) {
		if bad {
			found = append(found, Problem{key, text, fix})
		}
	}
	add(cfg.MaxAge < 0, "max_age", "it is negative", "Write a positive length of time.")
	add(cfg.Timeout < 0, "timeout", "it is negative", "Write a positive length of time.")
	add(slices.Contains(cfg.TrustedAudiences, ""), "trusted_audiences", "it holds an empty value", "Remove it.")
	return slices.Concat(found, checkAlgs("id_token_signing_algs", cfg.SigningAlgs), checkAlgs("access_token_signing_algs", cfg.AccessTokenAlgs))
}

// checkAlgs: none and the MAC algorithms are not in the list and cannot be allowed (RFC
// 8725 3.1, 3.2).
func checkAlgs(key string, algs []string) (found []Problem) {
	for _, alg := range algs {
		if !usable(alg) {
			found = append(found, Problem{key, fmt.Sprintf("%.80q is not an algorithm that can be used here", alg), "Write RS256, or another of the list."})
		}
	}
	return found
}

// SigningAlgorithms are those that a provider's tokens may be signed with.
func SigningAlgorithms() (names []string) {
	for _, alg := range asymmetric {
		names = append(names, string(alg))
	}
	return names
}

func usable(alg string) bool { return slices.Contains(asymmetric, jose.SignatureAlgorithm(alg)) }

func validate(cfg Config) error {
	var errs []error
	for _, problem := range Check(cfg) {
		errs = append(errs, problem)
	}
	return errors.Join(errs...)
}

func checkParties(cfg Config) (found []Problem) {
	if !idForm.MatchString(cfg.ID) {
		found = append(found, Problem{"id", fmt.Sprintf("%.80q is not of a-z, 0-9 and -, up to 64", cfg.ID), "Write a word such as okta."})
	}
	found = append(found, checkIssuer("issuer", cfg.Issuer)...)
	if cfg.ClientID == "" {
		found = append(found, Problem{"client_id", "it is missing", "Write the id of the registration at the provider."})
	}
	if cfg.RevocationIssuer != "" {
		found = append(found, checkIssuer("revocation_issuer", cfg.RevocationIssuer)...)
	}
	return found
}

// checkIssuer holds the form of an issuer to OpenID Connect Discovery 3: https, no query,
// no fragment. Plain http is for loopback.
func checkIssuer(key, issuer string) []Problem {
	const fix = "Write the issuer that the provider's metadata shows, for example https://dev-1.okta.com/oauth2/default."
	wrong := func(text, fix string) []Problem {
		return []Problem{{key, fmt.Sprintf("%.80q ", issuer) + text, fix}}
	}
	u, err := url.Parse(issuer)
	switch {
	case issuer == "":
		return []Problem{{key, "it is missing", fix}}
	case err != nil || strings.Contains(issuer, "@"): // it may hold a password
		return []Problem{{key, "it is not a plain URL", fix}}
	case !strings.Contains(issuer, "://"):
		return wrong("does not begin with https://", "Write https://"+issuer+".")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return wrong("is not an https URL", fix)
	case strings.ContainsAny(issuer, "?#"):
		return wrong("has a query or a fragment", "Write it without.")
	case issuerEnds.MatchString(issuer):
		return wrong("is an address below the issuer", "Write "+issuerEnds.ReplaceAllString(issuer, "")+".")
	case u.Scheme == "http" && !loopback(u):
		return wrong("is plain http to another machine: client secret and tokens could be read on the way", "Write https://"+strings.TrimPrefix(issuer, "http://")+".")
	}
	return nil
}

// checkCredentials holds client_auth to the credentials that there are.
func checkCredentials(cfg Config) (found []Problem) {
	add := func(bad bool, key, text, fix string) {
		if bad {
			found = append(found, Problem{key, text, fix})
		}
	}
	const makeKey = "Set private_key_file; `genkan keys new --signing` makes a key."
	secret, key, certificate := !cfg.ClientSecret.Empty(), len(cfg.Signers) > 0, cfg.ClientCertificate != nil
	method := cmp.Or(cfg.ClientAuth, AuthAuto)
	missing := "it is missing, but client_auth is " + string(method)
	switch method {
	case AuthAuto:
		add(secret && (key || certificate), "client_auth", "it is auto, and there is a client_secret beside a private key or certificate: which of them the provider has registered cannot be told",
			"Write client_auth with the method that is registered there, for example private_key_jwt, or client_secret_basic when the key is for jar alone.")
	case AuthPublic:
		add(secret, "client_auth", "it is none, but there is a client_secret", "Remove the secret, or write client_auth: auto.")
		add(!secret && (key || certificate), "client_auth", "it is none, but there is a private key or certificate", "Remove it, or write client_auth: auto.")
	case AuthBasic, AuthPost:
		add(!secret, "client_secret", missing, "Set client_secret or client_secret_file.")
	case AuthSecretJWT:
		add(!secret, "client_secret", missing, "Set client_secret or client_secret_file.")
		add(secret && len(cfg.ClientSecret.Reveal()) < minSecretJWT, "client_secret",
			"it has under 32 bytes, and client_secret_jwt signs with it (RFC 7518 3.2)", "Have the provider make a longer one, or use private_key_jwt.")
	case AuthPrivateKeyJWT:
		add(!key, "private_key", missing, makeKey)
	case AuthTLS, AuthSelfSignedTLS:
		add(!certificate, "client_cert_file", missing, "Set client_cert_file and private_key_file.")
	default:
		add(true, "client_auth", "it is not a known method", "Write auto, or a method of OpenID Connect Core 9.")
	}
	add(cfg.JAR && !key, "jar", "it is on, but there is no key to sign with", makeKey)
	return found
}

func checkChoices(cfg Config) (found []Problem) {
	add := func(good bool, key, words string) {
		if !good {
			found = append(found, Problem{key, "it is not a value of this setting", "Write " + words + "."})
		}
	}
	add(oneOf(cfg.AssertionAudience, "", AudienceIssuer, AudienceEndpoint), "client_assertion_audience", "issuer or endpoint")
	add(oneOf(cfg.PAR, "", PARAuto, PARRequired, PAROff), "par", "auto, required or off")
	add(oneOf(cfg.ResponseMode, "", ModeQuery, ModeFormPost), "response_mode", "query or form_post")
	add(oneOf(cfg.UserInfo, "", UserInfoAuto, UserInfoOn, UserInfoOff), "userinfo", "auto, on or off")
	add(cfg.UserInfoAlg == "" || usable(cfg.UserInfoAlg), "userinfo_signing_alg", "RS256, or another of the list")
	return found
}

func checkWords(key string, words []string) (found []Problem) {
	for _, word := range words {
		if scopeForm.MatchString(word) {
			continue
		}
		fix := "Write words of plain ASCII without quotes and backslashes."
		several := strings.Fields(word)
		if len(several) > 0 && allMatch(several) {
			fix = "Write " + strings.Join(several, ",") + "."
		}
		found = append(found, Problem{key, fmt.Sprintf("%.80q is not one word", word), fix})
	}
	return found
}

// checkResources is RFC 8707 2.
func checkResources(resources []string) (found []Problem) {
	for _, text := range resources {
		if u, err := url.Parse(text); err != nil || !u.IsAbs() || strings.ContainsAny(text, "# ") || !headerSafe(text) {
			found = append(found, Problem{"resource", fmt.Sprintf("%.80q is not an absolute URI without fragment", text), "Write a URI such as https://api.example.com."})
		}
	}
	return found
}

func checkParams(cfg Config) (found []Problem) {
	add := func(bad bool, text, fix string) {
		if bad {
			found = append(found, Problem{"authorize_params", text, fix})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.AuthorizeParams)) {
		add(name == "", "it holds a parameter without a name", "Remove it.")
		add(slices.Contains(ownParams, name) || cfg.JAR && slices.Contains(objectClaims, name), fmt.Sprintf("%.80q is set by Genkan itself", name), "Remove it.")
	}
	_, err := promptValues(cfg.AuthorizeParams["prompt"])
	add(err != nil, fmt.Sprintf("prompt cannot be used: %v", err), "Write none alone, or any of login, consent and select_account, once each.")
	_, err = readClaims(cfg.AuthorizeParams["claims"])
	add(err != nil, fmt.Sprint(err), `Write JSON such as {"id_token": {"acr": {"essential": true}}}.`)
	return found
}

func loopback(u *url.URL) bool {
	if u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

func allMatch(words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !scopeForm.MatchString(w) })
}

func oneOf[T comparable](value T, allowed ...T) bool { return slices.Contains(allowed, value) }
