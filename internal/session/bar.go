package session

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"genkan/internal/rp"
)

const (
	// barLife is how long the mark of an end is kept: longer than a sign-in may take from
	// its callback to its session.
	barLife = 5 * time.Minute
	// barTries is how often a mark is written anew that others write at the same time.
	barTries = 20
)

const (
	purposeBar    = "mark of an end at a provider"
	purposeNoName = "mark of a user whose sessions have no sid"
)

// Whose names the sessions that a provider ends: of one sid, of a user, of an address.
type Whose struct {
	SID     string
	Subject string // beside a SID: only those of the user's sessions that have none
	Email   string // in whatever case
	Offline bool   // access that was to outlive a sign-out ends too
}

// bar is a mark.
type bar struct {
	At      time.Time `json:"at"`
	Offline bool      `json:"offline,omitempty"`
}

// name is a value and the purpose of the tag that stands for it.
type name struct{ purpose, value string }

// Bar keeps a sign-in from becoming a session that has begun to redeem its code when the
// provider ends what whose names; its Start fails with ErrBarred. Call it before looking
// for the sessions: whatever Start has not saved by then will meet the mark. Replicas
// whose clocks differ by more than a sign-in takes may miss it. The error is ErrStore.
func (m *Manager) Bar(ctx context.Context, provider string, whose Whose) error {
	for _, n := range whose.names() {
		key := barKey(m.Ring.Tag(n.purpose, m.name(provider, n.value)))
		if err := m.mark(ctx, key, whose.Offline); err != nil {
			return err
		}
	}
	return nil
}

func (w Whose) names() (list []name) {
	if w.SID != "" {
		list = append(list, name{purposeSID, w.SID})
	}
	switch {
	case w.Subject == "":
	case w.SID != "":
		list = append(list, name{purposeNoName, w.Subject})
	default:
		list = append(list, name{purposeUser, w.Subject})
	}
	if w.Email != "" {
		list = append(list, name{purposeEmail, strings.ToLower(w.Email)})
	}
	return list
}

// mark writes that an end has come, unless another one has since this began. Each try takes
// the time after it has read, so who loses to two others finds a mark that will do.
func (m *Manager) mark(ctx context.Context, key Key, offline bool) error {
	began := m.Now()
	for range barTries {
		row, err := m.Store.Load(ctx, key)
		if err != nil && !errors.Is(err, ErrNone) {
			return err
		}
		fresh := bar{m.Now(), offline}
		if old, ok := m.openBar(row); ok {
			if !old.At.Before(began) && (old.Offline || !offline) {
				return nil
			}
			fresh = bar{later(fresh.At, old.At), offline || old.Offline}
		}
		plain, err := json.Marshal(fresh)
		if err != nil {
			return fmt.Errorf("session: mark: %w", err)
		}
		over := fresh.At.Add(barLife)
		_, err = m.Store.Save(ctx, Row{
			Key: key, Version: row.Version, Data: m.Ring.Seal(purposeBar, m.bind(key), plain), Seen: fresh.At, Idle: over, Expires: over,
		})
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNone) {
			return err
		}
	}
	return fmt.Errorf("%w: too many ends of one name at once", ErrStore)
}

// admit ends s again when its provider has ended it since redeemed: ErrBarred. The row of s
// is saved before the marks are read, and an end is marked before rows are looked for, so
// one of the two meets the other.
func (m *Manager) admit(ctx context.Context, s *Session, redeemed time.Time) error {
	offline, barred := false, false
	for _, n := range namesOf(s.Grant.Identity) {
		for _, tag := range m.Ring.Tags(n.purpose, m.name(s.Provider, n.value)) {
			row, err := m.Store.Load(ctx, barKey(tag))
			if errors.Is(err, ErrNone) {
				continue
			} else if err != nil {
				return err
			}
			mark, ok := m.openBar(row)
			if !ok || !mark.At.Before(redeemed) { // one that cannot be opened may be of any time
				offline, barred = offline || mark.Offline, true
			}
		}
	}
	if !barred {
		return nil
	}
	end := m.SignedOutThere
	if offline {
		end = func(ctx context.Context, list []*Session) ([]*Session, error) {
			return m.Terminate(ctx, list, ProviderEnded)
		}
	}
	if _, err := end(context.WithoutCancel(ctx), []*Session{s}); err != nil { // nobody has its cookie
		m.Logger.WarnContext(ctx, "a session that was not to begin is not deleted; it ends by its time-out", "session", s.ID, "error", err)
	}
	return ErrBarred
}

// namesOf are those that an end of the sessions of who may go by.
func namesOf(who rp.Identity) []name {
	list := []name{{purposeUser, who.Subject}}
	if who.SID != "" {
		list = append(list, name{purposeSID, who.SID})
	} else {
		list = append(list, name{purposeNoName, who.Subject})
	}
	if email := emailOf(who); email != "" {
		list = append(list, name{purposeEmail, email})
	}
	return list
}

func (m *Manager) openBar(row Row) (mark bar, ok bool) {
	plain, err := m.Ring.Open(purposeBar, m.bind(row.Key), row.Data)
	ok = err == nil && json.Unmarshal(plain, &mark) == nil
	return mark, ok
}

func barKey(tag [sha256.Size]byte) Key { return sha256.Sum256(append([]byte("bar\x00"), tag[:]...)) }
