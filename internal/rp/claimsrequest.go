package rp

import (
	"encoding/json"
	"errors"
)

// essentials are what the claims parameter asks for as essential and what must therefore
// come back in the ID token.
type essentials struct {
	acr      []string // one of them (OpenID Connect Core 5.5.1.1)
	authTime bool     // (Core 3.1.3.7 rule 13)
}

// readClaims reads the claims parameter (OpenID Connect Core 5.5). The error says what is
// malformed.
func readClaims(text string) (essentials, error) {
	if text == "" {
		return essentials{}, nil
	}
	var request map[string]map[string]*struct {
		Essential bool  `json:"essential"`
		Value     any   `json:"value"`
		Values    []any `json:"values"`
	}
	if json.Unmarshal([]byte(text), &request) != nil || request == nil {
		return essentials{}, errors.New("claims is not a JSON object of OpenID Connect Core 5.5")
	}
	for member := range request {
		if member != "userinfo" && member != "id_token" {
			return essentials{}, errors.New("claims holds another member than userinfo and id_token")
		}
	}
	var found essentials
	if asked := request["id_token"]["auth_time"]; asked != nil {
		found.authTime = asked.Essential
	}
	acr := request["id_token"]["acr"]
	if acr == nil || !acr.Essential {
		return found, nil
	}
	wanted := acr.Values
	if acr.Value != nil {
		wanted = append(wanted, acr.Value)
	}
	for _, value := range wanted {
		text, ok := value.(string)
		if !ok || text == "" {
			return essentials{}, errors.New("claims asks for an acr that is no string")
		}
		found.acr = append(found.acr, text)
	}
	return found, nil
}
