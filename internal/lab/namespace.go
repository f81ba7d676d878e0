package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Addresses within the namespace.
const (
	serverIP = "10.77.0.1"
	netmask  = "255.255.255.0"
	firstIP  = "10.77.0.100"
	lastIP   = "10.77.0.199"
	bridge   = "br0"
	tap      = "tap0"
	tftpPort = "69"
	// mtu is what DHCP tells who asks for it, which is the kernel of an emulated Pi 3B;
	// gokrazy's DHCP client does not. It has QEMU's USB controller move whole frames: of
	// a receive buffer of up to 1536 bytes it fills 64 at a time, each 250 µs
	// (hw/usb/hcd-dwc2.c, dwc2_enable_chan), and Linux' buffers have the MTU's size. No
	// frame becomes larger, for this end of the wire stays at 1500.
	mtu = "1600"
)

// Namespace is a network namespace of its own, with dnsmasq in it. It goes away with
// the last program in it, even if Close is never called.
type Namespace struct {
	// config
	dir   string // for dnsmasq's files
	lease string // as dnsmasq has it

	// state
	mu    sync.Mutex
	ns    netns.NsHandle
	procs []*Process
}

var _ Network = (*Namespace)(nil)

// NewNamespace makes the namespace and serves tree in it by dnsmasq's TFTP; DHCP
// gives out 10.77.0.100 to .199. Files go to dir. It needs root and dnsmasq.
func NewNamespace(ctx context.Context, tree, dir string) (*Namespace, error) {
	return NewNamespaceLease(ctx, tree, dir, "1h")
}

// NewNamespaceLease is NewNamespace with another lease time, as dnsmasq has it; the least
// is 2m.
func NewNamespaceLease(ctx context.Context, tree, dir, lease string) (*Namespace, error) {
	n := &Namespace{dir: dir, lease: lease, ns: netns.None()}
	if err := n.create(); err != nil {
		return nil, errors.Join(fmt.Errorf("making a network namespace: %w", err), n.Close())
	}
	if err := n.Do(addLinks); err != nil {
		return nil, errors.Join(fmt.Errorf("setting the network namespace up: %w", err), n.Close())
	}
	if err := n.startDnsmasq(ctx, tree); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// create makes the namespace on a thread that is then thrown away.
func (n *Namespace) create() error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		h, err := netns.New()
		n.ns = h
		done <- err
	}()
	return <-done
}

// Do implements Network.
func (n *Namespace) Do(f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("finding the network namespace: %w", err)
	}
	defer home.Close()
	if err := n.enter(); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering the network namespace: %w", err)
	}
	ferr := f()
	if err := netns.Set(home); err != nil {
		// The thread stays locked, so that it dies with the goroutine.
		return errors.Join(ferr, fmt.Errorf("leaving the network namespace: %w", err))
	}
	runtime.UnlockOSThread()
	return ferr
}

// enter moves this thread into the namespace. Connections may still be tried while it is
// being closed.
func (n *Namespace) enter() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return netns.Set(n.ns)
}

// addLinks sets up loopback, a bridge and a tap device.
func addLinks() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}
	if err := netlink.LinkAdd(br); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	addr, err := netlink.ParseAddr(serverIP + "/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(br, addr); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	tt := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: tap, MasterIndex: br.Index}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_DEFAULTS}
	if err := netlink.LinkAdd(tt); err != nil {
		return fmt.Errorf("tap device: %w", err)
	}
	for _, l := range []netlink.Link{lo, br, tt} {
		if err := netlink.LinkSetUp(l); err != nil {
			return fmt.Errorf("%s: %w", l.Attrs().Name, err)
		}
	}
	return nil
}

func (n *Namespace) leases() string { return filepath.Join(n.dir, "leases") }

// DnsmasqLog is where dnsmasq's log is.
func (n *Namespace) DnsmasqLog() string { return filepath.Join(n.dir, "dnsmasq.log") }

func (n *Namespace) startDnsmasq(ctx context.Context, tree string) error {
	tree, err := filepath.Abs(tree)
	if err != nil {
		return err
	}
	log, err := os.Create(n.DnsmasqLog())
	if err != nil {
		return err
	}
	defer log.Close()
	// --no-daemon also keeps dnsmasq from changing its credentials, which would take the
	// death signal away that ends it with this process.
	cmd := exec.Command("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--log-facility=-", "--pid-file=",
		"--port=0", "--interface="+bridge, "--bind-interfaces", "--no-ping", "--log-dhcp",
		"--dhcp-leasefile="+n.leases(), "--dhcp-authoritative",
		"--dhcp-range="+firstIP+","+lastIP+","+netmask+","+n.lease,
		"--dhcp-option=option:router,"+serverIP, "--dhcp-option=option:mtu,"+mtu,
		`--pxe-service=0,Raspberry Pi Boot   `,
		"--enable-tftp", "--tftp-root="+tree)
	cmd.Stderr = log
	p, err := n.Start(cmd)
	if err != nil {
		return fmt.Errorf("starting dnsmasq (tools/install-deps.sh demo installs it): %w", err)
	}
	// It is ready when it has the TFTP port.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(n.DnsmasqLog())
		if err != nil {
			return err
		}
		if bytes.Contains(b, []byte("TFTP root is")) {
			return nil
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		select {
		case <-p.Done:
			return fmt.Errorf("dnsmasq ended (%v): %s", p.Err(), bytes.TrimSpace(b))
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("dnsmasq does not start: %s", bytes.TrimSpace(b))
		}
	}
}

// Start implements Network.
func (n *Namespace) Start(cmd *exec.Cmd) (*Process, error) {
	p, err := start(cmd, n.enter)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.procs = append(n.procs, p)
	return p, nil
}

// TFTPAddr implements Network.
func (n *Namespace) TFTPAddr() string { return net.JoinHostPort(serverIP, tftpPort) }

// Server implements Network.
func (n *Namespace) Server() string { return serverIP }

// Listen implements Network.
func (n *Namespace) Listen(port int) (ln net.Listener, err error) {
	err = n.Do(func() error {
		ln, err = net.Listen("tcp4", net.JoinHostPort(serverIP, strconv.Itoa(port)))
		return err
	})
	return ln, err
}

// StationAddr implements Network: the address is the one that dnsmasq leased.
func (n *Namespace) StationAddr(mac string, port int) (string, error) {
	b, err := os.ReadFile(n.leases())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	addr := ""
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		if f := strings.Fields(sc.Text()); len(f) >= 3 && strings.EqualFold(f[1], mac) {
			addr = f[2]
		}
	}
	if addr == "" {
		return "", fmt.Errorf("%s has no DHCP lease yet", mac)
	}
	return net.JoinHostPort(addr, strconv.Itoa(port)), nil
}

// TellsMTU implements Network.
func (n *Namespace) TellsMTU() bool { return true }

// QEMUNetdev implements Network.
func (n *Namespace) QEMUNetdev() string {
	return "tap,id=n0,ifname=" + tap + ",script=no,downscript=no"
}

// Close implements Network.
func (n *Namespace) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.procs {
		p.Kill()
	}
	n.procs = nil
	if n.ns.IsOpen() {
		return n.ns.Close()
	}
	return nil
}
