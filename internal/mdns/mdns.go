// Package mdns lets stations be found without a list of them: a station says by multicast
// DNS (RFC 6762, RFC 6763) that it is there, and an operator's machine listens.
//
// What is announced is what anybody on the network may know: that an imager serves here,
// its version, and the machine's model and serial number. Nothing that is heard is believed
// without asking: who listens gets addresses to try.
package mdns

import (
	"fmt"
	"net"
	"strings"

	"github.com/brutella/dnssd"
)

// Type is the service type, domain Domain. A service name has at most 15 characters (RFC
// 6335, section 5.1).
const (
	Type   = "_netboot-imager._tcp"
	Domain = "local"
)

// maxText is the longest string of a TXT record in bytes (RFC 6763, section 6.1).
const maxText = 255

// Service is what a station says of itself.
type Service struct {
	// ID tells stations of a network apart: a serial number or MAC address. Its letters and
	// digits become part of the names that are announced.
	ID string
	// IP is the only address that the service is reached at; nil for all.
	IP   net.IP
	Port int

	Version, Model, Serial string // "" if there is none
}

// config is the service as it is announced on some network interfaces: an instance
// "netboot-imager ID" at the host netboot-imager-ID.local.
func (s Service) config(interfaces []string) dnssd.Config {
	id := plain(s.ID)
	host, name := "netboot-imager-"+id, "netboot-imager "+id
	if s.Port != defaultPort { // several on one machine
		name += fmt.Sprintf(" port %d", s.Port)
	}
	text := map[string]string{}
	for key, value := range map[string]string{"version": s.Version, "model": s.Model, "serial": s.Serial} {
		if value = printable(value, maxText-len(key+"=")); value != "" {
			text[key] = value
		}
	}
	c := dnssd.Config{Name: name, Host: host, Type: Type, Domain: Domain, Port: s.Port, Text: text, Ifaces: interfaces}
	if s.IP != nil {
		c.IPs = []net.IP{s.IP}
	}
	return c
}

// defaultPort goes without saying in an instance's name.
const defaultPort = 8888

// plain keeps of an ID what every host name may have, and at most 32 characters of it.
func plain(id string) string {
	id = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(id))
	if id == "" {
		return "station"
	}
	return id[max(0, len(id)-32):]
}

// printable keeps what a TXT record carries as it is: printable ASCII without the backslash,
// by which the DNS library escapes.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '\\' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), most)]
}
