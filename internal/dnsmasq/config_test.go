package dnsmasq

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func valid() Config {
	return Config{Mode: Proxy, Interface: "eth0", Prefix: netip.MustParsePrefix("192.168.1.5/22"), TFTPRoot: "/srv/tftp"}
}

// TestText has dnsmasq itself judge what is written.
func TestText(t *testing.T) {
	full := valid()
	full.Mode, full.First, full.Last = Full, netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("192.168.2.9")
	routed := full
	routed.Router = netip.MustParseAddr("192.168.0.1")
	for _, tt := range []struct {
		c    Config
		want []string
	}{
		{valid(), []string{"dhcp-range=192.168.0.0,proxy,255.255.252.0\n", "dhcp-ignore=tag:!pi\n", "tftp-root=/srv/tftp\n", `pxe-service=tag:pi,0,"Raspberry Pi Boot   "`}},
		{full, []string{"dhcp-range=192.168.1.10,192.168.2.9,255.255.252.0,1h\n", "dhcp-option=option:router\n"}},
		{routed, []string{"dhcp-option=option:router,192.168.0.1\n"}},
	} {
		text, err := tt.c.Text()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing:\n%s", want, text)
			}
		}
		if strings.Contains(text, "tftp-no-blocksize") {
			t.Error("a Pi 4 would ignore config.txt")
		}
		if _, err := exec.LookPath("dnsmasq"); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			continue
		}
		conf := filepath.Join(t.TempDir(), "conf")
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("dnsmasq", "--test", "--conf-file="+conf).CombinedOutput(); err != nil {
			t.Errorf("dnsmasq: %v %s\n%s", err, out, text)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Interface = "" },
		func(c *Config) { c.Interface = "eth0\ndhcp-script=/bin/sh" },
		func(c *Config) { c.Prefix = netip.MustParsePrefix("2001:db8::1/64") },
		func(c *Config) { c.TFTPRoot = "tftp" },
		func(c *Config) { c.TFTPRoot = "/srv\nconf-file=/x" },
		func(c *Config) { c.Mode = "other" },
		func(c *Config) { c.Mode = Full },
		func(c *Config) {
			c.Mode, c.First, c.Last = Full, netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("192.168.1.9")
		},
		func(c *Config) {
			c.Mode, c.First, c.Last = Full, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.9")
		},
	} {
		c := valid()
		change(&c)
		if text, err := c.Text(); err == nil {
			t.Errorf("%+v was taken:\n%s", c, text)
		}
	}
}
