package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"genkan/internal/keys"
	"genkan/internal/rp"
)

// Record is what one signed-in browser is known by. It is sealed before a store
// sees it.
type Record struct {
	ID       string // public handle: in /bff/session, logout URLs and logs; no credential
	Provider string // rp.Config.ID, so that a refresh goes to where the tokens came from
	Grant    rp.Grant
	Created  time.Time
	Expires  time.Time // absolute limit, never extended
	Renewed  time.Time // when Grant.Tokens were issued
	Agent    string    // User-Agent at sign-in, at most 256 bytes; hostile text
	Address  string    // client's IP address at sign-in
	// Trips are the times of sign-ins that followed each other within a minute,
	// this one last; the sign-in handler stops loops by them.
	Trips []time.Time
}

// Session is a live session as one request sees it. It belongs to that request, but what
// its maps and slices hold is shared with others: read it, never change it.
type Session struct {
	Record
	Idle time.Time // ends here without further activity
	row  Row
}

// Key names the session's row.
func (s *Session) Key() Key { return s.row.Key }

// wire is Record as it is sealed. Secrets are plain strings here, since
// keys.Secret refuses to marshal itself.
type wire struct {
	ID       string      `json:"id"`
	Provider string      `json:"p"`
	Created  time.Time   `json:"c"`
	Expires  time.Time   `json:"e"`
	Renewed  time.Time   `json:"n"`
	Trips    []time.Time `json:"t,omitempty"`
	Agent    string      `json:"ua,omitempty"`
	Address  string      `json:"ip,omitempty"`

	Access   string      `json:"at"`
	Key      string      `json:"k,omitempty"` // that the access token is bound to
	Refresh  string      `json:"rt,omitempty"`
	IDToken  string      `json:"it,omitempty"`
	Scope    []string    `json:"s,omitempty"`
	Expiry   time.Time   `json:"x"`
	Identity rp.Identity `json:"u"`
}

func (r *Record) marshal() ([]byte, error) {
	t := r.Grant.Tokens
	return json.Marshal(wire{
		ID: r.ID, Provider: r.Provider, Created: r.Created, Expires: r.Expires, Renewed: r.Renewed, Trips: r.Trips, Agent: r.Agent, Address: r.Address,
		Access: t.Access.Reveal(), Key: t.Key.Reveal(), Refresh: t.Refresh.Reveal(), IDToken: t.ID.Reveal(), Scope: t.Scope, Expiry: t.Expiry,
		Identity: r.Grant.Identity,
	})
}

func unmarshal(plain []byte) (Record, error) {
	var w wire
	if err := json.Unmarshal(plain, &w); err != nil {
		return Record{}, fmt.Errorf("session: record: %w", err)
	}
	return Record{
		ID: w.ID, Provider: w.Provider, Created: w.Created, Expires: w.Expires, Renewed: w.Renewed, Trips: w.Trips, Agent: w.Agent, Address: w.Address,
		Grant: rp.Grant{
			Tokens: rp.Tokens{
				Access: keys.NewSecret(w.Access), Key: keys.NewSecret(w.Key), Refresh: keys.NewSecret(w.Refresh), ID: keys.NewSecret(w.IDToken),
				Scope: w.Scope, Expiry: w.Expiry,
			}.WithBearer(),
			Identity: w.Identity,
		},
	}, nil
}

// id is the credential in the cookie: 256 random bits (ASVS 7.2.3 asks for 128).
type id [32]byte

func newID() (fresh id) {
	_, _ = rand.Read(fresh[:]) // never fails, crypto/rand since Go 1.24
	return fresh
}

func (i id) key() Key { return sha256.Sum256(i[:]) }
