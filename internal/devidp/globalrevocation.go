package devidp

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

const (
	revocationTokenLifetime = 5 * time.Minute // as Okta's, with nbf as long ago
	revocationType          = "global-token-revocation+jwt"
)

// RevocationToken makes the JWT that authenticates a global token revocation request to
// the endpoint aud (draft-parecki-oauth-global-token-revocation-06 3.5, with the typ and
// nbf of Okta's Universal Logout). Its sub is the client with that GlobalRevocationURI,
// else the first. The faults in force change it first, then changes.
func (p *Provider) RevocationToken(aud string, changes ...func(*JWT)) (string, error) {
	client := p.cfg.Clients[max(0, slices.IndexFunc(p.cfg.Clients, func(c Client) bool { return c.GlobalRevocationURI == aud }))]
	now := p.cfg.Now()
	token := p.newJWT(revocationType, p.idTokenAlg(client.ID), map[string]any{
		"iss": p.Issuer(), "sub": client.ID, "aud": aud, "jti": rand.Text(), "iat": now.Unix(),
		"nbf": now.Add(-revocationTokenLifetime).Unix(), "exp": now.Add(revocationTokenLifetime).Unix(),
	})
	for _, f := range p.take(func(f *Fault) bool { return f.RevocationToken != nil }) {
		f.RevocationToken(token)
	}
	for _, change := range changes {
		change(token)
	}
	return token.token()
}

// IssSub is the subject identifier of a user (RFC 9493 3.2.3), for RevokeAll.
func (p *Provider) IssSub(sub string) map[string]any {
	return map[string]any{"format": "iss_sub", "iss": p.Issuer(), "sub": sub}
}

// RevokeAll ends the SSO sessions of the user that identifier is about (RFC 9493) and
// asks every client with a GlobalRevocationURI to revoke what the user has there. member
// is the body's: sub_id, or subject as up to the draft's edition 02.
func (p *Provider) RevokeAll(member string, identifier map[string]any) ([]Notice, error) {
	if member != "sub_id" && member != "subject" {
		return nil, errors.New("devidp: the member must be sub_id or subject")
	}
	body, err := json.Marshal(map[string]any{member: identifier})
	if err != nil {
		return nil, err
	}
	for _, user := range p.cfg.Users {
		if user.Subject == identifier["sub"] || user.Email != "" && user.Email == identifier["email"] {
			p.leave(func(sub, _ string) bool { return sub == user.Subject })
		}
	}
	var messages []message
	for _, client := range p.cfg.Clients {
		if client.GlobalRevocationURI == "" {
			continue
		}
		token, err := p.RevocationToken(client.GlobalRevocationURI)
		if err != nil {
			return nil, err
		}
		messages = append(messages, message{
			client: client.ID, uri: client.GlobalRevocationURI, contentType: "application/json", bearer: token, body: body,
		})
	}
	return p.send(messages), nil
}
