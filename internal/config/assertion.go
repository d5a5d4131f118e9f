package config

import "genkan/internal/keys"

// assignAssertionKeys takes keys that every service's library can verify with.
func assignAssertionKeys(to *[]*keys.Signer, v value) (bad refusals) {
	signers, err := keys.ParseSigners([]byte(v.text))
	if err != nil {
		return refuse("Name a file with a private key in PEM or JWK; `genkan keys new --signing` makes one.", "%s", err)
	}
	for i, signer := range signers {
		if signer.Alg([]string{"ES256", "EdDSA"}) == "" {
			bad = append(bad, refuse("Give a key on P-256 or Ed25519; `genkan keys new --signing` makes one.", "key %d signs with neither ES256 nor EdDSA", i+1)...)
		}
	}
	*to = signers
	return bad
}
