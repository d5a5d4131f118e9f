package devidp

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// DevHandler serves what tests that run the provider as a process need, below /dev/:
//
//	GET  /dev/stats, /dev/issued, /dev/seen, /dev/faults   JSON
//	POST /dev/fault?name=token-500[&times=1]    Inject
//	POST /dev/heal                              Heal
//	POST /dev/lifetime?access=2s                SetAccessLifetime
//	POST /dev/roll-key                          RollKey
//	POST /dev/logout?sub=|sid=                  EndSession; JSON
//	POST /dev/revoke-all?sub=|email=[&member=]  RevokeAll; JSON
//	GET  /dev/initiate?client=&target=          sends a browser to the client (initiate.go)
//
// It hands out every token, so it answers loopback peers only, and no request that a
// web page made.
func (p *Provider) DevHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /dev/stats", func(w http.ResponseWriter, _ *http.Request) { devJSON(w, p.Stats()) })
	mux.HandleFunc("GET /dev/issued", func(w http.ResponseWriter, _ *http.Request) { devJSON(w, p.Issued()) })
	mux.HandleFunc("GET /dev/seen", func(w http.ResponseWriter, _ *http.Request) { devJSON(w, p.Seen()) })
	mux.HandleFunc("GET /dev/faults", func(w http.ResponseWriter, _ *http.Request) { devJSON(w, FaultNames()) })
	command(mux, "POST /dev/fault", func(v url.Values) error {
		f, err := FaultNamed(v.Get("name"))
		if err == nil && v.Has("times") {
			f.Times, err = strconv.Atoi(v.Get("times"))
		}
		if err == nil {
			p.Inject(f)
		}
		return err
	})
	command(mux, "POST /dev/heal", func(url.Values) error { p.Heal(); return nil })
	command(mux, "POST /dev/lifetime", func(v url.Values) error {
		d, err := time.ParseDuration(v.Get("access"))
		if err != nil || d < time.Second || d > maxAccessLifetime {
			return errors.New("access must be a duration of 1s to 24h")
		}
		p.SetAccessLifetime(d)
		return nil
	})
	command(mux, "POST /dev/roll-key", func(url.Values) error { return p.RollKey() })
	mux.HandleFunc("POST /dev/logout", p.devLogout)
	mux.HandleFunc("POST /dev/revoke-all", p.devRevokeAll)
	mux.HandleFunc("GET /dev/initiate", p.initiate)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromThisMachine(r) {
			http.Error(w, "only for programs on this machine", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func command(mux *http.ServeMux, pattern string, run func(url.Values) error) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := run(r.URL.Query()); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

func (p *Provider) devLogout(w http.ResponseWriter, r *http.Request) {
	sub, sid := r.URL.Query().Get("sub"), r.URL.Query().Get("sid")
	if sub == "" && sid == "" {
		http.Error(w, "sub or sid is needed", http.StatusBadRequest)
		return
	}
	devJSON(w, p.EndSession(sub, sid))
}

func (p *Provider) devRevokeAll(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	identifier := p.IssSub(q.Get("sub"))
	if q.Has("email") {
		identifier = map[string]any{"format": "email", "email": q.Get("email")}
	}
	notices, err := p.RevokeAll(cmp.Or(q.Get("member"), "sub_id"), identifier)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	devJSON(w, notices)
}

func devJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(value)
}

// fromThisMachine also looks at Host: a page whose name was rebound to 127.0.0.1 sends
// neither Origin nor a foreign Sec-Fetch-Site.
func fromThisMachine(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().IsLoopback() {
		return false
	}
	host := (&url.URL{Host: r.Host}).Hostname()
	if addr, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !addr.IsLoopback()) {
		return false
	}
	// none: somebody typed the address
	return r.Header.Get("Origin") == "" && cmp.Or(r.Header.Get("Sec-Fetch-Site"), "none") == "none"
}
