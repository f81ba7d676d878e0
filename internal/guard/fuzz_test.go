package guard

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// FuzzAddr compares with the older package net: who gets in is within a prefix.
func FuzzAddr(f *testing.F) {
	for _, s := range []string{"10.10.200.75:1", "192.168.10.1:1", "[::ffff:192.168.1.9]:1", "[fd00:1::5%eth0]:1", "", "@", "127.0.0.1", "[::]:0", "192.168.1.9:-1"} {
		f.Add(s)
	}
	prefixes := []string{"10.10.200.75/32", "192.168.1.0/24", "fd00:1::/64"}
	var parsed []netip.Prefix
	var nets []*net.IPNet
	for _, s := range prefixes {
		parsed = append(parsed, netip.MustParsePrefix(s))
		_, n, err := net.ParseCIDR(s)
		if err != nil {
			f.Fatal(err)
		}
		nets = append(nets, n)
	}
	g := New(parsed, "fake-token", time.Now)
	f.Fuzz(func(t *testing.T, remote string) {
		a, err := g.Addr(remote)
		if err != nil {
			return
		}
		for _, n := range nets {
			if n.Contains(net.IP(a.AsSlice())) {
				return
			}
		}
		t.Errorf("Addr(%q) lets %v in, which is in none of %v", remote, a, prefixes)
	})
}
