package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"genkan/internal/rp"
)

// listLimit bounds what one look-up returns.
const listLimit = 1000

const (
	purposeUser  = "tag of a user"
	purposeSID   = "tag of a provider's session"
	purposeEmail = "tag of an e-mail address"
)

// tags are what the row of r is found by: its user, its session at the provider, the
// user's e-mail address, and the 256th part of all sessions that it belongs to.
func (m *Manager) tags(key Key, r *Record) []Tag {
	tags := []Tag{m.partTag(key[0]), m.Ring.Tag(purposeUser, m.name(r.Provider, r.Grant.Identity.Subject))}
	if sid := r.Grant.Identity.SID; sid != "" {
		tags = append(tags, m.Ring.Tag(purposeSID, m.name(r.Provider, sid)))
	}
	if email := emailOf(r.Grant.Identity); email != "" {
		tags = append(tags, m.Ring.Tag(purposeEmail, m.name(r.Provider, email)))
	}
	return tags
}

// emailOf is the user's e-mail address as it is compared; "" when the provider has told
// none. Verified or not, it counts: all it is good for is to end the session, and to end too
// little is the worse fault.
func emailOf(who rp.Identity) string {
	var address string
	if json.Unmarshal(who.Claims["email"], &address) != nil {
		return ""
	}
	return strings.ToLower(address)
}

// name makes a value of two deployments or providers two names.
func (m *Manager) name(provider, value string) string {
	return m.Deployment + "\x00" + provider + "\x00" + value
}

// partTag tells nothing of a session but the first byte of its key.
func (m *Manager) partTag(part byte) Tag {
	return sha256.Sum256([]byte("genkan part\x00" + m.Deployment + "\x00" + string([]byte{part})))
}

// newHandle makes the public handle of the session of key. It begins with the first
// byte of the key, so that ByID has to look at a 256th of all sessions.
func newHandle(key Key) string { return hex.EncodeToString(key[:1]) + rand.Text() }

// OfUser returns the live sessions of a user of a provider, the latest sign-in first, at
// most 1000; of every configured provider that knows a user of that name when provider
// is empty. The error is ErrStore.
func (m *Manager) OfUser(ctx context.Context, provider, subject string) ([]*Session, error) {
	var tags []Tag
	for id := range m.Providers {
		if provider == "" || provider == id {
			tags = append(tags, asTags(m.Ring.Tags(purposeUser, m.name(id, subject)))...)
		}
	}
	return m.find(ctx, tags, listLimit, func(s *Session) bool {
		return s.Grant.Identity.Subject == subject && (provider == "" || provider == s.Provider)
	})
}

// OfSID returns the live sessions that belong to one session at a provider, as the sid
// claim names it (OpenID Connect Back-Channel Logout 1.0, 2.1). The error is ErrStore.
func (m *Manager) OfSID(ctx context.Context, provider, sid string) ([]*Session, error) {
	return m.find(ctx, asTags(m.Ring.Tags(purposeSID, m.name(provider, sid))), listLimit, func(s *Session) bool {
		return s.Provider == provider && s.Grant.Identity.SID == sid
	})
}

// OfEmail returns the live sessions of the users of a provider who have that e-mail
// address, in whatever case, verified or not. The error is ErrStore.
func (m *Manager) OfEmail(ctx context.Context, provider, email string) ([]*Session, error) {
	email = strings.ToLower(email)
	return m.find(ctx, asTags(m.Ring.Tags(purposeEmail, m.name(provider, email))), listLimit, func(s *Session) bool {
		return s.Provider == provider && email != "" && emailOf(s.Grant.Identity) == email
	})
}

// ByID returns the live session with that public handle: ErrNone or ErrStore.
func (m *Manager) ByID(ctx context.Context, id string) (*Session, error) {
	part, err := hex.DecodeString(id[:min(2, len(id))])
	if err != nil || len(part) != 1 {
		return nil, ErrNone
	}
	found, err := m.find(ctx, []Tag{m.partTag(part[0])}, everyone, func(s *Session) bool { return s.ID == id })
	if err == nil && len(found) == 0 {
		err = ErrNone
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// everyone bounds a look-up in one of the 256 parts.
const everyone = 100_000

// All returns live sessions of every user, the latest sign-in first, at most limit of
// them. The error is ErrStore.
func (m *Manager) All(ctx context.Context, limit int) ([]*Session, error) {
	var all []*Session
	for part := range 256 {
		if len(all) >= limit {
			break
		}
		found, err := m.find(ctx, []Tag{m.partTag(byte(part))}, limit-len(all), func(*Session) bool { return true })
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return latestFirst(all), nil
}

// find opens the rows that carry any of tags and keeps those that are wanted: the tags
// of a row are not sealed, what they stand for is.
func (m *Manager) find(ctx context.Context, tags []Tag, limit int, wanted func(*Session) bool) ([]*Session, error) {
	if len(tags) == 0 {
		return nil, nil
	}
	rows, err := m.Store.Find(ctx, tags, limit)
	if err != nil {
		return nil, err
	}
	var found []*Session
	for _, row := range rows {
		s, err := m.open(ctx, row)
		if errors.Is(err, ErrNone) {
			continue
		}
		if wanted(s) {
			found = append(found, s)
		}
	}
	return latestFirst(found), nil
}

func latestFirst(list []*Session) []*Session {
	slices.SortFunc(list, func(a, b *Session) int { return b.Created.Compare(a.Created) })
	return list
}

func asTags(sums [][32]byte) []Tag {
	tags := make([]Tag, len(sums))
	for i, sum := range sums {
		tags[i] = sum
	}
	return tags
}
