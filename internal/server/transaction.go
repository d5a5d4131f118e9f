package server

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"genkan/internal/origin"
	"genkan/internal/rp"
	"genkan/internal/session"
)

const (
	transactionLife = 10 * time.Minute
	// maxTransactions bounds sign-ins under way at once in one browser, the new one
	// included, and maxTransactionBytes their cookies, since servers on the way
	// refuse headers over 8 to 16 KiB.
	maxTransactions     = 5
	maxTransactionBytes = 6 << 10

	// maxSeen bounds how many of a browser's transaction cookies one answer deals with:
	// others can toss them in, and proxies refuse a header full of deletions.
	maxSeen = 20

	// maxHint bounds the return URL within the state parameter, in bytes: providers
	// and logs cut long URLs.
	maxHint = 256
	// maxCookie is what browsers store of one cookie, name and value together.
	maxCookie = 4096

	purposeTransaction = "sign-in transaction"
	purposeState       = "sign-in state"
)

// transaction is one sign-in under way: all that the callback needs, sealed in a
// cookie of its own, so that tabs do not disturb each other.
type transaction struct {
	Login     rp.Login      `json:"l"`
	ReturnURL string        `json:"u"`
	Silent    bool          `json:"q,omitempty"` // prompt=none: no page of ours either
	Began     time.Time     `json:"b"`
	Trips     []time.Time   `json:"t,omitempty"`
	Replaces  []session.Key `json:"o,omitempty"` // Strict keeps the old session's cookie from the callback
}

// hint is what the state parameter itself carries, sealed: enough to begin again
// when the cookie is gone. It grants nothing.
type hint struct {
	ReturnURL string `json:"u"`
	Provider  string `json:"p"`
	Host      string `json:"h"` // where sign-in began
	Restarts  int    `json:"r,omitempty"`
}

// newState returns a state parameter: 128 random bits, then the hint bound to them.
func (s *Server) newState(h hint) string {
	random := strings.ToLower(rand.Text())
	if len(h.ReturnURL) > maxHint {
		h.ReturnURL = ""
	}
	return random + "." + s.Ring.SealText(purposeState, s.Sessions.Deployment+" "+random, marshal(h))
}

// readState returns the hint of a state parameter of ours.
func (s *Server) readState(state string) (h hint, ok bool) {
	random, sealed, _ := strings.Cut(state, ".")
	plain, err := s.Ring.OpenText(purposeState, s.Sessions.Deployment+" "+random, sealed)
	if err != nil || json.Unmarshal(plain, &h) != nil {
		return hint{}, false
	}
	return h, true
}

// attempt names the transaction cookie of a state.
func attempt(state string) string {
	sum := sha256.Sum256([]byte(state))
	return hex.EncodeToString(sum[:6])
}

// marshal is JSON without the escapes for HTML, which make a query six times as long.
func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // strings, numbers and times always marshal
	return b.Bytes()
}

// putTransaction sets the cookie of t and clears those that are over or too many,
// the oldest first. false: no browser would store it.
func (s *Server) putTransaction(w http.ResponseWriter, r *http.Request, t transaction) bool {
	site := origin.SiteOf(r)
	formPost := s.provider(t.Login.Provider).ResponseMode() == rp.ModeFormPost
	cookie := site.Transaction(attempt(t.Login.State), formPost)
	value := s.Ring.SealText(purposeTransaction, s.Sessions.Deployment+" "+cookie.Name, marshal(t))
	size := len(cookie.Name) + len(value)
	if size > maxCookie {
		return false
	}
	s.evict(w, r, size)
	http.SetCookie(w, cookie.Set(value, transactionLife))
	return true
}

func (s *Server) evict(w http.ResponseWriter, r *http.Request, used int) {
	type kept struct {
		name  string
		size  int
		began time.Time
	}
	prefix := origin.SiteOf(r).TransactionPrefix()
	var all []kept
	for _, c := range r.Cookies() {
		if !strings.HasPrefix(c.Name, prefix) {
			continue
		}
		t, _ := s.openTransaction(c) // what cannot be opened has the zero time, and goes first
		all = append(all, kept{c.Name, len(c.Name) + len(c.Value), t.Began})
	}
	slices.SortFunc(all, func(a, b kept) int { return b.began.Compare(a.began) })
	for i, k := range all[:min(len(all), maxSeen)] {
		used += k.size
		if k.began.IsZero() || i >= maxTransactions-1 || used > maxTransactionBytes {
			http.SetCookie(w, s.clearTransaction(r, strings.TrimPrefix(k.name, prefix)))
		}
	}
}

// clearTransaction deletes the cookie of an attempt, whichever way it was set: Secure
// does no harm to one that was not, and without it a browser keeps one that was.
func (s *Server) clearTransaction(r *http.Request, attempt string) *http.Cookie {
	formPost := slices.ContainsFunc(s.Providers, func(p *rp.Client) bool { return p.ResponseMode() == rp.ModeFormPost })
	return origin.SiteOf(r).Transaction(attempt, formPost).Clear()
}

// takeTransaction returns the transaction that state began in this browser.
func (s *Server) takeTransaction(r *http.Request, state string) (transaction, bool) {
	cookies := r.CookiesNamed(origin.SiteOf(r).TransactionPrefix() + attempt(state))
	for _, c := range cookies[:min(len(cookies), maxTransactions)] {
		t, ok := s.openTransaction(c)
		if ok && subtle.ConstantTimeCompare([]byte(t.Login.State), []byte(state)) == 1 {
			return t, true
		}
	}
	return transaction{}, false
}

// openTransaction reads a transaction cookie that is ours and not over.
func (s *Server) openTransaction(c *http.Cookie) (t transaction, ok bool) {
	plain, err := s.Ring.OpenText(purposeTransaction, s.Sessions.Deployment+" "+c.Name, c.Value)
	if err != nil || json.Unmarshal(plain, &t) != nil || s.Now().Sub(t.Began) > transactionLife {
		return transaction{}, false
	}
	return t, true
}
