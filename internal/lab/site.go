package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Addresses of a Site.
const (
	SiteServer = "10.77.0.1"   // of the boot server's machine, on its interface SiteInterface
	SiteRouter = "10.77.0.254" // of the router, which gives out 10.77.0.100 to .199
	siteSwitch = "10.77.0.2"   // of this process, beside the Pis
	// SiteInterface is the network interface of the boot server's machine.
	SiteInterface = "eth0"
)

// Site is a network of several machines: a router with a DHCP server that knows nothing of
// netbooting, a machine for the boot server, and Pis, all on one switch.
type Site struct {
	// Server is the boot server's machine. Nothing runs on it.
	Server *Namespace
	// Switch is where the Pis are, and who operates them.
	Switch *Namespace

	router *Namespace
}

// NewSite makes the network, with room for so many Pis. Files go to dir. It needs root and
// dnsmasq.
func NewSite(ctx context.Context, dir string, pis int) (*Site, error) {
	s := &Site{}
	for _, n := range []**Namespace{&s.Switch, &s.Server, &s.router} {
		*n = &Namespace{dir: dir, ns: netns.None()}
		if err := (*n).create(); err != nil {
			return nil, errors.Join(fmt.Errorf("making a network namespace: %w", err), s.Close())
		}
	}
	if err := s.Switch.Do(func() error { return s.addSwitch(pis) }); err != nil {
		return nil, errors.Join(fmt.Errorf("setting the switch up: %w", err), s.Close())
	}
	for n, addr := range map[*Namespace]string{s.Server: SiteServer, s.router: SiteRouter} {
		if err := n.Do(func() error { return setUp(SiteInterface, addr) }); err != nil {
			return nil, errors.Join(fmt.Errorf("setting %s up: %w", addr, err), s.Close())
		}
	}
	if err := s.startRouter(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// addSwitch makes the bridge, a cable to each machine, and a tap device for each Pi.
func (s *Site) addSwitch(pis int) error {
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}
	if err := netlink.LinkAdd(br); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	for name, n := range map[string]*Namespace{"server": s.Server, "router": s.router} {
		cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MasterIndex: br.Index}, PeerName: SiteInterface, PeerNamespace: netlink.NsFd(n.ns)}
		if err := netlink.LinkAdd(cable); err != nil {
			return fmt.Errorf("cable to the %s: %w", name, err)
		}
		if err := netlink.LinkSetUp(cable); err != nil {
			return fmt.Errorf("cable to the %s: %w", name, err)
		}
	}
	for i := range pis {
		tt := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: tapName(i), MasterIndex: br.Index}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_DEFAULTS}
		if err := netlink.LinkAdd(tt); err != nil {
			return fmt.Errorf("tap device: %w", err)
		}
		if err := netlink.LinkSetUp(tt); err != nil {
			return fmt.Errorf("tap device: %w", err)
		}
	}
	return setUp(bridge, siteSwitch)
}

func tapName(i int) string { return fmt.Sprintf("tap%d", i) }

// setUp gives an interface its address, and turns it and the loopback interface on.
func setUp(name, addr string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	a, err := netlink.ParseAddr(addr + "/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(l, a); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetUp(l), netlink.LinkSetUp(lo))
}

// startRouter runs the router's dnsmasq: DHCP and nothing else.
func (s *Site) startRouter(ctx context.Context) error {
	log, err := os.Create(s.RouterLog())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--log-facility=-", "--pid-file=",
		"--port=0", "--interface="+SiteInterface, "--bind-interfaces", "--no-ping", "--log-dhcp", "--dhcp-authoritative",
		"--dhcp-leasefile="+s.router.leases(), "--dhcp-range="+firstIP+","+lastIP+","+netmask+",1h")
	cmd.Stderr = log
	p, err := s.router.Start(cmd)
	if err != nil {
		return fmt.Errorf("starting the router's dnsmasq: %w", err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(s.RouterLog())
		if err != nil {
			return err
		}
		if bytes.Contains(b, []byte("DHCP, IP range")) {
			return nil
		}
		select {
		case <-p.Done:
			return fmt.Errorf("the router's dnsmasq ended (%v): %s", p.Err(), bytes.TrimSpace(b))
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the router's dnsmasq does not start: %s", bytes.TrimSpace(b))
		}
	}
}

// RouterOff switches the router off.
func (s *Site) RouterOff() {
	n := s.router
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.procs {
		p.Kill()
	}
	n.procs = nil
}

// RouterLog is where the log of the router's dnsmasq is.
func (s *Site) RouterLog() string { return filepath.Join(s.router.dir, "router.log") }

// Close ends every program and removes the network.
func (s *Site) Close() error {
	var errs []error
	for _, n := range []*Namespace{s.Switch, s.Server, s.router} {
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	return errors.Join(errs...)
}

// Port is the network as one Pi's place on the switch.
type Port struct {
	*Namespace // the switch
	site       *Site
	tap        string
	tftp       string
}

var _ Network = (*Port)(nil)

// Port is the place of Pi number i. It boots from the TFTP server at tftp, host:port.
func (s *Site) Port(i int, tftp string) *Port {
	return &Port{Namespace: s.Switch, site: s, tap: tapName(i), tftp: tftp}
}

// TFTPAddr implements Network.
func (p *Port) TFTPAddr() string { return p.tftp }

// Server implements Network.
func (p *Port) Server() string { return SiteServer }

// Listen implements Network, on the boot server's machine.
func (p *Port) Listen(port int) (net.Listener, error) { return p.site.Server.Listen(port) }

// StationAddr implements Network: the address is the one that the router leased.
func (p *Port) StationAddr(mac string, port int) (string, error) {
	return p.site.router.StationAddr(mac, port)
}

// TellsMTU implements Network: the router knows nothing of it.
func (p *Port) TellsMTU() bool { return false }

// QEMUNetdev implements Network.
func (p *Port) QEMUNetdev() string {
	return "tap,id=n0,ifname=" + p.tap + ",script=no,downscript=no"
}
