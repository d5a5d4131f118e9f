package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"genkan/internal/origin"
)

// hop is what a proxy says of the request it received.
type hop struct{ client, host, scheme string }

// via is how a request came here, where there is more to say than the public URL that
// origin.SiteOf knows.
type via struct {
	proxy  bool                // by a trusted proxy
	astray *origin.Misdirected // nil: it was sent to a public URL
}

type viaKey struct{}

// forward lets what a trusted proxy says take the place of what the connection shows:
// the client's address, the host and the scheme the browser used; and finds the public URL
// that was meant. It comes before everything else, so that nothing below reads a forwarding
// header again. From any other peer these headers mean nothing.
func (s *Server) forward(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came, arrival, remote := via{}, origin.Arrival{Host: r.Host}, r.RemoteAddr
		if r.TLS != nil {
			arrival.Scheme = "https"
		}
		if s.fromProxy(r.RemoteAddr) {
			came.proxy = true
			said := s.told(r.Header)
			if client, ok := address(said.client); ok {
				remote = net.JoinHostPort(client.String(), "0")
			}
			if said.host != "" {
				arrival.Host = said.host
			}
			if proto := strings.ToLower(said.scheme); proto == "http" || proto == "https" {
				arrival.Scheme = proto
			}
		}
		ctx := r.Context()
		if site, err := s.Policy.Site(arrival); err == nil {
			ctx = origin.ContextWithSite(ctx, site)
		} else {
			errors.As(err, &came.astray) // Site has no other error
		}
		if came != (via{}) {
			ctx = context.WithValue(ctx, viaKey{}, came)
		}
		r = r.WithContext(ctx) // a copy: the caller's stays as it is
		r.Host, r.RemoteAddr = arrival.Host, remote
		next.ServeHTTP(w, r)
	})
}

// viaOf is how r came here.
func viaOf(r *http.Request) via {
	came, _ := r.Context().Value(viaKey{}).(via)
	return came
}

// told reads the forwarding headers. X-Forwarded-* go before Forwarded (RFC 7239), and
// the two are never mixed: a proxy that writes one kind may pass a client's other kind
// through. Of X-Forwarded-Host and -Proto the last value counts, which the nearest
// proxy wrote; the client is the nearest address that is no trusted proxy.
func (s *Server) told(h http.Header) hop {
	xff := list(h.Values("X-Forwarded-For"))
	host, scheme := last(h.Values("X-Forwarded-Host")), last(h.Values("X-Forwarded-Proto"))
	if len(xff) > 0 || host != "" || scheme != "" {
		return hop{s.client(xff), host, scheme}
	}
	var hops []hop
	var clients []string
	for _, element := range list(h.Values("Forwarded")) {
		f := readForwarded(element)
		hops, clients = append(hops, f), append(clients, f.client)
	}
	client := s.client(clients)
	for i := len(hops) - 1; i >= 0; i-- {
		if hops[i].client == client {
			return hops[i]
		}
	}
	return hop{}
}

// client is the last address of a chain that is no trusted proxy, or the first of all.
func (s *Server) client(chain []string) string {
	for i := len(chain) - 1; i >= 0; i-- {
		if addr, ok := address(chain[i]); !ok || !s.trusted(addr) || i == 0 {
			return chain[i]
		}
	}
	return ""
}

// readForwarded reads one element of a Forwarded header (RFC 7239 4).
func readForwarded(element string) (f hop) {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "for":
			f.client = value
		case "host":
			f.host = value
		case "proto":
			f.scheme = value
		}
	}
	return f
}

// maxHops bounds how long a chain of proxies is read.
const maxHops = 32

// list takes comma-separated headers apart and keeps the last maxHops elements.
func list(values []string) (elements []string) {
	for _, value := range values {
		for element := range strings.SplitSeq(value, ",") {
			elements = append(elements, strings.TrimSpace(element))
		}
	}
	return elements[max(0, len(elements)-maxHops):]
}

// last is the last element of a comma-separated header.
func last(values []string) string {
	if elements := list(values); len(elements) > 0 {
		return elements[len(elements)-1]
	}
	return ""
}

// address reads an IP address with or without port and brackets.
func address(text string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return addr.Unmap().WithZone(""), err == nil
}

// fromProxy reports whether the peer at remote is a trusted proxy.
func (s *Server) fromProxy(remote string) bool {
	if len(s.TrustedProxies) == 0 {
		return false
	}
	peer, ok := address(remote)
	return ok && s.trusted(peer)
}

// trusted reports whether a peer's forwarding headers count.
func (s *Server) trusted(peer netip.Addr) bool {
	for _, p := range s.TrustedProxies {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}
