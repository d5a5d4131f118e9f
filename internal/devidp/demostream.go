package devidp

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/coder/websocket"
)

// The two kinds of answers that go on, each with the number of the tick.
const (
	eventForm = "id: %[1]d\nevent: tick\ndata: {\"n\":%[1]d}\n\n"
	lineForm  = "{\"n\":%d}\n"
)

// ticks sends three of form, or with endless=1 one after the other until the client
// leaves.
func (a *DemoAPI) ticks(contentType, form string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		endless := r.URL.Query().Get("endless") == "1"
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-store")
		for i := 1; i <= 3 || endless; i++ {
			if i > 1 && !pause(r.Context(), a.cfg.Pause) {
				return
			}
			_, _ = fmt.Fprintf(w, form, i)
			if http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	}
}

// webSocket says who is there and then sends back every message; with silent=1 it only
// reads. The proxy in front has checked the origin.
func (a *DemoAPI) webSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxBody)
	silent := r.URL.Query().Get("silent") == "1"
	if !silent {
		claims, _ := r.Context().Value(claimsKey{}).(tokenClaims)
		hello, _ := json.Marshal(map[string]string{"message": "hello", "sub": claims.Subject}) // strings only
		if conn.Write(r.Context(), websocket.MessageText, hello) != nil {
			return
		}
	}
	for {
		kind, message, err := conn.Reader(r.Context())
		if err != nil {
			return
		}
		if silent {
			_, err = io.Copy(io.Discard, message)
		} else {
			err = echo(r, conn, kind, message)
		}
		if err != nil {
			return
		}
	}
}

// echo sends message back piece by piece.
func echo(r *http.Request, conn *websocket.Conn, kind websocket.MessageType, message io.Reader) error {
	out, err := conn.Writer(r.Context(), kind)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, message); err != nil {
		return err
	}
	return out.Close()
}
