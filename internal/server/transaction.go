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

	// postedMark begins the state of a sign-in that another site posted.
	postedMark = "posted-"

	purposeTransaction = "sign-in transaction"
	purposeState       = "sign-in state"
)

// transaction is one sign-in under way: all that the callback needs, sealed in a
// cookie of its own, so that tabs do not disturb each other.
type transaction struct {
	Login     rp.Login      `json:"l"`
	ReturnURL string        `json:"u"`
	Silent    bool          `json:"q,omitempty"` // prompt=none
	Began     time.Time     `json:"b"`
	Trips     []time.Time   `json:"t,omitempty"`
	Replaces  []session.Key `json:"o,omitempty"` // Strict keeps the old session's cookie from the callback
}

// mark reports whether t is no sign-in any more, but a mark that its provider just said
// that it needs the user: Login holds the provider alone, ReturnURL is without query and
// Trips are the silent sign-ins that came to nothing since.
func (t transaction) mark() bool { return t.Login.State == "" }

// hint is what the state parameter itself carries, sealed: enough to begin again
// when the cookie is gone. It grants nothing.
type hint struct {
	ReturnURL string `json:"u"`
	Provider  string `json:"p"`
	Host      string `json:"h"` // where sign-in began
	Restarts  int    `json:"r,omitempty"`
	Silent    bool   `json:"q,omitempty"`
}

// newState returns a state parameter of a sign-in that begins at host: 128 random bits,
// then the hint bound to them.
func (s *Server) newState(in signIn, host string) string {
	h := hint{in.returnURL, in.client.ID(), host, in.restarts, in.silent()}
	random := strings.ToLower(rand.Text())
	if in.posted {
		random = postedMark + random
	}
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

// attempt names the transaction cookie of a state. Sign-ins that other sites post share
// one: with such a request come none of the cookies that would have to be counted.
func attempt(state string) string {
	if strings.HasPrefix(state, postedMark) {
		return "posted"
	}
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

// putTransaction sets the cookie of t. false: no browser would store it.
func (s *Server) putTransaction(w http.ResponseWriter, r *http.Request, t transaction) bool {
	return s.putCookie(w, r, attempt(t.Login.State), t, transactionLife)
}

// putCookie keeps t for life in the cookie of an attempt, and clears those that are over
// or too many, the oldest first.
func (s *Server) putCookie(w http.ResponseWriter, r *http.Request, attempt string, t transaction, life time.Duration) bool {
	formPost := s.provider(t.Login.Provider).ResponseMode() == rp.ModeFormPost
	cookie := origin.SiteOf(r).Transaction(attempt, formPost)
	value := s.Ring.SealText(purposeTransaction, s.Sessions.Deployment+" "+cookie.Name, marshal(t))
	size := len(cookie.Name) + len(value)
	if size > maxCookie {
		return false
	}
	s.evict(w, r, attempt, size)
	http.SetCookie(w, cookie.Set(value, life))
	return true
}

// held is a transaction cookie as it came.
type held struct {
	transaction
	attempt string
	size    int
}

// held returns the transaction cookies of r, the newest first. What cannot be opened has
// the zero time, and comes last.
func (s *Server) held(r *http.Request) (all []held) {
	prefix := origin.SiteOf(r).TransactionPrefix()
	for _, c := range r.Cookies() {
		if name, ok := strings.CutPrefix(c.Name, prefix); ok {
			t, _ := s.openTransaction(c)
			all = append(all, held{t, name, len(c.Name) + len(c.Value)})
		}
	}
	slices.SortStableFunc(all, func(a, b held) int { return b.Began.Compare(a.Began) })
	return all[:min(len(all), maxSeen)]
}

// evict makes room for the cookie of an attempt, of size bytes.
func (s *Server) evict(w http.ResponseWriter, r *http.Request, attempt string, size int) {
	others := slices.DeleteFunc(s.held(r), func(h held) bool { return h.attempt == attempt })
	for i, h := range others {
		size += h.size
		if h.Began.IsZero() || i >= maxTransactions-1 || size > maxTransactionBytes {
			http.SetCookie(w, s.clearTransaction(r, h.attempt))
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
