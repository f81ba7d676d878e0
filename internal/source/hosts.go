package source

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Hosts says where images may come from. It is enforced on the address that is dialled,
// so neither redirects nor name servers lead anywhere else.
type Hosts struct {
	Prefixes []netip.Prefix // addresses that images may come from
	Names    []string       // host names, lower case; wherever they resolve to is allowed
}

// CheckLiteral refuses at once a URL's host that is an address outside of Prefixes; names
// are looked at when they are dialled. Addresses of Names are not known here, so a
// literal is only refused if there are no names.
func (h *Hosts) CheckLiteral(host string) error {
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil || len(h.Names) > 0 || h.contains(a) {
		return nil
	}
	return &HostError{host}
}

func (h *Hosts) contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(h.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// dial connects to addr if h allows it.
func (h *Hosts) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	if !slices.Contains(h.Names, strings.TrimSuffix(strings.ToLower(host), ".")) {
		d.ControlContext = func(ctx context.Context, _, dialled string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(dialled)
			if err != nil || !h.contains(ap.Addr()) && !h.resolves(ctx, ap.Addr()) {
				if host != ap.Addr().String() {
					return &HostError{host + " (" + ap.Addr().String() + ")"}
				}
				return &HostError{host}
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, addr)
}

// resolves reports whether one of the allowed names resolves to a.
func (h *Hosts) resolves(ctx context.Context, a netip.Addr) bool {
	for _, name := range h.Names {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		if err == nil && slices.ContainsFunc(addrs, func(b netip.Addr) bool { return b.Unmap() == a.Unmap() }) {
			return true
		}
	}
	return false
}
