package emupi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// Offer is what a boot loader learns by DHCP.
type Offer struct {
	Addr netip.Addr // its own address
	TFTP netip.Addr // the server of its boot files
	// Servers are all that answered.
	Servers []netip.Addr
}

// NoOfferError is a boot loader that gets no answer it can use.
type NoOfferError struct {
	Model   string
	Servers []netip.Addr // that answered
}

func (e *NoOfferError) Error() string {
	return fmt.Sprintf("Raspberry Pi %s: no DHCP answer names a server of boot files (answers came from %v); it asks again until DHCP_TIMEOUT and goes on to its next boot device", e.Model, e.Servers)
}

// guid is DHCP option 97: on a Pi 4 and later "RPi4" and so on, the board's revision, the
// MAC address' end and the serial number's; on a Pi 3+ four times the serial number.
func (m *Model) guid() []byte {
	var serial uint32
	fmt.Sscanf(m.Serial[8:], "%x", &serial)
	b := []byte{0}
	if m.family == pi3 {
		for range 4 {
			b = binary.LittleEndian.AppendUint32(b, serial)
		}
		return b
	}
	b = append(b, map[family]string{pi4: "4iPR", pi5: "5iPR"}[m.family]...)
	b = append(b, 0x41, 0x31, 0xa0, 0)
	mac, _ := net.ParseMAC(m.MAC)
	b = append(b, mac[2:6]...)
	return binary.LittleEndian.AppendUint32(b, serial)
}

// Discover plays what a boot loader does before it fetches anything: it broadcasts a
// DHCPDISCOVER as a PXE client on a network interface and waits for answers. Sockets are
// opened within do. It gives up after patience.
func (m *Model) Discover(ctx context.Context, iface string, do func(func() error) error, patience time.Duration) (Offer, error) {
	mac, err := net.ParseMAC(m.MAC)
	if err != nil {
		return Offer{}, err
	}
	return discover(ctx, iface, do, patience, m.Name, mac, m.guid())
}

// DiscoverOther does the same as a PC that boots by PXE, with a MAC address of its own.
func DiscoverOther(ctx context.Context, iface string, do func(func() error) error, patience time.Duration) (Offer, error) {
	mac := net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}
	return discover(ctx, iface, do, patience, "that is none", mac, append([]byte{0}, "0123456789abcdef"...))
}

func discover(ctx context.Context, iface string, do func(func() error) error, patience time.Duration, name string, mac net.HardwareAddr, guid []byte) (Offer, error) {
	var client *nclient4.Client
	err := do(func() (err error) {
		client, err = nclient4.New(iface, nclient4.WithHWAddr(mac), nclient4.WithTimeout(2*time.Second), nclient4.WithRetry(1+int(patience/(2*time.Second))))
		return err
	})
	if err != nil {
		return Offer{}, fmt.Errorf("asking by DHCP on %s: %w", iface, err)
	}
	defer client.Close()
	ask, err := dhcpv4.New(
		dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover), dhcpv4.WithHwAddr(mac), dhcpv4.WithBroadcast(true),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00000:UNDI:002001")),
		dhcpv4.WithGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 0}),
		dhcpv4.WithGeneric(dhcpv4.OptionClientNetworkInterfaceIdentifier, []byte{1, 2, 1}),
		dhcpv4.WithGeneric(dhcpv4.OptionClientMachineIdentifier, guid),
		dhcpv4.WithGeneric(dhcpv4.OptionParameterRequestList, []byte{1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135}),
	)
	if err != nil {
		return Offer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var o Offer
	_, err = client.SendAndRead(ctx, nclient4.DefaultServers, ask, func(p *dhcpv4.DHCPv4) bool {
		if p.MessageType() != dhcpv4.MessageTypeOffer {
			return false
		}
		o.take(p)
		return o.Addr.IsValid() && o.TFTP.IsValid()
	})
	if err != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nclient4.ErrNoResponse)) {
		return o, &NoOfferError{name, o.Servers}
	}
	return o, err
}

// take looks at an offer as boot loaders do: an address where there is one, and a server of
// boot files if the vendor's options, 43, hold a menu (9) that says "Raspberry Pi Boot".
func (o *Offer) take(p *dhcpv4.DHCPv4) {
	server, _ := netip.AddrFromSlice(p.ServerIdentifier().To4())
	o.Servers = append(o.Servers, server)
	if a, ok := netip.AddrFromSlice(p.YourIPAddr.To4()); ok && !a.IsUnspecified() {
		o.Addr = a
	}
	vendor := dhcpv4.Options{}
	if vendor.FromBytes(p.Options.Get(dhcpv4.OptionVendorSpecificInformation)) != nil || p.ClassIdentifier() != "PXEClient" {
		return
	}
	if strings.Contains(string(vendor.Get(dhcpv4.GenericOptionCode(9))), "Raspberry Pi Boot   ") {
		o.TFTP = server
		if a, ok := netip.AddrFromSlice(p.ServerIPAddr.To4()); ok && !a.IsUnspecified() {
			o.TFTP = a
		}
	}
}
