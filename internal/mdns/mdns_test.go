package mdns

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/brutella/dnssd"
	"github.com/google/go-cmp/cmp"
)

func TestConfig(t *testing.T) {
	s := Service{ID: "DC:A6:32:00:00:01", Port: 8888, Version: "1.0", Model: "Pi\n\\4 “B”" + strings.Repeat("x", 300)}
	c := s.config([]string{"eth0"})
	if c.Name != "netboot-imager dca632000001" || c.Host != "netboot-imager-dca632000001" || c.IPs != nil {
		t.Errorf("%+v", c)
	}
	if want := map[string]string{"version": "1.0", "model": "Pi4 B" + strings.Repeat("x", 244)}; !cmp.Equal(c.Text, want) {
		t.Error(cmp.Diff(want, c.Text))
	}
	if n := len("model=" + c.Text["model"]); n != maxText {
		t.Errorf("a string of %d bytes", n)
	}
	s = Service{Port: 81, IP: net.IPv4(10, 0, 0, 5)}
	if c := s.config(nil); c.Name != "netboot-imager station port 81" || len(c.IPs) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestAddress(t *testing.T) {
	for _, tt := range []struct{ ips, want string }{
		{"10.0.0.5", "10.0.0.5:8888"},
		{"fd00::5 fe80::1 10.0.0.5 10.0.0.6", "10.0.0.5:8888"},
		{"fe80::1 fd00::5", "[fd00::5]:8888"},
		{"169.254.3.4", "169.254.3.4:8888"},
		// Nobody is sent to these.
		{"", ""}, {"fe80::1", ""}, {"127.0.0.1 ::1", ""}, {"224.0.0.251 0.0.0.0", ""}, {"::ffff:127.0.0.1", ""},
	} {
		e := dnssd.BrowseEntry{Port: 8888}
		for _, ip := range strings.Fields(tt.ips) {
			e.IPs = append(e.IPs, net.ParseIP(ip))
		}
		got, ok := address(e)
		if want := tt.want; ok != (want != "") || ok && got != netip.MustParseAddrPort(want) {
			t.Errorf("%q: %v, %v, want %q", tt.ips, got, ok, want)
		}
	}
	for _, port := range []int{-1, 0, 65536} {
		if got, ok := address(dnssd.BrowseEntry{Port: port, IPs: []net.IP{net.IPv4(10, 0, 0, 5)}}); ok {
			t.Errorf("port %d: %v", port, got)
		}
	}
}
