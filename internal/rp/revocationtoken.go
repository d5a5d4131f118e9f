package rp

import (
	"context"
	"slices"
	"time"
)

const revocationType = "global-token-revocation+jwt"

// Revocation is a verified JWT by which an identity provider may have a user's tokens
// revoked (draft-parecki-oauth-global-token-revocation-06, 3.5).
type Revocation struct {
	ID      string    // jti: the caller refuses a repeated one
	Expires time.Time // from here on the token is refused in any case
}

// VerifyRevocation holds the credential of a request to endpoint, its exact URL, to
// section 3.5 of the draft and to the typ of Okta's Universal Logout. It is signed by
// Config.RevocationIssuer. The error is an *Error: Invalid names the claim or rule that
// does not hold; with Code "sub" the token is good, but for another client. Any other kind
// says that the keys could not be had.
func (c *Client) VerifyRevocation(ctx context.Context, raw, endpoint string) (Revocation, error) {
	out, err := c.verifyRevocation(ctx, raw, endpoint)
	return out, ofToken(err, "revocation_token", "revocation_unauthorized")
}

func (c *Client) verifyRevocation(ctx context.Context, raw, endpoint string) (Revocation, error) {
	kind, err := tokenType(raw)
	if err != nil {
		return Revocation{}, err
	}
	if kind != revocationType {
		return Revocation{}, broken("typ", "it is '"+clean(kind)+"', expected is "+revocationType)
	}
	claims, err := c.revoker.open(ctx, raw, c.cfg.SigningAlgs)
	if err != nil {
		return Revocation{}, err
	}
	if issuer, _, err := member[string](claims, "iss"); err != nil || issuer != c.cfg.RevocationIssuer {
		return Revocation{}, broken("iss", "it is '"+clean(issuer)+"', expected is '"+c.cfg.RevocationIssuer+"'")
	}
	if !slices.Equal(claims.audience(), []string{endpoint}) {
		return Revocation{}, broken("aud", "it is not the address of this endpoint alone")
	}
	if err := claims.checkTimes(c.cfg.Now()); err != nil {
		return Revocation{}, err
	}
	id, _, err := member[string](claims, "jti")
	if err != nil || id == "" {
		return Revocation{}, broken("jti", "it is missing or not a string")
	}
	if subject, _, err := member[string](claims, "sub"); err != nil || subject != c.cfg.ClientID {
		return Revocation{}, broken("sub", "it is '"+clean(subject)+"', expected is this client")
	}
	return Revocation{ID: id, Expires: claims.over()}, nil
}

// Names reports whether issuer is a name of this provider in a subject identifier
// (RFC 9493 3.2.3): Okta's org names its users there, whatever server signed them in.
func (c *Client) Names(issuer string) bool {
	return issuer == c.cfg.Issuer || issuer == c.cfg.RevocationIssuer
}

// RevocationClients is LogoutClients for the credential of a global token revocation, whose
// sub is the client.
func RevocationClients(clients []*Client, raw string) []*Client {
	claims := unverified(raw)
	issuer, _, _ := member[string](claims, "iss")
	subject, _, _ := member[string](claims, "sub")
	return choose(clients,
		func(c *Client) bool { return c.cfg.RevocationIssuer == issuer },
		func(c *Client) bool { return c.cfg.ClientID == subject })
}

// newRevoker makes the client that holds the metadata and keys of the issuer of
// revocations, with the bounds that every issuer's have.
func newRevoker(c *Client) (*Client, error) {
	cfg := c.cfg
	if cfg.RevocationIssuer == cfg.Issuer {
		return c, nil
	}
	return New(Config{
		ID: cfg.ID, Issuer: cfg.RevocationIssuer, ClientID: cfg.ClientID, ClientAuth: AuthPublic, SigningAlgs: cfg.SigningAlgs,
		CAFile: cfg.CAFile, Timeout: cfg.Timeout, Transport: cfg.Transport, Now: cfg.Now, Logger: cfg.Logger.With("for", "global token revocation"),
	})
}
