package devidp

import (
	"encoding/json"
	"maps"
	"slices"
)

// claimsRequest is the claims parameter (OpenID Connect Core 5.5). A claim without
// wishes is null.
type claimsRequest struct {
	UserInfo map[string]*claimWish `json:"userinfo"`
	IDToken  map[string]*claimWish `json:"id_token"`
}

type claimWish struct {
	Essential bool  `json:"essential"`
	Value     any   `json:"value"`
	Values    []any `json:"values"`
}

// wished are the values that w would take, nil for any.
func (w *claimWish) wished() []any {
	switch {
	case w == nil:
		return nil
	case w.Value != nil:
		return []any{w.Value}
	}
	return w.Values
}

// readClaims takes over what q's client wishes of the user and the sign-in.
func (q *authRequest) readClaims(text string) *oauthError {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &q.claims); err != nil {
		return &oauthError{"invalid_request", "claims is not the JSON of OpenID Connect Core 5.5"}
	}
	for _, value := range q.claims.IDToken["sub"].wished() {
		subject, ok := value.(string)
		if !ok || q.subject != "" && q.subject != subject {
			return &oauthError{"invalid_request", "claims asks for a sub that is no string, or not that of id_token_hint"}
		}
		q.subject = subject
	}
	wish := q.claims.IDToken["acr"]
	reached := slices.IndexFunc(wish.wished(), func(v any) bool { return v == acrPassword || v == acrMulti })
	switch {
	case reached >= 0 && (q.acr == "" || wish.Essential):
		q.acr = wish.wished()[reached].(string)
	case reached < 0 && wish != nil && wish.Essential && wish.wished() != nil: // Core 5.5.1.1
		return &oauthError{"unmet_authentication_requirements", "no acr is known of those that claims asks for"}
	}
	return nil
}

// names are the claims of one member.
func names(wishes map[string]*claimWish) []string { return slices.Sorted(maps.Keys(wishes)) }

// wishedClaims are those of u that the claims parameter named, whatever the scopes.
func wishedClaims(u User, wishes []string) map[string]any {
	claims := userClaims(u, []string{"profile", "email", "groups"})
	maps.DeleteFunc(claims, func(name string, _ any) bool { return !slices.Contains(wishes, name) })
	return claims
}
