package finding

import (
	"cmp"
	"encoding/json"
	"net/http"
)

// RequestIDHeader carries the request id on every answer.
const RequestIDHeader = "X-Request-Id"

// Problem is the body of an error answer, RFC 9457.
type Problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Detail    string `json:"detail,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	LoginURL  string `json:"login_url,omitempty"` // with 401: navigate here to sign in
}

// Problem returns the problem of row r; detail replaces the row's cause. A row that
// is no HTTP problem gets 500: net/http panics on the status 0.
func (r Row) Problem(detail string) Problem {
	return Problem{
		Type: "urn:genkan:problem:" + r.Name, Title: r.Title, Status: cmp.Or(r.Status, http.StatusInternalServerError),
		Code: r.Name, Detail: cmp.Or(detail, r.Cause),
	}
}

// Write answers with p as application/problem+json. The request id is taken
// from the answer's own X-Request-Id header. The answer is never cached.
func (p Problem) Write(w http.ResponseWriter) {
	p.RequestID = w.Header().Get(RequestIDHeader)
	body, err := json.Marshal(p)
	if err != nil { // strings and an int always marshal
		panic(err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}
