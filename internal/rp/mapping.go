package rp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
)

const (
	maxListed = 2000 // entries of groups or of roles; what is beyond is left out
	maxEntry  = 1024 // bytes of one; longer ones are left out
)

// listed are the claims of ours that are lists of strings.
var listed = [...]string{"groups", "roles"}

const verified = "email_verified"

// distributed say that claims are elsewhere (OpenID Connect Core 5.6.2). They name
// addresses, which nobody but this package has a use for, and it has none.
var distributed = [...]string{"_claim_names", "_claim_sources"}

// complete turns what the ID token says into who signed in: claims that are only at
// UserInfo, groups that the token was too small for, each in its place.
func (c *Client) complete(ctx context.Context, md *metadata, tokens Tokens, id *Identity) error {
	if err := c.addUserInfo(ctx, md, tokens, id); err != nil {
		return err
	}
	c.addGroups(ctx, tokens, id)
	c.mapClaims(id)
	return nil
}

// place is where this provider puts a claim of ours.
func (c *Client) place(name string) string {
	if place := c.cfg.Claims[name]; place != "" {
		return place
	}
	return name
}

func (c *Client) holds(id Identity, name string) bool {
	_, ok := claimAt(id.Claims, c.place(name))
	return ok
}

// mapClaims puts groups and roles where ours are, as lists of strings, and email_verified
// as true or false. A claim of that name that is not the one the configuration names is
// not ours and goes; one that cannot be read counts as an empty list.
func (c *Client) mapClaims(id *Identity) {
	ours := map[string]json.RawMessage{}
	for _, name := range listed {
		if raw, ok := claimAt(id.Claims, c.place(name)); ok {
			ours[name], _ = json.Marshal(words(raw)) // strings always marshal
		}
	}
	if raw, ok := claimAt(id.Claims, c.place(verified)); ok {
		ours[verified] = json.RawMessage("false")
		switch string(raw) {
		case "true", `"true"`, "1", `"1"`: // Cognito's UserInfo and Entra's xms_edov have such
			ours[verified] = json.RawMessage("true")
		}
	}
	for _, name := range append(listed[:], verified) {
		delete(id.Claims, name)
		if raw, ok := ours[name]; ok {
			id.Claims[name] = raw
		}
	}
	for _, name := range append(distributed[:], c.cfg.Quirks.Overage.Flag) {
		delete(id.Claims, name)
	}
}

// mapRefreshed is complete for the ID token of a refresh, without UserInfo. Groups that the
// token is too small for are read again. Where the provider leaves out what is empty, a
// list that the token lacks is empty now if the one before held it, and groups also if
// they were or are elsewhere and cannot be read. Everything else that is not said again
// stays as it was.
func (c *Client) mapRefreshed(ctx context.Context, id *Identity, tokens, before Tokens) {
	quirks, earlier := c.cfg.Quirks, payload(before.ID.Reveal())
	elsewhere := quirks.Overage.left(*id) || quirks.Overage.left(Identity{Claims: earlier})
	c.addGroups(ctx, tokens, id)
	c.mapClaims(id)
	for _, name := range listed {
		_, had := claimAt(earlier, c.place(name))
		_, has := id.Claims[name]
		if quirks.OmitsEmpty && !has && (had || name == "groups" && elsewhere) {
			id.Claims[name] = json.RawMessage("[]")
		}
	}
}

// payload reads the claims of a token that was verified before.
func payload(raw string) (claims claimSet) {
	if parts := strings.Split(raw, "."); len(parts) == 3 {
		text, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(text, &claims) // nothing when it is none
	}
	return claims
}

// claimAt finds a claim by its exact name, which may have dots (Auth0's are URLs), else by a
// path of members with dots between them.
func claimAt(claims map[string]json.RawMessage, place string) (json.RawMessage, bool) {
	if raw, ok := claims[place]; ok {
		return raw, true
	}
	for i, r := range place {
		var below map[string]json.RawMessage
		if r != '.' || json.Unmarshal(claims[place[:i]], &below) != nil {
			continue
		}
		if raw, ok := claimAt(below, place[i+1:]); ok {
			return raw, true
		}
	}
	return nil, false
}

// words reads a list of strings, or a single one. What is no string is left out.
func words(raw json.RawMessage) []string {
	var several []json.RawMessage
	if json.Unmarshal(raw, &several) != nil {
		several = []json.RawMessage{raw}
	}
	out := []string{}
	for _, one := range several {
		var word string
		if json.Unmarshal(one, &word) == nil && word != "" && len(word) <= maxEntry && len(out) < maxListed {
			out = append(out, word)
		}
	}
	return out
}
