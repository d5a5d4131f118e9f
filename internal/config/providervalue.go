package config

import (
	"encoding/pem"
	"slices"
	"strings"
	"time"

	"genkan/internal/keys"
)

func assignSeconds(to *time.Duration, v value) refusals {
	if bad := assignDuration(to, v); bad != nil {
		return bad
	}
	if *to%time.Second != 0 {
		return refuse("Write whole seconds.", "%s is not a whole number of seconds", quote(v.text))
	}
	return nil
}

func assignPairs(to *map[string]string, v value) refusals {
	*to = v.pairs
	return nil
}

// assignSigners parses private keys; what they are for is judged when all is there.
func assignSigners(p *provider, v value) refusals {
	signers, err := keys.ParseSigners([]byte(v.text))
	if err != nil {
		return refuse("Name a file with a private key in PEM or JWK; `genkan keys new --signing` makes one.", "%s", err)
	}
	p.Signers, p.privateKey = signers, keys.NewSecret(v.text)
	return nil
}

// assignCertificate reads a PEM file; whether it fits its key is judged when both are there.
func assignCertificate(to *[]byte, v value) refusals {
	data, err := readBounded(under(v.dir, v.text), maxFile)
	if err != nil {
		return refuse("Name a PEM file with the client's certificate.", "%s: %s", quote(v.text), reason(err))
	}
	if block, _ := pem.Decode(data); block == nil {
		return refuse("Name a PEM file with the client's certificate.", "%s: it holds no PEM certificate", quote(v.text))
	}
	*to = data
	return nil
}

func assignSwitch(to *bool, v value) refusals {
	*to = v.text == "on"
	return nil
}

func assignAnyType(to *bool, v value) refusals {
	*to = v.text == "any"
	return nil
}

func assignNot(to *bool, v value) refusals {
	bad := assignBool(to, v)
	*to = !*to
	return bad
}

// assignClaims takes the claims that Genkan itself looks for.
func assignClaims(to *map[string]string, v value) (bad refusals) {
	for name, place := range v.pairs {
		switch {
		case name != "groups" && name != "roles" && name != "email_verified":
			bad = append(bad, refuse("Write groups, roles or email_verified.", "%s is not a claim that is looked for", quote(name))...)
		case place == "":
			bad = append(bad, refuse("Name a claim, for example cognito:groups.", "%s has no place", quote(name))...)
		}
	}
	slices.SortFunc(bad, func(a, b refusal) int { return strings.Compare(a.detail, b.detail) })
	*to = v.pairs
	return bad
}
