// Package dnsmasq writes the configuration for dnsmasq, which answers Raspberry Pis by DHCP
// and TFTP, and runs it.
package dnsmasq

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"text/template"
)

// Mode says what dnsmasq does about addresses.
type Mode string

const (
	// Proxy leaves addresses to a DHCP server that is there already.
	Proxy Mode = "proxy"
	// Full gives addresses out, to Raspberry Pis alone.
	Full Mode = "full"
)

// Config is what the configuration is made of.
type Config struct {
	Mode      Mode
	Interface string
	// Prefix is the interface's address with its prefix length.
	Prefix netip.Prefix
	// First and Last are the addresses to give out, and Router the gateway to tell, in full
	// mode; without Router none is told.
	First, Last, Router netip.Addr
	// TFTPRoot is the directory to serve, an absolute path.
	TFTPRoot string
	// LeaseFile is where dnsmasq keeps leases; empty for its own place.
	LeaseFile string
}

// GUIDs are how the client's GUID, DHCP option 97, begins on boards since the Pi 4: a zero,
// and "RPi4", "4iPR" or "5iPR" (DHCP_OPTION97 in Raspberry Pi's documentation of the boot
// EEPROM).
var guids = []string{"00:52:50:69:34", "00:34:69:50:52", "00:35:69:50:52"}

// macs are the address prefixes of Raspberry Pi (Trading) Ltd in the IEEE's registry. A
// Pi 3's boot ROM, and Linux on every model, are known by nothing else.
var macs = []string{"28:cd:c1", "2c:cf:67", "88:a2:9e", "b8:27:eb", "d8:3a:dd", "dc:a6:32", "e4:5f:01"}

var text = template.Must(template.New("").Parse(`# Made by netbootd: DHCP ({{.Mode}}) and TFTP for Raspberry Pis, and for nobody else.
port=0
interface={{.Interface}}
bind-interfaces
log-dhcp
no-ping
{{- if .LeaseFile}}
dhcp-leasefile={{.LeaseFile}}
{{- end}}
{{- range .GUIDs}}
dhcp-match=set:pi,97,{{.}}
{{- end}}
{{- range .MACs}}
dhcp-mac=set:pi,{{.}}:*:*:*
{{- end}}
dhcp-ignore=tag:!pi
{{- if eq .Mode "proxy"}}
dhcp-range={{.Subnet}},proxy,{{.Netmask}}
{{- else}}
dhcp-range={{.First}},{{.Last}},{{.Netmask}},1h
dhcp-option=option:router{{if .Router.IsValid}},{{.Router}}{{end}}
{{- end}}
# The three spaces are meant: a Pi 3B's boot ROM wants them.
pxe-service=tag:pi,0,"Raspberry Pi Boot   "
enable-tftp
tftp-root={{.TFTPRoot}}
`))

var interfaceRE = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,15}$`)

// Text returns the configuration.
func (c Config) Text() (string, error) {
	if !interfaceRE.MatchString(c.Interface) {
		return "", fmt.Errorf("%q is no network interface", c.Interface)
	}
	if !c.Prefix.IsValid() || !c.Prefix.Addr().Is4() {
		return "", fmt.Errorf("network interface %s has no IPv4 address", c.Interface)
	}
	for _, path := range []string{c.TFTPRoot, c.LeaseFile} {
		if strings.ContainsAny(path, "\r\n\"") || path != strings.TrimSpace(path) {
			return "", fmt.Errorf("dnsmasq cannot be given the path %q", path)
		}
	}
	if !strings.HasPrefix(c.TFTPRoot, "/") {
		return "", fmt.Errorf("the TFTP root %q is no absolute path", c.TFTPRoot)
	}
	switch c.Mode {
	case Proxy:
	case Full:
		for _, a := range []netip.Addr{c.First, c.Last} {
			if !a.IsValid() || !c.Prefix.Contains(a) {
				return "", fmt.Errorf("full mode needs a range of addresses within %s, like --range %s,%s", c.Prefix.Masked(), c.Prefix.Masked().Addr().Next(), c.Prefix.Masked().Addr().Next().Next())
			}
		}
		if c.Last.Less(c.First) {
			return "", errors.New("the range of addresses ends before it begins")
		}
	default:
		return "", fmt.Errorf("mode %q: it must be %s or %s", c.Mode, Proxy, Full)
	}
	var b bytes.Buffer
	err := text.Execute(&b, struct {
		Config
		GUIDs, MACs     []string
		Subnet, Netmask string
	}{c, guids, macs, c.Prefix.Masked().Addr().String(), netmask(c.Prefix.Bits())})
	return b.String(), err
}

func netmask(bits int) string {
	m := ^uint32(0) << (32 - bits)
	if bits == 0 {
		m = 0
	}
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}
