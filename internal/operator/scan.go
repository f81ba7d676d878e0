package operator

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sync/errgroup"
)

const (
	// maxAddrs is how many addresses are tried: a /20.
	maxAddrs = 4096
	// probes is how many are tried at the same time.
	probes = 256
)

// probe calls try with each address, many at the same time, and returns when all are tried.
func probe(addrs []netip.AddrPort, try func(netip.AddrPort)) {
	var g errgroup.Group
	g.SetLimit(probes)
	for _, addr := range addrs {
		g.Go(func() error { try(addr); return nil })
	}
	g.Wait()
}

// addresses are those of the prefixes, or of this machine's own networks, with the port.
func addresses(prefixes []string, port uint16) ([]netip.AddrPort, error) {
	var nets []netip.Prefix
	for _, s := range prefixes {
		p, err := netip.ParsePrefix(s)
		if addr, e := netip.ParseAddr(s); e == nil {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a prefix like 10.0.0.0/24", s)
		}
		nets = append(nets, p.Masked())
	}
	if len(prefixes) == 0 {
		own, err := net.InterfaceAddrs()
		if err != nil {
			return nil, err
		}
		for _, a := range own {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
				nets = append(nets, p.Masked())
			}
		}
		if len(nets) == 0 {
			return nil, errors.New("this machine is in no IPv4 network; name one, like flash discover 10.0.0.0/24")
		}
	}
	var addrs []netip.AddrPort
	for _, p := range nets {
		for addr := p.Addr(); p.Contains(addr); addr = addr.Next() {
			if len(addrs) == maxAddrs {
				return nil, fmt.Errorf("these are more than %d addresses; name a smaller network, like flash discover 10.0.0.0/24", maxAddrs)
			}
			addrs = append(addrs, netip.AddrPortFrom(addr, port))
		}
	}
	return addrs, nil
}
