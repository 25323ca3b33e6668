package web

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the networks whose word about a client counts: X-Forwarded-For and X-Forwarded-Proto.
type Proxies []netip.Prefix

func (p Proxies) holds(at netip.Addr) bool {
	return slices.ContainsFunc(p, func(n netip.Prefix) bool { return n.Contains(at.Unmap()) })
}

// trusted says whether a request comes from one of them.
func (p Proxies) trusted(r *http.Request) bool {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && p.holds(at.Addr())
}

// Client is where a request comes from. Of a chain of proxies the last address that is not ours counts: everything before
// it anybody can write.
func (p Proxies) Client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if !p.trusted(r) {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		at, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return host
		}
		host = at.Unmap().String()
		if !p.holds(at) {
			return host
		}
	}
	return host
}

// Secure says whether the client speaks TLS, to us or to one of the proxies.
func (p Proxies) Secure(r *http.Request) bool {
	return r.TLS != nil || p.trusted(r) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}
