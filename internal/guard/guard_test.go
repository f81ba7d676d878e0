package guard

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

// TestAddr is the security specification of who may use the service.
func TestAddr(t *testing.T) {
	var prefixes []netip.Prefix
	for _, s := range []string{"10.10.200.75/32", "192.168.1.0/24", "fd00:1::/64"} {
		prefixes = append(prefixes, netip.MustParsePrefix(s))
	}
	g := New(prefixes, "fake-token", time.Now)
	tests := []struct {
		remote string
		ok     bool
	}{
		{"10.10.200.75:1234", true},
		{"10.10.200.7:1234", false},
		{"10.10.200.76:1234", false},
		{"192.168.1.0:1", true},
		{"192.168.1.255:1", true},
		{"192.168.10.1:1", false}, // the old service compared prefixes of strings
		{"192.168.100.5:1", false},
		{"[::ffff:192.168.1.9]:1", true}, // IPv4 on an IPv6 socket
		{"[::ffff:192.168.2.9]:1", false},
		{"[fd00:1::5]:1", true},
		{"[fd00:1::5%eth0]:1", true},
		{"[fd00:2::5]:1", false},
		{"127.0.0.1:1", false},
		{"[::1]:1", false},
		{"", false},
		{"@", false},
		{"10.10.200.75", false}, // not what net/http passes
	}
	for _, tt := range tests {
		_, err := g.Addr(tt.remote)
		if got := err == nil; got != tt.ok {
			t.Errorf("Addr(%q): %v, want ok %v", tt.remote, err, tt.ok)
		}
	}
	if _, err := New(nil, "fake-token", time.Now).Addr("10.10.200.75:1"); err == nil {
		t.Error("without prefixes somebody gets in")
	}
	if _, err := g.Addr("10.0.0.1:9"); err == nil || err.Error() != "Unauthorized IP: 10.0.0.1" {
		t.Errorf("error = %v", err)
	}
}

func TestToken(t *testing.T) {
	now := time.Unix(0, 0) // a station without a clock
	g := New(nil, "fake-token", func() time.Time { return now })
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	var te *TokenError
	var re *RateError
	for i := range MaxWrongTokens {
		for _, wrong := range []string{"", "fake", "fake-token ", "FAKE-TOKEN"}[i%4:][:1] {
			if err := g.Token(a, wrong); !errors.As(err, &te) || err.Error() != "Invalid token" {
				t.Fatalf("wrong token %d: %v", i, err)
			}
		}
		now = now.Add(time.Second)
	}
	if err := g.Token(a, "wrong"); !errors.As(err, &re) || re.Retry != 50*time.Second {
		t.Errorf("one more: %v", err)
	}
	if err := g.Token(a, "fake-token"); !errors.As(err, &re) {
		t.Errorf("the right token while limited: %v; guessing could go on", err)
	}
	if err := g.Token(b, "fake-token"); err != nil {
		t.Errorf("another address: %v", err)
	}
	now = now.Add(50 * time.Second) // the first wrong one does not count any more
	if err := g.Token(a, "fake-token"); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}

func TestTokenMemory(t *testing.T) {
	now := time.Unix(0, 0)
	g := New(nil, "fake-token", func() time.Time { return now })
	addr := netip.MustParseAddr("fd00::")
	for range 3 * maxAddrs {
		addr = addr.Next()
		g.Token(addr, "wrong")
		now = now.Add(time.Millisecond)
	}
	if len(g.wrong) > maxAddrs {
		t.Errorf("%d addresses are remembered, want at most %d", len(g.wrong), maxAddrs)
	}
}
