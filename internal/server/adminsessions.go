package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"genkan/internal/finding"
	"genkan/internal/session"
)

const (
	// maxListed is how many sessions a list holds, and how many are ended at a time.
	maxListed = 1000
	// maxRounds bounds how often more are looked for: a million sessions.
	maxRounds = 1000
)

// adminSession is a session in the list of an administrator.
type adminSession struct {
	listed
	Subject string `json:"subject"`
}

// selection is whose sessions a call is about.
type selection struct {
	subject string // of whatever provider
	all     bool   // everybody's, without a subject
}

// readSelection takes the query apart. What is misspelt or empty, as an unset variable
// in a script is, must not mean everybody.
func readSelection(query string) (sel selection, wrong string) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return sel, "The query is not well-formed."
	}
	for name := range values {
		if name != "sub" && name != "all" {
			return sel, "The parameters are sub and all."
		}
	}
	sel = selection{subject: values.Get("sub"), all: values.Get("all") == "true"}
	switch {
	case len(values["sub"]) > 1 || values.Has("sub") && sel.subject == "":
		return sel, "sub is repeated or empty."
	case len(values["all"]) > 1 || values.Has("all") && !sel.all:
		return sel, "The only value of all is true."
	case sel.all && sel.subject != "":
		return sel, "Give sub or all, not both."
	}
	return sel, ""
}

// selected returns the first of the sessions that are meant.
func (s *Server) selected(r *http.Request, sel selection) ([]*session.Session, error) {
	if sel.subject != "" {
		return s.Sessions.OfUser(r.Context(), "", sel.subject)
	}
	return s.Sessions.All(r.Context(), maxListed)
}

// adminList shows the sessions of a user of whatever provider, or of everybody.
func (s *Server) adminList(w http.ResponseWriter, r *http.Request) {
	sel, wrong := readSelection(r.URL.RawQuery)
	if wrong != "" {
		s.adminFail(w, r, finding.ParameterInvalid, wrong)
		return
	}
	all, err := s.selected(r, sel)
	if err != nil {
		s.adminFail(w, r, finding.StoreUnavailable, "", "error", err)
		return
	}
	list := make([]adminSession, 0, len(all))
	for _, one := range all {
		list = append(list, adminSession{s.listed(one), one.Grant.Identity.Subject})
	}
	writeJSON(w, map[string]any{"sessions": list, "truncated": len(all) >= maxListed})
}

// adminEnd ends one session.
func (s *Server) adminEnd(w http.ResponseWriter, r *http.Request) {
	one, err := s.Sessions.ByID(r.Context(), r.PathValue("id"))
	if errors.Is(err, session.ErrNone) {
		s.adminFail(w, r, finding.NotFound, "No live session has this id.")
		return
	}
	if err == nil {
		_, err = s.endAll(r.Context(), []*session.Session{one}, "session ended by an administrator")
	}
	if err != nil {
		s.adminFail(w, r, finding.StoreUnavailable, "", "error", err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// adminEndMany ends the sessions of a user, or everybody's, some at a time until there
// are none.
func (s *Server) adminEndMany(w http.ResponseWriter, r *http.Request) {
	sel, wrong := readSelection(r.URL.RawQuery)
	if wrong == "" && sel == (selection{}) {
		wrong = "Write ?sub= for the sessions of one user, or ?all=true for everybody's."
	}
	if wrong != "" {
		s.adminFail(w, r, finding.ParameterInvalid, wrong)
		return
	}
	ended := 0
	for range maxRounds {
		some, err := s.selected(r, sel)
		if err == nil && len(some) == 0 {
			break
		}
		if err == nil {
			var n int
			n, err = s.endAll(r.Context(), some, "session ended by an administrator")
			ended += n
		}
		if err != nil {
			s.adminFail(w, r, finding.StoreUnavailable, fmt.Sprintf("%d sessions were ended, then the session store did not answer. Try again for the rest.", ended), "error", err, "ended", ended)
			return
		}
	}
	writeJSON(w, map[string]int{"ended": ended})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v) // strings, numbers and times; and who has gone gets nothing
}
