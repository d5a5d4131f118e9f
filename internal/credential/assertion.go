package credential

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"genkan/internal/access"
	"genkan/internal/rp"
)

const (
	assertionLife = time.Minute
	// assertionUse is for how long one is sent again. The rest of its life is for the way,
	// a service that is slow, and a clock that is ahead of ours.
	assertionUse = 40 * time.Second
	// maxGroups bounds groups in bytes of JSON: with it an assertion is about 6 KiB, and
	// many servers take no more than 8 KiB of headers.
	maxGroups = 4 << 10
	maxText   = 320 // bytes of a claim that is a text: an email address has no more
)

// assertionAlgs are those an assertion may be signed with.
var assertionAlgs = []string{"ES256", "EdDSA"}

var (
	errNoSigner  = errors.New("credential: no key signs assertions")
	errNoSubject = errors.New("credential: an assertion needs a subject, and the provider told none")
)

// assertionClaims is what a service is told of a caller (RFC 7519 4.1). Subjects are
// unique for one issuer only, so idp says whose subject it is.
type assertionClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Provider string `json:"idp"`
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`

	Session       string          `json:"sid,omitempty"`       // the public handle; a program has none
	Client        string          `json:"client_id,omitempty"` // of a program
	Email         string          `json:"email,omitempty"`
	EmailVerified json.RawMessage `json:"email_verified,omitempty"`
	Groups        json.RawMessage `json:"groups,omitempty"`
	AuthTime      int64           `json:"auth_time,omitempty"`
	ACR           string          `json:"acr,omitempty"`
}

// assertions are those that were signed of late.
type assertions struct {
	entries *otter.Cache[assertionKey, *assertion]
	tooMany sync.Once // for the log
}

type assertionKey struct {
	grant
	audience string
}

type assertion struct {
	jwt, keyID string
	until      time.Time // from here on another one is made
}

func newAssertions() *assertions {
	return &assertions{entries: otter.Must(&otter.Options[assertionKey, *assertion]{
		MaximumWeight: assertionSize,
		Weigher:       func(_ assertionKey, a *assertion) uint32 { return uint32(512 + len(a.jwt)) },
	})}
}

func (a *assertions) sweep(now time.Time) {
	for key, made := range a.entries.All() {
		if !now.Before(made.until) {
			a.entries.Invalidate(key)
		}
	}
}

// Assertion is a JWT by which Genkan tells the service audience who calls, for one minute.
// The same one is given for forty seconds, unless the caller's claims change or another key
// signs; so jti is for logs, and finds no replays. Groups of more than 4 KiB are left out:
// the service then sees none. An error is no fault of the caller.
func (s *Source) Assertion(c *access.Caller, audience string) (string, error) {
	signers := s.Signers()
	if len(signers) == 0 {
		return "", errNoSigner
	}
	key, now := assertionKey{s.grant(c), audience}, s.Now()
	known, ok := s.assertions.entries.GetIfPresent(key)
	if ok && now.Before(known.until) && known.keyID == signers[0].KeyID() {
		return known.jwt, nil
	}
	if c.Identity.Subject == "" {
		return "", errNoSubject
	}
	jwt, err := signers[0].Sign(signers[0].Alg(assertionAlgs), "JWT", s.claims(c, audience, now))
	if err != nil {
		return "", err
	}
	s.assertions.entries.Set(key, &assertion{jwt, signers[0].KeyID(), now.Add(assertionUse)})
	return jwt, nil
}

func (s *Source) claims(c *access.Caller, audience string, now time.Time) assertionClaims {
	who := c.Identity
	out := assertionClaims{
		Issuer: s.Issuer, Subject: who.Subject, Provider: who.Issuer, Audience: audience,
		Issued: now.Unix(), Expires: now.Add(assertionLife).Unix(), ID: rand.Text(),
		Client: bounded(c.ClientID), Email: text(who, "email"), Groups: s.groups(c), ACR: bounded(who.ACR),
	}
	if c.Session != nil {
		out.Session, out.Client = c.Session.ID, ""
	}
	if verified := bytes.TrimSpace(who.Claims["email_verified"]); out.Email != "" && slices.Contains([]string{"true", "false"}, string(verified)) {
		out.EmailVerified = verified
	}
	if !who.AuthTime.IsZero() {
		out.AuthTime = who.AuthTime.Unix()
	}
	return out
}

// groups is the claim as a list of strings, nil when there are none or they are too long.
func (s *Source) groups(c *access.Caller) json.RawMessage {
	raw := c.Identity.Claims["groups"]
	var list []string
	if len(raw) <= maxGroups && json.Unmarshal(raw, &list) != nil {
		var one string
		_ = json.Unmarshal(raw, &one) // one group may come as a string; anything else is none
		list = []string{one}
	}
	list = slices.DeleteFunc(list, func(name string) bool { return name == "" })
	out, _ := json.Marshal(list) // strings always marshal
	switch {
	case len(raw) > maxGroups || len(out) > maxGroups:
		s.assertions.tooMany.Do(func() {
			s.Logger.Warn("groups are left out of an assertion: they take more than 4 KiB; this is said once", "provider", c.Provider, "bytes", len(raw))
		})
		return nil
	case len(list) == 0:
		return nil
	}
	return out
}

// text is a claim that is a text of the usual length, else "".
func text(who rp.Identity, name string) string {
	var out string
	_ = json.Unmarshal(who.Claims[name], &out) // of another type: it counts as missing
	return bounded(out)
}

func bounded(value string) string {
	if len(value) > maxText {
		return ""
	}
	return value
}
